//! Copies a branch into a conversation of its own.

use rusqlite::{Transaction, params};

use super::tree::{Message, MessageState, branch_to, check_member, insert_parts, show};
use super::{ConversationId, MessageId, check_exists, text_of};
use crate::{Error, Store, now_ms, signed};

impl Store {
    /// Copies the branch that ends with the message `leaf` into a new conversation, which has the title,
    /// folder and settings of the old one. Times, models and figures of the messages stay.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`]; [`Error::NoSuchMessage`]; [`Error::StillWriting`] where the
    /// branch ends with an answer that is being written; those of the database.
    pub fn fork(
        &self,
        conversation: &ConversationId,
        leaf: &MessageId,
    ) -> Result<ConversationId, Error> {
        let id = ConversationId::new();
        self.transaction(|transaction| {
            check_exists(transaction, conversation)?;
            check_member(transaction, conversation, leaf)?;
            transaction.execute(
                "INSERT INTO conversations (id, title, title_origin, folder, created_ms, updated_ms,
                     overflow, settings)
                 SELECT ?1, title, title_origin, folder, ?3, ?3, overflow, settings
                 FROM conversations WHERE id = ?2",
                params![id.as_str(), conversation.as_str(), signed(now_ms())],
            )?;
            let mut parent: Option<MessageId> = None;
            for message in branch_to(transaction, leaf)? {
                if message.state == MessageState::Writing {
                    return Err(Error::StillWriting { id: message.id });
                }
                parent = Some(copy(transaction, &id, parent.as_ref(), &message)?);
            }
            show(transaction, &id, parent.as_ref())
        })?;
        Ok(id)
    }
}

fn copy(
    transaction: &Transaction<'_>,
    conversation: &ConversationId,
    parent: Option<&MessageId>,
    message: &Message,
) -> Result<MessageId, Error> {
    let id = MessageId::new();
    let sql = "INSERT INTO messages (id, conversation, parent, position, role, created_ms, model,
             settings, stats, state, error)
         VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    transaction.prepare_cached(sql)?.execute(params![
        id.as_str(),
        conversation.as_str(),
        parent.map(|id| id.as_str()),
        message.role.as_str(),
        signed(message.created_ms),
        message.model,
        text_of(message.settings.as_ref()),
        text_of(message.stats.as_ref()),
        message.state.as_str(),
        text_of(message.error.as_ref()),
    ])?;
    insert_parts(transaction, &id, &message.parts)?;
    Ok(id)
}
