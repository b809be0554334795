//! The commands of conversations.

use std::time::{SystemTime, UNIX_EPOCH};

use lilims_ipc::{Command, Error, Reply};

use crate::conversations::Conversations;
use crate::model_host::ModelHost;

/// Whether a command is one of conversations.
pub(super) fn is_own(command: &Command) -> bool {
    matches!(
        command,
        Command::Conversations
            | Command::OpenConversation { .. }
            | Command::NewConversation
            | Command::ChangeConversation { .. }
            | Command::DeleteConversation { .. }
            | Command::RestoreConversation { .. }
            | Command::DeleteAllConversations
            | Command::ConversationsSize
            | Command::SearchConversations { .. }
            | Command::BranchMap { .. }
            | Command::EditMessage { .. }
            | Command::ForkConversation { .. }
            | Command::DeleteMessage { .. }
            | Command::RestoreMessage { .. }
            | Command::SetDraft { .. }
            | Command::CreateConversationFolder { .. }
            | Command::RenameConversationFolder { .. }
            | Command::RemoveConversationFolder { .. }
            | Command::ExportConversations { .. }
            | Command::ImportConversations { .. }
            | Command::SetOverflow { .. }
            | Command::Sampling
            | Command::SetSampling { .. }
    )
}

/// Whether a command deletes something that can be restored for a while.
pub(super) fn deletes(command: &Command) -> bool {
    matches!(command, Command::DeleteConversation { .. } | Command::DeleteMessage { .. })
}

/// Carries out a command of conversations. Blocks.
///
/// # Errors
/// What went wrong, for people.
pub(super) fn call(
    host: &ModelHost,
    conversations: &Conversations,
    command: Command,
) -> Result<Reply, Error> {
    match command {
        Command::Conversations => return conversations.list().map(Reply::Conversations),
        Command::OpenConversation { conversation, message } => {
            let opened = conversations.open(conversation.as_ref(), message.as_ref());
            return opened.map(Reply::Conversation);
        }
        Command::NewConversation => return conversations.begin().map(Reply::Conversation),
        Command::ChangeConversation { conversation, change } => {
            conversations.change(&conversation, change)?;
        }
        Command::DeleteConversation { conversation } => {
            host.stop_in(&conversation);
            conversations.delete(&conversation)?;
        }
        Command::RestoreConversation { conversation } => conversations.restore(&conversation)?,
        Command::DeleteAllConversations => {
            host.stop();
            conversations.delete_all()?;
            host.forget_all()?;
            return conversations.begin().map(Reply::Conversation);
        }
        Command::ConversationsSize => return conversations.size_bytes().map(Reply::SizeBytes),
        Command::SearchConversations { query } => {
            return conversations.search(&query).map(Reply::SearchHits);
        }
        Command::BranchMap { conversation } => {
            return conversations.branch_map(&conversation).map(Reply::BranchMap);
        }
        Command::EditMessage { message, text } => {
            return conversations.edit(&message, &text).map(Reply::Conversation);
        }
        Command::ForkConversation { message } => {
            return conversations.fork(&message).map(Reply::Conversation);
        }
        Command::DeleteMessage { message } => {
            return conversations.delete_message(&message).map(Reply::Conversation);
        }
        Command::RestoreMessage { message, leaf } => {
            return conversations.restore_message(&message, &leaf).map(Reply::Conversation);
        }
        Command::SetDraft { conversation, text } => {
            conversations.set_draft(&conversation, &text)?
        }
        Command::CreateConversationFolder { name } => {
            return conversations.create_folder(&name).map(Reply::ConversationFolder);
        }
        Command::RenameConversationFolder { folder, name } => {
            conversations.rename_folder(&folder, &name)?;
        }
        Command::RemoveConversationFolder { folder } => conversations.remove_folder(&folder)?,
        Command::ExportConversations { conversation, format, path } => {
            let exported = conversations.export(conversation.as_ref(), format, path.as_ref());
            return exported.map(Reply::Exported);
        }
        Command::ImportConversations { paths } => {
            return conversations.import(&paths).map(Reply::Imported);
        }
        Command::SetOverflow { conversation, overflow } => {
            conversations.set_overflow(&conversation, overflow)?;
        }
        Command::Sampling => return conversations.sampling().map(Reply::Sampling),
        Command::SetSampling { options } => conversations.set_sampling(&options)?,
        _ => return Err(Error::internal("not a command of conversations")),
    }
    Ok(Reply::Done)
}

/// Deletes for good what can no longer be restored, and drops its sessions. Blocks.
///
/// # Errors
/// If the database cannot be written, or a file stays.
pub(super) fn purge(host: &ModelHost, conversations: &Conversations) -> Result<(), Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for (conversation, session) in conversations.purge(since.as_millis() as u64)? {
        host.forget(conversation, session)?;
    }
    Ok(())
}
