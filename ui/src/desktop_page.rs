//! Connects the page with the desktop: what menus, links and opened files ask of it, and its settings.

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{Command, DesktopSettings, ExportFormat, PageAction};

use crate::bridge;
use crate::components::{OfferedFiles, QuickAsk};
use crate::conversations_page::Page;
use crate::state::{Action, LibraryState, Tab};

/// What requests from outside can reach.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    /// The conversation and the sidebar.
    pub(crate) page: Page,
    /// The library.
    pub(crate) library: LibraryState,
    /// Whether the settings are shown.
    pub(crate) settings_open: RwSignal<bool>,
    /// Shows the map of branches.
    pub(crate) on_branches: Callback<()>,
}

impl Reach {
    /// Does what was requested outside of the page. A link or a file only shows something.
    pub(crate) fn carry_out(self, action: PageAction) {
        let Self { page, library, settings_open, on_branches } = self;
        match action {
            PageAction::OfferFiles { paths } => {
                library.show(Tab::Device);
                library.offered.set(paths);
                return;
            }
            PageAction::Library => return library.show(Tab::Device),
            PageAction::Settings => return settings_open.set(true),
            PageAction::Search => {
                page.sidebar.is_open.set(true);
                // The field is there after the next frame.
                return request_animation_frame(|| bridge::focus("sidebar-search"));
            }
            _ => library.is_open.set(false),
        }
        match action {
            PageAction::NewConversation => page.begin(),
            PageAction::ShowBranches => on_branches.run(()),
            PageAction::ImportConversations => page.import(),
            PageAction::ExportConversations => page.export(None, ExportFormat::Json),
            PageAction::ShowConversation { conversation } => page.open(conversation, None),
            PageAction::Ask { text } if !page.chat.is_answering() => {
                page.begin();
                page.dispatch(page.chat.ask(&text));
            }
            // While another answer is written, the question waits for the user.
            PageAction::Draft { text } | PageAction::Ask { text } => {
                page.begin();
                page.draft.set(text);
            }
            _ => {}
        }
    }
}

/// The settings of the desktop, once they are known; changes are stored.
pub(crate) fn desktop_settings() -> (RwSignal<Option<DesktopSettings>>, Callback<DesktopSettings>) {
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
    (known, change)
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
