//! The page: connects the components with the state, and the state with the shell.

use std::sync::Arc;

use leptos::{ev, prelude::*, task::spawn_local};
use lilims_ipc::{
    AppEvent, Attempt, ContextView, Error, ModelInfo, ModelStatus, Overflow, Problem,
};

use crate::bridge;
use crate::components::{
    Composer, ContextMeter, ContextPanel, Conversation, Empty, ErrorNotice, Header, LoadingBar,
    Outside, Settings,
};
use crate::library_page::{
    FirstModel, LibraryPage, Picker, SuspendedLoad, execute_actions, follow_first_model,
    follow_library, library_changed, refresh_library,
};
use crate::state::{Chat, LibraryState, Outgoing, is_active, restore};
use crate::text::text;

/// The page.
#[component]
pub(crate) fn App() -> impl IntoView {
    if bridge::is_available() {
        view! { <ChatPage/> }.into_any()
    } else {
        view! { <Outside/> }.into_any()
    }
}

#[component]
fn ChatPage() -> impl IntoView {
    let chat = Chat::new(bridge::stored_options().map(restore).unwrap_or_default());
    let draft = RwSignal::new(String::new());
    let settings_open = RwSignal::new(false);
    let context_open = RwSignal::new(false);
    let picker_open = RwSignal::new(false);
    let library = LibraryState::new();
    let act = execute_actions(library);
    Effect::new(move || bridge::store_options(&chat.options.get()));
    follow_application(chat, library);
    restore_conversation(chat);
    follow_library(library, act);
    follow_first_model(library, chat, act);
    handle_escape(chat, draft, [settings_open, context_open, picker_open], library);

    let ask = Callback::new(move |question: Arc<str>| {
        dispatch(chat, chat.ask(&question));
        load_for_waiting(chat);
    });
    let stop = Callback::new(move |()| stop(chat));
    let submit = Callback::new(move |()| {
        if chat.answering.with(Option::is_none) {
            ask.run(draft.get_untracked().into());
            draft.set(String::new());
        }
    });
    let new_chat = Callback::new(move |()| {
        library.is_open.set(false);
        delete_conversation(chat.clear());
        draft.set(String::new());
    });
    let regenerate = Callback::new(move |()| {
        dispatch(chat, chat.regenerate());
        load_for_waiting(chat);
    });
    let edit = Callback::new(move |turn: u64| {
        if let Some(question) = chat.edit(turn) {
            draft.set(question.to_string());
        }
    });
    let copy = Callback::new(move |text: String| {
        spawn_local(async move {
            let copied = bridge::copy(&text).await;
            chat.announcement.set(
                if copied { text!(announce.copied) } else { text!(announce.copy_failed) }.into(),
            );
        });
    });
    let choose_overflow = Callback::new(move |overflow| choose_overflow(chat, overflow));
    let retry_load = Callback::new(move |()| retry_load(chat));

    let is_empty = Memo::new(move |_| chat.turns.with(Vec::is_empty));
    let has_no_model = Memo::new(move |_| has_no_model(chat.model.get()));
    let failure = Memo::new(move |_| failure(chat.model.get()).filter(|_| !has_no_model.get()));
    let suspended = Memo::new(move |_| suspended_load(chat.model.get()));
    // No model loads automatically: the user must choose.
    let is_stuck = Memo::new(move |_| {
        has_no_model.get() || failure.with(Option::is_some) || suspended.with(Option::is_some)
    });
    let is_unloaded =
        Memo::new(move |_| matches!(chat.model.get(), Some(ModelStatus::Unloaded { .. })));
    let is_at_work = Memo::new(move |_| {
        library.downloads.with(|downloads| downloads.iter().any(is_active))
            || library.is_converting()
    });
    let model_info = Memo::new(move |_| model_info(chat.model.get()));
    let context = Memo::new(move |_| {
        chat.view.get().or_else(|| model_info.with(|model| model.as_ref().map(unused_context)))
    });
    let summary = Memo::new(move |_| chat.view.get().and_then(|view| view.summary));
    let is_loading =
        Memo::new(move |_| matches!(chat.model.get(), None | Some(ModelStatus::Loading { .. })));
    view! {
        <div class="app">
            <Header
                model=chat.model
                speed=chat.speed
                is_empty
                settings_open
                library_open=library.is_open
                is_at_work
                on_new_chat=new_chat
            />
            <LoadingBar is_loading/>
            <Show when=move || settings_open.get()>
                <Settings options=chat.options on_close=move || settings_open.set(false)/>
            </Show>
            <Show when=move || context_open.get()>
                <ContextPanel
                    view=context
                    model=model_info
                    overflow=chat.overflow
                    on_choose=choose_overflow
                    on_close=move || context_open.set(false)
                />
            </Show>
            <LibraryPage state=library chat act on_copy=copy/>
            <div class="chat" class:behind=library.is_open>
            <Conversation
                turns=chat.turns
                answering=chat.answering
                window_start=chat.window_start
                summary
                on_regenerate=regenerate
                on_edit=edit
                on_copy=copy
            >
                <Show when=move || failure.with(Option::is_some)>
                    <ErrorNotice
                        title=text!(model_load_failed)
                        error=Signal::derive(move || failure.get())
                        retry_label=text!(button.try_again)
                        retry_id="retry-load"
                        on_retry=retry_load
                    />
                </Show>
                <Show when=move || has_no_model.get()>
                    <FirstModel state=library act/>
                </Show>
                <SuspendedLoad state=library attempt=suspended act on_retry=retry_load/>
                <Show when=move || is_empty.get() && !chat.is_restoring.get() && !is_stuck.get()>
                    <Empty on_pick=ask/>
                </Show>
            </Conversation>
            <Composer
                draft
                is_loading
                has_failed=is_stuck
                is_unloaded
                is_answering=Signal::derive(move || chat.answering.with(Option::is_some))
                editing=chat.editing
                on_submit=submit
                on_stop=stop
                picker=view! { <Picker state=library chat is_open=picker_open act/> }.into_any()
            >
                <ContextMeter view=context panel_open=context_open/>
            </Composer>
            </div>
            <div class="visually-hidden" role="status" aria-live="polite">{chat.announcement}</div>
        </div>
    }
}

/// Keeps the status of the model and the library up to date.
fn follow_application(chat: Chat, library: LibraryState) {
    let n_status_events = StoredValue::new(0_u32);
    spawn_local(async move {
        // Listens before it asks, so that no change in between is missed.
        let on_event = move |event| match event {
            AppEvent::Status(status) => {
                n_status_events.update_value(|n| *n += 1);
                dispatch(chat, chat.model_changed(status));
            }
            event => library_changed(library, event),
        };
        bridge::on_changed(on_event).await;
        refresh_library(library);
        let status = bridge::status().await.unwrap_or_else(|error| ModelStatus::Failed { error });
        // A newer status may have overtaken the reply.
        if n_status_events.get_value() == 0 {
            dispatch(chat, chat.model_changed(status));
        }
    });
}

/// Restores the last conversation, if there is one.
fn restore_conversation(chat: Chat) {
    spawn_local(async move {
        let conversation = bridge::conversation().await.ok().flatten();
        dispatch(chat, chat.restore(conversation));
    });
}

fn retry_load(chat: Chat) {
    spawn_local(async move {
        if let Err(error) = bridge::retry_load().await {
            dispatch(chat, chat.model_changed(ModelStatus::Failed { error }));
        }
    });
}

/// Loads an unloaded model again when a question waits for it.
fn load_for_waiting(chat: Chat) {
    let is_unloaded = matches!(chat.model.get_untracked(), Some(ModelStatus::Unloaded { .. }));
    if is_unloaded && chat.answering.with_untracked(Option::is_some) {
        retry_load(chat);
    }
}

/// Sends a request of the state and passes the events back to it.
fn dispatch(chat: Chat, outgoing: Option<Outgoing>) {
    let Some(Outgoing { turn, request }) = outgoing else { return };
    spawn_local(async move {
        let on_event = move |event| chat.apply(turn, event);
        if let Err(error) = bridge::ask(&request, on_event).await {
            chat.rejected(turn, error);
        }
    });
}

fn stop(chat: Chat) {
    if chat.stop() {
        request_stop();
    }
}

fn request_stop() {
    spawn_local(async {
        // The answer may have ended meanwhile.
        let _ = bridge::stop().await;
    });
}

/// Deletes the conversation in the shell, after stopping its answer if necessary.
fn delete_conversation(must_stop: bool) {
    spawn_local(async move {
        if must_stop {
            let _ = bridge::stop().await;
        }
        // An error can be ignored: the next request replaces the saved conversation.
        let _ = bridge::delete_conversation().await;
    });
}

fn choose_overflow(chat: Chat, overflow: Overflow) {
    chat.overflow.set(overflow);
    spawn_local(async move {
        // Each request carries it as well; this saves it with the conversation.
        let _ = bridge::set_overflow(overflow).await;
    });
}

/// Escape closes a panel, the library or an edit, innermost first, or stops the answer.
fn handle_escape(
    chat: Chat,
    draft: RwSignal<String>,
    panels: [RwSignal<bool>; 3],
    library: LibraryState,
) {
    let listener = window_event_listener(ev::keydown, move |event| {
        if event.key() != "Escape" || event.is_composing() {
            return;
        }
        if let Some(panel) = panels.into_iter().find(|panel| panel.get_untracked()) {
            panel.set(false);
        } else if library.step_back() {
            // The conversation behind the library is unchanged.
        } else if chat.editing.get_untracked().is_some() {
            chat.editing.set(None);
            draft.set(String::new());
        } else {
            stop(chat);
        }
    });
    on_cleanup(move || listener.remove());
}

fn failure(status: Option<ModelStatus>) -> Option<Error> {
    match status {
        Some(ModelStatus::Failed { error }) => Some(error),
        _ => None,
    }
}

/// Whether no model was chosen and the app includes none.
fn has_no_model(status: Option<ModelStatus>) -> bool {
    failure(status).is_some_and(|error| error.problem == Problem::NoModel)
}

fn suspended_load(status: Option<ModelStatus>) -> Option<Attempt> {
    match status {
        Some(ModelStatus::LoadSuspended { attempt }) => Some(attempt),
        _ => None,
    }
}

fn model_info(status: Option<ModelStatus>) -> Option<ModelInfo> {
    match status {
        Some(ModelStatus::Ready { model }) => Some(model),
        _ => None,
    }
}

/// The context before the first answer.
fn unused_context(model: &ModelInfo) -> ContextView {
    ContextView { context_tokens: model.context_tokens, ..ContextView::default() }
}
