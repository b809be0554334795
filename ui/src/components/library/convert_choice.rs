//! The choice of a type for a conversion, with what it takes and keeps.

use leptos::prelude::*;
use lilims_ipc::{ConversionOffer, ConversionRequest, ConversionTarget};
use web_sys::{ScrollIntoViewOptions, ScrollLogicalPosition};

use super::conversion_row::of;
use super::parts::{Aftermath, ErrorLine};
use super::plan_dialog::{leaving, models};
use crate::format::{self, Clock};
use crate::state::{Action, Concern, ConvertView, LibraryState, first_choice, offered_targets};

/// The choice.
#[component]
pub(super) fn ConvertChoice(
    /// The offer that came first; a newer one is in the state.
    first: ConversionOffer,
    /// The state of the library.
    state: LibraryState,
    /// When the page was drawn.
    clock: Clock,
    /// Called to close the dialogue.
    close: Callback<()>,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let chosen = RwSignal::new(first_choice(&first).unwrap_or_default());
    let (is_weighed, is_measured) = (RwSignal::new(first.is_weighed), RwSignal::new(true));
    let source = source(&first);
    let name = first.name.clone();
    let offer = Memo::new(move |_| {
        state.offer.with(|offer| offer.here().cloned()).unwrap_or_else(|| first.clone())
    });
    let target = Memo::new(move |_| {
        offer.with(|offer| offer.targets.iter().find(|it| it.name == chosen.get()).cloned())
    });
    let asked = name.clone();
    let weigh = move |is_on: bool| {
        is_weighed.set(is_on);
        // Sizes and room are others then.
        act.run(Action::Offer { name: asked.clone(), is_weighed: is_on });
    };
    let start = move || {
        act.run(Action::Convert(ConversionRequest {
            name: name.clone(),
            target: chosen.get_untracked(),
            is_weighed: is_weighed.get_untracked(),
            is_measured: is_measured.get_untracked(),
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
                        label="Weigh by what matters (importance matrix)"
                        note="Better at few bits. The model reads a text first, so it takes longer."
                        is_on=is_weighed
                        on_change=Callback::new(weigh)
                    />
                    <Switch
                        id="convert-measure"
                        label="Measure before and after"
                        note="Both models read a text: shows what the conversion costs."
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
    // The chosen type stays in sight when others come above it.
    Effect::new(move || {
        targets.track();
        request_animation_frame(show_chosen);
    });
    view! {
        <fieldset class="convert-types">
            <legend>"Type"</legend>
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
                {move || if shows_all.get() { "Fewer types" } else { "More types" }}
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
                {target.is_recommended.then(|| view! { <span class="tag accent">"Recommended"</span> })}
            </span>
            <span class="convert-type-size">{format::bytes(target.size_bytes)}</span>
            <span class="convert-type-words">
                <b data-quality=quality_name(&target)>{format::quality(target.quality)}</b>
                {format!(" · {}", target.good_for)}
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

/// What choosing the type means: a warning, the room, and the models that leave for it.
#[component]
fn Consequences(target: ConversionTarget, clock: Clock) -> impl IntoView {
    let summary = summary(&target);
    view! {
        {target.caution.clone().map(|caution| view! {
            <div class="condition" data-testid="convert-caution"><p>{caution}</p></div>
        })}
        <p class="convert-room" data-testid="convert-room">{summary}</p>
        {models("Will be removed", &target.removes, |model| leaving(model, clock))}
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
        state.is_converting().then(|| of(state, format::conversion_title)).flatten()
    });
    view! {
        <div class="convert-foot">
            {move || target.get().map(|target| view! { <Consequences target clock/> })}
            {move || other.get().map(|title| view! {
                <div class="condition" data-testid="convert-busy">
                    <p>{format!("{title} is under way. One model is converted at a time.")}</p>
                    <button
                        type="button"
                        class="button quiet link"
                        on:click=move |_| state.convert_view.set(Some(ConvertView::Following))
                    >
                        "Show"
                    </button>
                </div>
            })}
            <Aftermath state concern=Concern::Conversion/>
            <div class="plan-buttons">
                <button type="button" class="button" data-testid="convert-cancel" on:click=move |_| close.run(())>
                    "Cancel"
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
    let facts = [offer.title.clone(), offer.quantisation.clone(), format::bytes(offer.size_bytes)];
    facts.into_iter().filter(|fact| !fact.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn summary(target: &ConversionTarget) -> String {
    let takes = format!("Takes {}", format::bytes(target.size_bytes));
    let freed: u64 = target.removes.iter().map(|model| model.disk_bytes).sum();
    match (&target.obstacle, target.removes.len()) {
        (Some(_), _) => format!("{takes}."),
        (None, 0) => format!("{takes}. There is room; the original stays."),
        (None, 1) => {
            format!("{takes}. For that one model leaves and frees {}.", format::bytes(freed))
        }
        (None, count) => {
            format!("{takes}. For that {count} models leave and free {}.", format::bytes(freed))
        }
    }
}

fn confirm_label(target: &ConversionTarget) -> String {
    match target.removes.len() {
        0 => format!("Convert to {}", target.name),
        count => format!("Remove {count} and convert"),
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
