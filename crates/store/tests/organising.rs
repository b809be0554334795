//! The list of conversations: titles, folders, copies of branches, and what can still be restored.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use lilims_store::{
    ConversationChange, ConversationId, Emptied, Ending, Error, MessageId, MessageState,
    NewMessage, Role, Store, TitleOrigin,
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn new(store: &Store) -> ConversationId {
    store.create_conversation(&ConversationChange::default()).unwrap()
}

fn say(
    store: &Store,
    id: &ConversationId,
    parent: Option<&MessageId>,
    role: Role,
    text: &str,
) -> MessageId {
    store.add_message(&NewMessage::text(id, parent, role, text)).unwrap()
}

fn titles(store: &Store) -> Vec<Option<String>> {
    store.conversation_heads().unwrap().into_iter().map(|head| head.title).collect()
}

fn texts(store: &Store, leaf: &MessageId) -> Vec<String> {
    let branch = store.branch(leaf).unwrap();
    branch.iter().map(|it| it.parts.iter().map(|part| &*part.text).collect()).collect()
}

fn leaf(store: &Store, id: &ConversationId) -> Option<MessageId> {
    store.conversation(id).unwrap().unwrap().current_leaf
}

#[test]
fn a_new_chat_is_listed_once_something_was_said_and_is_used_again_until_then() {
    let (_folder, store) = store();
    let id = new(&store);
    assert_eq!(titles(&store), []);
    assert_eq!(store.unused_conversation().unwrap().unwrap().id, id);
    say(&store, &id, None, Role::User, "Why is\nthe sky blue?");
    assert_eq!(titles(&store), [Some("Why is the sky blue?".to_owned())]);
    assert_eq!(store.unused_conversation().unwrap(), None);
}

#[test]
fn the_users_title_stays_and_a_models_replaces_the_question() {
    let (_folder, store) = store();
    let id = new(&store);
    let question = say(&store, &id, None, Role::User, "hi");
    assert_eq!(store.conversations_to_title(9).unwrap(), []);
    say(&store, &id, Some(&question), Role::Assistant, "hello");
    assert_eq!(store.conversations_to_title(9).unwrap(), std::slice::from_ref(&id));
    assert!(store.propose_title(&id, "Greeting").unwrap());
    assert_eq!(store.conversations_to_title(9).unwrap(), []);
    let title = Some(Some("Mine".to_owned()));
    store.change_conversation(&id, &ConversationChange { title, ..Default::default() }).unwrap();
    assert!(!store.propose_title(&id, "Greeting").unwrap());
    let conversation = store.conversation(&id).unwrap().unwrap();
    assert_eq!(conversation.title.as_deref(), Some("Mine"));
    assert_eq!(conversation.title_origin, Some(TitleOrigin::User));
}

#[test]
fn removing_a_folder_keeps_its_conversations() {
    let (_folder, store) = store();
    let id = new(&store);
    say(&store, &id, None, Role::User, "hi");
    let folder = store.create_conversation_folder("Work").unwrap();
    let change = ConversationChange { folder: Some(Some(folder.clone())), ..Default::default() };
    store.change_conversation(&id, &change).unwrap();
    assert_eq!(store.conversation_heads().unwrap()[0].folder.as_ref(), Some(&folder));
    store.rename_conversation_folder(&folder, "Play").unwrap();
    assert_eq!(store.conversation_folders().unwrap()[0].name, "Play");
    store.remove_conversation_folder(&folder).unwrap();
    assert_eq!(store.conversation_heads().unwrap()[0].folder, None);
    let gone = store.change_conversation(&id, &change);
    assert!(matches!(gone, Err(Error::NoSuchFolder { .. })), "{gone:?}");
}

#[test]
fn a_hidden_conversation_is_not_found_until_it_is_restored() {
    let (_folder, store) = store();
    let id = new(&store);
    say(&store, &id, None, Role::User, "needle");
    store.trash_conversation(&id).unwrap();
    assert_eq!(titles(&store), []);
    assert_eq!(store.conversation(&id).unwrap(), None);
    assert_eq!(store.search("needle", None, 9).unwrap(), []);
    assert!(matches!(store.trash_conversation(&id), Err(Error::NoSuchConversation { .. })));
    assert!(store.restore_conversation(&id).unwrap());
    assert_eq!(store.search("needle", None, 9).unwrap().len(), 1);
    store.trash_conversation(&id).unwrap();
    assert_eq!(store.empty_trash(0).unwrap(), Emptied::default());
    assert_eq!(store.empty_trash(u64::MAX).unwrap().gone, std::slice::from_ref(&id));
    assert!(!store.restore_conversation(&id).unwrap());
}

#[test]
fn a_hidden_message_takes_what_follows_and_comes_back_with_it() {
    let (_folder, store) = store();
    let id = new(&store);
    let question = say(&store, &id, None, Role::User, "one");
    let first = say(&store, &id, Some(&question), Role::Assistant, "two");
    let second = say(&store, &id, Some(&question), Role::Assistant, "three");
    let last = say(&store, &id, Some(&second), Role::User, "needle");
    assert_eq!(store.trash_message(&second).unwrap(), 2);
    assert_eq!(leaf(&store, &id), Some(first.clone()));
    assert_eq!(store.siblings(&first).unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.messages(&id).unwrap().len(), 2);
    assert_eq!(store.tree(&id, 9).unwrap().len(), 2);
    assert_eq!(store.search("needle", None, 9).unwrap(), []);
    let reply = NewMessage::text(&id, Some(&second), Role::User, "x");
    assert!(matches!(store.add_message(&reply), Err(Error::NoSuchMessage { .. })));
    assert!(store.restore_message(&second, &last).unwrap());
    assert_eq!(leaf(&store, &id), Some(last.clone()));
    assert_eq!(texts(&store, &last), ["one", "three", "needle"]);

    store.trash_message(&last).unwrap();
    store.trash_message(&question).unwrap();
    assert_eq!(leaf(&store, &id), None);
    let emptied = store.empty_trash(u64::MAX).unwrap();
    // Its title is another one now, which lists must show.
    assert!(emptied.gone.is_empty() && emptied.changed.contains(&id), "{emptied:?}");
    assert!(!store.restore_message(&question, &last).unwrap());
    assert_eq!(store.messages(&id).unwrap(), []);
    // The title was made of the question that is gone.
    assert_eq!(titles(&store), []);
}

#[test]
fn an_answer_that_is_being_written_is_not_hidden() {
    let (_folder, store) = store();
    let id = new(&store);
    let question = say(&store, &id, None, Role::User, "one");
    let answer = NewMessage::empty(&id, Some(&question), Role::Assistant);
    let answer = store.begin_message(&answer).unwrap();
    assert!(matches!(store.trash_message(&question), Err(Error::StillWriting { .. })));
    assert!(matches!(store.fork(&id, &answer), Err(Error::StillWriting { .. })));
    store.finish_message(&answer, &Ending::of(MessageState::Stopped)).unwrap();
    assert_eq!(store.trash_message(&question).unwrap(), 2);
}

#[test]
fn a_message_that_has_ended_can_go_on() {
    let (_folder, store) = store();
    let id = new(&store);
    let answer = say(&store, &id, None, Role::Assistant, "one");
    store.reopen_message(&answer).unwrap();
    assert!(matches!(store.reopen_message(&answer), Err(Error::StillWriting { .. })));
    store.append(&answer, &[lilims_store::Delta::text(" two")]).unwrap();
    store.finish_message(&answer, &Ending::of(MessageState::Done)).unwrap();
    assert_eq!(texts(&store, &answer), ["one two"]);
    assert_eq!(store.search("two", None, 9).unwrap().len(), 1);
}

#[test]
fn a_fork_has_the_branch_and_not_what_follows() {
    let (_folder, store) = store();
    let id = new(&store);
    let question = say(&store, &id, None, Role::User, "one");
    let answer = say(&store, &id, Some(&question), Role::Assistant, "two");
    say(&store, &id, Some(&answer), Role::User, "three");
    let fork = store.fork(&id, &answer).unwrap();
    let copy = leaf(&store, &fork).unwrap();
    assert_eq!(texts(&store, &copy), ["one", "two"]);
    assert_eq!(store.messages(&id).unwrap().len(), 3);
    assert_eq!(titles(&store), [Some("one".to_owned()), Some("one".to_owned())]);
}

#[test]
fn all_conversations_are_deleted_for_good() {
    let (folder, store) = store();
    for n in 0..400 {
        let id = new(&store);
        say(&store, &id, None, Role::User, &format!("secretword {n}"));
    }
    store.set_draft(None, "secretword").unwrap();
    let sessions = folder.path().join("conversations");
    std::fs::create_dir_all(&sessions).unwrap();
    std::fs::write(sessions.join("x.session"), [0; 5000]).unwrap();
    let size_bytes = store.conversations_size_bytes().unwrap();
    assert!(size_bytes > 10_000, "{size_bytes}");
    store.delete_all_conversations().unwrap();
    assert_eq!(store.search("secretword", None, 9).unwrap(), []);
    assert!(!sessions.join("x.session").exists());
    drop(store);
    let database = std::fs::read(lilims_store::database_path(folder.path())).unwrap();
    assert!(!database.windows(10).any(|window| window == b"secretword"));
}
