//! The palette: a field, and below it what the text finds. Without a text, all commands with their keys.

use leptos::{ev, html, prelude::*};

use super::icon::Icon;
use crate::bridge::is_apple;
use crate::format;
use crate::state::palette::Entry;
use crate::text::text;

/// The palette. It has the focus; the entry that Enter picks is highlighted.
#[component]
pub(crate) fn Palette(
    /// What is searched for.
    query: RwSignal<String>,
    /// What was found.
    #[prop(into)]
    entries: Signal<Vec<Entry>>,
    /// Called with the picked entry; the palette is closed then.
    on_pick: Callback<Entry>,
    /// Called to close it.
    on_close: Callback<()>,
) -> impl IntoView {
    let field = NodeRef::<html::Input>::new();
    let list = NodeRef::<html::Ul>::new();
    let marked = RwSignal::new(0_usize);
    Effect::new(move || {
        if let Some(field) = field.get() {
            let _ = field.focus();
        }
    });
    super::panel::restore_focus_on_close();
    let pick = move |index: usize| {
        if let Some(entry) = entries.with_untracked(|entries| entries.get(index).cloned()) {
            on_close.run(());
            on_pick.run(entry);
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| {
        let count = entries.with_untracked(Vec::len);
        let at = marked.get_untracked();
        let to = match &*event.key() {
            "ArrowDown" => at + 1,
            "ArrowUp" => at + count.saturating_sub(1),
            "Enter" if !event.is_composing() => {
                event.prevent_default();
                return pick(at);
            }
            "Tab" => {
                event.prevent_default();
                return;
            }
            _ => return,
        };
        event.prevent_default();
        marked.set(to % count.max(1));
        let item = list.get_untracked().and_then(|list| {
            list.children().item(u32::try_from(marked.get_untracked()).unwrap_or_default())
        });
        if let Some(item) = item {
            let options = web_sys::ScrollIntoViewOptions::new();
            options.set_block(web_sys::ScrollLogicalPosition::Nearest);
            item.scroll_into_view_with_scroll_into_view_options(&options);
        }
    };
    let row = move |(index, entry): (usize, Entry)| {
        let (icon, key) = match &entry {
            Entry::Command(command) => (Icon::Forward, command.shortcut(is_apple())),
            Entry::Conversation(..) => (Icon::NewChat, String::new()),
            Entry::Model(_) => (Icon::Library, String::new()),
        };
        view! {
            <li
                role="option"
                id=format!("palette-{index}")
                aria-selected=move || (marked.get() == index).to_string()
                data-testid="palette-entry"
                on:click=move |_| pick(index)
            >
                {icon.view()}
                <bdi>{format::visible_name(entry.name())}</bdi>
                <kbd>{key}</kbd>
            </li>
        }
    };
    view! {
        <div class="palette-scrim" on:click=move |_| on_close.run(())></div>
        <div class="palette" role="dialog" aria-label=text!(palette.title) data-testid="palette">
            <input
                type="text"
                role="combobox"
                aria-expanded="true"
                aria-controls="palette-list"
                aria-activedescendant=move || format!("palette-{}", marked.get())
                aria-label=text!(palette.title)
                placeholder=text!(palette.placeholder)
                data-testid="palette-input"
                autocomplete="off"
                node_ref=field
                prop:value=query
                on:input=move |event| {
                    marked.set(0);
                    query.set(event_target_value(&event));
                }
                on:keydown=on_keydown
            />
            <ul id="palette-list" role="listbox" aria-label=text!(palette.title) node_ref=list>
                {move || entries.get().into_iter().enumerate().map(row).collect_view()}
            </ul>
        </div>
    }
}
