//! A menu of actions: opened by a button, a right click or a long press, drawn above everything.

use std::sync::Arc;

use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;

use super::icon::Icon;
use crate::format;

/// An action of a menu.
#[derive(Clone)]
pub(crate) struct MenuItem {
    /// Its name.
    pub(crate) label: String,
    /// The test id.
    pub(crate) test_id: &'static str,
    /// The icon before the name.
    pub(crate) icon: Icon,
    /// Whether it deletes something.
    pub(crate) is_danger: bool,
    /// Called when it is picked; the menu is closed then. Not a `Callback`, which would end with the menu
    /// that opens the next one.
    on_pick: Arc<dyn Fn() + Send + Sync>,
}

impl MenuItem {
    /// An action that deletes nothing.
    pub(crate) fn new(
        label: impl Into<String>,
        test_id: &'static str,
        icon: Icon,
        on_pick: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { label: label.into(), test_id, icon, is_danger: false, on_pick: Arc::new(on_pick) }
    }

    /// The same action, marked as one that deletes.
    pub(crate) fn dangerous(self) -> Self {
        Self { is_danger: true, ..self }
    }
}

/// A menu that is open.
#[derive(Clone)]
struct OpenMenu {
    items: Vec<MenuItem>,
    /// Where it is opened, in pixels from the window's top left corner.
    at: (f64, f64),
}

/// The one menu of the page. Copies share it.
#[derive(Clone, Copy)]
pub(crate) struct Menus {
    open: RwSignal<Option<OpenMenu>>,
    last_at: StoredValue<(f64, f64)>,
    /// What had the focus before.
    focused: StoredValue<Option<web_sys::HtmlElement>, LocalStorage>,
}

impl Menus {
    /// No menu is open.
    pub(crate) fn new() -> Self {
        Self {
            open: RwSignal::new(None),
            last_at: StoredValue::new((0.0, 0.0)),
            focused: StoredValue::new_local(None),
        }
    }

    /// Opens a menu below the control that was clicked.
    pub(crate) fn open_below(&self, event: &web_sys::Event, items: Vec<MenuItem>) {
        let target = event.current_target().and_then(|it| it.dyn_into::<web_sys::Element>().ok());
        if let Some(target) = target {
            let rect = target.get_bounding_client_rect();
            self.open_at((rect.left(), rect.bottom() + 4.0), items);
        }
    }

    /// Opens a menu where the pointer is.
    pub(crate) fn open_at_pointer(&self, event: &ev::MouseEvent, items: Vec<MenuItem>) {
        event.prevent_default();
        self.open_at((event.client_x().into(), event.client_y().into()), items);
    }

    /// Opens a menu at these coordinates, inside the window.
    pub(crate) fn open_at(&self, at: (f64, f64), items: Vec<MenuItem>) {
        if self.open.with_untracked(Option::is_none) {
            let focused = document().active_element();
            self.focused.set_value(focused.and_then(|it| it.dyn_into().ok()));
        }
        self.last_at.set_value(at);
        self.open.set(Some(OpenMenu { items, at }));
    }

    /// Opens a menu where the last one was, such as that of the folders to move to.
    pub(crate) fn open_again(&self, items: Vec<MenuItem>) {
        self.open_at(self.last_at.get_value(), items);
    }

    /// Whether a menu is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.with_untracked(Option::is_some)
    }

    /// Closes the menu and gives the focus back.
    pub(crate) fn close(&self) {
        self.open.set(None);
        if let Some(focused) = self.focused.try_update_value(Option::take).flatten() {
            let _ = focused.focus();
        }
    }
}

/// The menu that is open.
#[component]
pub(crate) fn MenuView(
    /// The menus of the page.
    menus: Menus,
) -> impl IntoView {
    move || menus.open.get().map(|open| view! { <OpenMenuView menus open/> })
}

#[component]
fn OpenMenuView(menus: Menus, open: OpenMenu) -> impl IntoView {
    let OpenMenu { items, at } = open;
    let list = NodeRef::<html::Ul>::new();
    Effect::new(move || {
        let Some(list) = list.get() else { return };
        place(&list, at);
        focus_item(&list, 0);
    });
    let on_keydown = move |event: ev::KeyboardEvent| {
        let Some(list) = list.get_untracked() else { return };
        let count = list.child_element_count() as i32;
        let at = focused_index(&list);
        let to = match &*event.key() {
            "ArrowDown" => at + 1,
            "ArrowUp" => at - 1,
            "Home" => 0,
            "End" => count - 1,
            "Tab" => {
                event.prevent_default();
                menus.close();
                return;
            }
            _ => return,
        };
        event.prevent_default();
        focus_item(&list, to.rem_euclid(count.max(1)));
    };
    let item = move |item: MenuItem| {
        let MenuItem { label, test_id, icon, is_danger, on_pick } = item;
        view! {
            <li role="none">
                <button
                    type="button"
                    role="menuitem"
                    tabindex="-1"
                    class="menu-item"
                    class:danger=is_danger
                    data-testid=test_id
                    on:click=move |_| {
                        menus.close();
                        on_pick();
                    }
                >
                    {icon.view()}
                    <bdi>{format::visible_name(&label)}</bdi>
                </button>
            </li>
        }
    };
    view! {
        <div
            class="menu-scrim"
            on:click=move |_| menus.close()
            on:contextmenu=move |event| {
                event.prevent_default();
                menus.close();
            }
        ></div>
        <ul class="menu" role="menu" data-testid="menu" node_ref=list on:keydown=on_keydown>
            {items.into_iter().map(item).collect_view()}
        </ul>
    }
}

/// Moves the menu to its place, inside the window.
fn place(list: &web_sys::HtmlElement, (x, y): (f64, f64)) {
    const MARGIN: f64 = 8.0;
    let inside = |at: f64, size: f64, room: Option<f64>| {
        at.min(room.unwrap_or(f64::MAX) - size - MARGIN).max(MARGIN)
    };
    let window = window();
    let size = |value: Result<wasm_bindgen::JsValue, _>| value.ok().and_then(|it| it.as_f64());
    let rect = list.get_bounding_client_rect();
    let left = inside(x, rect.width(), size(window.inner_width()));
    let top = inside(y, rect.height(), size(window.inner_height()));
    let style = list.style();
    let _ = style.set_property("left", &format!("{}px", left as i32));
    let _ = style.set_property("top", &format!("{}px", top as i32));
}

fn item_buttons(list: &web_sys::Element) -> impl Iterator<Item = web_sys::HtmlElement> {
    let buttons = list.query_selector_all("[role=menuitem]").ok();
    let nodes = buttons
        .into_iter()
        .flat_map(|buttons| (0..buttons.length()).filter_map(move |index| buttons.item(index)));
    nodes.filter_map(|node| node.dyn_into().ok())
}

fn focus_item(list: &web_sys::Element, index: i32) {
    if let Some(button) = item_buttons(list).nth(usize::try_from(index).unwrap_or(0)) {
        let _ = button.focus();
    }
}

fn focused_index(list: &web_sys::Element) -> i32 {
    let focused = document().active_element();
    let is_focused = |button: web_sys::HtmlElement| Some(button.into()) == focused;
    item_buttons(list).position(is_focused).map_or(-1, |index| index as i32)
}
