//! Atomic writes, files that must not be replaced, and many writers competing for one name.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lilims_files::{
    AtomicFile, AtomicFileOptions, Error, check_replaceable, create_at_free_name, create_new,
    numbered_name, rename_no_replace, rename_replacing, rename_to_free_name, write_atomic,
};

fn write(path: &Path, text: &str) -> Result<(), Error> {
    write_atomic(path, |file| file.write_all(text.as_bytes()))
}

/// The sorted file names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a12_does_not_replace_devices_pipes_sockets_or_folders() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = folder.path().join("link");
    symlink("/dev/null", &link).unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let null = PathBuf::from("/dev/null");
    for path in [&fifo, &socket, &link, &inner, &null] {
        let error = write(path, "text").unwrap_err();
        assert!(matches!(error, Error::NotReplaceable { .. }), "{path:?}: {error}");
        assert!(check_replaceable(path).is_err());
    }
    assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names(folder.path()), ["fifo", "inner", "link", "socket"]);
}

#[test]
fn a12_does_not_replace_a_folder_created_before_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let replacement = AtomicFile::new(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(replacement.commit(), Err(Error::NotReplaceable { .. })));
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn a12_writes_through_links() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("sub/file"), "old").unwrap();
    symlink("sub/file", at("link")).unwrap();
    symlink("sub/new", at("to-new")).unwrap();
    symlink("ring", at("ring")).unwrap();
    write(&at("link"), "new").unwrap();
    write(&at("to-new"), "made").unwrap();
    assert!(write(&at("ring"), "never").is_err());
    assert_eq!(fs::read_to_string(at("sub/file")).unwrap(), "new");
    assert_eq!(fs::read_to_string(at("sub/new")).unwrap(), "made");
    for link in ["link", "to-new", "ring"] {
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
    }
}

#[test]
fn failed_write_keeps_the_old_file_and_leaves_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path, "old").unwrap();
    let failed = write_atomic(&path, |file| {
        file.write_all(b"half")?;
        Err(std::io::Error::other("no more"))
    });
    assert!(failed.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn replaced_file_keeps_its_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    write(&path, "new").unwrap();
    assert_eq!(mode(&path), 0o640);
    let private = folder.path().join("private");
    let options = AtomicFileOptions { is_private: true, ..AtomicFileOptions::default() };
    AtomicFile::with_options(&private, options).unwrap().commit().unwrap();
    assert_eq!(mode(&private), 0o600);
    let plain = folder.path().join("plain");
    write(&plain, "").unwrap();
    let usual = folder.path().join("usual");
    fs::write(&usual, "").unwrap();
    assert_eq!(mode(&plain), mode(&usual));
}

#[test]
fn names_in_use_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("mine"), "mine").unwrap();
    fs::write(at("wanted"), "theirs").unwrap();
    symlink("gone", at("dangling")).unwrap();
    for taken in ["wanted", "dangling"] {
        assert!(rename_no_replace(&at("mine"), &at(taken)).unwrap_err().is_exists(), "{taken}");
        assert!(create_new(&at(taken)).unwrap_err().is_exists(), "{taken}");
    }
    assert!(AtomicFile::new(&at("wanted")).unwrap().commit_new().unwrap_err().is_exists());
    assert_eq!(fs::read_to_string(at("wanted")).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(at("mine")).unwrap(), "mine");
    rename_no_replace(&at("mine"), &at("free")).unwrap();
    assert_eq!(names(folder.path()), ["dangling", "free", "wanted"]);
    assert!(rename_no_replace(&at("absent"), &at("other")).unwrap_err().is_not_found());
}

#[test]
fn rename_replacing_replaces_regular_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("old"), "old").unwrap();
    fs::write(at("temp"), "new").unwrap();
    assert!(rename_replacing(&at("temp"), &at("folder")).is_err());
    assert_eq!(fs::read_to_string(at("temp")).unwrap(), "new");
    rename_replacing(&at("temp"), &at("old")).unwrap();
    assert_eq!(fs::read_to_string(at("old")).unwrap(), "new");
    assert!(!at("temp").exists());
    assert!(rename_replacing(&at("temp"), &at("old")).unwrap_err().is_not_found());
}

#[test]
fn numbered_names_keep_their_extension() {
    let numbered_name = |name, n| numbered_name(Path::new(name), n).to_str().unwrap().to_owned();
    assert_eq!(numbered_name("m/a.gguf", 1), "m/a.gguf");
    assert_eq!(numbered_name("m/a.gguf", 2), "m/a-2.gguf");
    assert_eq!(numbered_name("a", 3), "a-3");
}

const N_RIVALS: usize = 8;
const N_FILES: usize = 20;

/// Publishes `N_FILES` files, all under the same wanted name.
fn compete(folder: &Path, rival: usize) {
    for idx in 0..N_FILES {
        let text = format!("{rival}/{idx}");
        let temp = folder.join(format!(".part-{rival}-{idx}"));
        fs::write(&temp, &text).unwrap();
        let path = rename_to_free_name(&temp, &folder.join("model.gguf")).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
}

/// Checks that each file of each rival exists exactly once, and no other files.
fn check_competition(folder: &Path) {
    let names = names(folder);
    let texts: BTreeSet<String> =
        names.iter().map(|name| fs::read_to_string(folder.join(name)).unwrap()).collect();
    assert_eq!(names.len(), N_RIVALS * N_FILES);
    assert_eq!(texts.len(), N_RIVALS * N_FILES);
}

#[test]
fn l1_threads_competing_for_one_name_get_different_names() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for rival in 0..N_RIVALS {
            let folder = folder.path();
            scope.spawn(move || compete(folder, rival));
        }
    });
    check_competition(folder.path());
    let (path, _file) = create_at_free_name(&folder.path().join("model.gguf")).unwrap();
    assert!(path.ends_with(format!("model-{}.gguf", N_RIVALS * N_FILES + 1)));
}

#[test]
fn l1_processes_competing_for_one_name_get_different_names() {
    const CHILD: &str = "LILIMS_FILES_RIVAL";
    if let Ok(rival) = std::env::var(CHILD) {
        let (folder, rival) = rival.split_once('|').unwrap();
        return compete(Path::new(folder), rival.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..N_RIVALS)
        .map(|rival| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "l1_processes_competing_for_one_name_get_different_names"])
                .env(CHILD, format!("{}|{rival}", folder.path().display()))
                // The child's test summary would look like one of ours.
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    check_competition(folder.path());
}
