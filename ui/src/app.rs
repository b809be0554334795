//! The page: connects the components with the state, and the state with the shell.

use std::sync::Arc;

use leptos::{ev, prelude::*, task::spawn_local};
use lilims_ipc::{
    AppEvent, Attempt, ContextView, Error, ModelInfo, ModelStatus, Options, Overflow, Problem,
};

use crate::bridge;
use crate::components::{
    Composer, ContextMeter, ContextPanel, Conversation, Empty, ErrorNotice, Header, LoadingBar,
    Outside, ProseLayer, Settings,
};
use crate::library_page::{
    FirstModel, LibraryPage, Picker, SuspendedLoad, execute_actions, follow_first_model,
    follow_library, library_changed, refresh_library,
};
use crate::outbox::Outbox;
use crate::prose_page::prose_services;
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
    let chat = Chat::new();
    let outbox = Outbox::new();
    let draft = RwSignal::new(String::new());
    let settings_open = RwSignal::new(false);
    let context_open = RwSignal::new(false);
    let picker_open = RwSignal::new(false);
    let library = LibraryState::new();
    let act = execute_actions(library);
    follow_application(chat, library);
    keep_options(chat, outbox);
    open_conversation(chat, outbox);
    follow_library(library, act);
    follow_first_model(library, chat, act);
    handle_escape(chat, draft, [settings_open, context_open, picker_open], library);

    let ask = Callback::new(move |question: Arc<str>| {
        dispatch(chat, outbox, chat.ask(&question));
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
        start_conversation(chat, outbox);
        draft.set(String::new());
    });
    let regenerate = Callback::new(move |()| {
        dispatch(chat, outbox, chat.regenerate());
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
    let prose = prose_services(chat.announcement, copy);
    provide_context(prose);
    let choose_overflow = Callback::new(move |overflow| choose_overflow(chat, outbox, overflow));
    let reopen = Callback::new(move |()| open_conversation(chat, outbox));
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
            <ProseLayer services=prose/>
            <LibraryPage state=library chat act/>
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
                <Show when=move || chat.failure.with(Option::is_some)>
                    <ErrorNotice
                        title=text!(conversation.not_opened)
                        error=chat.failure
                        retry_label=text!(button.try_again)
                        retry_id="reopen"
                        on_retry=reopen
                    />
                </Show>
                <Show when=move || chat.unsaved.with(Option::is_some)>
                    <ErrorNotice
                        title=text!(conversation.not_saved)
                        error=chat.unsaved
                        retry_label=text!(button.dismiss)
                        retry_id="dismiss-unsaved"
                        on_retry=Callback::new(move |()| chat.unsaved.set(None))
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
                chat.model_changed(status);
            }
            event => library_changed(library, event),
        };
        bridge::on_changed(on_event).await;
        refresh_library(library);
        let status = bridge::status().await.unwrap_or_else(|error| ModelStatus::Failed { error });
        // A newer status may have overtaken the reply.
        if n_status_events.get_value() == 0 {
            chat.model_changed(status);
        }
    });
}

/// Shows the conversation of the last visit.
fn open_conversation(chat: Chat, outbox: Outbox) {
    outbox.send(async move {
        match bridge::conversation().await {
            Ok(conversation) => dispatch(chat, outbox, chat.restore(conversation)),
            Err(error) => chat.conversation_failed(error),
        }
    });
}

/// Deletes the conversation in the shell and starts a new one.
fn start_conversation(chat: Chat, outbox: Outbox) {
    let shown = chat.clear();
    outbox.send(async move {
        let deleted = match shown {
            Some(conversation) => Ok(conversation),
            None => bridge::conversation().await.map(|conversation| conversation.id),
        };
        let started = match deleted {
            Ok(conversation) => bridge::delete_conversation(conversation).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(conversation) => dispatch(chat, outbox, chat.begin(conversation)),
            Err(error) => chat.conversation_failed(error),
        }
    });
}

/// Restores the saved sampling options, and saves each change from then on.
fn keep_options(chat: Chat, outbox: Outbox) {
    let saved = StoredValue::new(None);
    outbox.send(async move {
        let earlier = bridge::take_stored_options();
        let known = bridge::sampling().await.ok().flatten();
        let chosen = chat.options.get_untracked();
        saved.set_value(Some(known.unwrap_or_default()));
        if chosen != Options::default() {
            // The user was faster.
            saved.set_value(Some(chosen));
            let _ = bridge::set_sampling(chosen).await;
        } else if let Some(options) = known.or(earlier) {
            chat.options.set(restore(options));
        }
    });
    Effect::new(move || {
        let options = chat.options.get();
        if saved.get_value().is_none_or(|saved| saved == options) {
            return;
        }
        saved.set_value(Some(options));
        outbox.send(async move {
            // Later changes are on their way.
            if saved.get_value() == Some(options) {
                let _ = bridge::set_sampling(options).await;
            }
        });
    });
}

fn retry_load(chat: Chat) {
    spawn_local(async move {
        if let Err(error) = bridge::retry_load().await {
            chat.model_changed(ModelStatus::Failed { error });
        }
    });
}

/// Sends a request of the state and passes the events back to it.
fn dispatch(chat: Chat, outbox: Outbox, outgoing: Option<Outgoing>) {
    let Some(Outgoing { turn, request }) = outgoing else { return };
    outbox.send(async move {
        let on_event = move |event| chat.apply(turn, event);
        if let Err(error) = bridge::ask(&request, on_event).await {
            chat.rejected(turn, error);
        }
    });
}

fn stop(chat: Chat) {
    if chat.stop() {
        spawn_local(async {
            // The answer may have ended meanwhile.
            let _ = bridge::stop().await;
        });
    }
}

fn choose_overflow(chat: Chat, outbox: Outbox, overflow: Overflow) {
    chat.overflow.set(overflow);
    outbox.send(async move {
        if let Some(conversation) = chat.conversation() {
            let _ = bridge::set_overflow(conversation, overflow).await;
        }
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
