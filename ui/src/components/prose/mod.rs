//! Brings rendered Markdown to life, wherever it is in the page: highlights code, draws formulas,
//! and handles its links, footnotes and buttons.
//!
//! Answers are HTML that is replaced while it grows. So this layer watches the document: what was added
//! is completed before it is drawn, and nothing flickers or depends on which component has added it.

mod address;
mod clicks;
mod code_block;
mod copying;
mod formula;
mod link;

use js_sys::Array;
use leptos::prelude::*;
use lilims_ipc::{CodeRun, Formula, MathPiece};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Element, MutationObserver, MutationObserverInit, MutationRecord, NodeList};

use link::LinkView;

/// The containers of rendered Markdown.
const PROSE: &str = ".prose";
/// Elements whose content this layer makes itself.
const OWN: &str = "pre, .math";

/// Code of a known language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// The language, as the answer names it.
    pub(crate) language: String,
    /// The code.
    pub(crate) text: String,
}

/// The pieces of formulas, in their order; `None` for one that is shown as it is written.
pub(crate) type Drawings = Vec<Option<Vec<MathPiece>>>;

/// What the application does for rendered Markdown.
#[derive(Clone, Copy)]
pub(crate) struct ProseServices {
    /// Classifies code, and calls back; with `None` if that failed.
    pub(crate) highlight: Callback<(Code, Callback<Option<Vec<CodeRun>>>)>,
    /// Draws formulas, and calls back; with `None` if that failed.
    pub(crate) draw: Callback<(Vec<Formula>, Callback<Option<Drawings>>)>,
    /// Opens an address outside the app.
    pub(crate) open: Callback<String>,
    /// Puts text on the clipboard.
    pub(crate) copy: Callback<String>,
    /// Puts HTML on the clipboard, with plain text beside it.
    pub(crate) copy_rich: Callback<(String, String)>,
}

/// The layer. The page has it once; it shows the address of the link that has the pointer or the focus.
#[component]
pub(crate) fn ProseLayer(
    /// What the application does.
    services: ProseServices,
) -> impl IntoView {
    let pointed = RwSignal::new(None);
    let asked = RwSignal::new(None);
    Effect::new(move || observe(services));
    clicks::listen(services, asked);
    copying::listen();
    link::listen(pointed);
    view! { <LinkView pointed asked services/> }
}

/// Completes what is in the page, and what is added to it.
fn observe(services: ProseServices) {
    let Some(body) = document().body() else { return };
    complete(&body, services);
    let on_change = Closure::<dyn FnMut(Array)>::new(move |records: Array| {
        for record in records.iter().filter_map(|it| it.dyn_into::<MutationRecord>().ok()) {
            let target = record.target().and_then(|it| it.dyn_into::<Element>().ok());
            // Much is added to code that is highlighted, and nothing of it is to be completed.
            if target.is_some_and(|target| matches!(target.closest(OWN), Ok(Some(_)))) {
                continue;
            }
            for element in elements(&record.added_nodes()) {
                complete(&element, services);
            }
        }
    });
    let callback = on_change.into_js_value();
    if let Ok(observer) = MutationObserver::new(callback.unchecked_ref()) {
        let options = MutationObserverInit::new();
        options.set_child_list(true);
        options.set_subtree(true);
        let _ = observer.observe_with_options(&body, &options);
    }
}

/// Completes the rendered Markdown in `element`.
fn complete(element: &Element, services: ProseServices) {
    formula::complete(&within(element, &format!("{PROSE} {}", formula::OPEN)), services);
    for figure in within(element, &format!("{PROSE} {}", code_block::FIGURE)) {
        code_block::complete(&figure, services);
    }
}

/// The element and those in it that match `selector`.
fn within(element: &Element, selector: &str) -> Vec<Element> {
    let own = element.matches(selector).unwrap_or(false).then(|| element.clone());
    let inner = element.query_selector_all(selector).map(|found| elements(&found));
    own.into_iter().chain(inner.unwrap_or_default()).collect()
}

/// The elements of the document that match `selector`.
fn in_document(selector: &str) -> Vec<Element> {
    document().query_selector_all(selector).map(|found| elements(&found)).unwrap_or_default()
}

fn elements(nodes: &NodeList) -> Vec<Element> {
    (0..nodes.length()).filter_map(|index| nodes.item(index)?.dyn_into().ok()).collect()
}
