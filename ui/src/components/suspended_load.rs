//! The notice about a model that is not loaded again, because the app ended while loading it.

use leptos::prelude::*;
use lilims_ipc::Attempt;

use super::untrusted::{UntrustedName, UntrustedText};
use crate::format;
use crate::text::{self, text, text_view};

/// The notice, with buttons to load with less context, load as before, or choose another model.
#[component]
pub(crate) fn SuspendedLoadNotice(
    /// The load that ended with the app.
    attempt: Attempt,
    /// Whether the model can be loaded with less context.
    #[prop(into)]
    can_load_safer: Signal<bool>,
    /// Called with the smaller context in tokens.
    on_safer: Callback<u32>,
    /// Called to load it as before.
    on_retry: Callback<()>,
    /// Called to choose another model.
    on_choose: Callback<()>,
) -> impl IntoView {
    let message = text::attempt(&attempt);
    let Attempt { name, context_tokens, needed_bytes, available_bytes, safer_context_tokens } =
        attempt;
    let figures = text!(
        suspended_load.figures,
        needed = format::bytes(needed_bytes),
        context = format::tokens(context_tokens),
        available = format::bytes(available_bytes)
    );
    let safer =
        text!(suspended_load.load_with_less, context = format::tokens(safer_context_tokens));
    let title = text_view!(suspended_load.title, name = view! { <UntrustedName text=name/> });
    view! {
        <section class="held-notice" data-testid="held-notice" aria-labelledby="held-title">
            <h2 id="held-title">{title}</h2>
            <p><UntrustedText text=message/></p>
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
                    {text!(suspended_load.retry)}
                </button>
                <button type="button" class="button quiet" data-testid="held-choose" on:click=move |_| on_choose.run(())>
                    {text!(suspended_load.choose_another)}
                </button>
            </div>
        </section>
    }
}
