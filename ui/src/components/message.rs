//! One turn: the question, the answer as it grows, and their buttons.

use std::time::Duration;

use leptos::prelude::*;

use super::copy_menu::CopyMenu;
use super::icon::Icon;
use super::notices::ErrorNotice;
use super::reading::Pending;
use super::reasoning::ReasoningView;
use super::window_line::WindowLine;
use crate::format;
use crate::state::{Answer, AnswerState, Growing, Part, Turn};
use crate::text::text;

/// How long a control confirms that it has copied.
pub(super) const CONFIRMATION: Duration = Duration::from_millis(1600);

/// A question and its answer.
#[component]
pub(super) fn TurnView(
    /// The turn.
    turn: Turn,
    /// Whether it is the last turn: only that one can be changed.
    #[prop(into)]
    is_last: Signal<bool>,
    /// Whether an answer is being written.
    #[prop(into)]
    is_busy: Signal<bool>,
    /// The part of this turn that the model's window begins with, if it begins in this turn.
    #[prop(into)]
    window_start: Signal<Option<Part>>,
    /// The summary of what has left the window.
    summary: Signal<Option<String>>,
    /// Called to regenerate the answer.
    on_regenerate: Callback<()>,
    /// Called with the turn's id to edit the question.
    on_edit: Callback<u64>,
    /// Called with text for the clipboard.
    on_copy: Callback<String>,
) -> impl IntoView {
    let Turn { id, question, answer, .. } = turn;
    let can_change = Signal::derive(move || is_last.get() && !is_busy.get());
    let question_text = question.to_string();
    let line_before = move |part| {
        view! {
            <Show when=move || window_start.get() == Some(part)>
                <WindowLine summary/>
            </Show>
        }
    };
    view! {
        {line_before(Part::Question)}
        <article class="message user" data-testid="message" data-role="user" data-state="done" aria-label=text!(conversation.you)>
            <div class="bubble" dir="auto">{format::visible_text(&question)}</div>
            <div class="actions">
                <Show when=move || can_change.get()>
                    <button
                        type="button"
                        class="button quiet small"
                        data-testid="edit"
                        aria-label=text!(conversation.edit_message)
                        title=text!(conversation.edit)
                        on:click=move |_| on_edit.run(id)
                    >
                        {Icon::Edit.view()}
                    </button>
                </Show>
                <CopyButton
                    label=text!(conversation.copy_message)
                    test_id="copy-question"
                    on_copy=move || on_copy.run(question_text.clone())
                />
            </div>
        </article>
        {line_before(Part::Answer)}
        <AnswerView answer is_last can_change on_regenerate on_copy/>
    }
}

#[component]
fn AnswerView(
    answer: Answer,
    is_last: Signal<bool>,
    can_change: Signal<bool>,
    on_regenerate: Callback<()>,
    on_copy: Callback<String>,
) -> impl IntoView {
    let Answer { reasoning, reasoning_ms, body, state, reading } = answer;
    let Growing { text, blocks, tail } = body;
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
    let copied = text.clone();
    let copy = move || on_copy.run(text.get_untracked());
    view! {
        <article
            class="message assistant"
            class:last=is_last
            data-testid="message"
            data-role="assistant"
            data-state=move || state.with(AnswerState::name)
            aria-label=text!(header.app_name)
            aria-busy=move || is_open.get().to_string()
        >
            <Show when=move || has_reasoning.get()>
                <ReasoningView reasoning=reasoning.clone() elapsed_ms is_running=is_reasoning/>
            </Show>
            <div class="prose" data-testid="answer-text">
                <For each=move || blocks.get() key=|block| block.index let:block>
                    <div class="chunk" inner_html=block.html.to_string()></div>
                </For>
                <div class="chunk tail" inner_html=move || tail.get()></div>
            </div>
            <Show when=move || is_pending.get()>
                <Pending waits reading/>
            </Show>
            <Show when=move || failure.with(Option::is_some)>
                <ErrorNotice
                    title=text!(conversation.answer_failed)
                    error=Signal::derive(move || failure.get())
                    retry_label=text!(button.try_again)
                    retry_id="retry"
                    on_retry=on_regenerate
                />
            </Show>
            <Ending state/>
            <div class="actions" class:hidden=is_open>
                <Show when=move || !is_blank.get()>
                    <CopyButton label=text!(conversation.copy_answer) test_id="copy" on_copy=copy.clone()/>
                    <CopyMenu text=copied.clone()/>
                </Show>
                <Show when=move || can_change.get() && failure.with(Option::is_none)>
                    <button
                        type="button"
                        class="button quiet small"
                        data-testid="regenerate"
                        aria-label=text!(conversation.write_answer_again)
                        title=text!(conversation.write_again)
                        on:click=move |_| on_regenerate.run(())
                    >
                        {Icon::Again.view()}
                    </button>
                </Show>
                <span class="stats" data-testid="answer-stats">{move || state.with(stats)}</span>
            </div>
        </article>
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
