//! The scrolling conversation. It follows a growing answer while the reader is at its end.

use leptos::{ev, html, prelude::*};
use wasm_bindgen::{JsCast, closure::Closure};

use super::icon::Icon;
use super::message::TurnView;
use crate::state::{MessagePosition, Turn};
use crate::text::text;

/// How close to the end, in pixels, counts as being at the end.
const END_MARGIN_PX: i32 = 48;

/// The conversation, followed by its children.
#[component]
pub(crate) fn Conversation(
    /// The turns, oldest first.
    #[prop(into)]
    turns: Signal<Vec<Turn>>,
    /// The turn whose answer is being written.
    #[prop(into)]
    answering: Signal<Option<u64>>,
    /// The message that the model's window begins with; `None` if the window holds everything.
    #[prop(into)]
    window_start: Signal<Option<MessagePosition>>,
    /// The summary of what has left the window.
    #[prop(into)]
    summary: Signal<Option<String>>,
    /// Called to regenerate the last answer.
    on_regenerate: Callback<()>,
    /// Called with the turn whose question is to be edited.
    on_edit: Callback<u64>,
    /// Called with text for the clipboard.
    on_copy: Callback<String>,
    /// Shown after the last message.
    children: Children,
) -> impl IntoView {
    let scroller = NodeRef::<html::Main>::new();
    let content = NodeRef::<html::Div>::new();
    let at_end = RwSignal::new(true);
    let last_id = Memo::new(move |_| turns.with(|turns| turns.last().map(|turn| turn.id)));
    follow_growth(scroller, content, at_end);
    Effect::new(move || {
        // A question was just sent: show it, wherever the reader had scrolled to.
        last_id.track();
        at_end.set(true);
        scroll_to_end(scroller);
    });

    view! {
        <main
            class="conversation"
            tabindex="0"
            aria-label=text!(conversation.label)
            node_ref=scroller
            on:scroll=track_position(scroller, at_end)
        >
            <div class="column" node_ref=content>
                <For each=move || turns.get() key=|turn| turn.id let:turn>
                    {
                        let id = turn.id;
                        let own_start = Memo::new(move |_| {
                            window_start.get().filter(|start| start.turn == id).map(|it| it.part)
                        });
                        view! {
                            <TurnView
                                turn
                                is_last=Signal::derive(move || last_id.get() == Some(id))
                                is_busy=Signal::derive(move || answering.with(Option::is_some))
                                window_start=own_start
                                summary
                                on_regenerate
                                on_edit
                                on_copy
                            />
                        }
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
                        scroll_to_end(scroller);
                    }
                >
                    {Icon::Down.view()}
                </button>
            </Show>
        </div>
    }
}

/// Scrolls to the end when the content grows or the window changes size, while the reader is there.
fn follow_growth(
    scroller: NodeRef<html::Main>,
    content: NodeRef<html::Div>,
    at_end: RwSignal<bool>,
) {
    Effect::new(move || {
        let (Some(scroller_element), Some(content)) = (scroller.get(), content.get()) else {
            return;
        };
        let on_resize = Closure::<dyn FnMut()>::new(move || {
            if at_end.get_untracked() {
                scroll_to_end(scroller);
            }
        });
        let callback = on_resize.into_js_value();
        if let Ok(observer) = web_sys::ResizeObserver::new(callback.unchecked_ref()) {
            observer.observe(&content);
            observer.observe(&scroller_element);
        }
    });
}

/// Tracks whether the reader is at the end. Only scrolling up leaves it: an answer that grew before
/// the event arrived would otherwise look like a reader who scrolled away.
fn track_position(
    scroller: NodeRef<html::Main>,
    at_end: RwSignal<bool>,
) -> impl Fn(ev::Event) + 'static {
    let last_top = StoredValue::new(0);
    move |_| {
        let Some(element) = scroller.get_untracked() else { return };
        let top = element.scroll_top();
        let is_near = element.scroll_height() - top - element.client_height() < END_MARGIN_PX;
        if is_near {
            at_end.set(true);
        } else if top < last_top.get_value() {
            at_end.set(false);
        }
        last_top.set_value(top);
    }
}

fn scroll_to_end(scroller: NodeRef<html::Main>) {
    if let Some(element) = scroller.get_untracked() {
        element.set_scroll_top(element.scroll_height());
    }
}
