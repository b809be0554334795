//! The page: connects the components with the state, and the state with the shell.

use std::sync::Arc;

use leptos::{ev, prelude::*, task::spawn_local};
use lilims_ipc::{
    AppEvent, AttachmentChange, Attempt, BranchNode, ContextView, Error, MessageId, ModelInfo,
    ModelStatus, Options, Overflow, Problem,
};

use crate::bridge::{self, is_apple};
use crate::components::{
    BranchMap, Composer, ContextMeter, ContextPanel, Conversation, DeleteAllDialog, Empty,
    ErrorNotice, Header, ImportReportPanel, LoadingBar, MenuView, Menus, Outside, ProseLayer,
    Settings, SidebarView, UndoNotice,
};
use crate::conversations_page::Page;
use crate::library_page::{
    FirstModel, LibraryPage, Picker, SuspendedLoad, execute_actions, follow_first_model,
    follow_library, library_changed, refresh_library,
};
use crate::outbox::Outbox;
use crate::prose_page::prose_services;
use crate::state::{Chat, LibraryState, Sidebar, is_active, restore};
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
    let page = Page::new();
    let Page { chat, sidebar, draft, .. } = page;
    let menus = Menus::new();
    provide_context(menus);
    let settings_open = RwSignal::new(false);
    let context_open = RwSignal::new(false);
    let picker_open = RwSignal::new(false);
    let branches = RwSignal::new(None);
    let deletes_all = RwSignal::new(None);
    let library = LibraryState::new();
    let act = execute_actions(library);
    follow_application(chat, sidebar, library);
    keep_options(chat, page.outbox);
    page.start();
    follow_library(library, act, move |paths| {
        page.change_attachments(AttachmentChange::Files { paths });
    });
    follow_first_model(library, chat, act);
    handle_keys(page, menus, branches, [settings_open, context_open, picker_open], library);

    let ask = Callback::new(move |question: Arc<str>| page.ask(&question));
    let stop = Callback::new(move |()| stop(chat));
    let submit = Callback::new(move |()| page.submit());
    let new_chat = Callback::new(move |()| {
        library.is_open.set(false);
        page.begin();
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
    let choose_overflow =
        Callback::new(move |overflow| choose_overflow(chat, page.outbox, overflow));
    let reopen = Callback::new(move |()| page.reopen());
    let retry_load = Callback::new(move |()| retry_load(chat));
    let show_branches = Callback::new(move |()| show_branches(chat, branches));
    let ask_to_delete_all = Callback::new(move |()| ask_to_delete_all(deletes_all));
    let sidebar_actions = page.sidebar_actions(ask_to_delete_all);

    let title = Memo::new(move |_| sidebar.title(&chat.conversation.get()?));
    let is_empty = Memo::new(move |_| chat.entries.with(Vec::is_empty));
    let answers_here = Memo::new(move |_| chat.answers_here());
    let is_answering = Memo::new(move |_| chat.answering.with(Option::is_some));
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
        <div class="app" class:with-sidebar=sidebar.is_open>
            <Show when=move || sidebar.is_open.get()>
                <SidebarView
                    state=sidebar
                    current=chat.conversation
                    answering_in=chat.answering_in
                    actions=sidebar_actions
                />
            </Show>
            <div class="main">
            <Header
                model=chat.model
                speed=chat.speed
                title
                is_empty
                sidebar_open=sidebar.is_open
                on_branches=show_branches
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
            <div class="chat" class:behind=library.is_open class:dropping=library.is_dragging>
            <Show when=move || branches.with(Option::is_some)>
                <BranchMap
                    nodes=Signal::derive(move || branches.get().unwrap_or_default())
                    on_pick=Callback::new(move |message| {
                        branches.set(None);
                        page.target.set(Some(MessageId::clone(&message)));
                        page.show_version(message);
                    })
                    on_close=move || branches.set(None)
                />
            </Show>
            {move || {
                page.report
                    .get()
                    .map(|report| {
                        view! { <ImportReportPanel report on_close=move || page.report.set(None)/> }
                    })
            }}
            <Show when=move || deletes_all.with(Option::is_some)>
                <DeleteAllDialog
                    count=Signal::derive(move || sidebar.heads.with(Vec::len))
                    size_bytes=Signal::derive(move || deletes_all.get().unwrap_or_default())
                    on_delete=move || {
                        deletes_all.set(None);
                        page.delete_all();
                    }
                    on_close=move || deletes_all.set(None)
                />
            </Show>
            <Conversation
                entries=chat.entries
                answering=Signal::derive(move || chat.answering.get().filter(|_| answers_here.get()))
                is_busy=is_answering
                editing=chat.editing
                window_start=chat.window_start
                summary
                target=page.target
                actions=page.message_actions(copy)
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
                is_answering
                answers_elsewhere=Signal::derive(move || is_answering.get() && !answers_here.get())
                conversation=chat.conversation
                on_submit=submit
                on_stop=stop
                attachments=page.attachments
                attachment_actions=page.attachment_actions()
                picker=view! { <Picker state=library chat is_open=picker_open act/> }.into_any()
            >
                <ContextMeter view=context panel_open=context_open/>
            </Composer>
            </div>
            </div>
            <UndoNotice deleted=page.undo.deleted on_undo=Callback::new(move |()| page.restore())/>
            <MenuView menus/>
            <div class="visually-hidden" role="status" aria-live="polite">{chat.announcement}</div>
        </div>
    }
}

/// Keeps the status of the model, the list of conversations and the library up to date.
fn follow_application(chat: Chat, sidebar: Sidebar, library: LibraryState) {
    let n_status_events = StoredValue::new(0_u32);
    spawn_local(async move {
        // Listens before it asks, so that no change in between is missed.
        let on_event = move |event| match event {
            AppEvent::Status(status) => {
                n_status_events.update_value(|n| *n += 1);
                chat.model_changed(status);
            }
            AppEvent::Conversation(head) => sidebar.changed(head),
            AppEvent::ConversationGone(id) => sidebar.gone(&id),
            AppEvent::ConversationFolders(folders) => sidebar.folders.set(folders),
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

/// Reads the map of branches and shows it.
fn show_branches(chat: Chat, branches: RwSignal<Option<Vec<BranchNode>>>) {
    let Some(conversation) = chat.conversation.get_untracked() else { return };
    spawn_local(async move {
        match bridge::branch_map(conversation).await {
            Ok(nodes) => branches.set(Some(nodes)),
            Err(error) => chat.conversation_failed(error),
        }
    });
}

/// Finds out how much space all conversations take, and asks whether to delete them.
fn ask_to_delete_all(deletes_all: RwSignal<Option<u64>>) {
    spawn_local(async move {
        let size_bytes = bridge::conversations_size().await.unwrap_or_default();
        deletes_all.set(Some(size_bytes));
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
        if let Some(conversation) = chat.conversation.get_untracked() {
            let _ = bridge::set_overflow(conversation, overflow).await;
        }
    });
}

/// Escape closes what is open, innermost first, or stops the answer; other keys are shortcuts.
fn handle_keys(
    page: Page,
    menus: Menus,
    branches: RwSignal<Option<Vec<BranchNode>>>,
    panels: [RwSignal<bool>; 3],
    library: LibraryState,
) {
    let Page { chat, sidebar, .. } = page;
    let escape = move || {
        if menus.is_open() {
            menus.close();
        } else if let Some(panel) = panels.into_iter().find(|panel| panel.get_untracked()) {
            panel.set(false);
        } else if page.report.with_untracked(Option::is_some) {
            page.report.set(None);
        } else if branches.with_untracked(Option::is_some) {
            branches.set(None);
        } else if sidebar.is_open.get_untracked() && !bridge::is_wide() {
            // It covers the conversation.
            sidebar.is_open.set(false);
        } else if library.step_back() {
            // The conversation behind the library is unchanged.
        } else if chat.editing.with_untracked(Option::is_some) {
            chat.editing.set(None);
        } else {
            stop(chat);
        }
    };
    let listener = window_event_listener(ev::keydown, move |event| {
        if event.is_composing() {
            return;
        }
        let has_modifier = if is_apple() { event.meta_key() } else { event.ctrl_key() };
        match &*event.key() {
            "Escape" => escape(),
            "b" if has_modifier => {
                event.prevent_default();
                sidebar.is_open.update(|open| *open = !*open);
            }
            "n" if has_modifier => {
                event.prevent_default();
                library.is_open.set(false);
                page.begin();
            }
            "m" if has_modifier => {
                event.prevent_default();
                show_branches(chat, branches);
            }
            _ => {}
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
