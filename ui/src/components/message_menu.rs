//! The menus of a message: its rarer actions behind a button, and all of them where a finger is held.

use leptos::{ev, prelude::*};

use super::icon::Icon;
use super::menu::{MenuItem, Menus};
use super::message::MessageActions;
use super::prose::ProseServices;
use crate::bridge;
use crate::markdown::{plain_text, rich_text};
use crate::text::text;

/// The actions of a message.
#[derive(Clone)]
pub(super) struct MessageMenu {
    menus: Menus,
    services: Option<ProseServices>,
    key: u64,
    actions: MessageActions,
    /// Whether nothing can be changed now.
    is_busy: Signal<bool>,
    /// The Markdown.
    text: Signal<String>,
    /// Whether the model can write more of it; `None` for a question.
    is_continuable: Option<Signal<bool>>,
}

impl MessageMenu {
    /// The actions of a question.
    pub(super) fn of_question(
        key: u64,
        actions: MessageActions,
        is_busy: Signal<bool>,
        text: Signal<String>,
    ) -> Self {
        let menus = expect_context::<Menus>();
        let services = use_context::<ProseServices>();
        Self { menus, services, key, actions, is_busy, text, is_continuable: None }
    }

    /// The actions of an answer.
    pub(super) fn of_answer(
        key: u64,
        actions: MessageActions,
        is_busy: Signal<bool>,
        text: Signal<String>,
        is_continuable: Signal<bool>,
    ) -> Self {
        let of_question = Self::of_question(key, actions, is_busy, text);
        Self { is_continuable: Some(is_continuable), ..of_question }
    }

    /// Opens the rarer actions below the button that was pressed.
    pub(super) fn open_below(&self, event: &ev::MouseEvent) {
        self.menus.open_below(event, self.rare());
    }

    /// Opens all actions where a finger is held. A right click has the menu of the system.
    pub(super) fn open_at_finger(&self, event: &ev::MouseEvent) {
        if bridge::is_touch(event) && !self.is_busy.get_untracked() {
            let items = self.common().into_iter().chain(self.rare()).collect();
            self.menus.open_at_pointer(event, items);
        }
    }

    fn common(&self) -> Vec<MenuItem> {
        let Self { key, actions, text, .. } = *self;
        let edit = move || actions.on_edit.run(Some(key));
        let mut items = vec![
            MenuItem::new(text!(button.copy), "touch-copy", Icon::Copy, move || {
                actions.on_copy.run(text.get_untracked());
            }),
            MenuItem::new(
                text!(conversation.select_text),
                "touch-select",
                Icon::Check,
                move || {
                    bridge::select_message(key);
                },
            ),
            MenuItem::new(text!(conversation.edit), "touch-edit", Icon::Edit, edit),
        ];
        if self.is_continuable.is_some() {
            let again = move || actions.on_again.run(key);
            let label = text!(conversation.write_again);
            items.push(MenuItem::new(label, "touch-again", Icon::Again, again));
        }
        let fork = move || actions.on_fork.run(key);
        items.push(MenuItem::new(text!(conversation.fork), "touch-fork", Icon::Branch, fork));
        items
    }

    fn rare(&self) -> Vec<MenuItem> {
        let Self { key, actions, text, services, .. } = *self;
        let mut items = Vec::new();
        if let Some(is_continuable) = self.is_continuable {
            items.extend(services.into_iter().flat_map(|services| copy_items(text, services)));
            if is_continuable.get_untracked() {
                let go_on = move || actions.on_continue.run(key);
                let label = text!(conversation.continue_answer);
                items.push(MenuItem::new(label, "continue", Icon::Continue, go_on));
            }
            let show = move || actions.on_prompt.run(key);
            items.push(MenuItem::new(text!(prompt_view.title), "exact-prompt", Icon::Info, show));
        }
        let delete = move || actions.on_delete.run(key);
        let label = text!(conversation.delete_message);
        items.push(MenuItem::new(label, "delete-message", Icon::Remove, delete).dangerous());
        items
    }
}

/// The ways to copy an answer other than as Markdown.
fn copy_items(text: Signal<String>, services: ProseServices) -> [MenuItem; 2] {
    [
        MenuItem::new(text!(prose.copy_rich), "copy-rich", Icon::Copy, move || {
            let markdown = text.get_untracked();
            services.copy_rich.run((rich_text(&markdown), plain_text(&markdown)));
        }),
        MenuItem::new(text!(prose.copy_plain), "copy-plain", Icon::Copy, move || {
            services.copy.run(plain_text(&text.get_untracked()));
        }),
    ]
}
