//! One message: a question, an answer as it grows, or instructions, with its versions and actions.

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use lilims_ipc::MessageId;

use super::attachments::sent_attachments;
use super::growing::GrowingBlocks;
use super::icon::Icon;
use super::message_field::MessageField;
use super::message_menu::MessageMenu;
use super::notices::ErrorNotice;
use super::reading::Pending;
use super::reasoning::ReasoningView;
use super::window_line::WindowLine;
use crate::format;
use crate::state::{Answer, AnswerState, Body, Entry};
use crate::text::text;

/// How long a control confirms that it has copied.
pub(super) const CONFIRMATION: Duration = Duration::from_millis(1600);

/// What the user can do with messages, which are named by their keys.
#[derive(Clone, Copy)]
pub(crate) struct MessageActions {
    /// Puts a text on the clipboard.
    pub(crate) on_copy: Callback<String>,
    /// Begins to edit a message, or stops.
    pub(crate) on_edit: Callback<Option<u64>>,
    /// Saves an edited text as another version.
    pub(crate) on_save: Callback<(u64, String)>,
    /// Has an answer written again.
    pub(crate) on_again: Callback<u64>,
    /// Has the model write more of an answer.
    pub(crate) on_continue: Callback<u64>,
    /// Called with the key of an answer to show its exact prompt.
    pub(crate) on_prompt: Callback<u64>,
    /// Copies the branch up to a message to a new conversation.
    pub(crate) on_fork: Callback<u64>,
    /// Deletes a message and what follows.
    pub(crate) on_delete: Callback<u64>,
    /// Shows another version of a message.
    pub(crate) on_version: Callback<MessageId>,
}

/// What a message shows of the page's state.
#[derive(Clone, Copy)]
pub(super) struct MessageContext {
    /// Whether it is the last message.
    pub(super) is_last: Signal<bool>,
    /// Whether an answer is being written: then nothing can be changed.
    pub(super) is_busy: Signal<bool>,
    /// Whether it is being edited.
    pub(super) is_edited: Signal<bool>,
    /// Whether the model's window begins with it.
    pub(super) begins_window: Signal<bool>,
    /// The summary of what has left the window.
    pub(super) summary: Signal<Option<String>>,
}

/// A message.
#[component]
pub(super) fn EntryView(
    /// The message.
    entry: Entry,
    /// What it shows of the page's state.
    context: MessageContext,
    /// What the user can do with it.
    actions: MessageActions,
) -> impl IntoView {
    let MessageContext { begins_window, summary, .. } = context;
    let body = match entry.body.clone() {
        Body::Instructions(text) => view! { <Instructions text/> }.into_any(),
        Body::Question(text) => view! { <Question entry text context actions/> }.into_any(),
        Body::Answer(answer) => view! { <AnswerView entry answer context actions/> }.into_any(),
    };
    view! {
        <Show when=move || begins_window.get()>
            <WindowLine summary/>
        </Show>
        {body}
    }
}

#[component]
fn Instructions(text: Arc<str>) -> impl IntoView {
    view! {
        <details class="instructions" data-testid="instructions">
            <summary>{text!(conversation.instructions)}</summary>
            <div class="bubble" dir="auto">{format::visible_text(&text)}</div>
        </details>
    }
}

#[component]
fn Question(
    entry: Entry,
    text: Arc<str>,
    context: MessageContext,
    actions: MessageActions,
) -> impl IntoView {
    let sent = sent_attachments(&entry.attachments);
    let Entry { key, id, versions, .. } = entry;
    let MessageContext { is_busy, is_edited, .. } = context;
    let has_versions = has_versions(versions.clone());
    let id_text = id_text(id.clone());
    // Documents may be sent alone.
    let shown = (!text.is_empty()).then(|| format::visible_text(&text));
    let (edited, copied, held) = (text.to_string(), text.to_string(), text.to_string());
    let menu = MessageMenu::of_question(key, actions, is_busy, Signal::stored(held));
    let at_finger = menu.clone();
    let field = move || {
        view! {
            <MessageField
                value=edited.clone()
                save_label=text!(conversation.send_edited)
                is_busy
                on_save=move |text| actions.on_save.run((key, text))
                on_cancel=move || actions.on_edit.run(None)
            />
        }
    };
    view! {
        <article
            class="message user"
            class:branched=has_versions
            class:edited=is_edited
            data-testid="message"
            data-role="user"
            data-state="done"
            data-id=id_text
            data-key=key.to_string()
            aria-label=text!(conversation.you)
            on:contextmenu=move |event| at_finger.open_at_finger(&event)
        >
            {sent}
            <Show when=move || !is_edited.get() fallback=field>
                {shown.clone().map(|text| view! { <div class="bubble" dir="auto">{text}</div> })}
            </Show>
            <div class="actions" class:hidden=is_edited>
                <Versions id=id.clone() versions is_busy on_version=actions.on_version/>
                <CopyButton
                    label=text!(conversation.copy_message)
                    test_id="copy-question"
                    on_copy=move || actions.on_copy.run(copied.clone())
                />
                <EditButton key test_id="edit" label=text!(conversation.edit_message) is_busy actions/>
                <ForkAndMore key is_busy actions menu/>
            </div>
        </article>
    }
}

#[component]
fn AnswerView(
    entry: Entry,
    answer: Answer,
    context: MessageContext,
    actions: MessageActions,
) -> impl IntoView {
    let Entry { key, id, versions, .. } = entry;
    answer.draw();
    let Answer { reasoning, reasoning_ms, body, state, reading } = answer;
    let text = body.text.clone();
    let MessageContext { is_last, is_busy, is_edited, .. } = context;
    let state = Signal::from(state);
    let is_open = Memo::new(move |_| state.with(AnswerState::is_open));
    let is_blank = {
        let text = text.clone();
        Memo::new(move |_| text.with(String::is_empty))
    };
    let has_reasoning = {
        let text = reasoning.text.clone();
        Memo::new(move |_| text.with(|text| !text.trim().is_empty()))
    };
    let is_reasoning = Memo::new(move |_| has_reasoning.get() && is_open.get() && is_blank.get());
    let elapsed_ms = Memo::new(move |_| reasoning_ms.get());
    let failure = Memo::new(move |_| match state.get() {
        AnswerState::Failed { error } => Some(error),
        _ => None,
    });
    let waits = Memo::new(move |_| state.with(|state| *state == AnswerState::Waiting));
    let reading = Signal::from(reading);
    // If the model reads again in the middle of an answer, this is shown below the text.
    let is_pending = Memo::new(move |_| {
        is_open.get() && ((is_blank.get() && !is_reasoning.get()) || reading.with(Option::is_some))
    });
    let has_versions = has_versions(versions.clone());
    let id_text = id_text(id.clone());
    let is_continuable = Signal::derive(move || is_last.get() && !is_blank.get());
    let (copied, offered) = (text.clone(), text.clone());
    let menu = MessageMenu::of_answer(key, actions, is_busy, offered.into(), is_continuable);
    let at_finger = menu.clone();
    let copy = move || actions.on_copy.run(copied.get_untracked());
    let prose = move || {
        view! {
            <div class="prose" data-testid="answer-text">
                <GrowingBlocks text=body.clone()/>
            </div>
        }
    };
    view! {
        <article
            class="message assistant"
            class:last=is_last
            class:branched=has_versions
            data-testid="message"
            data-role="assistant"
            data-state=move || state.with(AnswerState::name)
            data-id=id_text
            data-key=key.to_string()
            aria-label=text!(header.app_name)
            on:contextmenu=move |event| at_finger.open_at_finger(&event)
            aria-busy=move || is_open.get().to_string()
        >
            <Show when=move || has_reasoning.get()>
                <ReasoningView reasoning=reasoning.clone() elapsed_ms is_running=is_reasoning/>
            </Show>
            <Show when=move || is_edited.get() fallback=prose>
                <MessageField
                    value=text.get_untracked()
                    save_label=text!(conversation.save_version)
                    is_busy
                    on_save=move |text| actions.on_save.run((key, text))
                    on_cancel=move || actions.on_edit.run(None)
                />
            </Show>
            <Show when=move || is_pending.get()>
                <Pending waits reading/>
            </Show>
            <Show when=move || failure.with(Option::is_some)>
                <ErrorNotice
                    title=text!(conversation.answer_failed)
                    error=Signal::derive(move || failure.get())
                    retry_label=text!(button.try_again)
                    retry_id="retry"
                    on_retry=Callback::new(move |()| actions.on_again.run(key))
                />
            </Show>
            <Ending state/>
            <div class="actions" class:hidden=move || is_open.get() || is_edited.get()>
                <Versions id=id.clone() versions is_busy on_version=actions.on_version/>
                <Show when=move || !is_blank.get()>
                    <CopyButton label=text!(conversation.copy_answer) test_id="copy" on_copy=copy.clone()/>
                    <EditButton key test_id="edit-answer" label=text!(conversation.edit_answer) is_busy actions/>
                </Show>
                <Show when=move || failure.with(Option::is_none)>
                    <button
                        type="button"
                        class="button quiet small"
                        data-testid="regenerate"
                        aria-label=text!(conversation.write_answer_again)
                        title=text!(conversation.write_again)
                        disabled=is_busy
                        on:click=move |_| actions.on_again.run(key)
                    >
                        {Icon::Again.view()}
                    </button>
                </Show>
                <ForkAndMore key is_busy actions menu/>
                <button
                    type="button"
                    class="stats"
                    data-testid="answer-stats"
                    hidden=move || state.with(stats).is_none()
                    on:click=move |_| actions.on_prompt.run(key)
                >
                    {move || state.with(stats)}
                </button>
            </div>
        </article>
    }
}

/// Whether a message has other versions.
fn has_versions(versions: ArcRwSignal<Vec<MessageId>>) -> impl Fn() -> bool + Clone + 'static {
    move || versions.with(|versions| versions.len() > 1)
}

fn id_text(id: ArcRwSignal<Option<MessageId>>) -> impl Fn() -> Option<String> + Clone + 'static {
    move || id.get().map(|id| id.0)
}

/// The versions of a message: `2 / 3` between arrows.
#[component]
fn Versions(
    id: ArcRwSignal<Option<MessageId>>,
    versions: ArcRwSignal<Vec<MessageId>>,
    is_busy: Signal<bool>,
    on_version: Callback<MessageId>,
) -> impl IntoView {
    let place = Memo::new(move |_| {
        let versions = versions.get();
        let at = id.with(|id| versions.iter().position(|it| Some(it) == id.as_ref()))?;
        let before = at.checked_sub(1).map(|before| versions[before].clone());
        (versions.len() > 1)
            .then(|| (at + 1, versions.len(), before, versions.get(at + 1).cloned()))
    });
    let arrow = move |icon: Icon, test_id: &'static str, label: &'static str, is_next: bool| {
        let target = move || {
            place.get().and_then(|(_, _, before, after)| if is_next { after } else { before })
        };
        view! {
            <button
                type="button"
                class="button quiet small arrow"
                data-testid=test_id
                aria-label=label
                title=label
                disabled=move || is_busy.get() || target().is_none()
                on:click=move |_| {
                    if let Some(version) = untrack(target) {
                        on_version.run(version);
                    }
                }
            >
                {icon.view()}
            </button>
        }
    };
    view! {
        <Show when=move || place.with(Option::is_some)>
            <span class="versions">
                {arrow(Icon::Back, "version-before", text!(conversation.version_before), false)}
                <span data-testid="version" aria-live="polite">
                    {move || {
                        place
                            .get()
                            .map(|(at, count, ..)| text!(conversation.version_of, at, count))
                    }}
                </span>
                {arrow(Icon::Forward, "version-after", text!(conversation.version_after), true)}
            </span>
        </Show>
    }
}

#[component]
fn EditButton(
    key: u64,
    test_id: &'static str,
    label: &'static str,
    is_busy: Signal<bool>,
    actions: MessageActions,
) -> impl IntoView {
    view! {
        <button
            type="button"
            class="button quiet small"
            data-testid=test_id
            aria-label=label
            title=text!(conversation.edit)
            disabled=is_busy
            on:click=move |_| actions.on_edit.run(Some(key))
        >
            {Icon::Edit.view()}
        </button>
    }
}

/// The button that copies a branch, and the one with the menu.
#[component]
fn ForkAndMore(
    key: u64,
    is_busy: Signal<bool>,
    actions: MessageActions,
    menu: MessageMenu,
) -> impl IntoView {
    view! {
        <button
            type="button"
            class="button quiet small"
            data-testid="fork"
            aria-label=text!(conversation.fork)
            title=text!(conversation.fork)
            disabled=is_busy
            on:click=move |_| actions.on_fork.run(key)
        >
            {Icon::Branch.view()}
        </button>
        <button
            type="button"
            class="button quiet small"
            data-testid="more"
            aria-label=text!(conversation.more)
            title=text!(conversation.more)
            aria-haspopup="menu"
            disabled=is_busy
            on:click=move |event| menu.open_below(&event)
        >
            {Icon::More.view()}
        </button>
    }
}

/// Why the answer ended, where that is worth showing.
#[component]
fn Ending(state: Signal<AnswerState>) -> impl IntoView {
    let note = Memo::new(move |_| match state.get() {
        AnswerState::Done { finish, .. } => format::finish(finish),
        AnswerState::Stopped { .. } => Some(text!(conversation.stopped)),
        _ => None,
    });
    view! {
        <Show when=move || note.get().is_some()>
            <p class="ending">{move || note.get()}</p>
        </Show>
    }
}

/// A copy button, which shows a tick for a moment after it was pressed.
#[component]
fn CopyButton(
    label: &'static str,
    test_id: &'static str,
    #[prop(into)] on_copy: Callback<()>,
) -> impl IntoView {
    let copied = RwSignal::new(false);
    let click = move |_| {
        on_copy.run(());
        copied.set(true);
        set_timeout(
            move || {
                // The message may be gone by then.
                copied.try_set(false);
            },
            CONFIRMATION,
        );
    };
    view! {
        <button
            type="button"
            class="button quiet small"
            data-testid=test_id
            aria-label=label
            title=text!(button.copy)
            on:click=click
        >
            {move || if copied.get() { Icon::Check } else { Icon::Copy }.view()}
        </button>
    }
}

fn stats(state: &AnswerState) -> Option<String> {
    match state {
        AnswerState::Done { stats, .. } | AnswerState::Stopped { stats } => {
            stats.as_ref().map(format::stats)
        }
        _ => None,
    }
}
