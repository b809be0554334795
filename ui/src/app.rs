//! The page: connects the components with the state, and the state with the shell.

use std::sync::Arc;

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{
    AppEvent, AttachmentChange, Attempt, ContextView, Error, MessageId, ModelInfo, ModelStatus,
    Overflow, Problem,
};

use crate::bridge;
use crate::commands_page::{Commands, PaletteView};
use crate::components::{
    AssistantButton, BranchMap, Composer, ContextMeter, ContextPanel, Conversation,
    DeleteAllDialog, Empty, ErrorNotice, Header, ImportReportPanel, LoadingBar, MenuView, Menus,
    Outside, PrivacySign, PromptView, ProseLayer, SidebarView, UndoNotice,
};
use crate::conversations_page::Page;
use crate::desktop_page::{QuickPage, desktop_settings};
use crate::library_page::{
    FirstModel, LibraryPage, Picker, SuspendedLoad, execute_actions, follow_first_model,
    follow_library, library_changed, refresh_library,
};
use crate::outbox::Outbox;
use crate::privacy_page::PrivacyState;
use crate::prose_page::prose_services;
use crate::settings_page::{SettingsPage, follow_appearance, follow_settings};
use crate::state::appearance::Appearance;
use crate::state::palette::PageCommand;
use crate::state::settings::SettingsState;
use crate::state::{Chat, LibraryState, is_active};
use crate::text::text;

/// The page.
#[component]
pub(crate) fn App() -> impl IntoView {
    if bridge::is_available() && bridge::is_quick() {
        view! { <QuickPage/> }.into_any()
    } else if bridge::is_available() {
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
    let context_open = RwSignal::new(false);
    let picker_open = RwSignal::new(false);
    let branches = RwSignal::new(None);
    let deletes_all = RwSignal::new(None);
    let library = LibraryState::new();
    let act = execute_actions(library, chat);
    let settings = SettingsState::new();
    let appearance = Appearance::new(bridge::stored);
    let desktop = desktop_settings();
    let privacy = PrivacyState::new();
    follow_library(library, act, move |paths| {
        page.change_attachments(AttachmentChange::Files { paths });
    });
    follow_first_model(library, chat, act);
    let commands = Commands {
        page,
        menus,
        branches,
        context_open,
        picker_open,
        palette: RwSignal::new(None),
        library,
        settings,
        act,
    };
    follow_application(commands, privacy);
    privacy.follow(settings.is_open);
    page.start();
    follow_settings(settings, page);
    commands.handle_keys();
    follow_appearance(appearance);

    let ask = Callback::new(move |question: Arc<str>| page.ask(&question));
    let stop = Callback::new(move |()| page.stop());
    let submit = Callback::new(move |()| page.submit());
    let new_chat = Callback::new(move |()| commands.run(PageCommand::NewConversation));
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
    let show_branches = Callback::new(move |()| commands.run(PageCommand::Branches));
    let ask_to_delete_all = Callback::new(move |()| ask_to_delete_all(deletes_all));
    let sidebar_actions = page.sidebar_actions(ask_to_delete_all);
    let goes_to_privacy = RwSignal::new(false);
    let show_privacy = Callback::new(move |()| {
        settings.show(page.chat.conversation.get_untracked());
        goes_to_privacy.set(true);
    });
    Effect::new(move || {
        // Once the rows above it are there.
        if goes_to_privacy.get() && settings.rows.with(|rows| !rows.is_empty()) {
            bridge::scroll_to("privacy");
            goes_to_privacy.set(false);
        }
    });

    let title = Memo::new(move |_| sidebar.title(&chat.conversation.get()?));
    Effect::new(move || {
        bridge::set_title(title.get().as_deref().unwrap_or(text!(header.app_name)));
    });
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
    move || {
        appearance.drawn_language.track();
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
                    settings_open=settings.is_open
                    on_settings=Callback::new(move |()| commands.run(PageCommand::Settings))
                    library_open=library.is_open
                    on_library=Callback::new(move |()| commands.run(PageCommand::Library))
                    is_at_work
                    on_new_chat=new_chat
                />
                <LoadingBar is_loading/>
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
                <SettingsPage state=settings page library appearance desktop privacy/>
                <div class="chat" class:behind=move || library.is_open.get() || settings.is_open.get() class:dropping=library.is_dragging>
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
                    page.prompt
                        .get()
                        .map(|prompt| {
                            view! { <PromptView prompt on_copy=copy on_close=move || page.prompt.set(None)/> }
                        })
                }}
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
                    picker=view! {
                        <Picker state=library chat is_open=picker_open act/>
                        <AssistantButton
                            name=Signal::derive(move || {
                                chat.assistant.get().and_then(|id| settings.assistant_name(&id))
                            })
                            on_open=Callback::new(move |at| commands.pick_assistant(at))
                        />
                    }
                        .into_any()
                >
                    <PrivacySign privacy=privacy.privacy on_open=show_privacy/>
                    <ContextMeter view=context panel_open=context_open/>
                </Composer>
                </div>
                </div>
                <UndoNotice deleted=page.undo.deleted on_undo=Callback::new(move |()| page.restore())/>
                <MenuView menus/>
                <PaletteView commands/>
                <div class="visually-hidden" role="status" aria-live="polite">{chat.announcement}</div>
            </div>
        }
    }
}

/// Keeps the status of the model, the list of conversations and the library up to date.
fn follow_application(commands: Commands, privacy: PrivacyState) {
    let Commands { page: Page { chat, sidebar, .. }, library, settings, .. } = commands;
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
            AppEvent::Assistants(assistants) => settings.assistants.set(assistants),
            AppEvent::Do(action) => commands.carry_out(action),
            AppEvent::Privacy(now) => privacy.privacy.set(Some(now)),
            event => library_changed(library, event),
        };
        bridge::on_changed(on_event).await;
        let pending = bridge::pending_actions().await;
        pending.into_iter().for_each(|action| commands.carry_out(action));
        refresh_library(library);
        let status = bridge::status().await.unwrap_or_else(|error| ModelStatus::Failed { error });
        // A newer status may have overtaken the reply.
        if n_status_events.get_value() == 0 {
            chat.model_changed(status);
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

fn retry_load(chat: Chat) {
    spawn_local(async move {
        if let Err(error) = bridge::retry_load().await {
            chat.model_changed(ModelStatus::Failed { error });
        }
    });
}

fn choose_overflow(chat: Chat, outbox: Outbox, overflow: Overflow) {
    chat.overflow.set(overflow);
    outbox.send(async move {
        if let Some(conversation) = chat.conversation.get_untracked() {
            let _ = bridge::set_overflow(conversation, overflow).await;
        }
    });
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
