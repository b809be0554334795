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
    let text = move || options.with(|options| field.text(options));
    let fill = move || {
        let value: f64 = text().parse().unwrap_or(range.min);
        format!("{}%", 100.0 * (value - range.min) / (range.max - range.min))
    };
    let hint_id = format!("{}-hint", range.id);
    view! {
        <div class="setting">
            <div class="setting-head">
                <label for=range.id>{range.label}</label>
                <output for=range.id>{text}</output>
            </div>
            <input
                type="range"
                id=range.id
                data-testid=range.id
                aria-describedby=hint_id.clone()
                min=range.min
                max=range.max
                step=range.step
                prop:value=text
                style=("--fill", fill)
                on:input=move |event| {
                    options.update(|options| set(options, field, &event_target_value(&event)));
                }
            />
            <p id=hint_id>{range.hint}</p>
        </div>
    }
}

#[component]
fn NumberField(field: Field, options: RwSignal<Options>) -> impl IntoView {
    let range = field.range();
    let text = move || options.with(|options| field.text(options));
    let hint_id = format!("{}-hint", range.id);
    view! {
        <div class="setting">
            <div class="setting-head">
                <label for=range.id>{range.label}</label>
                <input
                    type="number"
                    inputmode="numeric"
                    id=range.id
                    data-testid=range.id
                    aria-describedby=hint_id.clone()
                    min=range.min
                    max=range.max
                    step=range.step
                    prop:value=text
                    on:input=move |event| {
                        options.update(|options| set(options, field, &event_target_value(&event)));
                    }
                    // What was typed may be out of range or empty: show what holds.
                    on:blur=move |_| options.notify()
                />
            </div>
            <p id=hint_id>{range.hint}</p>
        </div>
    }
}
