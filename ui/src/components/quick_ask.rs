//! The field of the quick-ask window.

use leptos::{ev, html, prelude::*};

use crate::text::text;

/// The field. Enter asks, Shift+Enter breaks the line, Escape closes the window.
#[component]
pub(crate) fn QuickAsk(
    /// Called with the question; with an empty text to close the window.
    on_ask: Callback<String>,
) -> impl IntoView {
    let field = NodeRef::<html::Textarea>::new();
    let draft = RwSignal::new(String::new());
    let focus = move || {
        if let Some(field) = field.get() {
            let _ = field.focus();
        }
    };
    Effect::new(focus);
    // The window is shown again with the same page.
    let listener = window_event_listener(ev::focus, move |_| untrack(focus));
    on_cleanup(move || listener.remove());
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.is_composing() {
            return;
        }
        match &*event.key() {
            "Escape" => on_ask.run(String::new()),
            "Enter" if !event.shift_key() => {
                event.prevent_default();
                on_ask.run(draft.get_untracked());
                draft.set(String::new());
            }
            _ => {}
        }
    };
    view! {
        <main class="quick-ask">
            <div class="composer-box">
                <div class="grow" data-text=move || draft.get()>
                    <textarea
                        node_ref=field
                        rows="1"
                        data-testid="quick-input"
                        aria-label=text!(composer.label)
                        placeholder=text!(empty.title)
                        dir="auto"
                        autocomplete="off"
                        prop:value=draft
                        on:input=move |event| draft.set(event_target_value(&event))
                        on:keydown=on_keydown
                    ></textarea>
                </div>
            </div>
        </main>
    }
}
