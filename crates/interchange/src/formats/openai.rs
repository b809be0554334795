//! Messages as the API of OpenAI takes them: `{"messages": […]}`, a bare list, or one of either a line.
//! Many programs write them; some call the keys otherwise (`from`, `value`, `author`).

use super::content::{add_content, add_reasoning, add_unknown, role};
use super::key;
use crate::conversation::Role;
use crate::json::Json;
use crate::time::time_ms;
use crate::tree::{Draft, Node};

const ROLES: [&str; 4] = ["role", "from", "author", "sender"];
const CONTENTS: [&str; 4] = ["content", "value", "text", "parts"];
const TIMES: [&str; 5] = ["created_at", "timestamp", "create_time", "createdAt", "time"];

pub(super) fn is_message(item: &Json) -> bool {
    let has_role = role_of(item).as_text().is_some();
    let has_content = CONTENTS.iter().any(|key| item.has(key));
    has_role && (has_content || item.has("tool_calls") || has_null_content(item))
}

/// An answer that consists of calls has null as its content.
fn has_null_content(item: &Json) -> bool {
    item.entries().iter().any(|(name, _)| name == "content")
}

pub(super) fn is_conversation(item: &Json) -> bool {
    messages(item).iter().any(is_message)
}

fn messages(item: &Json) -> &[Json] {
    match item {
        Json::List(items) => items,
        _ => item.first_of(&["messages", "conversations", "conversation", "history"]).items(),
    }
}

fn role_of(message: &Json) -> &Json {
    match message.first_of(&ROLES) {
        author @ Json::Object(_) => author.get("role"),
        word => word,
    }
}

pub(super) fn read(item: &Json) -> Draft {
    let mut draft = read_messages(messages(item));
    draft.key = key(item.first_of(&["id", "uuid", "conversation_id"]));
    draft.title = item.first_of(&["title", "name"]).to_text();
    draft.created_ms = TIMES.iter().find_map(|key| time_ms(item.get(key)));
    draft.updated_ms = ["updated_at", "update_time", "updatedAt", "lastModified"]
        .iter()
        .find_map(|key| time_ms(item.get(key)));
    let model = item.get("model").to_text();
    for node in draft.nodes.iter_mut().filter(|node| node.role == Role::Assistant) {
        node.model = node.model.take().or_else(|| model.clone());
    }
    draft
}

pub(super) fn read_messages(messages: &[Json]) -> Draft {
    let mut draft = Draft::default();
    for (idx, message) in messages.iter().enumerate() {
        let mut node = Node::new(role(role_of(message)));
        node.key = Some(format!("#{idx}"));
        node.parent = idx.checked_sub(1).map(|before| format!("#{before}"));
        node.created_ms = TIMES.iter().find_map(|key| time_ms(message.get(key)));
        node.model = message.get("model").to_text().filter(|_| node.role == Role::Assistant);
        if message.is_object() {
            let reasoning = message.first_of(&["reasoning_content", "reasoning", "thinking"]);
            add_reasoning(reasoning.as_text().unwrap_or_default(), None, &mut node.parts);
            let content = message.first_of(&CONTENTS);
            draft.n_missing_files += add_content(content, &mut node.parts);
            add_unknown(message.first_of(&["tool_calls", "function_call"]), &mut node.parts);
            draft.n_missing_files += add_content(message.get("refusal"), &mut node.parts);
        } else {
            // A bare text among messages.
            draft.n_missing_files += add_content(message, &mut node.parts);
        }
        draft.nodes.push(node);
    }
    draft
}
