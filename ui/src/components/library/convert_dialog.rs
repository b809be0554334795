//! The conversion dialog: choosing a type, following the progress, and the result.

use leptos::{html, prelude::*};
use lilims_ipc::{Conversion, ConversionStage, ConversionState, Error, Measurement};

use super::conversion_row::{ConversionBar, failure, state_name, with_conversion};
use super::convert_choice::ConvertChoice;
use super::figures::FiguresTable;
use super::parts::{ActionResult, ErrorLine, Pending};
use crate::components::panel::Panel;
use crate::components::untrusted::UntrustedName;
use crate::format::{self, Clock};
use crate::state::{Action, Concern, ConvertView, Fetched, LibraryState};
use crate::text::{text, text_view};

/// The dialog.
#[component]
pub(super) fn ConvertDialog(
    /// The state of the library.
    state: LibraryState,
    /// The time when the page was drawn.
    clock: Clock,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let close = Callback::new(move |()| state.convert_view.set(None));
    let is_following =
        Memo::new(move |_| state.convert_view.with(|it| *it == Some(ConvertView::Following)));
    view! {
        <Panel id="convert-dialog" title=text!(convert.title) close_label=text!(button.close) on_close=close>
            <Show
                when=move || is_following.get()
                fallback=move || view! { <Choosing state clock close act/> }
            >
                <CurrentConversion state close act/>
            </Show>
        </Panel>
    }
}

#[component]
fn Choosing(
    state: LibraryState,
    clock: Clock,
    close: Callback<()>,
    act: Callback<Action>,
) -> impl IntoView {
    // A new offer for the same model must not reset the choice.
    let is_ready = Memo::new(move |_| state.offer.with(|offer| offer.ready().is_some()));
    let error = Memo::new(move |_| {
        state.offer.with(|offer| match offer {
            Fetched::Failed(error) => Some(error.clone()),
            _ => None,
        })
    });
    view! {
        <Show
            when=move || is_ready.get()
            fallback=move || view! {
                <Show
                    when=move || error.with(Option::is_some)
                    fallback=|| view! { <Pending label=text!(convert.reading_model)/> }
                >
                    <ErrorLine error/>
                </Show>
            }
        >
            {move || state.offer.with_untracked(|offer| offer.ready().cloned()).map(|first| view! {
                <ConvertChoice first state clock close act/>
            })}
        </Show>
    }
}

/// The running conversion, or the result of the last one.
#[component]
fn CurrentConversion(
    state: LibraryState,
    close: Callback<()>,
    act: Callback<Action>,
) -> impl IntoView {
    let title =
        Memo::new(move |_| with_conversion(state, format::conversion_title).unwrap_or_default());
    let outcome =
        Memo::new(move |_| with_conversion(state, outcome).unwrap_or(ConversionOutcome::Running));
    // A cancelled conversion leaves nothing to look at later.
    let dismiss = Callback::new(move |()| {
        close.run(());
        act.run(Action::ClearConversion);
    });
    view! {
        <div class="convert" data-testid="conversion" data-state=move || with_conversion(state, state_name)>
            <p class="convert-source"><UntrustedName text=title/></p>
            {move || match outcome.get() {
                ConversionOutcome::Running => view! { <Running state close act/> }.into_any(),
                ConversionOutcome::Done { name, before, after, figures, unmeasured } => view! {
                    <Done name before after figures unmeasured close act/>
                }
                .into_any(),
                ConversionOutcome::Failed => view! { <Failed state close/> }.into_any(),
                ConversionOutcome::Cancelled => view! {
                    <p role="status">{text!(convert.cancelled_text)}</p>
                    <CloseButton close=dismiss/>
                }
                .into_any(),
            }}
            <ActionResult state concern=Concern::Conversion/>
        </div>
    }
}

#[derive(Clone, PartialEq)]
enum ConversionOutcome {
    Running,
    Done {
        name: String,
        before: u64,
        after: u64,
        figures: Option<Measurement>,
        unmeasured: Option<Box<Error>>,
    },
    Failed,
    Cancelled,
}

fn outcome(conversion: &Conversion) -> ConversionOutcome {
    match &conversion.state {
        ConversionState::Running { .. } => ConversionOutcome::Running,
        ConversionState::Done { name, size_bytes, figures, unmeasured } => {
            ConversionOutcome::Done {
                name: name.clone(),
                before: conversion.source_bytes,
                after: *size_bytes,
                figures: figures.clone(),
                unmeasured: unmeasured.clone().map(Box::new),
            }
        }
        ConversionState::Failed { .. } => ConversionOutcome::Failed,
        ConversionState::Cancelled => ConversionOutcome::Cancelled,
    }
}

#[component]
fn Running(state: LibraryState, close: Callback<()>, act: Callback<Action>) -> impl IntoView {
    let hide = take_focus();
    let progress =
        Memo::new(move |_| with_conversion(state, Progress::of).flatten().unwrap_or_default());
    let stage = move || progress.with(|it| it.stage);
    let step = move || progress.with(|it| it.step.clone());
    let line = move || progress.with(|it| it.line.clone());
    let tensor = move || progress.with(|it| it.tensor.clone());
    let is_ending = Memo::new(move |_| progress.with(|it| it.is_ending));
    let keeps_model = Memo::new(move |_| progress.with(|it| it.has_model));
    let cancel_label = move || match (is_ending.get(), keeps_model.get()) {
        (true, _) => text!(convert.cancelling),
        (false, true) => text!(convert.skip_measuring),
        (false, false) => text!(button.cancel),
    };
    view! {
        <div class="convert-course">
            <p class="convert-stage">
                <strong role="status">{stage}</strong>
                <span>{step}</span>
            </p>
            <ConversionBar state/>
            <p class="download-line">{line}</p>
            <p class="convert-tensor" aria-hidden="true"><UntrustedName text=Signal::derive(tensor)/></p>
        </div>
        <p class="convert-note">{text!(convert.continues)}</p>
        <div class="plan-buttons">
            <button
                type="button"
                class="button"
                data-testid="convert-cancel-running"
                disabled=is_ending
                on:click=move |_| act.run(Action::CancelConversion)
            >
                {cancel_label}
            </button>
            <button type="button" class="button primary" data-testid="convert-hide" node_ref=hide on:click=move |_| close.run(())>
                {text!(convert.hide)}
            </button>
        </div>
    }
}

/// The progress of a running conversion, as it is shown.
#[derive(Clone, Default, PartialEq)]
struct Progress {
    stage: &'static str,
    step: String,
    line: String,
    tensor: String,
    is_ending: bool,
    /// Whether the model is complete and only its figures are missing.
    has_model: bool,
}

impl Progress {
    /// `None` if the conversion does not run.
    fn of(conversion: &Conversion) -> Option<Self> {
        let ConversionState::Running { stage, step, n_steps, seconds_left, is_ending } =
            &conversion.state
        else {
            return None;
        };
        let tensor = match stage {
            ConversionStage::Converting(it) | ConversionStage::Preparing(it) => it.name.clone(),
            _ => String::new(),
        };
        Some(Self {
            stage: format::stage(stage),
            step: text!(convert.step, step = *step, steps = *n_steps),
            line: format::stage_line(stage, *seconds_left),
            tensor,
            is_ending: *is_ending,
            has_model: matches!(stage, ConversionStage::Measuring(_)),
        })
    }
}

#[component]
fn Done(
    name: String,
    before: u64,
    after: u64,
    figures: Option<Measurement>,
    unmeasured: Option<Box<Error>>,
    close: Callback<()>,
    act: Callback<Action>,
) -> impl IntoView {
    let focused = take_focus();
    let use_it = Action::Use { name: name.clone(), context_tokens: None };
    let done = text_view!(convert.done, name = view! { <UntrustedName text=name/> });
    view! {
        <p class="report" role="status">{done}</p>
        <FiguresTable before_bytes=before after_bytes=after figures/>
        {unmeasured.map(|error| view! { <ErrorLine error=Signal::stored(Some(*error))/> })}
        <div class="plan-buttons">
            <button type="button" class="button" data-testid="convert-close" on:click=move |_| close.run(())>
                {text!(button.close)}
            </button>
            <button
                type="button"
                class="button primary"
                data-testid="convert-use"
                node_ref=focused
                on:click=move |_| {
                    close.run(());
                    act.run(use_it.clone());
                }
            >
                {text!(convert.use_this_model)}
            </button>
        </div>
    }
}

#[component]
fn Failed(state: LibraryState, close: Callback<()>) -> impl IntoView {
    let error = Memo::new(move |_| with_conversion(state, failure).flatten());
    view! {
        <ErrorLine error/>
        <CloseButton close/>
    }
}

#[component]
fn CloseButton(close: Callback<()>) -> impl IntoView {
    let button = take_focus();
    view! {
        <div class="plan-buttons">
            <button type="button" class="button" data-testid="convert-close" node_ref=button on:click=move |_| close.run(())>
                {text!(button.close)}
            </button>
        </div>
    }
}

/// A reference for a button that takes the focus when it appears, in place of one that is gone.
fn take_focus() -> NodeRef<html::Button> {
    let button = NodeRef::<html::Button>::new();
    Effect::new(move || {
        if let Some(button) = button.get() {
            let _ = button.focus();
        }
    });
    button
}
