//! The models on this device, the space they take, and other sources of models.

use leptos::prelude::*;
use lilims_ipc::{Error, Library, LibraryModel, ModelStatus};

use super::model_card::ModelCard;
use super::parts::{ActionResult, EmptyNotice, ErrorLine, Pending};
use super::quota::Quota;
use crate::components::icon::Icon;
use crate::components::untrusted::{UntrustedName, UntrustedText};
use crate::format::{self, Clock};
use crate::state::{Action, Concern, Fetched, LibraryState, Tab};
use crate::text::{self, text};

/// The tab *On this device*.
#[component]
pub(super) fn OnThisDevice(
    /// The state of the library.
    state: LibraryState,
    /// The status of the loaded model.
    status: Signal<Option<ModelStatus>>,
    /// The time when the page was drawn.
    clock: Clock,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let is_ready = Memo::new(move |_| state.library.with(|library| library.ready().is_some()));
    let error = Memo::new(move |_| state.library.with(failure));
    view! {
        <Show
            when=move || is_ready.get()
            fallback=move || {
                view! {
                    <Show
                        when=move || error.with(Option::is_some)
                        fallback=|| view! { <Pending label=text!(library.looking)/> }
                    >
                        <ErrorLine error/>
                    </Show>
                }
            }
        >
            <DeviceModels state status clock act/>
        </Show>
    }
}

#[component]
fn DeviceModels(
    state: LibraryState,
    status: Signal<Option<ModelStatus>>,
    clock: Clock,
    act: Callback<Action>,
) -> impl IntoView {
    let storage = Memo::new(move |_| with_library(state, |library| library.storage.clone()));
    let models: Memo<Vec<LibraryModel>> =
        Memo::new(move |_| with_library(state, |library| library.models.clone()));
    let models = Signal::from(models);
    let loaded = Memo::new(move |_| with_library(state, |library| library.loaded.clone()));
    let loaded = Signal::from(loaded);
    let is_empty = Memo::new(move |_| models.with(Vec::is_empty));
    let notes = Memo::new(move |_| with_library(state, |library| library.notes.clone()));
    view! {
        <Quota storage state act/>
        <Sources state act/>
        <For each=move || notes.get() key=text::library_note let:note>
            <p class="report" role="status" data-testid="library-note">
                <UntrustedText text=text::library_note(&note)/>
            </p>
        </For>
        <ActionResult state concern=Concern::Loaded/>
        <Show when=move || is_empty.get()>
            <EmptyNotice title=text!(library.no_models) text=text!(library.no_models_text)>
                <button type="button" class="button primary" on:click=move |_| state.tab.set(Tab::Discover)>
                    {text!(library.discover_models)}
                </button>
            </EmptyNotice>
        </Show>
        <ul class="model-cards" aria-label=text!(library.models)>
            <For each=move || models.get() key=|model| model.name.clone() let:model>
                <ModelCard model models loaded status state clock act/>
            </For>
        </ul>
    }
}

/// The buttons to import files, use folders and search for models.
#[component]
fn Sources(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Device));
    let folders = Memo::new(move |_| with_library(state, |library| library.folders.clone()));
    let scanning = move || state.busy.with(|busy| busy.contains(&Action::Scan));
    view! {
        <section class="sources" aria-label=text!(sources.label)>
            <div class="sources-buttons">
                <button
                    type="button"
                    class="button"
                    data-testid="import-file"
                    title=text!(sources.import_file_hint)
                    disabled=is_busy
                    on:click=move |_| act.run(Action::ChooseFile)
                >
                    {Icon::Import.view()}
                    {text!(sources.import_file)}
                </button>
                <button
                    type="button"
                    class="button"
                    data-testid="add-folder"
                    title=text!(sources.use_folder_hint)
                    disabled=is_busy
                    on:click=move |_| act.run(Action::ChooseFolder)
                >
                    {Icon::Folder.view()}
                    {text!(sources.use_folder)}
                </button>
                <button
                    type="button"
                    class="button"
                    data-testid="scan-folders"
                    title=text!(sources.find_hint)
                    disabled=is_busy
                    on:click=move |_| act.run(Action::Scan)
                >
                    {Icon::Again.view()}
                    {move || if scanning() { text!(sources.finding) } else { text!(sources.find) }}
                </button>
            </div>
            <Show when=move || folders.with(|folders| !folders.is_empty())>
                <ul class="folders" aria-label=text!(sources.folders)>
                    <For each=move || folders.get() key=String::clone let:folder>
                        <FolderRow folder act/>
                    </For>
                </ul>
            </Show>
            <ActionResult state concern=Concern::Device/>
        </section>
    }
}

#[component]
fn FolderRow(folder: String, act: Callback<Action>) -> impl IntoView {
    let own = folder.clone();
    view! {
        <li>
            {Icon::Folder.view()}
            <span><UntrustedName text=folder.clone()/></span>
            <button
                type="button"
                class="button quiet small"
                data-testid="remove-folder"
                aria-label=text!(sources.stop_using, folder = format::visible_name(&folder))
                title=text!(sources.stop_using_hint)
                on:click=move |_| act.run(Action::RemoveFolder(own.clone()))
            >
                {Icon::Close.view()}
            </button>
        </li>
    }
}

/// Part of the library, or the default value until the library is ready.
fn with_library<T: Default>(state: LibraryState, part: impl FnOnce(&Library) -> T) -> T {
    state.library.with(|library| library.ready().map(part).unwrap_or_default())
}

fn failure(library: &Fetched<Library>) -> Option<Error> {
    match library {
        Fetched::Failed(error) => Some(error.clone()),
        _ => None,
    }
}
