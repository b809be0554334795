//! A small dialog: beside its button on a desktop, a sheet on a phone.

use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;

use super::icon::Icon;
use crate::text::text;

/// The panel. It takes the focus while it is open and restores it when it closes.
#[component]
pub(super) fn Panel(
    /// The test id, the class, and the prefix of the close button's test id.
    id: &'static str,
    /// The title.
    title: &'static str,
    /// The close button's label.
    close_label: &'static str,
    /// Called to close it.
    on_close: Callback<()>,
    /// The content under the title.
    children: Children,
) -> impl IntoView {
    let panel = NodeRef::<html::Div>::new();
    Effect::new(move || {
        if let Some(panel) = panel.get() {
            let _ = panel.focus();
        }
    });
    restore_focus_on_close();
    let title_id = format!("{id}-title");
    view! {
        <div class="scrim" on:click=move |_| on_close.run(())></div>
        <div
            class=format!("panel {id}")
            role="dialog"
            aria-labelledby=title_id.clone()
            tabindex="-1"
            data-testid=id
            node_ref=panel
        >
            <div class="panel-head">
                <h2 id=title_id.clone()>{title}</h2>
                <button
                    type="button"
                    class="button quiet small"
                    data-testid=format!("{id}-close")
                    aria-label=close_label
                    title=text!(panel.close_hint)
                    on:click=move |_| on_close.run(())
                >
                    {Icon::Close.view()}
                </button>
            </div>
            {children()}
        </div>
    }
}

/// When the panel closes, focuses the element that was focused when it opened.
pub(super) fn restore_focus_on_close() {
    let focused = document().active_element();
    let focused = StoredValue::new_local(focused);
    on_cleanup(move || {
        let element = focused.try_get_value().flatten();
        if let Some(element) = element.and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = element.focus();
        }
    });
}
