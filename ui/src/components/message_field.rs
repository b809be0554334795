//! A message while it is edited, in its place and its type. Saving makes another version.

use leptos::{ev, html, prelude::*};

use crate::bridge::is_apple;
use crate::text::text;

/// The field with its buttons.
#[component]
pub(super) fn MessageField(
    /// The text so far.
    value: String,
    /// The label of the button that saves.
    save_label: &'static str,
    /// Whether nothing can be saved now.
    is_busy: Signal<bool>,
    /// Called with the new text.
    #[prop(into)]
    on_save: Callback<String>,
    /// Called to leave the message as it is.
    #[prop(into)]
    on_cancel: Callback<()>,
) -> impl IntoView {
    let field = NodeRef::<html::Textarea>::new();
    let text = RwSignal::new(value.clone());
    Effect::new(move || {
        if let Some(field) = field.get() {
            let _ = field.focus();
            let end = field.value().encode_utf16().count() as u32;
            let _ = field.set_selection_range(end, end);
        }
    });
    let cannot_save = Memo::new(move |_| is_busy.get() || text.with(|text| text.trim().is_empty()));
    let save = move || {
        if !cannot_save.get_untracked() {
            on_save.run(text.get_untracked());
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Escape" && !event.is_composing() {
            event.stop_propagation();
            on_cancel.run(());
        } else if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            save();
        }
    };
    let keys = if is_apple() { text!(conversation.keys_apple) } else { text!(conversation.keys) };
    view! {
        <div class="message-field">
            <div class="grow" data-text=move || text.get()>
                <textarea
                    rows="1"
                    data-testid="message-field"
                    aria-label=text!(conversation.edited_text)
                    dir="auto"
                    prop:value=value
                    node_ref=field
                    on:input=move |event| text.set(event_target_value(&event))
                    on:keydown=on_keydown
                ></textarea>
            </div>
            <div class="message-field-foot">
                <span class="message-field-note">{text!(conversation.edit_note)}</span>
                <span class="keys">{keys}</span>
                <button
                    type="button"
                    class="button"
                    data-testid="edit-cancel"
                    on:click=move |_| on_cancel.run(())
                >
                    {text!(button.cancel)}
                </button>
                <button
                    type="button"
                    class="button primary"
                    data-testid="edit-save"
                    disabled=cannot_save
                    on:click=move |_| save()
                >
                    {save_label}
                </button>
            </div>
        </div>
    }
}
