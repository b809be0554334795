//! A load that was held because the app had ended with it: what happened, and ways to go on.

use leptos::prelude::*;
use lilims_ipc::Attempt;

use crate::format;

/// The notice.
#[component]
pub(crate) fn HeldNotice(
    /// What happened.
    attempt: Attempt,
    /// Whether the model to load with less context is known.
    #[prop(into)]
    can_load_safer: Signal<bool>,
    /// Called to load it with this context, in tokens.
    on_safer: Callback<u32>,
    /// Called to load it as before.
    on_retry: Callback<()>,
    /// Called to choose another model.
    on_choose: Callback<()>,
) -> impl IntoView {
    let Attempt {
        name,
        context_tokens,
        needed_bytes,
        available_bytes,
        message,
        safer_context_tokens,
    } = attempt;
    let figures = format!(
        "With {} of context it takes {} of memory; {} were free then.",
        format::tokens(context_tokens),
        format::bytes(needed_bytes),
        format::bytes(available_bytes),
    );
    let safer = format!("Load with {} of context", format::tokens(safer_context_tokens));
    view! {
        <section class="held-notice" data-testid="held-notice" aria-labelledby="held-title">
            <h2 id="held-title">{format!("{name} was not loaded again")}</h2>
            <p>{message}</p>
            <p class="held-figures">{figures}</p>
            <div class="held-buttons">
                <Show when=move || can_load_safer.get()>
                    <button
                        type="button"
                        class="button primary"
                        data-testid="held-safer"
                        on:click=move |_| on_safer.run(safer_context_tokens)
                    >
                        {safer.clone()}
                    </button>
                </Show>
                <button type="button" class="button" data-testid="held-retry" on:click=move |_| on_retry.run(())>
                    "Try again as before"
                </button>
                <button type="button" class="button quiet" data-testid="held-choose" on:click=move |_| on_choose.run(())>
                    "Choose another model"
                </button>
            </div>
        </section>
    }
}
