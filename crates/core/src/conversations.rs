//! Conversations in the database: what doors show of them, and the questions that are asked in them.

use std::path::PathBuf;
use std::sync::OnceLock;

use lilims_ipc::{self as ipc, Error, Options, Overflow, Problem, Request};
use lilims_models::enforce_session_quota;
use lilims_store::{
    self as store, ConversationChange, ConversationId, MessageId, NewMessage, PartKind, Role, Store,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::database::{Database, from_store};
use crate::journal::{AnswerRecord, Journal};

/// The setting that holds how answers are sampled.
const SAMPLING: &str = "sampling";
/// The most that saved sessions take on disk.
const SESSION_QUOTA_BYTES: u64 = 2 << 30;

/// The conversations of the user, once their database is open.
#[derive(Default)]
pub(crate) struct Conversations(OnceLock<Result<Opened, Error>>);

struct Opened {
    database: Database,
    journal: Journal,
}

/// A question with everything that the model needs to answer it.
#[derive(Clone, Debug)]
pub struct Question {
    /// The conversation.
    pub conversation: ipc::ConversationId,
    /// What the model reads: the messages up to the question, without those that have no answer.
    pub messages: Vec<ipc::Message>,
    /// The answer.
    pub answer: ipc::MessageId,
    /// How the answer is sampled.
    pub options: Options,
    /// What happens when the conversation outgrows the context.
    pub overflow: Overflow,
    /// Where the session of the conversation is saved.
    pub session: PathBuf,
}

/// A question that was stored, and the record of its answer.
pub(crate) struct Asked {
    /// The id of the question.
    pub(crate) id: ipc::MessageId,
    /// The question.
    pub(crate) question: Question,
    /// The record of the answer.
    pub(crate) record: AnswerRecord,
}

impl Conversations {
    /// Provides the database; calls wait for it until then.
    pub(crate) fn provide(&self, database: Result<Database, Error>) {
        let opened = database.and_then(|database| {
            remove_orphaned_sessions(&database.store);
            Ok(Opened { journal: Journal::start(database.store.clone())?, database })
        });
        // Provided once.
        let _ = self.0.set(opened);
    }

    fn opened(&self) -> Result<&Opened, Error> {
        self.0.wait().as_ref().map_err(Clone::clone)
    }

    pub(crate) fn store(&self) -> Result<&Store, Error> {
        Ok(&self.opened()?.database.store)
    }

    /// The conversation of the last visit, or a new one.
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub(crate) fn current(&self) -> Result<ipc::Conversation, Error> {
        match latest(self.store()?)? {
            Some(conversation) => self.read(conversation),
            None => self.begin(),
        }
    }

    /// The last conversation and where its session is saved, if there is one with messages.
    pub(crate) fn latest_session(&self) -> Option<(ipc::ConversationId, PathBuf)> {
        let store = self.store().ok()?;
        let latest = latest(store).ok()??;
        latest.current_leaf?;
        Some((conversation_id(&latest.id), store.session_path(&latest.id)))
    }

    fn begin(&self) -> Result<ipc::Conversation, Error> {
        let store = self.store()?;
        let id = store.create_conversation(&ConversationChange::default()).map_err(from_store)?;
        self.read(store.conversation(&id).map_err(from_store)?.ok_or(Problem::ConversationGone)?)
    }

    fn read(&self, conversation: store::Conversation) -> Result<ipc::Conversation, Error> {
        let branch = match &conversation.current_leaf {
            Some(leaf) => self.store()?.branch(leaf).map_err(from_store)?,
            None => Vec::new(),
        };
        Ok(ipc::Conversation {
            id: conversation_id(&conversation.id),
            messages: branch.into_iter().filter_map(message).collect(),
            overflow: overflow(&conversation),
            view: conversation.view.and_then(parse),
            unsaved: self.opened()?.database.unsaved.clone(),
        })
    }

    /// Stores a question and the beginning of its answer.
    ///
    /// # Errors
    /// [`Problem::NoQuestion`], [`Problem::ConversationGone`], or if the database cannot be written.
    pub(crate) fn ask(&self, request: &Request) -> Result<Asked, Error> {
        let Opened { database: Database { store, .. }, journal } = self.opened()?;
        let id = ConversationId::from(&*request.conversation.0);
        let conversation = store.conversation(&id).map_err(from_store)?;
        let conversation = conversation.ok_or(Problem::ConversationGone)?;
        let parent = request.parent.as_ref().map(|parent| MessageId::from(&*parent.0));
        let question = match &request.text {
            Some(text) if text.trim().is_empty() => return Err(Problem::NoQuestion.into()),
            Some(text) => {
                let new = NewMessage::text(&id, parent.as_ref(), Role::User, text);
                store.add_message(&new).map_err(from_store)?
            }
            None => parent.ok_or(Problem::NoQuestion)?,
        };
        let messages = prompt(store.branch(&question).map_err(from_store)?);
        let options = self.sampling()?.unwrap_or_default();
        let answer = NewMessage {
            settings: to_json(&options),
            ..NewMessage::empty(&id, Some(&question), Role::Assistant)
        };
        let answer = store.begin_message(&answer).map_err(from_store)?;
        Ok(Asked {
            id: message_id(&question),
            question: Question {
                conversation: request.conversation.clone(),
                messages,
                answer: message_id(&answer),
                options,
                overflow: overflow(&conversation),
                session: store.session_path(&id),
            },
            record: journal.record(answer),
        })
    }

    /// Deletes a conversation for good, if it is still there, and begins a new one. Also returns where
    /// the session of the deleted one is saved.
    ///
    /// # Errors
    /// If the database cannot be written, or a file stays.
    pub(crate) fn delete(
        &self,
        id: &ipc::ConversationId,
    ) -> Result<(ipc::Conversation, PathBuf), Error> {
        let (store, id) = (self.store()?, ConversationId::from(&*id.0));
        match store.delete_conversation(&id) {
            Ok(()) | Err(store::Error::NoSuchConversation { .. }) => {}
            Err(error) => return Err(from_store(error)),
        }
        Ok((self.begin()?, store.session_path(&id)))
    }

    /// Sets what happens when a conversation outgrows the context.
    ///
    /// # Errors
    /// If the conversation is gone or the database cannot be written.
    pub(crate) fn set_overflow(
        &self,
        id: &ipc::ConversationId,
        overflow: Overflow,
    ) -> Result<(), Error> {
        let word = to_json(&overflow).and_then(|word| word.as_str().map(str::to_owned));
        let change = ConversationChange { overflow: Some(word), ..ConversationChange::default() };
        let id = ConversationId::from(&*id.0);
        self.store()?.change_conversation(&id, &change).map_err(from_store)
    }

    /// How answers are sampled; `None` until that was set.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) fn sampling(&self) -> Result<Option<Options>, Error> {
        match self.store()?.get(SAMPLING) {
            Err(error @ store::Error::Setting { .. }) => {
                tracing::warn!(%error, "cannot read how answers are sampled");
                Ok(None)
            }
            result => result.map_err(from_store),
        }
    }

    /// Sets how answers are sampled.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) fn set_sampling(&self, options: &Options) -> Result<(), Error> {
        self.store()?.overwrite(SAMPLING, options).map_err(from_store)
    }
}

/// The conversation in which something was last said.
fn latest(store: &Store) -> Result<Option<store::Conversation>, Error> {
    let conversations = store.conversations(false).map_err(from_store)?;
    Ok(conversations.into_iter().max_by_key(|it| (it.updated_ms, it.created_ms)))
}

/// What the model reads of a branch that ends with a question. Questions without an answer are left
/// out, since chat templates require alternating roles; the last one is always there.
fn prompt(branch: Vec<store::Message>) -> Vec<ipc::Message> {
    let messages: Vec<ipc::Message> = branch.into_iter().filter_map(message).collect();
    let is_answer = |message: &ipc::Message| {
        message.role == ipc::Role::Assistant && !message.content.trim().is_empty()
    };
    let mut prompt: Vec<ipc::Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let follows_question = prompt.last().is_some_and(|last| last.role == ipc::Role::User);
        match message.role {
            ipc::Role::System => prompt.push(message),
            ipc::Role::User => {
                if follows_question {
                    prompt.pop();
                }
                prompt.push(message);
            }
            ipc::Role::Assistant if follows_question && is_answer(&message) => prompt.push(message),
            ipc::Role::Assistant => {}
        }
    }
    prompt
}

/// A message as doors show it; `None` for one of a kind that they do not show.
fn message(message: store::Message) -> Option<ipc::Message> {
    let role = match message.role {
        Role::System => ipc::Role::System,
        Role::User => ipc::Role::User,
        Role::Assistant => ipc::Role::Assistant,
        Role::Tool => return None,
    };
    let outcome = message.stats.and_then(parse);
    let state = match message.state {
        store::MessageState::Writing => ipc::MessageState::Writing,
        store::MessageState::Done => ipc::MessageState::Done { outcome },
        store::MessageState::Stopped => ipc::MessageState::Stopped { outcome },
        store::MessageState::Failed => {
            let error = message.error.and_then(parse);
            ipc::MessageState::Failed { error: error.unwrap_or(Problem::Unknown.into()) }
        }
    };
    let (mut content, mut reasoning) = (String::new(), None);
    for part in message.parts {
        match part.kind {
            PartKind::Text => content.push_str(&part.text),
            PartKind::Reasoning => {
                let elapsed_ms = part.data.as_ref().and_then(|data| data["elapsed_ms"].as_u64());
                let whole = reasoning.get_or_insert_with(ipc::Reasoning::default);
                whole.text.push_str(&part.text);
                whole.elapsed_ms = elapsed_ms.and_then(|ms| ms.try_into().ok());
            }
            PartKind::Attachment => {}
        }
    }
    Some(ipc::Message { id: message_id(&message.id), role, content, reasoning, state })
}

fn overflow(conversation: &store::Conversation) -> Overflow {
    conversation.overflow.clone().and_then(|word| parse(Value::String(word))).unwrap_or_default()
}

fn message_id(id: &MessageId) -> ipc::MessageId {
    ipc::MessageId(id.as_str().to_owned())
}

fn conversation_id(id: &ConversationId) -> ipc::ConversationId {
    ipc::ConversationId(id.as_str().to_owned())
}

/// A stored value; `None` for one that this version does not know.
fn parse<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

/// A value as it is stored; plain data always has one.
pub(crate) fn to_json(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}

/// Keeps the saved sessions beside `session` within their quota.
pub(crate) fn bound_saved_sessions(session: &std::path::Path) {
    if let Some(folder) = session.parent()
        && let Err(error) = enforce_session_quota(folder, SESSION_QUOTA_BYTES)
    {
        tracing::warn!(%error, "cannot remove old saved sessions");
    }
}

/// Removes sessions whose conversation is gone: the process ended while it deleted one.
fn remove_orphaned_sessions(store: &Store) {
    let any = store.session_path(&ConversationId::from("any"));
    let Some(files) = any.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else {
        return;
    };
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_suffix(".session").filter(|id| is_id(id)) else { continue };
        if let Ok(None) = store.conversation(&ConversationId::from(id))
            && let Err(error) = std::fs::remove_file(file.path())
        {
            tracing::warn!(%error, "cannot remove the session of a deleted conversation");
        }
    }
}

/// Whether `text` is an id of a conversation, and not the name of another file.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "conversations_tests.rs"]
mod tests;
