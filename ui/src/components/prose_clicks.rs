//! What a click does inside rendered Markdown. Nothing there ever leads out of the page.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;

use super::message::CONFIRMATION;

/// Clicks inside rendered Markdown: code is copied, and a link's address is copied instead of opened.
pub(super) fn handle_click(event: &ev::MouseEvent, on_copy: Callback<String>) {
    let Some(target) = target_of(event) else { return };
    if let Ok(Some(link)) = target.closest(".prose a[href]") {
        event.prevent_default();
        if let Some(address) = link.get_attribute("href") {
            on_copy.run(address);
            confirm(&link);
        }
    } else if let Ok(Some(button)) = target.closest("button.copy-code") {
        let code = button.closest("figure").ok().flatten();
        let code = code.and_then(|figure| figure.query_selector("code").ok().flatten());
        if let Some(code) = code.and_then(|code| code.text_content()) {
            on_copy.run(code);
            confirm(&button);
        }
    }
}

/// The middle button would open a link in a new window.
pub(super) fn keep_links_shut(event: &ev::MouseEvent) {
    if target_of(event).is_some_and(|target| matches!(target.closest("a[href]"), Ok(Some(_)))) {
        event.prevent_default();
    }
}

/// The element that was clicked.
fn target_of(event: &ev::MouseEvent) -> Option<web_sys::Element> {
    event.target()?.dyn_into().ok()
}

/// Marks `element` as copied for a moment; the style sheet says so beside it.
fn confirm(element: &web_sys::Element) {
    let _ = element.class_list().add_1("copied");
    let element = element.clone();
    set_timeout(
        move || {
            let _ = element.class_list().remove_1("copied");
        },
        CONFIRMATION,
    );
}
