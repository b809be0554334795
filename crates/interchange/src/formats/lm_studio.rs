//! Files of LM Studio, `*.conversation.json`: each place in the conversation has versions, of which one
//! is selected.
//!
//! What follows a place follows the selected version; the others are branches that end there.

use super::content::{add_content, add_reasoning, add_unknown, role};
use crate::conversation::{Part, PartKind, Role};
use crate::json::Json;
use crate::time::time_ms;
use crate::tree::{Draft, Node};

pub(super) fn is_conversation(item: &Json) -> bool {
    let messages = item.get("messages");
    messages.items().iter().any(|message| message.get("versions").is_list())
        || (messages.is_list() && item.has("lastUsedModel"))
}

pub(super) fn read(item: &Json) -> Draft {
    let created_ms = time_ms(item.get("createdAt"));
    let mut draft = Draft {
        title: item.get("name").to_text(),
        created_ms,
        updated_ms: [
            time_ms(item.get("assistantLastMessagedAt")),
            time_ms(item.get("userLastMessagedAt")),
        ]
        .into_iter()
        .flatten()
        .max(),
        is_pinned: item.get("pinned").is_true(),
        ..Draft::default()
    };
    draft.key = created_ms.map(|ms| format!("{ms} {}", draft.title.as_deref().unwrap_or_default()));
    let model = item.get("lastUsedModel").first_of(&["identifier", "indexedModelIdentifier"]);
    let system = item.get("systemPrompt").to_text().filter(|text| !text.trim().is_empty());
    let mut parent = system.map(|text| {
        let mut node = Node::new(Role::System);
        (node.key, node.parts) = (Some("system".to_owned()), vec![Part::text(text)]);
        draft.nodes.push(node);
        "system".to_owned()
    });
    for (place, message) in item.get("messages").items().iter().enumerate() {
        let versions = message.get("versions").items();
        let last = versions.len().saturating_sub(1);
        let selected = message.get("currentlySelected").as_u64();
        let selected = selected.and_then(|it| usize::try_from(it).ok()).unwrap_or(0).min(last);
        for (idx, version) in versions.iter().enumerate() {
            let mut node = read_version(version, &mut draft.n_missing_files);
            let sender = version.get("senderInfo").get("senderName").to_text();
            node.model =
                sender.or_else(|| model.to_text()).filter(|_| node.role == Role::Assistant);
            node.key = Some(format!("{place}.{idx}"));
            node.parent.clone_from(&parent);
            node.rank = idx;
            draft.nodes.push(node);
        }
        if !versions.is_empty() {
            parent = Some(format!("{place}.{selected}"));
        }
    }
    draft.current = parent;
    draft
}

fn read_version(version: &Json, n_missing_files: &mut u64) -> Node {
    let mut node = Node::new(role(version.get("role")));
    *n_missing_files += add_content(version.get("content"), &mut node.parts);
    for step in version.get("steps").items() {
        // Identifiers of steps begin with their time.
        let stamp = step.get("stepIdentifier").as_text().and_then(|id| id.get(..13));
        let stamp = stamp.map(|digits| time_ms(&Json::Text(digits.to_owned())));
        node.created_ms = node.created_ms.or(stamp.flatten());
        match step.get("type").as_text() {
            Some("contentBlock") => {
                let mut parts = Vec::new();
                *n_missing_files += add_content(step.get("content"), &mut parts);
                let is_reasoning = step.get("style").get("type").as_text() == Some("thinking");
                for part in parts {
                    match part.kind {
                        PartKind::Text if is_reasoning => {
                            add_reasoning(&part.text, None, &mut node.parts);
                        }
                        _ => node.parts.push(part),
                    }
                }
            }
            // Figures, and the state of the program.
            Some("debugInfoBlock" | "status" | "toolStatus") => {}
            _ => add_unknown(step, &mut node.parts),
        }
    }
    node
}
