//! The fit badge: whether a model will run here, in a word, with the memory estimate behind it.

use leptos::prelude::*;
use lilims_ipc::{Fit, FitPart, Verdict};

use crate::components::tooltip::Tooltip;
use crate::format::{self, number};
use crate::text::{self, text};

/// The badge: a button with a tooltip that explains the estimate.
#[component]
pub(super) fn FitBadge(
    /// The prefix of its element ids, unique on the page.
    id: String,
    /// Whether it fits.
    #[prop(into)]
    verdict: Signal<Verdict>,
    /// The estimate; `None` where only the file's size is known.
    #[prop(into)]
    fit: Signal<Option<Fit>>,
    /// Called to read the file's header for an estimate, where that is possible.
    #[prop(optional_no_strip)]
    on_read: Option<Callback<()>>,
    /// Whether the header is being read.
    #[prop(into, optional)]
    is_reading: Signal<bool>,
) -> impl IntoView {
    let tip_id = format!("{id}-fit");
    let can_read = on_read.is_some();
    let read = move |_| {
        if let Some(on_read) = on_read
            && fit.with_untracked(Option::is_none)
            && !is_reading.get_untracked()
        {
            on_read.run(());
        }
    };
    let tip = move || match fit.get() {
        Some(fit) => estimate(fit).into_any(),
        None => size_only(can_read, is_reading.get()).into_any(),
    };
    view! {
        <span class="fit">
            <Tooltip id=tip_id.clone() tip=tip.into_any()>
                <button
                    type="button"
                    class="fit-badge"
                    data-testid="fit-badge"
                    data-verdict=move || verdict_name(verdict.get())
                    aria-describedby=tip_id
                    on:click=read
                >
                    {move || format::verdict(verdict.get())}
                </button>
            </Tooltip>
        </span>
    }
}

/// The verdict alone, where there is no room for an explanation.
#[component]
pub(crate) fn FitMark(
    /// Whether it fits.
    verdict: Verdict,
) -> impl IntoView {
    view! {
        <span class="fit-badge" data-verdict=verdict_name(verdict)>{format::verdict(verdict)}</span>
    }
}

/// The tooltip while only the size is known.
fn size_only(can_read: bool, is_reading: bool) -> impl IntoView {
    let more = match (can_read, is_reading) {
        (_, true) => text!(fit.reading_header),
        (true, false) => text!(fit.can_read_header),
        (false, false) => text!(fit.known_later),
    };
    view! {
        <strong>{text!(fit.from_size)}</strong>
        <span>{more}</span>
    }
}

fn estimate(fit: Fit) -> impl IntoView {
    let (needed, available) = (format::bytes(fit.needed_bytes), format::bytes(fit.available_bytes));
    let total = text!(fit.needs, needed, available);
    let context = text!(fit.with_context, context = format::tokens(fit.context_tokens));
    let share = share(fit.needed_bytes, fit.available_bytes);
    let speed = match (fit.tokens_per_second.map(format::speed), fit.measured_ratio.is_some()) {
        (Some(speed), true) => text!(fit.speed_measured, speed),
        (Some(speed), false) => text!(fit.speed_estimated, speed),
        (None, true) => text!(fit.memory_measured).into(),
        (None, false) => text!(fit.memory_estimated).into(),
    };
    let parts = fit.parts.iter().map(|it| part(it, &fit)).collect_view();
    let suggestion = fit.suggestion.as_ref().and_then(text::suggestion);
    view! {
        <strong class="fit-total">
            {total}
            <span>{context}</span>
        </strong>
        <span class="fit-bar" data-verdict=verdict_name(fit.verdict) aria-hidden="true">
            <i style=("--share", share)></i>
        </span>
        <span class="fit-parts">{parts}</span>
        <span>{text::memory_source(fit.available_from, fit.available_bytes)}</span>
        <span>{speed}</span>
        {suggestion.map(|suggestion| view! { <span class="fit-suggestion">{suggestion}</span> })}
    }
}

fn part(part: &FitPart, fit: &Fit) -> impl IntoView + use<> {
    let (label, how) = text::fit_part(part, fit);
    view! {
        <span class="fit-part">
            <span>{label}</span>
            <span>{format::bytes(part.size_bytes)}</span>
            <small>{how}</small>
        </span>
    }
}

/// The share of `whole` as a CSS length.
pub(super) fn share(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    format!("{}%", number::fixed(share.min(100.0), 2))
}

/// The stable name of the attribute `data-verdict`.
pub(super) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fits => "fits",
        Verdict::Tight => "tight",
        Verdict::TooLarge => "too-large",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stay_within_the_whole() {
        assert_eq!(share(1, 4), "25.00%");
        assert_eq!(share(5, 4), "100.00%");
        assert_eq!(share(1, 0), "0.00%");
    }
}
