//! Output files: only regular files and new names are written, atomically (A12).

#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use lilims_tests::fixture;

use super::{SMOLLM2, failure, lilims, model, stdout_of};

/// Creates invalid output paths in `folder` and returns each with a part of the error message.
fn invalid_outputs(folder: &Path) -> Vec<(String, &'static str)> {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(UnixListener::bind(folder.join("socket")).unwrap());
    fs::create_dir(folder.join("folder")).unwrap();
    symlink("/dev/null", folder.join("to-null")).unwrap();
    symlink("pipe", folder.join("to-pipe")).unwrap();
    symlink("ring", folder.join("ring")).unwrap();
    vec![
        ("/dev/null".to_owned(), "a device"),
        ("/dev/stdout".to_owned(), "a pipe"),
        (path("pipe"), "a pipe"),
        (path("socket"), "a socket"),
        (path("folder"), "a folder"),
        (path("to-null"), "a device"),
        (path("to-pipe"), "a pipe"),
        (path("ring"), "ring"),
    ]
}

/// The names and file types in `folder`.
fn entries_of(folder: &Path) -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| format!("{:?} {:?}", entry.file_name(), entry.file_type().unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn a12_outputs_do_not_replace_devices_pipes_or_folders() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = invalid_outputs(folder.path());
    let before = entries_of(folder.path());
    let model = model(SMOLLM2);
    let checkpoint = fixture("checkpoints/llama");
    let checkpoint = checkpoint.to_str().unwrap();
    for (output, why) in outputs {
        for arguments in [
            &["logits", "--model", &model, "--ids", "1", "--out", &output][..],
            &["convert", checkpoint, "--type", "F32", "--out", &output],
            &["convert", checkpoint, "--type", "F32", "--out", &output, "--force"],
        ] {
            let sentence = failure(&mut lilims(arguments), 1);
            assert!(sentence.contains(why), "{arguments:?}: {sentence}");
        }
        assert_eq!(entries_of(folder.path()), before, "{output}");
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a12_conversations_are_saved_to_regular_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = invalid_outputs(folder.path());
    let before = entries_of(folder.path());
    let model = model(SMOLLM2);
    for (path, _) in outputs {
        let mut chat = lilims(&["chat", "--model", &model, "--session", &path]);
        let mut child = chat.stdin(Stdio::piped()).spawn().unwrap();
        // The program may have exited before it reads this.
        let _ = child.stdin.take().unwrap().write_all(b"Say hello.\n");
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{path}: {stderr}");
        assert_eq!(entries_of(folder.path()), before, "{path}: {stderr}");
    }
}

#[test]
fn a12_link_to_a_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    symlink("file", &link).unwrap();
    let (model, out) = (model(SMOLLM2), link.to_str().unwrap());
    stdout_of(&["logits", "--model", &model, "--ids", "1", "--out", out]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::metadata(&file).unwrap().len() > 40_000);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a12_output_must_differ_from_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let checkpoint = folder.path().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    for entry in fs::read_dir(fixture("checkpoints/llama")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), checkpoint.join(entry.file_name())).unwrap();
    }
    let checkpoint = checkpoint.to_str().unwrap();
    let model = path.to_str().unwrap();
    stdout_of(&["convert", checkpoint, "--type", "F32", "--out", model]);
    let bytes = fs::read(&path).unwrap();
    let hard = folder.path().join("hard.gguf");
    fs::hard_link(&path, &hard).unwrap();
    let link = folder.path().join("link.gguf");
    symlink("model.gguf", &link).unwrap();
    let text = folder.path().join("text.txt");
    fs::write(&text, "a text").unwrap();
    let text = text.to_str().unwrap();
    for out in [model, hard.to_str().unwrap(), link.to_str().unwrap()] {
        let convert = ["convert", model, "--type", "Q8_0", "--force", "--out", out];
        let sentence = failure(&mut lilims(&convert), 1);
        assert!(sentence.contains("is what is read"), "{sentence}");
        let logits = ["logits", "--model", model, "--ids", "1", "--out", out];
        let sentence = failure(&mut lilims(&logits), 1);
        assert!(sentence.contains("is what is read"), "{sentence}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    let weights = format!("{checkpoint}/model.safetensors");
    for arguments in [
        ["convert", checkpoint, "--type", "F32", "--force", "--out", &weights, "--json"],
        [
            "convert",
            model,
            "--type",
            "Q8_0",
            "--force",
            "--out",
            text,
            &format!("--evaluate={text}"),
        ],
    ] {
        let sentence = failure(&mut lilims(&arguments), 1);
        assert!(sentence.contains("is what is read"), "{sentence}");
    }
}
