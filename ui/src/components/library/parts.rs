//! Small components that the tabs of the library share.

use leptos::prelude::*;
use lilims_ipc::Error;

use crate::components::untrusted::{UntrustedName, UntrustedText};
use crate::format;
use crate::state::{Action, Concern, LibraryState};
use crate::text::{self, text};

/// The current state of a row's list item; its last state once it has left the list.
pub(super) fn current<T, K>(list: Signal<Vec<T>>, first: T, key: fn(&T) -> K) -> Memo<T>
where
    T: Clone + PartialEq + Send + Sync + 'static,
    K: PartialEq + Send + Sync + 'static,
{
    let own = key(&first);
    Memo::new(move |last: Option<&T>| {
        let item = list.with(|list| list.iter().find(|item| key(item) == own).cloned());
        item.or_else(|| last.cloned()).unwrap_or_else(|| first.clone())
    })
}

/// Short facts in a row, separated by dots. Empty ones are left out.
#[component]
pub(super) fn Facts(
    /// The facts.
    #[prop(into)]
    facts: Signal<Vec<String>>,
) -> impl IntoView {
    let items = move || {
        let facts = facts.get().into_iter().filter(|fact| !fact.is_empty());
        facts.map(|fact| view! { <li><UntrustedName text=fact/></li> }).collect_view()
    };
    view! { <ul class="facts">{items}</ul> }
}

/// The report or error of the last action about something.
#[component]
pub(super) fn ActionResult(
    /// The state of the library.
    state: LibraryState,
    /// What the action was about.
    concern: Concern,
) -> impl IntoView {
    let own = concern.clone();
    let notice = Memo::new(move |_| state.notice_of(&own));
    let problem = Memo::new(move |_| state.problem_of(&concern));
    view! {
        <Show when=move || notice.with(Option::is_some)>
            <p class="report" role="status" data-testid="library-report">
                <UntrustedText text=Signal::derive(move || notice.get().unwrap_or_default())/>
            </p>
        </Show>
        <Show when=move || problem.with(Option::is_some)>
            <ErrorLine error=Signal::derive(move || problem.get())/>
        </Show>
    }
}

/// An error, shown at what it is about.
#[component]
pub(super) fn ErrorLine(
    /// The error; `None` shows an empty line.
    #[prop(into)]
    error: Signal<Option<Error>>,
) -> impl IntoView {
    let message = Signal::derive(move || {
        error.with(|error| error.as_ref().map(text::error).unwrap_or_default())
    });
    let detail = Memo::new(move |_| error.get().and_then(|error| error.detail));
    view! {
        <div class="error-line" role="alert" data-testid="library-error">
            <p><UntrustedText text=message/></p>
            <Show when=move || detail.with(Option::is_some)>
                <details>
                    <summary>{text!(details)}</summary>
                    <pre><UntrustedText text=Signal::derive(move || detail.get().unwrap_or_default())/></pre>
                </details>
            </Show>
        </div>
    }
}

/// A placeholder for something that is on its way.
#[component]
pub(super) fn Pending(
    /// What happens, in a few words.
    label: &'static str,
) -> impl IntoView {
    view! {
        <p class="library-pending" role="status">
            <i aria-hidden="true"></i>
            {label}
        </p>
    }
}

/// The notice where a list is empty.
#[component]
pub(super) fn EmptyNotice(
    /// What is missing.
    title: &'static str,
    /// How to get it.
    text: &'static str,
    /// Buttons.
    children: Children,
) -> impl IntoView {
    view! {
        <div class="library-nothing">
            <h2>{title}</h2>
            <p>{text}</p>
            <div class="library-nothing-actions">{children()}</div>
        </div>
    }
}

/// The button that switches to a model.
#[component]
pub(super) fn UseButton(
    /// The button's test id.
    test_id: &'static str,
    /// The model's short name.
    name: String,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let label = text!(button.use_model_named, name = format::visible_name(&name));
    view! {
        <button
            type="button"
            class="button"
            data-testid=test_id
            aria-label=label
            on:click=move |_| act.run(Action::Use { name: name.clone(), context_tokens: None })
        >
            {text!(button.use_model)}
        </button>
    }
}
