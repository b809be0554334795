//! The documents that are attached to drafts, with the tokens of the loaded model.

use lilims_ipc::{AttachmentChange, ConversationId, Error, Reply};

use crate::conversations::Conversations;
use crate::model_host::ModelHost;

/// Changes what is attached to the draft of a conversation. Blocks while files are read.
///
/// # Errors
/// As for [`Conversations::attachments`].
pub(super) fn change(
    host: &ModelHost,
    conversations: &Conversations,
    conversation: &ConversationId,
    change: AttachmentChange,
) -> Result<Reply, Error> {
    let counter = host.token_counter();
    conversations.attachments(conversation, change, &counter).map(Reply::Attachments)
}
