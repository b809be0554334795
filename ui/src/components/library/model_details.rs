//! Where a model comes from, and loading it with another context.

use leptos::prelude::*;
use lilims_ipc::{Condition, LibraryModel, Made};

use super::figures::FiguresTable;
use crate::format;
use crate::state::Action;

/// The contexts to choose from, in tokens, as far as the model goes.
const CONTEXTS: [u32; 8] = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072];

/// The details, folded away until asked for.
#[component]
pub(super) fn ModelDetails(
    /// The model.
    model: Memo<LibraryModel>,
    /// Whether it is loaded.
    is_loaded: Memo<bool>,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let contexts = Memo::new(move |_| model.with(contexts));
    let made = Memo::new(move |_| model.with(|model| model.made.clone()));
    let chosen = RwSignal::new(None::<u32>);
    let load = move |_| {
        let name = model.with_untracked(|model| model.name.clone());
        act.run(Action::Use { name, context_tokens: chosen.get_untracked() });
    };
    let can_load = Memo::new(move |_| model.with(|model| model.condition == Condition::Good));
    let select_id = move || model.with(|model| format!("context-of-{}", model.name));
    view! {
        <details class="model-details">
            <summary>"Details"</summary>
            <dl>
                {move || model.with(facts).into_iter().map(|(term, fact)| view! {
                    <div>
                        <dt>{term}</dt>
                        <dd>{fact}</dd>
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
                    <label for=select_id>"Context"</label>
                    <select
                        id=select_id
                        data-testid="model-context"
                        on:change=move |event| chosen.set(event_target_value(&event).parse().ok())
                    >
                        <option value="">"As it fits"</option>
                        {move || contexts.get().into_iter().map(|tokens| view! {
                            <option value=tokens.to_string()>{format::tokens(tokens)}</option>
                        }).collect_view()}
                    </select>
                    <button type="button" class="button" data-testid="model-load" on:click=load>
                        {move || if is_loaded.get() { "Load again" } else { "Load" }}
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
        ("Repository", model.repository.clone()),
        ("Revision", model.revision.clone()),
        ("SHA-256", model.sha256.clone()),
        ("Made from", model.made.as_ref().map(made_from)),
    ];
    let optional = optional.into_iter().filter_map(|(term, fact)| Some((term, fact?)));
    let size = format!("{} bytes", grouped(model.size_bytes));
    [("Name", model.name.clone()), ("File", model.path.clone()), ("Size", size)]
        .into_iter()
        .chain(optional)
        .collect()
}

/// What a model was made from, and how: `m-f16.gguf, to Q4_0, by lilims-convert 0.1.0`.
fn made_from(made: &Made) -> String {
    format!("{}, to {}, by {}", made.source, made.target, made.tool)
}

/// A size to the byte, its thousands set apart.
fn grouped(bytes: u64) -> String {
    let digits = bytes.to_string();
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_to_the_byte_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(98_362_432), "98,362,432");
        assert_eq!(grouped(1_000), "1,000");
    }
}
