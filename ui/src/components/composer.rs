//! Where questions are written.

use leptos::{ev, html, prelude::*};

use super::icon::Icon;
use crate::bridge::has_fine_pointer;

/// The key code that browsers report for keys that an input method handles.
const COMPOSING_KEY: u32 = 229;

/// The text field with its button.
#[component]
pub(crate) fn Composer(
    /// What is being written.
    draft: RwSignal<String>,
    /// Whether the model is loading: a question then waits for it.
    #[prop(into)]
    is_loading: Signal<bool>,
    /// Whether no model is loaded and none will be by itself: no question can be asked.
    #[prop(into)]
    has_failed: Signal<bool>,
    /// Whether the model has given its memory back: a question loads it again.
    #[prop(into)]
    is_unloaded: Signal<bool>,
    /// Whether an answer is being written.
    #[prop(into)]
    is_answering: Signal<bool>,
    /// The turn whose question is being rewritten.
    #[prop(into)]
    editing: Signal<Option<u64>>,
    /// Called to send the draft.
    on_submit: Callback<()>,
    /// Called to stop the answer.
    on_stop: Callback<()>,
    /// What stands under the field, before the hints.
    picker: AnyView,
    /// What stands under the field, after the hints.
    children: Children,
) -> impl IntoView {
    let field = NodeRef::<html::Textarea>::new();
    let is_blank = Memo::new(move |_| draft.with(|draft| draft.trim().is_empty()));
    let focus = move || {
        if let Some(field) = field.get_untracked()
            && has_fine_pointer()
        {
            let _ = field.focus();
        }
    };
    Effect::new(move || {
        field.track();
        editing.track();
        focus();
    });
    let submit = move || {
        if !is_blank.get_untracked() && !has_failed.get_untracked() {
            on_submit.run(());
            focus();
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        let composes = event.is_composing() || event.key_code() == COMPOSING_KEY;
        if event.key() == "Enter" && !event.shift_key() && !composes {
            event.prevent_default();
            submit();
        }
    };
    let hint = move || {
        if editing.get().is_some() {
            "Editing your message"
        } else if has_failed.get() {
            "No model is loaded"
        } else if is_loading.get() && !is_answering.get() {
            "The model is loading; a message waits for it"
        } else if is_unloaded.get() && !is_answering.get() {
            "Your next message loads the model again"
        } else {
            ""
        }
    };
    let keys = move || {
        if editing.get().is_some() {
            "Esc cancels"
        } else if is_answering.get() {
            "Esc stops"
        } else if is_blank.get() || has_failed.get() {
            ""
        } else {
            "Enter sends · Shift+Enter breaks the line"
        }
    };
    view! {
        <form
            class="composer"
            on:submit=move |event| {
                event.prevent_default();
                submit();
            }
        >
            <div class="composer-box">
                // The box grows with a hidden copy of the text in `data-text`, see composer.css.
                <div class="grow" data-text=move || draft.get()>
                    <textarea
                        node_ref=field
                        rows="1"
                        data-testid="composer-input"
                        aria-label="Message"
                        placeholder="Write a message"
                        autocomplete="off"
                        enterkeyhint="send"
                        prop:value=draft
                        on:input=move |event| draft.set(event_target_value(&event))
                        on:keydown=on_keydown
                    ></textarea>
                </div>
                    <Show
                        when=move || is_answering.get()
                        fallback=move || {
                            view! {
                                <button
                                    type="submit"
                                    class="button primary round"
                                    data-testid="send"
                                    aria-label=move || if is_loading.get() { "Send when the model is loaded" } else { "Send" }
                                    title="Send"
                                    disabled=move || is_blank.get() || has_failed.get()
                                >
                                    {Icon::Send.view()}
                                </button>
                            }
                        }
                    >
                        <button
                            type="button"
                            class="button primary round stop"
                            data-testid="stop"
                            aria-label="Stop the answer"
                            title="Stop (Esc)"
                            on:click=move |_| {
                                on_stop.run(());
                                focus();
                            }
                        >
                            {Icon::Stop.view()}
                        </button>
                    </Show>
            </div>
            <div class="under">
                {picker}
                <div class="hints">
                    <span>{hint}</span>
                    <span class="keys">{keys}</span>
                </div>
                {children()}
            </div>
        </form>
    }
}
