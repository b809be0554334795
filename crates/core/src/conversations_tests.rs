//! Conversations of earlier versions, and what is left of deleted ones.

use super::*;

#[test]
fn sessions_of_deleted_conversations_are_removed_at_the_start() {
    let database = Database::temporary(None).unwrap();
    let store = database.store.clone();
    let id = store.create_conversation(&ConversationChange::default()).unwrap();
    let (kept, orphan) =
        (store.session_path(&id), store.session_path(&ConversationId::from(&*"a".repeat(32))));
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    let other = kept.with_file_name("notes.session");
    for path in [&kept, &orphan, &other] {
        std::fs::write(path, "read").unwrap();
    }
    let conversations = Conversations::new(Arc::new(|_| {}));
    conversations.provide(Ok(database));
    assert!(kept.exists() && other.exists() && !orphan.exists());
}

#[test]
fn the_conversation_of_an_earlier_version_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("conversations");
    std::fs::create_dir(&old).unwrap();
    let json = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b",
        "reasoning":{"text":"c","elapsed_ms":7}},{"role":"user","content":"d"}],"overflow":"stop",
        "view":{"context_tokens":9,"first_message":1}}"#;
    std::fs::write(old.join("current.json"), json).unwrap();
    let store = std::sync::Arc::new(Store::open(folder.path()).unwrap());
    let mut database = Database::temporary(None).unwrap();
    database.store = store;
    let conversations = Conversations::new(Arc::new(|_| {}));
    conversations.provide(Ok(database));
    let current = conversations.open(None, None).unwrap();
    assert_eq!(current.overflow, Overflow::Stop);
    assert_eq!(current.view.unwrap().context_tokens, 9);
    let contents: Vec<&str> = current.messages.iter().map(|it| it.content.as_str()).collect();
    assert_eq!(contents, ["a", "b", "d"]);
    let reasoning = current.messages[1].reasoning.as_ref().unwrap();
    assert_eq!((reasoning.text.as_str(), reasoning.elapsed_ms), ("c", Some(7)));
}

#[test]
fn why_nothing_is_saved_is_shown() {
    let conversations = Conversations::new(Arc::new(|_| {}));
    let error = Error::from(Problem::StoreDamaged);
    conversations.provide(Database::temporary(Some(error.clone())));
    assert_eq!(conversations.open(None, None).unwrap().unsaved, Some(error));
}
