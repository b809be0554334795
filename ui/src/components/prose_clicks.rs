//! Clicks inside rendered Markdown. Links never leave the page: their address is copied instead.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;

use super::message::CONFIRMATION;
use crate::text::text;

/// Copies the code of a copy button, or the address of a link instead of opening it.
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

/// Stops the middle button from opening a link in a new window.
pub(super) fn block_middle_click(event: &ev::MouseEvent) {
    if target_of(event).is_some_and(|target| matches!(target.closest("a[href]"), Ok(Some(_)))) {
        event.prevent_default();
    }
}

/// The clicked element.
fn target_of(event: &ev::MouseEvent) -> Option<web_sys::Element> {
    event.target()?.dyn_into().ok()
}

/// Marks `element` as copied for a moment; the style sheet shows `data-copied` beside a link.
fn confirm(element: &web_sys::Element) {
    let _ = element.set_attribute("data-copied", text!(prose.address_copied));
    let _ = element.class_list().add_1("copied");
    let element = element.clone();
    set_timeout(
        move || {
            let _ = element.class_list().remove_1("copied");
        },
        CONFIRMATION,
    );
}
