//! The conversion in the list of downloads, and on the card of its source model.

use leptos::prelude::*;
use lilims_ipc::{Conversion, ConversionState, Error};

use super::fit_badge::share;
use super::parts::{ErrorLine, UseButton};
use crate::components::icon::Icon;
use crate::components::tooltip::title_if_truncated;
use crate::components::untrusted::{UntrustedName, UntrustedText};
use crate::format;
use crate::state::{Action, Concern, ConvertView, LibraryState};
use crate::text::text;

/// The row of the current or last conversion.
#[component]
pub(super) fn ConversionRow(
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let title =
        Memo::new(move |_| with_conversion(state, format::conversion_title).unwrap_or_default());
    let line =
        Signal::derive(move || with_conversion(state, format::conversion_line).unwrap_or_default());
    let error = Memo::new(move |_| with_conversion(state, failure).flatten());
    view! {
        <li class="download" data-testid="conversion-row" data-state=move || with_conversion(state, state_name)>
            <div class="download-text">
                <strong on:mouseenter=|event| title_if_truncated(&event)><UntrustedName text=title/></strong>
                <span>{text!(convert.conversion)}</span>
            </div>
            <Buttons state act/>
            <ConversionBar state/>
            <p class="download-line"><UntrustedText text=line/></p>
            <Show when=move || error.with(Option::is_some)>
                <ErrorLine error/>
            </Show>
        </li>
    }
}

/// The buttons for the current state of the conversion.
#[component]
fn Buttons(state: LibraryState, act: Callback<Action>) -> impl IntoView {
    let shape = Memo::new(move |_| with_conversion(state, shape).unwrap_or(Shape::Ended));
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
    let clear = move || close("conversion-clear", text!(convert.clear), Action::ClearConversion);
    let buttons = move || match shape.get() {
        Shape::Running => {
            let cancel =
                close("conversion-cancel", text!(convert.cancel), Action::CancelConversion);
            (show(text!(button.show)), cancel).into_any()
        }
        Shape::Done(name) => view! {
            {show(text!(convert.figures))}
            <UseButton test_id="conversion-use" name act/>
            {clear()}
        }
        .into_any(),
        Shape::Ended => clear().into_any(),
    };
    view! { <div class="download-buttons">{buttons}</div> }
}

#[derive(Clone, PartialEq)]
enum Shape {
    Running,
    Done(String),
    Ended,
}

fn shape(conversion: &Conversion) -> Shape {
    match &conversion.state {
        ConversionState::Running { .. } => Shape::Running,
        ConversionState::Done { name, .. } => Shape::Done(name.clone()),
        ConversionState::Failed { .. } | ConversionState::Cancelled => Shape::Ended,
    }
}

/// The progress bar of the current step.
#[component]
pub(super) fn ConversionBar(
    /// The state of the library.
    state: LibraryState,
) -> impl IntoView {
    let done = Memo::new(move |_| with_conversion(state, done).unwrap_or_default());
    let label = move || {
        with_conversion(state, format::conversion_title)
            .map(|it| text!(convert.conversion_of, title = format::visible_name(&it)))
    };
    let percent = move || {
        let (done, total) = done.get();
        format::percent(done, total).to_string()
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

/// The running conversion of a model, on the model's card.
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
        with_conversion(state, |it| {
            let target = it.request.target.clone();
            text!(convert.to_type, target, line = format::conversion_line(it))
        })
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
                    {text!(button.show)}
                </button>
            </div>
        </Show>
    }
}

/// Applies `part` to the conversion, if there is one.
pub(super) fn with_conversion<T>(
    state: LibraryState,
    part: impl FnOnce(&Conversion) -> T,
) -> Option<T> {
    state.conversion.with(|conversion| conversion.as_ref().map(part))
}

fn done(conversion: &Conversion) -> (u64, u64) {
    match &conversion.state {
        ConversionState::Running { stage, .. } => format::stage_share(stage),
        ConversionState::Done { .. } => (1, 1),
        ConversionState::Failed { .. } | ConversionState::Cancelled => (0, 1),
    }
}

/// The error of a failed conversion.
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
