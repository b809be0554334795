//! Conversations on disk: branches, answers that grow, drafts, searches, deletion for good.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::fs;
use std::path::{Path, PathBuf};

use lilims_store::{
    ConversationChange, ConversationId, Delta, Ending, Error, Message, MessageId, MessageState,
    NewMessage, Part, PartKind, Role, Store, database_path,
};
use serde_json::json;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn conversation(store: &Store) -> ConversationId {
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

fn text(message: &Message) -> String {
    message.parts.iter().map(|part| part.text.as_str()).collect()
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(text).collect()
}

/// The files below `folder` that have these bytes.
fn files_with(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn an_edited_question_is_a_sibling_and_both_branches_stay() {
    let (_folder, store) = store();
    let id = conversation(&store);
    let first = say(&store, &id, None, Role::User, "one");
    let answer = say(&store, &id, Some(&first), Role::Assistant, "1");
    let edited = say(&store, &id, None, Role::User, "two");
    let other = say(&store, &id, Some(&edited), Role::Assistant, "2");
    assert_eq!(texts(&store.branch(&answer).unwrap()), ["one", "1"]);
    assert_eq!(texts(&store.branch(&other).unwrap()), ["two", "2"]);
    assert_eq!(store.siblings(&first).unwrap(), [first.clone(), edited.clone()]);
    assert_eq!(store.conversation(&id).unwrap().unwrap().current_leaf, Some(other.clone()));
    assert_eq!(store.leaf_below(&first).unwrap(), answer);
    store.set_current_leaf(&id, Some(&answer)).unwrap();
    assert_eq!(store.conversation(&id).unwrap().unwrap().current_leaf, Some(answer.clone()));
    let all = store.messages(&id).unwrap();
    assert_eq!(texts(&all), ["one", "1", "two", "2"]);
    assert_eq!((all[0].position, all[2].position), (0, 1));
    // A message of another conversation is no parent here.
    let elsewhere = conversation(&store);
    let wrong = NewMessage::text(&elsewhere, Some(&first), Role::User, "x");
    assert!(matches!(store.add_message(&wrong), Err(Error::NoSuchMessage { .. })));
    let nowhere = NewMessage::text(&"none".into(), None, Role::User, "x");
    assert!(matches!(store.add_message(&nowhere), Err(Error::NoSuchConversation { .. })));
}

#[test]
fn a_branch_that_is_shown_and_deleted_gives_way_to_the_newest_beside_it() {
    let (_folder, store) = store();
    let id = conversation(&store);
    let first = say(&store, &id, None, Role::User, "q");
    let a = say(&store, &id, Some(&first), Role::Assistant, "a");
    let b = say(&store, &id, Some(&first), Role::Assistant, "b");
    let below_b = say(&store, &id, Some(&b), Role::User, "more");
    store.delete_message(&b).unwrap();
    assert_eq!(store.conversation(&id).unwrap().unwrap().current_leaf, Some(a.clone()));
    assert_eq!(store.message(&below_b).unwrap(), None);
    // Another branch than the one that is shown.
    let c = say(&store, &id, Some(&first), Role::Assistant, "c");
    store.delete_message(&a).unwrap();
    assert_eq!(store.conversation(&id).unwrap().unwrap().current_leaf, Some(c));
    store.delete_message(&first).unwrap();
    assert_eq!(store.conversation(&id).unwrap().unwrap().current_leaf, None);
    assert!(store.messages(&id).unwrap().is_empty());
}

#[test]
fn a_chain_of_thousands_of_messages_is_deleted_at_once() {
    let (folder, store) = store();
    let id = conversation(&store);
    let mut parent = None;
    let mut first = None;
    for n in 0..3000 {
        let message =
            say(&store, &id, parent.as_ref(), Role::User, &format!("xylophonequartz m{n}"));
        first.get_or_insert_with(|| message.clone());
        parent = Some(message);
    }
    assert_eq!(store.branch(&parent.unwrap()).unwrap().len(), 3000);
    store.delete_message(&first.unwrap()).unwrap();
    assert!(store.messages(&id).unwrap().is_empty());
    assert!(store.search("m2999", None, 10).unwrap().is_empty());
    assert_eq!(files_with(folder.path(), "xylophonequartz"), [] as [PathBuf; 0]);
    let kept = say(&store, &id, None, Role::User, "afterwards");
    assert_eq!(store.search("afterw", None, 10).unwrap()[0].message, kept);
    let connection = rusqlite::Connection::open(database_path(folder.path())).unwrap();
    let sql = "INSERT INTO search (search, rank) VALUES ('integrity-check', 1)";
    connection.execute(sql, []).unwrap();
    let sql = "SELECT v FROM search_config WHERE k = 'secure-delete'";
    let is_secure: u32 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(is_secure, 1);
}

#[test]
fn an_answer_grows_and_is_whole_at_every_moment() {
    let (_folder, store) = store();
    let id = conversation(&store);
    let question = say(&store, &id, None, Role::User, "why");
    let mut new = NewMessage::empty(&id, Some(&question), Role::Assistant);
    new.model = Some("m-q4_0".to_owned());
    new.settings = Some(json!({ "temperature": 0.7 }));
    let answer = store.begin_message(&new).unwrap();
    let elapsed = json!({ "elapsed_ms": 1200 });
    let reasoning = |text, data| Delta { kind: PartKind::Reasoning, text, data };
    store.append(&answer, &[reasoning("Hm", None), reasoning("m.", Some(&elapsed))]).unwrap();
    store.append(&answer, &[Delta::text("Beca")]).unwrap();
    let growing = store.message(&answer).unwrap().unwrap();
    assert_eq!(growing.state, MessageState::Writing);
    let part = |kind, text: &str, data| Part { kind, text: text.to_owned(), data };
    let reasoned = part(PartKind::Reasoning, "Hmm.", Some(elapsed));
    assert_eq!(growing.parts, [reasoned.clone(), Part::text("Beca")]);
    assert!(store.search("beca", None, 10).unwrap().is_empty(), "it is found once it ended");
    assert!(matches!(store.set_parts(&answer, &[]), Err(Error::StillWriting { .. })));
    store.append(&answer, &[Delta::text("use.")]).unwrap();
    let ending = Ending {
        stats: Some(json!({ "tokens": 3 })),
        view: Some(json!({ "used_tokens": 9 })),
        ..Ending::of(MessageState::Done)
    };
    store.finish_message(&answer, &ending).unwrap();
    let done = store.message(&answer).unwrap().unwrap();
    assert_eq!(done.parts, [reasoned, Part::text("Because.")]);
    assert_eq!((done.state, done.stats), (MessageState::Done, ending.stats.clone()));
    assert_eq!(done.settings, new.settings);
    assert_eq!(store.conversation(&id).unwrap().unwrap().view, ending.view);
    assert_eq!(store.search("beca", None, 10).unwrap().len(), 1);
    let late = store.append(&answer, &[Delta::text("x")]);
    assert!(matches!(late, Err(Error::NotWriting { .. })), "{late:?}");
    assert!(store.finish_message(&answer, &ending).is_err());
    store.set_parts(&answer, &[Part::text("Edited.")]).unwrap();
    assert!(store.search("because", None, 10).unwrap().is_empty());
    assert_eq!(store.search("edited", None, 10).unwrap().len(), 1);
}

#[test]
fn an_answer_that_failed_keeps_its_code() {
    let (_folder, store) = store();
    let id = conversation(&store);
    let answer = store.begin_message(&NewMessage::empty(&id, None, Role::Assistant)).unwrap();
    store.append(&answer, &[Delta::text("half")]).unwrap();
    let error = json!({ "code": "model-damaged", "args": { "name": "m" } });
    let ending = Ending { error: Some(error.clone()), ..Ending::of(MessageState::Failed) };
    store.finish_message(&answer, &ending).unwrap();
    let message = store.message(&answer).unwrap().unwrap();
    assert_eq!((message.state, text(&message).as_str()), (MessageState::Failed, "half"));
    assert_eq!(message.error, Some(error));
}

#[test]
fn an_answer_that_another_process_writes_is_let_alone() {
    let (folder, store) = store();
    let id = conversation(&store);
    let answer = store.begin_message(&NewMessage::empty(&id, None, Role::Assistant)).unwrap();
    store.append(&answer, &[Delta::text("one ")]).unwrap();
    // What a command line does while the app answers.
    let other = Store::open(folder.path()).unwrap();
    assert_eq!(other.message(&answer).unwrap().unwrap().state, MessageState::Writing);
    let second = other.begin_message(&NewMessage::empty(&id, None, Role::Assistant)).unwrap();
    store.append(&answer, &[Delta::text("two")]).unwrap();
    drop(store);
    let third = Store::open(folder.path()).unwrap();
    let stopped = third.message(&answer).unwrap().unwrap();
    assert_eq!((stopped.state, text(&stopped)), (MessageState::Stopped, "one two".to_owned()));
    assert_eq!(third.message(&second).unwrap().unwrap().state, MessageState::Writing);
    assert_eq!(third.search("two", None, 10).unwrap().len(), 1);
}

#[test]
fn drafts_belong_to_their_conversation_and_one_to_the_new_chat() {
    let (_folder, store) = store();
    let id = conversation(&store);
    store.set_draft(None, "new").unwrap();
    store.set_draft(Some(&id), "old").unwrap();
    store.set_draft(None, "newer").unwrap();
    let draft = |id| store.draft(id).unwrap().map(|draft| draft.text);
    assert_eq!((draft(None).as_deref(), draft(Some(&id)).as_deref()), (Some("newer"), Some("old")));
    store.set_draft(None, "").unwrap();
    assert_eq!(draft(None), None);
    store.delete_conversation(&id).unwrap();
    assert_eq!(draft(Some(&id)), None);
    assert!(matches!(store.set_draft(Some(&id), "x"), Err(Error::NoSuchConversation { .. })));
}

#[test]
fn conversations_are_listed_pinned_first_and_archived_apart() {
    let (_folder, store) = store();
    let ids: Vec<_> = (0..3).map(|_| conversation(&store)).collect();
    for id in &ids {
        say(&store, id, None, Role::User, "x");
    }
    let change = |id: &ConversationId, change| store.change_conversation(id, &change).unwrap();
    let title = ConversationChange {
        title: Some(Some("First".to_owned())),
        is_pinned: Some(true),
        overflow: Some(Some("summarise".to_owned())),
        settings: Some(Some(json!({ "a": 1 }))),
        ..ConversationChange::default()
    };
    change(&ids[0], title);
    change(&ids[1], ConversationChange { is_archived: Some(true), ..Default::default() });
    let shown = store.conversations(false).unwrap();
    assert_eq!(
        shown.iter().map(|it| it.id.clone()).collect::<Vec<_>>(),
        [ids[0].clone(), ids[2].clone()]
    );
    assert_eq!(shown[0].title.as_deref(), Some("First"));
    assert_eq!(shown[0].overflow.as_deref(), Some("summarise"));
    assert_eq!(store.conversations(true).unwrap().len(), 1);
    change(&ids[0], ConversationChange { title: Some(None), ..Default::default() });
    let first = store.conversation(&ids[0]).unwrap().unwrap();
    assert_eq!((first.title, first.settings), (None, Some(json!({ "a": 1 }))));
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids ascend");
}

#[test]
fn searches_find_words_in_any_case_and_say_where() {
    let (_folder, store) = store();
    let id = conversation(&store);
    let other = conversation(&store);
    let message = say(&store, &id, None, Role::User, "The Größe of <b>naïve</b> models");
    say(&store, &other, None, Role::User, "models again \"quoted\" AND more");
    say(&store, &id, None, Role::User, "重点是模型的大小");
    let hits = store.search("naive mod", None, 10).unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!((&hits[0].conversation, &hits[0].message), (&id, &message));
    let found: Vec<&str> =
        hits[0].matches.iter().map(|range| &hits[0].excerpt[range.clone()]).collect();
    assert_eq!(found, ["naïve", "models"], "plain text, and where the words are");
    assert!(hits[0].excerpt.contains("<b>"), "{hits:?}");
    assert_eq!(store.search("models", None, 10).unwrap().len(), 2);
    assert_eq!(store.search("models", Some(&other), 10).unwrap().len(), 1);
    assert_eq!(store.search("models", None, 1).unwrap().len(), 1);
    for odd in ["\"", "AND", "a AND", "(", "*", "-", "col:x", "NEAR(a b)", "^", "'; DROP", "\0"] {
        assert!(store.search(odd, None, 10).is_ok(), "{odd}");
    }
    let hits = store.search("模型", None, 10).unwrap();
    assert_eq!(&hits[0].excerpt[hits[0].matches[0].clone()], "模型");
    assert!(store.search("", None, 10).unwrap().is_empty());
}

#[test]
fn what_is_deleted_is_on_no_page_and_in_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (id, kept) = {
        let store = Store::open(folder.path()).unwrap();
        let (id, kept) = (conversation(&store), conversation(&store));
        let secret = "xylophonequartz ".repeat(2000);
        let first = say(&store, &id, None, Role::User, &secret);
        let answer = store.begin_message(&NewMessage::empty(&id, Some(&first), Role::Assistant));
        let answer = answer.unwrap();
        store.append(&answer, &[Delta::text("xylophonequartz, too")]).unwrap();
        store.finish_message(&answer, &Ending::of(MessageState::Done)).unwrap();
        store.set_draft(Some(&id), "xylophonequartz").unwrap();
        let branch = say(&store, &kept, None, Role::User, "stays");
        let leaves = say(&store, &kept, Some(&branch), Role::User, "xylophonequartz");
        store.delete_message(&leaves).unwrap();
        let session = store.session_path(&id);
        fs::create_dir_all(session.parent().unwrap()).unwrap();
        fs::write(session, "xylophonequartz").unwrap();
        (id, kept)
    };
    // The day's copy has it, too.
    for copy in fs::read_dir(folder.path().join("backups")).unwrap().flatten() {
        fs::remove_file(copy.path()).unwrap();
    }
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(files_with(&folder.path().join("backups"), "xylophonequartz").len(), 1);
    store.delete_conversation(&id).unwrap();
    assert_eq!(files_with(folder.path(), "xylophonequartz"), [] as [PathBuf; 0]);
    assert!(store.search("xylophonequartz", None, 10).unwrap().is_empty());
    assert_eq!(store.messages(&kept).unwrap().len(), 1);
    assert!(matches!(store.delete_conversation(&id), Err(Error::NoSuchConversation { .. })));
}

#[test]
fn what_another_connection_writes_changes_the_stamp() {
    let (folder, store) = store();
    let other = Store::open(folder.path()).unwrap();
    let before = other.change_stamp().unwrap();
    assert_eq!(other.change_stamp().unwrap(), before);
    store.set_draft(None, "x").unwrap();
    let after = other.change_stamp().unwrap();
    assert_ne!(after, before);
    other.set_draft(None, "y").unwrap();
    assert_ne!(other.change_stamp().unwrap(), after, "its own changes count as well");
}

#[test]
fn documents_of_a_draft_are_kept_with_their_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let id = store.create_conversation(&ConversationChange::default()).unwrap();
    let data = json!({ "name": "a.txt" });
    let first = store.add_draft_attachment(&id, "größe", &data).unwrap();
    let second = store.add_draft_attachment(&id, "two", &serde_json::Value::Null).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let attached = store.draft_attachments(&id).unwrap();
    assert_eq!(attached.iter().map(|it| &it.id).collect::<Vec<_>>(), [&first, &second]);
    assert_eq!((&attached[0].data, attached[0].text_bytes), (&data, 7));
    assert_eq!(store.draft_attachment_text(&first).unwrap().as_deref(), Some("größe"));
    store.set_draft_attachment_data(&second, &data).unwrap();
    store.remove_draft_attachments(&[first]).unwrap();
    let attached = store.draft_attachments(&id).unwrap();
    assert_eq!(attached.iter().map(|it| &it.data).collect::<Vec<_>>(), [&data]);
    let gone = ConversationId::from("x");
    assert!(matches!(
        store.add_draft_attachment(&gone, "", &data),
        Err(Error::NoSuchConversation { .. })
    ));
    store.delete_conversation(&id).unwrap();
    assert!(store.draft_attachments(&id).unwrap().is_empty());
}
