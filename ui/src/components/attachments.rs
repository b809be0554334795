//! Documents that are attached to the draft, with the choice for long ones, and those of a question.

use leptos::prelude::*;
use lilims_ipc::{Attachment, AttachmentChange, AttachmentUse};

use super::icon::Icon;
use crate::format;
use crate::state::DraftAttachments;
use crate::text::{self, text};

/// What the user can do with documents in the composer.
#[derive(Clone, Copy)]
pub(crate) struct AttachmentActions {
    /// Lets the user choose files.
    pub(crate) on_choose: Callback<()>,
    /// Attaches a long text that was pasted.
    pub(crate) on_paste: Callback<String>,
    /// Removes a document, or chooses how one is sent.
    pub(crate) on_change: Callback<AttachmentChange>,
}

/// What is attached to the draft; nothing while that is nothing.
#[component]
pub(super) fn DraftAttachmentsView(
    /// The documents.
    state: DraftAttachments,
    /// Called to remove one, or to choose how one is sent.
    on_change: Callback<AttachmentChange>,
) -> impl IntoView {
    // Not of `sent_as`: the radio button that was just pressed keeps the focus.
    let key = |it: &Attachment| (it.id.clone(), it.tokens, it.fits);
    view! {
        <Show when=move || state.is_shown()>
            <div class="attachments" data-testid="attachments">
                <For each=move || state.list.get() key=key let:attachment>
                    {draft_attachment(attachment, on_change)}
                </For>
                <Show when=move || { state.n_reading.get() > 0 }>
                    <p class="attachment-note" data-testid="attachments-reading">
                        {text!(attachment.reading)}
                    </p>
                </Show>
                {move || {
                    let failure = |error| {
                        view! {
                            <p class="attachment-note failed" role="alert" data-testid="attachment-failed">
                                {text::error(&error)}
                            </p>
                        }
                    };
                    state.failures.get().into_iter().map(failure).collect_view()
                }}
            </div>
        </Show>
    }
}

fn draft_attachment(attachment: Attachment, on_change: Callback<AttachmentChange>) -> AnyView {
    let (id, name) = (attachment.id.clone(), format::visible_name(&attachment.name));
    let label = text!(attachment.remove, name = name.clone());
    let choices = (attachment.fits == Some(false)).then(|| long(&attachment, &name, on_change));
    view! {
        <div class="attachment-row">
            <span class="attachment" data-testid="attachment">
                {facts(&attachment)}
                <button
                    type="button"
                    class="button quiet small"
                    data-testid="attachment-remove"
                    aria-label=label.clone()
                    title=label
                    on:click=move |_| on_change.run(AttachmentChange::Remove { attachment: id.clone() })
                >
                    {Icon::Close.view()}
                </button>
            </span>
            {choices}
        </div>
    }
    .into_any()
}

/// Says that a document is too long, and asks how it is sent.
fn long(attachment: &Attachment, name: &str, on_change: Callback<AttachmentChange>) -> AnyView {
    let Attachment { id, sent_as, .. } = attachment.clone();
    let choices = [
        (AttachmentUse::Passages, "attachment-passages", text!(attachment.passages)),
        (AttachmentUse::Ends, "attachment-ends", text!(attachment.ends)),
        (AttachmentUse::Whole, "attachment-whole", text!(attachment.whole)),
    ];
    let choice = |(own, test_id, label): (AttachmentUse, &'static str, &'static str)| {
        let attachment = id.clone();
        view! {
            <label>
                <input
                    type="radio"
                    name=format!("use-{}", id.0)
                    data-testid=test_id
                    checked=own == sent_as
                    on:change=move |_| {
                        on_change.run(AttachmentChange::Use { attachment: attachment.clone(), sent_as: own });
                    }
                />
                {label}
            </label>
        }
    };
    view! {
        <fieldset class="attachment-use" data-testid="attachment-use">
            <legend>{text!(attachment.too_long, name = name.to_owned())}</legend>
            {choices.map(choice).collect_view()}
        </fieldset>
    }
    .into_any()
}

/// The documents of a question that was sent.
pub(super) fn sent_attachments(attachments: &[Attachment]) -> Option<AnyView> {
    let chip = |it: &Attachment| {
        view! { <li class="attachment" data-testid="sent-attachment">{facts(it)}</li> }
    };
    let list = |attachments: &[Attachment]| {
        view! {
            <ul class="attachments sent" aria-label=text!(attachment.sent)>
                {attachments.iter().map(chip).collect_view()}
            </ul>
        }
        .into_any()
    };
    (!attachments.is_empty()).then(|| list(attachments))
}

/// The name and size of a document, its tokens, and what was left out of it.
fn facts(attachment: &Attachment) -> AnyView {
    let Attachment { size_bytes, tokens, sent_tokens, notes, .. } = attachment;
    let tokens = tokens.map(|all| match *sent_tokens {
        Some(sent) if sent < all => format::tokens_of(sent, all),
        _ => format::tokens(all),
    });
    let line = format::facts([format::size(*size_bytes)].into_iter().chain(tokens));
    let notes: Vec<String> = notes.iter().filter_map(text::attachment_note).collect();
    view! {
        {Icon::Attach.view()}
        <bdi class="attachment-name">{format::visible_name(&attachment.name)}</bdi>
        <span class="attachment-facts">{line}</span>
        {(!notes.is_empty()).then(|| view! { <span class="attachment-facts">{notes.join(" ")}</span> })}
    }
    .into_any()
}
