//! What the search in the sidebar has found: conversations by their titles, then messages.

use leptos::prelude::*;
use lilims_ipc::{ConversationHead, ConversationId, ExcerptPiece, MessageId, SearchHit};

use crate::format;
use crate::state::Sidebar;
use crate::text::text;

/// The most conversations that are shown for their titles.
const MAX_TITLES: usize = 30;

/// What was found.
#[component]
pub(super) fn Found(
    state: Sidebar,
    current: Signal<Option<ConversationId>>,
    on_open: Callback<(ConversationId, Option<MessageId>)>,
) -> impl IntoView {
    let titles = Memo::new(move |_| {
        let mut found = state.titles_found();
        found.truncate(MAX_TITLES);
        found
    });
    let is_empty = Memo::new(move |_| titles.with(Vec::is_empty) && state.hits.with(Vec::is_empty));
    let title = move |head: ConversationHead| {
        let ConversationHead { id, title, .. } = head;
        let is_current = {
            let id = id.clone();
            move || current.with(|current| current.as_ref() == Some(&id))
        };
        view! {
            <button
                type="button"
                class="hit"
                class:current=is_current
                data-testid="found-title"
                on:click=move |_| on_open.run((id.clone(), None))
            >
                <bdi class="hit-title">{shown_title(title.as_deref())}</bdi>
            </button>
        }
    };
    let hit = move |hit: SearchHit| {
        let SearchHit { conversation, title, message, excerpt, created_ms } = hit;
        view! {
            <button
                type="button"
                class="hit"
                data-testid="found-message"
                on:click=move |_| on_open.run((conversation.clone(), Some(message.clone())))
            >
                <span class="hit-head">
                    <bdi class="hit-title">{shown_title(title.as_deref())}</bdi>
                    <span class="hit-when">
                        {format::period(created_ms, crate::bridge::clock())}
                    </span>
                </span>
                <span class="hit-excerpt" dir="auto">
                    {excerpt.into_iter().map(piece).collect_view()}
                </span>
            </button>
        }
    };
    view! {
        <div class="conversation-list" data-testid="search-results">
            {move || titles.get().into_iter().map(title).collect_view()}
            {move || state.hits.get().into_iter().map(hit).collect_view()}
            <Show when=move || is_empty.get()>
                <p class="sidebar-empty">{text!(sidebar.nothing_found)}</p>
            </Show>
        </div>
    }
}

fn piece(piece: ExcerptPiece) -> AnyView {
    // Marks of Markdown around a word say nothing here.
    let text = format::visible_name(&piece.text.replace("**", "").replace('`', ""));
    if piece.is_match { view! { <mark>{text}</mark> }.into_any() } else { text.into_any() }
}

/// The title of a conversation, or what stands for it.
pub(super) fn shown_title(title: Option<&str>) -> String {
    title.map_or_else(|| text!(sidebar.untitled).to_owned(), format::visible_name)
}
