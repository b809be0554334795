//! Lilims's own export. Read as leniently as the others: people and programs edit such files.

use super::key;
use crate::conversation::{Part, PartKind, Role, State};
use crate::json::Json;
use crate::tree::{Draft, Node};

pub(super) fn read(item: &Json) -> Draft {
    Draft {
        key: key(item.get("id")),
        title: item.get("title").to_text(),
        title_origin: item.get("title_origin").to_text(),
        folder: item.get("folder").to_text(),
        created_ms: item.get("created_ms").as_u64(),
        updated_ms: item.get("updated_ms").as_u64(),
        is_pinned: item.get("pinned").is_true(),
        is_archived: item.get("archived").is_true(),
        overflow: item.get("overflow").to_text(),
        settings: item.get("settings").to_value(),
        current: key(item.get("current_leaf")),
        nodes: item.get("messages").items().iter().filter(|it| it.is_object()).map(node).collect(),
        n_missing_files: 0,
    }
}

fn node(message: &Json) -> Node {
    let word = |key: &str| message.get(key).as_text();
    let role = word("role").and_then(Role::from_word);
    Node {
        key: key(message.get("id")),
        parent: key(message.get("parent")),
        created_ms: message.get("created_ms").as_u64(),
        model: message.get("model").to_text(),
        settings: message.get("settings").to_value(),
        stats: message.get("stats").to_value(),
        state: word("state").and_then(State::from_word).unwrap_or(State::Done),
        error: message.get("error").to_value(),
        parts: message.get("parts").items().iter().map(part).collect(),
        ..Node::new(role.unwrap_or_else(|| super::content::role(message.get("role"))))
    }
}

fn part(part: &Json) -> Part {
    let Some(kind) = part.get("kind").as_text().and_then(PartKind::from_word) else {
        // A kind of a later version.
        return Part::text(part.to_text().unwrap_or_else(|| part.to_string()));
    };
    let text = part.get("text").to_text().unwrap_or_default();
    Part { kind, text, data: part.get("data").to_value() }
}
