//! The controls of a file of the hub: download it, follow its download, use its model.

use leptos::prelude::*;
use lilims_ipc::{Download, DownloadState, Fit, Library, Verdict};

use super::fit_badge::{FitBadge, share};
use super::parts::{ActionResult, UseButton};
use crate::components::icon::Icon;
use crate::format;
use crate::state::{
    Action, Concern, Fetched, HubFile, LibraryState, Tab, file_name, local_model, open_download,
};
use crate::text::text;

/// The fit badge of a file. Pressing it reads the file's header on the hub.
#[component]
pub(super) fn FileFit(
    /// The file.
    file: HubFile,
    /// Whether it fits, judged by its size alone.
    verdict: Verdict,
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let id = format!("file-{}-{}", file.repository, file.file);
    let read = Action::ReadHeader(file.clone());
    let own = read.clone();
    let fit: Memo<Option<Fit>> =
        Memo::new(move |_| state.fits.with(|fits| fits.get(&file).cloned()));
    let is_reading = Memo::new(move |_| state.busy.with(|busy| busy.contains(&own)));
    let verdict =
        Memo::new(move |_| fit.with(|fit| fit.as_ref().map_or(verdict, |fit| fit.verdict)));
    let on_read = Some(Callback::new(move |()| act.run(read.clone())));
    view! { <FitBadge id verdict fit on_read is_reading/> }
}

/// A button to download a file, the progress of its download, or a button to use its model.
#[component]
pub(super) fn FileControl(
    /// The file.
    file: HubFile,
    /// The short name of its model on this device when the file was listed.
    known: Option<String>,
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let concern = Concern::File(file.clone());
    let name = file_name(&file.file).to_owned();
    let local = {
        let file = file.clone();
        Memo::new(move |_| model_name(state, known.as_deref(), &file))
    };
    let download: Memo<Option<Download>> = {
        let file = file.clone();
        Memo::new(move |_| state.downloads.with(|downloads| open_download(downloads, &file)))
    };
    let plan = Action::Plan(file);
    let own = plan.clone();
    let is_planning = Memo::new(move |_| state.busy.with(|busy| busy.contains(&own)));
    let stage = Memo::new(move |_| match (local.get(), download.with(Option::is_some)) {
        (Some(name), _) => Stage::Downloaded(name),
        (None, true) => Stage::Downloading,
        (None, false) => Stage::Offered,
    });
    let control = move || match stage.get() {
        Stage::Downloaded(name) => view! { <UseButton test_id="file-use" name act/> }.into_any(),
        Stage::Downloading => view! { <Progress download state/> }.into_any(),
        Stage::Offered => {
            let label = text!(download.start_named, name = format::visible_name(&name));
            let plan = plan.clone();
            view! {
                <button
                    type="button"
                    class="button"
                    data-testid="download-start"
                    aria-label=label
                    disabled=is_planning
                    on:click=move |_| act.run(plan.clone())
                >
                    {Icon::Download.view()}
                    {text!(button.download)}
                </button>
            }
            .into_any()
        }
    };
    view! {
        <div class="file-control">{control}</div>
        <ActionResult state concern/>
    }
}

#[derive(Clone, PartialEq)]
enum Stage {
    Downloaded(String),
    Downloading,
    Offered,
}

/// The progress of a download; pressing it shows all downloads.
#[component]
fn Progress(download: Memo<Option<Download>>, state: LibraryState) -> impl IntoView {
    let label = move || download.with(|it| it.as_ref().map(stage_name).unwrap_or_default());
    let done = move || {
        download
            .with(|it| it.as_ref().map_or(String::new(), |it| share(it.done_bytes, it.total_bytes)))
    };
    view! {
        <button
            type="button"
            class="file-progress"
            title=text!(download.show_downloads)
            on:click=move |_| state.tab.set(Tab::Downloads)
        >
            <span>{label}</span>
            <span class="progress" aria-hidden="true"><i style=("--share", done)></i></span>
        </button>
    }
}

fn stage_name(download: &Download) -> String {
    let percent = || {
        let done = if download.total_bytes == 0 { 0 } else { download.done_bytes };
        format::percent_text(format::percent(done, download.total_bytes))
    };
    match &download.state {
        DownloadState::Queued => text!(download.queued_short).into(),
        DownloadState::Running => percent(),
        DownloadState::Retrying { .. } => text!(download.retrying_short).into(),
        DownloadState::Checking => text!(download.checking_short).into(),
        DownloadState::Paused => text!(download.paused_at, percent = percent()),
        DownloadState::Failed { .. } => text!(download.failed_short).into(),
        DownloadState::Done { .. } => text!(download.done_short).into(),
    }
}

fn model_name(state: LibraryState, known: Option<&str>, file: &HubFile) -> Option<String> {
    state.library.with(|library| match library {
        Fetched::Ready(library) => {
            state.downloads.with(|downloads| local_model(known, file, library, downloads))
        }
        _ => local_model(known, file, &Library::default(), &[]),
    })
}
