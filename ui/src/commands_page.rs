//! Carries out what keys and the palette name, wherever the focus is.

use leptos::{ev, prelude::*, task::spawn_local};
use lilims_ipc::{BranchNode, ConversationId, ExportFormat, ModelStatus};

use crate::bridge::{self, is_apple};
use crate::components::{Icon, MenuItem, Menus, Palette};
use crate::conversations_page::Page;
use crate::settings_page::use_assistant;
use crate::state::palette::{Entry, PageCommand, found};
use crate::state::settings::{SettingsState, assistant_name};
use crate::state::{Action, Body, LibraryState};
use crate::text::text;

/// What commands act on. Copies share it.
#[derive(Clone, Copy)]
pub(crate) struct Commands {
    /// The conversation and the sidebar.
    pub(crate) page: Page,
    /// The menu.
    pub(crate) menus: Menus,
    /// The map of branches, while it is shown.
    pub(crate) branches: RwSignal<Option<Vec<BranchNode>>>,
    /// Whether the context panel is shown.
    pub(crate) context_open: RwSignal<bool>,
    /// Whether the list of models is shown.
    pub(crate) picker_open: RwSignal<bool>,
    /// What is searched for in the palette, while it is shown.
    pub(crate) palette: RwSignal<Option<RwSignal<String>>>,
    /// The library.
    pub(crate) library: LibraryState,
    /// The settings.
    pub(crate) settings: SettingsState,
    /// Executes actions of the library.
    pub(crate) act: Callback<Action>,
}

impl Commands {
    /// Carries out a command.
    pub(crate) fn run(self, command: PageCommand) {
        let Self { page, library, settings, .. } = self;
        let chat = page.chat;
        match command {
            PageCommand::NewConversation => {
                self.show_conversation();
                page.begin();
            }
            PageCommand::Palette | PageCommand::Shortcuts => self.toggle_palette(),
            PageCommand::Search => {
                page.sidebar.is_open.set(true);
                focus_soon("[data-testid=sidebar-search]");
            }
            PageCommand::Sidebar => page.sidebar.is_open.update(|open| *open = !*open),
            PageCommand::Compose => {
                self.show_conversation();
                focus_soon("[data-testid=composer-input]");
            }
            PageCommand::PickModel => {
                self.show_conversation();
                self.picker_open.set(true);
            }
            PageCommand::PickAssistant => {
                self.show_conversation();
                self.pick_assistant((24.0, f64::MAX));
            }
            PageCommand::Branches => self.show_branches(),
            PageCommand::Context => {
                self.show_conversation();
                self.context_open.update(|open| *open = !*open);
            }
            PageCommand::Prompt => {
                if let Some(key) = self.last(|body| matches!(body, Body::Answer(_))) {
                    page.show_prompt(key);
                }
            }
            PageCommand::CopyAnswer => {
                let last = self.last(|body| matches!(body, Body::Answer(_)));
                if let Some(text) = last.and_then(|key| chat.text_of(key)) {
                    spawn_local(async move {
                        if bridge::copy(&text).await {
                            chat.announcement.set(text!(announce.copied).into());
                        }
                    });
                }
            }
            PageCommand::Again => {
                if let Some(key) = self.last(|body| matches!(body, Body::Answer(_))) {
                    page.dispatch(chat.again(key));
                }
            }
            PageCommand::EditQuestion => {
                chat.editing.set(self.last(|body| matches!(body, Body::Question(_))));
            }
            PageCommand::Library => {
                settings.is_open.set(false);
                library.is_open.update(|open| *open = !*open);
            }
            PageCommand::Settings => {
                if settings.is_open.get_untracked() {
                    settings.is_open.set(false);
                } else {
                    library.is_open.set(false);
                    settings.show(chat.conversation.get_untracked());
                }
            }
            PageCommand::Import => page.import(),
            PageCommand::ExportAll => page.export(None, ExportFormat::Json),
            PageCommand::Stop => self.escape(),
        }
    }

    /// Shows the conversation instead of the library or the settings.
    fn show_conversation(self) {
        self.library.is_open.set(false);
        self.settings.is_open.set(false);
    }

    /// The key of the last message of a kind.
    fn last(self, is_kind: impl Fn(&Body) -> bool) -> Option<u64> {
        self.page.chat.entries.with_untracked(|entries| {
            entries.iter().rev().find(|entry| is_kind(&entry.body)).map(|entry| entry.key)
        })
    }

    fn toggle_palette(self) {
        let query = match self.palette.get_untracked() {
            Some(_) => None,
            None => Some(RwSignal::new(String::new())),
        };
        self.palette.set(query);
    }

    /// Reads the map of branches and shows it.
    fn show_branches(self) {
        let Self { page, branches, .. } = self;
        let Some(conversation) = page.chat.conversation.get_untracked() else { return };
        spawn_local(async move {
            match bridge::branch_map(conversation).await {
                Ok(nodes) => branches.set(Some(nodes)),
                Err(error) => page.chat.conversation_failed(error),
            }
        });
    }

    /// Lets the user choose an assistant for the conversation, from a menu at these coordinates.
    pub(crate) fn pick_assistant(self, at: (f64, f64)) {
        let Self { page, settings, .. } = self;
        let mut items =
            vec![MenuItem::new(text!(assistant.none), "assistant-none", Icon::Close, move || {
                use_assistant(page, None)
            })];
        for it in settings.assistants.get_untracked().assistants {
            let label = format!("{} {}", it.look, assistant_name(&it.name));
            let id = it.id;
            items.push(MenuItem::new(label, "assistant-choice", Icon::Forward, move || {
                use_assistant(page, Some(id.clone()));
            }));
        }
        let edit = move || self.run(PageCommand::Settings);
        items.push(MenuItem::new(text!(assistant.edit), "assistants-edit", Icon::Settings, edit));
        self.menus.open_at(at, items);
    }

    /// Closes what is open, innermost first, or stops the answer.
    fn escape(self) {
        let Self { page, menus, branches, library, settings, .. } = self;
        let chat = page.chat;
        let panels = [self.context_open, self.picker_open];
        if self.palette.with_untracked(Option::is_some) {
            self.palette.set(None);
        } else if menus.is_open() {
            menus.close();
        } else if let Some(panel) = panels.into_iter().find(|panel| panel.get_untracked()) {
            panel.set(false);
        } else if page.prompt.with_untracked(Option::is_some) {
            page.prompt.set(None);
        } else if page.report.with_untracked(Option::is_some) {
            page.report.set(None);
        } else if branches.with_untracked(Option::is_some) {
            branches.set(None);
        } else if page.sidebar.is_open.get_untracked() && !bridge::is_wide() {
            // It covers the conversation.
            page.sidebar.is_open.set(false);
        } else if settings.is_open.get_untracked() {
            settings.is_open.set(false);
        } else if library.step_back() {
            // The conversation behind the library is unchanged.
        } else if chat.editing.with_untracked(Option::is_some) {
            chat.editing.set(None);
        } else {
            page.stop();
        }
    }

    /// Keys are commands wherever the focus is; keys without a modifier only outside of text fields.
    pub(crate) fn handle_keys(self) {
        let listener = window_event_listener(ev::keydown, move |event| {
            if event.is_composing() || event.alt_key() {
                return;
            }
            let has_modifier = if is_apple() { event.meta_key() } else { event.ctrl_key() };
            if event.key() == "Escape" {
                return self.escape();
            }
            if !has_modifier && bridge::is_typing() {
                return;
            }
            let with_shift = has_modifier && event.shift_key();
            if let Some(command) = PageCommand::of_key(&event.key(), with_shift, has_modifier) {
                event.prevent_default();
                self.run(command);
            }
        });
        on_cleanup(move || listener.remove());
    }

    fn pick(self, entry: Entry) {
        match entry {
            Entry::Command(command) => self.run(command),
            Entry::Conversation(id, _) => self.open(id),
            Entry::Model(name) => {
                self.show_conversation();
                self.act.run(Action::Use { name, context_tokens: None });
            }
        }
    }

    /// Shows a conversation.
    pub(crate) fn open(self, id: ConversationId) {
        self.show_conversation();
        self.page.open(id, None);
    }

    /// The short names of the models that can be loaded and are not.
    fn models(self) -> Vec<String> {
        let status = self.page.chat.model.get();
        let is_ready = matches!(status, Some(ModelStatus::Ready { .. }));
        self.library.library.with(|library| {
            let Some(library) = library.ready() else { return Vec::new() };
            let names = library.models.iter().map(|model| model.name.clone());
            names.filter(|name| !(is_ready && library.loaded.as_ref() == Some(name))).collect()
        })
    }
}

/// The palette, while it is open.
#[component]
pub(crate) fn PaletteView(
    /// What its entries do.
    commands: Commands,
) -> impl IntoView {
    move || {
        let query = commands.palette.get()?;
        let entries = Memo::new(move |_| {
            let models = commands.models();
            commands.page.sidebar.heads.with(|heads| found(&query.get(), heads, &models))
        });
        let on_pick = Callback::new(move |entry| commands.pick(entry));
        let on_close = Callback::new(move |()| commands.palette.set(None));
        Some(view! { <Palette query entries on_pick on_close/> })
    }
}

/// Focuses an element once it is drawn.
fn focus_soon(selector: &'static str) {
    request_animation_frame(move || bridge::focus(selector));
}
