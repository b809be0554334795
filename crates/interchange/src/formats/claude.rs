//! Exports of Claude: `conversations.json` with `chat_messages`, and conversations as its page loads them.
//!
//! `parent_message_uuid` makes a tree; older exports are lists. `content` has blocks; where it is empty,
//! `text` has the text.

use super::content::{add_attachment, add_content, add_text, file_name, role};
use super::key;
use crate::conversation::State;
use crate::json::Json;
use crate::time::time_ms;
use crate::tree::{Draft, Node};

pub(super) fn read(item: &Json) -> Draft {
    let messages = item.get("chat_messages").items();
    let is_tree = messages.iter().any(|message| message.has("parent_message_uuid"));
    let mut draft = Draft {
        key: key(item.get("uuid")),
        title: item.first_of(&["name", "title"]).to_text(),
        folder: item.get("project").get("name").to_text().filter(|name| !name.is_empty()),
        created_ms: time_ms(item.get("created_at")),
        updated_ms: time_ms(item.get("updated_at")),
        is_pinned: item.get("is_starred").is_true(),
        current: key(item.get("current_leaf_message_uuid")),
        ..Draft::default()
    };
    let model = item.get("model").to_text();
    for (idx, message) in messages.iter().enumerate().filter(|(_, it)| it.is_object()) {
        let mut node = Node::new(role(message.get("sender")));
        node.key = key(message.get("uuid")).or_else(|| Some(format!("#{idx}")));
        node.parent = match is_tree {
            true => key(message.get("parent_message_uuid")),
            false => draft.nodes.last().and_then(|node: &Node| node.key.clone()),
        };
        node.created_ms = time_ms(message.get("created_at"));
        node.model = model.clone().filter(|_| node.role == crate::Role::Assistant);
        if message.get("truncated").is_true()
            || message.get("stop_reason").as_text() == Some("user_canceled")
        {
            node.state = State::Stopped;
        }
        draft.n_missing_files += add_content(message.get("content"), &mut node.parts);
        if node.parts.is_empty() {
            add_text(&message.get("text").to_text().unwrap_or_default(), &mut node.parts);
        }
        for attachment in message.get("attachments").items() {
            let text = attachment.get("extracted_content").as_text().unwrap_or_default();
            draft.n_missing_files += u64::from(text.is_empty());
            add_attachment(file_name(attachment), text, &mut node.parts);
        }
        for file in message.first_of(&["files", "files_v2"]).items() {
            draft.n_missing_files += 1;
            add_attachment(file_name(file), "", &mut node.parts);
        }
        draft.nodes.push(node);
    }
    draft
}
