//! Models that change while they are used (A3) or compute NaN (T12), and prompts larger than any
//! context (A7): the error names the file, and no part of a conversation is lost.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lilims_gguf::File;
use serde_json::Value as Json;

use super::{SMOLLM2, failure, json_of, lilims, model, start_long_answer};

/// Copies the model into `folder`, for tests that damage it.
fn copy(folder: &Path) -> PathBuf {
    let path = folder.join("changing.gguf");
    fs::copy(model(SMOLLM2), &path).unwrap();
    path
}

fn truncate(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
}

#[test]
fn a3_answer_from_a_shrinking_file_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = copy(folder.path());
    let child = start_long_answer(path.to_str().unwrap(), lilims);
    truncate(&path);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}: {stderr}", output.status);
    assert!(stderr.contains("changing.gguf") && stderr.contains("changed"), "{stderr}");
}

#[test]
fn a3_conversation_keeps_its_turn_when_the_model_file_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let path = copy(folder.path());
    let kept = folder.path().join("talk.json");
    let arguments = ["chat", "--model", path.to_str().unwrap(), "--max-tokens", "8000"];
    let mut chat = lilims(&[&arguments[..], &["--session", kept.to_str().unwrap()]].concat());
    let mut child = chat.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Write a very long story about a dragon with many chapters.\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 20]).unwrap();
    truncate(&path);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}: {stderr}", output.status);
    assert!(stderr.contains("changing.gguf"), "{stderr}");
    let kept: Json = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    let content = |at: usize| kept["messages"][at]["content"].as_str().unwrap();
    assert!(content(0).contains("dragon"), "{kept}");
    assert!(content(1).len() >= 20, "the partial answer is missing: {kept}");
}

/// Waits until the process has mapped the file.
#[cfg(target_os = "linux")]
fn wait_until_mapped(child: &std::process::Child, path: &Path) {
    let maps = format!("/proc/{}/maps", child.id());
    let start = std::time::Instant::now();
    while !fs::read_to_string(&maps).unwrap().contains(path.to_str().unwrap()) {
        assert!(start.elapsed().as_secs() < 60, "{} is not mapped", path.display());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a3_every_long_command_with_a_shrinking_file_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    fs::write(&text, "The river flows through many towns. ".repeat(4000)).unwrap();
    let (path, out) = (folder.path().join("changing.gguf"), folder.path().join("out.gguf"));
    let (model, text) = (path.to_str().unwrap(), text.to_str().unwrap());
    for arguments in [
        &["bench", "--model", model, "--repeat", "50"][..],
        &["eval", "perplexity", "--model", model, "--text", text],
        &["eval", "tensors", model, model],
        &["convert", model, "--out", out.to_str().unwrap(), "--type", "Q8_0"],
    ] {
        copy(folder.path());
        let child = lilims(arguments).spawn().unwrap();
        wait_until_mapped(&child, &path);
        truncate(&path);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}: {stderr}", output.status);
        assert!(stderr.contains("changing.gguf"), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !out.exists(), "{arguments:?}: {stderr}");
    }
}

/// Writes the model with a NaN weight into `folder`.
fn without_numbers(folder: &Path) -> PathBuf {
    let path = copy(folder);
    let mut bytes = fs::read(&path).unwrap();
    let start = {
        let file = File::from_bytes(bytes.clone()).unwrap();
        let weights = file.data(file.tensor("output_norm.weight").unwrap()).unwrap();
        weights.as_ptr() as usize - file.as_bytes().as_ptr() as usize
    };
    bytes[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn t12_nan_is_an_error_in_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = without_numbers(folder.path());
    let path = path.to_str().unwrap();
    let text = folder.path().join("text.txt");
    fs::write(&text, "The river flows through many towns. ".repeat(400)).unwrap();
    let (text, out) = (text.to_str().unwrap(), folder.path().join("out.safetensors"));
    let out = out.to_str().unwrap();
    let prompt = ["--prompt", "Once", "--max-tokens", "3"];
    for arguments in [
        &[&["generate", "--model", path][..], &prompt].concat()[..],
        &[&["generate", "--model", path, "--temperature", "0", "--json"][..], &prompt].concat(),
        &["logits", "--model", path, "--ids", "1,2,3", "--out", out],
        &["eval", "perplexity", "--model", path, "--text", text],
        &["bench", "--model", path, "--repeat", "1", "--generate-tokens", "8"],
    ] {
        let sentence = failure(&mut lilims(arguments), 1);
        assert!(sentence.contains("not finite"), "{arguments:?}: {sentence}");
        assert!(!Path::new(out).exists(), "{arguments:?}");
    }
    let mut chat = lilims(&["chat", "--model", path]);
    let mut child = chat.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("not finite"), "{stderr}");
}

#[test]
fn a7_only_the_ends_of_an_oversized_prompt_are_tokenized() {
    let model = model(SMOLLM2);
    let text = "The river flows through many towns. ".repeat(1_500_000);
    let arguments = ["generate", "--model", &model, "--context", "128", "--json"];
    let settings = ["--prompt", "-", "--max-tokens", "2", "--temperature", "0"];
    for form in [&["--system", "You only speak Latin."][..], &["--raw"]] {
        let mut generate = lilims(&[&arguments[..], &settings, form].concat());
        let mut child = generate.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{form:?}: {stderr}");
        let report: Json = serde_json::from_slice(&output.stdout).unwrap();
        let note = &report["notes"][0];
        assert_eq!(note["code"], "text-left-out", "{form:?}: {report}");
        let words = note["text"].as_str().unwrap().split(' ');
        let left_out: usize = words.filter_map(|word| word.parse::<usize>().ok()).sum();
        assert!((53_000_000..text.len()).contains(&left_out), "{note}");
        // The whole text has twelve million tokens.
        let tokens = 1000..200_000;
        assert!(tokens.contains(&report["prompt_tokens"].as_u64().unwrap()), "{report}");
        assert!(report["unread_tokens"].as_u64().unwrap() > 1000, "{report}");
    }
    let short = json_of(&[&arguments[..], &["--prompt", "Hello", "--max-tokens", "1"]].concat());
    assert_eq!(short["notes"], serde_json::json!([]));
}
