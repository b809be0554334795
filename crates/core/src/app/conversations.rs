//! The commands of conversations.

use std::time::{SystemTime, UNIX_EPOCH};

use lilims_ipc::{Command, Error, ModelStatus, Problem, Reply, SettingScope};

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
            | Command::ExactPrompt { .. }
            | Command::CreateConversationFolder { .. }
            | Command::RenameConversationFolder { .. }
            | Command::RemoveConversationFolder { .. }
            | Command::ExportConversations { .. }
            | Command::ImportConversations { .. }
            | Command::SetOverflow { .. }
            | Command::Settings { .. }
            | Command::SetSetting { .. }
            | Command::Assistants
            | Command::CreateAssistant { .. }
            | Command::ChangeAssistant { .. }
            | Command::RemoveAssistant { .. }
            | Command::UseAssistant { .. }
            | Command::SavePreset { .. }
            | Command::UsePreset { .. }
            | Command::RemovePreset { .. }
            | Command::ExportAssistants { .. }
            | Command::ImportAssistants { .. }
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
        Command::ExactPrompt { message } => {
            let model = host.model().ok_or(Problem::ModelNotLoaded)?;
            let name = match host.status() {
                ModelStatus::Ready { model } => model.name,
                _ => String::new(),
            };
            let prompt = conversations.exact_prompt(&message, &model, &name);
            return prompt.map(Reply::ExactPrompt);
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
        command => return settings(host, conversations, command),
    }
    Ok(Reply::Done)
}

/// Carries out a command of settings and assistants.
fn settings(
    host: &ModelHost,
    conversations: &Conversations,
    command: Command,
) -> Result<Reply, Error> {
    let rows = |scope: &SettingScope| {
        conversations.settings(scope, host.recommended()).map(Reply::Settings)
    };
    match command {
        Command::Settings { scope } => return rows(&scope),
        Command::SetSetting { scope, setting, value } => {
            conversations.set_setting(&scope, setting, value)?;
            return rows(&scope);
        }
        Command::Assistants => return conversations.assistants().map(Reply::Assistants),
        Command::CreateAssistant { like, name } => {
            return conversations.create_assistant(like.as_ref(), &name).map(Reply::Assistant);
        }
        Command::ChangeAssistant { assistant, name, look } => {
            conversations.change_assistant(&assistant, &name, &look)?;
        }
        Command::RemoveAssistant { assistant } | Command::RemovePreset { preset: assistant } => {
            conversations.remove_assistant(&assistant)?;
        }
        Command::UseAssistant { conversation, assistant } => {
            conversations.use_assistant(&conversation, assistant.as_ref())?;
        }
        Command::SavePreset { conversation, name } => {
            conversations.save_preset(&conversation, &name)?;
        }
        Command::UsePreset { conversation, preset } => {
            conversations.use_preset(&conversation, &preset)?;
            return rows(&SettingScope::Conversation(conversation));
        }
        Command::ExportAssistants { path } => {
            return conversations.export_assistants(path.as_ref()).map(Reply::Exported);
        }
        Command::ImportAssistants { paths } => {
            return conversations.import_assistants(&paths).map(Reply::Exported);
        }
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

#[cfg(test)]
#[path = "assistants_tests.rs"]
mod tests;
