//! Notices in place of a conversation: the empty state, errors, and the page outside the app.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::Error;

use super::icon::mark;
use super::untrusted::UntrustedText;
use crate::text::{self, text};

/// Example questions: their titles and prompts.
fn examples() -> [(&'static str, &'static str); 3] {
    [
        (text!(empty.explain_title), text!(empty.explain_prompt)),
        (text!(empty.draft_title), text!(empty.draft_prompt)),
        (text!(empty.plan_title), text!(empty.plan_prompt)),
    ]
}

/// The empty state, with example questions.
#[component]
pub(crate) fn Empty(
    /// Called with the prompt of the picked example.
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
            <h1>{text!(empty.title)}</h1>
            <p>{text!(empty.text)}</p>
            <ul class="examples" aria-label=text!(empty.examples)>{examples().map(example).collect_view()}</ul>
        </section>
    }
}

/// An error: what happened, what to do, and the technical detail, folded away.
#[component]
pub(crate) fn ErrorNotice(
    /// What failed, in a few words.
    title: &'static str,
    /// The error; `None` shows an empty notice.
    #[prop(into)]
    error: Signal<Option<Error>>,
    /// The button's label.
    retry_label: &'static str,
    /// The button's test id.
    retry_id: &'static str,
    /// Called to try again.
    on_retry: Callback<()>,
) -> impl IntoView {
    let message = Signal::derive(move || {
        error.with(|error| error.as_ref().map(text::error).unwrap_or_default())
    });
    let detail = Memo::new(move |_| error.get().and_then(|error| error.detail));
    view! {
        <section class="error-notice" role="alert">
            <h2>{title}</h2>
            <p data-testid="error-message"><UntrustedText text=message/></p>
            <Show when=move || detail.with(Option::is_some)>
                <details>
                    <summary>{text!(details)}</summary>
                    <pre><UntrustedText text=Signal::derive(move || detail.get().unwrap_or_default())/></pre>
                </details>
            </Show>
            <button type="button" class="button" data-testid=retry_id on:click=move |_| on_retry.run(())>
                {retry_label}
            </button>
        </section>
    }
}

/// Shown in a plain browser, where the shell is missing.
#[component]
pub(crate) fn Outside() -> impl IntoView {
    view! {
        <main class="outside" data-testid="outside">
            {mark()}
            <h1>{text!(outside.title)}</h1>
            <p>{text!(outside.text)}</p>
        </main>
    }
}
