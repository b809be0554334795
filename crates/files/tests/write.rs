//! Writing: what is never replaced, what a reader sees meanwhile, and names that many want at once.

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
    Error, ReplaceOptions, Replacement, check_replaceable, create_free, create_new, numbered,
    publish_free, publish_new, replace,
};

fn write(path: &Path, text: &str) -> Result<(), Error> {
    replace(path, |file| file.write_all(text.as_bytes()))
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a12_devices_pipes_sockets_and_folders_are_not_replaced() {
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
fn a12_a_name_that_became_a_folder_meanwhile_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let replacement = Replacement::new(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(replacement.commit(), Err(Error::NotReplaceable { .. })));
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn a12_links_to_files_stay_links() {
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
fn what_fails_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path, "old").unwrap();
    let failed = replace(&path, |file| {
        file.write_all(b"half")?;
        Err(std::io::Error::other("no more"))
    });
    assert!(failed.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_replaced_file_keeps_who_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    write(&path, "new").unwrap();
    assert_eq!(mode(&path), 0o640);
    let private = folder.path().join("private");
    let options = ReplaceOptions { is_private: true, ..ReplaceOptions::default() };
    Replacement::with(&private, options).unwrap().commit().unwrap();
    assert_eq!(mode(&private), 0o600);
    let plain = folder.path().join("plain");
    write(&plain, "").unwrap();
    let usual = folder.path().join("usual");
    fs::write(&usual, "").unwrap();
    assert_eq!(mode(&plain), mode(&usual));
}

#[test]
fn a_taken_name_stays_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("mine"), "mine").unwrap();
    fs::write(at("wanted"), "theirs").unwrap();
    symlink("gone", at("dangling")).unwrap();
    for taken in ["wanted", "dangling"] {
        assert!(publish_new(&at("mine"), &at(taken)).unwrap_err().is_exists(), "{taken}");
        assert!(create_new(&at(taken)).unwrap_err().is_exists(), "{taken}");
    }
    assert!(Replacement::new(&at("wanted")).unwrap().commit_new().unwrap_err().is_exists());
    assert_eq!(fs::read_to_string(at("wanted")).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(at("mine")).unwrap(), "mine");
    publish_new(&at("mine"), &at("free")).unwrap();
    assert_eq!(names(folder.path()), ["dangling", "free", "wanted"]);
    assert!(publish_new(&at("absent"), &at("other")).unwrap_err().is_not_found());
}

#[test]
fn numbered_names_keep_their_extension() {
    let numbered = |name, n| numbered(Path::new(name), n).to_str().unwrap().to_owned();
    assert_eq!(numbered("m/a.gguf", 1), "m/a.gguf");
    assert_eq!(numbered("m/a.gguf", 2), "m/a-2.gguf");
    assert_eq!(numbered("a", 3), "a-3");
}

const N_RIVALS: usize = 8;
const N_FILES: usize = 20;

/// Publishes `N_FILES` files of its own under one wanted name.
fn compete(folder: &Path, rival: usize) {
    for idx in 0..N_FILES {
        let text = format!("{rival}/{idx}");
        let temp = folder.join(format!(".part-{rival}-{idx}"));
        fs::write(&temp, &text).unwrap();
        let path = publish_free(&temp, &folder.join("model.gguf")).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
}

/// All files of all rivals are there, each once, and nothing is left beside them.
fn check_competition(folder: &Path) {
    let names = names(folder);
    let texts: BTreeSet<String> =
        names.iter().map(|name| fs::read_to_string(folder.join(name)).unwrap()).collect();
    assert_eq!(names.len(), N_RIVALS * N_FILES);
    assert_eq!(texts.len(), N_RIVALS * N_FILES);
}

#[test]
fn l1_threads_that_want_one_name_get_a_name_each() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for rival in 0..N_RIVALS {
            let folder = folder.path();
            scope.spawn(move || compete(folder, rival));
        }
    });
    check_competition(folder.path());
    let (path, _file) = create_free(&folder.path().join("model.gguf")).unwrap();
    assert!(path.ends_with(format!("model-{}.gguf", N_RIVALS * N_FILES + 1)));
}

#[test]
fn l1_processes_that_want_one_name_get_a_name_each() {
    const CHILD: &str = "LILIMS_FILES_RIVAL";
    if let Ok(rival) = std::env::var(CHILD) {
        let (folder, rival) = rival.split_once('|').unwrap();
        return compete(Path::new(folder), rival.parse().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..N_RIVALS)
        .map(|rival| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "l1_processes_that_want_one_name_get_a_name_each"])
                .env(CHILD, format!("{}|{rival}", folder.path().display()))
                // Its own count of tests is not one of ours.
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
