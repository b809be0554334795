//! The choice of a target type for a conversion, with its size, quality and consequences.

use leptos::prelude::*;
use lilims_ipc::{ConversionOffer, ConversionRequest, ConversionTarget};
use web_sys::{ScrollIntoViewOptions, ScrollLogicalPosition};

use super::conversion_row::with_conversion;
use super::parts::{ActionResult, ErrorLine};
use super::plan_dialog::{models, removed_line};
use crate::components::untrusted::UntrustedName;
use crate::format::{self, Clock};
use crate::state::{Action, Concern, ConvertView, LibraryState, first_choice, offered_targets};
use crate::text::{self, text, text_view};

/// The form: the types, two switches, the consequences and the buttons.
#[component]
pub(super) fn ConvertChoice(
    /// The offer when the dialog opened; a newer one is in the state.
    first: ConversionOffer,
    /// The state of the library.
    state: LibraryState,
    /// The time when the page was drawn.
    clock: Clock,
    /// Called to close the dialog.
    close: Callback<()>,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let chosen = RwSignal::new(first_choice(&first).unwrap_or_default());
    let (is_weighed, is_measured) = (RwSignal::new(first.is_weighed), RwSignal::new(true));
    let source = source(&first);
    let name = first.name.clone();
    let offer = Memo::new(move |_| {
        state.offer.with(|offer| offer.ready().cloned()).unwrap_or_else(|| first.clone())
    });
    let target = Memo::new(move |_| {
        offer.with(|offer| offer.targets.iter().find(|it| it.name == chosen.get()).cloned())
    });
    let model_name = name.clone();
    let weigh = move |is_on: bool| {
        is_weighed.set(is_on);
        // Sizes and the models to remove change with it.
        act.run(Action::Offer { name: model_name.clone(), is_weighed: is_on });
    };
    let start = move || {
        act.run(Action::Convert(ConversionRequest {
            name: name.clone(),
            target: chosen.get_untracked(),
            is_weighed: is_weighed.get_untracked(),
            is_measured: is_measured.get_untracked(),
            agreed_removals: target.with_untracked(|target| {
                let removes = target.iter().flat_map(|target| &target.removes);
                removes.map(|model| model.name.clone()).collect()
            }),
        }));
    };
    view! {
        <form
            class="convert"
            on:submit=move |event| {
                event.prevent_default();
                start();
            }
        >
            <p class="convert-source">{source}</p>
            <div class="convert-body">
                <Types offer chosen/>
                <div class="convert-switches">
                    <Switch
                        id="convert-weigh"
                        label=text!(convert.importance)
                        note=text!(convert.importance_hint)
                        is_on=is_weighed
                        on_change=Callback::new(weigh)
                    />
                    <Switch
                        id="convert-measure"
                        label=text!(convert.measure)
                        note=text!(convert.measure_hint)
                        is_on=is_measured
                        on_change=Callback::new(move |is_on| is_measured.set(is_on))
                    />
                </div>
            </div>
            <Foot target state clock close/>
        </form>
    }
}

/// The types as a list of radio buttons.
#[component]
fn Types(offer: Memo<ConversionOffer>, chosen: RwSignal<String>) -> impl IntoView {
    let shows_all = RwSignal::new(false);
    let targets = Memo::new(move |_| {
        offer.with(|offer| offered_targets(offer, shows_all.get(), &chosen.get()))
    });
    // Keeps the chosen type in view when others are inserted above it.
    Effect::new(move || {
        targets.track();
        request_animation_frame(show_chosen);
    });
    view! {
        <fieldset class="convert-types">
            <legend>{text!(convert.type_label)}</legend>
            <For each=move || targets.get() key=|target| (target.name.clone(), target.size_bytes) let:target>
                <TypeRow target chosen/>
            </For>
        </fieldset>
        <div class="convert-more">
            <button
                type="button"
                class="button quiet link"
                data-testid="convert-more"
                aria-expanded=move || shows_all.get().to_string()
                on:click=move |_| shows_all.update(|all| *all = !*all)
            >
                {move || {
                    if shows_all.get() { text!(convert.fewer_types) } else { text!(convert.more_types) }
                }}
            </button>
        </div>
    }
}

fn show_chosen() {
    let chosen = document().query_selector(".convert-type:has(:checked)").ok().flatten();
    if let Some(chosen) = chosen {
        let options = ScrollIntoViewOptions::new();
        options.set_block(ScrollLogicalPosition::Nearest);
        chosen.scroll_into_view_with_scroll_into_view_options(&options);
    }
}

#[component]
fn TypeRow(target: ConversionTarget, chosen: RwSignal<String>) -> impl IntoView {
    let name = target.name.clone();
    let (own, value) = (name.clone(), name.clone());
    let good_for = text::good_for(&name);
    view! {
        <label class="convert-type">
            <input
                type="radio"
                name="convert-type"
                data-testid="convert-type"
                data-name=name.clone()
                value=name.clone()
                prop:checked=move || chosen.get() == own
                on:change=move |_| chosen.set(value.clone())
            />
            <span class="convert-type-name">
                <strong>{name}</strong>
                {target.is_recommended.then(|| view! { <span class="tag accent">{text!(convert.recommended)}</span> })}
            </span>
            <span class="convert-type-size">{format::bytes(target.size_bytes)}</span>
            <span class="convert-type-words">
                <b data-quality=quality_name(&target)>{format::quality(target.quality)}</b>
                {(!good_for.is_empty()).then(|| format!(" · {good_for}"))}
            </span>
            <span class="convert-type-figure">{format::bits_per_weight(target.bits_per_weight)}</span>
        </label>
    }
}

#[component]
fn Switch(
    id: &'static str,
    label: &'static str,
    note: &'static str,
    is_on: RwSignal<bool>,
    on_change: Callback<bool>,
) -> impl IntoView {
    let note_id = format!("{id}-note");
    view! {
        <div class="convert-switch">
            <label class="check">
                <input
                    type="checkbox"
                    data-testid=id
                    aria-describedby=note_id.clone()
                    prop:checked=is_on
                    on:change=move |event| on_change.run(event_target_checked(&event))
                />
                {label}
            </label>
            <p id=note_id>{note}</p>
        </div>
    }
}

/// The consequences of the chosen type: a warning, the space, and the models removed for it.
#[component]
fn Consequences(target: ConversionTarget, clock: Clock) -> impl IntoView {
    let summary = summary(&target);
    view! {
        {target.caution.map(|caution| view! {
            <div class="condition" data-testid="convert-caution">
                <p>{text::caution(caution, &target.name)}</p>
            </div>
        })}
        <p class="convert-room" data-testid="convert-room">{summary}</p>
        {models(text!(plan.will_be_removed), &target.removes, |model| removed_line(model, clock))}
        {target.obstacle.map(|obstacle| view! { <ErrorLine error=Signal::stored(Some(obstacle))/> })}
    }
}

#[component]
fn Foot(
    target: Memo<Option<ConversionTarget>>,
    state: LibraryState,
    clock: Clock,
    close: Callback<()>,
) -> impl IntoView {
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Conversion));
    let has_room =
        move || target.with(|target| target.as_ref().is_some_and(|it| it.obstacle.is_none()));
    let label = move || target.with(|target| target.as_ref().map(confirm_label));
    let other = Memo::new(move |_| {
        state.is_converting().then(|| with_conversion(state, format::conversion_title)).flatten()
    });
    let other_running = |title: String| {
        text_view!(convert.other_running, title = view! { <UntrustedName text=title/> })
    };
    view! {
        <div class="convert-foot">
            {move || target.get().map(|target| view! { <Consequences target clock/> })}
            {move || other.get().map(|title| view! {
                <div class="condition" data-testid="convert-busy">
                    <p>{other_running(title)}</p>
                    <button
                        type="button"
                        class="button quiet link"
                        on:click=move |_| state.convert_view.set(Some(ConvertView::Following))
                    >
                        {text!(button.show)}
                    </button>
                </div>
            })}
            <ActionResult state concern=Concern::Conversion/>
            <div class="plan-buttons">
                <button type="button" class="button" data-testid="convert-cancel" on:click=move |_| close.run(())>
                    {text!(button.cancel)}
                </button>
                <button
                    type="submit"
                    class="button primary"
                    data-testid="convert-start"
                    disabled=move || is_busy.get() || !has_room() || other.with(Option::is_some)
                >
                    {label}
                </button>
            </div>
        </div>
    }
}

fn source(offer: &ConversionOffer) -> String {
    let size = format::bytes(offer.size_bytes);
    format::facts([offer.title.clone(), offer.quantisation.clone(), size])
}

fn summary(target: &ConversionTarget) -> String {
    let size = format::bytes(target.size_bytes);
    let freed = format::bytes(target.removes.iter().map(|model| model.disk_bytes).sum());
    match (&target.obstacle, target.removes.len()) {
        (Some(_), _) => text!(convert.takes, size),
        (None, 0) => text!(convert.takes_nothing_removed, size),
        (None, count) => text!(convert.takes_removes, count, size, freed),
    }
}

fn confirm_label(target: &ConversionTarget) -> String {
    match target.removes.len() {
        0 => text!(convert.confirm, target = target.name.clone()),
        count => text!(convert.confirm_removes, count),
    }
}

/// The stable name of the attribute `data-quality`.
fn quality_name(target: &ConversionTarget) -> &'static str {
    use lilims_ipc::Quality;
    match target.quality {
        Quality::Lossless | Quality::Excellent | Quality::VeryGood => "high",
        Quality::Good => "good",
        Quality::Fair => "fair",
        Quality::Poor => "poor",
    }
}
