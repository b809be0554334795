//! The indicator of what the model does before the first word of an answer.

use leptos::prelude::*;

use crate::format;
use crate::state::Reading;
use crate::text::text;

/// The placeholder of an answer to come: a progress ring for long prompts, else three dots.
#[component]
pub(super) fn Pending(
    /// Whether the question waits for the model to load.
    #[prop(into)]
    waits: Signal<bool>,
    /// The progress of reading, once the model has begun.
    #[prop(into)]
    reading: Signal<Option<Reading>>,
) -> impl IntoView {
    let label = Memo::new(move |_| {
        if waits.get() {
            text!(conversation.waiting_for_model)
        } else {
            reading.with(|reading| {
                reading.as_ref().map_or(text!(conversation.reading), Reading::label)
            })
        }
    });
    let percent =
        Memo::new(move |_| reading.with(|reading| reading.as_ref().and_then(Reading::percent)));
    let is_long = Memo::new(move |_| percent.with(Option::is_some));
    view! {
        <p class="pending">
            <Show
                when=move || is_long.get()
                fallback=|| view! { <span class="dots" aria-hidden="true"><i></i><i></i><i></i></span> }
            >
                <Ring label percent=Signal::derive(move || percent.get().unwrap_or_default())/>
            </Show>
            <span>{label}</span>
            <Show when=move || is_long.get()>
                <span class="share" aria-hidden="true">{move || percent.get().map(format::percent_text)}</span>
            </Show>
        </p>
    }
}

/// The percentage read as a ring that fills.
#[component]
fn Ring(label: Memo<&'static str>, percent: Signal<u32>) -> impl IntoView {
    view! {
        <span
            class="ring"
            role="progressbar"
            data-testid="reading-progress"
            aria-label=label
            aria-valuemin="0"
            aria-valuemax="100"
            aria-valuenow=move || percent.get().to_string()
        >
            <svg viewBox="0 0 20 20" aria-hidden="true" focusable="false">
                <circle cx="10" cy="10" r="7.5" pathLength="100"></circle>
                <circle
                    class="read"
                    cx="10"
                    cy="10"
                    r="7.5"
                    pathLength="100"
                    stroke-dasharray=move || format!("{} 100", percent.get())
                ></circle>
            </svg>
        </span>
    }
}
