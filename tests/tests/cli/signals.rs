//! Signals act like Ctrl-C in every command; no data is lost and no temporary files are left (A13).

#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use super::{GEMMA, SMOLLM2, lilims, model, start_long_answer};

/// Terminating signals, with their exit codes.
const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

fn send(child: &Child, signal: &str) {
    let arguments = [&format!("-{signal}"), &child.id().to_string()];
    assert!(Command::new("kill").args(arguments).status().unwrap().success());
}

/// As [`lilims`], with default signal handling: the test runner may ignore some signals.
fn lilims_in_shell(arguments: &[&str]) -> Command {
    let plain = lilims(arguments);
    if !cfg!(target_os = "linux") {
        return plain;
    }
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,TERM").arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn messages(file: &Path) -> Vec<Json> {
    let kept: Json = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    kept["messages"].as_array().unwrap().clone()
}

#[test]
fn a13_signals_end_an_answer_with_its_partial_text() {
    for (signal, code) in SIGNALS {
        let child = start_long_answer(&model(SMOLLM2), lilims_in_shell);
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{signal}: {stderr}");
        assert!(stderr.contains("prompt tokens"), "{signal}: {stderr}");
    }
}

#[test]
fn a13_conversation_keeps_the_question_and_the_partial_answer() {
    let model = model(SMOLLM2);
    let folder = tempfile::tempdir().unwrap();
    for (signal, code) in &SIGNALS[1..] {
        let file = folder.path().join(format!("{signal}.json"));
        let path = file.to_str().unwrap();
        let arguments = ["chat", "--model", &model, "--session", path, "--max-tokens", "8000"];
        let mut chat = lilims_in_shell(&arguments);
        let mut child = chat.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"Write a very long story about a dragon with many chapters.\n").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{signal}: {stderr}");
        let kept = messages(&file);
        assert_eq!(kept.len(), 2, "{signal}: {kept:?}");
        assert!(kept[0]["content"].as_str().unwrap().contains("dragon"), "{kept:?}");
        assert!(!kept[1]["content"].as_str().unwrap().is_empty(), "{kept:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count() % 2, 0, "file and session");
    }
}

#[test]
fn a13_killed_conversation_keeps_its_question() {
    let model = model(SMOLLM2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.json");
    let path = file.to_str().unwrap();
    let arguments = ["chat", "--model", &model, "--session", path, "--max-tokens", "8000"];
    let mut child = lilims(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Write a very long story about a dragon with many chapters.\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(messages(&file)[0]["content"].as_str().unwrap().contains("dragon"));
}

#[test]
fn a13_signals_end_a_waiting_conversation() {
    let model = model(SMOLLM2);
    let folder = tempfile::tempdir().unwrap();
    for (signal, code) in &SIGNALS[1..] {
        let file = folder.path().join(format!("{signal}.json"));
        let path = file.to_str().unwrap();
        let arguments = ["chat", "--model", &model, "--session", path, "--max-tokens", "4"];
        let mut chat = lilims_in_shell(&arguments);
        let mut child = chat.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"Say hello.\n").unwrap();
        // The answer ends with a line on standard error.
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut String::new()).unwrap();
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(*code), "{signal}");
        assert_eq!(messages(&file).len(), 2, "{signal}");
        let session = folder.path().join(format!("{signal}.json.session"));
        assert!(session.exists(), "{signal}: what was read is saved");
        drop(stdin);
    }
}

#[test]
fn a13_stopped_conversion_leaves_no_files() {
    let model = model(GEMMA);
    for (signal, code) in SIGNALS {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.gguf");
        fs::write(&out, "the old file").unwrap();
        let path = out.to_str().unwrap();
        let arguments = ["convert", &model, "--type", "F32", "--force", "--out", path];
        let mut child = lilims_in_shell(&arguments).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut String::new()).unwrap();
        send(&child, signal);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}: {rest}");
        assert!(rest.contains("nothing was left behind"), "{signal}: {rest}");
        assert_eq!(fs::read_to_string(&out).unwrap(), "the old file");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{signal}");
    }
}

#[test]
fn a13_second_signal_ends_the_program_at_once() {
    let child = start_long_answer(&model(SMOLLM2), lilims_in_shell);
    // The program ends whether or not the first signal has stopped the answer by then.
    send(&child, "TERM");
    send(&child, "HUP");
    let code = child.wait_with_output().unwrap().status.code();
    assert!(code == Some(143) || code == Some(129), "{code:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a13_nohup_survives_the_terminal() {
    let plain = lilims(&["generate", "--model", &model(SMOLLM2), "--prompt", "x", "--raw"]);
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP").arg(plain.get_program()).args(plain.get_args());
    command.args(["--ignore-eos", "--max-tokens", "60"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    send(&child, "HUP");
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a13_end_of_input_ends_a_conversation_and_saves_it() {
    let model = model(SMOLLM2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.json");
    let path = file.to_str().unwrap();
    let arguments = ["chat", "--model", &model, "--session", path, "--max-tokens", "4"];
    let mut child = lilims(&arguments).stdin(Stdio::piped()).spawn().unwrap();
    // The last line has no line break.
    child.stdin.take().unwrap().write_all(b"Say hello.").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(messages(&file).len(), 2);
}
