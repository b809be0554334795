//! The sidebar: the list of conversations, their folders, and the search in all of them.
//!
//! Only the rows in sight are in the page, so that thousands of conversations scroll as fast as ten.

mod found;
mod row;

use leptos::{ev, html, prelude::*};
use lilims_ipc::{ConversationChange, ConversationId, ExportFormat, FolderId, MessageId};
use wasm_bindgen::{JsCast, closure::Closure};

use self::found::Found;
use self::row::RowView;
use super::icon::Icon;
use super::menu::{MenuItem, Menus};
use crate::bridge;
use crate::format::number;
use crate::state::{Row, Sidebar};
use crate::text::{self, text};

/// Rows that are drawn beyond each end of what is in sight.
const SPARE_ROWS: usize = 8;
/// The height of a row until it is measured, in pixels.
const ROW_HEIGHT: f64 = 34.0;
/// The bounds of the sidebar's width, in pixels.
const WIDTHS: (f64, f64) = (200.0, 480.0);
/// The width until another one is chosen, which is in the style sheet, at the usual text size.
const DEFAULT_WIDTH: f64 = 256.0;
/// The key under which the width is stored.
const WIDTH_KEY: &str = "lilims.sidebar-width";

/// What the user can do in the sidebar.
#[derive(Clone, Copy)]
pub(crate) struct SidebarActions {
    /// Opens a conversation, at a message if one is given.
    pub(crate) on_open: Callback<(ConversationId, Option<MessageId>)>,
    /// Begins a new conversation.
    pub(crate) on_new: Callback<()>,
    /// Changes a conversation.
    pub(crate) on_change: Callback<(ConversationId, ConversationChange)>,
    /// Deletes a conversation.
    pub(crate) on_delete: Callback<ConversationId>,
    /// Creates a folder with this name, and moves the conversation there.
    pub(crate) on_new_folder: Callback<Option<ConversationId>>,
    /// Renames a folder.
    pub(crate) on_rename_folder: Callback<(FolderId, String)>,
    /// Removes a folder.
    pub(crate) on_remove_folder: Callback<FolderId>,
    /// Asks whether all conversations are to be deleted.
    pub(crate) on_delete_all: Callback<()>,
    /// Exports a conversation, or all.
    pub(crate) on_export: Callback<(Option<ConversationId>, ExportFormat)>,
    /// Imports conversations.
    pub(crate) on_import: Callback<()>,
}

/// The sidebar.
#[component]
pub(crate) fn SidebarView(
    /// The list.
    state: Sidebar,
    /// The conversation that is shown.
    #[prop(into)]
    current: Signal<Option<ConversationId>>,
    /// The conversation in which an answer is being written.
    #[prop(into)]
    answering_in: Signal<Option<ConversationId>>,
    /// What the user can do.
    actions: SidebarActions,
) -> impl IntoView {
    let menus = expect_context::<Menus>();
    let aside = NodeRef::<html::Aside>::new();
    let width = RwSignal::new(bridge::stored(WIDTH_KEY).and_then(|width| number::parse(&width)));
    let is_searching = Memo::new(move |_| state.query.with(|query| !query.trim().is_empty()));
    let has_archived =
        Memo::new(move |_| state.heads.with(|heads| heads.iter().any(|head| head.is_archived)));
    view! {
        <div class="drawer-scrim" on:click=move |_| state.is_open.set(false)></div>
        <aside class="sidebar" data-testid="sidebar" aria-label=text!(sidebar.label) node_ref=aside style:--sidebar=move || width.get().map(|width: f64| format!("{}px", width as i32))>
            <div class="sidebar-top">
                <button
                    type="button"
                    class="button quiet new-chat-row"
                    data-testid="sidebar-new"
                    on:click=move |_| actions.on_new.run(())
                >
                    {Icon::NewChat.view()}
                    <span>{text!(header.new_conversation)}</span>
                </button>
                <SearchField query=state.query/>
            </div>
            <Show
                when=move || is_searching.get()
                fallback=move || view! { <List state current answering_in actions/> }
            >
                <Found state current on_open=actions.on_open/>
            </Show>
            <div class="sidebar-bottom">
                <Show when=move || has_archived.get() || state.shows_archived.get()>
                    <button
                        type="button"
                        class="button quiet"
                        data-testid="archived-toggle"
                        aria-pressed=move || state.shows_archived.get().to_string()
                        on:click=move |_| state.shows_archived.update(|shown| *shown = !*shown)
                    >
                        {Icon::Archive.view()}
                        <span>{text!(sidebar.archived)}</span>
                    </button>
                </Show>
                <button
                    type="button"
                    class="button quiet"
                    data-testid="new-folder"
                    aria-label=text!(sidebar.new_folder)
                    title=text!(sidebar.new_folder)
                    on:click=move |_| actions.on_new_folder.run(None)
                >
                    {Icon::Folder.view()}
                </button>
                <button
                    type="button"
                    class="button quiet"
                    data-testid="sidebar-more"
                    aria-label=text!(sidebar.more)
                    title=text!(sidebar.more)
                    aria-haspopup="menu"
                    on:click=move |event| menus.open_below(&event, menu(state, actions))
                >
                    {Icon::More.view()}
                </button>
            </div>
            <div
                class="sidebar-edge"
                role="separator"
                aria-orientation="vertical"
                aria-label=text!(sidebar.resize)
                aria-valuemin=WIDTHS.0.to_string()
                aria-valuemax=WIDTHS.1.to_string()
                aria-valuenow=move || width.get().unwrap_or(DEFAULT_WIDTH).to_string()
                tabindex="0"
                on:pointerdown=move |event| begin_resize(&event)
                on:pointermove=move |event| resize(aside, width, &event)
                on:pointerup=move |_| store_width(width)
                on:keydown=move |event| resize_by_key(aside, width, &event)
            ></div>
        </aside>
    }
}

/// What can be done with all conversations.
fn menu(state: Sidebar, actions: SidebarActions) -> Vec<MenuItem> {
    let mut items = vec![MenuItem::new(text!(sidebar.import), "import", Icon::Import, move || {
        actions.on_import.run(());
    })];
    if state.heads.with_untracked(|heads| !heads.is_empty()) {
        let export = move || actions.on_export.run((None, ExportFormat::Json));
        items.push(MenuItem::new(text!(sidebar.export_all), "export-all", Icon::Download, export));
        let delete = move || actions.on_delete_all.run(());
        let item = MenuItem::new(text!(sidebar.delete_all), "delete-all", Icon::Remove, delete);
        items.push(item.dangerous());
    }
    items
}

#[component]
fn SearchField(query: RwSignal<String>) -> impl IntoView {
    view! {
        <label class="sidebar-search">
            {Icon::Search.view()}
            <span class="visually-hidden">{text!(sidebar.search)}</span>
            <input
                type="search"
                id="sidebar-search"
                data-testid="sidebar-search"
                placeholder=text!(sidebar.search)
                autocomplete="off"
                dir="auto"
                prop:value=query
                on:input=move |event| query.set(event_target_value(&event))
                on:keydown=move |event| {
                    if event.key() == "Escape" && !query.with_untracked(String::is_empty) {
                        event.stop_propagation();
                        query.set(String::new());
                    }
                }
            />
        </label>
    }
}

/// The rows in sight, between two empty spaces that stand for the others.
#[component]
fn List(
    state: Sidebar,
    current: Signal<Option<ConversationId>>,
    answering_in: Signal<Option<ConversationId>>,
    actions: SidebarActions,
) -> impl IntoView {
    let scroller = NodeRef::<html::Nav>::new();
    let top = RwSignal::new(0.0);
    let room = RwSignal::new(800.0);
    let row_height = RwSignal::new(ROW_HEIGHT);
    follow_size(scroller, room, row_height);
    let rows = Memo::new(move |_| state.rows(bridge::clock()));
    let range = Memo::new(move |_| {
        let height = row_height.get().max(1.0);
        let first = ((top.get() / height) as usize).saturating_sub(SPARE_ROWS);
        let count = (room.get() / height) as usize + 2 * SPARE_ROWS + 1;
        let total = rows.with(Vec::len);
        (first.min(total), (first + count).min(total))
    });
    let space = move |rows: usize| format!("{}px", (rows as f64 * row_height.get()) as i32);
    let before = move || space(range.get().0);
    let after = move || space(rows.with(Vec::len) - range.get().1.min(rows.with(Vec::len)));
    let in_sight = move || {
        // Before `range`: an effect asks its sources in their order, and one that has been updated on
        // behalf of an earlier source counts as unchanged (reactive_graph 0.2).
        rows.track();
        let (first, end) = range.get();
        rows.with(|rows| rows.get(first..end.min(rows.len())).map(<[Row]>::to_vec))
            .unwrap_or_default()
    };
    view! {
        <nav
            class="conversation-list"
            data-testid="conversation-list"
            aria-label=text!(sidebar.conversations)
            node_ref=scroller
            on:scroll=move |_| {
                if let Some(scroller) = scroller.get_untracked() {
                    top.set(f64::from(scroller.scroll_top()));
                }
            }
            on:keydown=move |event| move_focus(&event)
        >
            <div style=("height", before)></div>
            <For each=in_sight key=Row::key let:row>
                <RowView row state current answering_in actions/>
            </For>
            <div style=("height", after)></div>
            <Show when=move || rows.with(Vec::is_empty)>
                <p class="sidebar-empty">
                    {move || {
                        if state.shows_archived.get() {
                            text!(sidebar.none_archived)
                        } else {
                            text!(sidebar.none)
                        }
                    }}
                </p>
            </Show>
        </nav>
    }
}

/// Keeps the sizes of the list and of a row up to date.
fn follow_size(scroller: NodeRef<html::Nav>, room: RwSignal<f64>, row_height: RwSignal<f64>) {
    Effect::new(move || {
        let Some(element) = scroller.get() else { return };
        let on_resize = Closure::<dyn FnMut()>::new(move || {
            // The list may be gone.
            let Some(element) = scroller.try_get_untracked().flatten() else { return };
            room.try_set(f64::from(element.client_height()));
            let row = element.query_selector(".row").ok().flatten();
            let row = row.and_then(|row| row.dyn_into::<web_sys::HtmlElement>().ok());
            if let Some(row) = row.filter(|row| row.offset_height() > 0) {
                row_height.try_set(f64::from(row.offset_height()));
            }
        });
        let callback = on_resize.into_js_value();
        if let Ok(observer) = web_sys::ResizeObserver::new(callback.unchecked_ref()) {
            observer.observe(&element);
        }
    });
}

/// Moves the focus between rows with the arrow keys.
fn move_focus(event: &ev::KeyboardEvent) {
    let step = match &*event.key() {
        "ArrowDown" => 1,
        "ArrowUp" => -1,
        _ => return,
    };
    let Some(list) = event.current_target().and_then(|it| it.dyn_into::<web_sys::Element>().ok())
    else {
        return;
    };
    let Some(focused) =
        document().active_element().filter(|it| it.class_list().contains("row-main"))
    else {
        return;
    };
    let Ok(buttons) = list.query_selector_all(".row-main") else { return };
    let buttons: Vec<web_sys::HtmlElement> =
        (0..buttons.length()).filter_map(|index| buttons.item(index)?.dyn_into().ok()).collect();
    let at = buttons.iter().position(|button| **button == focused);
    let to = at.and_then(|at| at.checked_add_signed(step)).and_then(|to| buttons.get(to));
    if let Some(button) = to {
        event.prevent_default();
        let _ = button.focus();
    }
}

fn set_width(width: RwSignal<Option<f64>>, to: f64) {
    width.set(Some(to.clamp(WIDTHS.0, WIDTHS.1)));
}

fn store_width(width: RwSignal<Option<f64>>) {
    if let Some(width) = width.get_untracked() {
        bridge::store(WIDTH_KEY, &(width as i32).to_string());
    }
}

fn begin_resize(event: &ev::PointerEvent) {
    let edge = event.current_target().and_then(|it| it.dyn_into::<web_sys::Element>().ok());
    if let Some(edge) = edge {
        event.prevent_default();
        let _ = edge.set_pointer_capture(event.pointer_id());
    }
}

fn resize(aside: NodeRef<html::Aside>, width: RwSignal<Option<f64>>, event: &ev::PointerEvent) {
    let edge = event.current_target().and_then(|it| it.dyn_into::<web_sys::Element>().ok());
    let is_dragged = edge.is_some_and(|edge| edge.has_pointer_capture(event.pointer_id()));
    if let Some(aside) = aside.get_untracked().filter(|_| is_dragged) {
        let rect = aside.get_bounding_client_rect();
        let x = f64::from(event.client_x());
        let is_right_to_left = text::is_right_to_left();
        set_width(width, if is_right_to_left { rect.right() - x } else { x - rect.left() });
    }
}

fn resize_by_key(
    aside: NodeRef<html::Aside>,
    width: RwSignal<Option<f64>>,
    event: &ev::KeyboardEvent,
) {
    let step = match &*event.key() {
        "ArrowLeft" => -16.0,
        "ArrowRight" => 16.0,
        _ => return,
    };
    // Against the direction of the text, the key that points away from the edge makes it wider.
    let step = if text::is_right_to_left() { -step } else { step };
    event.prevent_default();
    if let Some(element) = aside.get_untracked() {
        set_width(width, f64::from(element.offset_width()) + step);
        store_width(width);
    }
}
