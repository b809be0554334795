//! Highlights code blocks, and wraps their lines.
//!
//! A block that grows is highlighted again a few times a second, never twice at once; in between, its
//! beginning keeps the colours of the last time. Colours change no size, so nothing moves.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use leptos::prelude::*;
use lilims_ipc::CodeRun;
use web_sys::Element;

use super::{Code, ProseServices, in_document};
use crate::markdown::highlighted;

/// A code block.
pub(super) const FIGURE: &str = "figure.code";
/// The class of the page while lines of code are wrapped.
const WRAPS: &str = "wraps-code";
/// The class of a block whose colours are final.
const DONE: &str = "highlighted";
/// The shortest time between two requests for one growing block.
const MIN_WAIT_MS: f64 = 150.0;
/// A request that took long is followed by a pause of this many times as long.
const WAIT_FACTOR: f64 = 8.0;
/// The most bytes of code whose colours are kept.
const MAX_KNOWN_BYTES: usize = 2_000_000;

#[derive(Default)]
struct Memory {
    known: VecDeque<(Code, Rc<[CodeRun]>)>,
    /// Languages without a grammar.
    unknown: HashSet<String>,
    queue: VecDeque<Code>,
    in_flight: Option<(Code, f64)>,
    /// Before this time, nothing is asked for a block that grows.
    paused_until: f64,
    has_timer: bool,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Highlights the block as far as its colours are known, and asks for the others.
pub(super) fn complete(figure: &Element, services: ProseServices) {
    show_wrapping(figure);
    let Some(code) = code_of(figure) else { return };
    if code.text.trim().is_empty() {
        finish(figure);
        return;
    }
    let is_final = MEMORY.with_borrow_mut(|memory| {
        let is_final = memory.paint(figure, &code);
        if !is_final {
            memory.enqueue(code);
        }
        is_final
    });
    if !is_final {
        send_next(services);
    }
}

fn finish(figure: &Element) {
    let _ = figure.class_list().add_1(DONE);
}

/// The language and the code that the block shows.
fn code_of(figure: &Element) -> Option<Code> {
    let language = figure.query_selector("figcaption > span").ok()??.text_content()?;
    let text = figure.query_selector("pre > code").ok()??.text_content()?;
    Some(Code { language, text })
}

impl Memory {
    /// Highlights the block; returns whether nothing remains to be asked for.
    fn paint(&self, figure: &Element, code: &Code) -> bool {
        if self.unknown.contains(&code.language) {
            finish(figure);
            return true;
        }
        let same = |known: &&(Code, Rc<[CodeRun]>)| {
            known.0.language == code.language && code.text.starts_with(&known.0.text)
        };
        let best = self.known.iter().filter(same).max_by_key(|(known, _)| known.text.len());
        let Some((known, runs)) = best else { return false };
        if let Ok(Some(element)) = figure.query_selector("pre > code") {
            element.set_inner_html(&highlighted(&code.text, runs));
        }
        let is_final = known.text.len() == code.text.len();
        if is_final {
            finish(figure);
        }
        is_final
    }

    /// Adds the code to the queue, in place of its beginnings.
    fn enqueue(&mut self, code: Code) {
        let is_same = |other: &Code| *other == code;
        if self.queue.iter().any(is_same)
            || self.in_flight.as_ref().is_some_and(|(other, _)| is_same(other))
        {
            return;
        }
        self.queue.retain(|other| !code.continues(other));
        self.queue.push_back(code);
    }

    fn remember(&mut self, code: Code, runs: Vec<CodeRun>) {
        if runs.is_empty() {
            self.unknown.insert(code.language);
            return;
        }
        self.known.retain(|(other, _)| !code.continues(other));
        self.known.push_back((code, runs.into()));
        let mut n_bytes: usize = self.known.iter().map(|(code, _)| code.text.len()).sum();
        while n_bytes > MAX_KNOWN_BYTES && self.known.len() > 1 {
            n_bytes -= self.known.pop_front().map_or(0, |(code, _)| code.text.len());
        }
    }
}

impl Code {
    /// Whether this is `other` with more text at its end.
    fn continues(&self, other: &Self) -> bool {
        self.language == other.language && self.text.starts_with(&other.text)
    }
}

/// Asks for the next code of the queue, unless another one is being asked for.
fn send_next(services: ProseServices) {
    let now = js_sys::Date::now();
    let (code, pause) = MEMORY.with_borrow_mut(|memory| {
        if memory.in_flight.is_some() {
            return (None, None);
        }
        let grows = |code: &Code| memory.known.iter().any(|(known, _)| code.continues(known));
        let may_go = |code: &Code| now >= memory.paused_until || !grows(code);
        let at = memory.queue.iter().position(may_go);
        let code = at.and_then(|at| memory.queue.remove(at));
        memory.in_flight = code.clone().map(|code| (code, now));
        let waits = code.is_none() && !memory.queue.is_empty() && !memory.has_timer;
        memory.has_timer |= waits;
        (code, waits.then_some(memory.paused_until - now))
    });
    if let Some(pause_ms) = pause {
        let go_on = move || {
            MEMORY.with_borrow_mut(|memory| memory.has_timer = false);
            send_next(services);
        };
        set_timeout(go_on, Duration::from_millis(pause_ms.max(1.0) as u64));
    }
    if let Some(code) = code {
        let on_reply = Callback::new(move |runs| receive(runs, services));
        services.highlight.run((code, on_reply));
    }
}

fn receive(runs: Option<Vec<CodeRun>>, services: ProseServices) {
    MEMORY.with_borrow_mut(|memory| {
        let Some((code, sent)) = memory.in_flight.take() else { return };
        let now = js_sys::Date::now();
        memory.paused_until = now + MIN_WAIT_MS.max((now - sent) * WAIT_FACTOR);
        if let Some(runs) = runs {
            memory.remember(code, runs);
        }
        for figure in in_document(&format!("{FIGURE}:not(.{DONE})")) {
            if let Some(code) = code_of(&figure) {
                memory.paint(&figure, &code);
            }
        }
    });
    send_next(services);
}

/// Wraps long lines in all blocks, or lets them run out again, for as long as the page is open.
pub(super) fn toggle_wrapping() {
    if let Some(root) = document().document_element() {
        let _ = root.class_list().toggle(WRAPS);
    }
    in_document(FIGURE).iter().for_each(show_wrapping);
}

fn show_wrapping(figure: &Element) {
    let wraps = document().document_element().is_some_and(|it| it.class_list().contains(WRAPS));
    if let Ok(Some(button)) = figure.query_selector(".wrap-code") {
        let _ = button.set_attribute("aria-pressed", if wraps { "true" } else { "false" });
    }
}
