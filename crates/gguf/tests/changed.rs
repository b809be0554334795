//! Files that change while they are mapped (A3): truncated, overwritten, replaced.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lilims_gguf::{Error, File, TensorHeader, TensorType, Writer};

/// Values of the one tensor: 8 MiB of f32.
const N_VALUES: u64 = 2 << 20;

/// Writes a model whose one tensor is all ones.
fn write_model(path: &Path) {
    let head = TensorHeader {
        name: "ones".to_owned(),
        dims: vec![N_VALUES],
        tensor_type: TensorType::F32,
        size_bytes: N_VALUES * 4,
    };
    let mut bytes = Vec::new();
    Writer::default().write_header([&head].into_iter(), &mut bytes).unwrap();
    for _ in 0..N_VALUES {
        bytes.extend(1f32.to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

fn model() -> (tempfile::TempDir, PathBuf, File) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write_model(&path);
    let file = File::open(&path).unwrap();
    file.check_unchanged().unwrap();
    (folder, path, file)
}

fn is_changed(file: &File, path: &Path) -> bool {
    match file.check_unchanged() {
        Ok(()) => false,
        Err(Error::Changed { path: named }) => {
            assert_eq!(named, path);
            true
        }
        Err(error) => panic!("{error}"),
    }
}

fn count_ones(file: &File) -> usize {
    let data = file.data(file.tensor("ones").unwrap()).unwrap();
    data.chunks_exact(4).filter(|value| *value == 1f32.to_le_bytes()).count()
}

#[test]
fn a3_truncation_gives_zeros_in_every_thread_and_is_reported() {
    for left in [0, 100, 4096, 3 << 20] {
        let (_folder, path, file) = model();
        let other = model();
        assert_eq!(count_ones(&file), N_VALUES as usize);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
        assert!(is_changed(&file, &path));
        let counts: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| count_ones(&file))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(counts.iter().all(|count| *count < N_VALUES as usize), "{left}: {counts:?}");
        assert!(file.is_damaged());
        assert!(is_changed(&file, &path));
        // Other maps are not affected.
        assert_eq!(count_ones(&other.2), N_VALUES as usize);
        assert!(!other.2.is_damaged() && !is_changed(&other.2, &other.1));
        // A new map of a restored file is clean.
        drop(file);
        write_model(&path);
        let again = File::open(&path).unwrap();
        assert_eq!(count_ones(&again), N_VALUES as usize);
        assert!(!is_changed(&again, &path));
    }
}

#[test]
fn a3_overwriting_or_appending_is_reported() {
    let (_folder, path, file) = model();
    let mut writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    writer.seek(SeekFrom::Start(5 << 20)).unwrap();
    writer.write_all(&[7; 64]).unwrap();
    // The file system's timestamps may be too coarse to distinguish the two writes.
    writer.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(1)).unwrap();
    assert!(is_changed(&file, &path));
    let (_folder, path, file) = model();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[0]).unwrap();
    assert!(is_changed(&file, &path));
}

#[test]
fn a3_replaced_or_removed_file_stays_readable_while_open() {
    let (folder, path, file) = model();
    let new = folder.path().join("new.gguf");
    write_model(&new);
    fs::rename(&new, &path).unwrap();
    assert!(!is_changed(&file, &path));
    fs::remove_file(&path).unwrap();
    assert!(!is_changed(&file, &path));
    assert_eq!(count_ones(&file), N_VALUES as usize);
}

/// Runs one test of this program in a child process, with `CHILD` set, and returns the signal that
/// ended it.
fn signal_of_child(test: &str) -> Option<i32> {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap()
        .status;
    status.signal()
}

const CHILD: &str = "LILIMS_GGUF_CHANGED_CHILD";
const SIGBUS: i32 = if cfg!(target_os = "linux") { 7 } else { 10 };

#[test]
fn a3_signals_unrelated_to_a_map_end_the_process() {
    if std::env::var_os(CHILD).is_none() {
        let signal = signal_of_child("a3_signals_unrelated_to_a_map_end_the_process");
        assert_eq!(signal, Some(SIGBUS));
        return;
    }
    let (_folder, _path, file) = model();
    // Signals unrelated to the map. The first goes to the standard library's handler, which
    // restores the default action.
    let id = std::process::id().to_string();
    for _ in 0..2 {
        Command::new("kill").args(["-BUS", &id]).status().unwrap();
    }
    drop(file);
    panic!("the signal did not end the process");
}

#[test]
fn a6_rejects_anything_but_regular_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    fs::write(at("empty"), "").unwrap();
    let reason = |path: &Path| match File::open(path).map(drop).unwrap_err() {
        Error::Io { source, .. } => source.to_string(),
        error => error.to_string(),
    };
    assert_eq!(reason(&at("pipe")), "it is a pipe, not a regular file");
    assert_eq!(reason(folder.path()), "it is a folder, not a regular file");
    assert_eq!(reason(Path::new("/dev/zero")), "it is a device, not a regular file");
    assert_eq!(reason(&at("empty")), format!("{} is empty", at("empty").display()));
}
