//! How answers are sampled, in a small panel: beside its button on a desktop, a sheet on a phone.

use leptos::{html, prelude::*};
use lilims_ipc::Options;
use wasm_bindgen::JsCast;

use super::icon::Icon;
use crate::state::{Field, set};

/// The settings panel. It takes the focus while it is there and gives it back afterwards.
#[component]
pub(crate) fn Settings(
    /// What is set.
    options: RwSignal<Options>,
    /// Called to close the panel.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let panel = NodeRef::<html::Div>::new();
    Effect::new(move || {
        if let Some(panel) = panel.get() {
            let _ = panel.focus();
        }
    });
    give_focus_back();
    let is_default = Memo::new(move |_| options.get() == Options::default());
    view! {
        <div class="scrim" on:click=move |_| on_close.run(())></div>
        <div
            class="settings"
            role="dialog"
            aria-labelledby="settings-title"
            tabindex="-1"
            data-testid="settings"
            node_ref=panel
        >
            <div class="settings-head">
                <h2 id="settings-title">"Settings"</h2>
                <button
                    type="button"
                    class="button quiet small"
                    data-testid="settings-close"
                    aria-label="Close settings"
                    title="Close (Esc)"
                    on:click=move |_| on_close.run(())
                >
                    {Icon::Close.view()}
                </button>
            </div>
            <Slider field=Field::Temperature options/>
            <Slider field=Field::TopP options/>
            <NumberField field=Field::MaxTokens options/>
            <div class="settings-foot">
                <span>"Applies from the next answer."</span>
                <button
                    type="button"
                    class="button"
                    data-testid="settings-reset"
                    disabled=is_default
                    on:click=move |_| options.set(Options::default())
                >
                    "Reset"
                </button>
            </div>
        </div>
    }
}

/// When the panel goes, focuses what was focused when it came.
fn give_focus_back() {
    let focused = document().active_element();
    let focused = StoredValue::new_local(focused);
    on_cleanup(move || {
        let element = focused.try_get_value().flatten();
        if let Some(element) = element.and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = element.focus();
        }
    });
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
                on:input=move |event| take_over(options, field, &event)
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
                on:input=move |event| take_over(options, field, &event)
                // What was typed may be empty or no number: show what holds.
                on:blur:target=move |event| text.with_untracked(|text| event.target().set_value(text))
            />
        </Setting>
    }
}

/// A field's label, its controls and what it does.
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

/// What a field's control shows. It changes only with the value, so that an entry that sets
/// nothing, such as an emptied field, stays as it was typed.
fn text_of(field: Field, options: RwSignal<Options>) -> Memo<String> {
    Memo::new(move |_| options.with(|options| field.text(options)))
}

/// Sets what was entered.
fn take_over(options: RwSignal<Options>, field: Field, event: &web_sys::Event) {
    options.update(|options| set(options, field, &event_target_value(event)));
}
