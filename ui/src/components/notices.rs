//! What the page shows in place of a conversation: a beginning, an error, a wrong place.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::Error;

use super::icon::mark;

/// Questions to begin with: what is shown, and what is asked.
const EXAMPLES: [(&str, &str); 3] = [
    ("Explain something", "Explain in simple words why the sky is blue."),
    ("Draft a message", "Write a short, friendly email asking to move a meeting to Thursday."),
    ("Make a plan", "Give me a checklist for a weekend of hiking."),
];

/// What stands where no conversation has begun.
#[component]
pub(crate) fn Empty(
    /// Called with the example that was picked.
    on_pick: Callback<Arc<str>>,
) -> impl IntoView {
    let example = move |(title, prompt): (&'static str, &'static str)| {
        view! {
            <li>
                <button type="button" class="example" data-testid="example" on:click=move |_| on_pick.run(prompt.into())>
                    <span class="example-title">{title}</span>
                    <span class="example-prompt">{prompt}</span>
                </button>
            </li>
        }
    };
    view! {
        <section class="empty" data-testid="empty-state">
            {mark()}
            <h1>"Ask in private"</h1>
            <p>"The model runs on this device. What you write stays here."</p>
            <ul class="examples" aria-label="Examples">{EXAMPLES.map(example).collect_view()}</ul>
        </section>
    }
}

/// An error: what happened, what to do, and the detail for who wants it.
#[component]
pub(crate) fn ErrorNotice(
    /// What failed, in a few words.
    title: &'static str,
    /// The error; `None` shows an empty notice.
    #[prop(into)]
    error: Signal<Option<Error>>,
    /// What the button says.
    retry_label: &'static str,
    /// The button's test id.
    retry_id: &'static str,
    /// Called to try again.
    on_retry: Callback<()>,
) -> impl IntoView {
    let message = move || error.get().map(|error| error.message);
    let detail = Memo::new(move |_| error.get().and_then(|error| error.detail));
    view! {
        <section class="error-notice" role="alert">
            <h2>{title}</h2>
            <p data-testid="error-message">{message}</p>
            <Show when=move || detail.with(Option::is_some)>
                <details>
                    <summary>"Details"</summary>
                    <pre>{move || detail.get()}</pre>
                </details>
            </Show>
            <button type="button" class="button" data-testid=retry_id on:click=move |_| on_retry.run(())>
                {retry_label}
            </button>
        </section>
    }
}

/// What a plain browser shows, where the shell is missing.
#[component]
pub(crate) fn Outside() -> impl IntoView {
    view! {
        <main class="outside" data-testid="outside">
            {mark()}
            <h1>"Lilims runs in its own window"</h1>
            <p>"This page is the inside of the app. Start it with "<code>"cargo xtask app"</code>"."</p>
        </main>
    }
}
