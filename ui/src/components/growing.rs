//! Markdown that grows: its finished blocks, and the end that may still change.

use leptos::{html, prelude::*};

use crate::bridge;
use crate::state::Growing;

/// The blocks of a text, without the text itself.
#[component]
pub(super) fn GrowingBlocks(text: Growing) -> impl IntoView {
    let Growing { blocks, tail, .. } = text;
    let end = NodeRef::<html::Div>::new();
    Effect::new(move || {
        if let Some(end) = end.get() {
            tail.with(|html| bridge::patch(&end, html));
        }
    });
    view! {
        <For each=move || blocks.get() key=|block| block.index let:block>
            <div class="chunk" inner_html=block.html.to_string()></div>
        </For>
        <div class="chunk tail" node_ref=end></div>
    }
}
