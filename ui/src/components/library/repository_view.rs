//! A repository of the hub: its files, whether they fit, and its card.

use leptos::{ev, prelude::*};
use lilims_ipc::{Repository, RepositoryFile};

use super::discover::owner_and_name;
use super::file_offer::{FileControl, FileFit};
use super::parts::{ErrorLine, Nothing, Pending};
use crate::components::icon::Icon;
use crate::components::prose_clicks::{handle_click, keep_links_shut};
use crate::format;
use crate::markdown;
use crate::state::{Action, Fetched, HubFile, LibraryState, last_part};

/// The repository that was opened.
#[component]
pub(super) fn RepositoryView(
    /// The state of the library.
    state: LibraryState,
    /// Called with what shall be done.
    act: Callback<Action>,
    /// Called with text for the clipboard.
    on_copy: Callback<String>,
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
        Fetched::NotAsked | Fetched::OnItsWay => {
            view! { <Pending label="Asking huggingface.co…"/> }.into_any()
        }
        Fetched::Failed(error) => view! {
            <div class="library-nothing">
                <ErrorLine error=Signal::stored(Some(error))/>
                <p>"Models on this device work without it."</p>
                <div class="library-nothing-actions">
                    <button type="button" class="button" on:click=move |_| retry()>"Try again"</button>
                </div>
            </div>
        }
        .into_any(),
        Fetched::Here(repository) => view! { <Body repository state act on_copy/> }.into_any(),
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
                "Back to the list"
            </button>
            <h2>
                <span>{owner}" / "</span>
                {name}
            </h2>
            {body}
        </section>
    }
}

#[component]
fn Body(
    repository: Repository,
    state: LibraryState,
    act: Callback<Action>,
    on_copy: Callback<String>,
) -> impl IntoView {
    let Repository { repository, revision, licence, is_gated, card, files } = repository;
    let revision: String = revision.chars().take(10).collect();
    let licence = licence.unwrap_or_else(|| "no licence named".into());
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
        <p class="repository-line">{format!("{licence} · revision {revision}")}</p>
        {gate}
        {is_empty.then(|| view! {
            <Nothing title="No GGUF files" text="Lilims runs models in the GGUF format, and this repository has none.">
                ""
            </Nothing>
        })}
        <ul class="files" aria-label="Files">{rows}</ul>
        <Card card on_copy/>
    }
}

/// What to do about a repository that asks for an account.
#[component]
fn Gate(repository: String) -> impl IntoView {
    view! {
        <div class="gate" data-testid="gated-notice">
            {Icon::Lock.view()}
            <p>
                "Its owner asks for an account and for terms to be accepted. Do both at "
                <code>{format!("huggingface.co/{repository}")}</code>
                ", then give Lilims a token of that account: "
                <code>"lilims token"</code>
                ". Other repositories often have the same model without a gate."
            </p>
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
    let name = last_part(&file).to_owned();
    let control = match unsuitable {
        Some(why) => view! { <p class="unsuitable">{why}</p> }.into_any(),
        None => view! {
            <FileFit file=hub_file.clone() verdict state act/>
            <FileControl file=hub_file known=here state act/>
        }
        .into_any(),
    };
    view! {
        <li class="file" data-testid="repository-file" data-file=file>
            <div class="file-text">
                <strong>{quantisation.unwrap_or_else(|| "GGUF".into())}</strong>
                <span class="file-size">{format::bytes(size_bytes)}</span>
                <span class="file-name" title=name.clone()>{name.clone()}</span>
            </div>
            {control}
        </li>
    }
}

/// The repository's card. It can show nothing but text, and its links are copied, not followed.
#[component]
fn Card(card: String, on_copy: Callback<String>) -> impl IntoView {
    (!card.trim().is_empty()).then(|| {
        view! {
            <article
                class="card-text prose"
                aria-label="Model card"
                on:click=move |event: ev::MouseEvent| handle_click(&event, on_copy)
                on:auxclick=move |event: ev::MouseEvent| keep_links_shut(&event)
            >
                <div class="chunk" inner_html=markdown::render(&card)></div>
            </article>
        }
    })
}
