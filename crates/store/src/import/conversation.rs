//! Reads the one conversation that earlier versions kept, `conversations/current.json`.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Transaction, params};
use serde::Deserialize;
use serde_json::json;

use super::MAX_BYTES;
use crate::{ConversationId, Error, MessageId, TitleOrigin, now_ms, question_title, signed};

/// The conversation as it was kept.
#[derive(Deserialize)]
pub(super) struct Conversation {
    messages: Vec<Message>,
    #[serde(default)]
    overflow: Option<String>,
    #[serde(default)]
    view: Option<serde_json::Value>,
    /// When it was last written.
    #[serde(skip)]
    written_ms: u64,
}

#[derive(Deserialize)]
struct Message {
    role: Role,
    content: String,
    #[serde(default)]
    reasoning: Option<Reasoning>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
}

#[derive(Deserialize)]
struct Reasoning {
    text: String,
    #[serde(default)]
    elapsed_ms: Option<u32>,
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> io::Result<Conversation> {
    let bytes = lilims_files::read(path, MAX_BYTES)?;
    let mut conversation: Conversation = serde_json::from_slice(&bytes)?;
    let written = fs::metadata(path)?.modified().unwrap_or_else(|_| SystemTime::now());
    let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    conversation.written_ms = u64::try_from(written.as_millis()).unwrap_or_else(|_| now_ms());
    Ok(conversation)
}

impl Conversation {
    /// Writes it down as a tree with one branch; `None` where it has no messages.
    pub(super) fn write(
        self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<ConversationId>, Error> {
        if self.messages.is_empty() {
            return Ok(None);
        }
        let (id, at) = (ConversationId::new(), signed(self.written_ms));
        let view = self.view.filter(|view| !view.is_null()).map(|view| view.to_string());
        transaction.execute(
            "INSERT INTO conversations (id, created_ms, updated_ms, overflow, view)
             VALUES (?1, ?2, ?2, ?3, ?4)",
            params![id.as_str(), at, self.overflow, view],
        )?;
        let question = self.messages.iter().find(|it| matches!(it.role, Role::User));
        let title = question.map(|it| question_title(&it.content)).filter(|it| !it.is_empty());
        let mut parent: Option<MessageId> = None;
        for message in self.messages {
            let message_id = MessageId::new();
            transaction.execute(
                "INSERT INTO messages
                     (id, conversation, parent, position, role, created_ms, state)
                 VALUES (?1, ?2, ?3, 0, ?4, ?5, 'done')",
                params![
                    message_id.as_str(),
                    id.as_str(),
                    parent.as_ref().map(|it| it.as_str()),
                    match message.role {
                        Role::System => "system",
                        Role::User => "user",
                        Role::Assistant => "assistant",
                    },
                    at
                ],
            )?;
            let mut parts = Vec::new();
            if let Some(Reasoning { text, elapsed_ms }) = message.reasoning {
                let data = elapsed_ms.map(|ms| json!({ "elapsed_ms": ms }).to_string());
                parts.push(("reasoning", text, data));
            }
            parts.push(("text", message.content, None));
            for (ordinal, (kind, text, data)) in parts.into_iter().enumerate() {
                transaction.execute(
                    "INSERT INTO parts (message, ordinal, kind, text, data)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![message_id.as_str(), ordinal as i64, kind, text, data],
                )?;
            }
            parent = Some(message_id);
        }
        transaction.execute(
            "UPDATE conversations SET current_leaf = ?2, title = ?3, title_origin = ?4 WHERE id = ?1",
            params![
                id.as_str(),
                parent.as_ref().map(|it| it.as_str()),
                title,
                title.as_ref().map(|_| TitleOrigin::Question.as_str())
            ],
        )?;
        Ok(Some(id))
    }
}
