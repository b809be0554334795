//! The text field for questions, with its send and stop button.

use leptos::{ev, html, prelude::*};
use lilims_ipc::ConversationId;

use super::attachments::{AttachmentActions, DraftAttachmentsView};
use super::icon::Icon;
use crate::bridge::has_fine_pointer;
use crate::state::{DraftAttachments, is_long_paste};
use crate::text::text;

/// The key code that browsers report for keys that an input method handles.
const COMPOSING_KEY: u32 = 229;

/// The text field with its button. Enter sends, Shift+Enter breaks the line.
#[component]
pub(crate) fn Composer(
    /// The draft.
    draft: RwSignal<String>,
    /// Whether the model is loading: a question is then sent once it is ready.
    #[prop(into)]
    is_loading: Signal<bool>,
    /// Whether no model is loaded or loading: no question can be asked.
    #[prop(into)]
    has_failed: Signal<bool>,
    /// Whether the model was unloaded: a question loads it again.
    #[prop(into)]
    is_unloaded: Signal<bool>,
    /// Whether an answer is being written.
    #[prop(into)]
    is_answering: Signal<bool>,
    /// Whether that is in another conversation.
    #[prop(into)]
    answers_elsewhere: Signal<bool>,
    /// The conversation, whose field gets the focus when it is opened.
    #[prop(into)]
    conversation: Signal<Option<ConversationId>>,
    /// Called to send the draft.
    on_submit: Callback<()>,
    /// Called to stop the answer.
    on_stop: Callback<()>,
    /// The documents that are attached.
    attachments: DraftAttachments,
    /// What the user can do with them.
    attachment_actions: AttachmentActions,
    /// Shown under the field, before the hints.
    picker: AnyView,
    /// Shown under the field, after the hints.
    children: Children,
) -> impl IntoView {
    let field = NodeRef::<html::Textarea>::new();
    let is_blank = Memo::new(move |_| {
        draft.with(|draft| draft.trim().is_empty()) && attachments.list.with(Vec::is_empty)
    });
    let cannot_send =
        Memo::new(move |_| is_blank.get() || has_failed.get() || attachments.n_reading.get() > 0);
    let focus = move || {
        if let Some(field) = field.get_untracked()
            && has_fine_pointer()
        {
            let _ = field.focus();
        }
    };
    Effect::new(move || {
        field.track();
        conversation.track();
        focus();
    });
    let submit = move || {
        if !cannot_send.get_untracked() {
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
    let on_paste = move |event: ev::ClipboardEvent| {
        let text = event.clipboard_data().and_then(|data| data.get_data("text/plain").ok());
        if let Some(text) = text.filter(|text| is_long_paste(text))
            && conversation.with_untracked(Option::is_some)
        {
            event.prevent_default();
            attachment_actions.on_paste.run(text);
        }
    };
    let hint = move || {
        if answers_elsewhere.get() {
            text!(composer.answers_elsewhere)
        } else if has_failed.get() {
            text!(composer.no_model)
        } else if is_loading.get() && !is_answering.get() {
            text!(composer.model_loading)
        } else if is_unloaded.get() && !is_answering.get() {
            text!(composer.loads_again)
        } else {
            ""
        }
    };
    let keys = move || {
        if is_answering.get() {
            text!(composer.esc_stops)
        } else if is_blank.get() || has_failed.get() {
            ""
        } else {
            text!(composer.enter_sends)
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
                <DraftAttachmentsView state=attachments on_change=attachment_actions.on_change/>
                <button
                    type="button"
                    class="button quiet round"
                    data-testid="attach"
                    aria-label=text!(attachment.attach)
                    title=text!(attachment.attach)
                    on:click=move |_| attachment_actions.on_choose.run(())
                >
                    {Icon::Attach.view()}
                </button>
                // The box grows with a hidden copy of the text in `data-text`, see composer.css.
                <div class="grow" data-text=move || draft.get()>
                    <textarea
                        node_ref=field
                        rows="1"
                        data-testid="composer-input"
                        aria-label=text!(composer.label)
                        placeholder=text!(composer.placeholder)
                        dir="auto"
                        autocomplete="off"
                        enterkeyhint="send"
                        prop:value=draft
                        on:input=move |event| draft.set(event_target_value(&event))
                        on:keydown=on_keydown
                        on:paste=on_paste
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
                                    aria-label=move || {
                                        if is_loading.get() {
                                            text!(composer.send_when_loaded)
                                        } else {
                                            text!(composer.send)
                                        }
                                    }
                                    title=text!(composer.send)
                                    disabled=cannot_send
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
                            aria-label=text!(composer.stop)
                            title=text!(composer.stop_hint)
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
