//! Models to download: the recommended ones, and the results of a search on the hub.

use leptos::prelude::*;
use lilims_ipc::{CatalogueModel, Error, Search, SearchResult};

use super::file_offer::{FileControl, FileFit};
use super::parts::{EmptyNotice, ErrorLine, Facts, Pending};
use super::repository_view::RepositoryView;
use crate::components::icon::Icon;
use crate::components::untrusted::UntrustedName;
use crate::format;
use crate::state::{Action, Fetched, HubFile, LibraryState};
use crate::text::{self, text};

/// The sizes to choose from, as the maximum in billions of parameters.
const SIZES: [u64; 5] = [1, 4, 9, 15, 35];

/// The licences to choose from, as the hub names them.
const LICENCES: [&str; 6] = ["apache-2.0", "mit", "llama3.2", "gemma", "cc-by-4.0", "cc-by-nc-4.0"];

/// The tab *Discover*.
#[component]
pub(super) fn Discover(
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let is_opened = Memo::new(move |_| state.opened.with(Option::is_some));
    view! {
        <Show
            when=move || is_opened.get()
            fallback=move || {
                view! {
                    <SearchForm state act/>
                    <Results state act/>
                }
            }
        >
            <RepositoryView state act/>
        </Show>
    }
}

#[component]
fn SearchForm(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let search = state.search;
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        act.run(Action::Search(search.get_untracked()));
    };
    let is_busy = move || state.found.with(|found| *found == Fetched::Pending);
    let size_option = |billions: u64| {
        let parameters = text!(unit.billion_parameters, value = billions);
        let count = billions * 1_000_000_000;
        view! { <option value=count.to_string()>{text!(discover.up_to, parameters)}</option> }
    };
    let size = move || {
        search.with(|it| it.max_parameters.map(|count| count.to_string()).unwrap_or_default())
    };
    let licence = move || search.with(|it| it.licence.clone().unwrap_or_default());
    let set_size = move |event| {
        let count = event_target_value(&event).parse().ok();
        search.update(|search| search.max_parameters = count);
    };
    let set_licence = move |event| {
        let licence = Some(event_target_value(&event)).filter(|licence| !licence.is_empty());
        search.update(|search| search.licence = licence);
    };
    view! {
        <form class="discover-form" role="search" on:submit=submit>
            <div class="discover-line">
                <span class="search-field">
                    {Icon::Search.view()}
                    <input
                        type="search"
                        data-testid="discover-input"
                        aria-label=text!(discover.query)
                        aria-describedby="discover-note"
                        placeholder=text!(discover.query)
                        autocomplete="off"
                        enterkeyhint="search"
                        prop:value=move || search.with(|search| search.text.clone())
                        on:input=move |event| {
                            let text = event_target_value(&event);
                            search.update(|search| search.text = text);
                        }
                    />
                </span>
                <button type="submit" class="button primary" data-testid="discover-search" disabled=is_busy>
                    {text!(discover.search)}
                </button>
            </div>
            <div class="discover-filters">
                <select aria-label=text!(discover.size) data-testid="discover-size" prop:value=size on:change=set_size>
                    <option value="">{text!(discover.any_size)}</option>
                    {SIZES.map(size_option).collect_view()}
                </select>
                <select aria-label=text!(discover.licence) data-testid="discover-licence" prop:value=licence on:change=set_licence>
                    <option value="">{text!(discover.any_licence)}</option>
                    {LICENCES.map(|licence| view! { <option value=licence>{licence}</option> }).collect_view()}
                </select>
                <label class="check">
                    <input
                        type="checkbox"
                        data-testid="discover-fitting"
                        prop:checked=move || search.with(|search| search.only_fitting)
                        on:change=move |event| {
                            let only = event_target_checked(&event);
                            search.update(|search| search.only_fitting = only);
                        }
                    />
                    {text!(discover.only_fitting)}
                </label>
                <p id="discover-note" class="discover-note">
                    {text!(discover.privacy)}
                </p>
            </div>
        </form>
    }
}

/// The search results, or the recommended models before a search.
#[component]
fn Results(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    move || {
        match state.found.get() {
        Fetched::NotRequested => view! { <Catalogue state act/> }.into_any(),
        Fetched::Pending => view! { <Pending label=text!(discover.asking)/> }.into_any(),
        Fetched::Failed(error) => view! { <SearchFailed error state act/> }.into_any(),
        Fetched::Ready(found) if found.is_empty() => view! {
            <EmptyNotice title=text!(discover.nothing_found) text=text!(discover.nothing_found_text)>
                <ShowRecommended state/>
            </EmptyNotice>
        }
        .into_any(),
        Fetched::Ready(found) => view! { <FoundList found state act/> }.into_any(),
    }
    }
}

/// The button that leaves the search and shows the recommended models.
#[component]
fn ShowRecommended(state: LibraryState) -> impl IntoView {
    let leave = move |_| {
        state.found.set(Fetched::NotRequested);
        state.search.set(Search::default());
    };
    view! {
        <button type="button" class="button quiet link" data-testid="discover-leave" on:click=leave>
            {text!(discover.show_recommended)}
        </button>
    }
}

#[component]
fn SearchFailed(error: Error, state: LibraryState, act: Callback<Action>) -> impl IntoView {
    view! {
        <div class="library-nothing" data-testid="discover-failed">
            <h2>{text!(discover.search_failed)}</h2>
            <ErrorLine error=Signal::stored(Some(error))/>
            <p>{text!(library.works_offline)}</p>
            <div class="library-nothing-actions">
                <button
                    type="button"
                    class="button"
                    on:click=move |_| act.run(Action::Search(state.search.get_untracked()))
                >
                    {text!(button.try_again)}
                </button>
                <ShowRecommended state/>
            </div>
        </div>
    }
}

#[component]
fn FoundList(
    found: Vec<SearchResult>,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let count = text!(discover.repositories, count = found.len());
    let row = move |found: SearchResult| {
        let (owner, name) = owner_and_name(&found.repository);
        let (owner, name) = (owner.to_owned(), name.to_owned());
        let open = Action::Open(found.repository.clone());
        let facts = facts(&found);
        view! {
            <li>
                <button
                    type="button"
                    class="found"
                    data-testid="found-repository"
                    data-repository=found.repository
                    on:click=move |_| act.run(open.clone())
                >
                    <span class="found-name">
                        <strong><UntrustedName text=name/></strong>
                        {found.is_gated.then(|| view! { <span class="tag">{Icon::Lock.view()} {text!(discover.gated)}</span> })}
                    </span>
                    <span class="found-owner"><UntrustedName text=owner/></span>
                    <span class="found-facts"><UntrustedName text=format::facts(facts)/></span>
                </button>
            </li>
        }
    };
    view! {
        <div class="list-head">
            <h2>{count}</h2>
            <ShowRecommended state/>
        </div>
        <ul class="found-list">{found.into_iter().map(row).collect_view()}</ul>
    }
}

/// The recommended models. The list is part of the app and needs no network.
#[component]
fn Catalogue(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let list = move || {
        match state.catalogue.get() {
        Fetched::NotRequested | Fetched::Pending => {
            view! { <Pending label=text!(discover.opening_list)/> }.into_any()
        }
        Fetched::Failed(error) => {
            view! { <ErrorLine error=Signal::stored(Some(error))/> }.into_any()
        }
        Fetched::Ready(models) => view! {
            <ul class="model-cards">
                {models.into_iter().map(|model| view! { <RecommendedCard model state act/> }).collect_view()}
            </ul>
        }
        .into_any(),
    }
    };
    view! {
        <div class="list-head">
            <h2>{text!(discover.recommended)}</h2>
            <p>{text!(discover.recommended_text)}</p>
        </div>
        {list}
    }
}

#[component]
fn RecommendedCard(
    model: CatalogueModel,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let file = HubFile { repository: model.repository.clone(), file: model.file.clone() };
    let facts = vec![
        format::bytes(model.size_bytes),
        format::tokens(model.context_tokens),
        model.licence.clone(),
    ];
    let title_id = format!("offer-{}", model.id);
    let open = Action::Open(model.repository.clone());
    view! {
        <li>
            <article
                class="model-card offer"
                data-testid="recommended"
                data-name=model.id.clone()
                aria-labelledby=title_id.clone()
            >
                <div class="model-card-text">
                    <h3 id=title_id.clone()>
                        <span>{model.title.clone()}</span>
                        {model.is_hash_verified.then(|| view! {
                            <span class="verified" title=text!(discover.hash_compared_hint)>
                                {Icon::Verify.view()}
                                <span class="visually-hidden">{text!(discover.hash_compared)}</span>
                            </span>
                        })}
                    </h3>
                    <p class="good-at">{text::good_at(&model.id)}</p>
                    <div class="model-card-foot">
                        <FileFit file=file.clone() verdict=model.verdict state act/>
                        <Facts facts=Signal::stored(facts)/>
                        <button
                            type="button"
                            class="button quiet link"
                            title=text!(discover.other_files_hint)
                            on:click=move |_| act.run(open.clone())
                        >
                            {text!(discover.other_files)}
                        </button>
                    </div>
                </div>
                <FileControl file known=model.here state act/>
            </article>
        </li>
    }
}

fn facts(found: &SearchResult) -> Vec<String> {
    let updated = found.updated.as_deref().and_then(|updated| updated.get(..10));
    [
        found
            .parameters
            .map(|count| text!(discover.parameters, parameters = format::parameters(count))),
        found.licence.clone(),
        Some(text!(
            discover.monthly_downloads,
            count = found.downloads,
            number = format::large_count(found.downloads)
        )),
        Some(text!(discover.likes, count = found.likes, number = format::large_count(found.likes))),
        updated.map(|day| text!(discover.changed, day = day.to_owned())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The owner and the name of a repository.
pub(super) fn owner_and_name(repository: &str) -> (&str, &str) {
    repository.split_once('/').unwrap_or(("", repository))
}
