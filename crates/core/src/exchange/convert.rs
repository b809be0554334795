//! Conversations of a file as rows of the database, and the other way round.

use std::collections::{HashMap, HashSet};

use lilims_interchange::{self as file, Format};
use lilims_store::{self as store, TitleOrigin, WholeConversation, question_title};

/// A conversation as an export has it.
pub(super) fn to_file(whole: WholeConversation) -> file::Conversation {
    let WholeConversation { conversation, folder_name, mut messages } = whole;
    // Siblings in their order; `in_order` keeps it.
    messages.sort_by_key(|message| message.position);
    let messages = file::in_order(messages.into_iter().map(message_to_file).collect());
    let ids: HashSet<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let leaf = conversation.current_leaf.map(|id| id.to_string());
    file::Conversation {
        id: conversation.id.to_string(),
        title_origin: conversation.title_origin.map(|origin| origin.as_str().to_owned()),
        title: conversation.title,
        folder: folder_name,
        created_ms: conversation.created_ms,
        updated_ms: conversation.updated_ms,
        is_pinned: conversation.is_pinned,
        is_archived: conversation.is_archived,
        overflow: conversation.overflow,
        settings: conversation.settings,
        current_leaf: leaf.filter(|leaf| ids.contains(leaf.as_str())),
        messages,
    }
}

fn message_to_file(message: store::Message) -> file::Message {
    let parts = message.parts.into_iter().map(|part| file::Part {
        kind: match part.kind {
            store::PartKind::Text => file::PartKind::Text,
            store::PartKind::Reasoning => file::PartKind::Reasoning,
            store::PartKind::Attachment => file::PartKind::Attachment,
        },
        text: part.text,
        data: part.data,
    });
    file::Message {
        id: message.id.to_string(),
        parent: message.parent.map(|id| id.to_string()),
        role: match message.role {
            store::Role::System => file::Role::System,
            store::Role::User => file::Role::User,
            store::Role::Assistant => file::Role::Assistant,
            store::Role::Tool => file::Role::Tool,
        },
        created_ms: message.created_ms,
        model: message.model,
        settings: message.settings,
        stats: message.stats,
        state: match message.state {
            store::MessageState::Done => file::State::Done,
            store::MessageState::Writing | store::MessageState::Stopped => file::State::Stopped,
            store::MessageState::Failed => file::State::Failed,
        },
        error: message.error,
        parts: parts.collect(),
    }
}

/// A conversation of a file as it is stored. One of another program without a title gets that of its first
/// question, as one gets that is asked here.
pub(super) fn from_file(format: Format, conversation: file::Conversation) -> WholeConversation {
    let is_own = format == Format::Lilims;
    let (mut title, mut title_origin) = (conversation.title, conversation.title_origin);
    if title.is_none() && !is_own {
        title = conversation.messages.iter().find_map(first_question);
        title_origin = Some(TitleOrigin::Question.as_str().to_owned());
    }
    // A title of another program is never replaced, like one that the user wrote.
    let origin = title_origin.as_deref().and_then(TitleOrigin::from_word);
    let title_origin = title.as_ref().map(|_| origin.unwrap_or(TitleOrigin::User));

    let id = store::ConversationId::from(conversation.id);
    let mut n_children: HashMap<Option<String>, u32> = HashMap::new();
    let messages = conversation.messages.into_iter().map(|message| {
        let position = n_children.entry(message.parent.clone()).or_default();
        *position += 1;
        message_from_file(&id, message, *position - 1)
    });
    let messages = messages.collect();
    WholeConversation {
        folder_name: conversation.folder.filter(|name| !name.trim().is_empty()),
        messages,
        conversation: store::Conversation {
            id,
            title,
            title_origin,
            folder: None,
            created_ms: conversation.created_ms,
            updated_ms: conversation.updated_ms,
            is_pinned: conversation.is_pinned,
            is_archived: conversation.is_archived,
            current_leaf: conversation.current_leaf.map(store::MessageId::from),
            overflow: conversation.overflow,
            settings: conversation.settings,
            view: None,
        },
    }
}

fn first_question(message: &file::Message) -> Option<String> {
    let text = message.parts.iter().find(|part| part.kind == file::PartKind::Text);
    let text = text.filter(|_| message.role == file::Role::User)?;
    Some(question_title(&text.text)).filter(|title| !title.is_empty())
}

fn message_from_file(
    conversation: &store::ConversationId,
    message: file::Message,
    position: u32,
) -> store::Message {
    let parts = message.parts.into_iter().map(|part| store::Part {
        kind: match part.kind {
            file::PartKind::Text => store::PartKind::Text,
            file::PartKind::Reasoning => store::PartKind::Reasoning,
            file::PartKind::Attachment => store::PartKind::Attachment,
        },
        text: part.text,
        data: part.data,
    });
    store::Message {
        id: message.id.into(),
        conversation: conversation.clone(),
        parent: message.parent.map(store::MessageId::from),
        position,
        role: match message.role {
            file::Role::System => store::Role::System,
            file::Role::User => store::Role::User,
            file::Role::Assistant => store::Role::Assistant,
            file::Role::Tool => store::Role::Tool,
        },
        created_ms: message.created_ms,
        model: message.model,
        settings: message.settings,
        stats: message.stats,
        state: match message.state {
            file::State::Done => store::MessageState::Done,
            file::State::Stopped => store::MessageState::Stopped,
            file::State::Failed => store::MessageState::Failed,
        },
        error: message.error,
        parts: parts.collect(),
    }
}
