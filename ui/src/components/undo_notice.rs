//! Says for a few seconds what was deleted, with a button that restores it.

use leptos::prelude::*;

use super::icon::Icon;
use crate::format;
use crate::state::Deleted;
use crate::text::text;

/// The notice.
#[component]
pub(crate) fn UndoNotice(
    /// What was deleted last, while it can be restored.
    #[prop(into)]
    deleted: Signal<Option<Deleted>>,
    /// Called to restore it.
    on_undo: Callback<()>,
) -> impl IntoView {
    let what = move || match deleted.get() {
        Some(Deleted::Conversation(_, Some(title))) => {
            text!(undo.conversation, title = format::visible_name(&title))
        }
        Some(Deleted::Conversation(_, None)) => text!(undo.untitled).to_owned(),
        Some(Deleted::Message { .. }) => text!(undo.message).to_owned(),
        None => String::new(),
    };
    view! {
        <div class="undo-place" role="status" aria-live="polite">
            <Show when=move || deleted.with(Option::is_some)>
                <div class="undo" data-testid="undo-notice">
                    <span class="undo-text">{what}</span>
                    <button type="button" class="button quiet" data-testid="undo" on:click=move |_| on_undo.run(())>
                        {Icon::Undo.view()}
                        <span>{text!(undo.undo)}</span>
                    </button>
                </div>
            </Show>
        </div>
    }
}
