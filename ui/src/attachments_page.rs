//! Connects the documents of the draft with the shell: the button, drops, long pastes and choices.

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{AttachmentChange, Command, ConversationId, ModelStatus, Reply};

use crate::bridge;
use crate::components::AttachmentActions;
use crate::conversations_page::Page;
use crate::text::text;

impl Page {
    /// Keeps the list up to date: with the conversation that is shown, and with the loaded model, whose
    /// tokens are counted.
    pub(crate) fn follow_attachments(self) {
        let model = Memo::new(move |_| match self.chat.model.get() {
            Some(ModelStatus::Ready { model }) => Some((model.name, model.context_tokens)),
            _ => None,
        });
        Effect::new(move || {
            model.track();
            match self.chat.conversation.get() {
                Some(_) => self.change_attachments(AttachmentChange::List),
                None => self.attachments.clear(),
            }
        });
    }

    /// Changes what is attached to the draft, or reads what is.
    pub(crate) fn change_attachments(self, change: AttachmentChange) {
        let Some(conversation) = self.chat.conversation.get_untracked() else { return };
        let is_slow =
            matches!(change, AttachmentChange::Files { .. } | AttachmentChange::Text { .. });
        let command = Command::Attachments { conversation: conversation.clone(), change };
        self.call_attachments(conversation, command, is_slow);
    }

    /// What the user can do with documents in the composer.
    pub(crate) fn attachment_actions(self) -> AttachmentActions {
        AttachmentActions {
            on_choose: Callback::new(move |()| self.choose_attachments()),
            on_paste: Callback::new(move |text: String| {
                let name = text!(attachment.pasted_text).to_owned();
                self.change_attachments(AttachmentChange::Text { name, text });
            }),
            on_change: Callback::new(move |change| self.change_attachments(change)),
        }
    }

    /// Lets the user choose files and attaches them.
    fn choose_attachments(self) {
        let Some(conversation) = self.chat.conversation.get_untracked() else { return };
        let command = Command::ChooseAndAttach { conversation: conversation.clone() };
        self.call_attachments(conversation, command, true);
    }

    fn call_attachments(self, conversation: ConversationId, command: Command, is_slow: bool) {
        let state = self.attachments;
        let count = u32::from(is_slow);
        state.n_reading.update(|n| *n += count);
        spawn_local(async move {
            let reply = bridge::call(&command).await;
            state.n_reading.update(|n| *n -= count);
            if self.chat.conversation.with_untracked(|it| *it != Some(conversation)) {
                return;
            }
            match reply {
                Ok(Reply::Attachments(attachments)) => state.arrived(Ok(attachments)),
                // Nothing was chosen.
                Ok(_) => {}
                Err(error) => state.arrived(Err(error)),
            }
        });
    }
}
