//! The disk space that models take, against the quota.

use leptos::{ev, html, prelude::*};
use lilims_ipc::Storage;

use super::fit_badge::share;
use super::parts::ActionResult;
use crate::components::untrusted::UntrustedName;
use crate::format;
use crate::state::{Action, Concern, LibraryState};
use crate::text::{text, text_view};

/// The quota as a bar, with a form to change it.
#[component]
pub(super) fn Quota(
    /// The space taken and the quota.
    storage: Memo<Storage>,
    /// The state of the library.
    state: LibraryState,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let is_editing = RwSignal::new(false);
    let used = move || storage.with(|it| format::bytes(it.used_bytes));
    let quota = move || storage.with(|it| format::bytes(it.quota_bytes));
    let used_of = text_view!(quota.used_of, used = view! { <strong>{used}</strong> }, quota);
    view! {
        <section class="quota" aria-label=text!(quota.label)>
            <div class="quota-head">
                <p>{used_of}</p>
                <Show when=move || !is_editing.get()>
                    <button
                        type="button"
                        class="button quiet link"
                        data-testid="quota-edit"
                        on:click=move |_| is_editing.set(true)
                    >
                        {text!(quota.change)}
                    </button>
                </Show>
            </div>
            <Bar storage/>
            <Show when=move || is_editing.get()>
                <Form storage is_editing act/>
            </Show>
            <Legend storage/>
            <ActionResult state concern=Concern::Quota/>
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
            let (used, quota) = (format::bytes(it.used_bytes), format::bytes(it.quota_bytes));
            text!(quota.bar, used, quota)
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
            entry("unfinished", text!(quota.unfinished, size = bytes(storage.unfinished_bytes)))
        });
        let in_place = (storage.in_place_bytes > 0)
            .then(|| entry("", text!(quota.in_place, size = bytes(storage.in_place_bytes))));
        view! {
            {entry("models", text!(quota.models, size = bytes(finished(&storage))))}
            {unfinished}
            {in_place}
            {entry("", text!(quota.free, size = bytes(storage.free_bytes)))}
        }
    };
    view! {
        <ul class="quota-legend">{entries}</ul>
        <p class="quota-folder" title=text!(quota.folder_hint)>
            <UntrustedName text=Signal::derive(move || storage.with(|it| it.folder.clone()))/>
        </p>
    }
}

#[component]
fn Form(
    storage: Memo<Storage>,
    is_editing: RwSignal<bool>,
    act: Callback<Action>,
) -> impl IntoView {
    let gigabytes =
        storage.with_untracked(|it| format::number::fixed(it.quota_bytes as f64 / 1e9, 1));
    let entry = RwSignal::new(gigabytes.trim_end_matches(".0").to_owned());
    let entered = Memo::new(move |_| entry.with(|entry| format::typed_gigabytes(entry)));
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
        None => text!(quota.enter_size),
        Some(bytes) if storage.with(|it| bytes < it.used_bytes) => text!(quota.less_than_used),
        Some(_) => text!(quota.how_it_works),
    };
    view! {
        <form class="quota-form" on:submit=save on:keydown=on_keydown>
            <label for="quota-input">{text!(quota.models_may_take)}</label>
            <span class="with-unit">
                <input
                    id="quota-input"
                    data-testid="quota-input"
                    type="text"
                    inputmode="decimal"
                    autocomplete="off"
                    aria-describedby="quota-hint"
                    node_ref=field
                    prop:value=entry
                    on:input=move |event| entry.set(event_target_value(&event))
                />
                {text!(unit.gigabyte_symbol)}
            </span>
            <button type="submit" class="button primary" data-testid="quota-save" disabled=move || entered.get().is_none()>
                {text!(button.save)}
            </button>
            <button type="button" class="button" on:click=move |_| is_editing.set(false)>{text!(button.cancel)}</button>
            <Show when=move || storage.with(|it| !it.is_default_quota)>
                <button type="button" class="button quiet" data-testid="quota-default" on:click=move |_| set(None)>
                    {text!(quota.use_default)}
                </button>
            </Show>
            <p id="quota-hint">{hint}</p>
        </form>
    }
}

/// The space taken by complete models.
fn finished(storage: &Storage) -> u64 {
    storage.used_bytes.saturating_sub(storage.unfinished_bytes)
}
