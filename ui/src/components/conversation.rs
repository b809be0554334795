//! The scrolling conversation. A new question moves to the top and its answer grows below it; the view
//! follows only a reader who is at the end.

use leptos::{ev, html, prelude::*};
use lilims_ipc::MessageId;
use wasm_bindgen::{JsCast, closure::Closure};

use super::icon::Icon;
use super::message::{EntryView, MessageActions, MessageContext};
use crate::state::{Drawn, Entry};
use crate::text::text;

/// How close to the end, in pixels, counts as being at the end.
const END_MARGIN_PX: i32 = 10;

/// The top moves less, in pixels, when parts around the conversation change.
const SHIFT_PX: i32 = 64;

/// So long after a wheel, finger, key or button, in milliseconds, the reader is who scrolls.
const TOUCH_MS: f64 = 500.0;

/// How close to the first message that is drawn, in pixels, earlier ones are drawn.
const DRAW_MARGIN_PX: i32 = 1200;

/// The conversation, followed by its children.
#[component]
pub(crate) fn Conversation(
    /// The messages, oldest first.
    #[prop(into)]
    entries: Signal<Vec<Entry>>,
    /// The answer that is being written, if it is in this conversation.
    #[prop(into)]
    answering: Signal<Option<u64>>,
    /// Whether an answer is being written, here or elsewhere.
    #[prop(into)]
    is_busy: Signal<bool>,
    /// The message that is being edited.
    #[prop(into)]
    editing: Signal<Option<u64>>,
    /// The message that the model's window begins with; `None` if the window holds everything.
    #[prop(into)]
    window_start: Signal<Option<u64>>,
    /// The summary of what has left the window.
    #[prop(into)]
    summary: Signal<Option<String>>,
    /// The message to scroll to, such as one that a search has found.
    target: RwSignal<Option<MessageId>>,
    /// What the user can do with messages.
    actions: MessageActions,
    /// Shown after the last message.
    children: Children,
) -> impl IntoView {
    let scroller = NodeRef::<html::Main>::new();
    let content = NodeRef::<html::Div>::new();
    let at_end = RwSignal::new(true);
    let last = StoredValue::new(Place::default());
    let touched_at = StoredValue::new(f64::NEG_INFINITY);
    let touch = move || touched_at.set_value(js_sys::Date::now());
    let scroll_to_end = move || {
        if let Some(element) = scroller.get_untracked() {
            element.set_scroll_top(element.scroll_height());
            last.set_value(Place::of(&element));
        }
    };
    let last_key = Memo::new(move |_| entries.with(|entries| entries.last().map(|it| it.key)));
    // Where the conversation begins: another one is shown from its end.
    let first_key = Memo::new(move |_| entries.with(|entries| entries.first().map(|it| it.key)));
    let drawn = Drawn::new(entries);
    follow_growth(scroller, content, at_end, scroll_to_end);
    Effect::new(move || {
        first_key.track();
        leave_room(content, None);
        at_end.set(true);
        scroll_to_end();
    });
    Effect::new(move || {
        // A question was just sent: it goes to the top, wherever the reader had scrolled to.
        if answering.get().is_some() && answering.get() == last_key.get_untracked() {
            request_animation_frame(move || {
                leave_room(content, scroller.get_untracked().map(|it| it.client_height()));
                at_end.set(true);
                scroll_to_end();
            });
        }
    });
    Effect::new(move || {
        entries.track();
        if let Some(message) = target.get() {
            drawn.draw_from(&message);
            request_animation_frame(move || {
                if show_message(&message) {
                    at_end.set(false);
                    target.set(None);
                }
            });
        }
    });

    view! {
        <main
            class="conversation"
            tabindex="0"
            aria-label=text!(conversation.label)
            node_ref=scroller
            on:wheel=move |_| touch()
            on:touchmove=move |_| touch()
            on:keydown=move |_| touch()
            on:pointerdown=move |_| touch()
            on:scroll=track_position(scroller, at_end, last, touched_at, scroll_to_end, drawn)
        >
            <div class="column" node_ref=content>
                <For each=move || drawn.entries() key=|entry| entry.key let:entry>
                    {
                        let key = entry.key;
                        let context = MessageContext {
                            is_last: Signal::derive(move || last_key.get() == Some(key)),
                            is_busy,
                            is_edited: Signal::derive(move || editing.get() == Some(key)),
                            begins_window: Signal::derive(move || window_start.get() == Some(key)),
                            summary,
                        };
                        view! { <EntryView entry context actions/> }
                    }
                </For>
                {children()}
            </div>
        </main>
        <div class="jump">
            <Show when=move || !at_end.get()>
                <button
                    type="button"
                    class="button round"
                    data-testid="jump-to-latest"
                    aria-label=text!(conversation.jump_to_latest)
                    title=text!(conversation.jump_to_latest)
                    on:click=move |_| {
                        at_end.set(true);
                        scroll_to_end();
                    }
                >
                    {Icon::Down.view()}
                </button>
            </Show>
        </div>
    }
}

/// Gives the last answer as much room as puts the question before it at the top of a view of `height`
/// pixels; without one, takes the room back.
fn leave_room(content: NodeRef<html::Div>, height: Option<i32>) {
    let Some(content) = content.get_untracked() else { return };
    let room = height.and_then(|height| {
        let questions = content.query_selector_all(".message.user").ok()?;
        let question = questions.item(questions.length().checked_sub(1)?)?;
        let question: web_sys::HtmlElement = question.dyn_into().ok()?;
        Some((height - question.offset_height()).max(0))
    });
    let content: &web_sys::HtmlElement = &content;
    let _ = content.style().set_property("--room", &format!("{}px", room.unwrap_or(0)));
}

/// Scrolls to a message and marks it for a moment. Returns whether it is on the page.
fn show_message(message: &MessageId) -> bool {
    let selector = format!("[data-testid=message][data-id='{}']", message.0);
    let Some(element) = document().query_selector(&selector).ok().flatten() else { return false };
    let options = web_sys::ScrollIntoViewOptions::new();
    options.set_block(web_sys::ScrollLogicalPosition::Center);
    element.scroll_into_view_with_scroll_into_view_options(&options);
    let _ = element.class_list().add_1("found-here");
    set_timeout(
        move || {
            let _ = element.class_list().remove_1("found-here");
        },
        std::time::Duration::from_millis(2400),
    );
    true
}

/// Scrolls to the end when the content grows or the window changes size, while the reader is there.
fn follow_growth(
    scroller: NodeRef<html::Main>,
    content: NodeRef<html::Div>,
    at_end: RwSignal<bool>,
    scroll_to_end: impl Fn() + Copy + 'static,
) {
    Effect::new(move || {
        let (Some(scroller_element), Some(content)) = (scroller.get(), content.get()) else {
            return;
        };
        let on_resize = Closure::<dyn FnMut()>::new(move || {
            if at_end.get_untracked() {
                scroll_to_end();
            }
        });
        let callback = on_resize.into_js_value();
        if let Ok(observer) = web_sys::ResizeObserver::new(callback.unchecked_ref()) {
            observer.observe(&content);
            observer.observe(&scroller_element);
        }
    });
}

/// Where the view is: its top, and the lowest top that is possible.
#[derive(Clone, Copy, Default)]
struct Place {
    top: i32,
    end: i32,
}

impl Place {
    fn of(scroller: &web_sys::Element) -> Self {
        let end = scroller.scroll_height() - scroller.client_height();
        Self { top: scroller.scroll_top(), end }
    }
}

/// Tracks whether the reader is at the end. Only scrolling up leaves it: an answer that grew before the event
/// arrived would otherwise look like a reader who scrolled away, and so would a content that became shorter,
/// or a view that became higher, by which the top moves up, too: also if both are again as they were.
fn track_position(
    scroller: NodeRef<html::Main>,
    at_end: RwSignal<bool>,
    last: StoredValue<Place>,
    touched_at: StoredValue<f64>,
    scroll_to_end: impl Fn() + 'static,
    drawn: Drawn,
) -> impl Fn(ev::Event) + 'static {
    move |_| {
        let Some(element) = scroller.get_untracked() else { return };
        let (before, now) = (last.get_value(), Place::of(&element));
        last.set_value(now);
        let is_small = before.top - now.top < SHIFT_PX;
        let is_touched = js_sys::Date::now() - touched_at.get_value() < TOUCH_MS;
        if now.end - now.top < END_MARGIN_PX {
            at_end.set(true);
        } else if at_end.get_untracked() && (now.end < before.end || (is_small && !is_touched)) {
            scroll_to_end();
        } else if now.top < before.top {
            at_end.set(false);
        }
        if now.top < DRAW_MARGIN_PX {
            draw_earlier(element, drawn);
        }
    }
}

/// Draws earlier messages above those in sight, which stay where they are.
fn draw_earlier(element: web_sys::HtmlElement, drawn: Drawn) {
    let height = element.scroll_height();
    if drawn.draw_more() {
        request_animation_frame(move || {
            let grown = element.scroll_height() - height;
            element.set_scroll_top(element.scroll_top() + grown);
        });
    }
}
