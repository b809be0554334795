//! The top bar: the conversation's title, the model and its speed, and the buttons for the sidebar, a new
//! conversation, branches, library and settings.

use leptos::prelude::*;
use lilims_ipc::ModelStatus;

use super::icon::{Icon, mark};
use super::tooltip::title_from_label;
use super::untrusted::UntrustedName;
use crate::format;
use crate::text::{self, text};

/// The top bar.
#[component]
pub(crate) fn Header(
    /// The status of the model; `None` until it is known.
    #[prop(into)]
    model: Signal<Option<ModelStatus>>,
    /// The speed of the newest answer.
    #[prop(into)]
    speed: Signal<Option<f32>>,
    /// The title of the conversation.
    #[prop(into)]
    title: Signal<Option<String>>,
    /// Whether the conversation is empty.
    #[prop(into)]
    is_empty: Signal<bool>,
    /// Whether the sidebar is shown; the button here toggles it.
    sidebar_open: RwSignal<bool>,
    /// Called to show the map of branches.
    on_branches: Callback<()>,
    /// Whether the settings are shown.
    settings_open: RwSignal<bool>,
    /// Called to show or hide the settings.
    on_settings: Callback<()>,
    /// Whether the library is shown.
    library_open: RwSignal<bool>,
    /// Called to show or hide the library.
    on_library: Callback<()>,
    /// Whether something is being downloaded or converted.
    #[prop(into)]
    is_at_work: Signal<bool>,
    /// Called for a new conversation.
    on_new_chat: Callback<()>,
) -> impl IntoView {
    let state = move || model.with(|model| state_name(model.as_ref()));
    view! {
        <header class="header">
            <button
                type="button"
                class="button quiet"
                data-testid="sidebar-toggle"
                aria-label=text!(header.sidebar)
                on:mouseenter=|event| title_from_label(&event)
                aria-expanded=move || sidebar_open.get().to_string()
                on:click=move |_| sidebar_open.update(|open| *open = !*open)
            >
                {Icon::Sidebar.view()}
            </button>
            <h1 class="title" data-testid="conversation-title">
                <UntrustedName text=Signal::derive(move || title.get().unwrap_or_default())/>
            </h1>
            <div class="model" data-testid="model-status" data-state=state>
                {mark()}
                <div class="model-text">
                    <span class="model-name" data-testid="model-name">
                        <UntrustedName text=Signal::derive(move || model.with(|model| name(model.as_ref())))/>
                    </span>
                    <span class="model-line"><UntrustedName text=Signal::derive(move || model.with(|model| line(model.as_ref())))/></span>
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
                    aria-label=text!(header.new_conversation)
                    on:mouseenter=|event| title_from_label(&event)
                    disabled=is_empty
                    on:click=move |_| on_new_chat.run(())
                >
                    {Icon::NewChat.view()}
                </button>
                <button
                    type="button"
                    class="button quiet"
                    data-testid="branches"
                    aria-label=text!(header.branches)
                    on:mouseenter=|event| title_from_label(&event)
                    aria-haspopup="dialog"
                    disabled=is_empty
                    on:click=move |_| on_branches.run(())
                >
                    {Icon::Map.view()}
                </button>
                <button
                    type="button"
                    class="button quiet library-toggle"
                    class:active=is_at_work
                    data-testid="library-toggle"
                    aria-label=move || {
                        if is_at_work.get() { text!(header.library_at_work) } else { text!(header.library) }
                    }
                    on:mouseenter=|event| title_from_label(&event)
                    aria-pressed=move || library_open.get().to_string()
                    on:click=move |_| on_library.run(())
                >
                    {Icon::Library.view()}
                    <span class="wide-only">{text!(header.library)}</span>
                </button>
                <button
                    type="button"
                    class="button quiet"
                    data-testid="settings-toggle"
                    aria-label=text!(header.settings)
                    title=text!(header.settings)
                    aria-pressed=move || settings_open.get().to_string()
                    on:click=move |_| on_settings.run(())
                >
                    {Icon::Settings.view()}
                </button>
            </div>
        </header>
    }
}

/// The animated line under the header while the model loads.
#[component]
pub(crate) fn LoadingBar(
    /// Whether the model is loading.
    #[prop(into)]
    is_loading: Signal<bool>,
) -> impl IntoView {
    view! {
        <div class="loading-bar" class:active=is_loading role="presentation">
            <Show when=move || is_loading.get()>
                <div role="progressbar" aria-label=text!(header.loading_the_model)></div>
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
        Some(ModelStatus::LoadSuspended { .. }) => "load-suspended",
    }
}

fn name(model: Option<&ModelStatus>) -> String {
    match model {
        None => text!(header.app_name).into(),
        Some(ModelStatus::Loading { name }) if name.is_empty() => text!(header.the_model).into(),
        Some(ModelStatus::Loading { name } | ModelStatus::Unloaded { name, .. }) => name.clone(),
        Some(ModelStatus::LoadSuspended { attempt }) => attempt.name.clone(),
        Some(ModelStatus::Ready { model }) => model.name.clone(),
        Some(ModelStatus::Failed { .. }) => text!(header.no_model).into(),
    }
}

fn line(model: Option<&ModelStatus>) -> String {
    match model {
        None => text!(header.starting).into(),
        Some(ModelStatus::Loading { .. }) => text!(header.loading).into(),
        Some(ModelStatus::Ready { model }) => format::model_line(model),
        Some(ModelStatus::Unloaded { reason, .. }) => text::unload_reason(*reason),
        Some(ModelStatus::Failed { .. } | ModelStatus::LoadSuspended { .. }) => {
            text!(header.not_loaded).into()
        }
    }
}
