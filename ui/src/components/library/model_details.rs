//! The origin of a model, and loading it with another context size.

use leptos::prelude::*;
use lilims_ipc::{Condition, ConversionRecord, LibraryModel};

use super::figures::FiguresTable;
use crate::components::untrusted::UntrustedText;
use crate::format;
use crate::state::Action;
use crate::text::text;

/// The context sizes to choose from in tokens, up to what the model was trained for.
const CONTEXTS: [u32; 8] = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];

/// The details, folded away.
#[component]
pub(super) fn ModelDetails(
    /// The model.
    model: Memo<LibraryModel>,
    /// Whether it is loaded.
    is_loaded: Memo<bool>,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let contexts = Memo::new(move |_| model.with(contexts));
    let made = Memo::new(move |_| model.with(|model| model.conversion.clone()));
    let chosen = RwSignal::new(None::<u32>);
    let load = move |_| {
        let name = model.with_untracked(|model| model.name.clone());
        act.run(Action::Use { name, context_tokens: chosen.get_untracked() });
    };
    let can_load = Memo::new(move |_| model.with(|model| model.condition == Condition::Good));
    let select_id = move || model.with(|model| format!("context-of-{}", model.name));
    view! {
        <details class="model-details">
            <summary>{text!(details)}</summary>
            <dl>
                {move || model.with(facts).into_iter().map(|(term, fact)| view! {
                    <div>
                        <dt>{term}</dt>
                        <dd><UntrustedText text=fact/></dd>
                    </div>
                }).collect_view()}
            </dl>
            {move || made.get().map(|made| view! {
                <FiguresTable
                    before_bytes=made.source_bytes
                    after_bytes=made.size_bytes
                    figures=made.figures
                />
            })}
            <Show when=move || can_load.get() && contexts.with(|contexts| contexts.len() > 1)>
                <div class="model-context">
                    <label for=select_id>{text!(model.context)}</label>
                    <select
                        id=select_id
                        data-testid="model-context"
                        on:change=move |event| chosen.set(event_target_value(&event).parse().ok())
                    >
                        <option value="">{text!(model.context_automatic)}</option>
                        {move || contexts.get().into_iter().map(|tokens| view! {
                            <option value=tokens.to_string()>{format::tokens(tokens)}</option>
                        }).collect_view()}
                    </select>
                    <button type="button" class="button" data-testid="model-load" on:click=load>
                        {move || if is_loaded.get() { text!(model.load_again) } else { text!(model.load) }}
                    </button>
                </div>
            </Show>
        </details>
    }
}

fn contexts(model: &LibraryModel) -> Vec<u32> {
    let most = model.context_tokens.unwrap_or(0);
    CONTEXTS.into_iter().filter(|tokens| *tokens <= most).collect()
}

fn facts(model: &LibraryModel) -> Vec<(&'static str, String)> {
    let optional = [
        (text!(model.repository), model.repository.clone()),
        (text!(model.revision), model.revision.clone()),
        (text!(model.sha256), model.sha256.clone()),
        (text!(model.made_from), model.conversion.as_ref().map(made_from)),
    ];
    let optional = optional.into_iter().filter_map(|(term, fact)| Some((term, fact?)));
    let size = text!(unit.bytes, value = format::count(model.size_bytes));
    [
        (text!(model.name), model.name.clone()),
        (text!(model.file), model.path.clone()),
        (text!(model.size), size),
    ]
    .into_iter()
    .chain(optional)
    .collect()
}

/// The source, target and tool of a conversion: `m-f16.gguf, to Q4_0, by lilims-convert 0.1.0`.
fn made_from(made: &ConversionRecord) -> String {
    let ConversionRecord { source, target, tool, .. } = made.clone();
    text!(model.made_from_fact, source, target, tool)
}
