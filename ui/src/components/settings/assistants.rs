//! The assistants and presets on the settings page.

use leptos::prelude::*;
use lilims_ipc::{Assistant, AssistantId, Preset, SettingScope};

use super::super::icon::Icon;
use super::SettingsActions;
use crate::format;
use crate::state::settings::{SettingsState, assistant_name};
use crate::text::text;

/// All assistants: opened by a click, copied, exported and imported.
#[component]
pub(super) fn AssistantList(state: SettingsState, actions: SettingsActions) -> impl IntoView {
    let all = move || state.assistants.with(|all| all.assistants.clone());
    let item = move |it: Assistant| {
        let name = assistant_name(&it.name);
        let label = text!(assistant.edit_named, name = format::visible_name(&name));
        let id = it.id.clone();
        view! {
            <button
                type="button"
                class="assistant-item"
                data-testid="assistant-item"
                aria-label=label
                on:click=move |_| actions.on_scope.run(SettingScope::Assistant(id.clone()))
            >
                <span class="look" aria-hidden="true">{it.look}</span>
                <bdi>{format::visible_name(&name)}</bdi>
                {it.is_changed.then(|| view! { <span class="quiet">{text!(assistant.changed)}</span> })}
            </button>
        }
    };
    let button = |label: &'static str, test_id: &'static str, on_click: Callback<()>| {
        view! {
            <button type="button" class="button" data-testid=test_id on:click=move |_| on_click.run(())>
                {label}
            </button>
        }
    };
    let on_new = Callback::new(move |()| actions.on_create.run(None));
    view! {
        <section class="assistants" aria-labelledby="assistants-title">
            <h2 id="assistants-title">{text!(assistant.title)}</h2>
            <p class="settings-note">{text!(assistant.about)}</p>
            <div class="assistant-list">{move || all().into_iter().map(item).collect_view()}</div>
            <div class="settings-foot">
                {button(text!(assistant.new), "assistant-new", on_new)}
                {button(text!(assistant.import), "assistant-import", actions.on_import)}
                {button(text!(assistant.export), "assistant-export", actions.on_export)}
            </div>
        </section>
    }
}

/// The name and the look of the assistant that is shown, and what can be done with it.
#[component]
pub(super) fn AssistantFields(
    state: SettingsState,
    id: AssistantId,
    actions: SettingsActions,
) -> impl IntoView {
    let known = {
        let id = id.clone();
        Memo::new(move |_| {
            state.assistants.with(|all| all.assistants.iter().find(|it| it.id == id).cloned())
        })
    };
    let name =
        Memo::new(move |_| known.get().map(|it| assistant_name(&it.name)).unwrap_or_default());
    let look = Memo::new(move |_| known.get().map(|it| it.look).unwrap_or_default());
    let id = StoredValue::new(id);
    let change = move |name: String, look: String| {
        actions.on_change.run((id.get_value(), name, look));
    };
    let is_ours = move || known.with(|it| it.as_ref().is_some_and(|it| it.is_built_in));
    let is_as_it_came = move || known.with(|it| it.as_ref().is_some_and(|it| !it.is_changed));
    let remove_label =
        move || if is_ours() { text!(assistant.reset) } else { text!(assistant.delete) };
    view! {
        <div class="assistant-fields">
            <input
                type="text"
                class="look"
                data-testid="assistant-look"
                aria-label=text!(assistant.look)
                maxlength="8"
                prop:value=look
                on:change:target=move |event| change(name.get_untracked(), event.target().value())
            />
            <input
                type="text"
                data-testid="assistant-name"
                aria-label=text!(assistant.name)
                maxlength="200"
                dir="auto"
                prop:value=name
                on:change:target=move |event| change(event.target().value(), look.get_untracked())
            />
            <button
                type="button"
                class="button"
                data-testid="assistant-copy"
                on:click=move |_| actions.on_create.run(Some(id.get_value()))
            >
                {text!(assistant.copy)}
            </button>
            <button
                type="button"
                class="button"
                data-testid="assistant-remove"
                disabled=move || is_ours() && is_as_it_came()
                on:click=move |_| actions.on_remove.run(id.get_value())
            >
                {remove_label}
            </button>
        </div>
    }
}

/// The presets: copied into the conversation by a click, saved under a name.
#[component]
pub(super) fn Presets(state: SettingsState, actions: SettingsActions) -> impl IntoView {
    let name = RwSignal::new(String::new());
    let has_own =
        Memo::new(move |_| state.rows.with(|rows| rows.iter().any(|row| row.own.is_some())));
    let preset = move |preset: Preset| {
        let Preset { id, name } = preset;
        let name = format::visible_name(&name).to_string();
        let (used, removed) = (id.clone(), id);
        view! {
            <span class="preset">
                <button
                    type="button"
                    class="button"
                    data-testid="preset-use"
                    title=text!(settings.preset_use)
                    on:click=move |_| actions.on_use_preset.run(used.clone())
                >
                    <bdi>{name.clone()}</bdi>
                </button>
                <button
                    type="button"
                    class="button quiet small"
                    data-testid="preset-remove"
                    aria-label=text!(settings.preset_remove, name)
                    on:click=move |_| actions.on_remove.run(removed.clone())
                >
                    {Icon::Close.view()}
                </button>
            </span>
        }
    };
    let all = move || state.assistants.with(|all| all.presets.clone());
    view! {
        <form
            class="presets"
            on:submit=move |event| {
                event.prevent_default();
                actions.on_save_preset.run(name.get_untracked());
                name.set(String::new());
            }
        >
            {move || all().into_iter().map(preset).collect_view()}
            <input
                type="text"
                data-testid="preset-name"
                aria-label=text!(settings.preset_name)
                placeholder=text!(settings.preset_name)
                maxlength="200"
                prop:value=name
                on:input=move |event| name.set(event_target_value(&event))
            />
            <button
                type="submit"
                class="button"
                data-testid="preset-save"
                disabled=move || !has_own.get() || name.with(|name| name.trim().is_empty())
            >
                {text!(settings.preset_save)}
            </button>
        </form>
    }
}
