//! The button under the message field that opens the choice of an assistant.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;

use super::icon::Icon;
use super::untrusted::UntrustedName;
use crate::format;
use crate::text::text;

/// The button.
#[component]
pub(crate) fn AssistantButton(
    /// The sign and the name of the conversation's assistant.
    #[prop(into)]
    name: Signal<Option<String>>,
    /// Called with the place of the button's left edge and top, to open the choice there.
    on_open: Callback<(f64, f64)>,
) -> impl IntoView {
    let shown = move || name.get().unwrap_or_else(|| text!(assistant.none).into());
    view! {
        <button
            type="button"
            class="meter picker-button assistant-button"
            class:chosen=move || name.with(Option::is_some)
            data-testid="assistant-picker"
            aria-label=move || text!(assistant.pick, name = format::visible_name(&shown()))
            aria-haspopup="menu"
            on:click=move |event: ev::MouseEvent| {
                let target = event.current_target();
                if let Some(it) = target.and_then(|it| it.dyn_into::<web_sys::Element>().ok()) {
                    let rect = it.get_bounding_client_rect();
                    on_open.run((rect.left(), rect.top() - 8.0));
                }
            }
        >
            <span><UntrustedName text=Signal::derive(shown)/></span>
            {Icon::Unfold.view()}
        </button>
    }
}
