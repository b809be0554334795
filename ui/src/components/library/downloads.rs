//! The downloads and the conversion, and the limits of downloads.

use leptos::prelude::*;
use lilims_ipc::{Download, DownloadState, Error, Limits};

use super::access_token::AccessToken;
use super::conversion_row::ConversionRow;
use super::fit_badge::share;
use super::parts::{ActionResult, EmptyNotice, ErrorLine, UseButton, current};
use crate::components::icon::Icon;
use crate::components::tooltip::title_if_truncated;
use crate::components::untrusted::{UntrustedName, UntrustedText};
use crate::format;
use crate::state::{Action, Concern, LibraryState, Tab, file_name};
use crate::text::{self, text};

/// How many downloads may run at once.
const AT_ONCE: [u32; 4] = [1, 2, 3, 4];

/// Speed limits to choose from, in bytes per second.
const SPEEDS: [u64; 6] = [500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 25_000_000];

/// The tab *Downloads*.
#[component]
pub(super) fn Downloads(
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let downloads = Signal::from(state.downloads);
    let is_empty =
        Memo::new(move |_| downloads.with(Vec::is_empty) && state.conversion.with(Option::is_none));
    view! {
        <Show when=move || is_empty.get()>
            <EmptyNotice title=text!(download.none) text=text!(download.none_text)>
                <button type="button" class="button primary" on:click=move |_| state.tab.set(Tab::Discover)>
                    {text!(library.discover_models)}
                </button>
            </EmptyNotice>
        </Show>
        <ul class="downloads" aria-label=text!(download.list)>
            <Show when=move || state.conversion.with(Option::is_some)>
                <ConversionRow state act/>
            </Show>
            <For each=move || downloads.get() key=|download| download.id let:download>
                <Row download downloads state act/>
            </For>
        </ul>
        <LimitsForm state act/>
        <AccessToken state act/>
    }
}

#[component]
fn Row(
    download: Download,
    downloads: Signal<Vec<Download>>,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let id = download.id;
    let name = file_name(&download.file).to_owned();
    let repository = download.repository.clone();
    let download = current(downloads, download, |download| download.id);
    let stage = Memo::new(move |_| download.with(|it| it.state.clone()));
    let name_of_stage = move || stage.with(state_name);
    let done = move || download.with(|it| share(it.done_bytes, it.total_bytes));
    let line = Signal::derive(move || download.with(line));
    let error = Memo::new(move |_| stage.with(failure));
    let percent = move || download.with(|it| format::percent(it.done_bytes, it.total_bytes));
    let label = text!(download.progress_of, name = format::visible_name(&name));
    view! {
        <li class="download" data-testid="download-row" data-state=name_of_stage>
            <div class="download-text">
                <strong on:mouseenter=|event| title_if_truncated(&event)><UntrustedName text=name.clone()/></strong>
                <span><UntrustedName text=repository/></span>
            </div>
            <Buttons id name stage state act/>
            <div
                class="progress"
                role="progressbar"
                aria-label=label
                aria-valuemin="0"
                aria-valuemax="100"
                aria-valuenow=move || percent().to_string()
            >
                <i style=("--share", done)></i>
            </div>
            <p class="download-line"><UntrustedText text=line/></p>
            <Show when=move || error.with(Option::is_some)>
                <ErrorLine error/>
            </Show>
            <ActionResult state concern=Concern::Download(id)/>
        </li>
    }
}

/// The buttons for the current state of a download.
#[component]
fn Buttons(
    id: i64,
    name: String,
    stage: Memo<DownloadState>,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Download(id)));
    let name = format::visible_name(&name);
    let small = move |test_id, verb: &'static str, label: String, icon: Icon, action: Action| {
        view! {
            <button
                type="button"
                class="button quiet small"
                data-testid=test_id
                aria-label=label
                title=verb
                disabled=is_busy
                on:click=move |_| act.run(action.clone())
            >
                {icon.view()}
            </button>
        }
    };
    // Only what the buttons depend on: a changing rate must not take the focus from them.
    let shape = Memo::new(move |_| stage.with(shape));
    let buttons = move || {
        let pause = || {
            let label = text!(download.pause_named, name = name.clone());
            small("download-pause", text!(button.pause), label, Icon::Pause, Action::Pause(id))
        };
        let resume = || {
            let label = text!(download.resume_named, name = name.clone());
            small("download-resume", text!(button.resume), label, Icon::Resume, Action::Resume(id))
        };
        let try_again = || {
            let label = text!(download.try_again_named, name = name.clone());
            let verb = text!(button.try_again);
            small("download-resume", verb, label, Icon::Resume, Action::Resume(id))
        };
        let cancel = || {
            let label = text!(download.cancel_named, name = name.clone());
            small("download-cancel", text!(button.cancel), label, Icon::Close, Action::Cancel(id))
        };
        let clear = || {
            let label = text!(download.clear_named, name = name.clone());
            small("download-clear", text!(download.clear), label, Icon::Close, Action::Cancel(id))
        };
        match shape.get() {
            Shape::Active => (pause(), cancel()).into_any(),
            Shape::Checking => ().into_any(),
            Shape::Paused => (resume(), cancel()).into_any(),
            Shape::Failed => (try_again(), cancel()).into_any(),
            Shape::Done(model) => view! {
                <UseButton test_id="download-use" name=model act/>
                {clear()}
            }
            .into_any(),
        }
    };
    view! { <div class="download-buttons">{buttons}</div> }
}

#[derive(Clone, PartialEq)]
enum Shape {
    Active,
    Checking,
    Paused,
    Failed,
    Done(String),
}

fn shape(state: &DownloadState) -> Shape {
    match state {
        DownloadState::Queued | DownloadState::Running | DownloadState::Retrying { .. } => {
            Shape::Active
        }
        DownloadState::Checking => Shape::Checking,
        DownloadState::Paused => Shape::Paused,
        DownloadState::Failed { .. } => Shape::Failed,
        DownloadState::Done { name } => Shape::Done(name.clone()),
    }
}

/// How many downloads run at once, and their speed limit.
#[component]
fn LimitsForm(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let limits = Memo::new(move |_| {
        state
            .library
            .with(|library| library.ready().map(|library| library.limits).unwrap_or_default())
    });
    let set_at_once = move |event| {
        if let Ok(at_once) = event_target_value(&event).parse() {
            act.run(Action::SetLimits(Limits { at_once, ..limits.get_untracked() }));
        }
    };
    let set_speed = move |event| {
        let bytes_per_second = event_target_value(&event).parse().ok();
        act.run(Action::SetLimits(Limits { bytes_per_second, ..limits.get_untracked() }));
    };
    let speeds = Memo::new(move |_| speeds(limits.get().bytes_per_second));
    let speed_option = move |speed: u64| {
        let is_selected = move || limits.get().bytes_per_second == Some(speed);
        view! {
            <option value=speed.to_string() prop:selected=is_selected>{format::rate(speed as f64)}</option>
        }
    };
    let at_once_option = move |count: u32| {
        let is_selected = move || limits.get().at_once == count;
        view! { <option value=count.to_string() prop:selected=is_selected>{count.to_string()}</option> }
    };
    view! {
        <section class="bounds" aria-label=text!(download.limits)>
            <label>
                {text!(download.at_once)}
                <select data-testid="limits-at-once" on:change=set_at_once>
                    {AT_ONCE.map(at_once_option).collect_view()}
                </select>
            </label>
            <label>
                {text!(download.speed_limit)}
                <select data-testid="limits-speed" on:change=set_speed>
                    <option value="" prop:selected=move || limits.get().bytes_per_second.is_none()>{text!(download.no_limit)}</option>
                    {move || speeds.get().into_iter().map(speed_option).collect_view()}
                </select>
            </label>
            <p>{text!(download.speed_limit_text)}</p>
            <ActionResult state concern=Concern::Limits/>
        </section>
    }
}

/// The speeds to choose from, including the one that is set.
fn speeds(set: Option<u64>) -> Vec<u64> {
    let mut speeds: Vec<u64> = SPEEDS.into_iter().chain(set).collect();
    speeds.sort_unstable();
    speeds.dedup();
    speeds
}

/// The state and figures of a download in one line.
fn line(download: &Download) -> String {
    let progress = format::download_progress(download);
    let mut facts = match &download.state {
        DownloadState::Queued => vec![text!(download.queued).into(), progress],
        DownloadState::Running => vec![progress],
        DownloadState::Retrying { error, in_seconds } => {
            let why = text::retry_reason(error);
            vec![text!(download.retrying, why, seconds = *in_seconds), progress]
        }
        DownloadState::Checking => vec![text!(download.checking).into(), progress],
        DownloadState::Paused => vec![text!(download.paused).into(), progress],
        DownloadState::Failed { .. } => vec![text!(download.failed).into(), progress],
        DownloadState::Done { .. } => {
            vec![text!(download.in_library).into(), format::bytes(download.total_bytes)]
        }
    };
    if download.state == DownloadState::Running {
        facts.extend(download.bytes_per_second.map(format::rate));
        facts.extend(download.seconds_left.map(format::time_left));
    }
    format::facts(facts)
}

fn failure(state: &DownloadState) -> Option<Error> {
    match state {
        DownloadState::Failed { error } => Some(error.clone()),
        _ => None,
    }
}

/// The stable name of the attribute `data-state`.
fn state_name(state: &DownloadState) -> &'static str {
    match state {
        DownloadState::Queued => "queued",
        DownloadState::Running => "running",
        DownloadState::Retrying { .. } => "retrying",
        DownloadState::Checking => "checking",
        DownloadState::Paused => "paused",
        DownloadState::Failed { .. } => "failed",
        DownloadState::Done { .. } => "done",
    }
}

#[cfg(test)]
mod tests {
    use lilims_ipc::Problem;

    use super::*;

    #[test]
    fn formats_the_state_of_a_download() {
        let mut download = Download {
            id: 1,
            repository: "a/b".into(),
            file: "c.gguf".into(),
            state: DownloadState::Running,
            done_bytes: 1_200_000_000,
            total_bytes: 4_100_000_000,
            bytes_per_second: Some(12_400_000.0),
            seconds_left: Some(234),
        };
        assert_eq!(line(&download), "1.2 GB of 4.1 GB · 12.4 MB/s · 4 min left");
        let error = Problem::HubStatus { host: "hub.example".into(), status: 503 }.into();
        download.state = DownloadState::Retrying { error, in_seconds: 8 };
        assert_eq!(
            line(&download),
            "hub.example answered with error 503. Trying again in 8 s · 1.2 GB of 4.1 GB"
        );
        download.state = DownloadState::Done { name: "c".into() };
        assert_eq!(line(&download), "In the library · 4.1 GB");
    }

    #[test]
    fn offers_the_speed_that_is_set() {
        assert_eq!(speeds(None), SPEEDS);
        assert_eq!(speeds(Some(1_000_000)), SPEEDS);
        assert_eq!(speeds(Some(1))[0], 1);
    }
}
