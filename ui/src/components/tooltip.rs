//! An explanation that appears beside a control under the pointer or with the keyboard's focus.

use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;

/// A control, and the explanation that belongs to it. The control names `id` in its
/// `aria-describedby`.
#[component]
pub(super) fn Tooltip(
    /// The element id of the explanation.
    #[prop(into)]
    id: String,
    /// Whether a click on the control opens something else. Otherwise it shows the explanation,
    /// which is the way to it on a touch screen.
    opens_other: bool,
    /// The explanation.
    tip: AnyView,
    /// The control.
    children: Children,
) -> impl IntoView {
    let host = NodeRef::<html::Span>::new();
    let is_shown = RwSignal::new(false);
    let is_below = RwSignal::new(false);
    // What the click opened gives the focus back, and nobody asks for an explanation then.
    let ignores_focus = StoredValue::new(false);
    let show = move || {
        is_below.set(is_in_upper_half(host));
        is_shown.set(true);
    };
    let on_focus = move |event: ev::FocusEvent| {
        if ignores_focus.get_value() {
            ignores_focus.set_value(false);
        } else if is_focus_visible(&event) {
            show();
        }
    };
    let on_click = move |_| {
        if opens_other {
            ignores_focus.set_value(true);
            is_shown.set(false);
        } else {
            show();
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Escape" && is_shown.get_untracked() {
            // It closes the explanation and nothing else.
            event.stop_propagation();
            is_shown.set(false);
        }
    };
    view! {
        <span
            class="tooltip-host"
            node_ref=host
            on:mouseenter=move |_| show()
            on:mouseleave=move |_| is_shown.set(false)
            on:focusin=on_focus
            on:focusout=move |_| is_shown.set(false)
            on:keydown=on_keydown
            on:click=on_click
        >
            {children()}
            <span
                class="tooltip"
                class:below=is_below
                role="tooltip"
                id=id.clone()
                data-testid=id
                hidden=move || !is_shown.get()
            >
                {tip}
            </span>
        </span>
    }
}

/// Whether there is more room below the element than above.
fn is_in_upper_half(host: NodeRef<html::Span>) -> bool {
    let height = window().inner_height().ok().and_then(|height| height.as_f64());
    let top = host.get_untracked().map(|host| host.get_bounding_client_rect().top());
    top.zip(height).is_some_and(|(top, height)| top < height / 2.0)
}

/// Whether the focus came by keyboard: a click gives it too.
fn is_focus_visible(event: &ev::FocusEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    target.is_some_and(|target| target.matches(":focus-visible").unwrap_or(true))
}
