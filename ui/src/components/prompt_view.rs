//! The exact prompt of an answer: its text in the colours of its sources, or its tokens.

use leptos::prelude::*;
use lilims_ipc::{ExactPrompt, PromptPart, PromptSource};

use super::panel::Panel;
use crate::format;
use crate::text::{self, text};

/// The view.
#[component]
pub(crate) fn PromptView(
    /// The prompt.
    prompt: ExactPrompt,
    /// Called to copy its text.
    on_copy: Callback<String>,
    /// Called to close the view.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let shows_tokens = RwSignal::new(false);
    let n_tokens: usize = prompt.parts.iter().map(|part| part.tokens.len()).sum();
    let differs = prompt
        .read_tokens
        .map(|tokens| text!(prompt_view.differs, tokens = format::tokens(tokens)));
    let n_read = prompt.read_tokens.map_or(n_tokens as u64, u64::from);
    let facts = match prompt.cached_tokens {
        Some(cached) => {
            let read = format::tokens(n_read.saturating_sub(cached.into()));
            text!(prompt_view.cached, tokens = format::tokens(cached), read)
        }
        None => text!(prompt_view.total, tokens = format::tokens(n_tokens as u64)),
    };
    let other = prompt
        .other_model
        .as_deref()
        .map(|model| text!(prompt_view.other_model, model = format::visible_name(model)));
    let notes = prompt.notes.iter().map(|note| view! { <li>{text::prompt_note(*note)}</li> });
    let notes = notes.collect_view();
    let whole = text_of(&prompt.parts);
    let parts = StoredValue::new(prompt.parts);
    let legend = SOURCES.map(|source| {
        let (class, name) = source_names(source);
        view! { <span class=format!("source {class}")>{name}</span> }
    });
    view! {
        <Panel id="prompt-view" title=text!(prompt_view.title) close_label=text!(prompt_view.close) on_close>
            <p class="settings-note">{text!(prompt_view.about)} " " {facts}</p>
            {differs.map(|differs| view! { <p class="settings-note" data-testid="prompt-differs">{differs}</p> })}
            {other.map(|other| view! { <p class="settings-note">{other}</p> })}
            <ul class="prompt-notes">{notes}</ul>
            <div class="prompt-legend">
                {legend.collect_view()}
                <label>
                    <input
                        type="checkbox"
                        data-testid="prompt-tokens"
                        prop:checked=shows_tokens
                        on:change:target=move |event| shows_tokens.set(event.target().checked())
                    />
                    {text!(prompt_view.tokens)}
                </label>
                <button
                    type="button"
                    class="button"
                    data-testid="prompt-copy"
                    on:click=move |_| on_copy.run(whole.clone())
                >
                    {text!(prompt_view.copy)}
                </button>
            </div>
            <pre class="prompt-text" data-testid="prompt-text" tabindex="0" dir="ltr">
                {move || parts.with_value(|parts| drawn(parts, shows_tokens.get()))}
            </pre>
        </Panel>
    }
}

const SOURCES: [PromptSource; 4] = [
    PromptSource::Template,
    PromptSource::Instructions,
    PromptSource::Question,
    PromptSource::Answer,
];

fn source_names(source: PromptSource) -> (&'static str, &'static str) {
    match source {
        PromptSource::Template => ("from-template", text!(prompt_view.template)),
        PromptSource::Instructions => ("from-instructions", text!(prompt_view.instructions)),
        PromptSource::Question => ("from-question", text!(prompt_view.question)),
        PromptSource::Answer => ("from-answer", text!(prompt_view.answer)),
    }
}

fn text_of(parts: &[PromptPart]) -> String {
    parts.iter().flat_map(|part| &part.tokens).map(|token| &*token.text).collect()
}

/// The parts, each one element, or one element for each token.
fn drawn(parts: &[PromptPart], with_tokens: bool) -> Vec<AnyView> {
    let part = |part: &PromptPart| {
        let class = format!("source {}", source_names(part.source).0);
        if !with_tokens {
            let text = format::visible_text(&text_of(std::slice::from_ref(part)));
            return view! { <span class=class>{text}</span> }.into_any();
        }
        let token = |token: &lilims_ipc::PromptToken| {
            let text = format::visible_text(&token.text);
            view! { <span title=token.id.to_string()>{text}</span> }
        };
        let tokens = part.tokens.iter().map(token).collect_view();
        view! { <span class=format!("{class} tokens")>{tokens}</span> }.into_any()
    };
    parts.iter().map(part).collect()
}
