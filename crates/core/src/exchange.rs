//! Exports and imports of conversations, and what programs that wait show of them.
//!
//! `lilims-interchange` knows the formats and `lilims-store` the rows; this joins them. Nothing here
//! loads a model or opens a connection.

mod convert;
#[cfg(test)]
mod tests;

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_engine::Error as Engine;
use lilims_files::{AtomicFile, AtomicFileOptions};
use lilims_interchange::{self as interchange, JsonWriter, Limits, SkipReason};
use lilims_ipc::{ExportFormat, ImportReport, ItemSkipReason, SkippedItem};
use lilims_models::data_dir;
use lilims_store::{self as store, ConversationId, Inserted, PartKind, Store};
use serde::Serialize;

use crate::conversations::attachment_name;
use crate::destination::check_destination;
use crate::error::Error;

/// The conversations of this user, to list, search, export and import.
///
/// Calls block until the database and the disk have answered.
#[derive(Clone, Debug)]
pub struct ConversationArchive {
    store: Arc<Store>,
}

/// A conversation in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedConversation {
    /// Names it.
    pub id: String,
    /// Its title.
    pub title: Option<String>,
    /// The name of the folder that it is in.
    pub folder: Option<String>,
    /// When something was last said in it; milliseconds since 1970.
    pub updated_ms: u64,
    /// Whether it stands before the others.
    #[serde(rename = "pinned")]
    pub is_pinned: bool,
    /// Whether it is put away.
    #[serde(rename = "archived")]
    pub is_archived: bool,
}

/// A message that a search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundMessage {
    /// The conversation that it is in.
    pub conversation: String,
    /// The title of the conversation.
    pub title: Option<String>,
    /// The message.
    pub message: String,
    /// When it was created; milliseconds since 1970.
    pub created_ms: u64,
    /// A piece of its text around the first match.
    pub excerpt: String,
}

/// A conversation with the branch that is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownConversation {
    /// The conversation.
    #[serde(flatten)]
    pub conversation: ListedConversation,
    /// When it was created; milliseconds since 1970.
    pub created_ms: u64,
    /// The messages of the branch, oldest first.
    pub messages: Vec<ShownMessage>,
}

/// A message of a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownMessage {
    /// Names it.
    pub id: String,
    /// Who wrote it: `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// When it was created; milliseconds since 1970.
    pub created_ms: u64,
    /// The model that wrote it.
    pub model: Option<String>,
    /// What the model wrote for itself.
    pub reasoning: Option<String>,
    /// The names of its documents.
    pub attachments: Vec<String>,
    /// Its text, Markdown as written.
    pub content: String,
}

impl ConversationArchive {
    /// Opens the database of this user.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open() -> Result<Self, Error> {
        Ok(Self::new(Arc::new(Store::open(&data_dir()?).map_err(from_store)?)))
    }

    /// The conversations of a database that is open.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// All conversations, the newest first, those that are put away too.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn list(&self) -> Result<Vec<ListedConversation>, Error> {
        let folders = self.store.conversation_folders().map_err(from_store)?;
        let heads = self.store.conversation_heads().map_err(from_store)?;
        let listed = heads.into_iter().map(|head| ListedConversation {
            folder: folders
                .iter()
                .find(|folder| Some(&folder.id) == head.folder.as_ref())
                .map(|folder| folder.name.clone()),
            id: head.id.to_string(),
            title: head.title,
            updated_ms: head.updated_ms,
            is_pinned: head.is_pinned,
            is_archived: head.is_archived,
        });
        Ok(listed.collect())
    }

    /// The messages that have all words of `text`, the best first and at most `limit`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn search(&self, text: &str, limit: u32) -> Result<Vec<FoundMessage>, Error> {
        let hits = self.store.search(text, None, limit).map_err(from_store)?;
        let found = hits.into_iter().map(|hit| FoundMessage {
            conversation: hit.conversation.to_string(),
            title: hit.title,
            message: hit.message.to_string(),
            created_ms: hit.created_ms,
            excerpt: hit.excerpt,
        });
        Ok(found.collect())
    }

    /// A conversation with the branch that is shown.
    ///
    /// # Errors
    /// [`Error::UnknownConversation`], or if the database cannot be read.
    pub fn show(&self, id: &str) -> Result<ShownConversation, Error> {
        let conversation = self.conversation(&ConversationId::from(id))?;
        let folders = self.store.conversation_folders().map_err(from_store)?;
        let folder = folders.into_iter().find(|it| Some(&it.id) == conversation.folder.as_ref());
        let branch = match &conversation.current_leaf {
            Some(leaf) => self.store.branch(leaf).map_err(from_store)?,
            None => Vec::new(),
        };
        Ok(ShownConversation {
            conversation: ListedConversation {
                id: conversation.id.to_string(),
                title: conversation.title,
                folder: folder.map(|folder| folder.name),
                updated_ms: conversation.updated_ms,
                is_pinned: conversation.is_pinned,
                is_archived: conversation.is_archived,
            },
            created_ms: conversation.created_ms,
            messages: branch.into_iter().map(shown).collect(),
        })
    }

    /// Writes one conversation, or all of them, to the file `out`, which appears when it is complete and
    /// then replaces one of this name. Returns how many conversations it has.
    ///
    /// JSON has all branches. Markdown and plain text have the branch to `leaf`; `None` is the one that is
    /// shown.
    ///
    /// # Errors
    /// [`Error::UnknownConversation`]; [`Error::File`] and [`Error::Write`]; or if the database cannot be
    /// read.
    pub fn export(
        &self,
        id: Option<&str>,
        leaf: Option<&str>,
        format: ExportFormat,
        out: &Path,
    ) -> Result<u64, Error> {
        check_destination(out, &[])?;
        let ids: Vec<ConversationId> = match id {
            Some(id) => vec![self.conversation(&ConversationId::from(id))?.id],
            None => {
                let heads = self.store.conversation_heads().map_err(from_store)?;
                heads.into_iter().map(|head| head.id).collect()
            }
        };
        // Only the user may read what was said.
        let options = AtomicFileOptions { is_private: true, ..AtomicFileOptions::default() };
        let mut file = AtomicFile::with_options(out, options)?;
        let written = self.write(&ids, leaf, format, file.file());
        let n_conversations = written.map_err(|error| match error {
            Written::Store(error) => error,
            Written::Io(error) => Error::Write { path: out.to_owned(), source: error.into() },
        })?;
        file.commit()?;
        Ok(n_conversations)
    }

    fn write(
        &self,
        ids: &[ConversationId],
        leaf: Option<&str>,
        format: ExportFormat,
        file: &mut impl Write,
    ) -> Result<u64, Written> {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let mut n_conversations = 0;
        let mut read = |id: &ConversationId| -> Result<Option<interchange::Conversation>, Written> {
            // One that was deleted meanwhile is no longer among all.
            let whole = self.store.whole_conversation(id);
            let whole = whole.map_err(|error| Written::Store(from_store(error)))?;
            n_conversations += u64::from(whole.is_some());
            Ok(whole.map(convert::to_file))
        };
        if format == ExportFormat::Json {
            let mut writer = JsonWriter::new(&mut out)?;
            for id in ids {
                if let Some(conversation) = read(id)? {
                    writer.write(&conversation)?;
                }
            }
            writer.finish()?;
        } else {
            for (idx, id) in ids.iter().enumerate() {
                let Some(conversation) = read(id)? else { continue };
                let leaf = leaf.or(conversation.current_leaf.as_deref());
                let separator = if idx > 0 { "---\n\n" } else { "" };
                out.write_all(separator.as_bytes())?;
                match format {
                    ExportFormat::Markdown => {
                        interchange::write_markdown(&conversation, leaf, &mut out)?;
                    }
                    _ => interchange::write_text(&conversation, leaf, &mut out)?,
                }
            }
        }
        out.flush()?;
        Ok(n_conversations)
    }

    /// Imports the conversations of the file at `path`: an export of Lilims or of another program, which
    /// is recognised by its content. Each conversation is stored completely or not at all; those that
    /// were stored before an error or a cancellation stay.
    ///
    /// # Errors
    /// [`Error::Import`] where nothing can be read; if `cancel` was set; or if the database cannot be
    /// written.
    pub fn import(&self, path: &Path, cancel: &AtomicBool) -> Result<ImportReport, Error> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let (mut report, mut failure) = (ImportReport::default(), None);
        let skip = |report: &mut ImportReport, reason, conversation, count| {
            report.skipped.push(SkippedItem { reason, count, file: name.clone(), conversation });
        };
        let mut n_here = 0;
        let read = interchange::read_file(path, &Limits::default(), &mut |format, conversation| {
            if cancel.load(Ordering::Relaxed) {
                failure = Some(Engine::Cancelled.into());
                return ControlFlow::Break(());
            }
            let whole = convert::from_file(format, conversation);
            if whole.messages.is_empty() && whole.conversation.title.is_none() {
                skip(&mut report, ItemSkipReason::Empty, None, 1);
                return ControlFlow::Continue(());
            }
            match self.store.insert_conversation(&whole) {
                Ok(Inserted::New(_)) => {
                    report.conversations += 1;
                    report.messages += whole.messages.len() as u64;
                }
                Ok(Inserted::AlreadyHere(_)) => n_here += 1,
                Err(error) => {
                    failure = Some(from_store(error));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        let summary = match (failure, read) {
            (Some(error), _) => return Err(error),
            (None, read) => read.map_err(|source| Error::Import {
                path: path.to_owned(),
                source: Box::new(source),
            })?,
        };
        if n_here > 0 {
            skip(&mut report, ItemSkipReason::AlreadyHere, None, n_here);
        }
        for skipped in summary.skipped {
            skip(&mut report, reason(skipped.reason), skipped.conversation, skipped.count);
        }
        let ImportReport { conversations, messages, .. } = report;
        tracing::info!(conversations, messages, formats = ?summary.formats, "imported conversations");
        Ok(report)
    }

    fn conversation(&self, id: &ConversationId) -> Result<store::Conversation, Error> {
        let found = self.store.conversation(id).map_err(from_store)?;
        found.ok_or_else(|| Error::UnknownConversation(id.to_string()))
    }
}

/// Why an export was not written.
enum Written {
    Store(Error),
    Io(std::io::Error),
}

impl From<std::io::Error> for Written {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn from_store(error: store::Error) -> Error {
    match error {
        store::Error::NoSuchConversation { id } => Error::UnknownConversation(id.to_string()),
        error => lilims_hub::Error::from(error).into(),
    }
}

fn shown(message: store::Message) -> ShownMessage {
    let text = |kind: PartKind| {
        let parts = message.parts.iter().filter(move |part| part.kind == kind);
        parts.map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n\n")
    };
    let reasoning = Some(text(PartKind::Reasoning)).filter(|text| !text.is_empty());
    let documents = message.parts.iter().filter(|part| part.kind == PartKind::Attachment);
    ShownMessage {
        attachments: documents.map(attachment_name).collect(),
        content: text(PartKind::Text),
        reasoning,
        id: message.id.to_string(),
        role: message.role.as_str(),
        created_ms: message.created_ms,
        model: message.model,
    }
}

fn reason(reason: SkipReason) -> ItemSkipReason {
    match reason {
        SkipReason::NotAConversation => ItemSkipReason::NotAConversation,
        SkipReason::Empty => ItemSkipReason::Empty,
        SkipReason::ConversationTooLarge => ItemSkipReason::ConversationTooLarge,
        SkipReason::HiddenMessage => ItemSkipReason::HiddenMessage,
        SkipReason::TooMany => ItemSkipReason::TooMany,
        SkipReason::TooDeep => ItemSkipReason::TooDeep,
        SkipReason::AttachmentContent => ItemSkipReason::AttachmentContent,
        SkipReason::Damaged => ItemSkipReason::Damaged,
        SkipReason::BeyondLimit => ItemSkipReason::BeyondLimit,
    }
}
