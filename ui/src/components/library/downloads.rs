//! What is being downloaded, and how downloads are bounded.

use leptos::prelude::*;
use lilims_ipc::{Download, DownloadState, Error, Limits};

use super::conversion_row::ConversionRow;
use super::fit_badge::share;
use super::parts::{Aftermath, ErrorLine, Nothing, UseButton, current};
use crate::components::icon::Icon;
use crate::format;
use crate::state::{Action, Concern, LibraryState, Tab, last_part};

/// How many downloads may run at once.
const AT_ONCE: [u32; 4] = [1, 2, 3, 4];

/// Speed limits to choose from, in bytes per second.
const SPEEDS: [u64; 6] = [500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 25_000_000];

/// The tab *Downloads*.
#[component]
pub(super) fn Downloads(
    /// The state of the library.
    state: LibraryState,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let downloads = Signal::from(state.downloads);
    let is_empty =
        Memo::new(move |_| downloads.with(Vec::is_empty) && state.conversion.with(Option::is_none));
    view! {
        <Show when=move || is_empty.get()>
            <Nothing
                title="No downloads"
                text="A download can be paused and goes on from where it was, even after a restart."
            >
                <button type="button" class="button primary" on:click=move |_| state.tab.set(Tab::Discover)>
                    "Discover models"
                </button>
            </Nothing>
        </Show>
        <ul class="downloads" aria-label="Downloads">
            <Show when=move || state.conversion.with(Option::is_some)>
                <ConversionRow state act/>
            </Show>
            <For each=move || downloads.get() key=|download| download.id let:download>
                <Row download downloads state act/>
            </For>
        </ul>
        <Bounds state act/>
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
    let name = last_part(&download.file).to_owned();
    let repository = download.repository.clone();
    let download = current(downloads, download, |download| download.id);
    let stage = Memo::new(move |_| download.with(|it| it.state.clone()));
    let name_of_stage = move || stage.with(state_name);
    let done = move || download.with(|it| share(it.done_bytes, it.total_bytes));
    let line = move || download.with(line);
    let error = Memo::new(move |_| stage.with(failure));
    let percent = move || {
        download.with(|it| it.done_bytes.saturating_mul(100) / it.total_bytes.max(1)).min(100)
    };
    let label = format!("Download of {name}");
    view! {
        <li class="download" data-testid="download-row" data-state=name_of_stage>
            <div class="download-text">
                <strong title=name.clone()>{name.clone()}</strong>
                <span>{repository}</span>
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
            <p class="download-line">{line}</p>
            <Show when=move || error.with(Option::is_some)>
                <ErrorLine error/>
            </Show>
            <Aftermath state concern=Concern::Download(id)/>
        </li>
    }
}

/// What can be done with a download as it stands.
#[component]
fn Buttons(
    id: i64,
    name: String,
    stage: Memo<DownloadState>,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Download(id)));
    let small = move |test_id: &'static str, verb: &'static str, icon: Icon, action: Action| {
        view! {
            <button
                type="button"
                class="button quiet small"
                data-testid=test_id
                aria-label=format!("{verb} {name}")
                title=verb
                disabled=is_busy
                on:click=move |_| act.run(action.clone())
            >
                {icon.view()}
            </button>
        }
    };
    // Only what the buttons depend on: a rate that changes must not take the focus off them.
    let shape = Memo::new(move |_| stage.with(shape));
    let buttons = move || {
        let pause = || small("download-pause", "Pause", Icon::Pause, Action::Pause(id));
        let resume = |verb| small("download-resume", verb, Icon::Resume, Action::Resume(id));
        let cancel = || small("download-cancel", "Cancel", Icon::Close, Action::Cancel(id));
        let clear = || small("download-clear", "Clear", Icon::Close, Action::Clear(id));
        match shape.get() {
            Shape::Moving => (pause(), cancel()).into_any(),
            Shape::Checking => ().into_any(),
            Shape::Paused => (resume("Resume"), cancel()).into_any(),
            Shape::Failed => (resume("Try again"), cancel(), clear()).into_any(),
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
    Moving,
    Checking,
    Paused,
    Failed,
    Done(String),
}

fn shape(state: &DownloadState) -> Shape {
    match state {
        DownloadState::Queued | DownloadState::Running | DownloadState::Retrying { .. } => {
            Shape::Moving
        }
        DownloadState::Checking => Shape::Checking,
        DownloadState::Paused => Shape::Paused,
        DownloadState::Failed { .. } => Shape::Failed,
        DownloadState::Done { name } => Shape::Done(name.clone()),
    }
}

/// How many downloads run at once, and how fast they may be together.
#[component]
fn Bounds(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let limits = Memo::new(move |_| {
        state
            .library
            .with(|library| library.here().map(|library| library.limits).unwrap_or_default())
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
        <section class="bounds" aria-label="Limits">
            <label>
                "At once"
                <select data-testid="limits-at-once" on:change=set_at_once>
                    {AT_ONCE.map(at_once_option).collect_view()}
                </select>
            </label>
            <label>
                "Speed limit"
                <select data-testid="limits-speed" on:change=set_speed>
                    <option value="" prop:selected=move || limits.get().bytes_per_second.is_none()>"None"</option>
                    {move || speeds.get().into_iter().map(speed_option).collect_view()}
                </select>
            </label>
            <p>"The speed limit holds for all downloads together."</p>
            <Aftermath state concern=Concern::Limits/>
        </section>
    }
}

/// The speeds to choose from, with the one that is set among them.
fn speeds(set: Option<u64>) -> Vec<u64> {
    let mut speeds: Vec<u64> = SPEEDS.into_iter().chain(set).collect();
    speeds.sort_unstable();
    speeds.dedup();
    speeds
}

/// What a download does, with its figures.
fn line(download: &Download) -> String {
    let progress = format::download_progress(download);
    let mut facts = match &download.state {
        DownloadState::Queued => vec!["Waits for its turn".into(), progress],
        DownloadState::Running => vec![progress],
        DownloadState::Retrying { why, in_seconds } => {
            vec![format!("{} Trying again in {in_seconds} s", sentence(why)), progress]
        }
        DownloadState::Checking => vec!["All here; checking its hash".into(), progress],
        DownloadState::Paused => vec!["Paused".into(), progress],
        DownloadState::Failed { .. } => vec!["Broke off".into(), progress],
        DownloadState::Done { .. } => {
            vec!["In the library".into(), format::bytes(download.total_bytes)]
        }
    };
    if download.state == DownloadState::Running {
        facts.extend(download.bytes_per_second.map(format::rate));
        facts.extend(download.seconds_left.map(format::time_left));
    }
    facts.join(" · ")
}

/// `text` with a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?', '…']) { text.to_owned() } else { format!("{text}.") }
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
    use super::*;

    #[test]
    fn a_line_tells_what_a_download_does() {
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
        download.state = DownloadState::Retrying { why: "No answer".into(), in_seconds: 8 };
        assert_eq!(line(&download), "No answer. Trying again in 8 s · 1.2 GB of 4.1 GB");
        download.state = DownloadState::Done { name: "c".into() };
        assert_eq!(line(&download), "In the library · 4.1 GB");
    }

    #[test]
    fn a_speed_that_was_set_elsewhere_can_be_kept() {
        assert_eq!(speeds(None), SPEEDS);
        assert_eq!(speeds(Some(1_000_000)), SPEEDS);
        assert_eq!(speeds(Some(1))[0], 1);
    }
}
