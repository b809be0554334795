//! The settings: one searchable page, in place of the conversation.

mod assistants;
mod page_settings;
mod row;

pub(crate) use page_settings::PageSettings;

use leptos::{html, prelude::*};
use lilims_ipc::{AssistantId, ConversationId, Setting, SettingRow, SettingScope, SettingValue};

use self::assistants::{AssistantFields, AssistantList, Presets};
use self::row::SettingView;
use super::icon::Icon;
use super::notices::ErrorNotice;
use crate::state::settings::{SettingsState, is_found, texts};
use crate::text::text;

/// What the user can do on the page.
#[derive(Clone, Copy)]
pub(crate) struct SettingsActions {
    /// Sets a setting of the level that is shown; `None` resets it.
    pub(crate) on_set: Callback<(Setting, Option<SettingValue>)>,
    /// Shows another level.
    pub(crate) on_scope: Callback<SettingScope>,
    /// Creates an assistant as a copy of one, and shows it.
    pub(crate) on_create: Callback<Option<AssistantId>>,
    /// Changes the name and the look of an assistant.
    pub(crate) on_change: Callback<(AssistantId, String, String)>,
    /// Deletes an assistant, resets one that comes with Lilims, or deletes a preset.
    pub(crate) on_remove: Callback<AssistantId>,
    /// Saves what the conversation has set itself as a preset of this name.
    pub(crate) on_save_preset: Callback<String>,
    /// Copies a preset into the conversation.
    pub(crate) on_use_preset: Callback<AssistantId>,
    /// Exports the assistants.
    pub(crate) on_export: Callback<()>,
    /// Imports assistants.
    pub(crate) on_import: Callback<()>,
}

/// The page.
#[component]
pub(crate) fn SettingsView(
    /// Its state.
    state: SettingsState,
    /// The conversation whose settings can be shown.
    #[prop(into)]
    conversation: Signal<Option<ConversationId>>,
    /// The short names of the models on this device.
    #[prop(into)]
    models: Signal<Vec<String>>,
    /// What the user can do.
    actions: SettingsActions,
    /// The settings of the page itself.
    children: Children,
) -> impl IntoView {
    let title = NodeRef::<html::H1>::new();
    Effect::new(move || {
        if let Some(title) = title.get() {
            let _ = title.focus();
        }
    });
    let found = Memo::new(move |_| {
        let query = state.query.get();
        state.rows.with(|rows| {
            let settings = rows.iter().map(|row| row.setting);
            settings.filter(|setting| is_found(texts(*setting), &query)).collect::<Vec<Setting>>()
        })
    });
    let shown_assistant = Memo::new(move |_| match state.scope.get() {
        SettingScope::Assistant(id) => Some(id),
        _ => None,
    });
    let is_conversation =
        Memo::new(move |_| matches!(state.scope.get(), SettingScope::Conversation(_)));
    let is_searching = Memo::new(move |_| !state.query.with(|query| query.trim().is_empty()));
    view! {
        <main class="library settings-page" data-testid="settings" aria-labelledby="settings-title">
            <div class="library-top">
                <button
                    type="button"
                    class="button quiet"
                    data-testid="settings-close"
                    aria-label=text!(library.back)
                    title=text!(library.back_hint)
                    on:click=move |_| state.is_open.set(false)
                >
                    {Icon::Back.view()}
                </button>
                <h1 id="settings-title" tabindex="-1" node_ref=title>{text!(settings.title)}</h1>
                <input
                    type="search"
                    class="settings-search"
                    data-testid="settings-search"
                    aria-label=text!(settings.search)
                    placeholder=text!(settings.search)
                    prop:value=state.query
                    on:input=move |event| state.query.set(event_target_value(&event))
                />
            </div>
            <div class="library-body">
                <div class="library-column settings-column">
                    <Scopes state conversation actions/>
                    <Show when=move || state.failure.with(Option::is_some)>
                        <ErrorNotice
                            title=text!(settings.not_changed)
                            error=state.failure
                            retry_label=text!(button.dismiss)
                            retry_id="settings-dismiss"
                            on_retry=Callback::new(move |()| state.failure.set(None))
                        />
                    </Show>
                    {move || {
                        shown_assistant
                            .get()
                            .map(|id| view! { <AssistantFields state id actions/> })
                    }}
                    <Show when=move || is_conversation.get() && !is_searching.get()>
                        <Presets state actions/>
                    </Show>
                    <section class="settings-rows" aria-label=text!(settings.answers)>
                        <For each=move || found.get() key=|setting| *setting let:setting>
                            <SettingView setting row=row_of(state, setting) models on_set=actions.on_set/>
                        </For>
                        <p class="settings-note">{text!(settings.applies)}</p>
                    </section>
                    <Show when=move || shown_assistant.with(Option::is_none) && !is_searching.get()>
                        <AssistantList state actions/>
                    </Show>
                    {children()}
                </div>
            </div>
        </main>
    }
}

/// The row of a setting, which changes with each reply.
fn row_of(state: SettingsState, setting: Setting) -> Memo<Option<SettingRow>> {
    Memo::new(move |_| {
        state.rows.with(|rows| rows.iter().find(|row| row.setting == setting).cloned())
    })
}

/// The choice of the level.
#[component]
fn Scopes(
    state: SettingsState,
    conversation: Signal<Option<ConversationId>>,
    actions: SettingsActions,
) -> impl IntoView {
    let scope = move |label: String, test_id: &'static str, scope: SettingScope| {
        let is_chosen = {
            let scope = scope.clone();
            Memo::new(move |_| state.scope.with(|it| *it == scope))
        };
        view! {
            <button
                type="button"
                class="scope"
                data-testid=test_id
                aria-pressed=move || is_chosen.get().to_string()
                on:click=move |_| actions.on_scope.run(scope.clone())
            >
                {label}
            </button>
        }
    };
    let assistant = move || match state.scope.get() {
        SettingScope::Assistant(id) => {
            let name = state.assistant_name(&id).unwrap_or_default();
            Some(scope(name, "scope-assistant", SettingScope::Assistant(id)))
        }
        _ => None,
    };
    view! {
        <div class="scopes" role="group" aria-label=text!(settings.scope)>
            {move || {
                conversation
                    .get()
                    .map(|id| {
                        let here = SettingScope::Conversation(id);
                        scope(text!(settings.this_conversation).into(), "scope-conversation", here)
                    })
            }}
            {scope(text!(settings.all_conversations).into(), "scope-everywhere", SettingScope::Everywhere)}
            {assistant}
        </div>
    }
}
