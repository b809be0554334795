//! The dialogue about conversions: choosing a type, how far it is, and what came of it.

use leptos::{html, prelude::*};
use lilims_ipc::{Conversion, ConversionStage, ConversionState, Error, Figures};

use super::conversion_row::{ConversionBar, failure, of, state_name};
use super::convert_choice::ConvertChoice;
use super::figures::FiguresTable;
use super::parts::{Aftermath, ErrorLine, Pending};
use crate::components::panel::Panel;
use crate::format::{self, Clock};
use crate::state::{Action, Concern, ConvertView, Fetched, LibraryState};

/// The dialogue.
#[component]
pub(super) fn ConvertDialog(
    /// The state of the library.
    state: LibraryState,
    /// When the page was drawn.
    clock: Clock,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let close = Callback::new(move |()| state.convert_view.set(None));
    let is_following =
        Memo::new(move |_| state.convert_view.with(|it| *it == Some(ConvertView::Following)));
    view! {
        <Panel id="convert-dialog" title="Convert" close_label="Close" on_close=close>
            <Show
                when=move || is_following.get()
                fallback=move || view! { <Choosing state clock close act/> }
            >
                <Course state close act/>
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
    // A new offer for the same model must not put the choice back.
    let is_here = Memo::new(move |_| state.offer.with(|offer| offer.here().is_some()));
    let error = Memo::new(move |_| {
        state.offer.with(|offer| match offer {
            Fetched::Failed(error) => Some(error.clone()),
            _ => None,
        })
    });
    view! {
        <Show
            when=move || is_here.get()
            fallback=move || view! {
                <Show
                    when=move || error.with(Option::is_some)
                    fallback=|| view! { <Pending label="Reading the model…"/> }
                >
                    <ErrorLine error/>
                </Show>
            }
        >
            {move || state.offer.with_untracked(|offer| offer.here().cloned()).map(|first| view! {
                <ConvertChoice first state clock close act/>
            })}
        </Show>
    }
}

/// The conversion that runs, or what came of it.
#[component]
fn Course(state: LibraryState, close: Callback<()>, act: Callback<Action>) -> impl IntoView {
    let title = Memo::new(move |_| of(state, format::conversion_title).unwrap_or_default());
    let ending = Memo::new(move |_| of(state, ending).unwrap_or(Ending::Open));
    // Of one that was cancelled there is nothing to look at later.
    let forget = Callback::new(move |()| {
        close.run(());
        act.run(Action::ClearConversion);
    });
    view! {
        <div class="convert" data-testid="conversion" data-state=move || of(state, state_name)>
            <p class="convert-source">{title}</p>
            {move || match ending.get() {
                Ending::Open => view! { <Running state close act/> }.into_any(),
                Ending::Done { name, before, after, figures, unmeasured } => view! {
                    <Done name before after figures unmeasured close act/>
                }
                .into_any(),
                Ending::Failed => view! { <Failed state close/> }.into_any(),
                Ending::Cancelled => view! {
                    <p role="status">"Cancelled. Nothing was left behind."</p>
                    <CloseButton close=forget/>
                }
                .into_any(),
            }}
            <Aftermath state concern=Concern::Conversion/>
        </div>
    }
}

#[derive(Clone, PartialEq)]
enum Ending {
    /// There is none yet.
    Open,
    Done {
        name: String,
        before: u64,
        after: u64,
        figures: Option<Figures>,
        unmeasured: Option<Error>,
    },
    Failed,
    Cancelled,
}

fn ending(conversion: &Conversion) -> Ending {
    match &conversion.state {
        ConversionState::Running { .. } => Ending::Open,
        ConversionState::Done { name, size_bytes, figures, unmeasured } => Ending::Done {
            name: name.clone(),
            before: conversion.source_bytes,
            after: *size_bytes,
            figures: figures.clone(),
            unmeasured: unmeasured.clone(),
        },
        ConversionState::Failed { .. } => Ending::Failed,
        ConversionState::Cancelled => Ending::Cancelled,
    }
}

#[component]
fn Running(state: LibraryState, close: Callback<()>, act: Callback<Action>) -> impl IntoView {
    let hide = take_focus();
    let now = Memo::new(move |_| of(state, now).flatten().unwrap_or_default());
    let stage = move || now.with(|now| now.stage);
    let step = move || now.with(|now| now.step.clone());
    let line = move || now.with(|now| now.line.clone());
    let tensor = move || now.with(|now| now.tensor.clone());
    let is_ending = Memo::new(move |_| now.with(|now| now.is_ending));
    let keeps_model = Memo::new(move |_| now.with(|now| now.has_model));
    let cancel_label = move || match (is_ending.get(), keeps_model.get()) {
        (true, _) => "Cancelling…",
        (false, true) => "Skip measuring",
        (false, false) => "Cancel",
    };
    view! {
        <div class="convert-course">
            <p class="convert-stage">
                <strong role="status">{stage}</strong>
                <span>{step}</span>
            </p>
            <ConversionBar state/>
            <p class="download-line">{line}</p>
            <p class="convert-tensor" aria-hidden="true">{tensor}</p>
        </div>
        <p class="convert-note">
            "It goes on when this is closed: Downloads shows it. You can chat meanwhile, a little slower."
        </p>
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
                "Hide"
            </button>
        </div>
    }
}

/// What is shown of a conversion that runs.
#[derive(Clone, Default, PartialEq)]
struct Now {
    stage: &'static str,
    step: String,
    line: String,
    tensor: String,
    is_ending: bool,
    /// Whether the model is whole and only its figures are missing.
    has_model: bool,
}

fn now(conversion: &Conversion) -> Option<Now> {
    let ConversionState::Running { stage, step, n_steps, seconds_left, is_ending } =
        &conversion.state
    else {
        return None;
    };
    let tensor = match stage {
        ConversionStage::Converting(it) | ConversionStage::Preparing(it) => it.name.clone(),
        _ => String::new(),
    };
    Some(Now {
        stage: format::stage(stage),
        step: format!("Step {step} of {n_steps}"),
        line: format::stage_line(stage, *seconds_left),
        tensor,
        is_ending: *is_ending,
        has_model: matches!(stage, ConversionStage::Measuring(_)),
    })
}

#[component]
fn Done(
    name: String,
    before: u64,
    after: u64,
    figures: Option<Figures>,
    unmeasured: Option<Error>,
    close: Callback<()>,
    act: Callback<Action>,
) -> impl IntoView {
    let focused = take_focus();
    let use_it = Action::Use { name: name.clone(), context_tokens: None };
    view! {
        <p class="report" role="status">{format!("{name} is in the library.")}</p>
        <FiguresTable before_bytes=before after_bytes=after figures/>
        {unmeasured.map(|error| view! { <ErrorLine error=Signal::stored(Some(error))/> })}
        <div class="plan-buttons">
            <button type="button" class="button" data-testid="convert-close" on:click=move |_| close.run(())>
                "Close"
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
                "Use this model"
            </button>
        </div>
    }
}

#[component]
fn Failed(state: LibraryState, close: Callback<()>) -> impl IntoView {
    let error = Memo::new(move |_| of(state, failure).flatten());
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
                "Close"
            </button>
        </div>
    }
}

/// For a button that takes the focus when it comes: the one that had it has gone.
fn take_focus() -> NodeRef<html::Button> {
    let button = NodeRef::<html::Button>::new();
    Effect::new(move || {
        if let Some(button) = button.get() {
            let _ = button.focus();
        }
    });
    button
}
