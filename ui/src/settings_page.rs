//! Connects the settings page with the shell.

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{AssistantId, Command, ConversationId, Error, Reply, SettingScope};

use crate::bridge;
use crate::components::{
    DesktopSettingsView, PageSettings, PrivacySettings, SettingsActions, SettingsView,
};
use crate::conversations_page::Page;
use crate::desktop_page::Desktop;
use crate::privacy_page::PrivacyState;
use crate::state::settings::SettingsState;
use crate::state::{LibraryState, appearance::Appearance};
use crate::text::{self, text};

/// The settings, while they are open.
#[component]
pub(crate) fn SettingsPage(
    /// Their state.
    state: SettingsState,
    /// The conversation.
    page: Page,
    /// The library, whose models can be chosen.
    library: LibraryState,
    /// The look of the page.
    appearance: Appearance,
    /// How the app lives on a desktop.
    desktop: Desktop,
    /// What left this device.
    privacy: PrivacyState,
) -> impl IntoView {
    let models = Memo::new(move |_| {
        let names = |it: &lilims_ipc::Library| it.models.iter().map(|it| it.name.clone()).collect();
        library.library.with(|library| library.ready().map(names).unwrap_or_default())
    });
    let actions = actions(state, page);
    view! {
        <Show when=move || state.is_open.get()>
            <SettingsView state conversation=page.chat.conversation models actions>
                <PageSettings appearance query=state.query>
                    <DesktopSettingsView settings=desktop.settings on_change=desktop.on_change query=state.query/>
                </PageSettings>
                <PrivacySettings state=privacy query=state.query actions=privacy.actions()/>
            </SettingsView>
        </Show>
    }
}

/// Reads the assistants, and the settings of the level that is shown whenever it changes.
pub(crate) fn follow_settings(state: SettingsState, page: Page) {
    page.outbox.send(async move {
        for (setting, value) in bridge::take_stored_options() {
            let scope = SettingScope::Everywhere;
            let _ = bridge::call(&Command::SetSetting { scope, setting, value: Some(value) }).await;
        }
        if let Ok(Reply::Assistants(assistants)) = bridge::call(&Command::Assistants).await {
            state.assistants.set(assistants);
        }
    });
    Effect::new(move || {
        // Also when the model or the assistant has changed meanwhile.
        page.chat.model.track();
        page.chat.assistant.track();
        if state.is_open.get() {
            let scope = state.scope.get();
            apply(state, page, Command::Settings { scope });
        }
    });
}

/// Loads the texts of the language that is chosen, or else of the system's, for all that is drawn from now on.
pub(crate) async fn apply_language(chosen: &str) {
    let preferred: Vec<String> =
        [chosen.to_owned()].into_iter().chain(bridge::preferred_languages()).collect();
    let tag = text::supported(&preferred);
    if !text::choose(tag, bridge::texts(tag).await) {
        let english = text::LANGUAGES[0].0;
        text::choose(english, bridge::texts(english).await);
    }
    // For screen readers, hyphenation and the direction of the page.
    bridge::set_root("lang", text::chosen());
    bridge::set_root("dir", if text::is_right_to_left() { "rtl" } else { "ltr" });
}

/// Applies the look of the page, now and whenever it changes, and keeps it. The page is drawn again when
/// [`Appearance::drawn_language`] changes.
pub(crate) fn follow_appearance(appearance: Appearance) {
    let follow = |name: &'static str, chosen: RwSignal<String>| {
        Effect::new(move |first: Option<()>| {
            let chosen = chosen.get();
            bridge::set_root(&format!("data-{name}"), &chosen);
            if first.is_some() {
                bridge::store(name, &chosen);
            }
        });
    };
    follow("theme", appearance.theme);
    follow("text-size", appearance.text_size);
    follow("language", appearance.language);
    Effect::new(move || {
        let language = appearance.language.get();
        if appearance.drawn_language.with_untracked(|drawn| *drawn != language) {
            spawn_local(async move {
                apply_language(&language).await;
                appearance.drawn_language.set(language);
            });
        }
    });
}

/// Executes a command and shows the settings that it returns.
fn apply(state: SettingsState, page: Page, command: Command) {
    page.outbox.send(async move {
        state.failure.set(None);
        match bridge::call(&command).await {
            Ok(Reply::Settings(rows)) => state.rows.set(rows),
            Ok(Reply::Assistant(assistant)) => {
                state.scope.set(SettingScope::Assistant(assistant.id));
            }
            Ok(_) => {}
            Err(error) => failed(state, error),
        }
    });
}

fn failed(state: SettingsState, error: Error) {
    state.failure.set(Some(error));
    // The entry is shown as it is stored.
    state.rows.update(|_| {});
}

fn actions(state: SettingsState, page: Page) -> SettingsActions {
    let run = move |command| apply(state, page, command);
    let in_conversation = move |command: &dyn Fn(ConversationId) -> Command| {
        if let Some(conversation) = page.chat.conversation.get_untracked() {
            run(command(conversation));
        }
    };
    SettingsActions {
        on_set: Callback::new(move |(setting, value)| {
            run(Command::SetSetting { scope: state.scope.get_untracked(), setting, value });
        }),
        on_scope: Callback::new(move |scope| state.scope.set(scope)),
        on_create: Callback::new(move |like: Option<AssistantId>| {
            let name = text!(assistant.new_name).to_owned();
            run(Command::CreateAssistant { like, name });
        }),
        on_change: Callback::new(move |(assistant, name, look)| {
            run(Command::ChangeAssistant { assistant, name, look });
        }),
        on_remove: Callback::new(move |assistant: AssistantId| {
            let is_shown = state.scope.with_untracked(
                |scope| matches!(scope, SettingScope::Assistant(id) if *id == assistant),
            );
            let is_ours = state.assistants.with_untracked(|all| {
                all.assistants.iter().any(|it| it.id == assistant && it.is_built_in)
            });
            run(Command::RemoveAssistant { assistant });
            if is_shown && is_ours {
                run(Command::Settings { scope: state.scope.get_untracked() });
            } else if is_shown {
                state.show(page.chat.conversation.get_untracked());
            }
        }),
        on_save_preset: Callback::new(move |name: String| {
            in_conversation(&|conversation| Command::SavePreset {
                conversation,
                name: name.clone(),
            });
        }),
        on_use_preset: Callback::new(move |preset: AssistantId| {
            in_conversation(&|conversation| Command::UsePreset {
                conversation,
                preset: preset.clone(),
            });
        }),
        on_export: Callback::new(move |()| run(Command::ChooseAndExportAssistants)),
        on_import: Callback::new(move |()| run(Command::ChooseAndImportAssistants)),
    }
}

/// Gives the conversation an assistant, or none.
pub(crate) fn use_assistant(page: Page, assistant: Option<AssistantId>) {
    let Some(conversation) = page.chat.conversation.get_untracked() else { return };
    page.chat.assistant.set(assistant.clone());
    spawn_local(async move {
        let command = Command::UseAssistant { conversation, assistant };
        if let Err(error) = bridge::call(&command).await {
            page.chat.conversation_failed(error);
        }
    });
}
