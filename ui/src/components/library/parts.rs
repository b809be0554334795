//! Small parts that the tabs of the library share.

use leptos::prelude::*;
use lilims_ipc::Error;

use crate::state::{Action, Concern, LibraryState};

/// The item of a list that a row shows, as it is now; once it has left the list, as it was last.
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

/// Short facts in a row, parted by points. Empty ones are left out.
#[component]
pub(super) fn Facts(
    /// The facts.
    #[prop(into)]
    facts: Signal<Vec<String>>,
) -> impl IntoView {
    let items = move || {
        let facts = facts.get().into_iter().filter(|fact| !fact.is_empty());
        facts.map(|fact| view! { <li>{fact}</li> }).collect_view()
    };
    view! { <ul class="facts">{items}</ul> }
}

/// What came of the last action that concerns something: a report or an error.
#[component]
pub(super) fn Aftermath(
    /// The state of the library.
    state: LibraryState,
    /// What it concerns.
    concern: Concern,
) -> impl IntoView {
    let own = concern.clone();
    let notice = Memo::new(move |_| state.notice_of(&own));
    let problem = Memo::new(move |_| state.problem_of(&concern));
    view! {
        <Show when=move || notice.with(Option::is_some)>
            <p class="report" role="status" data-testid="library-report">{move || notice.get()}</p>
        </Show>
        <Show when=move || problem.with(Option::is_some)>
            <ErrorLine error=Signal::derive(move || problem.get())/>
        </Show>
    }
}

/// An error beside what it concerns.
#[component]
pub(super) fn ErrorLine(
    /// The error; `None` shows an empty line.
    #[prop(into)]
    error: Signal<Option<Error>>,
) -> impl IntoView {
    let message = move || error.with(|error| error.as_ref().map(|error| error.message.clone()));
    let detail = Memo::new(move |_| error.get().and_then(|error| error.detail));
    view! {
        <div class="error-line" role="alert" data-testid="library-error">
            <p>{message}</p>
            <Show when=move || detail.with(Option::is_some)>
                <details>
                    <summary>"Details"</summary>
                    <pre>{move || detail.get()}</pre>
                </details>
            </Show>
        </div>
    }
}

/// Something that has not come yet.
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

/// What stands where there is nothing.
#[component]
pub(super) fn Nothing(
    /// What is missing.
    title: &'static str,
    /// How it would come.
    text: &'static str,
    /// What can be done about it.
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

/// Has the model with this short name answer from now on.
#[component]
pub(super) fn UseButton(
    /// The button's test id.
    test_id: &'static str,
    /// The model's short name.
    name: String,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let label = format!("Use {name}");
    view! {
        <button
            type="button"
            class="button"
            data-testid=test_id
            aria-label=label
            on:click=move |_| act.run(Action::Use { name: name.clone(), context_tokens: None })
        >
            "Use"
        </button>
    }
}
