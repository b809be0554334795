//! What earlier versions kept in other files is taken over; the fixtures were written by their code.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::fs;
use std::path::{Path, PathBuf};

use lilims_store::{
    DownloadState, Error, MessageState, Options, Part, PartKind, Role, Store, database_path,
};
use rusqlite::Connection;
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A data folder as an earlier version left it.
fn data(index: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (models, conversations) =
        (folder.path().join("models"), folder.path().join("conversations"));
    fs::create_dir_all(models.join("imported")).unwrap();
    fs::create_dir_all(models.join("owner/name")).unwrap();
    fs::create_dir_all(&conversations).unwrap();
    fs::write(models.join("imported/m-Q4_0.gguf"), "model").unwrap();
    fs::write(models.join("owner/name/r.gguf"), "model").unwrap();
    fs::copy(fixture(index), models.join("library.sqlite")).unwrap();
    fs::copy(fixture("current.json"), conversations.join("current.json")).unwrap();
    fs::write(conversations.join("current.json.session"), "session").unwrap();
    folder
}

fn kept(data: &Path, start: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(data.join("backups")).unwrap().flatten();
    files
        .filter(|file| file.file_name().to_string_lossy().starts_with(start))
        .map(|file| file.path())
        .collect()
}

fn check_library(store: &Store) {
    let models = store.models().unwrap();
    let paths: Vec<(&str, &Path)> =
        models.iter().map(|it| (it.name.as_str(), it.path.as_path())).collect();
    assert_eq!(
        paths,
        [
            ("m-q4_0", Path::new("imported/m-Q4_0.gguf")),
            ("r", Path::new("owner/name/r.gguf")),
            ("t", Path::new("/lilims-fixture/theirs/t.gguf")),
        ]
    );
    let [m, r, t] = &models[..] else { panic!("{models:?}") };
    assert!(m.is_pinned && m.owner.is_none() && m.licence.as_deref() == Some("apache-2.0"));
    assert_eq!((r.repository.as_deref(), r.digests.len()), (Some("owner/name"), 32));
    assert!(r.last_used_ms.is_some());
    assert_eq!(t.owner.as_deref(), Some("Ollama"));

    let downloads = store.downloads().unwrap();
    let [failed, paused] = &downloads[..] else { panic!("{downloads:?}") };
    assert_eq!((failed.id, failed.state), (2, DownloadState::Failed));
    let failure: Value = serde_json::from_str(failed.failure.as_deref().unwrap()).unwrap();
    assert_eq!(failure["code"], json!("unknown"));
    assert!(failure["detail"].as_str().unwrap().contains("too full"), "{failure}");
    let progress: Value = serde_json::from_str(&failed.progress).unwrap();
    assert_eq!(
        (&progress["total_bytes"], &progress["retrying"]),
        (&json!(10_000_000), &json!(null))
    );
    assert_eq!((failed.received.len(), failed.digests.len()), (1, 32));
    assert_eq!((paused.id, paused.state), (3, DownloadState::Paused));
    let source = lilims_store::Source { file: "new.gguf".into(), ..paused.source.clone() };
    let id = store.enqueue::<Error>(&source, |_, _| Ok(Default::default())).unwrap();
    assert_eq!(id, 5, "the number of a download that is gone is not used again");

    assert_eq!(store.get::<u64>("library.quota").unwrap(), Some(5_000_000_000));
    assert_eq!(store.get::<u64>("library.at_once").unwrap(), Some(3));
    assert_eq!(store.get::<u64>("library.bytes_per_second").unwrap(), Some(1_000_000));
    assert_eq!(store.get::<String>("model").unwrap().as_deref(), Some("m-q4_0"));
    assert_eq!(store.folders().unwrap(), [Path::new("/lilims-fixture/theirs")]);
    assert_eq!(store.peaks().unwrap()[0].measured_bytes, 210);
    let connections = store.connections(9).unwrap();
    assert_eq!(connections[1].end.outcome, "200");
    let outcome: Value = serde_json::from_str(&connections[0].end.outcome).unwrap();
    assert_eq!(outcome["code"], json!("unknown"));
}

fn check_conversation(store: &Store) {
    let conversations = store.conversations(false).unwrap();
    let [conversation] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(conversation.overflow.as_deref(), Some("summarise"));
    assert_eq!(conversation.view.as_ref().unwrap()["used_tokens"], json!(77));
    let branch = store.branch(conversation.current_leaf.as_ref().unwrap()).unwrap();
    let roles: Vec<Role> = branch.iter().map(|it| it.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User]);
    assert!(branch.iter().all(|it| it.state == MessageState::Done));
    assert_eq!(
        branch[2].parts,
        [
            Part {
                kind: PartKind::Reasoning,
                text: "Addition.".to_owned(),
                data: Some(json!({ "elapsed_ms": 1200 })),
            },
            Part::text("The answer is **4**."),
        ]
    );
    assert_eq!(store.search("grusse", None, 9).unwrap().len(), 0, "ß is a letter of its own");
    assert_eq!(store.search("grüße", None, 9).unwrap()[0].message, branch[3].id);
    let session = store.session_path(&conversation.id);
    assert_eq!(fs::read_to_string(session).unwrap(), "session");
}

#[test]
fn earlier_versions_are_taken_over_whole_and_kept() {
    for index in ["library-v1.sqlite", "library-v2.sqlite"] {
        let folder = data(index);
        let store = Store::open(folder.path()).unwrap();
        let imported = store.imported().unwrap();
        assert_eq!((imported.n_models, imported.n_downloads), (3, 2), "{index}");
        assert!(imported.conversation.is_some() && imported.library_damage.is_none());
        assert!(store.restored().is_none());
        check_library(&store);
        check_conversation(&store);
        assert!(!folder.path().join("models/library.sqlite").exists());
        assert!(!folder.path().join("conversations/current.json").exists());
        let library = kept(folder.path(), "library-");
        let old = Connection::open(&library[0]).unwrap();
        let n: u32 = old.query_row("SELECT count(*) FROM models", [], |row| row.get(0)).unwrap();
        assert_eq!((library.len(), n), (1, 3));
        let current = kept(folder.path(), "current-").remove(0);
        assert_eq!(fs::read(current).unwrap(), fs::read(fixture("current.json")).unwrap());
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.imported(), None, "once");
        assert_eq!(store.models().unwrap().len(), 3);
    }
}

#[test]
fn a_folder_that_moved_before_keeps_its_models() {
    let folder = data("library-v1.sqlite");
    let store = Store::open(folder.path()).unwrap();
    // The fixture's folder is nowhere: its files are known by the ends of their paths.
    let paths: Vec<PathBuf> = store.models().unwrap().into_iter().map(|it| it.path).collect();
    assert!(paths.contains(&"imported/m-Q4_0.gguf".into()), "{paths:?}");
}

#[test]
fn a_crash_between_the_transaction_and_the_move_takes_nothing_over_twice() {
    let folder = data("library-v2.sqlite");
    drop(Store::open(folder.path()).unwrap());
    // The state that such a crash leaves: both files are in their old places.
    for (start, place) in
        [("library-", "models/library.sqlite"), ("current-", "conversations/current.json")]
    {
        let kept = kept(folder.path(), start).remove(0);
        fs::rename(kept, folder.path().join(place)).unwrap();
    }
    let store = Store::open(folder.path()).unwrap();
    let imported = store.imported().unwrap();
    assert_eq!((imported.n_models, &imported.conversation), (0, &None));
    assert_eq!(store.conversations(false).unwrap().len(), 1);
    check_conversation(&store);
    assert_eq!(kept(folder.path(), "library-").len(), 1);
    assert!(!folder.path().join("models/library.sqlite").exists());
}

#[test]
fn the_conversation_waits_for_whoever_asks_for_it() {
    let folder = data("library-v2.sqlite");
    let options = Options { imports_conversation: false, ..Options::default() };
    let store = Store::open_with(folder.path(), options).unwrap();
    assert_eq!(store.models().unwrap().len(), 3);
    assert!(store.conversations(false).unwrap().is_empty());
    assert!(folder.path().join("conversations/current.json").exists());
    // Also while the first is open.
    let second = Store::open(folder.path()).unwrap();
    check_conversation(&second);
    assert_eq!(store.conversations(false).unwrap().len(), 1);
}

#[test]
fn a_deleted_conversation_leaves_the_file_that_it_came_from_as_well() {
    let folder = data("library-v2.sqlite");
    let store = Store::open(folder.path()).unwrap();
    let id = store.imported().unwrap().conversation.clone().unwrap();
    store.delete_conversation(&id).unwrap();
    assert!(kept(folder.path(), "current-").is_empty());
    assert!(!store.session_path(&id).exists());
    drop(store);
    assert!(Store::open(folder.path()).unwrap().conversations(false).unwrap().is_empty());
}

#[test]
fn a_damaged_conversation_is_put_aside_and_a_damaged_index_read_as_far_as_it_goes() {
    let folder = data("library-v2.sqlite");
    let index = folder.path().join("models/library.sqlite");
    Connection::open(&index).unwrap().execute_batch("DROP TABLE peaks").unwrap();
    fs::write(folder.path().join("conversations/current.json"), "{\"messages\":[").unwrap();
    let store = Store::open(folder.path()).unwrap();
    let aside = store.imported().unwrap().unreadable_conversation.clone().unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), "{\"messages\":[");
    assert_eq!(store.models().unwrap().len(), 3);
    drop(store);

    let folder = data("library-v2.sqlite");
    let index = folder.path().join("models/library.sqlite");
    let garbage = "no database".repeat(1000);
    fs::write(&index, &garbage).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(store.imported().unwrap().library_damage.is_some());
    assert!(store.models().unwrap().is_empty());
    check_conversation(&store);
    let kept = kept(folder.path(), "library-").remove(0);
    assert_eq!(fs::read_to_string(kept).unwrap(), garbage);
}

#[test]
fn an_index_of_a_later_version_is_refused_and_stays() {
    let folder = data("library-v2.sqlite");
    let index = folder.path().join("models/library.sqlite");
    Connection::open(&index).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NewerVersion { found: 3, known: 2 }), "{error:?}");
    assert!(index.is_file());
    let connection = Connection::open(database_path(folder.path())).unwrap();
    let n: u32 =
        connection.query_row("SELECT count(*) FROM conversations", [], |row| row.get(0)).unwrap();
    assert_eq!(n, 0, "nothing is taken over by halves");
}

#[test]
fn a_program_of_an_earlier_version_that_runs_keeps_its_index() {
    let folder = data("library-v2.sqlite");
    let locks = lilims_store::Locks::open(folder.path().join("models/.locks")).unwrap();
    let user = locks.try_shared("index").unwrap();
    let data = folder.path().to_owned();
    let opening = std::thread::spawn(move || Store::open(&data));
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(folder.path().join("models/library.sqlite").exists());
    drop(user);
    let store = opening.join().unwrap().unwrap();
    assert_eq!(store.models().unwrap().len(), 3);
}
