//! The settings panel: how answers are sampled.

use leptos::prelude::*;
use lilims_ipc::{DesktopSettings, Options};

use super::desktop_settings::DesktopSettingsView;
use super::panel::Panel;
use crate::state::{Field, set};
use crate::text::text;

/// The settings panel.
#[component]
pub(crate) fn Settings(
    /// The sampling options.
    options: RwSignal<Options>,
    /// How the app lives on a desktop, once that is known.
    desktop: RwSignal<Option<DesktopSettings>>,
    /// Called with changed settings of the desktop.
    on_desktop: Callback<DesktopSettings>,
    /// Called to close the panel.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let is_default = Memo::new(move |_| options.get() == Options::default());
    view! {
        <Panel id="settings" title=text!(settings.title) close_label=text!(settings.close) on_close>
            <Slider field=Field::Temperature options/>
            <Slider field=Field::TopP options/>
            <NumberField field=Field::MaxTokens options/>
            <div class="settings-foot">
                <span>{text!(settings.applies)}</span>
                <button
                    type="button"
                    class="button"
                    data-testid="settings-reset"
                    disabled=is_default
                    on:click=move |_| options.set(Options::default())
                >
                    {text!(button.reset)}
                </button>
            </div>
            <DesktopSettingsView settings=desktop on_change=on_desktop/>
        </Panel>
    }
}

#[component]
fn Slider(field: Field, options: RwSignal<Options>) -> impl IntoView {
    let range = field.range();
    let text = text_of(field, options);
    let fill = move || {
        let value: f64 = text.with(|text| text.parse().unwrap_or(range.min));
        format!("{}%", 100.0 * (value - range.min) / (range.max - range.min))
    };
    view! {
        <Setting field>
            <output for=range.id>{text}</output>
            <input
                type="range"
                id=range.id
                data-testid=range.id
                aria-describedby=hint_id(field)
                min=range.min
                max=range.max
                step=range.step
                prop:value=text
                style=("--fill", fill)
                on:input=move |event| apply_entry(options, field, &event)
            />
        </Setting>
    }
}

#[component]
fn NumberField(field: Field, options: RwSignal<Options>) -> impl IntoView {
    let range = field.range();
    let text = text_of(field, options);
    view! {
        <Setting field>
            <input
                type="number"
                inputmode="numeric"
                id=range.id
                data-testid=range.id
                aria-describedby=hint_id(field)
                min=range.min
                max=range.max
                step=range.step
                prop:value=text
                on:input=move |event| apply_entry(options, field, &event)
                // The entry may be empty or not a number: show the value that applies.
                on:blur:target=move |event| text.with_untracked(|text| event.target().set_value(text))
            />
        </Setting>
    }
}

/// The label, control and hint of a field.
#[component]
fn Setting(field: Field, children: Children) -> impl IntoView {
    let range = field.range();
    view! {
        <div class="setting">
            <label for=range.id>{range.label}</label>
            {children()}
            <p id=hint_id(field)>{range.hint}</p>
        </div>
    }
}

/// The element id of a field's hint.
fn hint_id(field: Field) -> String {
    format!("{}-hint", field.range().id)
}

/// The text of a field's control. It changes only with the value, so that an entry without effect,
/// such as an emptied field, stays as it was typed.
fn text_of(field: Field, options: RwSignal<Options>) -> Memo<String> {
    Memo::new(move |_| options.with(|options| field.text(options)))
}

/// Sets the entered value.
fn apply_entry(options: RwSignal<Options>, field: Field, event: &web_sys::Event) {
    options.update(|options| set(options, field, &event_target_value(event)));
}
