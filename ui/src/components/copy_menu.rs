//! The ways to copy an answer other than as Markdown.

use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::Node;

use super::icon::Icon;
use super::prose::ProseServices;
use crate::markdown::{plain_text, rich_text};
use crate::text::text;

/// A button that opens a menu. It shows nothing where no services are provided.
#[component]
pub(super) fn CopyMenu(
    /// The Markdown.
    text: ArcRwSignal<String>,
) -> impl IntoView {
    use_context::<ProseServices>().map(|services| menu(text, services))
}

fn menu(text: ArcRwSignal<String>, services: ProseServices) -> impl IntoView {
    let is_open = RwSignal::new(false);
    let host = NodeRef::<html::Div>::new();
    let button = NodeRef::<html::Button>::new();
    let list = NodeRef::<html::Div>::new();
    let close = move || {
        is_open.set(false);
        if let Some(button) = button.get_untracked() {
            let _ = button.focus();
        }
    };
    // The first entry has the focus in an open menu.
    Effect::new(move || {
        if let Some(list) = list.get() {
            focus(list.first_element_child());
        }
    });
    let on_focusout = move |event: ev::FocusEvent| {
        let to = event.related_target().and_then(|target| target.dyn_into::<Node>().ok());
        if host.get_untracked().is_none_or(|host| !host.contains(to.as_ref())) {
            is_open.set(false);
        }
    };
    let on_keydown = move |event: ev::KeyboardEvent| match &*event.key() {
        "Escape" if is_open.get_untracked() => {
            event.stop_propagation();
            close();
        }
        "ArrowDown" => step(&event, |it| it.next_element_sibling()),
        "ArrowUp" => step(&event, |it| it.previous_element_sibling()),
        _ => {}
    };
    let (rich, plain) = (text.clone(), text);
    let copy_rich = move |_| {
        let markdown = rich.get_untracked();
        services.copy_rich.run((rich_text(&markdown), plain_text(&markdown)));
        close();
    };
    let copy_plain = move |_| {
        services.copy.run(plain_text(&plain.get_untracked()));
        close();
    };
    let entries = move || {
        view! {
            <div class="menu" role="menu" data-testid="copy-menu" node_ref=list>
                <button type="button" role="menuitem" data-testid="copy-rich" on:click=copy_rich.clone()>
                    {text!(prose.copy_rich)}
                </button>
                <button type="button" role="menuitem" data-testid="copy-plain" on:click=copy_plain.clone()>
                    {text!(prose.copy_plain)}
                </button>
            </div>
        }
    };
    view! {
        <div class="menu-host" node_ref=host on:focusout=on_focusout on:keydown=on_keydown>
            <button
                type="button"
                class="button quiet small"
                data-testid="copy-more"
                aria-label=text!(prose.copy_as)
                title=text!(prose.copy_as)
                aria-haspopup="menu"
                aria-expanded=move || is_open.get().to_string()
                node_ref=button
                on:click=move |_| is_open.update(|is_open| *is_open = !*is_open)
            >
                {Icon::More.view()}
            </button>
            {move || is_open.get().then(&entries)}
        </div>
    }
}

fn focus(element: Option<web_sys::Element>) {
    if let Some(element) = element.and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = element.focus();
    }
}

/// Moves the focus to another entry.
fn step(event: &ev::KeyboardEvent, to: impl Fn(&web_sys::Element) -> Option<web_sys::Element>) {
    event.prevent_default();
    let entry = document().active_element().filter(|it| it.has_attribute("role"));
    focus(entry.as_ref().and_then(to));
}
