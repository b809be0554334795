//! Rows of the database as doors show them.

use std::collections::HashMap;

use lilims_ipc::{self as ipc, Problem};
use lilims_store::{self as store, ConversationId, MessageId, PartKind, Role, TreeNode};

use super::attachments::shown;
use super::parse;

/// A message as doors show it; `None` for one of a kind that they do not show.
pub(super) fn message(message: store::Message) -> Option<ipc::Message> {
    let role = role(message.role)?;
    let outcome = message.stats.and_then(parse);
    let state = match message.state {
        store::MessageState::Writing => ipc::MessageState::Writing,
        store::MessageState::Done => ipc::MessageState::Done { outcome },
        store::MessageState::Stopped => ipc::MessageState::Stopped { outcome },
        store::MessageState::Failed => {
            let error = message.error.and_then(parse);
            ipc::MessageState::Failed { error: error.unwrap_or(Problem::Unknown.into()) }
        }
    };
    let (mut content, mut reasoning, mut attachments) = (String::new(), None, Vec::new());
    for (idx, part) in message.parts.into_iter().enumerate() {
        match part.kind {
            PartKind::Text => content.push_str(&part.text),
            PartKind::Reasoning => {
                let elapsed_ms = part.data.as_ref().and_then(|data| data["elapsed_ms"].as_u64());
                let whole = reasoning.get_or_insert_with(ipc::Reasoning::default);
                whole.text.push_str(&part.text);
                whole.elapsed_ms = elapsed_ms.and_then(|ms| ms.try_into().ok());
            }
            PartKind::Attachment => attachments.push(shown(&part, idx)),
        }
    }
    let id = message_id(&message.id);
    Some(ipc::Message { id, role, content, attachments, reasoning, state, versions: Vec::new() })
}

pub(super) fn message_id(id: &MessageId) -> ipc::MessageId {
    ipc::MessageId(id.as_str().to_owned())
}

pub(super) fn conversation_id(id: &ConversationId) -> ipc::ConversationId {
    ipc::ConversationId(id.as_str().to_owned())
}

/// Who wrote a message; `None` for a tool, whose messages no door shows.
fn role(role: Role) -> Option<ipc::Role> {
    Some(match role {
        Role::System => ipc::Role::System,
        Role::User => ipc::Role::User,
        Role::Assistant => ipc::Role::Assistant,
        Role::Tool => return None,
    })
}

/// The row of a conversation in the list; `None` while nothing was said in it and it has no title.
pub(super) fn listed(conversation: &store::Conversation) -> Option<ipc::ConversationHead> {
    let is_listed = conversation.current_leaf.is_some() || conversation.title.is_some();
    is_listed.then(|| ipc::ConversationHead {
        id: conversation_id(&conversation.id),
        title: conversation.title.clone(),
        folder: conversation.folder.as_ref().map(folder_id),
        updated_ms: conversation.updated_ms,
        is_pinned: conversation.is_pinned,
        is_archived: conversation.is_archived,
    })
}

pub(super) fn head(head: store::ConversationHead) -> ipc::ConversationHead {
    ipc::ConversationHead {
        id: conversation_id(&head.id),
        title: head.title,
        folder: head.folder.as_ref().map(folder_id),
        updated_ms: head.updated_ms,
        is_pinned: head.is_pinned,
        is_archived: head.is_archived,
    }
}

pub(super) fn folder(folder: store::Folder) -> ipc::ConversationFolder {
    ipc::ConversationFolder { id: folder_id(&folder.id), name: folder.name }
}

fn folder_id(id: &store::FolderId) -> ipc::FolderId {
    ipc::FolderId(id.as_str().to_owned())
}

pub(super) fn hit(hit: store::SearchHit) -> ipc::SearchHit {
    ipc::SearchHit {
        conversation: conversation_id(&hit.conversation),
        title: hit.title,
        message: message_id(&hit.message),
        created_ms: hit.created_ms,
        excerpt: excerpt(&hit.excerpt, &hit.matches),
    }
}

/// Cuts `text` at the borders of the matches; matches may overlap.
fn excerpt(text: &str, matches: &[std::ops::Range<usize>]) -> Vec<ipc::ExcerptPiece> {
    let mut pieces = Vec::new();
    let mut push = |text: &str, is_match| {
        if !text.is_empty() {
            pieces.push(ipc::ExcerptPiece { text: text.to_owned(), is_match });
        }
    };
    let mut end = 0;
    for range in matches {
        if range.start > end {
            push(&text[end..range.start], false);
        }
        push(&text[range.start.max(end)..range.end.max(end)], true);
        end = end.max(range.end);
    }
    push(&text[end..], false);
    pieces
}

/// All versions of each message that has several, by each of them.
pub(super) fn versions(tree: &[TreeNode]) -> HashMap<&MessageId, Vec<ipc::MessageId>> {
    let mut by_parent: HashMap<Option<&MessageId>, Vec<&MessageId>> = HashMap::new();
    for node in tree {
        by_parent.entry(node.parent.as_ref()).or_default().push(&node.id);
    }
    let mut versions = HashMap::new();
    for siblings in by_parent.into_values().filter(|siblings| siblings.len() > 1) {
        let ids: Vec<_> = siblings.iter().map(|id| message_id(id)).collect();
        versions.extend(siblings.into_iter().map(|id| (id, ids.clone())));
    }
    versions
}

/// The tree from its beginnings downwards, each message after the one that it follows and versions in
/// their order. `leaf` is the end of the branch that is shown.
pub(super) fn branch_map(tree: &[TreeNode], leaf: Option<&MessageId>) -> Vec<ipc::BranchNode> {
    let by_id: HashMap<&MessageId, &TreeNode> = tree.iter().map(|node| (&node.id, node)).collect();
    let mut children: HashMap<Option<&MessageId>, Vec<&TreeNode>> = HashMap::new();
    for node in tree {
        children.entry(node.parent.as_ref()).or_default().push(node);
    }
    let mut shown = std::collections::HashSet::new();
    let mut next = leaf;
    while let Some(id) = next.filter(|id| shown.insert(*id)) {
        next = by_id.get(id).and_then(|node| node.parent.as_ref());
    }
    let mut map = Vec::with_capacity(tree.len());
    let mut pending: Vec<&TreeNode> = children.remove(&None).unwrap_or_default();
    pending.reverse();
    while let Some(node) = pending.pop() {
        pending.extend(children.remove(&Some(&node.id)).into_iter().flatten().rev());
        map.extend(role(node.role).map(|role| ipc::BranchNode {
            id: message_id(&node.id),
            parent: node.parent.as_ref().map(message_id),
            role,
            excerpt: node.excerpt.clone(),
            is_shown: shown.contains(&node.id),
        }));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, parent: Option<&str>) -> TreeNode {
        TreeNode {
            id: id.into(),
            parent: parent.map(MessageId::from),
            role: Role::User,
            state: store::MessageState::Done,
            excerpt: id.to_uppercase(),
        }
    }

    #[test]
    fn excerpts_are_cut_at_matches() {
        let pieces = excerpt("one two", &[0..3, 2..3, 4..5]);
        let pieces: Vec<_> = pieces.iter().map(|it| (&*it.text, it.is_match)).collect();
        assert_eq!(pieces, [("one", true), (" ", false), ("t", true), ("wo", false)]);
        assert!(excerpt("", &[]).is_empty());
    }

    #[test]
    fn the_map_has_each_branch_below_its_parent() {
        let tree =
            [node("a", None), node("b", Some("a")), node("d", Some("b")), node("c", Some("a"))];
        let leaf = MessageId::from("c");
        let map = branch_map(&tree, Some(&leaf));
        let rows: Vec<_> = map.iter().map(|node| (&*node.id.0, node.is_shown)).collect();
        assert_eq!(rows, [("a", true), ("b", false), ("d", false), ("c", true)]);
        let versions = versions(&tree);
        assert_eq!(versions.len(), 2);
        assert_eq!(versions[&leaf].iter().map(|id| &*id.0).collect::<Vec<_>>(), ["b", "c"]);
    }
}
