//! Questions and conversations: stored first, then answered by the model's thread.

use lilims_ipc::{Command, Error, Event, Reply, Request};

use crate::answer_stream::AnswerStream;
use crate::conversations::{Asked, Conversations};
use crate::model_host::ModelHost;

/// Stores a question and hands it to the model's thread; the answer goes to `sink`. Blocks while the
/// question is written.
///
/// # Errors
/// As for [`ModelHost::begin_turn`] and [`Conversations::ask`].
pub(super) fn ask(
    host: &ModelHost,
    conversations: &Conversations,
    request: &Request,
    sink: impl Fn(Event) + Send + 'static,
) -> Result<(), Error> {
    let turn = host.begin_turn()?;
    let Asked { id, question, record } = conversations.ask(request)?;
    let stream = AnswerStream::recorded(sink, record, id, question.answer.clone());
    host.send(turn, question, stream);
    Ok(())
}

/// Carries out a command of conversations. Blocks.
///
/// # Errors
/// What went wrong, for people.
pub(super) fn call(
    host: &ModelHost,
    conversations: &Conversations,
    command: Command,
) -> Result<Reply, Error> {
    match command {
        Command::Conversation => conversations.current().map(Reply::Conversation),
        Command::DeleteConversation { conversation } => {
            host.stop();
            let (new, session) = conversations.delete(&conversation)?;
            host.forget(conversation, session)?;
            Ok(Reply::Conversation(new))
        }
        Command::SetOverflow { conversation, overflow } => {
            conversations.set_overflow(&conversation, overflow).map(|()| Reply::Done)
        }
        Command::Sampling => conversations.sampling().map(Reply::Sampling),
        Command::SetSampling { options } => {
            conversations.set_sampling(&options).map(|()| Reply::Done)
        }
        _ => Err(Error::internal("not a command of conversations")),
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
