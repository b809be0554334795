//! The card of a model on this device, with its buttons.

use leptos::{ev, html, prelude::*};
use lilims_ipc::{Condition, Conversion, LibraryModel, ModelStatus, Place};

use super::conversion_row::ConversionOfCard;
use super::fit_badge::FitBadge;
use super::model_details::ModelDetails;
use super::parts::{ActionResult, Facts, current};
use crate::components::icon::Icon;
use crate::components::untrusted::{UntrustedName, UntrustedText};
use crate::format::{self, Clock};
use crate::state::{Action, Concern, ConvertView, LibraryState};
use crate::text::{self, text};

/// The card.
#[component]
pub(super) fn ModelCard(
    /// The model when the card was created.
    model: LibraryModel,
    /// All models.
    models: Signal<Vec<LibraryModel>>,
    /// The short name of the loaded model.
    loaded: Signal<Option<String>>,
    /// The status of the loaded model.
    status: Signal<Option<ModelStatus>>,
    /// The state of the library.
    state: LibraryState,
    /// The time when the page was drawn.
    clock: Clock,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let name = model.name.clone();
    let (own, concern) = (name.clone(), Concern::Model(name.clone()));
    let source = name.clone();
    let model = current(models, model, |model| model.name.clone());
    let is_loaded = Memo::new(move |_| loaded.with(|loaded| loaded.as_ref() == Some(&own)));
    let is_removing = RwSignal::new(false);
    let title_id = format!("model-{name}");
    let badge_id = title_id.clone();
    let badge = move || {
        let fit = model.with(|model| model.fit.clone())?;
        let id = badge_id.clone();
        Some(view! { <FitBadge id verdict=fit.verdict fit=Signal::stored(Some(fit))/> })
    };
    let facts = move || model.with(facts);
    let uses = move || model.with(|model| uses(model, clock));
    view! {
        <li>
            <article
                class="model-card"
                class:loaded=is_loaded
                data-testid="model-card"
                data-name=name
                aria-labelledby=title_id.clone()
            >
                <div class="model-card-text">
                    <h3 id=title_id.clone()>
                        <span data-testid="model-card-title">
                            <UntrustedName text=Signal::derive(move || model.with(|model| model.title.clone()))/>
                        </span>
                        <Tags model is_loaded status/>
                    </h3>
                    <Facts facts=Signal::derive(facts)/>
                    <div class="model-card-foot">
                        {badge}
                        <Facts facts=Signal::derive(uses)/>
                    </div>
                </div>
                <Show
                    when=move || is_removing.get()
                    fallback=move || view! { <Controls model is_loaded is_removing state act/> }
                >
                    <Removal model is_removing act/>
                </Show>
                <ConditionNote model state act/>
                <ConversionOfCard name=source state/>
                <ActionResult state concern/>
                <ModelDetails model is_loaded act/>
            </article>
        </li>
    }
}

/// Tags: loaded or loading, pinned.
#[component]
fn Tags(
    model: Memo<LibraryModel>,
    is_loaded: Memo<bool>,
    status: Signal<Option<ModelStatus>>,
) -> impl IntoView {
    let loading = move || matches!(status.get(), Some(ModelStatus::Loading { .. }));
    view! {
        <Show when=move || is_loaded.get()>
            <span class="tag accent">{move || if loading() { text!(model.loading) } else { text!(model.loaded) }}</span>
        </Show>
        <Show when=move || model.with(|model| model.is_pinned)>
            <span class="tag">{text!(model.pinned)}</span>
        </Show>
    }
}

#[component]
fn Controls(
    model: Memo<LibraryModel>,
    is_loaded: Memo<bool>,
    is_removing: RwSignal<bool>,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let name = move || model.with_untracked(|model| model.name.clone());
    let title = move || model.with(|model| format::visible_name(&model.title));
    let is_ours = move || model.with(|model| model.place == Place::Ours);
    let is_pinned = Memo::new(move |_| model.with(|model| model.is_pinned));
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Model(name())));
    let is_verifying = Memo::new(move |_| {
        let own = Action::Verify { name: name() };
        state.busy.with(|busy| busy.contains(&own))
    });
    let can_use = Memo::new(move |_| model.with(|model| model.condition == Condition::Good));
    let is_available =
        Memo::new(move |_| model.with(|model| model.condition != Condition::Missing));
    // For a model that is being converted, this shows the progress.
    let convert = move || {
        let is_source = |it: &Conversion| it.request.name == name();
        let is_its = state.conversion.with_untracked(|it| it.as_ref().is_some_and(is_source));
        if is_its && state.is_converting() {
            state.convert_view.set(Some(ConvertView::Following));
        } else {
            act.run(Action::Offer { name: name(), is_weighed: false });
        }
    };
    let verify_label = move || {
        if is_verifying.get() {
            text!(model.verifying, title = title())
        } else {
            text!(model.verify, title = title())
        }
    };
    view! {
        <div class="model-card-controls">
            <Show when=is_ours>
                <button
                    type="button"
                    class="button quiet small"
                    class:on=is_pinned
                    data-testid="model-pin"
                    aria-label=move || text!(model.pin, title = title())
                    aria-pressed=move || is_pinned.get().to_string()
                    title=move || {
                        if is_pinned.get() { text!(model.pinned_hint) } else { text!(model.pin_hint) }
                    }
                    on:click=move |_| act.run(Action::Pin { name: name(), is_pinned: !is_pinned.get_untracked() })
                >
                    {Icon::Pin.view()}
                </button>
            </Show>
            <Show when=move || is_available.get()>
                <button
                    type="button"
                    class="button quiet small"
                    class:working=is_verifying
                    data-testid="model-verify"
                    aria-label=verify_label
                    title=text!(model.verify_hint)
                    disabled=is_busy
                    on:click=move |_| act.run(Action::Verify { name: name() })
                >
                    {Icon::Verify.view()}
                </button>
            </Show>
            <Show when=move || can_use.get()>
                <button
                    type="button"
                    class="button quiet small"
                    data-testid="model-convert"
                    aria-label=move || text!(model.convert, title = title())
                    aria-haspopup="dialog"
                    title=text!(model.convert_hint)
                    on:click=move |_| convert()
                >
                    {Icon::Convert.view()}
                </button>
            </Show>
            <Show when=is_ours>
                <button
                    type="button"
                    class="button quiet small"
                    data-testid="model-remove"
                    aria-label=move || text!(model.remove, title = title())
                    title=text!(model.remove_hint)
                    disabled=is_busy
                    on:click=move |_| is_removing.set(true)
                >
                    {Icon::Remove.view()}
                </button>
            </Show>
            <Show
                when=move || is_loaded.get()
                fallback=move || {
                    view! {
                        <button
                            type="button"
                            class="button"
                            data-testid="model-use"
                            aria-label=move || text!(button.use_model_named, name = title())
                            disabled=move || !can_use.get() || is_busy.get()
                            on:click=move |_| act.run(Action::Use { name: name(), context_tokens: None })
                        >
                            {text!(button.use_model)}
                        </button>
                    }
                }
            >
                <button
                    type="button"
                    class="button"
                    data-testid="unload-model"
                    title=text!(model.unload_hint)
                    disabled=move || state.is_busy(&Concern::Loaded)
                    on:click=move |_| act.run(Action::Unload)
                >
                    {text!(button.unload)}
                </button>
            </Show>
        </div>
    }
}

/// Asks whether to remove the model, in place of its controls.
#[component]
fn Removal(
    model: Memo<LibraryModel>,
    is_removing: RwSignal<bool>,
    act: Callback<Action>,
) -> impl IntoView {
    let keep = NodeRef::<html::Button>::new();
    Effect::new(move || {
        if let Some(keep) = keep.get() {
            let _ = keep.focus();
        }
    });
    let frees =
        move || model.with(|model| text!(model.frees, size = format::bytes(model.disk_bytes)));
    let remove = move |_| {
        is_removing.set(false);
        act.run(Action::Remove { name: model.with_untracked(|model| model.name.clone()) });
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Escape" {
            event.stop_propagation();
            is_removing.set(false);
        }
    };
    view! {
        <div class="model-card-controls removal" role="group" aria-label=text!(model.remove_question) on:keydown=on_keydown>
            <span>{frees}</span>
            <button
                type="button"
                class="button"
                data-testid="model-keep"
                node_ref=keep
                on:click=move |_| is_removing.set(false)
            >
                {text!(button.keep)}
            </button>
            <button type="button" class="button danger" data-testid="model-remove-confirm" on:click=remove>
                {text!(button.remove)}
            </button>
        </div>
    }
}

/// Why a model cannot be used, and what to do about it.
#[component]
fn ConditionNote(
    model: Memo<LibraryModel>,
    state: LibraryState,
    act: Callback<Action>,
) -> impl IntoView {
    let name = move || model.with_untracked(|model| model.name.clone());
    let is_busy = move || state.is_busy(&Concern::Model(name()));
    let repair = move || {
        let can_repair =
            model.with(|model| model.repository.is_some() && model.conversion.is_none());
        can_repair.then(|| {
            view! {
                <button
                    type="button"
                    class="button"
                    data-testid="model-repair"
                    disabled=is_busy
                    on:click=move |_| act.run(Action::Verify { name: name() })
                >
                    {text!(button.repair)}
                </button>
            }
        })
    };
    move || match model.with(|model| model.condition.clone()) {
        Condition::Good => ().into_any(),
        Condition::Damaged => view! {
            <div class="condition" data-condition="damaged">
                <p>{text!(model.damaged)}</p>
                {repair}
            </div>
        }
        .into_any(),
        Condition::Missing => view! {
            <div class="condition" data-condition="missing">
                <p>{text!(model.missing)}</p>
                <button type="button" class="button" on:click=move |_| act.run(Action::Scan)>
                    {text!(button.look_again)}
                </button>
            </div>
        }
        .into_any(),
        Condition::Unsupported { error } => view! {
            <div class="condition" data-condition="unsupported">
                <p><UntrustedText text=text::error(&error)/></p>
            </div>
        }
        .into_any(),
    }
}

fn facts(model: &LibraryModel) -> Vec<String> {
    vec![
        model.quantisation.clone(),
        model.family.clone(),
        model.context_tokens.map(format::tokens).unwrap_or_default(),
        model.licence.clone().unwrap_or_default(),
    ]
}

fn uses(model: &LibraryModel, clock: Clock) -> Vec<String> {
    let place = match &model.place {
        Place::Ours => String::new(),
        Place::Bundled => text!(model.bundled).into(),
        Place::InPlace { owner } => text!(model.in_place, owner = text::owner(owner)),
    };
    let size = text!(model.on_disk, size = format::bytes(model.disk_bytes));
    vec![size, format::last_used(model.last_used_ms, clock), place]
}
