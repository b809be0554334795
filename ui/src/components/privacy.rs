//! What left this device: the sign in the window, and the part of the settings.

use leptos::prelude::*;
use lilims_ipc::{
    ConnectionAnswer, ConnectionAsker, ConnectionPurpose, Error, LoggedConnections, Privacy,
    SealedBy, TelemetryState,
};

use super::icon::Icon;
use super::notices::ErrorNotice;
use super::tooltip::title_from_label;
use super::untrusted::UntrustedName;
use crate::format;
use crate::privacy_page::PrivacyState;
use crate::state::settings::is_found;
use crate::text::{self, text};

/// What the user can do about privacy.
#[derive(Clone, Copy)]
pub(crate) struct PrivacyActions {
    /// Seals Lilims, or opens it.
    pub(crate) on_seal: Callback<bool>,
    /// Switches telemetry on or off.
    pub(crate) on_telemetry: Callback<bool>,
    /// Shows or hides what telemetry sends next.
    pub(crate) on_preview: Callback<()>,
    /// Exports the log of connections.
    pub(crate) on_export: Callback<()>,
    /// Deletes the log of connections.
    pub(crate) on_clear: Callback<()>,
}

/// The sign under the field for questions: since when nothing has left, or that Lilims is sealed.
#[component]
pub(crate) fn PrivacySign(
    /// What is known; `None` until then.
    privacy: RwSignal<Option<Privacy>>,
    /// Called to show the settings.
    on_open: Callback<()>,
) -> impl IntoView {
    let is_sealed =
        Memo::new(move |_| privacy.with(|it| it.as_ref().is_some_and(|it| it.sealed.is_some())));
    let short = move || {
        if is_sealed.get() { text!(privacy.sealed).into() } else { sentence(&privacy.get()) }
    };
    let full = move || sentence(&privacy.get());
    view! {
        <Show when=move || privacy.with(Option::is_some)>
            <button
                type="button"
                class="privacy-sign"
                class:is-sealed=is_sealed
                data-testid="privacy-sign"
                aria-label=full
                on:mouseenter=|event| title_from_label(&event)
                on:click=move |_| on_open.run(())
            >
                {move || if is_sealed.get() { Icon::Lock.view() } else { Icon::Verify.view() }}
                <span>{short}</span>
            </button>
        </Show>
    }
}

/// Since when nothing has left this device, as a sentence.
fn sentence(privacy: &Option<Privacy>) -> String {
    match privacy {
        Some(Privacy { sealed: Some(_), .. }) => text!(privacy.sealed_sign).into(),
        Some(Privacy { last: Some(last), .. }) => {
            text!(privacy.nothing_since, when = format::date_time(last.at_ms))
        }
        _ => text!(privacy.nothing_ever).into(),
    }
}

/// The part of the settings.
#[component]
pub(crate) fn PrivacySettings(
    /// Its state.
    state: PrivacyState,
    /// What is searched for.
    query: RwSignal<String>,
    /// What the user can do.
    actions: PrivacyActions,
) -> impl IntoView {
    let known = move || state.privacy.get().unwrap_or_default();
    let is_found = move |label, hint| query.with(|query| is_found((label, hint), query));
    let seal_hint = move || match known().sealed {
        Some(SealedBy::Start) => text!(error.sealed_start),
        Some(SealedBy::Build) => text!(error.sealed_build),
        Some(SealedBy::Setting) | None => text!(privacy.seal_hint),
    };
    let is_fixed = move || matches!(known().sealed, Some(SealedBy::Start | SealedBy::Build));
    let is_built_in = Memo::new(move |_| known().telemetry != TelemetryState::NotBuiltIn);
    let is_on = move || matches!(known().telemetry, TelemetryState::On { .. });
    view! {
        <section class="settings-rows privacy" id="privacy" data-testid="privacy" aria-labelledby="privacy-title">
            <h2 id="privacy-title">{text!(privacy.title)}</h2>
            <p class="settings-note">{text!(privacy.about)}</p>
            <div class="setting" hidden=move || !is_found(text!(privacy.seal), text!(privacy.seal_hint))>
                <label for="seal">{text!(privacy.seal)}</label>
                <input
                    type="checkbox"
                    id="seal"
                    data-testid="seal"
                    disabled=is_fixed
                    prop:checked=move || known().sealed.is_some()
                    on:change=move |event| actions.on_seal.run(event_target_checked(&event))
                />
                <p>{seal_hint}</p>
            </div>
            <Show when=move || is_built_in.get()>
                <div
                    class="setting"
                    hidden=move || !is_found(text!(privacy.telemetry), text!(privacy.telemetry_hint))
                >
                    <label for="telemetry">{text!(privacy.telemetry)}</label>
                    <input
                        type="checkbox"
                        id="telemetry"
                        data-testid="telemetry"
                        prop:checked=is_on
                        on:change=move |event| actions.on_telemetry.run(event_target_checked(&event))
                    />
                    <p>{text!(privacy.telemetry_hint)}</p>
                    <Preview state on_preview=actions.on_preview/>
                </div>
            </Show>
            <Show when=move || state.failure.with(Option::is_some)>
                <ErrorNotice
                    title=text!(settings.not_changed)
                    error=state.failure
                    retry_label=text!(button.dismiss)
                    retry_id="privacy-dismiss"
                    on_retry=Callback::new(move |()| state.failure.set(None))
                />
            </Show>
            <div class="setting" hidden=move || !is_found(text!(privacy.log), text!(privacy.log_about))>
                <Log state actions/>
            </div>
        </section>
    }
}

/// What telemetry sends next, exactly.
#[component]
fn Preview(state: PrivacyState, on_preview: Callback<()>) -> impl IntoView {
    let is_shown = Memo::new(move |_| state.preview.with(Option::is_some));
    let about = move || match state.preview.get() {
        Some(it) if it.is_example => text!(privacy.telemetry_example),
        _ => text!(privacy.telemetry_next),
    };
    view! {
        <div class="preview">
            <button
                type="button"
                class="button"
                data-testid="telemetry-show"
                aria-expanded=move || is_shown.get().to_string()
                on:click=move |_| on_preview.run(())
            >
                {move || {
                    if is_shown.get() { text!(privacy.telemetry_hide) } else { text!(privacy.telemetry_show) }
                }}
            </button>
            <Show when=move || is_shown.get()>
                <p>{about}</p>
                <pre tabindex="0" dir="ltr" data-testid="telemetry-preview">
                    {move || state.preview.get().map(|it| it.text)}
                </pre>
            </Show>
        </div>
    }
}

/// The log of connections.
#[component]
fn Log(state: PrivacyState, actions: PrivacyActions) -> impl IntoView {
    let is_empty = Memo::new(move |_| state.log.with(|log| log.n_logged == 0));
    let rows = move || state.log.with(|log| log.rows.clone());
    let n_more = move || {
        state.log.with(|log| {
            let shown: u64 = log.rows.iter().map(|row| u64::from(row.count)).sum();
            log.n_matching.saturating_sub(shown)
        })
    };
    let note = move || {
        if is_empty.get() {
            Some(text!(privacy.none).to_owned())
        } else if state.log.with(|log| log.rows.is_empty()) {
            Some(text!(privacy.nothing_found).to_owned())
        } else {
            Some(n_more())
                .filter(|n| *n > 0)
                .map(|n| text!(privacy.more, count = n, number = format::count(n)))
        }
    };
    view! {
        <h3 id="log-title">{text!(privacy.log)}</h3>
        <p>{text!(privacy.log_about)}</p>
        <p class="privacy-state" data-testid="privacy-state">{move || sentence(&state.privacy.get())}</p>
        <div class="log-tools">
            <input
                type="search"
                data-testid="log-filter"
                aria-label=text!(privacy.find)
                placeholder=text!(privacy.find)
                prop:value=state.filter
                on:input=move |event| state.filter.set(event_target_value(&event))
            />
            <button
                type="button"
                class="button"
                data-testid="log-export"
                disabled=is_empty
                on:click=move |_| actions.on_export.run(())
            >
                {text!(privacy.export)}
            </button>
            <button
                type="button"
                class="button"
                data-testid="log-clear"
                disabled=is_empty
                on:click=move |_| actions.on_clear.run(())
            >
                {text!(privacy.clear)}
            </button>
        </div>
        <ul class="connections" data-testid="connections" aria-labelledby="log-title" tabindex="0">
            {move || rows().into_iter().map(row).collect_view()}
        </ul>
        <p>{note}</p>
    }
}

fn row(row: LoggedConnections) -> impl IntoView {
    let is_failed = match &row.answer {
        ConnectionAnswer::Status(status) => *status >= 400,
        ConnectionAnswer::None | ConnectionAnswer::Failed(_) => true,
    };
    let (answer, reason) = match row.answer {
        ConnectionAnswer::None => (text!(privacy.no_answer).to_owned(), None),
        ConnectionAnswer::Status(status) => (status.to_string(), None),
        ConnectionAnswer::Failed(problem) => {
            let sentence = text::error(&Error { problem, detail: None });
            (text!(privacy.no_answer).to_owned(), Some(sentence))
        }
    };
    let times =
        (row.count > 1).then(|| text!(privacy.times, number = format::count(row.count.into())));
    let facts = [
        Some(asker(row.asker).to_owned()),
        times,
        Some(text!(privacy.sent, size = format::bytes(row.sent_bytes))),
        Some(text!(privacy.received, size = format::bytes(row.received_bytes))),
        row.address.filter(|address| *address != row.host),
        reason,
    ];
    let facts: Vec<String> = facts.into_iter().flatten().filter(|it| !it.is_empty()).collect();
    view! {
        <li>
            <strong><UntrustedName text=row.host/></strong>
            <span class="answer" class:failed=is_failed>{answer}</span>
            <span>{purpose(row.purpose)}" "<UntrustedName text=row.subject/></span>
            <time>{format::date_time(row.at_ms)}</time>
            <span class="facts"><UntrustedName text=facts.join(" · ")/></span>
        </li>
    }
}

fn purpose(purpose: ConnectionPurpose) -> &'static str {
    match purpose {
        ConnectionPurpose::Search => text!(privacy.search),
        ConnectionPurpose::Repository => text!(privacy.repository),
        ConnectionPurpose::FileInfo => text!(privacy.file_info),
        ConnectionPurpose::Header => text!(privacy.header),
        ConnectionPurpose::Card => text!(privacy.card),
        ConnectionPurpose::Download => text!(privacy.download),
        ConnectionPurpose::Telemetry => text!(privacy.report),
        ConnectionPurpose::Other => text!(privacy.unknown),
    }
}

fn asker(asker: ConnectionAsker) -> &'static str {
    match asker {
        ConnectionAsker::Window => text!(privacy.by_window),
        ConnectionAsker::CommandLine => text!(privacy.by_command_line),
        ConnectionAsker::Queue => text!(privacy.by_queue),
        ConnectionAsker::Telemetry => text!(privacy.by_telemetry),
        ConnectionAsker::Other => "",
    }
}
