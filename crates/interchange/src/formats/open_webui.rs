//! Exports of Open WebUI: a list of chats, each with a tree in `chat.history.messages`; older ones have a
//! list in `chat.messages`.

use super::content::{add_attachment, add_content, add_reasoning, file_name, role};
use super::key;
use crate::conversation::{Role, State};
use crate::json::Json;
use crate::time::time_ms;
use crate::tree::{Draft, Node};

pub(super) fn is_conversation(item: &Json) -> bool {
    let chat = chat(item);
    has_tree(chat) || (item.get("chat").is_object() && chat.get("messages").is_list())
}

fn has_tree(chat: &Json) -> bool {
    chat.get("history").get("messages").is_object()
}

/// The chat itself: in `chat` of an export, or the whole of a single one.
fn chat(item: &Json) -> &Json {
    match item.get("chat") {
        chat @ Json::Object(_) => chat,
        _ => item,
    }
}

pub(super) fn read(item: &Json) -> Draft {
    let chat = chat(item);
    let title = item.get("title").to_text().or_else(|| chat.get("title").to_text());
    let mut draft = Draft {
        key: key(item.get("id")).or_else(|| key(chat.get("id"))),
        title,
        created_ms: time_ms(item.get("created_at")).or_else(|| time_ms(chat.get("timestamp"))),
        updated_ms: time_ms(item.get("updated_at")),
        is_pinned: item.get("pinned").is_true(),
        is_archived: item.get("archived").is_true(),
        current: key(chat.get("history").get("currentId")),
        ..Draft::default()
    };
    let history = chat.get("history").get("messages").entries();
    if history.is_empty() {
        for message in chat.get("messages").items().iter().filter(|it| it.is_object()) {
            let mut node = read_message(message, &mut draft.n_missing_files);
            node.key = key(message.get("id")).or_else(|| Some(format!("#{}", draft.nodes.len())));
            node.parent = draft.nodes.last().and_then(|node: &Node| node.key.clone());
            draft.nodes.push(node);
        }
        return draft;
    }
    for (name, message) in history {
        let mut node = read_message(message, &mut draft.n_missing_files);
        node.key = Some(name.clone());
        node.parent = key(message.get("parentId"));
        draft.nodes.push(node);
    }
    let by_key: std::collections::HashMap<&str, usize> =
        history.iter().enumerate().map(|(idx, (name, _))| (name.as_str(), idx)).collect();
    for (_, message) in history {
        for (rank, child) in message.get("childrenIds").items().iter().enumerate() {
            if let Some(&idx) = child.as_text().and_then(|child| by_key.get(child)) {
                draft.nodes[idx].rank = rank;
            }
        }
    }
    draft
}

fn read_message(message: &Json, n_missing_files: &mut u64) -> Node {
    let mut node = Node::new(role(message.get("role")));
    node.is_structure = !message.is_object();
    node.created_ms = time_ms(message.get("timestamp"));
    node.model = message.get("model").to_text().filter(|_| node.role == Role::Assistant);
    if matches!(message.get("done"), Json::Bool(false)) {
        node.state = State::Stopped;
    }
    if let Some(text) = message.get("reasoning_content").as_text() {
        add_reasoning(text, None, &mut node.parts);
    }
    let content = message.get("content");
    match content.as_text() {
        Some(text) if node.role == Role::Assistant => {
            let (reasoning, text) = without_details(text);
            for (text, elapsed_ms) in reasoning {
                add_reasoning(&text, elapsed_ms, &mut node.parts);
            }
            super::content::add_text(&text, &mut node.parts);
        }
        _ => *n_missing_files += add_content(content, &mut node.parts),
    }
    for file in message.get("files").items() {
        let text = file.get("file").get("data").get("content").as_text().unwrap_or_default();
        *n_missing_files += u64::from(text.is_empty());
        add_attachment(file_name(file), text, &mut node.parts);
    }
    node
}

const BEGIN: &str = "<details type=\"reasoning\"";
const END: &str = "</details>";

/// Tells reasoning from the answer, which Open WebUI writes into one text as an HTML element. Also returns
/// how long it took in milliseconds.
fn without_details(text: &str) -> (Vec<(String, Option<u64>)>, String) {
    let (mut reasoning, mut answer, mut rest) = (Vec::new(), String::new(), text);
    while let Some((before, element)) = rest.split_once(BEGIN) {
        let Some((attributes, after)) = element.split_once('>') else { break };
        let Some((body, after)) = after.split_once(END) else { break };
        answer.push_str(before);
        let seconds = attributes.split_once("duration=\"").and_then(|(_, it)| it.split_once('"'));
        let seconds = seconds.and_then(|(seconds, _)| seconds.parse::<u64>().ok());
        let body = body.split_once("</summary>").map_or(body, |(_, body)| body);
        reasoning.push((unquoted(body), seconds.and_then(|seconds| seconds.checked_mul(1000))));
        rest = after;
    }
    answer.push_str(rest);
    let answer = if reasoning.is_empty() { answer } else { answer.trim().to_owned() };
    (reasoning, answer)
}

/// Text without the quotation marks of Markdown and the escapes of HTML, which the element has.
fn unquoted(body: &str) -> String {
    let lines = body.trim().lines().map(|line| {
        let line = line.strip_prefix("&gt;").or_else(|| line.strip_prefix('>')).unwrap_or(line);
        line.strip_prefix(' ').unwrap_or(line)
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let escapes = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    escapes.iter().fold(text, |text, (escape, c)| text.replace(escape, c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_is_told_from_the_answer() {
        let text = "<details type=\"reasoning\" done=\"true\" duration=\"3\">\n\
            <summary>Thought for 3 seconds</summary>\n> a &lt; b\n> c\n</details>\nHello";
        let (reasoning, answer) = without_details(text);
        assert_eq!(reasoning, [("a < b\nc".to_owned(), Some(3000))]);
        assert_eq!(answer, "Hello");
        assert_eq!(
            without_details("a <details type=\"reasoning\"").1,
            "a <details type=\"reasoning\""
        );
    }
}
