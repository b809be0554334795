//! Draws formulas: their source in the page gives way to MathML, which the application makes.
//!
//! Each formula is asked for once. While an answer grows, its formulas are put in again from memory
//! whenever their block is replaced.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use leptos::prelude::*;
use lilims_ipc::Formula;
use web_sys::Element;

use super::{Drawings, ProseServices, in_document};
use crate::markdown::{mathml, parse_delimiters};

/// Formulas that still show their source.
pub(super) const OPEN: &str = ".math:not(.drawn, .failed)";
/// The attribute of a drawn formula that has its source, with delimiters.
pub(super) const SOURCE: &str = "data-source";
/// The most formulas that are kept: beyond them, memory is emptied.
const MAX_KNOWN: usize = 4_000;
/// The most formulas of one request.
const MAX_REQUEST: usize = 64;

#[derive(Default)]
struct Memory {
    /// The MathML of each formula; `None` for one that is shown as it is written.
    known: HashMap<Formula, Option<Rc<str>>>,
    requested: HashSet<Formula>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Draws the formulas in `elements`, or asks for them.
pub(super) fn complete(elements: &[Element], services: ProseServices) {
    let mut unknown = Vec::new();
    for element in elements {
        let Some(formula) = element.text_content().and_then(|it| parse_delimiters(&it)) else {
            fail(element);
            continue;
        };
        let known = MEMORY.with_borrow(|memory| memory.known.get(&formula).cloned());
        match known {
            Some(Some(html)) => draw(element, &html, formula.is_display),
            Some(None) => fail(element),
            None => {
                if MEMORY.with_borrow_mut(|memory| memory.requested.insert(formula.clone())) {
                    unknown.push(formula);
                }
            }
        }
    }
    for formulas in unknown.chunks(MAX_REQUEST) {
        request(formulas.to_vec(), services);
    }
}

fn request(formulas: Vec<Formula>, services: ProseServices) {
    let asked = formulas.clone();
    let on_reply = Callback::new(move |drawings: Option<Drawings>| {
        remember(&asked, drawings);
        complete(&in_document(OPEN), services);
    });
    services.draw.run((formulas, on_reply));
}

fn remember(formulas: &[Formula], drawings: Option<Drawings>) {
    MEMORY.with_borrow_mut(|memory| {
        if memory.known.len() > MAX_KNOWN {
            memory.known.clear();
        }
        // Without a reply they are not asked for again, and their source stays.
        let drawings = drawings.unwrap_or_else(|| vec![None; formulas.len()]);
        for (formula, pieces) in formulas.iter().zip(drawings) {
            memory.requested.remove(formula);
            let html = pieces.map(|pieces| mathml(&pieces, formula.is_display).into());
            memory.known.insert(formula.clone(), html);
        }
    });
}

fn draw(element: &Element, html: &str, is_display: bool) {
    let source = element.text_content().unwrap_or_default();
    let _ = element.set_attribute(SOURCE, &source);
    element.set_inner_html(html);
    let _ = element.class_list().add_1("drawn");
    if is_display {
        let _ = element.class_list().add_1("display");
    }
}

fn fail(element: &Element) {
    let _ = element.class_list().add_1("failed");
}
