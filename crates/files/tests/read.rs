//! Reading real pipes, devices, sockets, links and oversized files.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::fs;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lilims_files::{
    ConfinedFolder, Error, FileKind, open, read, read_line, read_stdin, read_to_string,
};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a6_opens_only_regular_files_and_never_blocks() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    pipe(&fifo);
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = folder.path().join("link");
    symlink("/dev/zero", &link).unwrap();
    let cases = [
        (fifo, FileKind::Pipe),
        (socket, FileKind::Socket),
        (folder.path().to_owned(), FileKind::Folder),
        (PathBuf::from("/dev/zero"), FileKind::Device),
        (PathBuf::from("/dev/null"), FileKind::Device),
        (link, FileKind::Device),
    ];
    for (path, kind) in cases {
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, Error::NotRegular { kind: found, .. } if found == kind),
            "{path:?}: {error}"
        );
        assert!(matches!(read(&path, 10), Err(Error::NotRegular { .. })), "{path:?}");
    }
    assert!(open(&folder.path().join("absent")).unwrap_err().is_not_found());
}

#[test]
fn a6_reads_files_up_to_the_limit() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read(&path, 5).unwrap(), b"12345");
    assert_eq!(read_to_string(&path, 6).unwrap(), "12345");
    assert!(matches!(read(&path, 4), Err(Error::TooLarge { limit_bytes: 4, .. })));
    let sparse = folder.path().join("sparse");
    fs::File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(read(&sparse, 1 << 20), Err(Error::TooLarge { .. })));
    // A regular file that reports size 0 but has content.
    let endless = Path::new("/proc/self/mountinfo");
    if endless.exists() {
        assert_eq!(fs::metadata(endless).unwrap().len(), 0);
        assert!(matches!(read(endless, 3), Err(Error::TooLarge { .. })));
    }
    fs::write(&path, b"\xff").unwrap();
    assert!(matches!(read_to_string(&path, 9), Err(Error::NotUtf8 { .. })));
}

#[test]
fn reads_an_opened_file() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    let mut text = String::new();
    open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
}

#[test]
fn messages_name_the_file_once() {
    let error = open(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(error.to_string(), "/dev/zero is a device, not a regular file");
    assert_eq!(std::io::Error::from(error).to_string(), "it is a device, not a regular file");
}

#[test]
fn a6_limits_standard_input() {
    const CHILD: &str = "LILIMS_FILES_STDIN_CHILD";
    if std::env::var_os(CHILD).is_some() {
        match read_stdin(1 << 20) {
            Ok(bytes) => println!("{} bytes", bytes.len()),
            Err(error) => println!("{error}"),
        }
        return;
    }
    let run = |stdin: Stdio| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a6_limits_standard_input", "--nocapture"])
            .env(CHILD, "1")
            .stdin(stdin)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let zero = run(fs::File::open("/dev/zero").unwrap().into());
    assert!(zero.contains("standard input is larger than the limit of 1048576 bytes"), "{zero}");
    assert!(run(Stdio::null()).contains("0 bytes"));
}

#[test]
fn a6_limits_line_length() {
    let mut text = BufReader::new("one\ntwo".as_bytes());
    assert_eq!(read_line(&mut text, "x", 4).unwrap().as_deref(), Some("one\n"));
    assert_eq!(read_line(&mut text, "x", 4).unwrap().as_deref(), Some("two"));
    assert_eq!(read_line(&mut text, "x", 4).unwrap(), None);
    let mut endless = BufReader::new(std::io::repeat(b'a'));
    assert!(matches!(read_line(&mut endless, "x", 1000), Err(Error::TooLarge { .. })));
}

#[test]
fn a14_rejects_paths_and_links_out_of_the_folder() {
    let outer = folder();
    let root = outer.path().join("checkpoint");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    fs::write(root.join("config.json"), "{}").unwrap();
    fs::write(root.join("sub/inner"), "inner").unwrap();
    symlink("../secret", root.join("relative")).unwrap();
    symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("sub/inner", root.join("inside")).unwrap();
    symlink("gone", root.join("dangling")).unwrap();
    symlink("/dev/zero", root.join("device")).unwrap();
    pipe(&root.join("pipe"));

    let folder = ConfinedFolder::new(&root).unwrap();
    assert_eq!(folder.read("config.json", 10).unwrap(), b"{}");
    assert_eq!(folder.read_to_string("inside", 10).unwrap(), "inner");
    assert_eq!(folder.read_to_string("./sub/inner", 10).unwrap(), "inner");
    let absolute = root.join("config.json");
    let names =
        ["relative", "absolute", "up/secret", "../secret", "sub/../config.json", "", "device"];
    for name in names.iter().copied().chain(absolute.to_str()) {
        let result = folder.read(name, 10);
        assert!(matches!(result, Err(Error::Outside { .. })), "{name}: {result:?}");
    }
    assert!(matches!(folder.open("dangling"), Err(Error::DanglingLink { .. })));
    assert!(matches!(folder.open("pipe"), Err(Error::NotRegular { kind: FileKind::Pipe, .. })));
    assert_eq!(folder.read_if_exists("absent", 10).unwrap(), None);
    assert!(folder.read_if_exists("relative", 10).is_err());
    assert_eq!(folder.names(20).unwrap().len(), 9);
    assert!(folder.names(3).is_err());
    assert!(ConfinedFolder::new(&absolute).is_err());
}

#[test]
fn a14_hugging_face_snapshots_may_link_to_their_blobs_only() {
    let outer = folder();
    let repository = outer.path().join("models--owner--name");
    let snapshot = repository.join("snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::write(repository.join("blobs/123"), "{}").unwrap();
    fs::write(repository.join("secret"), "secret").unwrap();
    symlink("../../blobs/123", snapshot.join("config.json")).unwrap();
    symlink("../../secret", snapshot.join("other")).unwrap();
    symlink("../secret", repository.join("blobs/456")).unwrap();
    symlink("../../blobs/456", snapshot.join("through")).unwrap();

    let folder = ConfinedFolder::new(&snapshot).unwrap();
    assert_eq!(folder.read("config.json", 10).unwrap(), b"{}");
    for name in ["other", "through", "../../blobs/123"] {
        assert!(matches!(folder.read(name, 10), Err(Error::Outside { .. })), "{name}");
    }
}

#[test]
fn does_not_read_a_pipe_with_a_writer() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    pipe(&fifo);
    // Opened for reading and writing, so that neither end blocks.
    let mut both = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    both.write_all(b"kept").unwrap();
    assert!(open(&fifo).is_err());
    let mut left = [0; 4];
    both.read_exact(&mut left).unwrap();
    assert_eq!(&left, b"kept");
}
