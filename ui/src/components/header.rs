//! The top of the page: the model, its speed, and what concerns the whole conversation.

use leptos::prelude::*;
use lilims_ipc::ModelStatus;

use super::icon::{Icon, mark};
use crate::format;

/// The bar at the top.
#[component]
pub(crate) fn Header(
    /// Where the model stands; `None` until that is known.
    #[prop(into)]
    model: Signal<Option<ModelStatus>>,
    /// The speed of the newest answer.
    #[prop(into)]
    speed: Signal<Option<f32>>,
    /// Whether the conversation is empty.
    #[prop(into)]
    is_empty: Signal<bool>,
    /// Whether the settings are shown; the button here toggles it.
    settings_open: RwSignal<bool>,
    /// Whether the library is shown; the button here toggles it.
    library_open: RwSignal<bool>,
    /// Whether something is being downloaded or converted.
    #[prop(into)]
    is_at_work: Signal<bool>,
    /// Called for a new conversation.
    on_new_chat: Callback<()>,
) -> impl IntoView {
    let state = move || model.with(|model| state_name(model.as_ref()));
    view! {
        <header class="header">
            <div class="model" data-testid="model-status" data-state=state>
                {mark()}
                <div class="model-text">
                    <span class="model-name" data-testid="model-name">
                        {move || model.with(|model| name(model.as_ref()))}
                    </span>
                    <span class="model-line">{move || model.with(|model| line(model.as_ref()))}</span>
                    <Show when=move || speed.with(Option::is_some)>
                        <span class="speed" data-testid="tokens-per-second">
                            {move || speed.get().map(format::speed)}
                        </span>
                    </Show>
                </div>
            </div>
            <div class="header-actions">
                <button
                    type="button"
                    class="button quiet"
                    data-testid="new-chat"
                    aria-label="New conversation"
                    title="New conversation"
                    disabled=is_empty
                    on:click=move |_| on_new_chat.run(())
                >
                    {Icon::NewChat.view()}
                    <span class="wide-only">"New"</span>
                </button>
                <button
                    type="button"
                    class="button quiet library-toggle"
                    class:active=is_at_work
                    data-testid="library-toggle"
                    aria-label=move || if is_at_work.get() { "Library, at work" } else { "Library" }
                    title="Library"
                    aria-pressed=move || library_open.get().to_string()
                    on:click=move |_| library_open.update(|open| *open = !*open)
                >
                    {Icon::Library.view()}
                    <span class="wide-only">"Library"</span>
                </button>
                <button
                    type="button"
                    class="button quiet"
                    data-testid="settings-toggle"
                    aria-label="Settings"
                    title="Settings"
                    aria-haspopup="dialog"
                    aria-expanded=move || settings_open.get().to_string()
                    on:click=move |_| settings_open.update(|open| *open = !*open)
                >
                    {Icon::Settings.view()}
                </button>
            </div>
        </header>
    }
}

/// The line under the header that moves while the model loads.
#[component]
pub(crate) fn LoadingBar(
    /// Whether it does.
    #[prop(into)]
    is_loading: Signal<bool>,
) -> impl IntoView {
    view! {
        <div class="loading-bar" class:active=is_loading role="presentation">
            <Show when=move || is_loading.get()>
                <div role="progressbar" aria-label="Loading the model"></div>
            </Show>
        </div>
    }
}

fn state_name(model: Option<&ModelStatus>) -> &'static str {
    match model {
        None | Some(ModelStatus::Loading { .. }) => "loading",
        Some(ModelStatus::Ready { .. }) => "ready",
        Some(ModelStatus::Failed { .. }) => "failed",
        Some(ModelStatus::Unloaded { .. }) => "unloaded",
        Some(ModelStatus::Held { .. }) => "held",
    }
}

fn name(model: Option<&ModelStatus>) -> String {
    match model {
        None => "Lilims".into(),
        Some(ModelStatus::Loading { name } | ModelStatus::Unloaded { name, .. }) => name.clone(),
        Some(ModelStatus::Held { attempt }) => attempt.name.clone(),
        Some(ModelStatus::Ready { model }) => model.name.clone(),
        Some(ModelStatus::Failed { .. }) => "No model".into(),
    }
}

fn line(model: Option<&ModelStatus>) -> String {
    match model {
        None => "Starting…".into(),
        Some(ModelStatus::Loading { .. }) => "Loading…".into(),
        Some(ModelStatus::Ready { model }) => format::model_line(model),
        Some(ModelStatus::Unloaded { why, .. }) => format!("Unloaded {why}"),
        Some(ModelStatus::Failed { .. } | ModelStatus::Held { .. }) => "Not loaded".into(),
    }
}
