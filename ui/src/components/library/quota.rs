//! What models take of the disk, against the most that they may take.

use leptos::{ev, html, prelude::*};
use lilims_ipc::Storage;

use super::fit_badge::share;
use super::parts::Aftermath;
use crate::format;
use crate::state::{Action, Concern, LibraryState};

/// The quota as a bar, with a form to change it.
#[component]
pub(super) fn Quota(
    /// What is taken.
    storage: Memo<Storage>,
    /// The state of the library.
    state: LibraryState,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let is_editing = RwSignal::new(false);
    let used = move || storage.with(|it| format::bytes(it.used_bytes));
    let quota = move || storage.with(|it| format::bytes(it.quota_bytes));
    view! {
        <section class="quota" aria-label="Storage">
            <div class="quota-head">
                <p>
                    <strong>{used}</strong>
                    " of "
                    {quota}
                </p>
                <Show when=move || !is_editing.get()>
                    <button
                        type="button"
                        class="button quiet link"
                        data-testid="quota-edit"
                        on:click=move |_| is_editing.set(true)
                    >
                        "Change quota"
                    </button>
                </Show>
            </div>
            <Bar storage/>
            <Show when=move || is_editing.get()>
                <Form storage is_editing act/>
            </Show>
            <Legend storage/>
            <Aftermath state concern=Concern::Quota/>
        </section>
    }
}

#[component]
fn Bar(storage: Memo<Storage>) -> impl IntoView {
    let models = move || storage.with(|it| share(finished(it), it.quota_bytes));
    let unfinished = move || storage.with(|it| share(it.unfinished_bytes, it.quota_bytes));
    let is_full = move || storage.with(|it| it.used_bytes > it.quota_bytes);
    let label = move || {
        storage.with(|it| {
            format!("{} of {} used", format::bytes(it.used_bytes), format::bytes(it.quota_bytes))
        })
    };
    view! {
        <div
            class="quota-bar"
            class:full=is_full
            role="img"
            aria-label=label
            data-testid="quota-bar"
            data-used=move || storage.with(|it| it.used_bytes)
            data-quota=move || storage.with(|it| it.quota_bytes)
        >
            <i class="models" style=("--share", models)></i>
            <i class="unfinished" style=("--share", unfinished)></i>
        </div>
    }
}

#[component]
fn Legend(storage: Memo<Storage>) -> impl IntoView {
    let entries = move || {
        let storage = storage.get();
        let entry = |class: &'static str, text: String| view! { <li class=class>{text}</li> };
        let bytes = format::bytes;
        let unfinished = (storage.unfinished_bytes > 0).then(|| {
            entry("unfinished", format!("Unfinished downloads {}", bytes(storage.unfinished_bytes)))
        });
        let in_place = (storage.in_place_bytes > 0).then(|| {
            entry("", format!("In other folders {}, not counted", bytes(storage.in_place_bytes)))
        });
        view! {
            {entry("models", format!("Models {}", bytes(finished(&storage))))}
            {unfinished}
            {in_place}
            {entry("", format!("{} free on this disk", bytes(storage.free_bytes)))}
        }
    };
    view! {
        <ul class="quota-legend">{entries}</ul>
        <p class="quota-folder" title="Where models are kept">{move || storage.with(|it| it.folder.clone())}</p>
    }
}

#[component]
fn Form(
    storage: Memo<Storage>,
    is_editing: RwSignal<bool>,
    act: Callback<Action>,
) -> impl IntoView {
    let gigabytes = storage.with_untracked(|it| format!("{:.1}", it.quota_bytes as f64 / 1e9));
    let text = RwSignal::new(gigabytes.trim_end_matches(".0").to_owned());
    let entered = Memo::new(move |_| text.with(|text| format::typed_gigabytes(text)));
    let field = NodeRef::<html::Input>::new();
    Effect::new(move || {
        if let Some(field) = field.get() {
            let _ = field.focus();
            field.select();
        }
    });
    let set = move |quota| {
        is_editing.set(false);
        act.run(Action::SetQuota(quota));
    };
    let save = move |event: ev::SubmitEvent| {
        event.prevent_default();
        if let Some(bytes) = entered.get_untracked() {
            set(Some(bytes));
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        if event.key() == "Escape" {
            event.stop_propagation();
            is_editing.set(false);
        }
    };
    let hint = move || match entered.get() {
        None => "Enter a size in gigabytes, such as 20.",
        Some(bytes) if storage.with(|it| bytes < it.used_bytes) => {
            "Less than the models take now: nothing is removed until the next download needs room."
        }
        Some(_) => {
            "When a download needs room, the models unused for longest leave. Pinned ones stay."
        }
    };
    view! {
        <form class="quota-form" on:submit=save on:keydown=on_keydown>
            <label for="quota-input">"Models may take"</label>
            <span class="with-unit">
                <input
                    id="quota-input"
                    data-testid="quota-input"
                    type="text"
                    inputmode="decimal"
                    autocomplete="off"
                    aria-describedby="quota-hint"
                    node_ref=field
                    prop:value=text
                    on:input=move |event| text.set(event_target_value(&event))
                />
                "GB"
            </span>
            <button type="submit" class="button primary" data-testid="quota-save" disabled=move || entered.get().is_none()>
                "Save"
            </button>
            <button type="button" class="button" on:click=move |_| is_editing.set(false)>"Cancel"</button>
            <Show when=move || storage.with(|it| !it.is_default_quota)>
                <button type="button" class="button quiet" data-testid="quota-default" on:click=move |_| set(None)>
                    "Use the default"
                </button>
            </Show>
            <p id="quota-hint">{hint}</p>
        </form>
    }
}

/// What whole models take.
fn finished(storage: &Storage) -> u64 {
    storage.used_bytes.saturating_sub(storage.unfinished_bytes)
}
