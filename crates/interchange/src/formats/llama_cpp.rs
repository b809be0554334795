//! Exports of the page of llama.cpp's server: `{"conv": …, "messages": […]}`, a list of these, or lines
//! of JSON: the conversation, then its messages.

use super::content::{add_attachment, add_content, add_reasoning, add_unknown, file_name, role};
use super::key;
use crate::conversation::Role;
use crate::json::Json;
use crate::time::time_ms;
use crate::tree::{Draft, Node};

pub(super) fn read(conversation: &Json, messages: &[Json]) -> Draft {
    let mut draft = Draft {
        key: key(conversation.get("id")),
        title: conversation.get("name").to_text(),
        updated_ms: time_ms(conversation.get("lastModified")),
        is_pinned: conversation.get("pinned").is_true(),
        current: key(conversation.get("currNode")),
        ..Draft::default()
    };
    // Exports before there were branches have no parents.
    let is_tree = messages.iter().any(|message| message.has("parent"));
    for message in messages.iter().filter(|it| it.is_object()) {
        let mut node = read_message(message, &mut draft.n_missing_files);
        node.key = key(message.get("id")).or_else(|| Some(format!("#{}", draft.nodes.len())));
        node.parent = match is_tree {
            true => key(message.get("parent")),
            false => draft.nodes.last().and_then(|node: &Node| node.key.clone()),
        };
        draft.nodes.push(node);
    }
    let by_key: std::collections::HashMap<String, usize> = draft
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(idx, node)| Some((node.key.clone()?, idx)))
        .collect();
    for message in messages {
        for (rank, child) in message.get("children").items().iter().enumerate() {
            if let Some(&idx) = key(child).and_then(|child| by_key.get(&child)) {
                draft.nodes[idx].rank = rank;
            }
        }
    }
    draft
}

fn read_message(message: &Json, n_missing_files: &mut u64) -> Node {
    let mut node = Node::new(role(message.get("role")));
    // The node that beginnings follow.
    node.is_structure = message.get("type").as_text() == Some("root");
    node.created_ms = time_ms(message.get("timestamp"));
    node.model = message.get("model").to_text().filter(|_| node.role == Role::Assistant);
    if let Some(text) = message.first_of(&["reasoningContent", "thinking"]).as_text() {
        add_reasoning(text, None, &mut node.parts);
    }
    *n_missing_files += add_content(message.get("content"), &mut node.parts);
    let calls = message.get("toolCalls");
    if calls.as_text() != Some("[]") {
        match calls.as_text() {
            Some(text) if !text.is_empty() => {
                node.parts.push(crate::Part::text(super::content::fenced("json", text)));
            }
            _ => add_unknown(calls, &mut node.parts),
        }
    }
    for extra in message.get("extra").items() {
        let text = extra.get("content").as_text().unwrap_or_default();
        *n_missing_files += u64::from(text.is_empty());
        add_attachment(file_name(extra), text, &mut node.parts);
    }
    node
}
