//! Questions: stored first, then answered by the model's thread.

use lilims_ipc::{Error, Event, Request, Settings};

use crate::answer_stream::AnswerStream;
use crate::conversations::{Asked, Conversations};
use crate::model_host::{ModelHost, Target};

/// Stores a question and hands it to the model's thread; the answer goes to `sink`. Blocks while the
/// question is written. `wanted` says which other model the settings of the question want.
///
/// # Errors
/// As for [`ModelHost::begin_turn`] and [`Conversations::ask`].
pub(super) fn ask(
    host: &ModelHost,
    conversations: &Conversations,
    request: &Request,
    wanted: impl Fn(&Settings) -> Option<Target>,
    sink: impl Fn(Event) + Send + 'static,
) -> Result<(), Error> {
    let turn = host.begin_turn(&request.conversation)?;
    let Asked { id, question, record } = conversations.ask(request, &host.token_counter())?;
    let stream = AnswerStream::recorded(sink, record, id, question.answer.clone());
    if let Some(target) = wanted(&question.settings) {
        stream.loading();
        host.change_model(target)?;
    }
    host.send(turn, question, stream);
    Ok(())
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
