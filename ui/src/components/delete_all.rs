//! The question before all conversations are deleted.

use leptos::prelude::*;

use super::panel::Panel;
use crate::format;
use crate::text::text;

/// The dialog.
#[component]
pub(crate) fn DeleteAllDialog(
    /// How many conversations there are.
    #[prop(into)]
    count: Signal<usize>,
    /// What deleting them frees, in bytes.
    #[prop(into)]
    size_bytes: Signal<u64>,
    /// Called to delete them.
    #[prop(into)]
    on_delete: Callback<()>,
    /// Called to keep them.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let question = move || {
        let (count, size) = (count.get(), format::size(size_bytes.get()));
        text!(delete_all.question, count, size)
    };
    view! {
        <Panel id="delete-all-dialog" title=text!(delete_all.title) close_label=text!(button.close) on_close>
            <p>{question}</p>
            <div class="dialog-buttons">
                <button
                    type="button"
                    class="button"
                    data-testid="delete-all-keep"
                    on:click=move |_| on_close.run(())
                >
                    {text!(button.keep)}
                </button>
                <button
                    type="button"
                    class="button danger"
                    data-testid="delete-all-confirm"
                    on:click=move |_| on_delete.run(())
                >
                    {text!(delete_all.delete)}
                </button>
            </div>
        </Panel>
    }
}
