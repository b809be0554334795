//! Connects the page with the desktop: what menus, links and opened files ask of it, and its settings.

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{Command, DesktopSettings, PageAction};

use crate::bridge;
use crate::commands_page::Commands;
use crate::components::{OfferedFiles, QuickAsk};
use crate::state::palette::PageCommand;
use crate::state::{Action, LibraryState, Tab};

impl Commands {
    /// Does what was requested outside of the page. A link or a file only shows something.
    pub(crate) fn carry_out(self, action: PageAction) {
        let Self { page, library, settings, .. } = self;
        match action {
            PageAction::NewConversation => self.run(PageCommand::NewConversation),
            PageAction::Search => self.run(PageCommand::Search),
            PageAction::ShowBranches => self.run(PageCommand::Branches),
            PageAction::ImportConversations => self.run(PageCommand::Import),
            PageAction::ExportConversations => self.run(PageCommand::ExportAll),
            PageAction::Settings => settings.show(page.chat.conversation.get_untracked()),
            PageAction::Library => library.show(Tab::Device),
            PageAction::OfferFiles { paths } => {
                library.show(Tab::Device);
                library.offered.set(paths);
            }
            PageAction::ShowConversation { conversation } => self.open(conversation),
            PageAction::Ask { text } if !page.chat.is_answering() => {
                self.run(PageCommand::NewConversation);
                page.ask(&text);
            }
            // While another answer is written, the question waits for the user.
            PageAction::Draft { text } | PageAction::Ask { text } => {
                self.run(PageCommand::NewConversation);
                page.draft.set(text);
            }
        }
    }
}

/// The settings of the desktop, and a callback that changes them. Copies share them.
#[derive(Clone, Copy)]
pub(crate) struct Desktop {
    /// The settings, once they are known.
    pub(crate) settings: RwSignal<Option<DesktopSettings>>,
    /// Stores changed ones.
    pub(crate) on_change: Callback<DesktopSettings>,
}

/// The settings of the desktop, once they are known; changes are stored.
pub(crate) fn desktop_settings() -> Desktop {
    let known = RwSignal::new(None);
    // A phone has no tray.
    if bridge::has_fine_pointer() {
        spawn_local(async move { known.set(bridge::desktop().await.ok()) });
    }
    let change = Callback::new(move |settings| {
        let before = known.get_untracked();
        known.set(Some(settings));
        spawn_local(async move {
            if bridge::call(&Command::SetDesktop { settings }).await.is_err() {
                known.set(before);
            }
        });
    });
    Desktop { settings: known, on_change: change }
}

/// The files that the system opened with Lilims, while the user has not decided about them.
#[component]
pub(crate) fn Offered(
    /// The state of the library.
    library: LibraryState,
    /// Executes actions.
    act: Callback<Action>,
) -> impl IntoView {
    let offered = library.offered;
    let on_import = Callback::new(move |()| {
        let paths = offered.get_untracked();
        offered.set(Vec::new());
        act.run(Action::ImportFiles(paths));
    });
    view! {
        <Show when=move || offered.with(|paths| !paths.is_empty())>
            <OfferedFiles paths=offered on_import on_close=move || offered.set(Vec::new())/>
        </Show>
    }
}

/// The page of the quick-ask window.
#[component]
pub(crate) fn QuickPage() -> impl IntoView {
    let on_ask = Callback::new(move |text: String| {
        spawn_local(async move {
            let _ = bridge::ask_quickly(text).await;
        });
    });
    view! { <QuickAsk on_ask/> }
}
