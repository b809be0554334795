//! The models on this device, what they take, and where else to look for some.

use leptos::prelude::*;
use lilims_ipc::{Error, Library, LibraryModel, ModelStatus};

use super::model_card::ModelCard;
use super::parts::{Aftermath, ErrorLine, Nothing, Pending};
use super::quota::Quota;
use crate::components::foreign::Foreign;
use crate::components::icon::Icon;
use crate::format::{self, Clock};
use crate::state::{Action, Concern, Fetched, LibraryState, Tab};

/// The tab *On this device*.
#[component]
pub(super) fn OnThisDevice(
    /// The state of the library.
    state: LibraryState,
    /// Where the loaded model stands.
    status: Signal<Option<ModelStatus>>,
    /// When the page was drawn.
    clock: Clock,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let is_here = Memo::new(move |_| state.library.with(|library| library.here().is_some()));
    let error = Memo::new(move |_| state.library.with(failure));
    view! {
        <Show
            when=move || is_here.get()
            fallback=move || {
                view! {
                    <Show
                        when=move || error.with(Option::is_some)
                        fallback=|| view! { <Pending label="Looking for models…"/> }
                    >
                        <ErrorLine error/>
                    </Show>
                }
            }
        >
            <Shelf state status clock act/>
        </Show>
    }
}

#[component]
fn Shelf(
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
        <For each=move || notes.get() key=String::clone let:note>
            <p class="report" role="status" data-testid="library-note">{note}</p>
        </For>
        <Aftermath state concern=Concern::Loaded/>
        <Show when=move || is_empty.get()>
            <Nothing
                title="No models yet"
                text="A model is one file. Download one that fits this device, or import a GGUF file that you have."
            >
                <button type="button" class="button primary" on:click=move |_| state.tab.set(Tab::Discover)>
                    "Discover models"
                </button>
            </Nothing>
        </Show>
        <ul class="model-cards" aria-label="Models on this device">
            <For each=move || models.get() key=|model| model.name.clone() let:model>
                <ModelCard model models loaded status state clock act/>
            </For>
        </ul>
    }
}

/// Files and folders that models can come from.
#[component]
fn Sources(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Device));
    let folders = Memo::new(move |_| with_library(state, |library| library.folders.clone()));
    let scanning = move || state.busy.with(|busy| busy.contains(&Action::Scan));
    view! {
        <section class="sources" aria-label="Other sources">
            <div class="sources-buttons">
                <button
                    type="button"
                    class="button"
                    data-testid="import-file"
                    title="Copy a GGUF file into the library; files can be dropped here, too"
                    disabled=is_busy
                    on:click=move |_| act.run(Action::ChooseFile)
                >
                    {Icon::Import.view()}
                    "Import file…"
                </button>
                <button
                    type="button"
                    class="button"
                    data-testid="add-folder"
                    title="Use the models of a folder where they are, without a copy"
                    disabled=is_busy
                    on:click=move |_| act.run(Action::ChooseFolder)
                >
                    {Icon::Folder.view()}
                    "Use a folder…"
                </button>
                <button
                    type="button"
                    class="button"
                    data-testid="scan-folders"
                    title="Look into these folders and those of LM Studio, Ollama and Hugging Face"
                    disabled=is_busy
                    on:click=move |_| act.run(Action::Scan)
                >
                    {Icon::Again.view()}
                    {move || if scanning() { "Looking…" } else { "Find models" }}
                </button>
            </div>
            <Show when=move || folders.with(|folders| !folders.is_empty())>
                <ul class="folders" aria-label="Folders used in place">
                    <For each=move || folders.get() key=String::clone let:folder>
                        <FolderRow folder act/>
                    </For>
                </ul>
            </Show>
            <Aftermath state concern=Concern::Device/>
        </section>
    }
}

#[component]
fn FolderRow(folder: String, act: Callback<Action>) -> impl IntoView {
    let own = folder.clone();
    view! {
        <li>
            {Icon::Folder.view()}
            <span><Foreign text=folder.clone()/></span>
            <button
                type="button"
                class="button quiet small"
                data-testid="remove-folder"
                aria-label=format!("Use {} no longer", format::visible_name(&folder))
                title="Use this folder no longer; its files stay"
                on:click=move |_| act.run(Action::RemoveFolder(own.clone()))
            >
                {Icon::Close.view()}
            </button>
        </li>
    }
}

/// Something of the library, or its default until the library is here.
fn with_library<T: Default>(state: LibraryState, part: impl FnOnce(&Library) -> T) -> T {
    state.library.with(|library| library.here().map(part).unwrap_or_default())
}

fn failure(library: &Fetched<Library>) -> Option<Error> {
    match library {
        Fetched::Failed(error) => Some(error.clone()),
        _ => None,
    }
}
