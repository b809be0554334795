//! The question whether files that the system opened with Lilims are added to the library.

use leptos::prelude::*;

use super::panel::Panel;
use super::untrusted::UntrustedName;
use crate::text::text;

/// The dialog.
#[component]
pub(crate) fn OfferedFiles(
    /// The paths of the files.
    #[prop(into)]
    paths: Signal<Vec<String>>,
    /// Called to import them.
    on_import: Callback<()>,
    /// Called to leave them where they are.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let names = move || {
        let name = |path: String| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let row = |path| view! { <li><UntrustedName text=name(path)/></li> };
        paths.get().into_iter().map(row).collect_view()
    };
    view! {
        <Panel id="offered-files" title=text!(offered.title) close_label=text!(button.close) on_close>
            <p>{text!(offered.question)}</p>
            <ul>{names}</ul>
            <div class="dialog-buttons">
                <button
                    type="button"
                    class="button"
                    data-testid="offered-leave"
                    on:click=move |_| on_close.run(())
                >
                    {text!(offered.leave)}
                </button>
                <button
                    type="button"
                    class="button primary"
                    data-testid="offered-import"
                    on:click=move |_| on_import.run(())
                >
                    {text!(offered.import)}
                </button>
            </div>
        </Panel>
    }
}
