//! Models to download: what Lilims recommends, and what a search on the hub finds.

use leptos::prelude::*;
use lilims_ipc::{Error, Found, Recommended, Search};

use super::file_offer::{FileControl, FileFit};
use super::parts::{ErrorLine, Facts, Nothing, Pending};
use super::repository_view::RepositoryView;
use crate::components::icon::Icon;
use crate::format;
use crate::state::{Action, Fetched, HubFile, LibraryState};

/// The sizes to choose from: what is shown, and the most parameters.
const SIZES: [(&str, u64); 5] = [
    ("Up to 1B", 1_000_000_000),
    ("Up to 4B", 4_000_000_000),
    ("Up to 9B", 9_000_000_000),
    ("Up to 15B", 15_000_000_000),
    ("Up to 35B", 35_000_000_000),
];

/// The licences to choose from, as the hub names them.
const LICENCES: [&str; 6] = ["apache-2.0", "mit", "llama3.2", "gemma", "cc-by-4.0", "cc-by-nc-4.0"];

/// The tab *Discover*.
#[component]
pub(super) fn Discover(
    /// The state of the library.
    state: LibraryState,
    /// Called with what shall be done.
    act: Callback<Action>,
    /// Called with text for the clipboard.
    on_copy: Callback<String>,
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
            <RepositoryView state act on_copy/>
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
    let is_busy = move || state.found.with(|found| *found == Fetched::OnItsWay);
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
                        aria-label="Words of the model’s name"
                        aria-describedby="discover-note"
                        placeholder="Words of a model’s name"
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
                    "Search"
                </button>
            </div>
            <div class="discover-filters">
                <select aria-label="Size" data-testid="discover-size" prop:value=size on:change=set_size>
                    <option value="">"Any size"</option>
                    {SIZES.map(|(label, count)| view! { <option value=count.to_string()>{label}</option> }).collect_view()}
                </select>
                <select aria-label="Licence" data-testid="discover-licence" prop:value=licence on:change=set_licence>
                    <option value="">"Any licence"</option>
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
                    "Only what fits"
                </label>
                <p id="discover-note" class="discover-note">
                    "Searching asks huggingface.co for these words. Nothing else leaves this device."
                </p>
            </div>
        </form>
    }
}

/// What was found, or what is recommended before anything was searched.
#[component]
fn Results(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    move || match state.found.get() {
        Fetched::NotAsked => view! { <Catalogue state act/> }.into_any(),
        Fetched::OnItsWay => view! { <Pending label="Asking huggingface.co…"/> }.into_any(),
        Fetched::Failed(error) => view! { <Offline error state act/> }.into_any(),
        Fetched::Here(found) if found.is_empty() => view! {
            <Nothing title="Nothing found" text="Try fewer words, or another size or licence.">
                <Leave state/>
            </Nothing>
        }
        .into_any(),
        Fetched::Here(found) => view! { <FoundList found state act/> }.into_any(),
    }
}

/// Shows what is recommended again.
#[component]
fn Leave(state: LibraryState) -> impl IntoView {
    let leave = move |_| {
        state.found.set(Fetched::NotAsked);
        state.search.set(Search::default());
    };
    view! {
        <button type="button" class="button quiet link" data-testid="discover-leave" on:click=leave>
            "Show recommended models"
        </button>
    }
}

#[component]
fn Offline(error: Error, state: LibraryState, act: Callback<Action>) -> impl IntoView {
    view! {
        <div class="library-nothing" data-testid="discover-failed">
            <h2>"The search did not work"</h2>
            <ErrorLine error=Signal::stored(Some(error))/>
            <p>"Models on this device work without it."</p>
            <div class="library-nothing-actions">
                <button
                    type="button"
                    class="button"
                    on:click=move |_| act.run(Action::Search(state.search.get_untracked()))
                >
                    "Try again"
                </button>
                <Leave state/>
            </div>
        </div>
    }
}

#[component]
fn FoundList(found: Vec<Found>, state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let count = match found.len() {
        1 => "1 repository".to_owned(),
        count => format!("{count} repositories"),
    };
    let row = move |found: Found| {
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
                        <strong>{name}</strong>
                        {found.is_gated.then(|| view! { <span class="tag">{Icon::Lock.view()}"Gated"</span> })}
                    </span>
                    <span class="found-owner">{owner}</span>
                    <span class="found-facts">{facts.join(" · ")}</span>
                </button>
            </li>
        }
    };
    view! {
        <div class="list-head">
            <h2>{count}</h2>
            <Leave state/>
        </div>
        <ul class="found-list">{found.into_iter().map(row).collect_view()}</ul>
    }
}

/// The models that Lilims recommends, which asks nobody.
#[component]
fn Catalogue(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let list = move || match state.catalogue.get() {
        Fetched::NotAsked | Fetched::OnItsWay => {
            view! { <Pending label="Opening the list…"/> }.into_any()
        }
        Fetched::Failed(error) => {
            view! { <ErrorLine error=Signal::stored(Some(error))/> }.into_any()
        }
        Fetched::Here(models) => view! {
            <ul class="model-cards">
                {models.into_iter().map(|model| view! { <Offer model state act/> }).collect_view()}
            </ul>
        }
        .into_any(),
    };
    view! {
        <div class="list-head">
            <h2>"Recommended"</h2>
            <p>"Comes with the app; asks nobody."</p>
        </div>
        {list}
    }
}

#[component]
fn Offer(model: Recommended, state: LibraryState, act: Callback<Action>) -> impl IntoView {
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
                            <span class="verified" title="Its hash was compared with the repository’s">
                                {Icon::Verify.view()}
                                <span class="visually-hidden">"Hash compared"</span>
                            </span>
                        })}
                    </h3>
                    <p class="good-at">{model.good_at.clone()}</p>
                    <div class="model-card-foot">
                        <FileFit file=file.clone() verdict=model.verdict state act/>
                        <Facts facts=Signal::stored(facts)/>
                        <button
                            type="button"
                            class="button quiet link"
                            title="Asks huggingface.co for the repository"
                            on:click=move |_| act.run(open.clone())
                        >
                            "Other files"
                        </button>
                    </div>
                </div>
                <FileControl file known=model.here state act/>
            </article>
        </li>
    }
}

fn facts(found: &Found) -> Vec<String> {
    let updated = found.updated.as_deref().and_then(|updated| updated.get(..10));
    [
        found.parameters.map(|count| format!("{} parameters", format::parameters(count))),
        found.licence.clone(),
        Some(format!("{} downloads a month", format::large_count(found.downloads))),
        Some(likes(found.likes)),
        updated.map(|day| format!("changed {day}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn likes(count: u64) -> String {
    if count == 1 { "1 like".into() } else { format!("{} likes", format::large_count(count)) }
}

/// The two parts of a repository's name.
pub(super) fn owner_and_name(repository: &str) -> (&str, &str) {
    repository.split_once('/').unwrap_or(("", repository))
}
