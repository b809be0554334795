//! Conversations in the database: what doors show of them, and the questions that are asked in them.

mod assistants;
mod attachments;
mod exact_prompt;
mod organise;
mod present;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Local};
use lilims_ipc::{self as ipc, AppEvent, Error, Overflow, Problem, Request, Setting, Settings};
use lilims_models::enforce_session_quota;
use lilims_store::{
    self as store, ConversationChange, ConversationId, MessageId, NewMessage, Part, Role, Store,
    question_title,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::attachments::attachment_name;
use self::attachments::{ToSend, as_read, to_send};
pub(crate) use self::organise::UNDO;
use self::present::{conversation_id, message, message_id};
use crate::database::{Database, from_store};
use crate::journal::{AnswerRecord, Journal};
use crate::settings;
use crate::token_count::TokenCounter;

/// The setting that holds the conversation of the last visit.
const SHOWN: &str = "conversation";
/// The most that saved sessions take on disk.
const SESSION_QUOTA_BYTES: u64 = 2 << 30;

/// The conversations of the user, once their database is open.
pub(crate) struct Conversations {
    opened: OnceLock<Result<Opened, Error>>,
    /// Where changes of the list go.
    events: Arc<dyn Fn(AppEvent) + Send + Sync>,
}

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
    /// The settings that were chosen for the answer.
    pub settings: Settings,
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
    /// Conversations whose database is [provided](Self::provide) later. Changes of the list go to
    /// `events`.
    pub(crate) fn new(events: Arc<dyn Fn(AppEvent) + Send + Sync>) -> Self {
        Self { opened: OnceLock::new(), events }
    }

    /// Provides the database; calls wait for it until then.
    pub(crate) fn provide(&self, database: Result<Database, Error>) {
        let opened = database.and_then(|database| {
            // What the last process deleted and could not remove any more.
            if let Err(error) = database.store.empty_trash(u64::MAX) {
                tracing::warn!(%error, "cannot remove deleted conversations");
            }
            remove_orphaned_sessions(&database.store);
            Ok(Opened { journal: Journal::start(database.store.clone())?, database })
        });
        // Provided once.
        let _ = self.opened.set(opened);
    }

    fn opened(&self) -> Result<&Opened, Error> {
        self.opened.wait().as_ref().map_err(Clone::clone)
    }

    pub(crate) fn store(&self) -> Result<&Store, Error> {
        Ok(&self.opened()?.database.store)
    }

    /// Opens a conversation at the newest branch through `message`, or at the one that was shown last.
    /// Without a conversation, that of the last visit, or a new one.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be read or written.
    pub(crate) fn open(
        &self,
        conversation: Option<&ipc::ConversationId>,
        message: Option<&ipc::MessageId>,
    ) -> Result<ipc::Conversation, Error> {
        let store = self.store()?;
        let Some(id) = conversation else {
            return match last_shown(store)? {
                Some(conversation) => self.read(conversation),
                None => self.begin(),
            };
        };
        let id = ConversationId::from(&*id.0);
        if let Some(message) = message {
            let leaf = store.leaf_below(&(&*message.0).into()).map_err(from_store)?;
            store.set_current_leaf(&id, Some(&leaf)).map_err(from_store)?;
        }
        self.show(&id)
    }

    /// The last conversation and where its session is saved, if there is one with messages.
    pub(crate) fn latest_session(&self) -> Option<(ipc::ConversationId, PathBuf)> {
        let store = self.store().ok()?;
        let latest = last_shown(store).ok()??;
        latest.current_leaf?;
        Some((conversation_id(&latest.id), store.session_path(&latest.id)))
    }

    /// What was chosen for the conversation of the last visit; nothing if it cannot be read.
    pub(crate) fn latest_settings(&self) -> ipc::Settings {
        let latest = self.store().ok().and_then(|store| last_shown(store).ok().flatten());
        latest.and_then(|latest| self.chosen(&latest).ok()).unwrap_or_default()
    }

    /// A conversation in which nothing was said.
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub(crate) fn begin(&self) -> Result<ipc::Conversation, Error> {
        let store = self.store()?;
        let id = match store.unused_conversation().map_err(from_store)? {
            Some(unused) => unused.id,
            None => {
                store.create_conversation(&ConversationChange::default()).map_err(from_store)?
            }
        };
        self.show(&id)
    }

    /// Reads a conversation, which is then that of the last visit.
    fn show(&self, id: &ConversationId) -> Result<ipc::Conversation, Error> {
        let store = self.store()?;
        let conversation = store.conversation(id).map_err(from_store)?;
        let conversation = conversation.ok_or(Problem::ConversationGone)?;
        store.overwrite(SHOWN, &id.as_str()).map_err(from_store)?;
        self.read(conversation)
    }

    fn read(&self, conversation: store::Conversation) -> Result<ipc::Conversation, Error> {
        let Opened { database: Database { store, unsaved, .. }, .. } = self.opened()?;
        let branch = match &conversation.current_leaf {
            Some(leaf) => store.branch(leaf).map_err(from_store)?,
            None => Vec::new(),
        };
        let tree = store.tree(&conversation.id, 0).map_err(from_store)?;
        let versions = present::versions(&tree);
        let shown = |stored: store::Message| {
            let versions = versions.get(&stored.id).cloned().unwrap_or_default();
            Some(ipc::Message { versions, ..message(stored)? })
        };
        let draft = store.draft(Some(&conversation.id)).map_err(from_store)?;
        Ok(ipc::Conversation {
            id: conversation_id(&conversation.id),
            messages: branch.into_iter().filter_map(shown).collect(),
            overflow: settings::overflow(&self.chosen(&conversation)?),
            assistant: assistants::assistant_of(&conversation),
            view: conversation.view.and_then(parse),
            draft: draft.map(|draft| draft.text).unwrap_or_default(),
            unsaved: unsaved.clone(),
        })
    }

    /// Stores a question with its documents, and the beginning of its answer. `counter` tells how much
    /// of long documents is sent.
    ///
    /// # Errors
    /// [`Problem::NoQuestion`], [`Problem::ConversationGone`], or if the database cannot be written.
    pub(crate) fn ask(&self, request: &Request, counter: &TokenCounter) -> Result<Asked, Error> {
        let Opened { database: Database { store, .. }, journal } = self.opened()?;
        let id = ConversationId::from(&*request.conversation.0);
        let conversation = store.conversation(&id).map_err(from_store)?;
        let conversation = conversation.ok_or(Problem::ConversationGone)?;
        let parent = request.parent.as_ref().map(|parent| MessageId::from(&*parent.0));
        let settings = self.chosen(&conversation)?;
        let begin = |question: &MessageId| {
            let answer = NewMessage {
                settings: to_json(&settings),
                ..NewMessage::empty(&id, Some(question), Role::Assistant)
            };
            store.begin_message(&answer).map_err(from_store)
        };
        let (question, last, answer) = match &request.text {
            Some(text) => {
                let ToSend { mut parts, from_draft } = to_send(store, request, text, counter)?;
                if !text.trim().is_empty() {
                    parts.push(Part::text(text));
                } else if let Some(document) = parts.first() {
                    if conversation.title.is_none() {
                        let title = question_title(&attachment_name(document));
                        store.propose_title(&id, &title).map_err(from_store)?;
                    }
                } else {
                    return Err(Problem::NoQuestion.into());
                }
                let empty = NewMessage::empty(&id, parent.as_ref(), Role::User);
                let question = NewMessage { parts, ..empty };
                let settings = to_json(&settings);
                let turn = store.begin_turn(&question, settings.as_ref(), &from_draft);
                let (question, answer) = turn.map_err(from_store)?;
                (question.clone(), question, answer)
            }
            None => {
                let parent = parent.ok_or(Problem::NoQuestion)?;
                let message = store.message(&parent).map_err(from_store)?;
                let message = message.ok_or(Problem::ConversationGone)?;
                match (message.role, message.parent) {
                    (Role::Assistant, Some(question)) => {
                        let answer = continued(store, &parent)?;
                        (question, parent, answer)
                    }
                    _ => (parent.clone(), parent.clone(), begin(&parent)?),
                }
            }
        };
        // What is continued is read, too; so this comes before the answer grows.
        let messages = prompt(store.branch(&last).map_err(from_store)?);
        let messages = with_instructions(messages, &settings, Local::now());
        self.notify(&id);
        Ok(Asked {
            id: message_id(&question),
            question: Question {
                conversation: request.conversation.clone(),
                messages,
                answer: message_id(&answer),
                settings,
                session: store.session_path(&id),
            },
            record: journal.record(answer),
        })
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
        let word = Some(settings::word(overflow));
        let change = ConversationChange { overflow: Some(word), ..ConversationChange::default() };
        let id = ConversationId::from(&*id.0);
        self.store()?.change_conversation(&id, &change).map_err(from_store)
    }
}

/// The conversation of the last visit, or the one in which something was last said.
fn last_shown(store: &Store) -> Result<Option<store::Conversation>, Error> {
    let shown = store.get::<String>(SHOWN).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read which conversation was shown last");
        None
    });
    if let Some(id) = shown
        && let Some(conversation) = store.conversation(&id.into()).map_err(from_store)?
    {
        return Ok(Some(conversation));
    }
    let conversations = store.conversations(false).map_err(from_store)?;
    Ok(conversations.into_iter().max_by_key(|it| (it.updated_ms, it.created_ms)))
}

/// Makes an answer go on: itself where nothing follows it, else a copy beside it.
fn continued(store: &Store, answer: &MessageId) -> Result<MessageId, Error> {
    let message = store.message(answer).map_err(from_store)?.ok_or(Problem::ConversationGone)?;
    if store.leaf_below(answer).map_err(from_store)? == *answer {
        store.reopen_message(answer).map_err(from_store)?;
        store.set_current_leaf(&message.conversation, Some(answer)).map_err(from_store)?;
        return Ok(answer.clone());
    }
    let parent = message.parent.as_ref();
    let copy = NewMessage {
        settings: message.settings,
        parts: message.parts,
        ..NewMessage::empty(&message.conversation, parent, Role::Assistant)
    };
    store.begin_message(&copy).map_err(from_store)
}

/// What the model reads of a branch that ends with a question or with an answer to continue. Documents
/// stand in the text of their questions. Questions
/// without an answer are left out, since chat templates require alternating roles; the last one is
/// always there.
fn prompt(branch: Vec<store::Message>) -> Vec<ipc::Message> {
    let messages: Vec<ipc::Message> = branch.into_iter().filter_map(as_read).collect();
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
            ipc::Role::Assistant if is_answer(&message) => prompt.push(message),
            ipc::Role::Assistant => {}
        }
    }
    prompt
}

/// Messages with the instructions of a question asked at `now` before them, unless they begin with some
/// of their own.
fn with_instructions(
    mut messages: Vec<ipc::Message>,
    settings: &Settings,
    now: DateTime<Local>,
) -> Vec<ipc::Message> {
    let has_own = messages.first().is_some_and(|first| first.role == ipc::Role::System);
    if let Some(text) = settings::text(settings, Setting::Instructions).filter(|_| !has_own) {
        let instructions = ipc::Message {
            id: ipc::MessageId(String::new()),
            role: ipc::Role::System,
            content: settings::with_variables(text, now),
            reasoning: None,
            state: ipc::MessageState::Done { outcome: None },
            versions: Vec::new(),
            attachments: Vec::new(),
        };
        messages.insert(0, instructions);
    }
    messages
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
