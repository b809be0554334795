//! The access token of the hub.

use leptos::{ev, prelude::*};

use super::parts::ActionResult;
use crate::state::{Action, Concern, LibraryState};
use crate::text::text;

/// A form to store or remove the access token. A stored token is never shown.
#[component]
pub(super) fn AccessToken(
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let entry = RwSignal::new(String::new());
    let is_blank = Memo::new(move |_| entry.with(|entry| entry.trim().is_empty()));
    let save = move |event: ev::SubmitEvent| {
        event.prevent_default();
        if !is_blank.get_untracked() {
            act.run(Action::SetAccessToken(Some(entry.get_untracked().trim().to_owned())));
            entry.set(String::new());
        }
    };
    view! {
        <form class="bounds" aria-label=text!(download.token) on:submit=save>
            <label>
                {text!(download.token)}
                <input
                    type="password"
                    data-testid="token-input"
                    autocomplete="off"
                    placeholder=text!(download.token_placeholder)
                    prop:value=entry
                    on:input=move |event| entry.set(event_target_value(&event))
                />
            </label>
            <button type="submit" class="button" data-testid="token-save" disabled=is_blank>
                {text!(button.save)}
            </button>
            <button
                type="button"
                class="button quiet"
                data-testid="token-remove"
                on:click=move |_| act.run(Action::SetAccessToken(None))
            >
                {text!(download.token_remove)}
            </button>
            <p>{text!(download.token_text)}</p>
            <ActionResult state concern=Concern::AccessToken/>
        </form>
    }
}
