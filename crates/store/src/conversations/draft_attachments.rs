//! Documents that are attached to drafts: each belongs to a conversation, and becomes a part of the
//! question when that is sent.

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::{AttachmentId, ConversationId, check_exists, json};
use crate::{Error, Store, unsigned};

/// A document that is attached to a draft, without its text.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftAttachment {
    /// Names it. Ids ascend in the order in which documents were attached.
    pub id: AttachmentId,
    /// More about it, JSON of the caller's; null where that cannot be read.
    pub data: Value,
    /// The length of its text in bytes.
    pub text_bytes: u64,
}

impl Store {
    /// Attaches a document to the draft of a conversation.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`], and those of the database.
    pub fn add_draft_attachment(
        &self,
        conversation: &ConversationId,
        text: &str,
        data: &Value,
    ) -> Result<AttachmentId, Error> {
        let id = AttachmentId::new();
        self.transaction(|transaction| {
            check_exists(transaction, conversation)?;
            transaction.execute(
                "INSERT INTO draft_attachments (id, conversation, text, data)
                 VALUES (?1, ?2, ?3, ?4)",
                params![id.as_str(), conversation.as_str(), text, data.to_string()],
            )?;
            Ok::<_, Error>(())
        })?;
        Ok(id)
    }

    /// The documents that are attached to the draft of a conversation, in their order.
    ///
    /// # Errors
    /// Those of the database.
    pub fn draft_attachments(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<DraftAttachment>, Error> {
        let sql = "SELECT id, data, octet_length(text) FROM draft_attachments
             WHERE conversation = ?1 ORDER BY id";
        let reader = self.reader();
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([conversation.as_str()], |row| {
            Ok(DraftAttachment {
                id: row.get::<_, String>(0)?.into(),
                data: json(row, 1)?.unwrap_or_default(),
                text_bytes: unsigned(row.get(2)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The text of a document that is attached to a draft, if there is such a one.
    ///
    /// # Errors
    /// Those of the database.
    pub fn draft_attachment_text(&self, id: &AttachmentId) -> Result<Option<String>, Error> {
        let sql = "SELECT text FROM draft_attachments WHERE id = ?1";
        let reader = self.reader();
        let mut statement = reader.prepare_cached(sql)?;
        Ok(statement.query_row([id.as_str()], |row| row.get(0)).optional()?)
    }

    /// Changes what is stored about a document that is attached to a draft. One that is gone stays gone.
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_draft_attachment_data(&self, id: &AttachmentId, data: &Value) -> Result<(), Error> {
        self.transaction(|transaction| {
            let sql = "UPDATE draft_attachments SET data = ?2 WHERE id = ?1";
            transaction.execute(sql, params![id.as_str(), data.to_string()])?;
            Ok(())
        })
    }

    /// Takes documents off a draft.
    ///
    /// # Errors
    /// Those of the database.
    pub fn remove_draft_attachments(&self, ids: &[AttachmentId]) -> Result<(), Error> {
        self.transaction(|transaction| {
            let mut statement =
                transaction.prepare_cached("DELETE FROM draft_attachments WHERE id = ?1")?;
            for id in ids {
                statement.execute([id.as_str()])?;
            }
            Ok(())
        })
    }
}
