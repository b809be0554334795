//! Random edits of a tree of messages, against a plain model in memory: branches, siblings, deletion,
//! and what searches find.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::collections::BTreeMap;

use lilims_store::{
    ConversationChange, ConversationId, Delta, Ending, MessageId, MessageState, NewMessage, Part,
    Role, Store,
};
use proptest::prelude::*;

/// Words that messages have; short, so that many have the same.
const WORDS: &[&str] = &["alpha", "beta", "gamma", "delta", "omega"];

#[derive(Clone, Debug)]
enum Edit {
    /// Adds a message below the one of this index, or a beginning.
    Add(Option<prop::sample::Index>, usize),
    /// Adds one that grows in pieces.
    Grow(Option<prop::sample::Index>, Vec<usize>),
    Replace(prop::sample::Index, usize),
    Delete(prop::sample::Index),
    Show(prop::sample::Index),
    Reopen,
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = || prop::option::weighted(0.8, any::<prop::sample::Index>());
    let word = || 0..WORDS.len();
    prop_oneof![
        5 => (place(), word()).prop_map(|(place, word)| Edit::Add(place, word)),
        2 => (place(), prop::collection::vec(word(), 0..4))
            .prop_map(|(place, words)| Edit::Grow(place, words)),
        2 => (any::<prop::sample::Index>(), word()).prop_map(|(at, word)| Edit::Replace(at, word)),
        2 => any::<prop::sample::Index>().prop_map(Edit::Delete),
        1 => any::<prop::sample::Index>().prop_map(Edit::Show),
        1 => Just(Edit::Reopen),
    ]
}

/// A message of the model.
#[derive(Clone, Debug)]
struct Node {
    parent: Option<MessageId>,
    text: String,
}

/// The model: messages by their ids, which ascend as they are made.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<MessageId, Node>,
    current: Option<MessageId>,
}

impl Model {
    fn pick(&self, index: &prop::sample::Index) -> Option<MessageId> {
        (!self.nodes.is_empty()).then(|| index.get(&self.ids()).clone())
    }

    fn ids(&self) -> Vec<MessageId> {
        self.nodes.keys().cloned().collect()
    }

    fn add(&mut self, id: MessageId, parent: Option<MessageId>, text: String) {
        self.current = Some(id.clone());
        self.nodes.insert(id, Node { parent, text });
    }

    fn children(&self, parent: Option<&MessageId>) -> Vec<MessageId> {
        let is_child = |(_, node): &(&MessageId, &Node)| node.parent.as_ref() == parent;
        self.nodes.iter().filter(is_child).map(|(id, _)| id.clone()).collect()
    }

    fn leaf_below(&self, mut id: MessageId) -> MessageId {
        while let Some(child) = self.children(Some(&id)).pop() {
            id = child;
        }
        id
    }

    fn branch(&self, leaf: &MessageId) -> Vec<MessageId> {
        let mut branch = vec![leaf.clone()];
        while let Some(parent) = self.nodes[branch.last().unwrap()].parent.clone() {
            branch.push(parent);
        }
        branch.reverse();
        branch
    }

    fn delete(&mut self, id: &MessageId) {
        let parent = self.nodes[id].parent.clone();
        let mut leaving = vec![id.clone()];
        while let Some(id) = leaving.pop() {
            leaving.extend(self.children(Some(&id)));
            self.nodes.remove(&id);
        }
        if self.current.as_ref().is_some_and(|current| !self.nodes.contains_key(current)) {
            self.current = match parent {
                Some(parent) => Some(self.leaf_below(parent)),
                None => self.children(None).pop().map(|first| self.leaf_below(first)),
            };
        }
    }

    fn containing(&self, word: &str) -> Vec<MessageId> {
        let has = |(_, node): &(&MessageId, &Node)| node.text.split(' ').any(|it| it == word);
        self.nodes.iter().filter(has).map(|(id, _)| id.clone()).collect()
    }
}

fn check(store: &Store, conversation: &ConversationId, model: &Model) {
    let messages = store.messages(conversation).unwrap();
    assert_eq!(messages.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), model.ids());
    for message in &messages {
        let node = &model.nodes[&message.id];
        let text: String = message.parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!((&message.parent, text), (&node.parent, node.text.clone()));
        let branch = store.branch(&message.id).unwrap().into_iter().map(|it| it.id);
        assert_eq!(branch.collect::<Vec<_>>(), model.branch(&message.id));
        let siblings = store.siblings(&message.id).unwrap();
        assert_eq!(siblings, model.children(node.parent.as_ref()));
        assert_eq!(store.leaf_below(&message.id).unwrap(), model.leaf_below(message.id.clone()));
    }
    let current = store.conversation(conversation).unwrap().unwrap().current_leaf;
    assert_eq!(current, model.current);
    for word in WORDS {
        let hits = store.search(word, None, 1000).unwrap().into_iter();
        let mut found: Vec<MessageId> = hits.map(|hit| hit.message).collect();
        found.sort();
        assert_eq!(found, model.containing(word), "{word}");
    }
}

/// Has SQLite compare its index of words with the texts.
fn check_index(data: &std::path::Path) {
    let connection = rusqlite::Connection::open(lilims_store::database_path(data)).unwrap();
    let sql = "INSERT INTO search (search, rank) VALUES ('integrity-check', 1)";
    connection.execute(sql, []).unwrap();
    let left: u32 =
        connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "the journal is empty once answers have ended");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_that_of_the_model(edits in prop::collection::vec(edit(), 1..24)) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let conversation = store.create_conversation(&ConversationChange::default()).unwrap();
        let mut model = Model::default();
        for edit in edits {
            match edit {
                Edit::Add(place, word) => {
                    let parent = place.and_then(|it| model.pick(&it));
                    let new = NewMessage::text(
                        &conversation, parent.as_ref(), Role::User, WORDS[word],
                    );
                    model.add(store.add_message(&new).unwrap(), parent, WORDS[word].to_owned());
                }
                Edit::Grow(place, words) => {
                    let parent = place.and_then(|it| model.pick(&it));
                    let new = NewMessage::empty(&conversation, parent.as_ref(), Role::Assistant);
                    let id = store.begin_message(&new).unwrap();
                    let mut text = String::new();
                    for word in words {
                        let piece = format!("{} ", WORDS[word]);
                        store.append(&id, &[Delta::text(&piece)]).unwrap();
                        text.push_str(&piece);
                    }
                    store.finish_message(&id, &Ending::of(MessageState::Done)).unwrap();
                    model.add(id, parent, text);
                }
                Edit::Replace(at, word) => {
                    let Some(id) = model.pick(&at) else { continue };
                    store.set_parts(&id, &[Part::text(WORDS[word])]).unwrap();
                    model.nodes.get_mut(&id).unwrap().text = WORDS[word].to_owned();
                }
                Edit::Delete(at) => {
                    let Some(id) = model.pick(&at) else { continue };
                    store.delete_message(&id).unwrap();
                    model.delete(&id);
                }
                Edit::Show(at) => {
                    let Some(id) = model.pick(&at) else { continue };
                    store.set_current_leaf(&conversation, Some(&id)).unwrap();
                    model.current = Some(id);
                }
                Edit::Reopen => {
                    drop(store);
                    store = Store::open(folder.path()).unwrap();
                }
            }
        }
        check(&store, &conversation, &model);
        check_index(folder.path());
        store.delete_conversation(&conversation).unwrap();
        prop_assert!(WORDS.iter().all(|word| store.search(word, None, 9).unwrap().is_empty()));
        check_index(folder.path());
    }
}
