//! Copies a branch into a conversation of its own.

use rusqlite::params;

use super::tree::{MessageState, Place, branch_to, check_member, insert_at, show};
use super::{ConversationId, MessageId, check_exists};
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
                let new_id = MessageId::new();
                let parent_id = parent.as_ref();
                let place =
                    Place { id: &new_id, conversation: &id, parent: parent_id, position: 0 };
                insert_at(transaction, &place, &message)?;
                parent = Some(new_id);
            }
            show(transaction, &id, parent.as_ref())
        })?;
        Ok(id)
    }
}
