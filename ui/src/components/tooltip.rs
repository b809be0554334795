//! Tooltips: explanations beside a control that has the pointer or the keyboard's focus.
//!
//! A tooltip is placed where it covers the fewest other controls. It appears only when the pointer
//! rests; then it lets clicks through and closes when the pointer leaves. A click on the control or
//! the keyboard's focus keeps it open, to be read or scrolled.

use std::time::Duration;

use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{DomRect, Element, HtmlElement};

/// How long the pointer rests on a control before the tooltip opens: longer than pressing it or
/// passing over it takes.
const HOVER_DELAY: Duration = Duration::from_millis(450);

/// Elements that should not be covered.
const CONTROLS: &str = "button, a[href], input, select, textarea, summary, [role=option]";

/// Where controls have a size but cannot be seen: in the conversation behind the library, and in
/// closed details.
const HIDDEN: &str = ".behind, details:not([open]) > :not(summary)";

/// The possible placements: above or below the control, aligned with its start or end; or beside it,
/// aligned with its top or bottom.
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

/// Whether a tooltip is visible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visibility {
    Hidden,
    /// While the pointer is on the control.
    Hovered,
    /// Until the focus leaves or it is closed.
    Pinned,
}

/// A control with its tooltip. The control must name `id` in its `aria-describedby`.
#[component]
pub(super) fn Tooltip(
    /// The element id of the tooltip.
    #[prop(into)]
    id: String,
    /// The content of the tooltip.
    tip: AnyView,
    /// The control. A click on it keeps the tooltip open, also on a touch screen.
    children: Children,
) -> impl IntoView {
    let host = NodeRef::<html::Span>::new();
    let tooltip = NodeRef::<html::Span>::new();
    let visibility = RwSignal::new(Visibility::Hidden);
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
            // It has a size only when it is not hidden; it is placed before it is drawn.
            tooltip.set_hidden(false);
            placement.set(best_placement(&host, &tooltip));
        }
        visibility.set(how);
    };
    let hide = move || {
        stop_waiting();
        visibility.set(Visibility::Hidden);
    };
    let on_enter = move |_| {
        if visibility.get_untracked() == Visibility::Hidden {
            let open = move || {
                // The control may be gone by now.
                if visibility.try_get_untracked() == Some(Visibility::Hidden) {
                    show(Visibility::Hovered);
                }
            };
            waiting.set_value(set_timeout_with_handle(open, HOVER_DELAY).ok());
        }
    };
    let on_leave = move |_| {
        stop_waiting();
        if visibility.get_untracked() == Visibility::Hovered {
            hide();
        }
    };
    let on_focus = move |event: ev::FocusEvent| {
        if is_focus_visible(&event) {
            show(Visibility::Pinned);
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Escape" && visibility.get_untracked() != Visibility::Hidden {
            // Closes only the tooltip.
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
            on:click=move |_| show(Visibility::Pinned)
        >
            {children()}
            <span
                class=move || {
                    let passing = if visibility.get() == Visibility::Hovered { " passing" } else { "" };
                    format!("tooltip {}{passing}", placement.get())
                }
                role="tooltip"
                id=id.clone()
                data-testid=id
                node_ref=tooltip
                hidden=move || visibility.get() == Visibility::Hidden
            >
                {tip}
            </span>
        </span>
    }
}

/// The placement in which the tooltip covers the fewest controls and stays in the window; the first
/// of equally good ones.
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

/// The rectangles of visible controls outside `host`.
fn other_controls(host: &HtmlElement) -> Vec<DomRect> {
    let Ok(all) = document().query_selector_all(CONTROLS) else { return Vec::new() };
    let rect_of = |index| {
        let control: Element = all.item(index)?.dyn_into().ok()?;
        let rect = control.get_bounding_client_rect();
        let is_hidden = rect.width() == 0.0 || control.closest(HIDDEN).is_ok_and(|it| it.is_some());
        (!host.contains(Some(&control)) && !is_hidden).then_some(rect)
    };
    (0..all.length()).filter_map(rect_of).collect()
}

/// The cost of the placement at `rect`: one for each covered control, and more for leaving the
/// window.
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

/// Whether the focus came from the keyboard, not from a click.
fn is_focus_visible(event: &ev::FocusEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    target.is_some_and(|target| target.matches(":focus-visible").unwrap_or(true))
}

/// Shows the label of an icon-only control as its title. A control with visible text gets none, since
/// it would repeat that text.
pub(super) fn title_from_label(event: &ev::MouseEvent) {
    let Some(control) = of_event(event) else { return };
    let label = control.get_attribute("aria-label");
    let label = label.filter(|_| control.inner_text().trim().is_empty());
    set_title(&control, label.as_deref());
}

/// Shows the full text of a truncated element as its title.
pub(super) fn title_if_truncated(event: &ev::MouseEvent) {
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
