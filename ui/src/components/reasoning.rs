//! The reasoning of a model before its answer, folded to one line.

use leptos::prelude::*;

use super::growing::GrowingBlocks;
use crate::format;
use crate::state::Growing;

/// The line, which only the reader opens and closes.
#[component]
pub(super) fn ReasoningView(
    /// The text.
    reasoning: Growing,
    /// How long it took, or has taken so far, in milliseconds.
    #[prop(into)]
    elapsed_ms: Signal<Option<u32>>,
    /// Whether the model is still reasoning.
    #[prop(into)]
    is_running: Signal<bool>,
) -> impl IntoView {
    let label = Memo::new(move |_| format::reasoning(is_running.get(), elapsed_ms.get()));
    view! {
        <details
            class="reasoning"
            data-testid="reasoning"
            data-state=move || if is_running.get() { "running" } else { "done" }
        >
            <summary data-testid="reasoning-toggle">
                <span>{label}</span>
                <Show when=move || is_running.get()>
                    <span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>
                </Show>
            </summary>
            <div class="prose" data-testid="reasoning-text">
                <GrowingBlocks text=reasoning/>
            </div>
        </details>
    }
}
