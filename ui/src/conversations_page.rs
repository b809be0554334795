//! Connects the conversation and the sidebar with the shell: opening, asking, editing, organising.

use std::time::Duration;

use leptos::{ev, leptos_dom::helpers::TimeoutHandle, prelude::*, task::spawn_local};
use lilims_ipc::{
    AttachmentChange, Command, Conversation, ConversationChange, ConversationId, ExactPrompt,
    ExportFormat, ImportReport, MessageId, Reply,
};

use crate::bridge;
use crate::components::{MessageActions, SidebarActions};
use crate::outbox::Outbox;
use crate::state::{Chat, Deleted, DraftAttachments, Outgoing, Sidebar, Undo};
use crate::text::text;

/// How long a deletion can be undone; a little less than the shell allows.
const UNDO: Duration = Duration::from_millis(9_500);
/// How long after a key what was typed is stored.
const DRAFT_DELAY: Duration = Duration::from_millis(400);

/// What the conversation and the sidebar share. Copies share it.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    /// The conversation that is shown.
    pub(crate) chat: Chat,
    /// The list.
    pub(crate) sidebar: Sidebar,
    /// The last deletion.
    pub(crate) undo: Undo,
    /// What is typed and not sent.
    pub(crate) draft: RwSignal<String>,
    /// The documents that are attached to it.
    pub(crate) attachments: DraftAttachments,
    /// The message to scroll to.
    pub(crate) target: RwSignal<Option<MessageId>>,
    /// The exact prompt of an answer, while it is shown.
    pub(crate) prompt: RwSignal<Option<ExactPrompt>>,
    /// What the last import took, while that is shown.
    pub(crate) report: RwSignal<Option<ImportReport>>,
    /// Calls in their order.
    pub(crate) outbox: Outbox,
    /// Drafts in their order. They do not wait for other calls, of which some are slow.
    drafts: Outbox,
    /// The draft as it is stored.
    stored_draft: StoredValue<String>,
    draft_timer: StoredValue<Option<TimeoutHandle>>,
}

impl Page {
    /// An empty page.
    pub(crate) fn new() -> Self {
        let page = Self {
            chat: Chat::new(),
            sidebar: Sidebar::new(bridge::is_wide()),
            undo: Undo::new(),
            draft: RwSignal::new(bridge::take_frame()),
            attachments: DraftAttachments::new(),
            target: RwSignal::default(),
            prompt: RwSignal::default(),
            report: RwSignal::default(),
            outbox: Outbox::new(),
            drafts: Outbox::new(),
            stored_draft: StoredValue::default(),
            draft_timer: StoredValue::new(None),
        };
        page.keep_draft();
        page.follow_attachments();
        page.follow_search();
        page.follow_width();
        page
    }

    /// Loads the list, and shows the conversation of the last visit.
    pub(crate) fn start(self) {
        self.reopen();
        self.outbox.send(async move {
            match bridge::conversations().await {
                Ok(list) => self.sidebar.arrived(list),
                Err(error) => self.chat.conversation_failed(error),
            }
        });
    }

    /// Shows the conversation of the last visit.
    pub(crate) fn reopen(self) {
        self.show_reply_of(Command::OpenConversation { conversation: None, message: None });
    }

    /// Leaves the conversation and opens another one, at a message if one is given.
    pub(crate) fn open(self, conversation: ConversationId, message: Option<MessageId>) {
        let is_shown =
            self.chat.conversation.with_untracked(|it| *it == Some(conversation.clone()));
        self.close_drawer();
        self.target.set(message.clone());
        if is_shown && message.is_none() {
            return;
        }
        if !is_shown {
            self.leave();
        }
        let conversation = Some(conversation);
        self.show_reply_of(Command::OpenConversation { conversation, message });
    }

    /// Begins a new conversation.
    pub(crate) fn begin(self) {
        self.close_drawer();
        self.leave();
        self.show_reply_of(Command::NewConversation);
    }

    fn leave(self) {
        self.store_draft();
        self.chat.leave();
        self.draft.set(String::new());
        self.stored_draft.set_value(String::new());
    }

    /// On a narrow window the sidebar covers the conversation.
    fn close_drawer(self) {
        if !bridge::is_wide() {
            self.sidebar.is_open.set(false);
        }
    }

    /// Hides the sidebar when the window becomes narrow, and shows it again when it becomes wide.
    fn follow_width(self) {
        let is_open = self.sidebar.is_open;
        let was_wide = StoredValue::new(bridge::is_wide());
        // A window that begins narrow has it once it is wide.
        let was_open = StoredValue::new(true);
        let listener = window_event_listener(ev::resize, move |_| {
            let is_wide = bridge::is_wide();
            if is_wide == was_wide.get_value() {
                return;
            }
            was_wide.set_value(is_wide);
            if is_wide {
                is_open.set(was_open.get_value());
            } else {
                was_open.set_value(is_open.get_untracked());
                is_open.set(false);
            }
        });
        on_cleanup(move || listener.remove());
    }

    /// Executes a command that opens a conversation, and shows it.
    fn show_reply_of(self, command: Command) {
        self.outbox.send(async move {
            // Its own draft may be on its way.
            self.drafts.settled().await;
            match bridge::conversation(&command).await {
                Ok(conversation) => self.show(conversation),
                Err(error) => self.chat.conversation_failed(error),
            }
        });
    }

    fn show(self, conversation: Conversation) {
        let is_other =
            self.chat.conversation.with_untracked(|it| *it != Some(conversation.id.clone()));
        if is_other {
            self.stored_draft.set_value(conversation.draft.clone());
            // What was typed while it was on its way follows its draft.
            let typed = self.draft.get_untracked();
            if typed.is_empty() {
                self.draft.set(conversation.draft.clone());
            } else if !typed.starts_with(&conversation.draft) {
                self.draft.set(format!("{} {typed}", conversation.draft));
            }
        }
        self.dispatch(self.chat.show(conversation));
    }

    /// Sends a request of the state and passes the events back to it.
    pub(crate) fn dispatch(self, outgoing: Option<Outgoing>) {
        let Some(Outgoing { answer, request }) = outgoing else { return };
        let chat = self.chat;
        self.outbox.send(async move {
            let on_event = move |event| chat.apply(answer, event);
            if let Err(error) = bridge::ask(&request, on_event).await {
                chat.rejected(answer, error);
                // What was not sent is still attached.
                self.change_attachments(AttachmentChange::List);
            }
        });
    }

    /// Executes a command whose reply says nothing; an error is shown with the conversation.
    fn execute(self, command: Command) {
        self.outbox.send(async move {
            if let Err(error) = bridge::call(&command).await {
                self.chat.conversation_failed(error);
            }
        });
    }

    /// Sends what is typed.
    pub(crate) fn submit(self) {
        let question = self.draft.get_untracked();
        if !self.chat.is_answering() {
            self.draft.set(String::new());
            self.ask(&question);
        }
    }

    /// Stops the answer that is being written.
    pub(crate) fn stop(self) {
        if self.chat.stop() {
            spawn_local(async {
                // The answer may have ended meanwhile.
                let _ = bridge::stop().await;
            });
        }
    }

    /// Reads the exact prompt of an answer and shows it.
    pub(crate) fn show_prompt(self, key: u64) {
        let Some(message) = self.chat.id_of(key) else { return };
        spawn_local(async move {
            match bridge::call(&Command::ExactPrompt { message }).await {
                Ok(Reply::ExactPrompt(prompt)) => self.prompt.set(Some(prompt)),
                Ok(_) => {}
                Err(error) => self.chat.conversation_failed(error),
            }
        });
    }

    /// Asks a question with the documents that are attached.
    pub(crate) fn ask(self, question: &str) {
        self.dispatch(self.chat.ask(question, self.attachments.take()));
    }

    /// What the user can do with messages.
    pub(crate) fn message_actions(self, on_copy: Callback<String>) -> MessageActions {
        let chat = self.chat;
        let with_id = move |key: u64, command: fn(MessageId) -> Command| {
            if let Some(id) = chat.id_of(key) {
                self.show_reply_of(command(id));
            }
        };
        MessageActions {
            on_copy,
            on_edit: Callback::new(move |key| chat.editing.set(key)),
            on_save: Callback::new(move |(key, text)| self.save_edit(key, text)),
            on_again: Callback::new(move |key| self.dispatch(chat.again(key))),
            on_continue: Callback::new(move |key| self.dispatch(chat.continue_answer(key))),
            on_prompt: Callback::new(move |key| self.show_prompt(key)),
            on_fork: Callback::new(move |key| {
                self.store_draft();
                with_id(key, |message| Command::ForkConversation { message });
            }),
            on_delete: Callback::new(move |key| self.delete_message(key)),
            on_version: Callback::new(move |message| self.show_version(message)),
        }
    }

    /// Shows the newest branch through a message.
    pub(crate) fn show_version(self, message: MessageId) {
        let conversation = self.chat.conversation.get_untracked();
        let message = Some(message);
        self.show_reply_of(Command::OpenConversation { conversation, message });
    }

    /// Asks an edited question; stores another version of an answer.
    fn save_edit(self, key: u64, text: String) {
        let chat = self.chat;
        if chat.text_of(key).as_deref() == Some(&*text) {
            chat.editing.set(None);
            return;
        }
        let is_answer = chat.entries.with_untracked(|entries| {
            entries.iter().any(|entry| entry.key == key && entry.answer().is_some())
        });
        if is_answer {
            if let Some(message) = chat.id_of(key) {
                self.show_reply_of(Command::EditMessage { message, text });
            }
        } else {
            self.dispatch(chat.edit_question(key, &text));
        }
        chat.announcement.set(text!(announce.version_saved).into());
    }

    fn delete_message(self, key: u64) {
        let (Some(message), Some(leaf)) = (self.chat.id_of(key), self.chat.leaf()) else { return };
        self.show_reply_of(Command::DeleteMessage { message: message.clone() });
        self.offer_undo(Deleted::Message { message, leaf });
    }

    /// What the user can do in the sidebar.
    pub(crate) fn sidebar_actions(self, on_delete_all: Callback<()>) -> SidebarActions {
        SidebarActions {
            on_open: Callback::new(move |(conversation, message)| self.open(conversation, message)),
            on_new: Callback::new(move |()| self.begin()),
            on_change: Callback::new(move |(conversation, change)| {
                self.execute(Command::ChangeConversation { conversation, change });
            }),
            on_delete: Callback::new(move |conversation| self.delete(conversation)),
            on_new_folder: Callback::new(move |conversation| self.create_folder(conversation)),
            on_rename_folder: Callback::new(move |(folder, name)| {
                self.execute(Command::RenameConversationFolder { folder, name });
            }),
            on_remove_folder: Callback::new(move |folder| {
                self.execute(Command::RemoveConversationFolder { folder });
            }),
            on_delete_all,
            on_export: Callback::new(move |(conversation, format)| {
                self.export(conversation, format);
            }),
            on_import: Callback::new(move |()| self.import()),
        }
    }

    /// Exports a conversation, or all, to a file that the user chooses.
    pub(crate) fn export(self, conversation: Option<ConversationId>, format: ExportFormat) {
        let head = conversation.as_ref().and_then(|id| self.sidebar.head(id));
        let name = head.and_then(|head| head.title).unwrap_or_default();
        spawn_local(async move {
            let command = Command::ChooseAndExport { conversation, format, name };
            match bridge::call(&command).await {
                Ok(Reply::Exported(_)) => {
                    self.chat.announcement.set(text!(announce.exported).into())
                }
                Ok(_) => {}
                Err(error) => self.chat.conversation_failed(error),
            }
        });
    }

    /// Imports conversations from files that the user chooses.
    pub(crate) fn import(self) {
        spawn_local(async move {
            match bridge::call(&Command::ChooseAndImportConversations).await {
                Ok(Reply::Imported(report)) => self.report.set(Some(report)),
                Ok(_) => return,
                Err(error) => self.chat.conversation_failed(error),
            }
            // What was taken before an error is here, too.
            if let Ok(list) = bridge::conversations().await {
                self.sidebar.arrived(list);
            }
        });
    }

    fn delete(self, conversation: ConversationId) {
        let title = self.sidebar.head(&conversation).and_then(|head| head.title);
        self.execute(Command::DeleteConversation { conversation: conversation.clone() });
        if self.chat.conversation.with_untracked(|it| *it == Some(conversation.clone())) {
            self.leave();
            self.show_reply_of(Command::NewConversation);
        }
        self.offer_undo(Deleted::Conversation(conversation, title));
    }

    /// Deletes all conversations for good.
    pub(crate) fn delete_all(self) {
        self.leave();
        self.undo.deleted.set(None);
        self.show_reply_of(Command::DeleteAllConversations);
    }

    fn offer_undo(self, deleted: Deleted) {
        let offer = self.undo.offer(deleted);
        set_timeout(move || self.undo.end(offer), UNDO);
    }

    /// Restores what was deleted last.
    pub(crate) fn restore(self) {
        match self.undo.take() {
            Some(Deleted::Conversation(conversation, _)) => {
                self.execute(Command::RestoreConversation { conversation: conversation.clone() });
                self.open(conversation, None);
            }
            Some(Deleted::Message { message, leaf }) => {
                self.show_reply_of(Command::RestoreMessage { message, leaf });
            }
            None => {}
        }
    }

    /// Creates a folder, moves the conversation there if one is given, and lets the user name it.
    fn create_folder(self, conversation: Option<ConversationId>) {
        let name = text!(sidebar.new_folder).to_owned();
        self.outbox.send(async move {
            match bridge::call(&Command::CreateConversationFolder { name }).await {
                Ok(Reply::ConversationFolder(folder)) => {
                    if let Some(conversation) = conversation {
                        let change = ConversationChange::Folder(Some(folder.id.clone()));
                        self.execute(Command::ChangeConversation { conversation, change });
                    }
                    self.sidebar.shows_archived.set(false);
                    self.sidebar.renaming_folder.set(Some(folder.id));
                }
                Ok(_) => {}
                Err(error) => self.chat.conversation_failed(error),
            }
        });
    }

    /// Stores what is typed shortly after each change.
    fn keep_draft(self) {
        Effect::new(move || {
            let text = self.draft.get();
            if self.stored_draft.with_value(|stored| *stored == text)
                || self.draft_timer.with_value(Option::is_some)
            {
                return;
            }
            let timer = set_timeout_with_handle(
                move || {
                    self.draft_timer.set_value(None);
                    self.store_draft();
                },
                DRAFT_DELAY,
            );
            self.draft_timer.set_value(timer.ok());
        });
    }

    fn store_draft(self) {
        let text = self.draft.get_untracked();
        if self.stored_draft.with_value(|stored| *stored == text) {
            return;
        }
        // What is typed before the conversation has arrived is stored with the next key.
        let Some(conversation) = self.chat.conversation.get_untracked() else { return };
        self.stored_draft.set_value(text.clone());
        self.drafts.send(async move {
            let _ = bridge::set_draft(conversation, text).await;
        });
    }

    /// Searches whenever what is searched for changes, one search at a time.
    fn follow_search(self) {
        let sidebar = self.sidebar;
        let is_searching = StoredValue::new(false);
        let newest = move || sidebar.query.get_untracked();
        Effect::new(move || {
            let query = sidebar.query.get();
            if query.trim().is_empty() {
                sidebar.hits.set(Vec::new());
            } else if !is_searching.get_value() {
                is_searching.set_value(true);
                spawn_local(async move {
                    let mut query = query;
                    while !query.trim().is_empty() {
                        let found = bridge::search(query.clone()).await;
                        if newest() == query {
                            sidebar.hits.set(found.unwrap_or_default());
                            break;
                        }
                        // The user has typed on.
                        query = newest();
                    }
                    is_searching.set_value(false);
                });
            }
        });
    }
}
