//! One setting: its name, its control, what it does, where its value comes from, and its reset.

use leptos::prelude::*;
use lilims_ipc::{Setting, SettingKind, SettingRow, SettingValue};

use super::super::icon::Icon;
use crate::format::number;
use crate::state::settings::{entered, origin, overflows, shown, test_id, texts};
use crate::text::text;

/// Longer inherited values are not repeated beside where they come from.
const MAX_SHOWN_CHARS: usize = 40;
/// What instructions may contain.
const VARIABLES: &str = "{{date}} {{time}} {{weekday}}";

/// A setting.
#[component]
pub(super) fn SettingView(
    /// Which.
    setting: Setting,
    /// Its values.
    row: Memo<Option<SettingRow>>,
    /// The short names of the models on this device.
    models: Signal<Vec<String>>,
    /// Called with the new value; `None` resets it.
    on_set: Callback<(Setting, Option<SettingValue>)>,
) -> impl IntoView {
    let (label, hint) = texts(setting);
    let id = test_id(setting);
    let is_own =
        Memo::new(move |_| row.with(|row| row.as_ref().is_some_and(|it| it.own.is_some())));
    let inherited = move || {
        row.with(|row| {
            let row = row.as_ref()?;
            let value = shown(row.inherited.as_ref());
            let from = origin(row.origin);
            // Long texts are shown by their control.
            let is_short = value.chars().count() <= MAX_SHOWN_CHARS;
            (!value.is_empty()).then(|| {
                if is_short { format!("{from}: {}", word_name(&value)) } else { from.into() }
            })
        })
    };
    view! {
        <div class="setting" class:own=is_own data-testid=format!("setting-row-{id}")>
            <label for=id>{label}</label>
            <button
                type="button"
                class="button quiet small"
                class:hidden=move || !is_own.get()
                data-testid=format!("{id}-reset")
                aria-label=text!(settings.reset_named, name = label)
                title=text!(button.reset)
                on:click=move |_| on_set.run((setting, None))
            >
                {Icon::Undo.view()}
            </button>
            {control(setting, row, models, on_set)}
            <p id=format!("{id}-hint")>
                {hint} " "
                {(setting == Setting::Instructions).then(|| view! { <code dir="ltr">{VARIABLES}</code> " " })}
                <span class="setting-from">{inherited}</span>
            </p>
        </div>
    }
}

/// The name of a word that is stored for a choice.
fn word_name(word: &str) -> String {
    overflows().into_iter().find(|(it, _)| *it == word).map_or(word, |(_, name)| name).to_owned()
}

fn control(
    setting: Setting,
    row: Memo<Option<SettingRow>>,
    models: Signal<Vec<String>>,
    on_set: Callback<(Setting, Option<SettingValue>)>,
) -> AnyView {
    let id = test_id(setting);
    let Some(kind) = row.with_untracked(|row| row.as_ref().map(|row| row.kind)) else {
        return ().into_any();
    };
    // The value that applies; of texts only the own one, which can be typed over.
    let text = Memo::new(move |_| {
        row.with(|row| {
            let row = row.as_ref();
            let own = row.and_then(|row| row.own.as_ref());
            shown(own.or_else(|| row.and_then(|row| row.inherited.as_ref())))
        })
    });
    let own =
        Memo::new(move |_| row.with(|row| shown(row.as_ref().and_then(|it| it.own.as_ref()))));
    let set = move |entry: String| {
        let value = entered(kind, &entry);
        // What is no number has no effect; an empty field resets.
        if value.is_some() || entry.trim().is_empty() {
            on_set.run((setting, value));
        }
    };
    let hint = format!("{id}-hint");
    match kind {
        SettingKind::Number { min, max, step } => {
            let is_range = max <= 2.0;
            let [least, most, step] = [min, max, step].map(number::shortest);
            let (range_least, range_most, range_step) = (least.clone(), most.clone(), step.clone());
            let fill = move || {
                let value = text.with(|text| number::parse(text)).unwrap_or(min);
                format!("{}%", number::fixed(100.0 * (value - min) / (max - min), 2))
            };
            view! {
                <input
                    type="number"
                    id=id
                    data-testid=id
                    aria-describedby=hint
                    min=least
                    max=most
                    step=step
                    prop:value=text
                    placeholder="–"
                    on:change:target=move |event| {
                        set(event.target().value());
                        // What was typed may have been out of bounds, or no number.
                        text.with_untracked(|text| event.target().set_value(text));
                    }
                />
                {is_range
                    .then(|| {
                        view! {
                            <input
                                type="range"
                                aria-label=texts(setting).0
                                data-testid=format!("{id}-range")
                                min=range_least
                                max=range_most
                                step=range_step
                                prop:value=text
                                style=("--fill", fill)
                                on:change:target=move |event| set(event.target().value())
                            />
                        }
                    })}
            }
            .into_any()
        }
        SettingKind::Text | SettingKind::Lines => view! {
            <textarea
                id=id
                data-testid=id
                aria-describedby=hint
                rows="3"
                dir="auto"
                spellcheck="false"
                prop:value=own
                placeholder=move || text.get()
                on:change:target=move |event| set(event.target().value())
            ></textarea>
        }
        .into_any(),
        SettingKind::Model | SettingKind::Overflow => {
            let options = move || {
                let mut options: Vec<(String, String)> = match kind {
                    SettingKind::Overflow => {
                        overflows().map(|(word, name)| (word.to_owned(), name.to_owned())).into()
                    }
                    _ => models.get().into_iter().map(|name| (name.clone(), name)).collect(),
                };
                options.insert(0, (String::new(), text!(settings.not_set).to_owned()));
                let option = |(value, name): (String, String)| {
                    let is_chosen = own.with(|own| *own == value);
                    view! { <option value=value.clone() selected=is_chosen>{name}</option> }
                };
                options.into_iter().map(option).collect_view()
            };
            view! {
                <select
                    id=id
                    data-testid=id
                    aria-describedby=hint
                    on:change:target=move |event| set(event.target().value())
                >
                    {options}
                </select>
            }
            .into_any()
        }
    }
}
