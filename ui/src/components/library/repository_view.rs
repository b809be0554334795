//! A repository of the hub: its files, whether they fit, and its model card.

use leptos::prelude::*;
use lilims_ipc::{Repository, RepositoryFile};

use super::discover::owner_and_name;
use super::file_offer::{FileControl, FileFit};
use super::parts::{EmptyNotice, ErrorLine, Pending};
use crate::components::icon::Icon;
use crate::components::tooltip::title_if_truncated;
use crate::components::untrusted::UntrustedName;
use crate::format;
use crate::markdown;
use crate::state::{Action, Fetched, HubFile, LibraryState, file_name};
use crate::text::{self, text, text_view};

/// The opened repository.
#[component]
pub(super) fn RepositoryView(
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let opened = move || state.opened.get().unwrap_or_default();
    let owner = move || owner_and_name(&opened()).0.to_owned();
    let name = move || owner_and_name(&opened()).1.to_owned();
    let retry = move || {
        if let Some(repository) = state.opened.get_untracked() {
            act.run(Action::Open(repository));
        }
    };
    let body = move || {
        match state.repository.get() {
        Fetched::NotRequested | Fetched::Pending => {
            view! { <Pending label=text!(discover.asking)/> }.into_any()
        }
        Fetched::Failed(error) => view! {
            <div class="library-nothing">
                <ErrorLine error=Signal::stored(Some(error))/>
                <p>{text!(library.works_offline)}</p>
                <div class="library-nothing-actions">
                    <button type="button" class="button" on:click=move |_| retry()>{text!(button.try_again)}</button>
                </div>
            </div>
        }
        .into_any(),
        Fetched::Ready(repository) => view! { <Body repository state act/> }.into_any(),
    }
    };
    view! {
        <section class="repository" data-testid="repository" data-repository=opened>
            <button
                type="button"
                class="button quiet link back"
                data-testid="repository-back"
                on:click=move |_| state.close_repository()
            >
                {Icon::Back.view()}
                {text!(repository.back)}
            </button>
            <h2>
                <span><UntrustedName text=Signal::derive(owner)/>" / "</span>
                <UntrustedName text=Signal::derive(name)/>
            </h2>
            {body}
        </section>
    }
}

#[component]
fn Body(repository: Repository, state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let Repository { repository, revision, licence, is_gated, card, files } = repository;
    let revision: String = revision.chars().take(10).collect();
    let licence = licence.unwrap_or_else(|| text!(repository.no_licence).into());
    let is_empty = files.is_empty();
    let gate = is_gated.then(|| {
        view! { <Gate repository=repository.clone()/> }
    });
    let row = |file| {
        let repository = repository.clone();
        view! { <FileRow repository file state act/> }
    };
    let rows = files.into_iter().map(row).collect_view();
    view! {
        <p class="repository-line"><UntrustedName text=text!(repository.line, licence, revision)/></p>
        {gate}
        {is_empty.then(|| view! {
            <EmptyNotice title=text!(repository.no_files) text=text!(repository.no_files_text)>
                ""
            </EmptyNotice>
        })}
        <ul class="files" aria-label=text!(repository.files)>{rows}</ul>
        <Card card/>
    }
}

/// How to get access to a repository that requires an account.
#[component]
fn Gate(repository: String) -> impl IntoView {
    let address = format!("huggingface.co/{repository}");
    let steps = text_view!(
        repository.gate,
        address = view! { <code><UntrustedName text=address/></code> },
        command = view! { <code>"lilims token"</code> }
    );
    view! {
        <div class="gate" data-testid="gated-notice">
            {Icon::Lock.view()}
            <p>{steps}</p>
        </div>
    }
}

#[component]
fn FileRow(
    repository: String,
    file: RepositoryFile,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let RepositoryFile { file, size_bytes, quantisation, verdict, here, unsuitable } = file;
    let hub_file = HubFile { repository, file: file.clone() };
    let name = file_name(&file).to_owned();
    let control = match unsuitable {
        Some(what) => view! { <p class="unsuitable">{text::unsuitable(what)}</p> }.into_any(),
        None => view! {
            <FileFit file=hub_file.clone() verdict state act/>
            <FileControl file=hub_file known=here state act/>
        }
        .into_any(),
    };
    view! {
        <li class="file" data-testid="repository-file" data-file=file>
            <div class="file-text">
                <strong><UntrustedName text=quantisation.unwrap_or_else(|| "GGUF".into())/></strong>
                <span class="file-size">{format::bytes(size_bytes)}</span>
                <span class="file-name" on:mouseenter=|event| title_if_truncated(&event)><UntrustedName text=name/></span>
            </div>
            {control}
        </li>
    }
}

/// The model card. It shows only text.
#[component]
fn Card(card: String) -> impl IntoView {
    (!card.trim().is_empty()).then(|| {
        view! {
            <article
                class="card-text prose"
                aria-label=text!(repository.card)
            >
                <div class="chunk" inner_html=markdown::render(&card)></div>
            </article>
        }
    })
}
