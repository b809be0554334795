//! The offer to download a first model, shown in place of a conversation while there is none.

use leptos::prelude::*;
use lilims_ipc::{CatalogueModel, Download, DownloadState, Error, LibraryModel};

use super::icon::mark;
use super::untrusted::{UntrustedName, UntrustedText};
use crate::format;
use crate::text::{self, text};

/// The offer. Nothing is downloaded before its button is pressed.
#[component]
pub(crate) fn FirstModelOffer(
    /// The model that is offered, once the catalogue is read.
    #[prop(into)]
    model: Signal<Option<CatalogueModel>>,
    /// Its download, if there is one.
    #[prop(into)]
    download: Signal<Option<Download>>,
    /// Whether an action on it is running.
    #[prop(into)]
    is_busy: Signal<bool>,
    /// The error of its last action.
    #[prop(into)]
    problem: Signal<Option<Error>>,
    /// The models on this device that can be used.
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
    let in_progress = Memo::new(move |_| download.get().filter(is_in_progress));
    let failure = Memo::new(move |_| download.get().and_then(failure).or_else(|| problem.get()));
    let offer = move || {
        model.get().map(|model| {
            let size = format::size(model.size_bytes);
            let line =
                format::facts([size.clone(), model.licence, text::good_at(&model.id).to_owned()]);
            let label = move || match failure.with(Option::is_some) {
                true => text!(first_model.try_again, size = size.clone()),
                false => text!(first_model.download, size = size.clone()),
            };
            view! {
                <h2 data-testid="first-model-name"><UntrustedName text=model.title/></h2>
                <p class="first-model-line"><UntrustedName text=line/></p>
                <Show
                    when=move || in_progress.with(Option::is_none)
                    fallback=move || view! { <Progress in_progress/> }
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
            <h1 id="first-model-title">{text!(first_model.title)}</h1>
            <p>{text!(first_model.text)}</p>
            <Show when=move || is_here.get()>
                <ul class="first-model-here" aria-label=text!(first_model.here)>
                    <For each=move || usable.get() key=|model| model.name.clone() let:model>
                        {
                            let name = model.name.clone();
                            view! {
                                <li>
                                    <UntrustedName text=model.title.clone()/>
                                    <button
                                        type="button"
                                        class="button primary"
                                        data-testid="first-model-use"
                                        aria-label=text!(button.use_model_named, name = format::visible_name(&model.title))
                                        on:click=move |_| on_use.run(name.clone())
                                    >
                                        {text!(button.use_model)}
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
                    <UntrustedText text=Signal::derive(move || failure.with(|it| it.as_ref().map(text::error).unwrap_or_default()))/>
                </p>
            </Show>
            <button type="button" class="button quiet link" data-testid="first-model-others" on:click=move |_| on_others.run(())>
                {text!(first_model.others)}
            </button>
        </section>
    }
}

/// The progress of the download.
#[component]
fn Progress(in_progress: Memo<Option<Download>>) -> impl IntoView {
    let percent = move || {
        in_progress.with(|it| {
            let (done, total) = it.as_ref().map_or((0, 1), |it| (it.done_bytes, it.total_bytes));
            format::percent(done, total)
        })
    };
    let line = move || in_progress.with(|it| it.as_ref().map(format::download_progress));
    view! {
        <div
            class="progress"
            role="progressbar"
            data-testid="first-model-progress"
            aria-label=text!(first_model.progress)
            aria-valuemin="0"
            aria-valuemax="100"
            aria-valuenow=move || percent().to_string()
        >
            <i style=("--share", move || format!("{}%", percent()))></i>
        </div>
        <p class="first-model-line">{line}</p>
    }
}

fn is_in_progress(download: &Download) -> bool {
    !matches!(download.state, DownloadState::Failed { .. } | DownloadState::Done { .. })
}

fn failure(download: Download) -> Option<Error> {
    match download.state {
        DownloadState::Failed { error } => Some(error),
        _ => None,
    }
}
