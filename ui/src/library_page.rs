//! Connects the library with the shell: its events, its commands, and the model picker.

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{AppEvent, Attempt, CatalogueModel, Error, ModelStatus};

use crate::bridge::{self, Drag};
use crate::components::{FirstModelOffer, LibraryView, ModelPicker, SuspendedLoadNotice};
use crate::desktop_page::Offered;
use crate::state::{
    Action, Chat, Concern, Fetched, FirstStep, HubFile, LibraryState, Tab, first_model, next_step,
    pickable_models, split_dropped, suspended_model,
};

/// Imports dropped models, and refreshes the library whenever it is opened. Other files that are dropped
/// on the conversation go to `on_documents`.
pub(crate) fn follow_library(
    state: LibraryState,
    act: Callback<Action>,
    on_documents: impl Fn(Vec<String>) + Clone + 'static,
) {
    spawn_local(bridge::on_drag(move |drag| match drag {
        Drag::Enter => state.is_dragging.set(true),
        Drag::Leave => state.is_dragging.set(false),
        Drag::Drop(paths) => {
            state.is_dragging.set(false);
            let (models, documents) = match state.is_open.get_untracked() {
                true => (paths, Vec::new()),
                false => split_dropped(paths),
            };
            if !models.is_empty() {
                state.show(Tab::Device);
                act.run(Action::ImportFiles(models));
            }
            if !documents.is_empty() {
                on_documents(documents);
            }
        }
    }));
    // Estimates depend on the memory that is free now.
    Effect::new(move || {
        if state.is_open.get() {
            refresh_library(state);
        }
    });
}

/// Applies a change of the library, its downloads or its conversion.
pub(crate) fn library_changed(state: LibraryState, event: AppEvent) {
    match event {
        AppEvent::Library(library) => state.library.set(Fetched::Ready(library)),
        AppEvent::Downloads(downloads) => state.downloads.set(downloads),
        AppEvent::Conversion(conversion) => state.conversion.set(conversion),
        AppEvent::Do(_)
        | AppEvent::Status(_)
        | AppEvent::Conversation(_)
        | AppEvent::ConversationGone(_)
        | AppEvent::ConversationFolders(_)
        | AppEvent::Assistants(_)
        | AppEvent::Privacy(_) => {}
    }
}

/// Queries everything that is known without the network.
pub(crate) fn refresh_library(state: LibraryState) {
    spawn_local(async move {
        match bridge::library().await {
            Ok(library) => state.library.set(Fetched::Ready(library)),
            Err(error) => state.library.update(|library| replace_missing(library, error)),
        }
        if let Ok(downloads) = bridge::downloads().await {
            state.downloads.set(downloads);
        }
        if let Ok(conversion) = bridge::conversion().await {
            state.conversion.set(conversion);
        }
        match bridge::catalogue().await {
            Ok(models) => state.catalogue.set(Fetched::Ready(models)),
            Err(error) => state.catalogue.update(|models| replace_missing(models, error)),
        }
    });
}

/// Keeps an earlier answer; otherwise stores the error.
fn replace_missing<T>(fetched: &mut Fetched<T>, error: Error) {
    if fetched.ready().is_none() {
        *fetched = Fetched::Failed(error);
    }
}

/// A callback that executes actions through the shell.
pub(crate) fn execute_actions(state: LibraryState, chat: Chat) -> Callback<Action> {
    Callback::new(move |action: Action| {
        state.action_started(&action);
        let conversation = chat.conversation.get_untracked();
        spawn_local(async move {
            let reply = bridge::call(&action.command(conversation.clone())).await;
            let next = action.after_plan_changed(&reply);
            state.action_finished(&action, reply);
            if let Some(next) = next {
                // Not `action_started`, which would clear the error: it explains the new plan.
                let reply = bridge::call(&next.command(conversation)).await;
                state.action_finished(&next, reply);
            }
        });
    })
}

/// The library, while it is open.
#[component]
pub(crate) fn LibraryPage(
    /// The state of the library.
    state: LibraryState,
    /// The conversation, which continues behind it.
    chat: Chat,
    /// Executes actions.
    act: Callback<Action>,
) -> impl IntoView {
    view! {
        <Show when=move || state.is_open.get()>
            <LibraryView state status=chat.model clock=bridge::clock() act/>
            <Offered library=state act/>
        </Show>
    }
}

/// The model picker under the composer.
#[component]
pub(crate) fn Picker(
    /// The state of the library.
    state: LibraryState,
    /// The conversation, which the picked model continues.
    chat: Chat,
    /// Whether its list is open.
    is_open: RwSignal<bool>,
    /// Executes actions.
    act: Callback<Action>,
) -> impl IntoView {
    let models = Memo::new(move |_| {
        state.library.with(|library| library.ready().map(pickable_models).unwrap_or_default())
    });
    let loaded = Memo::new(move |_| {
        state.library.with(|library| library.ready().and_then(|library| library.loaded.clone()))
    });
    let is_ready = move || matches!(chat.model.get_untracked(), Some(ModelStatus::Ready { .. }));
    let on_pick = Callback::new(move |name: String| {
        let is_loaded = loaded.with_untracked(|loaded| loaded.as_ref() == Some(&name));
        if !(is_loaded && is_ready()) {
            act.run(Action::Use { name, context_tokens: None });
        }
    });
    view! {
        <ModelPicker
            status=chat.model
            models
            loaded
            is_open
            on_pick
            on_unload=Callback::new(move |()| act.run(Action::Unload))
            on_library=Callback::new(move |()| state.show(Tab::Device))
        />
    }
}

/// The notice about a model that is not loaded again, if there is one.
#[component]
pub(crate) fn SuspendedLoad(
    /// The state of the library.
    state: LibraryState,
    /// The load that ended with the app.
    attempt: Memo<Option<Attempt>>,
    /// Executes actions.
    act: Callback<Action>,
    /// Called to load as before.
    on_retry: Callback<()>,
) -> impl IntoView {
    let name = Memo::new(move |_| {
        let attempt = attempt.get()?;
        state.library.with(|library| suspended_model(library.ready()?, &attempt))
    });
    let on_safer = Callback::new(move |context_tokens: u32| {
        if let Some(name) = name.get_untracked() {
            act.run(Action::Use { name, context_tokens: Some(context_tokens) });
        }
    });
    let on_choose = Callback::new(move |()| state.show(Tab::Device));
    let can_load_safer = Memo::new(move |_| name.with(Option::is_some));
    move || {
        attempt.get().map(|attempt| {
            view! { <SuspendedLoadNotice attempt can_load_safer on_safer on_retry on_choose/> }
        })
    }
}

/// The offer of a first model.
#[component]
pub(crate) fn FirstModel(
    /// The state of the library.
    state: LibraryState,
    /// Executes actions.
    act: Callback<Action>,
) -> impl IntoView {
    let model = Memo::new(move |_| {
        state.catalogue.with(|catalogue| catalogue.ready().and_then(|it| first_model(it).cloned()))
    });
    let file = Memo::new(move |_| model.with(|model| model.as_ref().map(hub_file)));
    let download = Memo::new(move |_| {
        let file = file.get()?;
        let is_of_file =
            |it: &&lilims_ipc::Download| it.repository == file.repository && it.file == file.file;
        state.downloads.with(|downloads| downloads.iter().find(is_of_file).cloned())
    });
    let is_busy = Memo::new(move |_| {
        let of_file = file.get().is_some_and(|file| state.is_busy(&Concern::File(file)));
        of_file || state.is_busy(&Concern::Plan)
    });
    let problem = Memo::new(move |_| {
        let of_file = file.get().and_then(|file| state.problem_of(&Concern::File(file)));
        of_file.or_else(|| state.problem_of(&Concern::Plan))
    });
    let usable = Memo::new(move |_| {
        state.library.with(|library| library.ready().map(pickable_models).unwrap_or_default())
    });
    let on_download = Callback::new(move |()| {
        let Some(file) = file.get_untracked() else { return };
        state.awaited_file.set(Some(file.clone()));
        // An interrupted download continues where it stopped.
        match download.get_untracked() {
            Some(download) => act.run(Action::Resume(download.id)),
            None => act.run(Action::Plan(file)),
        }
    });
    let on_use = Callback::new(move |name| act.run(Action::Use { name, context_tokens: None }));
    let on_others = Callback::new(move |()| state.show(Tab::Discover));
    view! {
        <FirstModelOffer model download is_busy problem usable on_download on_use on_others/>
    }
}

/// Downloads the first model and switches to it, once the user asked for it.
pub(crate) fn follow_first_model(state: LibraryState, chat: Chat, act: Callback<Action>) {
    Effect::new(move || {
        let Some(file) = state.awaited_file.get() else { return };
        let step = state.plan.with(|plan| {
            state.downloads.with(|downloads| next_step(&file, plan.as_ref(), downloads))
        });
        // The model of a finished download may have been removed since.
        let exists = |name: &String| {
            state.library.with(|library| {
                library.ready().is_some_and(|it| it.models.iter().any(|model| model.name == *name))
            })
        };
        match step {
            Some(FirstStep::Download) => {
                state.plan.set(None);
                act.run(Action::Download { file, agreed_removals: Vec::new() });
            }
            Some(FirstStep::ShowPlan) => state.show(Tab::Discover),
            Some(FirstStep::Use(name)) if exists(&name) => {
                state.awaited_file.set(None);
                // Another model may have been chosen meanwhile.
                let is_missing =
                    chat.model.with_untracked(|it| matches!(it, Some(ModelStatus::Failed { .. })));
                if is_missing {
                    act.run(Action::Use { name, context_tokens: None });
                }
            }
            Some(FirstStep::Use(_)) | None => {}
        }
    });
}

fn hub_file(model: &CatalogueModel) -> HubFile {
    HubFile { repository: model.repository.clone(), file: model.file.clone() }
}
