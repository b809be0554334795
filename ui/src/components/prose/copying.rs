//! Copying a selection: formulas are copied as their LaTeX, and the labels of code stay out.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, Node};

use super::{elements, formula};

/// Corrects what the system copies from a selection with a formula in it.
pub(super) fn listen() {
    let handle = window_event_listener(ev::copy, move |event| {
        let Some((html, text)) = selected() else { return };
        let Some(clipboard) = event.clipboard_data() else { return };
        let is_set = clipboard.set_data("text/plain", &text).is_ok()
            && clipboard.set_data("text/html", &html).is_ok();
        if is_set {
            event.prevent_default();
        }
    });
    on_cleanup(move || handle.remove());
}

/// The selection as HTML and text; `None` if it has no drawn formula.
fn selected() -> Option<(String, String)> {
    let selection = window().get_selection().ok()??;
    let range = selection.get_range_at(0).ok().filter(|range| !range.collapsed())?;
    let around: Node = range.common_ancestor_container().ok()?;
    let around =
        around.dyn_into::<Element>().or_else(|node| node.parent_element().ok_or(node)).ok()?;
    // Half a formula is copied as the whole.
    if let Some(whole) = around.closest(".math.drawn").ok()? {
        let source = whole.get_attribute(formula::SOURCE)?;
        return Some((escaped(&source)?, source));
    }
    around.closest(".prose, .conversation").ok()??;
    let copy: HtmlElement = document().create_element("div").ok()?.dyn_into().ok()?;
    let content: Node = range.clone_contents().ok()?.into();
    copy.append_child(&content).ok()?;
    let formulas = elements(&copy.query_selector_all(".math.drawn").ok()?);
    if formulas.is_empty() {
        return None;
    }
    for formula in formulas {
        let source = formula.get_attribute(formula::SOURCE).unwrap_or_default();
        formula.set_text_content(Some(&source));
    }
    for label in elements(&copy.query_selector_all("figcaption, button").ok()?) {
        label.remove();
    }
    // Lines are known only to an element that is laid out.
    copy.set_class_name("visually-hidden copied-selection");
    document().body()?.append_child(&copy).ok()?;
    let text = copy.inner_text();
    copy.remove();
    Some((copy.inner_html(), text))
}

fn escaped(text: &str) -> Option<String> {
    let element = document().create_element("span").ok()?;
    element.set_text_content(Some(text));
    Some(element.inner_html())
}
