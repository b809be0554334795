//! The conversion beside the downloads, and on the card of its source.

use leptos::prelude::*;
use lilims_ipc::{Conversion, ConversionState, Error};

use super::fit_badge::share;
use super::parts::{ErrorLine, UseButton};
use crate::components::icon::Icon;
use crate::format;
use crate::state::{Action, Concern, ConvertView, LibraryState};

/// The row of the conversion that runs, or ended last.
#[component]
pub(super) fn ConversionRow(
    /// The state of the library.
    state: LibraryState,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let title = Memo::new(move |_| of(state, format::conversion_title).unwrap_or_default());
    let line = move || of(state, format::conversion_line);
    let error = Memo::new(move |_| of(state, failure).flatten());
    view! {
        <li class="download" data-testid="conversion-row" data-state=move || of(state, state_name)>
            <div class="download-text">
                <strong title=title>{title}</strong>
                <span>"Conversion"</span>
            </div>
            <Buttons state act/>
            <ConversionBar state/>
            <p class="download-line">{line}</p>
            <Show when=move || error.with(Option::is_some)>
                <ErrorLine error/>
            </Show>
        </li>
    }
}

/// What can be done with a conversion as it stands.
#[component]
fn Buttons(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let shape = Memo::new(move |_| of(state, shape).unwrap_or(Shape::Over));
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Conversion));
    let show = move |label: &'static str| {
        view! {
            <button
                type="button"
                class="button quiet"
                data-testid="conversion-show"
                aria-haspopup="dialog"
                on:click=move |_| state.convert_view.set(Some(ConvertView::Following))
            >
                {label}
            </button>
        }
    };
    let close = move |test_id: &'static str, label: &'static str, action: Action| {
        view! {
            <button
                type="button"
                class="button quiet small"
                data-testid=test_id
                aria-label=label
                title=label
                disabled=is_busy
                on:click=move |_| act.run(action.clone())
            >
                {Icon::Close.view()}
            </button>
        }
    };
    let clear = move || close("conversion-clear", "Clear the conversion", Action::ClearConversion);
    let buttons = move || match shape.get() {
        Shape::Running => {
            let cancel =
                close("conversion-cancel", "Cancel the conversion", Action::CancelConversion);
            (show("Show"), cancel).into_any()
        }
        Shape::Done(name) => view! {
            {show("Figures")}
            <UseButton test_id="conversion-use" name act/>
            {clear()}
        }
        .into_any(),
        Shape::Over => clear().into_any(),
    };
    view! { <div class="download-buttons">{buttons}</div> }
}

#[derive(Clone, PartialEq)]
enum Shape {
    Running,
    Done(String),
    Over,
}

fn shape(conversion: &Conversion) -> Shape {
    match &conversion.state {
        ConversionState::Running { .. } => Shape::Running,
        ConversionState::Done { name, .. } => Shape::Done(name.clone()),
        ConversionState::Failed { .. } | ConversionState::Cancelled => Shape::Over,
    }
}

/// How far the step is that runs.
#[component]
pub(super) fn ConversionBar(
    /// The state of the library.
    state: LibraryState,
) -> impl IntoView {
    let done = Memo::new(move |_| of(state, done).unwrap_or_default());
    let label = move || of(state, format::conversion_title).map(|it| format!("Conversion of {it}"));
    let percent = move || {
        let (done, total) = done.get();
        (done.saturating_mul(100) / total.max(1)).min(100).to_string()
    };
    view! {
        <div
            class="progress"
            role="progressbar"
            aria-label=label
            aria-valuemin="0"
            aria-valuemax="100"
            aria-valuenow=percent
        >
            <i style=("--share", move || { let (done, total) = done.get(); share(done, total) })></i>
        </div>
    }
}

/// The conversion of the model with this short name, on its card, while it runs.
#[component]
pub(super) fn ConversionOfCard(
    /// The model's short name.
    name: String,
    /// The state of the library.
    state: LibraryState,
) -> impl IntoView {
    let is_its = Memo::new(move |_| {
        state.is_converting()
            && state.conversion.with(|it| it.as_ref().is_some_and(|it| it.request.name == name))
    });
    let line = move || {
        of(state, |it| format!("To {}: {}", it.request.target, format::conversion_line(it)))
    };
    view! {
        <Show when=move || is_its.get()>
            <div class="card-conversion" data-testid="card-conversion">
                <ConversionBar state/>
                <p class="download-line">{line}</p>
                <button
                    type="button"
                    class="button quiet link"
                    aria-haspopup="dialog"
                    on:click=move |_| state.convert_view.set(Some(ConvertView::Following))
                >
                    "Show"
                </button>
            </div>
        </Show>
    }
}

/// Something of the conversion, if there is one.
pub(super) fn of<T>(state: LibraryState, part: impl FnOnce(&Conversion) -> T) -> Option<T> {
    state.conversion.with(|conversion| conversion.as_ref().map(part))
}

fn done(conversion: &Conversion) -> (u64, u64) {
    match &conversion.state {
        ConversionState::Running { stage, .. } => format::stage_share(stage),
        ConversionState::Done { .. } => (1, 1),
        ConversionState::Failed { .. } | ConversionState::Cancelled => (0, 1),
    }
}

/// Why it broke off.
pub(super) fn failure(conversion: &Conversion) -> Option<Error> {
    match &conversion.state {
        ConversionState::Failed { error } => Some(error.clone()),
        _ => None,
    }
}

/// The stable name of the attribute `data-state`.
pub(super) fn state_name(conversion: &Conversion) -> &'static str {
    match conversion.state {
        ConversionState::Running { .. } => "running",
        ConversionState::Done { .. } => "done",
        ConversionState::Failed { .. } => "failed",
        ConversionState::Cancelled => "cancelled",
    }
}
