//! Libraries whose database is damaged, missing or of another version, and moved folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lilims_gguf::{TensorType, Writer};

use super::*;

fn write_model(path: &Path, fill: u8) {
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama");
    writer.tensor("token_embd.weight", &[32], TensorType::F32, vec![fill; 128]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    writer.write(fs::File::create(path).unwrap()).unwrap();
}

/// A folder with a library of three models: one imported and pinned, one of a repository, one in place.
fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("models");
    write_model(&home.path().join("theirs/t.gguf"), 1);
    write_model(&home.path().join("m-Q4_0.gguf"), 2);
    write_model(&root.join("owner/name/r.gguf"), 3);
    let library = Library::open(&root).unwrap();
    assert_eq!(
        library.rebuilt().map(|it| it.n_models),
        Some(1),
        "the model in the folder is added"
    );
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
fn l10_damaged_database_is_restored_or_rebuilt_from_the_files() {
    for has_copy in [false, true] {
        let (_home, root) = home();
        let path = lilims_store::database_path(&root);
        if !has_copy {
            fs::remove_dir_all(root.join("backups")).unwrap();
        }
        let damaged = "no database at all, ".repeat(500);
        fs::write(&path, &damaged).unwrap();
        let library = Library::open(&root).unwrap();
        let rebuilt = library.rebuilt().expect("the restoration is reported");
        let aside = rebuilt.put_aside.clone().unwrap();
        assert_eq!(fs::read_to_string(&aside).unwrap(), damaged, "nothing is lost");
        assert_eq!(rebuilt.from_copy_of_ms.is_some(), has_copy);
        let names = names(&library);
        assert!(
            names.contains(&"m-q4_0".to_owned()) && names.contains(&"r".to_owned()),
            "{names:?}"
        );
        let found = library.entry_of("owner/name", "r.gguf").unwrap();
        assert_eq!(found.map(|it| it.name).as_deref(), Some("r"));
        assert!(rebuilt.damage.is_some(), "{rebuilt:?}");
        drop(library);
        assert_eq!(Library::open(&root).unwrap().rebuilt(), None, "reported once");
    }
}

#[test]
fn l10_missing_database_is_rebuilt_and_newer_one_rejected() {
    let (_home, root) = home();
    fs::remove_dir_all(root.join("backups")).unwrap();
    let path = lilims_store::database_path(&root);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
    let library = Library::open(&root).unwrap();
    assert_eq!(names(&library), ["m-q4_0", "r"]);
    assert_eq!(library.rebuilt().unwrap().put_aside, None);
    drop(library);
    // `user_version` is the four bytes from 60 on.
    let mut bytes = fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let error = Library::open(&root).err().unwrap();
    assert!(matches!(error, Error::NewerDatabase { version: 99, .. }), "{error:?}");
}

#[test]
fn l10_damaged_index_of_an_earlier_version_is_reported_and_rebuilt() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("models");
    write_model(&root.join("owner/name/r.gguf"), 3);
    fs::write(root.join("library.sqlite"), "no database".repeat(500)).unwrap();
    let library = Library::open_in(home.path()).unwrap();
    assert_eq!(names(&library), ["r"]);
    let rebuilt = library.rebuilt().unwrap();
    assert!(rebuilt.damage.is_some() && rebuilt.put_aside.as_ref().unwrap().is_file());
    assert!(!root.join("library.sqlite").exists());
}

#[test]
fn l11_moved_folder_keeps_models_and_pins() {
    let (home, root) = home();
    let moved = home.path().join("elsewhere/data/models");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(&root, &moved).unwrap();
    let library = Library::open(&moved).unwrap();
    assert_eq!(names(&library), ["m-q4_0", "r", "t"]);
    let entry = library.entry("m-q4_0").unwrap();
    assert!(entry.is_pinned && entry.path.starts_with(&moved) && entry.path.is_file());
    assert_eq!(entry.owner, None);
    // A scan finds nothing new.
    assert_eq!(library.scan_own_folder().unwrap(), [""; 0]);
    let cancel = AtomicBool::new(false);
    assert!(library.verify("m-q4_0", &cancel, &mut |_| ()).is_ok());
}

#[test]
fn l11_moved_bundled_model_keeps_pin_and_name() {
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
    // One in our folder is not removed either.
    let inside = root.join("c.gguf");
    write_model(&inside, 8);
    library.scan_own_folder().unwrap();
    let entry = library.add_bundled(&inside).unwrap();
    assert!(entry.is_bundled(), "{entry:?}");
    library.remove(&entry.name).unwrap();
    assert!(inside.exists());
}

#[cfg(unix)]
#[test]
fn l17_paths_that_are_not_utf8_are_stored_as_bytes() {
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
    // The library's folder may have such a name, too.
    let odd_root = folder.join("models");
    let odd = Library::open(&odd_root).unwrap();
    let imported = odd.import(&path).unwrap();
    assert!(imported.path.is_file() && odd.entry(&imported.name).unwrap().path.is_file());
    let known: Vec<Entry> = odd.entries().unwrap();
    assert!(known.iter().all(|it| it.path.is_file()), "{known:?}");
}
