//! What stands in place of a conversation while there is no model: an offer to download one.

use leptos::prelude::*;
use lilims_ipc::{Download, DownloadState, Error, LibraryModel, Recommended};

use super::foreign::{Foreign, ForeignText};
use super::icon::mark;
use crate::format;

/// The offer. Nothing is fetched before its button is pressed.
#[component]
pub(crate) fn FirstModelOffer(
    /// The model that is offered, once the list is open.
    #[prop(into)]
    model: Signal<Option<Recommended>>,
    /// Its download, while that is under way.
    #[prop(into)]
    download: Signal<Option<Download>>,
    /// Whether the press is being carried out.
    #[prop(into)]
    is_busy: Signal<bool>,
    /// What went wrong with it.
    #[prop(into)]
    problem: Signal<Option<Error>>,
    /// The models on this device that could be used as they are.
    #[prop(into)]
    usable: Signal<Vec<LibraryModel>>,
    /// Called to download the model that is offered, or to try again.
    on_download: Callback<()>,
    /// Called with the short name of a model to use.
    on_use: Callback<String>,
    /// Called to show the other models.
    on_others: Callback<()>,
) -> impl IntoView {
    let is_here = Memo::new(move |_| usable.with(|usable| !usable.is_empty()));
    let under_way = Memo::new(move |_| download.get().filter(is_under_way));
    let failure = Memo::new(move |_| download.get().and_then(failure).or_else(|| problem.get()));
    let offer = move || {
        model.get().map(|model| {
            let size = format::size(model.size_bytes);
            let line = format!("{size} · {} · {}", model.licence, model.good_at);
            let label = move || match failure.with(Option::is_some) {
                true => format!("Try again ({size})"),
                false => format!("Download {size}"),
            };
            view! {
                <h2 data-testid="first-model-name"><Foreign text=model.title/></h2>
                <p class="first-model-line"><Foreign text=line/></p>
                <Show
                    when=move || under_way.with(Option::is_none)
                    fallback=move || view! { <Progress under_way/> }
                >
                    <button
                        type="button"
                        class="button"
                        class:primary=move || !is_here.get()
                        data-testid="first-model-download"
                        disabled=is_busy
                        on:click=move |_| on_download.run(())
                    >
                        {label.clone()}
                    </button>
                </Show>
            }
        })
    };
    view! {
        <section class="empty first-model" data-testid="first-model" aria-labelledby="first-model-title">
            {mark()}
            <h1 id="first-model-title">"Lilims needs a model"</h1>
            <p>"It runs on this device; what you write stays here. There is none yet that is ready."</p>
            <Show when=move || is_here.get()>
                <ul class="first-model-here" aria-label="Models on this device">
                    <For each=move || usable.get() key=|model| model.name.clone() let:model>
                        {
                            let name = model.name.clone();
                            view! {
                                <li>
                                    <Foreign text=model.title.clone()/>
                                    <button
                                        type="button"
                                        class="button primary"
                                        data-testid="first-model-use"
                                        aria-label=format!("Use {}", format::visible_name(&model.title))
                                        on:click=move |_| on_use.run(name.clone())
                                    >
                                        "Use"
                                    </button>
                                </li>
                            }
                        }
                    </For>
                </ul>
            </Show>
            <div class="first-model-offer">{offer}</div>
            <Show when=move || failure.with(Option::is_some)>
                <p class="first-model-error" role="alert" data-testid="first-model-error">
                    <ForeignText text=Signal::derive(move || failure.get().map(|it| it.message).unwrap_or_default())/>
                </p>
            </Show>
            <button type="button" class="button quiet link" data-testid="first-model-others" on:click=move |_| on_others.run(())>
                "Other models and files"
            </button>
        </section>
    }
}

/// How far the download is.
#[component]
fn Progress(under_way: Memo<Option<Download>>) -> impl IntoView {
    let percent = move || {
        under_way.with(|it| {
            let (done, total) = it.as_ref().map_or((0, 1), |it| (it.done_bytes, it.total_bytes));
            (u128::from(done) * 100 / u128::from(total.max(1))).min(100)
        })
    };
    let line = move || under_way.with(|it| it.as_ref().map(format::download_progress));
    view! {
        <div
            class="progress"
            role="progressbar"
            data-testid="first-model-progress"
            aria-label="Download of the model"
            aria-valuemin="0"
            aria-valuemax="100"
            aria-valuenow=move || percent().to_string()
        >
            <i style=("--share", move || format!("{}%", percent()))></i>
        </div>
        <p class="first-model-line">{line}</p>
    }
}

fn is_under_way(download: &Download) -> bool {
    !matches!(download.state, DownloadState::Failed { .. } | DownloadState::Done { .. })
}

fn failure(download: Download) -> Option<Error> {
    match download.state {
        DownloadState::Failed { error } => Some(error),
        _ => None,
    }
}
