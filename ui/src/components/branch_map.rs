//! The map of branches: every message of a conversation, indented where it branches.

use std::collections::HashMap;

use leptos::prelude::*;
use lilims_ipc::{BranchNode, MessageId, Role};

use super::panel::Panel;
use crate::format;
use crate::text::text;

/// The deepest indentation, so that text always has room.
const MAX_DEPTH: usize = 10;

/// The map.
#[component]
pub(crate) fn BranchMap(
    /// The messages, each after the one that it follows.
    #[prop(into)]
    nodes: Signal<Vec<BranchNode>>,
    /// Called with a message whose branch is to be shown.
    on_pick: Callback<MessageId>,
    /// Called to close the map.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let rows = move || {
        let nodes = nodes.get();
        let depths = depths(&nodes);
        let row = |(node, depth): (BranchNode, usize)| {
            let BranchNode { id, role, excerpt, is_shown, .. } = node;
            let who = match role {
                Role::User => text!(conversation.you),
                Role::Assistant => text!(header.app_name),
                Role::System => text!(conversation.instructions),
            };
            view! {
                <li style=("--depth", depth.min(MAX_DEPTH).to_string())>
                    <button
                        type="button"
                        class="map-row"
                        class:shown=is_shown
                        data-testid="map-row"
                        aria-current=is_shown.then_some("true")
                        on:click=move |_| on_pick.run(id.clone())
                    >
                        <span class="map-who">{who}</span>
                        <bdi class="map-text">{format::visible_name(&excerpt)}</bdi>
                    </button>
                </li>
            }
        };
        nodes.into_iter().zip(depths).map(row).collect_view()
    };
    view! {
        <Panel id="branch-map" title=text!(conversation.branches) close_label=text!(button.close) on_close>
            <ol class="map">{rows}</ol>
        </Panel>
    }
}

/// How far each message is indented: one step deeper than its parent where that has several versions
/// below it.
fn depths(nodes: &[BranchNode]) -> Vec<usize> {
    let mut n_children: HashMap<Option<&MessageId>, usize> = HashMap::new();
    for node in nodes {
        *n_children.entry(node.parent.as_ref()).or_default() += 1;
    }
    let mut depth_of: HashMap<&MessageId, usize> = HashMap::new();
    nodes
        .iter()
        .map(|node| {
            let parent = node.parent.as_ref();
            let above = parent.and_then(|parent| depth_of.get(parent)).copied().unwrap_or(0);
            let depth = above + usize::from(n_children[&parent] > 1);
            depth_of.insert(&node.id, depth);
            depth
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_indented_below_what_they_follow() {
        let node = |id: &str, parent: Option<&str>| BranchNode {
            id: MessageId(id.into()),
            parent: parent.map(|parent| MessageId(parent.into())),
            role: Role::User,
            excerpt: String::new(),
            is_shown: false,
        };
        let nodes = [
            node("a", None),
            node("b", Some("a")),
            node("c", Some("b")),
            node("d", Some("a")),
            node("e", Some("d")),
        ];
        assert_eq!(depths(&nodes), [0, 1, 1, 1, 1]);
        assert_eq!(depths(&nodes[..3]), [0, 0, 0]);
    }
}
