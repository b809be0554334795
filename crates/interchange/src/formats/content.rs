//! Parts of a message from the shapes of content that several programs share: a text, or a list of
//! blocks, each with its `type`.

use serde_json::{Map, Value, json};

use crate::conversation::{Part, PartKind, Role};
use crate::json::Json;
use crate::tree::clipped;

/// What names a file in a block.
const FILE_NAMES: [&str; 5] = ["name", "file_name", "filename", "fileIdentifier", "title"];

/// The role for a program's word. A word that is not known is an answer: it was not typed.
pub(super) fn role(word: &Json) -> Role {
    match word.as_text().unwrap_or_default().to_ascii_lowercase().as_str() {
        "user" | "human" | "prompter" | "you" => Role::User,
        "system" | "developer" => Role::System,
        "tool" | "function" | "tool_result" | "ipython" => Role::Tool,
        _ => Role::Assistant,
    }
}

/// Adds the parts of a message's content. Returns how many attachments came without their content.
pub(super) fn add_content(content: &Json, parts: &mut Vec<Part>) -> u64 {
    match content {
        Json::List(blocks) => blocks.iter().map(|block| add_content(block, parts)).sum(),
        Json::Object(_) => add_block(content, parts),
        value => {
            if let Some(text) = value.to_text() {
                add_text(&text, parts);
            }
            0
        }
    }
}

/// Adds a text, unless it is empty.
pub(super) fn add_text(text: &str, parts: &mut Vec<Part>) {
    if !text.trim().is_empty() {
        parts.push(Part::text(text));
    }
}

/// Adds reasoning, unless it is empty; with the milliseconds that it took, where they are known.
pub(super) fn add_reasoning(text: &str, elapsed_ms: Option<u64>, parts: &mut Vec<Part>) {
    if !text.trim().is_empty() {
        let data = elapsed_ms.map(|elapsed_ms| json!({ "elapsed_ms": elapsed_ms }));
        parts.push(Part { data, ..Part::reasoning(text) });
    }
}

/// Adds what has no place here as text: its JSON.
pub(super) fn add_unknown(value: &Json, parts: &mut Vec<Part>) {
    if !value.is_empty() {
        parts.push(Part::text(fenced("json", &value.to_string())));
    }
}

/// Adds an attachment by its name, with its text where that is in the file.
pub(super) fn add_attachment(name: Option<&str>, text: &str, parts: &mut Vec<Part>) {
    let name = name.map(clipped).filter(|name| !name.is_empty());
    let mut data = Map::new();
    if let Some(name) = name {
        data.insert("name".to_owned(), Value::String(name));
    }
    let (text, data) = (text.to_owned(), Some(Value::Object(data)));
    parts.push(Part { kind: PartKind::Attachment, text, data });
}

/// What a file is called.
pub(super) fn file_name(file: &Json) -> Option<&str> {
    FILE_NAMES.iter().find_map(|key| file.get(key).as_text()).filter(|name| !name.is_empty())
}

/// Text in a block of code that the text cannot end.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let longest_run = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest_run.max(2) + 1);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}")
}

fn add_block(block: &Json, parts: &mut Vec<Part>) -> u64 {
    let text = |key: &str| block.get(key).to_text();
    match block.get("type").as_text().or(block.get("content_type").as_text()) {
        Some("text" | "input_text" | "output_text" | "audio_transcription") => match text("text") {
            Some(text) => add_text(&text, parts),
            None => add_unknown(block, parts),
        },
        Some("thinking" | "reasoning") => {
            let text = text("thinking").or_else(|| text("text")).or_else(|| text("content"));
            match text.or_else(|| summary(block)) {
                Some(text) => add_reasoning(&text, None, parts),
                None => add_unknown(block, parts),
            }
        }
        Some("refusal") => match text("refusal") {
            Some(text) => add_text(&text, parts),
            None => add_unknown(block, parts),
        },
        // Encrypted reasoning, and a program's own marks: nothing to read.
        Some("redacted_thinking" | "token_budget" | "flag") => {}
        Some("image_url" | "input_image" | "image" | "image_file") => {
            add_attachment(file_name(block), "", parts);
            return 1;
        }
        Some(
            "input_audio" | "audio" | "file" | "input_file" | "document" | "image_asset_pointer",
        ) => {
            let name = file_name(block).or_else(|| file_name(block.get("file")));
            add_attachment(name, "", parts);
            return 1;
        }
        None if block.get("text").as_text().is_some() && block.entries().len() == 1 => {
            add_text(&text("text").unwrap_or_default(), parts);
        }
        _ => add_unknown(block, parts),
    }
    0
}

/// The summaries of reasoning, as OpenAI's responses have them.
fn summary(block: &Json) -> Option<String> {
    let texts = block.get("summary").items().iter().filter_map(|it| it.get("text").to_text());
    let text = texts.collect::<Vec<_>>().join("\n\n");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(content: serde_json::Value) -> (Vec<Part>, u64) {
        let mut parts = Vec::new();
        let n_missing = add_content(&content.into(), &mut parts);
        (parts, n_missing)
    }

    #[test]
    fn content_is_a_text_or_blocks() {
        assert_eq!(parts(json!("hi")).0, [Part::text("hi")]);
        assert_eq!(parts(json!(null)).0, []);
        assert_eq!(parts(json!(7)).0, [Part::text("7")]);
        let (found, n_missing) = parts(json!([
            "a", null, {"type": "text", "text": "b"}, {"type": "thinking", "thinking": "c"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]));
        assert_eq!(n_missing, 1);
        assert_eq!(found[..3], [Part::text("a"), Part::text("b"), Part::reasoning("c")]);
        assert_eq!((found[3].kind, found.len()), (PartKind::Attachment, 4));
    }

    #[test]
    fn unknown_blocks_are_kept_as_their_json() {
        let (found, _) = parts(json!([{"type": "hologram", "beam": "```"}]));
        let [part] = &found[..] else { panic!("{found:?}") };
        assert_eq!(part.text, "````json\n{\"type\":\"hologram\",\"beam\":\"```\"}\n````");
    }
}
