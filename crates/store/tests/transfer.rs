//! Whole conversations in and out: what an import keeps, and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use lilims_store::{
    ConversationChange, ConversationId, Delta, Error, Inserted, Message, MessageId, MessageState,
    NewMessage, Part, Role, Store, WholeConversation,
};
use serde_json::json;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

/// A conversation in a folder, with an edited question and two answers to it.
fn conversation(store: &Store) -> ConversationId {
    let folder = store.create_conversation_folder("Work").unwrap();
    let change = ConversationChange {
        folder: Some(Some(folder)),
        is_pinned: Some(true),
        is_archived: Some(true),
        overflow: Some(Some("stop".to_owned())),
        settings: Some(Some(json!({"temperature": 0.1}))),
        ..ConversationChange::default()
    };
    let id = store.create_conversation(&change).unwrap();
    let say = |parent: Option<&MessageId>, role, text: &str| {
        store.add_message(&NewMessage::text(&id, parent, role, text)).unwrap()
    };
    say(None, Role::User, "first");
    let question = say(None, Role::User, "second");
    let answer = say(Some(&question), Role::Assistant, "one");
    say(Some(&question), Role::Assistant, "two");
    store.set_current_leaf(&id, Some(&answer)).unwrap();
    id
}

fn whole(store: &Store, id: &ConversationId) -> WholeConversation {
    store.whole_conversation(id).unwrap().unwrap()
}

/// The conversation without what each database assigns itself.
fn comparable(mut whole: WholeConversation) -> WholeConversation {
    whole.conversation.folder = None;
    whole
}

#[test]
fn an_import_is_what_was_exported() {
    let (_folder, from) = store();
    let exported = whole(&from, &conversation(&from));
    assert_eq!(exported.folder_name.as_deref(), Some("Work"));
    let (_folder, to) = store();
    let inserted = to.insert_conversation(&exported).unwrap();
    let id = exported.conversation.id.clone();
    assert_eq!(inserted, Inserted::New(id.clone()));
    assert_eq!(comparable(whole(&to, &id)), comparable(exported.clone()));
    assert_eq!(to.search("second", None, 9).unwrap().len(), 1);
    // A second one of the same folder name is in the same folder.
    let other = whole(&from, &conversation(&from));
    to.insert_conversation(&other).unwrap();
    assert_eq!(to.conversation_folders().unwrap().len(), 1);

    assert_eq!(to.insert_conversation(&exported).unwrap(), Inserted::AlreadyHere(id.clone()));
    // An older export of a conversation that went on has nothing that is not here.
    let leaf = exported.conversation.current_leaf.clone();
    to.add_message(&NewMessage::text(&id, leaf.as_ref(), Role::User, "more")).unwrap();
    assert_eq!(to.insert_conversation(&exported).unwrap(), Inserted::AlreadyHere(id));
}

#[test]
fn ids_that_are_taken_are_replaced_and_nothing_here_changes() {
    let (_folder, store) = store();
    let id = conversation(&store);
    let before = whole(&store, &id);
    let mut other = before.clone();
    other.messages[0].parts = vec![Part::text("other words")];
    let Inserted::New(copy) = store.insert_conversation(&other).unwrap() else { panic!() };
    assert_ne!(copy, id);
    assert_eq!(whole(&store, &id), before);
    let copied = whole(&store, &copy);
    let shape = |whole: &WholeConversation| -> Vec<(Option<usize>, Vec<Part>, u64)> {
        let idx = |id: &MessageId| whole.messages.iter().position(|it| it.id == *id);
        let parts =
            |it: &Message| (it.parent.as_ref().and_then(idx), it.parts.clone(), it.created_ms);
        whole.messages.iter().map(parts).collect()
    };
    assert_eq!(shape(&copied), shape(&other));
    let leaf = |whole: &WholeConversation| {
        let leaf = whole.conversation.current_leaf.clone().unwrap();
        whole.messages.iter().position(|it| it.id == leaf)
    };
    assert_eq!(leaf(&copied), leaf(&other));

    // One message whose id is that of another conversation's.
    let mut third = before.clone();
    third.conversation.id = ConversationId::new();
    let Inserted::New(third) = store.insert_conversation(&third).unwrap() else { panic!() };
    assert_eq!(whole(&store, &id), before);
    assert_eq!(whole(&store, &third).messages.len(), before.messages.len());
}

#[test]
fn what_was_deleted_a_moment_ago_comes_again_under_new_ids() {
    let (_folder, store) = store();
    let id = conversation(&store);
    let exported = whole(&store, &id);
    store.trash_conversation(&id).unwrap();
    assert_eq!(store.whole_conversation(&id).unwrap(), None);
    let Inserted::New(again) = store.insert_conversation(&exported).unwrap() else { panic!() };
    assert_ne!(again, id);
    assert_eq!(whole(&store, &again).messages.len(), exported.messages.len());
}

#[test]
fn an_answer_that_is_being_written_comes_as_a_stopped_one() {
    let (_folder, from) = store();
    let id = conversation(&from);
    let leaf = from.conversation(&id).unwrap().unwrap().current_leaf;
    let new = NewMessage::empty(&id, leaf.as_ref(), Role::Assistant);
    let answer = from.begin_message(&new).unwrap();
    from.append(&answer, &[Delta::text("half an ans")]).unwrap();
    let exported = whole(&from, &id);
    let (_folder, to) = store();
    to.insert_conversation(&exported).unwrap();
    let message = to.message(&answer).unwrap().unwrap();
    assert_eq!(message.state, MessageState::Stopped);
    assert_eq!(message.parts, [Part::text("half an ans")]);
    // Where it is written, it is the same conversation.
    assert_eq!(from.insert_conversation(&exported).unwrap(), Inserted::AlreadyHere(id));
}

#[test]
fn messages_that_go_round_in_a_circle_are_refused() {
    let (_folder, from) = store();
    let mut exported = whole(&from, &conversation(&from));
    exported.messages[0].parent = Some(exported.messages[1].id.clone());
    let (_folder, to) = store();
    assert!(matches!(to.insert_conversation(&exported), Err(Error::NoSuchMessage { .. })));
    assert!(to.conversation_heads().unwrap().is_empty());
    // A leaf that is not there, and messages: the last one is shown.
    let mut exported = whole(&from, &conversation(&from));
    exported.conversation.current_leaf = Some(MessageId::from("nowhere"));
    to.insert_conversation(&exported).unwrap();
    let here = whole(&to, &exported.conversation.id);
    assert_eq!(here.conversation.current_leaf, exported.messages.last().map(|it| it.id.clone()));
}
