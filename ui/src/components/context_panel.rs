//! What the model sees of the conversation, and what happens when that is full.

use leptos::prelude::*;
use lilims_ipc::{ContextView, ModelInfo, Overflow};

use super::context_meter::{ContextBar, window_tokens};
use super::foreign::ForeignText;
use super::panel::Panel;
use crate::format;

/// A way to go on when the context is full.
struct Choice {
    overflow: Overflow,
    id: &'static str,
    label: &'static str,
    hint: &'static str,
}

const CHOICES: [Choice; 3] = [
    Choice {
        overflow: Overflow::Slide,
        id: "overflow-slide",
        label: "Slide",
        hint: "The oldest messages leave the window, so the conversation can go on. The beginning stays.",
    },
    Choice {
        overflow: Overflow::Stop,
        id: "overflow-stop",
        label: "Stop",
        hint: "The conversation ends there. The model never answers without having seen all of it.",
    },
    Choice {
        overflow: Overflow::Summarise,
        id: "overflow-summarise",
        label: "Summarise",
        hint: "The model sums up the messages that leave, which takes a while, and keeps that in view.",
    },
];

/// The panel about the context.
#[component]
pub(crate) fn ContextPanel(
    /// What the model sees.
    #[prop(into)]
    view: Signal<Option<ContextView>>,
    /// The model, once it is loaded.
    #[prop(into)]
    model: Signal<Option<ModelInfo>>,
    /// What happens when the context is full.
    #[prop(into)]
    overflow: Signal<Overflow>,
    /// Called with what shall happen.
    on_choose: Callback<Overflow>,
    /// Called to close the panel.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let view = Memo::new(move |_| view.get().unwrap_or_default());
    let summary = Memo::new(move |_| view.with(|view| view.summary.clone()));
    let cannot_slide =
        Memo::new(move |_| model.with(|model| model.as_ref().is_some_and(|it| !it.can_slide)));
    view! {
        <Panel id="context-panel" title="Context" close_label="Close context" on_close>
            <div class="context-use">
                <p class="context-total" data-testid="context-used">
                    {move || view.with(|view| format::tokens_of(view.used_tokens, view.context_tokens))}
                    <span>{move || view.with(|view| format!("{}%", format::percent(view.used_tokens, view.context_tokens)))}</span>
                </p>
                <ContextBar view/>
                <Figures view model/>
            </div>
            <div class="overflow" role="radiogroup" aria-labelledby="overflow-title">
                <h3 id="overflow-title">"When the context is full"</h3>
                {CHOICES.map(|choice| view! { <ChoiceView choice overflow on_choose/> }).collect_view()}
                <Show when=move || cannot_slide.get()>
                    <p class="overflow-note" data-testid="cannot-slide">
                        "This model cannot slide step by step: when the context is full, it reads the "
                        "more recent half again."
                    </p>
                </Show>
            </div>
            <Show when=move || view.with(|view| !view.notes.is_empty())>
                <div class="context-notes" data-testid="context-notes">
                    <h3>"How this model was asked"</h3>
                    <ul>
                        <For each=move || view.with(|view| view.notes.clone()) key=String::clone let:note>
                            <li>{note}</li>
                        </For>
                    </ul>
                </div>
            </Show>
            <Show when=move || summary.with(Option::is_some)>
                <div class="context-summary" data-testid="context-summary">
                    <h3>"The model’s summary of what has left"</h3>
                    <p tabindex="0"><ForeignText text=Signal::derive(move || summary.get().unwrap_or_default())/></p>
                </div>
            </Show>
            <p class="context-text">
                "A model sees only so many tokens at once, about ¾ of a word each. The beginning stays "
                "pinned, because models lose their footing without it (it holds their attention sinks). "
                "The newest part is the window. What has left it stays on the page, but the model no "
                "longer sees it."
            </p>
        </Panel>
    }
}

/// The figures, in the order of the bar.
#[component]
fn Figures(view: Memo<ContextView>, model: Signal<Option<ModelInfo>>) -> impl IntoView {
    let count = move |tokens: fn(&ContextView) -> u32| {
        move || view.with(|view| format::count(tokens(view)))
    };
    let memory = move || model.with(|model| model.as_ref().map(|it| format::size(it.cache_bytes)));
    view! {
        <dl class="figures">
            <div>
                <dt class="pinned">"Pinned"</dt>
                <dd>{count(|view| view.pinned_tokens)}</dd>
            </div>
            <div>
                <dt class="window">"Window"</dt>
                <dd>{count(window_tokens)}</dd>
            </div>
            <div>
                <dt class="free">"Free"</dt>
                <dd>{count(|view| view.context_tokens.saturating_sub(view.used_tokens))}</dd>
            </div>
            <div>
                <dt>"Left the window"</dt>
                <dd>{count(|view| view.left_tokens)}</dd>
            </div>
            <Show when=move || model.with(Option::is_some)>
                <div>
                    <dt>"Memory when full"</dt>
                    <dd>{memory}</dd>
                </div>
            </Show>
        </dl>
    }
}

#[component]
fn ChoiceView(
    choice: Choice,
    overflow: Signal<Overflow>,
    on_choose: Callback<Overflow>,
) -> impl IntoView {
    let Choice { overflow: own, id, label, hint } = choice;
    let hint_id = format!("{id}-hint");
    view! {
        <div class="choice">
            <input
                type="radio"
                name="overflow"
                id=id
                data-testid=id
                aria-describedby=hint_id.clone()
                prop:checked=move || overflow.get() == own
                on:change=move |_| on_choose.run(own)
            />
            <label for=id>{label}</label>
            <p id=hint_id>{hint}</p>
        </div>
    }
}
