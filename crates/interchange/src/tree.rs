//! Makes a conversation of nodes as they come: with parents that are missing or go round in circles, ids
//! twice or not at all, messages to leave out in the middle of a branch.

use std::collections::HashMap;

use crate::conversation::{Conversation, Message, Part, PartKind, Role, State};
use crate::ids::{self, MessageIds, is_id};
use crate::limits::{Limits, MAX_NAME_CHARS};
use crate::summary::{SkipReason, Skips};

/// A conversation as a program's file has it.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// What names it in its source.
    pub(crate) key: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) title_origin: Option<String>,
    pub(crate) folder: Option<String>,
    pub(crate) created_ms: Option<u64>,
    pub(crate) updated_ms: Option<u64>,
    pub(crate) is_pinned: bool,
    pub(crate) is_archived: bool,
    pub(crate) overflow: Option<String>,
    pub(crate) settings: Option<serde_json::Value>,
    /// The key of the node at the end of the branch that is shown.
    pub(crate) current: Option<String>,
    pub(crate) nodes: Vec<Node>,
    /// Attachments of which the file has the name alone.
    pub(crate) n_missing_files: u64,
}

/// A message as a program's file has it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) key: Option<String>,
    /// The key of the node that it follows.
    pub(crate) parent: Option<String>,
    /// Its place among its siblings, where the file states one. Equal ranks keep the file's order.
    pub(crate) rank: usize,
    pub(crate) role: Role,
    pub(crate) created_ms: Option<u64>,
    pub(crate) model: Option<String>,
    pub(crate) settings: Option<serde_json::Value>,
    pub(crate) stats: Option<serde_json::Value>,
    pub(crate) state: State,
    pub(crate) error: Option<serde_json::Value>,
    pub(crate) parts: Vec<Part>,
    /// A node that joins others and is no message.
    pub(crate) is_structure: bool,
    /// A message that its program does not show.
    pub(crate) is_hidden: bool,
}

impl Node {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            key: None,
            parent: None,
            rank: 0,
            role,
            created_ms: None,
            model: None,
            settings: None,
            stats: None,
            state: State::Done,
            error: None,
            parts: Vec::new(),
            is_structure: false,
            is_hidden: false,
        }
    }

    /// Whether nothing but reasoning is in it.
    fn is_reasoning(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| part.kind == PartKind::Reasoning)
    }
}

/// What a conversation is made with.
pub(crate) struct Making<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) skips: &'a mut Skips,
    /// The time of what states none.
    pub(crate) fallback_ms: u64,
    /// Names the format in hashes.
    pub(crate) source: &'static str,
    /// Whether the file is Lilims's own: ids stay, and an empty conversation is one.
    pub(crate) is_own: bool,
}

/// Makes a conversation; `None` for one without messages.
pub(crate) fn finish(mut draft: Draft, making: &mut Making<'_>) -> Option<Conversation> {
    let is_own = making.is_own;
    let title = title(draft.title.take(), is_own);
    let mut skip = |reason, count| making.skips.add(reason, title.as_deref(), count);

    let mut nodes = std::mem::take(&mut draft.nodes);
    let max = making.limits.max_messages;
    if nodes.len() > max {
        skip(SkipReason::TooMany, (nodes.len() - max) as u64);
        nodes.truncate(max);
    }
    for node in &mut nodes {
        if node.parts.len() > making.limits.max_parts {
            let n_extra = node.parts.len() - making.limits.max_parts;
            skip(SkipReason::TooMany, n_extra as u64);
            node.parts.truncate(making.limits.max_parts);
        }
    }
    skip(SkipReason::AttachmentContent, draft.n_missing_files);

    let mut tree = Tree::new(&nodes);
    let n_hidden = nodes.iter().filter(|node| node.is_hidden && !node.parts.is_empty()).count();
    skip(SkipReason::HiddenMessage, n_hidden as u64);
    let stands_for = tree.contract(&mut nodes, is_own);
    let times = nodes.iter().filter_map(|node| node.created_ms);
    let known_ms = draft.created_ms.or(times.clone().min());
    let created_ms = known_ms.unwrap_or(making.fallback_ms);
    let updated_ms = draft.updated_ms.or(times.max()).unwrap_or(created_ms);
    let order = tree.order(&nodes, created_ms);
    if order.is_empty() && !is_own {
        skip(SkipReason::Empty, 1);
        return None;
    }

    let key = match &draft.key {
        Some(key) => ids::hash([making.source, key]),
        None => content_hash(making.source, title.as_deref(), order.iter().map(|&idx| &nodes[idx])),
    };
    let id = match draft.key.take() {
        Some(id) if is_own && is_id(&id) => id,
        // Without the time of the file: a copy of it would have another.
        _ => ids::conversation_id(&key, known_ms.unwrap_or(0)),
    };

    let mut message_ids = MessageIds::new(key);
    let mut id_of: Vec<Option<String>> = vec![None; nodes.len()];
    for (n, &idx) in order.iter().enumerate() {
        let node = &nodes[idx];
        id_of[idx] = Some(match &node.key {
            // A second message of the same key is another message.
            Some(key) if is_own && is_id(key) && tree.is_first(key, idx) => key.clone(),
            Some(key) if tree.is_first(key, idx) => {
                message_ids.next(key, node.created_ms.unwrap_or(0))
            }
            _ => message_ids.next(&format!("#{n}"), node.created_ms.unwrap_or(0)),
        });
    }
    let current = draft.current.and_then(|key| tree.idx_of(&key)).and_then(|idx| stands_for[idx]);
    let current = match current {
        Some(idx) if is_own => Some(idx),
        Some(idx) => Some(tree.last_below(idx)),
        None if is_own => None,
        None => tree.roots.last().map(|&root| tree.last_below(root)),
    };

    let mut messages = Vec::with_capacity(order.len());
    let mut created: Vec<u64> = vec![created_ms; nodes.len()];
    for &idx in &order {
        let node = &mut nodes[idx];
        let parent = tree.parents[idx];
        // What states no time was said when the message before it was.
        created[idx] = node.created_ms.or(parent.map(|it| created[it])).unwrap_or(created_ms);
        messages.push(Message {
            id: id_of[idx].clone().unwrap_or_default(),
            parent: parent.and_then(|parent| id_of[parent].clone()),
            role: node.role,
            created_ms: created[idx],
            model: node.model.take().map(|name| clipped(&name)).filter(|name| !name.is_empty()),
            settings: node.settings.take(),
            stats: node.stats.take(),
            state: node.state,
            error: node.error.take(),
            parts: std::mem::take(&mut node.parts),
        });
    }
    Some(Conversation {
        id,
        title,
        title_origin: draft.title_origin,
        folder: draft.folder.map(|name| clipped(&name)),
        created_ms,
        updated_ms,
        is_pinned: draft.is_pinned,
        is_archived: draft.is_archived,
        overflow: draft.overflow,
        settings: draft.settings,
        current_leaf: current.and_then(|idx| id_of[idx].clone()),
        messages,
    })
}

/// Puts messages into the order of a file: by time, each after its parent, siblings as they are now.
///
/// Messages whose parent is not among them become beginnings, as do those that go round in circles.
pub fn in_order(messages: Vec<Message>) -> Vec<Message> {
    let nodes: Vec<Node> = messages
        .iter()
        .map(|message| Node {
            key: Some(message.id.clone()),
            parent: message.parent.clone(),
            created_ms: Some(message.created_ms),
            ..Node::new(message.role)
        })
        .collect();
    let tree = Tree::new(&nodes);
    let order = tree.order(&nodes, 0);
    let mut messages: Vec<Option<Message>> = messages.into_iter().map(Some).collect();
    let parent_id = |idx: usize| tree.parents[idx].and_then(|parent| nodes[parent].key.clone());
    order
        .into_iter()
        .filter_map(|idx| {
            let message = messages[idx].take()?;
            Some(Message { parent: parent_id(idx), ..message })
        })
        .collect()
}

/// The nodes of a conversation by their places.
struct Tree {
    by_key: HashMap<String, usize>,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    is_kept: Vec<bool>,
}

impl Tree {
    /// Finds each node's parent. Without cycles: a node that would follow itself is a beginning.
    fn new(nodes: &[Node]) -> Self {
        let mut by_key = HashMap::with_capacity(nodes.len());
        for (idx, node) in nodes.iter().enumerate() {
            if let Some(key) = &node.key {
                by_key.entry(key.clone()).or_insert(idx);
            }
        }
        let parent = |node: &Node| node.parent.as_ref().and_then(|key| by_key.get(key).copied());
        let mut parents: Vec<Option<usize>> = nodes.iter().map(parent).collect();
        break_cycles(&mut parents);
        let is_kept = vec![true; nodes.len()];
        let mut tree = Self { by_key, parents, children: Vec::new(), roots: Vec::new(), is_kept };
        tree.link(nodes);
        tree
    }

    fn idx_of(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Whether the node is the one that its key means.
    fn is_first(&self, key: &str, idx: usize) -> bool {
        self.idx_of(key) == Some(idx)
    }

    /// Lists the children of each node, from the parents.
    fn link(&mut self, nodes: &[Node]) {
        self.children = vec![Vec::new(); self.parents.len()];
        self.roots.clear();
        for (idx, parent) in self.parents.iter().enumerate() {
            match parent {
                _ if !self.is_kept[idx] => {}
                Some(parent) => self.children[*parent].push(idx),
                None => self.roots.push(idx),
            }
        }
        let by_rank = |idx: &usize| nodes[*idx].rank;
        self.children.iter_mut().for_each(|children| children.sort_by_key(by_rank));
        self.roots.sort_by_key(by_rank);
    }

    /// All nodes, each after its parent, one branch after another.
    fn preorder(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.parents.len());
        let mut stack: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(idx) = stack.pop() {
            order.push(idx);
            stack.extend(self.children[idx].iter().rev());
        }
        order
    }

    /// Takes out the nodes that are no messages, and joins what stood around them. Returns for each node
    /// which one stands in its place.
    fn contract(&mut self, nodes: &mut [Node], is_own: bool) -> Vec<Option<usize>> {
        let mut stands_for: Vec<Option<usize>> = (0..nodes.len()).map(Some).collect();
        if is_own {
            return stands_for;
        }
        for idx in self.preorder() {
            let parent = self.parents[idx].and_then(|parent| stands_for[parent]);
            // Siblings stay where the node was that joined them to their parent.
            if let Some(removed) = self.parents[idx].filter(|&parent| !self.is_kept[parent]) {
                nodes[idx].rank = nodes[idx].rank.max(nodes[removed].rank);
            }
            self.parents[idx] = parent;
            let node = &nodes[idx];
            if node.is_structure || node.is_hidden || node.parts.is_empty() {
                self.is_kept[idx] = false;
                stands_for[idx] = parent;
            }
        }
        self.link(nodes);
        self.join_reasoning(nodes, &mut stands_for);
        stands_for
    }

    /// Puts reasoning that is a message of its own before the answer that follows it.
    fn join_reasoning(&mut self, nodes: &mut [Node], stands_for: &mut [Option<usize>]) {
        let preorder = self.preorder();
        for &idx in &preorder {
            let [child] = self.children[idx][..] else { continue };
            let is_answer = |node: &Node| node.role == Role::Assistant;
            if !nodes[idx].is_reasoning() || !is_answer(&nodes[idx]) || !is_answer(&nodes[child]) {
                continue;
            }
            // Appended, not inserted: a chain of reasoning may be long.
            let mut parts = std::mem::take(&mut nodes[idx].parts);
            parts.append(&mut nodes[child].parts);
            nodes[child].parts = parts;
            nodes[child].rank = nodes[idx].rank;
            nodes[child].created_ms = nodes[child].created_ms.or(nodes[idx].created_ms);
            self.parents[child] = self.parents[idx];
            self.is_kept[idx] = false;
            stands_for[idx] = Some(child);
        }
        // A chain of reasoning leads on to its answer: from the ends, so that one step is enough. Then
        // the nodes that were taken out before.
        for idx in preorder.into_iter().rev().chain(0..stands_for.len()) {
            stands_for[idx] = stands_for[idx].and_then(|next| stands_for[next]);
        }
        self.link(nodes);
    }

    /// The messages by time, each after its parent and after the siblings before it.
    fn order(&self, nodes: &[Node], start_ms: u64) -> Vec<usize> {
        let preorder = self.preorder();
        let mut time = vec![0; nodes.len()];
        let mut last_sibling: HashMap<Option<usize>, u64> = HashMap::new();
        for &idx in &preorder {
            let parent = self.parents[idx];
            let after_parent = parent.map_or(0, |parent| time[parent]);
            let after_sibling = last_sibling.get(&parent).copied().unwrap_or(0);
            // As for the time that it gets: what states none was said when the message before it was.
            let without = parent.map_or(start_ms, |parent| time[parent]);
            let own = nodes[idx].created_ms.unwrap_or(without);
            time[idx] = own.max(after_parent).max(after_sibling);
            last_sibling.insert(parent, time[idx]);
        }
        let mut order = preorder;
        // Stable: at the same time, the order of branches stays.
        order.sort_by_key(|&idx| time[idx]);
        order
    }

    /// The end of the branch through `idx` on which each message is the last of its siblings.
    fn last_below(&self, mut idx: usize) -> usize {
        while let Some(&child) = self.children[idx].last() {
            idx = child;
        }
        idx
    }
}

/// Makes a beginning of one node of each cycle.
fn break_cycles(parents: &mut [Option<usize>]) {
    /// Not seen, on the way that is being walked, or known to lead to a beginning.
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        Now,
        Before,
    }
    let mut seen = vec![Seen::No; parents.len()];
    for start in 0..parents.len() {
        let (mut way, mut at) = (Vec::new(), Some(start));
        while let Some(idx) = at.filter(|&idx| seen[idx] == Seen::No) {
            seen[idx] = Seen::Now;
            way.push(idx);
            at = parents[idx];
        }
        if let Some(again) = at.filter(|&idx| seen[idx] == Seen::Now) {
            parents[again] = None;
        }
        way.into_iter().for_each(|idx| seen[idx] = Seen::Before);
    }
}

/// Names a conversation that its source does not name.
fn content_hash<'a>(
    source: &str,
    title: Option<&str>,
    nodes: impl Iterator<Item = &'a Node>,
) -> [u8; 32] {
    let texts = nodes.flat_map(|node| {
        let parts = node.parts.iter().map(|part| part.text.as_str());
        std::iter::once(node.role.as_str()).chain(parts)
    });
    ids::hash([source, title.unwrap_or_default()].into_iter().chain(texts))
}

/// A title; one of another program is one line.
fn title(title: Option<String>, is_own: bool) -> Option<String> {
    let title = match is_own {
        true => clipped(&title?),
        false => clipped(&title?.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    Some(title).filter(|title| is_own || !title.is_empty())
}

/// A name that is not too long to be shown in a list.
pub(crate) fn clipped(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => name[..end].to_owned(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(key: &str, parent: Option<&str>, text: &str) -> Node {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::text(text)] };
        Node {
            key: Some(key.into()),
            parent: parent.map(str::to_owned),
            parts,
            ..Node::new(Role::User)
        }
    }

    fn made(nodes: Vec<Node>, current: Option<&str>) -> (Conversation, Skips) {
        let mut skips = Skips::new(9);
        let limits = Limits::default();
        let mut making = Making {
            limits: &limits,
            skips: &mut skips,
            fallback_ms: 7,
            source: "test",
            is_own: false,
        };
        let draft = Draft { nodes, current: current.map(str::to_owned), ..Draft::default() };
        let conversation = finish(draft, &mut making).unwrap();
        (conversation, skips)
    }

    /// Texts of all branches, from their beginnings.
    fn branches(conversation: &Conversation) -> Vec<String> {
        let is_parent = |id: &String| {
            conversation.messages.iter().any(|message| message.parent.as_ref() == Some(id))
        };
        let leaves = conversation.messages.iter().filter(|message| !is_parent(&message.id));
        leaves
            .map(|leaf| {
                let branch = conversation.branch(&leaf.id);
                branch.iter().map(|message| message.parts[0].text.as_str()).collect()
            })
            .collect()
    }

    #[test]
    fn what_is_no_message_is_taken_out_of_the_middle() {
        let nodes = vec![
            node("root", None, ""),
            node("a", Some("root"), "a"),
            node("gap", Some("a"), ""),
            node("b", Some("gap"), "b"),
            node("c", Some("a"), "c"),
        ];
        let (conversation, _) = made(nodes, Some("gap"));
        assert_eq!(branches(&conversation), ["ab", "ac"]);
        let current = conversation.current_leaf.unwrap();
        // The end of the newest branch below `a`, which stands for the gap.
        assert_eq!(conversation.messages.last().map(|message| &message.id), Some(&current));
    }

    #[test]
    fn circles_twins_and_lost_parents_are_all_taken() {
        let nodes = vec![
            node("a", Some("b"), "a"),
            node("b", Some("a"), "b"),
            node("self", Some("self"), "s"),
            node("lost", Some("nowhere"), "l"),
            node("lost", Some("self"), "t"),
            Node { key: None, ..node("", None, "n") },
        ];
        let (conversation, _) = made(nodes, None);
        let mut branches = branches(&conversation);
        branches.sort();
        assert_eq!(branches, ["ab", "l", "n", "st"]);
        let mut ids: Vec<_> = conversation.messages.iter().map(|message| &message.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), conversation.messages.len());
    }

    #[test]
    fn reasoning_stands_before_its_answer() {
        let reasoning = |key: &str, parent: &str| Node {
            parts: vec![Part::reasoning(key)],
            role: Role::Assistant,
            ..node(key, Some(parent), "")
        };
        let answer = Node { role: Role::Assistant, ..node("d", Some("c"), "d") };
        let nodes = vec![node("a", None, "a"), reasoning("b", "a"), reasoning("c", "b"), answer];
        let (conversation, _) = made(nodes, Some("b"));
        let [_, answer] = &conversation.messages[..] else { panic!("{conversation:?}") };
        let texts: Vec<_> = answer.parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(texts, ["b", "c", "d"]);
        assert_eq!(conversation.current_leaf.as_deref(), Some(&*answer.id));
    }

    #[test]
    fn a_long_chain_takes_no_stack() {
        let text = |n: usize| n.to_string();
        let nodes = (0..100_000).rev().map(|n: usize| {
            let parent = n.checked_sub(1).map(text);
            node(&text(n), parent.as_deref(), if n.is_multiple_of(2) { "x" } else { "" })
        });
        let (conversation, _) = made(nodes.collect(), None);
        assert_eq!(conversation.messages.len(), 50_000);
        assert_eq!(conversation.branch(conversation.current_leaf.as_ref().unwrap()).len(), 50_000);
    }

    proptest! {
        #[test]
        fn any_parents_make_a_tree(parents in prop::collection::vec(0_usize..40, 0..40)) {
            let nodes = parents.iter().enumerate().map(|(idx, parent)| {
                node(&idx.to_string(), Some(&parent.to_string()), "x")
            });
            let mut nodes: Vec<Node> = nodes.collect();
            nodes.push(node("end", None, "x"));
            let n_nodes = nodes.len();
            let (conversation, _) = made(nodes, None);
            prop_assert_eq!(conversation.messages.len(), n_nodes);
            for (idx, message) in conversation.messages.iter().enumerate() {
                let before = &conversation.messages[..idx];
                let parent = message.parent.as_ref();
                prop_assert!(parent.is_none_or(|id| before.iter().any(|it| it.id == *id)));
            }
            prop_assert_eq!(in_order(conversation.messages.clone()), conversation.messages);
        }
    }
}
