//! A row of the list: a group's title, a folder, or a conversation with its menu.

use leptos::{ev, html, prelude::*};
use lilims_ipc::{
    ConversationChange, ConversationFolder, ConversationHead, ConversationId, ExportFormat,
    FolderId,
};

use super::SidebarActions;
use super::found::shown_title;
use crate::components::icon::Icon;
use crate::components::menu::{MenuItem, Menus};
use crate::format;
use crate::state::{Row, Sidebar};
use crate::text::text;

/// A row.
#[component]
pub(super) fn RowView(
    row: Row,
    state: Sidebar,
    current: Signal<Option<ConversationId>>,
    answering_in: Signal<Option<ConversationId>>,
    actions: SidebarActions,
) -> impl IntoView {
    match row {
        Row::Group(title) => view! { <h2 class="row group">{title}</h2> }.into_any(),
        Row::Folder { folder, .. } => view! { <FolderRow folder state actions/> }.into_any(),
        Row::Conversation(head) => {
            view! { <ConversationRow head state current answering_in actions/> }.into_any()
        }
    }
}

#[component]
fn FolderRow(folder: ConversationFolder, state: Sidebar, actions: SidebarActions) -> impl IntoView {
    let menus = expect_context::<Menus>();
    let id = folder.id;
    // The row stays while its folder changes.
    let name = {
        let id = id.clone();
        Memo::new(move |_| {
            state.folders.with(|folders| {
                folders.iter().find(|it| it.id == id).map(|it| it.name.clone()).unwrap_or_default()
            })
        })
    };
    let count = {
        let id = id.clone();
        Memo::new(move |_| {
            let is_inside = |head: &&ConversationHead| {
                head.folder.as_ref() == Some(&id) && !head.is_archived && !head.is_pinned
            };
            state.heads.with(|heads| heads.iter().filter(is_inside).count())
        })
    };
    let is_folded = {
        let id = id.clone();
        Memo::new(move |_| state.folded.with(|folded| folded.contains(&id.0)))
    };
    let is_renamed = {
        let id = id.clone();
        Memo::new(move |_| state.renaming_folder.with(|it| it.as_ref() == Some(&id)))
    };
    let items = {
        let id = id.clone();
        move || {
            let (rename, remove) = (id.clone(), id.clone());
            vec![
                MenuItem::new(text!(sidebar.rename), "folder-rename", Icon::Edit, move || {
                    state.renaming_folder.set(Some(rename.clone()));
                }),
                MenuItem::new(
                    text!(sidebar.remove_folder),
                    "folder-remove",
                    Icon::Remove,
                    move || {
                        actions.on_remove_folder.run(remove.clone());
                    },
                )
                .dangerous(),
            ]
        }
    };
    let (items_at_pointer, folded) = (items.clone(), id.clone());
    let commit = {
        let id = id.clone();
        Callback::new(move |name: Option<String>| {
            state.renaming_folder.set(None);
            if let Some(name) = name {
                actions.on_rename_folder.run((id.clone(), name));
            }
        })
    };
    let button = move || {
        let folded = folded.clone();
        view! {
            <button
                type="button"
                class="row-main"
                aria-expanded=move || (!is_folded.get()).to_string()
                on:click=move |_| state.fold(&folded)
            >
                <span class="fold" class:folded=is_folded>{Icon::Unfold.view()}</span>
                <bdi>{move || format::visible_name(&name.get())}</bdi>
                <span class="row-count">{count}</span>
            </button>
        }
    };
    view! {
        <div
            class="row folder"
            data-testid="folder-row"
            on:contextmenu=move |event| menus.open_at_pointer(&event, items_at_pointer())
        >
            <Show when=move || is_renamed.get() fallback=button>
                <TitleField
                    value=name.get_untracked()
                    label=text!(sidebar.folder_name)
                    on_end=commit
                />
            </Show>
            <button
                type="button"
                class="button quiet small row-menu"
                data-testid="folder-menu"
                aria-label=text!(sidebar.folder_actions)
                aria-haspopup="menu"
                on:click=move |event| menus.open_below(&event, items())
            >
                {Icon::More.view()}
            </button>
        </div>
    }
}

#[component]
fn ConversationRow(
    head: ConversationHead,
    state: Sidebar,
    current: Signal<Option<ConversationId>>,
    answering_in: Signal<Option<ConversationId>>,
    actions: SidebarActions,
) -> impl IntoView {
    let menus = expect_context::<Menus>();
    let id = StoredValue::new(head.id.clone());
    // The row stays while its conversation changes.
    let head = Memo::new(move |_| {
        state.heads.with(|heads| id.with_value(|id| heads.iter().find(|it| it.id == *id).cloned()))
    });
    let title = move || head.with(|head| head.as_ref().and_then(|head| head.title.clone()));
    let is_current = move || current.with(|it| it.as_ref() == Some(&id.get_value()));
    let is_answering = move || answering_in.with(|it| it.as_ref() == Some(&id.get_value()));
    let is_renamed = Memo::new(move |_| state.renaming.with(|it| *it == Some(id.get_value())));
    let items = move || {
        head.get_untracked().map(|head| menu(head, state, menus, actions)).unwrap_or_default()
    };
    let rename = move || state.renaming.set(Some(id.get_value()));
    let commit = Callback::new(move |title: Option<String>| {
        state.renaming.set(None);
        if let Some(title) = title {
            actions.on_change.run((id.get_value(), ConversationChange::Title(title)));
        }
    });
    let on_keydown = move |event: ev::KeyboardEvent| match &*event.key() {
        "F2" => rename(),
        "Delete" => actions.on_delete.run(id.get_value()),
        _ => {}
    };
    let button = move || {
        view! {
            <button
                type="button"
                class="row-main"
                aria-current=move || is_current().then_some("true")
                on:click=move |_| actions.on_open.run((id.get_value(), None))
                on:dblclick=move |_| rename()
                on:keydown=on_keydown
            >
                <bdi>{move || shown_title(title().as_deref())}</bdi>
                <Show when=is_answering>
                    <span class="row-busy" role="img" aria-label=text!(sidebar.answering)></span>
                </Show>
            </button>
        }
    };
    view! {
        <div
            class="row"
            class:current=is_current
            data-testid="conversation-row"
            data-id=move || id.get_value().0
            on:contextmenu=move |event| menus.open_at_pointer(&event, items())
        >
            <Show when=move || is_renamed.get() fallback=button>
                <TitleField
                    value=untrack(title).unwrap_or_default()
                    label=text!(sidebar.title)
                    on_end=commit
                />
            </Show>
            <button
                type="button"
                class="button quiet small row-menu"
                data-testid="conversation-menu"
                aria-label=move || {
                    text!(sidebar.actions_of, title = shown_title(title().as_deref()))
                }
                aria-haspopup="menu"
                on:click=move |event| menus.open_below(&event, items())
            >
                {Icon::More.view()}
            </button>
        </div>
    }
}

/// What can be done with a conversation.
fn menu(
    head: ConversationHead,
    state: Sidebar,
    menus: Menus,
    actions: SidebarActions,
) -> Vec<MenuItem> {
    let id = head.id.clone();
    let change = |label, test_id, icon, change: ConversationChange| {
        let id = id.clone();
        MenuItem::new(label, test_id, icon, move || {
            actions.on_change.run((id.clone(), change.clone()));
        })
    };
    let (is_pinned, is_archived) = (head.is_pinned, head.is_archived);
    let pin = if is_pinned { text!(sidebar.unpin) } else { text!(sidebar.pin) };
    let archive = if is_archived { text!(sidebar.unarchive) } else { text!(sidebar.archive) };
    let (renamed, exported, deleted) = (id.clone(), id.clone(), id.clone());
    vec![
        MenuItem::new(text!(sidebar.rename), "rename", Icon::Edit, move || {
            state.renaming.set(Some(renamed.clone()));
        }),
        change(pin, "pin", Icon::Pin, ConversationChange::Pinned(!is_pinned)),
        MenuItem::new(text!(sidebar.move_to), "move-to-folder", Icon::Folder, move || {
            menus.open_again(folder_menu(&head, state, actions));
        }),
        change(archive, "archive", Icon::Archive, ConversationChange::Archived(!is_archived)),
        MenuItem::new(text!(sidebar.export), "export", Icon::Download, move || {
            menus.open_again(export_menu(&exported, actions));
        }),
        MenuItem::new(text!(sidebar.delete), "delete-conversation", Icon::Remove, move || {
            actions.on_delete.run(deleted.clone());
        })
        .dangerous(),
    ]
}

/// The formats that a conversation can be exported in.
fn export_menu(id: &ConversationId, actions: SidebarActions) -> Vec<MenuItem> {
    let item = |label, test_id, format| {
        let id = id.clone();
        MenuItem::new(label, test_id, Icon::Download, move || {
            actions.on_export.run((Some(id.clone()), format));
        })
    };
    vec![
        item(text!(sidebar.as_markdown), "export-markdown", ExportFormat::Markdown),
        item(text!(sidebar.as_text), "export-text", ExportFormat::Text),
        item(text!(sidebar.as_json), "export-json", ExportFormat::Json),
    ]
}

/// The folders that a conversation can be moved to.
fn folder_menu(head: &ConversationHead, state: Sidebar, actions: SidebarActions) -> Vec<MenuItem> {
    let move_to = |label: String, test_id, icon, folder: Option<FolderId>| {
        let id = head.id.clone();
        MenuItem::new(label, test_id, icon, move || {
            actions.on_change.run((id.clone(), ConversationChange::Folder(folder.clone())));
        })
    };
    let mut items = Vec::new();
    if head.folder.is_some() {
        items.push(move_to(text!(sidebar.no_folder).into(), "no-folder", Icon::Close, None));
    }
    for ConversationFolder { id, name } in state.folders.get_untracked() {
        if head.folder.as_ref() != Some(&id) {
            items.push(move_to(name, "folder", Icon::Folder, Some(id)));
        }
    }
    let id = head.id.clone();
    let create = move || actions.on_new_folder.run(Some(id.clone()));
    let label = text!(sidebar.new_folder);
    items.push(MenuItem::new(label, "move-to-new-folder", Icon::NewChat, create));
    items
}

/// A field in the place of a title. Enter and leaving it save, Escape does not.
#[component]
fn TitleField(
    value: String,
    label: &'static str,
    /// Called with the new title, or with nothing where it stays.
    on_end: Callback<Option<String>>,
) -> impl IntoView {
    let field = NodeRef::<html::Input>::new();
    let has_ended = StoredValue::new(false);
    let before = value.clone();
    Effect::new(move || {
        if let Some(field) = field.get() {
            let _ = field.focus();
            field.select();
        }
    });
    let end = move |saves: bool| {
        // Removing the field from the page may count as leaving it.
        if has_ended.try_get_value().unwrap_or(true) {
            return;
        }
        has_ended.set_value(true);
        let value = field.get_untracked().map(|field| field.value());
        on_end.run(value.filter(|value| saves && *value != before));
    };
    let on_blur = end.clone();
    let on_keydown = move |event: ev::KeyboardEvent| {
        // Keys of the list and of the page mean nothing here.
        event.stop_propagation();
        match &*event.key() {
            "Enter" if !event.is_composing() => end(true),
            "Escape" => end(false),
            _ => {}
        }
    };
    view! {
        <input
            class="row-field"
            data-testid="title-field"
            aria-label=label
            dir="auto"
            maxlength="200"
            prop:value=value
            node_ref=field
            on:keydown=on_keydown
            on:blur=move |_| on_blur(true)
        />
    }
}
