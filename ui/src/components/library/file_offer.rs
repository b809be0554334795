//! What can be done with a file of the hub: download it, see how far it is, use it.

use leptos::prelude::*;
use lilims_ipc::{Download, DownloadState, Fit, Library, Verdict};

use super::fit_badge::{FitBadge, share};
use super::parts::{Aftermath, UseButton};
use crate::components::icon::Icon;
use crate::state::{
    Action, Concern, Fetched, HubFile, LibraryState, Tab, here, last_part, under_way,
};

/// The badge of a file, whose header is read when it is pressed.
#[component]
pub(super) fn FileFit(
    /// The file.
    file: HubFile,
    /// Whether its size alone lets it fit.
    verdict: Verdict,
    /// The state of the library.
    state: LibraryState,
    /// Called with what shall be done.
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

/// The control of a file: its download, the progress of that, or its use.
#[component]
pub(super) fn FileControl(
    /// The file.
    file: HubFile,
    /// The short name of its model, from when the file was listed.
    known: Option<String>,
    /// The state of the library.
    state: LibraryState,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let concern = Concern::File(file.clone());
    let name = last_part(&file.file).to_owned();
    let here = {
        let file = file.clone();
        Memo::new(move |_| model_name(state, known.as_deref(), &file))
    };
    let download: Memo<Option<Download>> = {
        let file = file.clone();
        Memo::new(move |_| state.downloads.with(|downloads| under_way(downloads, &file)))
    };
    let plan = Action::Plan(file);
    let own = plan.clone();
    let is_planning = Memo::new(move |_| state.busy.with(|busy| busy.contains(&own)));
    let stage = Memo::new(move |_| match (here.get(), download.with(Option::is_some)) {
        (Some(name), _) => Stage::Here(name),
        (None, true) => Stage::UnderWay,
        (None, false) => Stage::Offered,
    });
    let control = move || match stage.get() {
        Stage::Here(name) => view! { <UseButton test_id="file-use" name act/> }.into_any(),
        Stage::UnderWay => view! { <Progress download state/> }.into_any(),
        Stage::Offered => {
            let (label, plan) = (format!("Download {name}"), plan.clone());
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
                    "Download"
                </button>
            }
            .into_any()
        }
    };
    view! {
        <div class="file-control">{control}</div>
        <Aftermath state concern/>
    }
}

#[derive(Clone, PartialEq)]
enum Stage {
    Here(String),
    UnderWay,
    Offered,
}

/// How far a download is; pressing it shows all downloads.
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
            title="Show downloads"
            on:click=move |_| state.tab.set(Tab::Downloads)
        >
            <span>{label}</span>
            <span class="progress" aria-hidden="true"><i style=("--share", done)></i></span>
        </button>
    }
}

fn stage_name(download: &Download) -> String {
    let percent = match download.total_bytes {
        0 => 0,
        total => percent(download.done_bytes, total),
    };
    match &download.state {
        DownloadState::Queued => "Queued".into(),
        DownloadState::Running => format!("{percent}%"),
        DownloadState::Retrying { .. } => "Trying again".into(),
        DownloadState::Checking => "Checking".into(),
        DownloadState::Paused => format!("Paused at {percent}%"),
        DownloadState::Failed { .. } => "Failed".into(),
        DownloadState::Done { .. } => "Done".into(),
    }
}

/// The whole per cent, rounded down, of sizes whose hundredfold may not fit 64 bits.
fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent.min(100)).unwrap_or(100)
}

fn model_name(state: LibraryState, known: Option<&str>, file: &HubFile) -> Option<String> {
    state.library.with(|library| match library {
        Fetched::Here(library) => {
            state.downloads.with(|downloads| here(known, file, library, downloads))
        }
        _ => here(known, file, &Library::default(), &[]),
    })
}
