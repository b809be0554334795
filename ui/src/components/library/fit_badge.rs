//! Whether a model will run here, in a word, with the arithmetic behind it.

use leptos::prelude::*;
use lilims_ipc::{Fit, FitPart, Verdict};

use crate::components::tooltip::Tooltip;
use crate::format;

/// The badge: a button that explains itself.
#[component]
pub(super) fn FitBadge(
    /// The stem of its element ids, unique on the page.
    id: String,
    /// The answer.
    #[prop(into)]
    verdict: Signal<Verdict>,
    /// The arithmetic; `None` where only the file's size is known.
    #[prop(into)]
    fit: Signal<Option<Fit>>,
    /// Called to find the arithmetic out, where it can be.
    #[prop(optional_no_strip)]
    on_read: Option<Callback<()>>,
    /// Whether that is under way.
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
        Some(fit) => arithmetic(fit).into_any(),
        None => guess(can_read, is_reading.get()).into_any(),
    };
    view! {
        <span class="fit">
            <Tooltip id=tip_id.clone() opens_other=false tip=tip.into_any()>
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

/// The answer alone, where there is no room for an explanation.
#[component]
pub(crate) fn FitMark(
    /// The answer.
    verdict: Verdict,
) -> impl IntoView {
    view! {
        <span class="fit-badge" data-verdict=verdict_name(verdict)>{format::verdict(verdict)}</span>
    }
}

/// What is said while only the size is known.
fn guess(can_read: bool, is_reading: bool) -> impl IntoView {
    let more = match (can_read, is_reading) {
        (_, true) => "Reading the header of the file…",
        (true, false) => "Press to read the header of the file on huggingface.co and work it out.",
        (false, false) => "The details will be known once it is here.",
    };
    view! {
        <strong>"Judged by its size"</strong>
        <span>{more}</span>
    }
}

fn arithmetic(fit: Fit) -> impl IntoView {
    let total = format!(
        "Needs {} of {}",
        format::bytes(fit.needed_bytes),
        format::bytes(fit.available_bytes)
    );
    let context = format!("with {} of context", format::tokens(fit.context_tokens));
    let share = share(fit.needed_bytes, fit.available_bytes);
    let source = if fit.is_measured { "corrected by a run on this device" } else { "estimated" };
    let speed =
        fit.tokens_per_second.map(|speed| format!("About {}, {source}.", format::speed(speed)));
    let speed = speed.unwrap_or_else(|| format!("Memory {source}."));
    view! {
        <strong class="fit-total">
            {total}
            <span>{context}</span>
        </strong>
        <span class="fit-bar" data-verdict=verdict_name(fit.verdict) aria-hidden="true">
            <i style=("--share", share)></i>
        </span>
        <span class="fit-parts">{fit.parts.into_iter().map(part).collect_view()}</span>
        <span>
            {format!("{} may be used: {}.", format::bytes(fit.available_bytes), fit.available_from)}
        </span>
        <span>{speed}</span>
        {fit.suggestion.map(|suggestion| view! { <span class="fit-suggestion">{suggestion}</span> })}
    }
}

fn part(part: FitPart) -> impl IntoView {
    view! {
        <span class="fit-part">
            <span>{part.label}</span>
            <span>{format::bytes(part.bytes)}</span>
            <small>{part.how}</small>
        </span>
    }
}

/// The share of `whole` as a length for a style.
pub(super) fn share(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    format!("{:.2}%", share.min(100.0))
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
