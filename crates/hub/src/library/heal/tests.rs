//! Indexes that are damaged, gone, foreign, of another version, or elsewhere.

use std::fs;
use std::sync::atomic::AtomicBool;

use lilims_gguf::{TensorType, Writer};
use rusqlite::Connection;

use super::*;
use crate::library::Entry;

fn write_model(path: &Path, fill: u8) {
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama");
    writer.tensor("token_embd.weight", &[32], TensorType::F32, vec![fill; 128]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    writer.write(fs::File::create(path).unwrap()).unwrap();
}

/// A home with a library of three models: one imported and pinned, one of a repository, one in place.
fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("models");
    write_model(&home.path().join("theirs/t.gguf"), 1);
    write_model(&home.path().join("m-Q4_0.gguf"), 2);
    write_model(&root.join("owner/name/r.gguf"), 3);
    let library = Library::open(&root).unwrap();
    assert_eq!(library.rebuilt().map(|it| it.n_models), Some(1), "what lies there is taken in");
    library.add_in_place(&home.path().join("theirs/t.gguf"), "Ollama").unwrap();
    let imported = library.import(&home.path().join("m-Q4_0.gguf")).unwrap();
    library.pin(&imported.name, true).unwrap();
    library.set_text("model", Some("kept")).unwrap();
    (home, root)
}

fn names(library: &Library) -> Vec<String> {
    let mut names: Vec<_> = library.entries().unwrap().into_iter().map(|it| it.name).collect();
    names.sort();
    names
}

#[test]
fn l10_a_damaged_index_is_put_aside_and_made_anew_from_the_files() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 6] = [
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
        ("without its tables", |path| {
            Connection::open(path).unwrap().execute_batch("DROP TABLE models").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (_home, root) = home();
        let path = root.join("library.sqlite");
        // All of it in the one file.
        let pragma = "PRAGMA wal_checkpoint(TRUNCATE)";
        Connection::open(&path).unwrap().query_row(pragma, [], |_| Ok(())).unwrap();
        damage(&path);
        let damaged = fs::read(&path).unwrap();
        let library = Library::open(&root).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let rebuilt = library.rebuilt().unwrap_or_else(|| panic!("{what}: it is said"));
        let aside = rebuilt.put_aside.clone().unwrap();
        assert!(aside.starts_with(&root), "{what}: {}", aside.display());
        if what != "without its tables" && what != "another program's" {
            assert_eq!(fs::read(&aside).unwrap(), damaged, "{what}: nothing is lost");
        }
        let names = names(&library);
        for name in ["m-q4_0", "r"] {
            assert!(names.iter().any(|it| it == name), "{what}: {name} in {names:?}");
        }
        let found = library.entry_of("owner/name", "r.gguf").unwrap();
        assert_eq!(found.map(|it| it.name).as_deref(), Some("r"), "{what}");
        assert!(rebuilt.to_string().contains("was damaged"), "{rebuilt}");
        drop(library);
        assert_eq!(Library::open(&root).unwrap().rebuilt(), None, "{what}: said once");
    }
}

#[test]
fn l10_what_can_be_read_of_a_damaged_index_is_taken_over() {
    let (_home, root) = home();
    let path = root.join("library.sqlite");
    {
        // One table is gone, the others are readable.
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("DROP TABLE peaks").unwrap();
    }
    let library = Library::open(&root).unwrap();
    assert_eq!(names(&library), ["m-q4_0", "r", "t"]);
    assert!(library.entry("m-q4_0").unwrap().is_pinned);
    assert_eq!(library.entry("t").unwrap().owner.as_deref(), Some("Ollama"));
    assert_eq!(library.text("model").unwrap().as_deref(), Some("kept"));
}

#[test]
fn l10_an_empty_index_is_filled_and_a_later_one_refused() {
    let (_home, root) = home();
    let path = root.join("library.sqlite");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(with_suffix(&path, suffix));
    }
    fs::write(&path, "").unwrap();
    let library = Library::open(&root).unwrap();
    assert_eq!(names(&library), ["m-q4_0", "r"]);
    assert_eq!(library.rebuilt().unwrap().put_aside, None);
    library.index().pragma_update(None, "user_version", 99).unwrap();
    drop(library);
    let error = Library::open(&root).err().unwrap();
    assert!(matches!(error, Error::IndexVersion { version: 99, .. }), "{error:?}");
    assert!(
        fs::read_dir(&root)
            .unwrap()
            .flatten()
            .all(|it| { !it.file_name().to_string_lossy().contains("damaged") })
    );
}

#[test]
fn l10_a_damaged_index_that_another_process_uses_is_not_taken_from_it() {
    let (_home, root) = home();
    let folder = Folder::open(root.clone()).unwrap();
    let locks = Locks::open(folder.locks()).unwrap();
    let alone = locks.try_exclusive(LOCK).unwrap().unwrap();
    assert!(locks.shared_within(LOCK, Duration::from_millis(30)).unwrap().is_none());
    drop(alone);
    let user = Library::open(&root).unwrap();
    assert!(locks.exclusive_within(LOCK, Duration::from_millis(30)).unwrap().is_none());
    drop(user);
    assert!(locks.try_exclusive(LOCK).unwrap().is_some());
}

#[test]
fn l11_a_folder_that_moves_keeps_its_models_and_pins() {
    let (home, root) = home();
    let moved = home.path().join("elsewhere/data/models");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(&root, &moved).unwrap();
    let library = Library::open(&moved).unwrap();
    assert_eq!(names(&library), ["m-q4_0", "r", "t"]);
    let entry = library.entry("m-q4_0").unwrap();
    assert!(entry.is_pinned && entry.path.starts_with(&moved) && entry.path.is_file());
    assert_eq!(entry.owner, None);
    // A scan finds nothing new there.
    assert_eq!(library.scan_ours().unwrap(), [""; 0]);
    let cancel = AtomicBool::new(false);
    assert!(library.verify("m-q4_0", &cancel, &mut |_| ()).is_ok());
}

/// Turns an index into one of version 1, which stored all paths whole, below `root`.
fn as_version_1(index: &Path, root: &Path) {
    let connection = Connection::open(index).unwrap();
    let mut rows = connection.prepare("SELECT id, path FROM models").unwrap();
    let rows: Vec<(i64, String)> = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (id, path) in rows {
        let whole = root.join(path).to_string_lossy().into_owned();
        let sql = "UPDATE models SET path = ?2 WHERE id = ?1";
        connection.execute(sql, rusqlite::params![id, whole]).unwrap();
    }
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection.pragma_update(None, "application_id", 0).unwrap();
}

#[test]
fn l11_whole_paths_of_an_earlier_version_become_relative() {
    for is_moved_before in [false, true] {
        let (home, mut root) = home();
        as_version_1(&root.join("library.sqlite"), &root);
        if is_moved_before {
            let moved = home.path().join("new");
            fs::rename(&root, &moved).unwrap();
            root = moved;
        }
        let library = Library::open(&root).unwrap();
        assert_eq!(library.rebuilt(), None);
        assert_eq!(names(&library), ["m-q4_0", "r", "t"]);
        let entry = library.entry("m-q4_0").unwrap();
        assert!(entry.is_pinned && entry.path.is_file() && entry.owner.is_none(), "{entry:?}");
        let stored: String = library
            .index()
            .query_row("SELECT path FROM models WHERE name = 'm-q4_0'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(stored, "imported/m-Q4_0.gguf");
        let theirs = library.entry("t").unwrap();
        assert_eq!(theirs.path, home.path().join("theirs/t.gguf"));
    }
}

#[test]
fn l11_a_bundled_model_that_moves_keeps_its_pin_and_name() {
    let (home, root) = home();
    let library = Library::open(&root).unwrap();
    let (old, new) = (home.path().join("app-1/b.gguf"), home.path().join("app-2/b.gguf"));
    write_model(&old, 9);
    let entry = library.add_bundled(&old).unwrap();
    library.pin(&entry.name, true).unwrap();
    fs::create_dir_all(new.parent().unwrap()).unwrap();
    fs::rename(&old, &new).unwrap();
    let moved = library.add_bundled(&new).unwrap();
    assert_eq!((moved.name, moved.is_pinned, &moved.path), (entry.name, true, &new));
    assert_eq!(library.entries().unwrap().iter().filter(|it| it.is_bundled()).count(), 1);
    // One that lies in our folder stays as well.
    let inside = root.join("c.gguf");
    write_model(&inside, 8);
    library.scan_ours().unwrap();
    let entry = library.add_bundled(&inside).unwrap();
    assert!(entry.is_bundled(), "{entry:?}");
    library.remove(&entry.name).unwrap();
    assert!(inside.exists());
}

#[cfg(unix)]
#[test]
fn l17_paths_that_are_not_text_are_kept_as_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use lilims_models::scan::{Environment, Owner};

    let (home, root) = home();
    let library = Library::open(&root).unwrap();
    let folder = home.path().join(OsStr::from_bytes(b"f\xffolder"));
    let path = folder.join(OsStr::from_bytes(b"odd\xfe.gguf"));
    write_model(&path, 5);
    let scanned = library.scan_folder(&folder).unwrap();
    assert_eq!(scanned.added.len(), 1, "{scanned:?}");
    let entry = library.entry(&scanned.added[0]).unwrap();
    assert!(entry.path == path && entry.path.is_file(), "list and scan agree");
    assert_eq!(entry.owner, Some(Owner::Folder.to_string()));
    let environment = Environment {
        home: None,
        system_root: home.path().join("none"),
        variables: std::collections::HashMap::new(),
    };
    let again = library.scan(&environment).unwrap();
    assert_eq!((again.added.len(), again.known, again.gone.len()), (0, 1, 0), "{again:?}");
    assert_eq!(library.entry_at(&path).unwrap().map(|it| it.name), Some(entry.name));
    // Our own folder may have such a name, too.
    let odd_root = folder.join("models");
    let odd = Library::open(&odd_root).unwrap();
    let imported = odd.import(&path).unwrap();
    assert!(imported.path.is_file() && odd.entry(&imported.name).unwrap().path.is_file());
    let known: Vec<Entry> = odd.entries().unwrap();
    assert!(known.iter().all(|it| it.path.is_file()), "{known:?}");
}
