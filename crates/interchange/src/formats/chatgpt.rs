//! Exports of ChatGPT: `conversations.json`, or `conversations-000.json` and so on.
//!
//! A conversation is a map of nodes, each with its parent, its children and perhaps a message. The
//! format is not documented and changes; content of an unknown type is kept as text.

use super::content::{
    add_attachment, add_content, add_reasoning, add_text, add_unknown, fenced, file_name, role,
};
use super::key;
use crate::conversation::{Part, Role, State};
use crate::json::Json;
use crate::time::time_ms;
use crate::tree::{Draft, Node};

pub(super) fn read(item: &Json) -> Draft {
    let mapping = item.get("mapping").entries();
    let mut draft = Draft {
        key: key(item.first_of(&["conversation_id", "id"])),
        title: item.get("title").to_text(),
        created_ms: time_ms(item.get("create_time")),
        updated_ms: time_ms(item.get("update_time")),
        is_pinned: item.first_of(&["is_starred", "pinned_time"]).is_true(),
        is_archived: item.get("is_archived").is_true(),
        current: key(item.get("current_node")),
        nodes: Vec::with_capacity(mapping.len()),
        ..Draft::default()
    };
    for (name, entry) in mapping {
        let mut node = message(entry.get("message"), &mut draft.n_missing_files);
        node.key = Some(name.clone());
        node.parent = key(entry.get("parent"));
        draft.nodes.push(node);
    }
    rank_children(mapping, &mut draft.nodes);
    draft
}

/// Takes the order of siblings from the lists of children; also the parent, where a node has none.
fn rank_children(mapping: &[(String, Json)], nodes: &mut [Node]) {
    let by_key: std::collections::HashMap<&str, usize> =
        mapping.iter().enumerate().map(|(idx, (name, _))| (name.as_str(), idx)).collect();
    for (name, entry) in mapping {
        for (rank, child) in entry.get("children").items().iter().enumerate() {
            let Some(&idx) = child.as_text().and_then(|child| by_key.get(child)) else { continue };
            nodes[idx].rank = rank;
            nodes[idx].parent.get_or_insert_with(|| name.clone());
        }
    }
}

fn message(message: &Json, n_missing_files: &mut u64) -> Node {
    let author = message.get("author");
    let metadata = message.get("metadata");
    let mut node = Node::new(role(author.get("role")));
    if !message.is_object() {
        node.is_structure = true;
        return node;
    }
    node.created_ms = time_ms(message.get("create_time"));
    node.model = metadata.get("model_slug").to_text().filter(|_| node.role == Role::Assistant);
    node.state = match message.get("status").as_text() {
        Some("in_progress" | "finished_partial_completion") => State::Stopped,
        _ => State::Done,
    };
    let content = message.get("content");
    let kind = content.get("content_type").as_text();
    *n_missing_files += add_parts(kind, content, metadata, &mut node.parts);
    for file in metadata.get("attachments").items() {
        add_attachment(file_name(file), "", &mut node.parts);
        *n_missing_files += 1;
    }
    // Weight 0: nodes that the model reads and the page does not show.
    let is_weightless =
        matches!(message.get("weight"), Json::Number(weight) if weight.as_f64() == Some(0.0));
    let is_context = matches!(kind, Some("user_editable_context" | "model_editable_context"));
    node.is_hidden = metadata.get("is_visually_hidden_from_conversation").is_true()
        || metadata.get("is_user_system_message").is_true()
        || is_context
        || (is_weightless && node.role != Role::User);
    node
}

fn add_parts(kind: Option<&str>, content: &Json, metadata: &Json, parts: &mut Vec<Part>) -> u64 {
    let text = || content.first_of(&["text", "content", "result"]).to_text();
    match kind {
        Some("text" | "multimodal_text") | None if content.get("parts").is_list() => {
            return content.get("parts").items().iter().map(|part| add_part(part, parts)).sum();
        }
        Some("code") => {
            let language = content.get("language").as_text().filter(|it| *it != "unknown");
            if let Some(text) = text().filter(|text| !text.is_empty()) {
                parts.push(Part::text(fenced(language.unwrap_or_default(), &text)));
            }
        }
        Some("execution_output") => {
            if let Some(text) = text().filter(|text| !text.is_empty()) {
                parts.push(Part::text(fenced("", &text)));
            }
        }
        Some("thoughts") => {
            let thoughts = content.get("thoughts").items().iter().map(|thought| {
                let texts = ["summary", "content"].map(|key| thought.get(key).to_text());
                texts.into_iter().flatten().filter(|it| !it.is_empty()).collect::<Vec<_>>()
            });
            let texts: Vec<String> = thoughts.map(|texts| texts.join("\n\n")).collect();
            let seconds = metadata.get("finished_duration_sec").as_u64();
            let elapsed_ms = seconds.and_then(|seconds| seconds.checked_mul(1000));
            add_reasoning(&texts.join("\n\n"), elapsed_ms, parts);
        }
        // How long it thought, in words of the page.
        Some("reasoning_recap") => {}
        Some("tether_quote" | "tether_browsing_display" | "sonic_webpage" | "system_error") => {
            let title = content.first_of(&["title", "name"]).to_text();
            for text in title.into_iter().chain(text()) {
                add_text(&text, parts);
            }
        }
        Some("user_editable_context" | "model_editable_context") => add_unknown(content, parts),
        _ if content.as_text().is_some() => add_text(&text_of(content), parts),
        _ => match text() {
            Some(text) => add_text(&text, parts),
            None => add_unknown(content, parts),
        },
    }
    0
}

fn text_of(content: &Json) -> String {
    content.to_text().unwrap_or_default()
}

/// Adds an element of `parts`: a text, or an object for a picture or a recording.
fn add_part(part: &Json, parts: &mut Vec<Part>) -> u64 {
    match part.get("content_type").as_text() {
        Some(
            "image_asset_pointer"
            | "audio_asset_pointer"
            | "video_container_asset_pointer"
            | "real_time_user_audio_video_asset_pointer",
        ) => {
            let prompt = part.get("metadata").get("dalle").get("prompt").as_text();
            add_attachment(file_name(part), prompt.unwrap_or_default(), parts);
            1
        }
        _ => add_content(part, parts),
    }
}
