//! Clicks inside rendered Markdown: links, footnotes, and the buttons of code.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement};

use super::address::Address;
use super::link::{address_of, link_of};
use super::{PROSE, ProseServices, code_block};
use crate::components::message::CONFIRMATION;

/// Handles clicks, wherever they are. Links never leave the page by themselves: an address is opened
/// outside, or put into `asked` first if the link's text promises another one.
pub(super) fn listen(services: ProseServices, asked: RwSignal<Option<Address>>) {
    let on_click = move |event: ev::MouseEvent| {
        let Some(target) = target_of(&event) else { return };
        if let Some(link) = link_of(&target) {
            event.prevent_default();
            let address = address_of(&link);
            if address.is_surprising(&link.text_content().unwrap_or_default()) {
                asked.set(Some(address));
            } else {
                services.open.run(address.whole());
            }
        } else if let Some(button) = closest(&target, "button.copy-code") {
            copy_code(&button, services.copy);
        } else if closest(&target, "button.wrap-code").is_some() {
            code_block::toggle_wrapping();
        } else if let Some(mark) = closest(&target, "button.note-ref") {
            go_to(&mark, "data-note-text", "");
        } else if let Some(back) = closest(&target, "button.note-back") {
            go_to(&back, "data-note", ".note-ref");
        }
    };
    // The middle button would open a new window.
    let on_other_click = move |event: ev::MouseEvent| {
        if target_of(&event).is_some_and(|target| link_of(&target).is_some()) {
            event.prevent_default();
        }
    };
    let handles = [
        window_event_listener(ev::click, on_click),
        window_event_listener(ev::auxclick, on_other_click),
    ];
    on_cleanup(move || handles.into_iter().for_each(|handle| handle.remove()));
}

/// The clicked element, if it is in rendered Markdown.
fn target_of(event: &ev::MouseEvent) -> Option<Element> {
    let target: Element = event.target()?.dyn_into().ok()?;
    closest(&target, PROSE).is_some().then_some(target)
}

fn closest(element: &Element, selector: &str) -> Option<Element> {
    element.closest(selector).ok()?
}

fn copy_code(button: &Element, copy: Callback<String>) {
    let code = closest(button, "figure").and_then(|it| it.query_selector("pre > code").ok()?);
    if let Some(code) = code.and_then(|code| code.text_content()) {
        copy.run(code);
        confirm(button);
    }
}

/// Focuses the footnote, or its first reference, of the number that the button has.
fn go_to(button: &Element, attribute: &str, class: &str) {
    let Some(number) = button.get_attribute("data-note") else { return };
    let selector = format!("{class}[{attribute}=\"{number}\"]");
    let place = closest(button, PROSE).and_then(|it| it.query_selector(&selector).ok()?);
    if let Some(place) = place.and_then(|it| it.dyn_into::<HtmlElement>().ok()) {
        place.scroll_into_view();
        let _ = place.focus();
    }
}

/// Marks `element` as copied for a moment.
fn confirm(element: &Element) {
    let _ = element.class_list().add_1("copied");
    let element = element.clone();
    set_timeout(
        move || {
            let _ = element.class_list().remove_1("copied");
        },
        CONFIRMATION,
    );
}
