//! Writes one branch of a conversation for people: as Markdown or plain text.

use std::io::{self, Write};

use crate::conversation::{Conversation, Message, Part, PartKind, Role};

/// Writes the branch that ends with `leaf` as Markdown: the title as a heading, a heading for each
/// message, texts as they were written, reasoning as a quotation.
///
/// # Errors
/// Those of `out`.
pub fn write_markdown(
    conversation: &Conversation,
    leaf: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(title) = &conversation.title {
        writeln!(out, "# {}\n", one_line(title))?;
    }
    for message in branch(conversation, leaf) {
        match &message.model {
            Some(model) => writeln!(out, "## {} ({})\n", label(message), one_line(model))?,
            None => writeln!(out, "## {}\n", label(message))?,
        }
        for part in &message.parts {
            match part.kind {
                PartKind::Text => writeln!(out, "{}\n", part.text.trim_end())?,
                PartKind::Reasoning => quote(&part.text, out)?,
                PartKind::Attachment => {
                    writeln!(out, "*Attachment: {}*\n", attachment(part))?;
                    if !part.text.trim().is_empty() {
                        quote(&part.text, out)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Writes the branch that ends with `leaf` as plain text: who said it, then what was said.
///
/// # Errors
/// Those of `out`.
pub fn write_text(
    conversation: &Conversation,
    leaf: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(title) = &conversation.title {
        writeln!(out, "{}\n", one_line(title))?;
    }
    for message in branch(conversation, leaf) {
        writeln!(out, "{}:", label(message))?;
        for part in &message.parts {
            match part.kind {
                PartKind::Text => writeln!(out, "{}\n", part.text.trim_end())?,
                PartKind::Reasoning => writeln!(out, "[Reasoning]\n{}\n", part.text.trim_end())?,
                PartKind::Attachment => {
                    writeln!(out, "[Attachment: {}]\n", attachment(part))?;
                    if !part.text.trim().is_empty() {
                        writeln!(out, "{}\n", part.text.trim_end())?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn branch<'a>(conversation: &'a Conversation, leaf: Option<&str>) -> Vec<&'a Message> {
    leaf.map_or_else(Vec::new, |leaf| conversation.branch(leaf))
}

fn label(message: &Message) -> &'static str {
    match message.role {
        Role::System => "System",
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::Tool => "Tool",
    }
}

fn attachment(part: &Part) -> String {
    let name = part.data.as_ref().and_then(|data| data.get("name")?.as_str());
    name.map_or_else(|| "without a name".to_owned(), one_line)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn quote(text: &str, out: &mut dyn Write) -> io::Result<()> {
    for line in text.trim_end().lines() {
        writeln!(out, "{}", format!("> {line}").trim_end())?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conversation::State;

    fn message(id: &str, parent: Option<&str>, role: Role, parts: Vec<Part>) -> Message {
        Message {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            role,
            created_ms: 1,
            model: (role == Role::Assistant).then(|| "tiny".to_owned()),
            settings: None,
            stats: None,
            state: State::Done,
            error: None,
            parts,
        }
    }

    fn conversation() -> Conversation {
        let data = Some(json!({ "name": "a.txt" }));
        let attached = Part { kind: PartKind::Attachment, text: String::new(), data };
        Conversation {
            title: Some("Two\nlines".to_owned()),
            messages: vec![
                message("a", None, Role::User, vec![Part::text("**Hi**"), attached]),
                message("b", Some("a"), Role::Assistant, vec![Part::text("other")]),
                message(
                    "c",
                    Some("a"),
                    Role::Assistant,
                    vec![Part::reasoning("hm\n\nso"), Part::text("Hello")],
                ),
            ],
            ..Conversation::default()
        }
    }

    #[test]
    fn markdown_has_the_branch_alone() {
        let mut out = Vec::new();
        write_markdown(&conversation(), Some("c"), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "# Two lines\n\n## User\n\n**Hi**\n\n*Attachment: a.txt*\n\n## Assistant (tiny)\n\n\
             > hm\n>\n> so\n\nHello\n\n"
        );
    }

    #[test]
    fn text_has_the_branch_alone() {
        let mut out = Vec::new();
        write_text(&conversation(), Some("b"), &mut out).unwrap();
        let expected = "Two lines\n\nUser:\n**Hi**\n\n[Attachment: a.txt]\n\nAssistant:\nother\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
