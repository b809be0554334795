//! The model picker: a button under the message field that opens a list of models.

use leptos::{ev, html, prelude::*};
use lilims_ipc::{LibraryModel, ModelStatus, Verdict};

use super::icon::Icon;
use super::library::FitMark;
use super::untrusted::UntrustedName;
use crate::format;
use crate::text::text;

/// The picker.
#[component]
pub(crate) fn ModelPicker(
    /// The status of the model.
    #[prop(into)]
    status: Signal<Option<ModelStatus>>,
    /// The models to pick from, the loaded one first.
    #[prop(into)]
    models: Signal<Vec<LibraryModel>>,
    /// The short name of the loaded model.
    #[prop(into)]
    loaded: Signal<Option<String>>,
    /// Whether the list is shown.
    is_open: RwSignal<bool>,
    /// Called with the short name of the picked model.
    on_pick: Callback<String>,
    /// Called to unload the model.
    on_unload: Callback<()>,
    /// Called to show the library.
    on_library: Callback<()>,
) -> impl IntoView {
    let button = NodeRef::<html::Button>::new();
    let name = move || status.with(|status| current_name(status.as_ref()));
    let close = move || {
        is_open.set(false);
        if let Some(button) = button.get_untracked() {
            let _ = button.focus();
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if matches!(&*event.key(), "ArrowUp" | "ArrowDown") && !is_open.get_untracked() {
            event.prevent_default();
            is_open.set(true);
        }
    };
    view! {
        <div class="picker">
            <button
                type="button"
                class="meter picker-button"
                data-testid="model-picker"
                aria-label=move || text!(picker.current, name = format::visible_name(&name()))
                aria-haspopup="listbox"
                aria-expanded=move || is_open.get().to_string()
                node_ref=button
                on:click=move |_| is_open.update(|open| *open = !*open)
                on:keydown=on_keydown
            >
                <span><UntrustedName text=Signal::derive(name)/></span>
                {Icon::Unfold.view()}
            </button>
            <Show when=move || is_open.get()>
                <div class="scrim" on:click=move |_| close()></div>
                <Choices
                    status
                    models
                    loaded
                    on_pick=move |name| {
                        close();
                        on_pick.run(name);
                    }
                    on_unload=move |()| {
                        close();
                        on_unload.run(());
                    }
                    on_library=move |()| {
                        is_open.set(false);
                        on_library.run(());
                    }
                    on_close=move |()| close()
                />
            </Show>
        </div>
    }
}

/// The list below a field that filters it. The field has the focus; the option that Enter picks is highlighted.
#[component]
fn Choices(
    status: Signal<Option<ModelStatus>>,
    models: Signal<Vec<LibraryModel>>,
    loaded: Signal<Option<String>>,
    #[prop(into)] on_pick: Callback<String>,
    #[prop(into)] on_unload: Callback<()>,
    #[prop(into)] on_library: Callback<()>,
    #[prop(into)] on_close: Callback<()>,
) -> impl IntoView {
    let field = NodeRef::<html::Input>::new();
    let query = RwSignal::new(String::new());
    let all = models;
    let models = Memo::new(move |_| {
        let query = query.get();
        all.with(|models| models.iter().filter(|model| is_found(model, &query)).cloned().collect())
    });
    let models = Signal::<Vec<LibraryModel>>::from(models);
    // The index of the highlighted option; the list may become shorter while it is shown.
    let marked = RwSignal::new(untrack(|| loaded_index(&models.get(), loaded.get().as_deref())));
    Effect::new(move || {
        if let Some(field) = field.get() {
            let _ = field.focus();
        }
    });
    let on_field_keydown = move |event: ev::KeyboardEvent| {
        let count = models.with_untracked(Vec::len);
        let at = marked.get_untracked();
        match &*event.key() {
            "Enter" => {
                let name = models.with_untracked(|models| models.get(at).map(|it| it.name.clone()));
                if let Some(name) = name {
                    on_pick.run(name);
                }
            }
            key => match moved(at, count, key) {
                Some(to) => marked.set(to),
                None => return,
            },
        }
        event.prevent_default();
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Escape" {
            // Closes only the list.
            event.stop_propagation();
            on_close.run(());
        }
    };
    let is_empty = Memo::new(move |_| models.with(Vec::is_empty));
    let can_unload = move || matches!(status.get(), Some(ModelStatus::Ready { .. }));
    view! {
        <div class="picker-list" on:keydown=on_keydown>
            <input
                type="text"
                role="combobox"
                class="picker-field"
                aria-expanded="true"
                aria-controls="picker-options"
                aria-activedescendant=move || option_id(marked.get())
                aria-label=text!(picker.filter)
                placeholder=text!(picker.filter)
                data-testid="model-picker-field"
                autocomplete="off"
                node_ref=field
                on:input=move |event| {
                    query.set(event_target_value(&event));
                    marked.set(0);
                }
                on:keydown=on_field_keydown
            />
            <div
                id="picker-options"
                role="listbox"
                aria-label=text!(picker.model)
                data-testid="model-picker-list"
            >
                <For
                    each=move || models.get().into_iter().enumerate()
                    key=|(index, model)| (*index, model.name.clone())
                    let:choice
                >
                    <Choice index=choice.0 model=choice.1 models loaded marked on_pick/>
                </For>
            </div>
            <Show when=move || is_empty.get()>
                <p class="picker-empty">
                    {move || if query.with(String::is_empty) { text!(picker.empty) } else { text!(picker.nothing_found) }}
                </p>
            </Show>
            <div class="picker-foot">
                <button type="button" class="button quiet" data-testid="picker-library" on:click=move |_| on_library.run(())>
                    {Icon::Library.view()}
                    {text!(picker.open_library)}
                </button>
                <Show when=can_unload>
                    <button
                        type="button"
                        class="button quiet"
                        data-testid="unload-model"
                        title=text!(picker.unload_hint)
                        on:click=move |_| on_unload.run(())
                    >
                        {Icon::Unload.view()}
                        {text!(button.unload)}
                    </button>
                </Show>
            </div>
        </div>
    }
}

#[component]
fn Choice(
    index: usize,
    model: LibraryModel,
    models: Signal<Vec<LibraryModel>>,
    loaded: Signal<Option<String>>,
    marked: RwSignal<usize>,
    on_pick: Callback<String>,
) -> impl IntoView {
    let name = model.name.clone();
    let (own, picked) = (name.clone(), name.clone());
    let is_loaded = Memo::new(move |_| loaded.with(|loaded| loaded.as_ref() == Some(&own)));
    let line = format::facts([model.quantisation.clone(), format::bytes(model.size_bytes)]);
    let verdict = move || {
        let fit = models.with(|models| models.get(index).and_then(|model| model.fit.clone()));
        fit.map(|fit| {
            // What speaks against it.
            let why = (fit.verdict != Verdict::Fits).then(|| {
                let needed = format::bytes(fit.needed_bytes);
                let why = text!(fit.needs, needed, available = format::bytes(fit.available_bytes));
                view! { <span class="picker-line picker-why">{why}</span> }
            });
            view! {
                <FitMark verdict=fit.verdict/>
                {why}
            }
        })
    };
    view! {
        <div
            role="option"
            id=option_id(index)
            class="picker-option"
            class:marked=move || marked.get() == index
            data-testid="model-picker-option"
            data-name=name
            aria-selected=move || is_loaded.get().to_string()
            on:pointermove=move |_| marked.set(index)
            on:click=move |_| on_pick.run(picked.clone())
        >
            <span class="picker-tick">{move || is_loaded.get().then(|| Icon::Check.view())}</span>
            <span class="picker-title"><UntrustedName text=model.title/></span>
            <span class="picker-line"><UntrustedName text=line/></span>
            {verdict}
        </div>
    }
}

/// Whether the model's title, name or quantisation has each word of the query.
fn is_found(model: &LibraryModel, query: &str) -> bool {
    let LibraryModel { title, name, quantisation, .. } = model;
    let words = format!("{title} {name} {quantisation}").to_lowercase();
    query.to_lowercase().split_whitespace().all(|word| words.contains(word))
}

fn option_id(index: usize) -> String {
    format!("picker-option-{index}")
}

fn loaded_index(models: &[LibraryModel], loaded: Option<&str>) -> usize {
    models.iter().position(|model| Some(&*model.name) == loaded).unwrap_or(0)
}

/// The option that a key leads to.
fn moved(at: usize, count: usize, key: &str) -> Option<usize> {
    let last = count.checked_sub(1)?;
    match key {
        "ArrowDown" => Some((at + 1).min(last)),
        "ArrowUp" => Some(at.saturating_sub(1).min(last)),
        _ => None,
    }
}

fn current_name(status: Option<&ModelStatus>) -> String {
    match status {
        Some(ModelStatus::Loading { name }) if name.is_empty() => text!(header.the_model).into(),
        Some(ModelStatus::Loading { name } | ModelStatus::Unloaded { name, .. }) => name.clone(),
        Some(ModelStatus::Ready { model }) => model.name.clone(),
        Some(ModelStatus::LoadSuspended { attempt }) => attempt.name.clone(),
        None => text!(picker.model).into(),
        Some(ModelStatus::Failed { .. }) => text!(picker.choose).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_within_the_list() {
        assert_eq!(moved(0, 3, "ArrowDown"), Some(1));
        assert_eq!(moved(2, 3, "ArrowDown"), Some(2));
        assert_eq!(moved(0, 3, "ArrowUp"), Some(0));
        assert_eq!(moved(5, 3, "ArrowUp"), Some(2), "the list became shorter");
        assert_eq!(moved(1, 3, "x"), None);
        assert_eq!(moved(0, 0, "ArrowDown"), None);
    }
}
