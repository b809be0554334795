//! Databases that are new, damaged, gone, foreign, of another version, or open elsewhere; copies.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::fs;
use std::path::{Path, PathBuf};

use lilims_store::{
    ConversationChange, Error, Model, NewMessage, Role, Source, Store, database_path,
};
use rusqlite::Connection;

fn backups(data: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = match fs::read_dir(data.join("backups")) {
        Ok(files) => files.flatten().map(|file| file.path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    files
}

fn model(name: &str) -> Model {
    Model {
        name: name.to_owned(),
        title: name.to_owned(),
        path: format!("imported/{name}.gguf").into(),
        size_bytes: 7,
        added_ms: 1,
        ..Model::default()
    }
}

/// A data folder with a conversation and a model. Its copy has the first message and not the second.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(store.is_new() && store.copy_error().is_none());
    let id = store.create_conversation(&ConversationChange::default()).unwrap();
    let first = NewMessage::text(&id, None, Role::User, "copied");
    let first = store.add_message(&first).unwrap();
    store.put_model(&mut model("m")).unwrap();
    store.set("theme", &"dark".to_owned()).unwrap();
    drop(store);
    // The copy of the first opening is empty.
    backups(folder.path()).iter().for_each(|copy| fs::remove_file(copy).unwrap());
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(backups(folder.path()).len(), 1);
    let second = NewMessage::text(&id, Some(&first), Role::Assistant, "afterwards");
    store.add_message(&second).unwrap();
    store.put_model(&mut model("n")).unwrap();
    drop(store);
    folder
}

/// All of the database in its one file.
fn checkpoint(data: &Path) {
    let connection = Connection::open(database_path(data)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn texts(store: &Store) -> Vec<String> {
    let mut texts = Vec::new();
    for conversation in store.conversations(false).unwrap() {
        for message in store.messages(&conversation.id).unwrap() {
            texts.extend(message.parts.into_iter().map(|part| part.text));
        }
    }
    texts
}

fn model_names(store: &Store) -> Vec<String> {
    let mut names: Vec<_> = store.models().unwrap().into_iter().map(|it| it.name).collect();
    names.sort();
    names
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 6] = [
    ("text", |path| fs::write(path, "no database at all, ".repeat(500)).unwrap()),
    ("zeros", |path| fs::write(path, vec![0; 40_960]).unwrap()),
    ("truncated", |path| {
        fs::File::options().write(true).open(path).unwrap().set_len(5000).unwrap();
    }),
    ("a page", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[4096..8192].fill(0xa5);
        fs::write(path, bytes).unwrap();
    }),
    ("another program's", |path| {
        let other = Connection::open(path).unwrap();
        other.pragma_update(None, "application_id", 7).unwrap();
    }),
    ("without a table", |path| {
        Connection::open(path).unwrap().execute_batch("DROP TABLE peaks").unwrap();
    }),
];

#[test]
fn a_damaged_database_is_put_aside_and_restored_from_the_copy() {
    for (what, damage) in DAMAGES {
        let folder = data();
        let path = database_path(folder.path());
        checkpoint(folder.path());
        damage(&path);
        let damaged = fs::read(&path).unwrap();
        let store = Store::open(folder.path()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let restored = store.restored().unwrap_or_else(|| panic!("{what}: it is said")).clone();
        assert!(restored.damage.is_some(), "{what}");
        assert!(restored.from_copy_of_ms.is_some(), "{what}: {restored:?}");
        let aside = restored.put_aside.clone().unwrap();
        assert_eq!(fs::read(&aside).unwrap(), damaged, "{what}: the damaged file is kept");
        assert!(texts(&store).contains(&"copied".to_owned()), "{what}: {:?}", texts(&store));
        assert!(model_names(&store).contains(&"m".to_owned()), "{what}");
        if what == "without a table" {
            // What was written after the copy can still be read.
            assert_eq!(texts(&store), ["copied", "afterwards"]);
            assert_eq!(model_names(&store), ["m", "n"]);
            assert_eq!((restored.salvaged.n_messages, restored.salvaged.n_models), (1, 1));
            assert_eq!(store.search("afterwards", None, 9).unwrap().len(), 1);
        }
        assert_eq!(store.get::<String>("theme").unwrap().as_deref(), Some("dark"));
        assert!(!store.is_new());
        drop(store);
        assert_eq!(Store::open(folder.path()).unwrap().restored(), None, "{what}: said once");
    }
}

#[test]
fn without_a_copy_what_can_be_read_is_taken_over() {
    for (what, damage) in DAMAGES {
        let folder = data();
        fs::remove_dir_all(folder.path().join("backups")).unwrap();
        checkpoint(folder.path());
        damage(&database_path(folder.path()));
        let store = Store::open(folder.path()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let restored = store.restored().unwrap_or_else(|| panic!("{what}: it is said"));
        assert!(restored.put_aside.as_ref().unwrap().is_file(), "{what}");
        assert_eq!(restored.from_copy_of_ms, None, "{what}");
        if matches!(what, "without a table" | "another program's") {
            assert_eq!(texts(&store), ["copied", "afterwards"], "{what}");
            assert_eq!(restored.salvaged.n_messages, 2, "{what}");
        }
        store.put_model(&mut model("new")).unwrap();
    }
}

#[test]
fn a_damaged_copy_gives_way_to_an_earlier_one() {
    let folder = data();
    let copy = backups(folder.path()).remove(0);
    let earlier = copy.with_file_name("lilims-2020-01-02-030405.sqlite");
    fs::copy(&copy, &earlier).unwrap();
    fs::write(&copy, "no copy").unwrap();
    fs::write(database_path(folder.path()), "no database".repeat(1000)).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let restored = store.restored().unwrap();
    assert_eq!(restored.from_copy_of_ms, Some(1_577_934_245_000));
    assert_eq!(texts(&store), ["copied"]);
}

#[test]
fn a_database_that_is_gone_comes_back_from_its_copy() {
    for is_empty in [false, true] {
        let folder = data();
        checkpoint(folder.path());
        let path = database_path(folder.path());
        fs::remove_file(&path).unwrap();
        if is_empty {
            fs::write(&path, "").unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        let restored = store.restored().unwrap();
        assert_eq!((&restored.damage, &restored.put_aside), (&None, &None));
        assert!(restored.from_copy_of_ms.is_some());
        assert_eq!(texts(&store), ["copied"]);
    }
}

#[test]
fn a_later_version_is_refused_and_nothing_is_written() {
    let folder = data();
    let path = database_path(folder.path());
    {
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
    }
    checkpoint(folder.path());
    let before = (fs::read(&path).unwrap(), backups(folder.path()));
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NewerVersion { found: 99, known: 3.. }), "{error:?}");
    assert_eq!((fs::read(&path).unwrap(), backups(folder.path())), before);
}

#[test]
fn a_damaged_database_that_is_in_use_is_not_taken_away() {
    let folder = data();
    let user = Store::open(folder.path()).unwrap();
    checkpoint(folder.path());
    let path = database_path(folder.path());
    let good = fs::read(&path).unwrap();
    fs::write(&path, "no database".repeat(1000)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::DamagedInUse), "{error:?}");
    fs::write(&path, good).unwrap();
    drop(user);
    assert_eq!(Store::open(folder.path()).unwrap().restored(), None);
}

#[test]
fn there_is_one_copy_a_day_and_three_stay() {
    let folder = data();
    let copies = folder.path().join("backups");
    let first = backups(folder.path()).remove(0);
    drop(Store::open(folder.path()).unwrap());
    assert_eq!(backups(folder.path()), std::slice::from_ref(&first), "one a day");
    for day in 1..=4 {
        fs::copy(&first, copies.join(format!("lilims-2020-01-0{day}-000000.sqlite"))).unwrap();
    }
    fs::write(copies.join(".lilims-half"), "half").unwrap();
    fs::write(copies.join("mine.txt"), "mine").unwrap();
    fs::remove_file(&first).unwrap();
    drop(Store::open(folder.path()).unwrap());
    let names: Vec<String> = backups(folder.path())
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(names[..2], ["lilims-2020-01-03-000000.sqlite", "lilims-2020-01-04-000000.sqlite"]);
    assert_eq!(names[3], "mine.txt");
    let newest = Connection::open(&backups(folder.path())[2]).unwrap();
    let n: u32 = newest.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(n, 2);
}

#[cfg(unix)]
#[test]
fn the_database_and_its_copies_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = data();
    let store = Store::open(folder.path()).unwrap();
    store.put_model(&mut model("x")).unwrap();
    let files = [database_path(folder.path()), folder.path().join("lilims.sqlite-wal")];
    for path in files.into_iter().chain(backups(folder.path())) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn many_open_a_new_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let data = folder.path();
            scope.spawn(move || {
                let store = Store::open(data).unwrap();
                store.put_model(&mut model(&format!("m{n}"))).unwrap();
            });
        }
    });
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(model_names(&store).len(), 8);
}

#[test]
fn names_of_models_are_unique_and_pins_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut first = model("m");
    store.put_model(&mut first).unwrap();
    store.set_model_pinned("m", true).unwrap();
    let mut second = Model { path: "elsewhere/m.gguf".into(), ..model("m") };
    store.put_model(&mut second).unwrap();
    assert_ne!(second.name, "m");
    let mut again = Model { size_bytes: 9, name: "other".to_owned(), ..model("m") };
    store.put_model(&mut again).unwrap();
    assert_eq!((again.name.as_str(), again.is_pinned, again.size_bytes), ("m", true, 9));
    assert_eq!(store.models().unwrap().len(), 2);
    assert!(matches!(store.set_model_pinned("none", true), Err(Error::NoSuchModel { .. })));
}

#[test]
fn a_download_in_the_queue_is_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let source = Source {
        repository: "a/b".into(),
        file: "c.gguf".into(),
        revision: "main".into(),
        sha256: None,
    };
    let enqueue = || store.enqueue::<Error>(&source, |_, _| Ok(Default::default())).unwrap();
    let id = enqueue();
    assert!(store.begin_download(id).unwrap());
    assert!(store.note_download(id, r#"{"done_bytes":1}"#, &[1], &[]).unwrap());
    let failure = r#"{"code":"disk-full","args":{}}"#;
    store.fail_download(id, failure).unwrap();
    let row = store.download(id).unwrap().unwrap();
    assert_eq!(row.failure.as_deref(), Some(failure));
    assert!(!store.note_download(id, "{}", &[1], &[]).unwrap(), "it does not run any more");
    assert_eq!(enqueue(), id);
    assert_eq!(store.download(id).unwrap().unwrap().failure, None);
    let refused = store.enqueue(&source, |_, before| {
        assert!(before.is_some());
        Err(Error::Busy)
    });
    assert!(matches!(refused, Err(Error::Busy)));
    store.begin_download(id).unwrap();
    store.pause_download(id).unwrap();
    assert!(!store.begin_download(id).unwrap());
    store.finish_download(id, &mut model("c")).unwrap();
    assert_eq!(store.download(id).unwrap().unwrap().model.as_deref(), Some("c"));
    store.remove_download(id).unwrap();
    assert_ne!(enqueue(), id, "numbers name unfinished files and are not used again");
}
