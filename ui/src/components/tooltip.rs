//! An explanation that appears beside a control under the pointer or with the keyboard's focus.
//!
//! It never repeats what the control shows, and it never is in the way: of all places around it
//! it takes the one where it covers the fewest other controls, under a resting pointer alone does it
//! appear, and what appeared for the pointer lets clicks through and goes with it. A click on the
//! control, or the keyboard's focus, makes it stay, to be read or scrolled.

use std::time::Duration;

use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{DomRect, Element, HtmlElement};

/// How long the pointer rests on a control before it is explained: who is about to press it, or
/// passes over it, is faster.
const REST: Duration = Duration::from_millis(450);

/// What can be pressed, and should not be covered.
const CONTROLS: &str = "button, a[href], input, select, textarea, summary, [role=option]";

/// Where controls have a place and are not seen: in the conversation behind the library, and in details
/// that are closed.
const HIDDEN: &str = ".behind, details:not([open]) > :not(summary)";

/// Where an explanation may stand: above or below its control, from its beginning or to its end;
/// or beside it, from its top or up to its bottom.
const PLACEMENTS: [&str; 8] = [
    "above end",
    "above start",
    "below end",
    "below start",
    "after",
    "before",
    "after up",
    "before up",
];

/// How an explanation is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    No,
    /// As long as the pointer is on the control.
    Passing,
    /// Until it is left or closed.
    Staying,
}

/// A control, and the explanation that belongs to it. The control names `id` in its
/// `aria-describedby`.
#[component]
pub(super) fn Tooltip(
    /// The element id of the explanation.
    #[prop(into)]
    id: String,
    /// The explanation.
    tip: AnyView,
    /// The control. A click on it makes the explanation stay, which is the way to it on a touch
    /// screen.
    children: Children,
) -> impl IntoView {
    let host = NodeRef::<html::Span>::new();
    let tooltip = NodeRef::<html::Span>::new();
    let shown = RwSignal::new(Shown::No);
    let placement = RwSignal::new(PLACEMENTS[0]);
    let waiting = StoredValue::new(None::<TimeoutHandle>);
    let stop_waiting = move || {
        if let Some(timer) = waiting.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    };
    on_cleanup(stop_waiting);
    let show = move |how| {
        stop_waiting();
        if let (Some(host), Some(tooltip)) = (host.get_untracked(), tooltip.get_untracked()) {
            // It has a size once it is not hidden, and gets its place before it is drawn.
            tooltip.set_hidden(false);
            placement.set(best_placement(&host, &tooltip));
        }
        shown.set(how);
    };
    let hide = move || {
        stop_waiting();
        shown.set(Shown::No);
    };
    let on_enter = move |_| {
        if shown.get_untracked() == Shown::No {
            let passing = move || {
                // The control may be gone by then.
                if shown.try_get_untracked() == Some(Shown::No) {
                    show(Shown::Passing);
                }
            };
            waiting.set_value(set_timeout_with_handle(passing, REST).ok());
        }
    };
    let on_leave = move |_| {
        stop_waiting();
        if shown.get_untracked() == Shown::Passing {
            hide();
        }
    };
    let on_focus = move |event: ev::FocusEvent| {
        if is_focus_visible(&event) {
            show(Shown::Staying);
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Escape" && shown.get_untracked() != Shown::No {
            // It closes the explanation and nothing else.
            event.stop_propagation();
            hide();
        }
    };
    view! {
        <span
            class="tooltip-host"
            node_ref=host
            on:mouseenter=on_enter
            on:mouseleave=on_leave
            on:focusin=on_focus
            on:focusout=move |_| hide()
            on:keydown=on_keydown
            on:click=move |_| show(Shown::Staying)
        >
            {children()}
            <span
                class=move || {
                    let passing = if shown.get() == Shown::Passing { " passing" } else { "" };
                    format!("tooltip {}{passing}", placement.get())
                }
                role="tooltip"
                id=id.clone()
                data-testid=id
                node_ref=tooltip
                hidden=move || shown.get() == Shown::No
            >
                {tip}
            </span>
        </span>
    }
}

/// The placement in which the explanation covers the fewest controls and leaves the window least;
/// the first of several that are as good.
fn best_placement(host: &HtmlElement, tooltip: &HtmlElement) -> &'static str {
    let class = tooltip.class_name();
    let controls = other_controls(host);
    let cost = |placement: &&'static str| {
        tooltip.set_class_name(&format!("tooltip {placement}"));
        cost(&tooltip.get_bounding_client_rect(), &controls)
    };
    let best = PLACEMENTS.into_iter().min_by_key(cost).unwrap_or(PLACEMENTS[0]);
    tooltip.set_class_name(&class);
    best
}

/// Where the controls are that are seen and do not belong to `host`.
fn other_controls(host: &HtmlElement) -> Vec<DomRect> {
    let Ok(all) = document().query_selector_all(CONTROLS) else { return Vec::new() };
    let control = |at| {
        let control: Element = all.item(at)?.dyn_into().ok()?;
        let rect = control.get_bounding_client_rect();
        let is_hidden = rect.width() == 0.0 || control.closest(HIDDEN).is_ok_and(|it| it.is_some());
        (!host.contains(Some(&control)) && !is_hidden).then_some(rect)
    };
    (0..all.length()).filter_map(control).collect()
}

/// How bad it is to stand at `rect`: each control that it covers counts, and what sticks out of the
/// window counts more.
fn cost(rect: &DomRect, controls: &[DomRect]) -> usize {
    let covers = |control: &&DomRect| {
        rect.left() < control.right()
            && control.left() < rect.right()
            && rect.top() < control.bottom()
            && control.top() < rect.bottom()
    };
    let size = |length: Result<wasm_bindgen::JsValue, _>| {
        length.ok().and_then(|length| length.as_f64()).unwrap_or(f64::MAX)
    };
    let (width, height) = (size(window().inner_width()), size(window().inner_height()));
    let sticks_out =
        rect.left() < 0.0 || rect.top() < 0.0 || rect.right() > width || rect.bottom() > height;
    controls.iter().filter(covers).count() + if sticks_out { 1000 } else { 0 }
}

/// Whether the focus came by keyboard: a click gives it too.
fn is_focus_visible(event: &ev::FocusEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    target.is_some_and(|target| target.matches(":focus-visible").unwrap_or(true))
}

/// Gives a control that shows a picture alone its label as a tooltip. Where there is room for the
/// label itself, a tooltip would only say it again.
pub(super) fn explain_picture(event: &ev::MouseEvent) {
    let Some(control) = of_event(event) else { return };
    let label = control.get_attribute("aria-label");
    let label = label.filter(|_| control.inner_text().trim().is_empty());
    set_title(&control, label.as_deref());
}

/// Gives a text that is cut off for want of room itself as a tooltip.
pub(super) fn tell_cut_text(event: &ev::MouseEvent) {
    let Some(element) = of_event(event) else { return };
    let is_cut = element.scroll_width() > element.client_width();
    set_title(&element, is_cut.then(|| element.inner_text()).as_deref());
}

fn of_event(event: &ev::MouseEvent) -> Option<HtmlElement> {
    event.current_target()?.dyn_into().ok()
}

fn set_title(element: &HtmlElement, title: Option<&str>) {
    let _ = match title {
        Some(title) => element.set_attribute("title", title),
        None => element.remove_attribute("title"),
    };
}
