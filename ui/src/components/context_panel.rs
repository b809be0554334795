//! The context panel: what the model sees of the conversation, and what happens when it is full.

use leptos::prelude::*;
use lilims_ipc::{ContextView, ModelInfo, Overflow};

use super::context_meter::{ContextBar, window_tokens};
use super::panel::Panel;
use super::untrusted::UntrustedText;
use crate::format;
use crate::text::{self, text};

/// What may happen when the context is full.
struct Choice {
    overflow: Overflow,
    id: &'static str,
    label: &'static str,
    hint: &'static str,
}

fn choices() -> [Choice; 3] {
    [
        Choice {
            overflow: Overflow::Slide,
            id: "overflow-slide",
            label: text!(context.slide),
            hint: text!(context.slide_hint),
        },
        Choice {
            overflow: Overflow::Stop,
            id: "overflow-stop",
            label: text!(context.stop),
            hint: text!(context.stop_hint),
        },
        Choice {
            overflow: Overflow::Summarise,
            id: "overflow-summarise",
            label: text!(context.summarise),
            hint: text!(context.summarise_hint),
        },
    ]
}

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
    /// Called with the choice.
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
        <Panel id="context-panel" title=text!(context.title) close_label=text!(context.close) on_close>
            <div class="context-use">
                <p class="context-total" data-testid="context-used">
                    {move || view.with(|view| format::tokens_of(view.used_tokens, view.context_tokens))}
                    <span>{move || view.with(used_percent)}</span>
                </p>
                <ContextBar view/>
                <Figures view model/>
            </div>
            <div class="overflow" role="radiogroup" aria-labelledby="overflow-title">
                <h3 id="overflow-title">{text!(context.when_full)}</h3>
                {choices().map(|choice| view! { <ChoiceView choice overflow on_choose/> }).collect_view()}
                <Show when=move || cannot_slide.get()>
                    <p class="overflow-note" data-testid="cannot-slide">
                        {text!(context.cannot_slide)}
                    </p>
                </Show>
            </div>
            <Show when=move || view.with(|view| !view.notes.is_empty())>
                <div class="context-notes" data-testid="context-notes">
                    <h3>{text!(context.prompt_changes)}</h3>
                    <ul>
                        <For each=move || view.with(|view| view.notes.clone()) key=|note| text::prompt_note(*note) let:note>
                            <li>{text::prompt_note(note)}</li>
                        </For>
                    </ul>
                </div>
            </Show>
            <Show when=move || summary.with(Option::is_some)>
                <div class="context-summary" data-testid="context-summary">
                    <h3>{text!(context.summary)}</h3>
                    <p tabindex="0"><UntrustedText text=Signal::derive(move || summary.get().unwrap_or_default())/></p>
                </div>
            </Show>
            <p class="context-text">{text!(context.about)}</p>
        </Panel>
    }
}

fn used_percent(view: &ContextView) -> String {
    format::percent_text(format::percent(view.used_tokens.into(), view.context_tokens.into()))
}

/// The figures, in the order of the bar.
#[component]
fn Figures(view: Memo<ContextView>, model: Signal<Option<ModelInfo>>) -> impl IntoView {
    let count = move |tokens: fn(&ContextView) -> u32| {
        move || view.with(|view| format::count(tokens(view).into()))
    };
    let memory = move || model.with(|model| model.as_ref().map(|it| format::size(it.cache_bytes)));
    view! {
        <dl class="figures">
            <div>
                <dt class="pinned">{text!(context.pinned)}</dt>
                <dd>{count(|view| view.pinned_tokens)}</dd>
            </div>
            <div>
                <dt class="window">{text!(context.window)}</dt>
                <dd>{count(window_tokens)}</dd>
            </div>
            <div>
                <dt class="free">{text!(context.free)}</dt>
                <dd>{count(|view| view.context_tokens.saturating_sub(view.used_tokens))}</dd>
            </div>
            <div>
                <dt>{text!(context.left)}</dt>
                <dd>{count(|view| view.left_tokens)}</dd>
            </div>
            <Show when=move || model.with(Option::is_some)>
                <div>
                    <dt>{text!(context.memory)}</dt>
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
