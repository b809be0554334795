//! The list of conversations: titles, folders, deletion with time to undo it, branches and searches.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lilims_ipc::{self as ipc, AppEvent, Error, Problem};
use lilims_store::{
    self as store, ConversationChange, ConversationId, MessageId, NewMessage, Part,
};

use super::Conversations;
use super::attachments::of_message;
use super::present::{self, conversation_id};
use crate::database::from_store;
use crate::exchange::ConversationArchive;
use crate::title;

/// How long something deleted can be restored.
pub(crate) const UNDO: Duration = Duration::from_secs(10);
/// The most messages that a search finds.
const MAX_HITS: u32 = 100;
/// The longest title, in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Characters of a message in the map of branches.
const EXCERPT_CHARS: u32 = 120;

impl Conversations {
    /// All conversations and their folders.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) fn list(&self) -> Result<ipc::ConversationList, Error> {
        let heads = self.store()?.conversation_heads().map_err(from_store)?;
        let conversations = heads.into_iter().map(present::head).collect();
        Ok(ipc::ConversationList { conversations, folders: self.folders()? })
    }

    fn folders(&self) -> Result<Vec<ipc::ConversationFolder>, Error> {
        let folders = self.store()?.conversation_folders().map_err(from_store)?;
        Ok(folders.into_iter().map(present::folder).collect())
    }

    /// Reports the row of a conversation to the doors.
    pub(super) fn notify(&self, id: &ConversationId) {
        let read = self.store().and_then(|store| store.conversation(id).map_err(from_store));
        match read {
            Ok(conversation) => {
                (self.events)(match conversation.as_ref().and_then(present::listed) {
                    Some(head) => AppEvent::Conversation(head),
                    None => AppEvent::ConversationGone(conversation_id(id)),
                })
            }
            Err(error) => tracing::warn!(?error, "cannot read a conversation that changed"),
        }
    }

    fn notify_folders(&self) {
        match self.folders() {
            Ok(folders) => (self.events)(AppEvent::ConversationFolders(folders)),
            Err(error) => tracing::warn!(?error, "cannot read the folders that changed"),
        }
    }

    /// Changes a conversation's title or place in the list.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be written.
    pub(crate) fn change(
        &self,
        id: &ipc::ConversationId,
        change: ipc::ConversationChange,
    ) -> Result<(), Error> {
        let id = ConversationId::from(&*id.0);
        let mut wanted = ConversationChange::default();
        match change {
            ipc::ConversationChange::Title(title) => wanted.title = Some(one_line(&title)),
            ipc::ConversationChange::Pinned(is_pinned) => wanted.is_pinned = Some(is_pinned),
            ipc::ConversationChange::Archived(is_archived) => {
                wanted.is_archived = Some(is_archived);
            }
            ipc::ConversationChange::Folder(folder) => {
                wanted.folder = Some(folder.map(|folder| folder.0.into()));
            }
        }
        self.store()?.change_conversation(&id, &wanted).map_err(from_store)?;
        self.notify(&id);
        Ok(())
    }

    /// Conversations of the last day whose title is only the beginning of their question, with their first
    /// question and its answer, the newest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) fn untitled(&self, limit: u32) -> Result<Vec<(String, String, String)>, Error> {
        let store = self.store()?;
        let since = now_ms().saturating_sub(title::MAX_AGE.as_millis() as u64);
        let mut untitled = Vec::new();
        for id in store.conversations_to_title(limit).map_err(from_store)? {
            let Some(conversation) = store.conversation(&id).map_err(from_store)? else { continue };
            let Some(leaf) = conversation.current_leaf.filter(|_| conversation.updated_ms >= since)
            else {
                continue;
            };
            let branch = store.branch(&leaf).map_err(from_store)?;
            let mut texts = branch.into_iter().filter_map(present::message);
            let question = texts.find(|it| it.role == ipc::Role::User).map(|it| it.content);
            let answer = texts.find(|it| it.role == ipc::Role::Assistant).map(|it| it.content);
            if let (Some(question), Some(answer)) = (question, answer) {
                untitled.push((id.as_str().to_owned(), question, answer));
            }
        }
        Ok(untitled)
    }

    /// Sets the title that a model proposes, unless the user wrote one.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) fn propose_title(&self, id: &str, title: &str) -> Result<(), Error> {
        let id = ConversationId::from(id);
        let is_set = self.store()?.propose_title(&id, title).map_err(from_store)?;
        if is_set {
            self.notify(&id);
        }
        Ok(())
    }

    /// Hides a conversation until it is restored or purged.
    ///
    /// # Errors
    /// If the database cannot be written. One that is gone is no error.
    pub(crate) fn delete(&self, id: &ipc::ConversationId) -> Result<(), Error> {
        let id = ConversationId::from(&*id.0);
        match self.store()?.trash_conversation(&id) {
            Ok(()) | Err(store::Error::NoSuchConversation { .. }) => {}
            Err(error) => return Err(from_store(error)),
        }
        self.notify(&id);
        Ok(())
    }

    /// Shows a conversation again that was hidden.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be written.
    pub(crate) fn restore(&self, id: &ipc::ConversationId) -> Result<(), Error> {
        let id = ConversationId::from(&*id.0);
        if !self.store()?.restore_conversation(&id).map_err(from_store)? {
            return Err(Problem::ConversationGone.into());
        }
        self.notify(&id);
        Ok(())
    }

    /// Deletes for good what was hidden at least [`UNDO`] ago. Returns the conversations that are gone,
    /// each with the place of its session.
    ///
    /// # Errors
    /// If the database cannot be written, or a file stays.
    pub(crate) fn purge(&self, now_ms: u64) -> Result<Vec<(ipc::ConversationId, PathBuf)>, Error> {
        let store = self.store()?;
        let until_ms = now_ms.saturating_sub(UNDO.as_millis() as u64);
        let emptied = store.empty_trash(until_ms).map_err(from_store)?;
        emptied.changed.iter().for_each(|id| self.notify(id));
        Ok(emptied.gone.iter().map(|id| (conversation_id(id), store.session_path(id))).collect())
    }

    /// Deletes for good all that was hidden. Does nothing where the database was never opened.
    ///
    /// # Errors
    /// As for [`Conversations::purge`].
    pub(crate) fn purge_all(&self) -> Result<(), Error> {
        match self.opened.get() {
            Some(Ok(opened)) => {
                opened.database.store.empty_trash(u64::MAX).map(drop).map_err(from_store)
            }
            _ => Ok(()),
        }
    }

    /// Deletes all conversations for good, at once.
    ///
    /// # Errors
    /// If the database cannot be written, or a file stays.
    pub(crate) fn delete_all(&self) -> Result<(), Error> {
        let store = self.store()?;
        let heads = store.conversation_heads().map_err(from_store)?;
        store.delete_all_conversations().map_err(from_store)?;
        for head in heads {
            (self.events)(AppEvent::ConversationGone(conversation_id(&head.id)));
        }
        self.notify_folders();
        Ok(())
    }

    /// About how much disk space all conversations take.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) fn size_bytes(&self) -> Result<u64, Error> {
        self.store()?.conversations_size_bytes().map_err(from_store)
    }

    /// The messages that have the words of `query`, the best first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) fn search(&self, query: &str) -> Result<Vec<ipc::SearchHit>, Error> {
        let hits = self.store()?.search(query, None, MAX_HITS).map_err(from_store)?;
        Ok(hits.into_iter().map(present::hit).collect())
    }

    /// All messages of a conversation as a tree.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be read.
    pub(crate) fn branch_map(
        &self,
        id: &ipc::ConversationId,
    ) -> Result<Vec<ipc::BranchNode>, Error> {
        let (store, id) = (self.store()?, ConversationId::from(&*id.0));
        let conversation = store.conversation(&id).map_err(from_store)?;
        let conversation = conversation.ok_or(Problem::ConversationGone)?;
        let tree = store.tree(&id, EXCERPT_CHARS).map_err(from_store)?;
        Ok(present::branch_map(&tree, conversation.current_leaf.as_ref()))
    }

    /// Adds a version of a message that says `text`, and shows it.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`]; [`Problem::NoQuestion`] for a text without a word; or if the
    /// database cannot be written.
    pub(crate) fn edit(&self, id: &ipc::MessageId, text: &str) -> Result<ipc::Conversation, Error> {
        if text.trim().is_empty() {
            return Err(Problem::NoQuestion.into());
        }
        let store = self.store()?;
        let message = store.message(&(&*id.0).into()).map_err(from_store)?;
        let message = message.ok_or(Problem::ConversationGone)?;
        let new = NewMessage {
            model: message.model.clone(),
            parts: of_message(&message).chain([Part::text(text)]).collect(),
            ..NewMessage::empty(&message.conversation, message.parent.as_ref(), message.role)
        };
        store.add_message(&new).map_err(from_store)?;
        self.notify(&message.conversation);
        self.show(&message.conversation)
    }

    /// Copies the branch up to a message to a new conversation.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], [`Problem::Answering`], or if the database cannot be written.
    pub(crate) fn fork(&self, id: &ipc::MessageId) -> Result<ipc::Conversation, Error> {
        let (store, id) = (self.store()?, MessageId::from(&*id.0));
        let message = store.message(&id).map_err(from_store)?;
        let message = message.ok_or(Problem::ConversationGone)?;
        let fork = store.fork(&message.conversation, &id).map_err(from_store)?;
        self.notify(&fork);
        self.show(&fork)
    }

    /// Hides a message and what follows it until they are restored or purged.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`]; [`Problem::Answering`] while one of them is written; or if the
    /// database cannot be written.
    pub(crate) fn delete_message(&self, id: &ipc::MessageId) -> Result<ipc::Conversation, Error> {
        let (store, id) = (self.store()?, MessageId::from(&*id.0));
        let message = store.message(&id).map_err(from_store)?;
        let message = message.ok_or(Problem::ConversationGone)?;
        store.trash_message(&id).map_err(from_store)?;
        self.show(&message.conversation)
    }

    /// Shows a message again that was hidden, with what follows it, in the branch that ends with `leaf`.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be written.
    pub(crate) fn restore_message(
        &self,
        id: &ipc::MessageId,
        leaf: &ipc::MessageId,
    ) -> Result<ipc::Conversation, Error> {
        let (store, id) = (self.store()?, MessageId::from(&*id.0));
        if !store.restore_message(&id, &(&*leaf.0).into()).map_err(from_store)? {
            return Err(Problem::ConversationGone.into());
        }
        let message = store.message(&id).map_err(from_store)?;
        self.show(&message.ok_or(Problem::ConversationGone)?.conversation)
    }

    /// Stores what is typed into a conversation and not sent.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be written.
    pub(crate) fn set_draft(&self, id: &ipc::ConversationId, text: &str) -> Result<(), Error> {
        self.store()?.set_draft(Some(&(&*id.0).into()), text).map_err(from_store)
    }

    /// Exports one conversation, or all, to the file at `path`. Returns how many.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the file cannot be written.
    pub(crate) fn export(
        &self,
        id: Option<&ipc::ConversationId>,
        format: ipc::ExportFormat,
        path: &Path,
    ) -> Result<u64, Error> {
        let id = id.map(|id| &*id.0);
        Ok(self.archive()?.export(id, None, format, path)?)
    }

    /// Imports the conversations of files. What was taken before an error stays.
    ///
    /// # Errors
    /// Why a file cannot be read.
    pub(crate) fn import(&self, paths: &[String]) -> Result<ipc::ImportReport, Error> {
        let archive = self.archive()?;
        let mut report = ipc::ImportReport::default();
        for path in paths {
            report.add(archive.import(path.as_ref(), &AtomicBool::new(false))?);
        }
        self.notify_folders();
        Ok(report)
    }

    fn archive(&self) -> Result<ConversationArchive, Error> {
        Ok(ConversationArchive::new(Arc::clone(&self.opened()?.database.store)))
    }

    /// Creates a folder.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) fn create_folder(&self, name: &str) -> Result<ipc::ConversationFolder, Error> {
        let name = one_line(name).unwrap_or_default();
        let id = self.store()?.create_conversation_folder(&name).map_err(from_store)?;
        self.notify_folders();
        Ok(present::folder(store::Folder { id, name }))
    }

    /// Renames a folder.
    ///
    /// # Errors
    /// If the folder is gone or the database cannot be written.
    pub(crate) fn rename_folder(&self, id: &ipc::FolderId, name: &str) -> Result<(), Error> {
        let name = one_line(name).unwrap_or_default();
        let renamed = self.store()?.rename_conversation_folder(&(&*id.0).into(), &name);
        renamed.map_err(from_store)?;
        self.notify_folders();
        Ok(())
    }

    /// Removes a folder, whose conversations stay.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) fn remove_folder(&self, id: &ipc::FolderId) -> Result<(), Error> {
        let store = self.store()?;
        let mut inside = store.conversation_heads().map_err(from_store)?;
        inside.retain(|head| head.folder.as_ref().is_some_and(|folder| folder.as_str() == id.0));
        store.remove_conversation_folder(&(&*id.0).into()).map_err(from_store)?;
        inside.iter().for_each(|head| self.notify(&head.id));
        self.notify_folders();
        Ok(())
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// A title or name on one line, with bounded length; `None` for an empty one.
pub(super) fn one_line(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(MAX_TITLE_CHARS).collect();
    (!line.is_empty()).then_some(line)
}
