//! Untrusted text on a terminal: control characters are escaped (A8), and its length is limited
//! (A9).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use lilims_convert::{Mix, Options};
use lilims_gguf::{TensorType, Value};
use lilims_tests::fixture;
use lilims_tests::hub_server::{Content, HubServer, Repo};
use nix::pty::openpty;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{failure, lilims, run, stdout_of, write_gguf};

/// Escape sequences in both spellings, a title, a deletion, an override, an isolate, a line
/// separator.
const EVIL: &str =
    "\u{1b}[2J\u{9b}31m\u{1b}]0;title\u{7}\u{7f}\u{8}\r\u{202e}\u{2066}\u{2028}\u{200f}";

/// Whether the character controls the terminal.
fn is_terminal_control(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn assert_harmless(text: &str) {
    let controls: Vec<_> = text.chars().filter(|&c| is_terminal_control(c)).collect();
    assert!(controls.is_empty(), "{controls:?} in {text:?}");
}

/// Runs `command` with a terminal for all three streams and returns the terminal's output.
fn in_terminal(command: &mut Command) -> String {
    let pty = openpty(None, None).unwrap();
    let stream = || Stdio::from(pty.slave.try_clone().unwrap());
    command.stdin(stream()).stdout(stream()).stderr(stream());
    let mut child = command.spawn().unwrap();
    // Reading continues until the last copy of the terminal's other end is closed.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(pty.slave);
    let mut bytes = Vec::new();
    // On Linux, reading fails when the other end is closed.
    let _ = File::from(pty.master).read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// A tiny model whose tokens and name are full of control characters.
fn evil_model(folder: &TempDir) -> PathBuf {
    let source = fixture("checkpoints/llama");
    let copy = folder.path().join(format!("checkpoint{EVIL}").replace('\u{1b}', "e"));
    std::fs::create_dir(&copy).unwrap();
    for name in ["config.json", "generation_config.json", "model.safetensors"] {
        std::fs::write(copy.join(name), std::fs::read(source.join(name)).unwrap()).unwrap();
    }
    let tokenizer = std::fs::read(source.join("tokenizer.json")).unwrap();
    let mut tokenizer: Json = serde_json::from_slice(&tokenizer).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    // Byte-level vocabularies write bytes as letters: these are ESC [, U+009B, U+202E and BEL.
    let spelled = "\u{11b}[\u{c2}\u{13d}\u{e2}\u{122}\u{ae}\u{107}";
    let merged: Vec<_> = vocab.iter().filter(|(_, id)| id.as_u64() > Some(258)).collect();
    let merged: Vec<_> = merged.into_iter().map(|(text, id)| (text.clone(), id.clone())).collect();
    for (text, id) in merged {
        vocab.remove(&text);
        vocab.insert(format!("{spelled}{id}"), id);
    }
    tokenizer["model"]["merges"] = json!([]);
    std::fs::write(copy.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let out = folder.path().join("evil.gguf");
    let (options, cancel) = (Options::new(Mix::F32), AtomicBool::new(false));
    lilims_convert::convert(&copy, &out, &options, &cancel, &mut |_| {}).unwrap();
    out
}

#[test]
fn a8_answers_are_exact_in_a_pipe_and_escaped_on_a_terminal_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let model = evil_model(&folder);
    let model = model.to_str().unwrap();
    let settings = ["--max-tokens", "60", "--ignore-eos", "--seed", "3", "--temperature", "1"];
    let arguments = ["generate", "--model", model, "--raw", "--prompt", "x", "--threads", "1"];
    let arguments = [&arguments[..], &settings].concat();

    let exact = stdout_of(&arguments);
    assert!(exact.contains("\u{1b}[\u{9b}\u{202e}\u{7}"), "{exact:?}");
    let shown = in_terminal(&mut lilims(&arguments));
    assert_harmless(&shown);
    assert!(shown.contains("\\u{1b}[\\u{9b}\\u{202e}\\u{7}"), "{shown:?}");

    let output = run(&[&arguments[..], &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_harmless(&text);
    let report: Json = serde_json::from_str(&text).unwrap();
    // The streamed answer ends with a line break.
    assert_eq!(report["text"].as_str().unwrap(), exact.strip_suffix('\n').unwrap());
    assert!(text.contains("\\u009b") && text.contains("\\u202e"), "{text}");

    let mut chat = lilims(&["chat", "--model", model]);
    assert_harmless(&in_terminal(&mut chat));
}

/// A file with control characters in every field that is shown.
fn evil_file(path: &Path, name: &str) {
    write_gguf(path, |writer| {
        writer.str("general.architecture", &format!("mam{name}ba"));
        writer.str("general.name", &format!("{name}\n  runs          yes"));
        writer.str("tokenizer.ggml.model", name).str("tokenizer.ggml.pre", name);
        writer.str("tokenizer.chat_template", &format!("{{% {name} %}}"));
        writer.value(name, Value::U32(1));
        writer.array("list", [Value::String(name.as_bytes()), Value::String(b"\x9b\xff")]);
        writer.tensor(name, &[32], TensorType::F32, vec![0; 128]);
    });
}

#[test]
fn a8_metadata_of_files_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("evil{}.gguf", EVIL.replace('\u{7f}', "")));
    evil_file(&path, EVIL);
    let path = path.to_str().unwrap();
    for arguments in [
        &["inspect", path][..],
        &["generate", "--model", path, "--prompt", "x"],
        &["tokenize", "--model", path, "--text", "x"],
        &["fit", path],
        &["import", path],
    ] {
        let home = folder.path().join("home");
        let shown = in_terminal(lilims(arguments).env("LILIMS_HOME", &home));
        // An imported model is shown by its short name.
        let says_the_name = arguments[0] == "import" || shown.contains("\\u{1b}[2J");
        assert!(says_the_name, "{shown}");
        assert_harmless(&shown);
        let output = lilims(arguments).env("LILIMS_HOME", &home).output().unwrap();
        assert_harmless(&String::from_utf8(output.stderr).unwrap());
        assert_harmless(&String::from_utf8(output.stdout).unwrap());
    }
    let text = stdout_of(&["inspect", path]);
    // A line break in a name does not start a new line.
    assert_eq!(text.lines().filter(|line| line.starts_with("  runs ")).count(), 1, "{text}");
    let json = stdout_of(&["inspect", path, "--json"]);
    assert_harmless(&json);
    let report: Json = serde_json::from_str(&json).unwrap();
    assert!(report["name"].as_str().unwrap().starts_with(EVIL));
}

#[test]
fn a8_arguments_in_errors_are_escaped() {
    let flag = format!("--{EVIL}");
    for arguments in [
        &["generate", &flag][..],
        &["generate", "--temperature", EVIL, "--prompt", "x"],
        &["generate", "--kv-type", EVIL, "--prompt", "x"],
        &[EVIL],
        &["show", EVIL],
        &["pull", EVIL],
        &["eval", "perplexity", "--text", EVIL],
        &["convert", EVIL, "--out", EVIL, "--type", EVIL],
    ] {
        let shown = in_terminal(&mut lilims(arguments));
        assert_harmless(&shown);
        assert!(!shown.contains("panicked"), "{shown}");
        let stderr = String::from_utf8(run(arguments).stderr).unwrap();
        assert_harmless(&stderr);
        assert!(stderr.contains("\\u{1b}"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a8_text_from_a_hub_is_escaped() {
    let hub = HubServer::start();
    let file = Content::held(b"GGUF".to_vec());
    let id = format!("owner/na{EVIL}me-GGUF");
    hub.add(Repo::new(&id).with_file("m.gguf", file).with_licence(EVIL));
    let with_hub = |arguments: &[&str]| {
        let mut command = lilims(arguments);
        command.env("HF_ENDPOINT", hub.endpoint());
        command
    };
    let shown = in_terminal(&mut with_hub(&["search", "name"]));
    assert_harmless(&shown);
    let shown = in_terminal(&mut with_hub(&["pull", &format!("owner/{EVIL}")]));
    assert_harmless(&shown);
    let output = with_hub(&["search", "name", "--json"]).output().unwrap();
    let json = String::from_utf8(output.stdout).unwrap();
    assert_harmless(&json);
    serde_json::from_str::<Json>(&json).unwrap();
}

/// The errors of checkpoints, templates and documents quote what is in them.
#[test]
fn a8_errors_about_the_content_of_files_are_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("checkpoints/llama");
    let tensor =
        json!({ EVIL: { "dtype": "F32", "shape": [1], "data_offsets": [0, 4] } }).to_string();
    let tensor = [&(tensor.len() as u64).to_le_bytes()[..], tensor.as_bytes(), &[0; 4]].concat();
    let config = json!({ "model_type": EVIL, "architectures": [EVIL] }).to_string().into_bytes();
    let field = json!({ "model_type": "llama", EVIL: EVIL }).to_string().into_bytes();
    let evil = EVIL.as_bytes().to_vec();
    for (n_case, (name, content)) in [
        ("config.json", config),
        ("config.json", field),
        ("config.json", evil.clone()),
        ("model.safetensors", tensor),
        ("tokenizer.json", json!({ "model": { "type": EVIL }, EVIL: 1 }).to_string().into_bytes()),
        (
            "model.safetensors.index.json",
            json!({ "weight_map": { "a": EVIL } }).to_string().into_bytes(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let copy = folder.path().join(format!("case {n_case}"));
        std::fs::create_dir(&copy).unwrap();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            std::fs::write(copy.join(name), std::fs::read(source.join(name)).unwrap()).unwrap();
        }
        std::fs::write(copy.join(name), content).unwrap();
        let out = folder.path().join("out.gguf");
        let arguments =
            ["convert", copy.to_str().unwrap(), "--type", "F16", "--out", out.to_str().unwrap()];
        assert_harmless(&failure(&mut lilims(&arguments), 1));
        assert_harmless(&in_terminal(&mut lilims(&arguments)));
    }

    let model = evil_model(&folder);
    let template = folder.path().join("template.jinja");
    let messages = folder.path().join("messages.json");
    std::fs::write(&messages, json!([{ "role": "user", "content": EVIL }]).to_string()).unwrap();
    for source in [
        format!("{{{{ raise_exception('{}') }}}}", EVIL.replace('\r', "")),
        format!("{{% {EVIL} %}}"),
        format!("{{{{ x.{EVIL} }}}}"),
        "{{ messages[0].content.none() }}{{ messages[0].content + 1 }}".to_owned(),
    ] {
        std::fs::write(&template, source).unwrap();
        let arguments = ["prompt", "--model", model.to_str().unwrap(), "--template"];
        let files = [template.to_str().unwrap(), "--messages", messages.to_str().unwrap()];
        let arguments = [&arguments[..], &files].concat();
        assert_harmless(&failure(&mut lilims(&arguments), 1));
        assert_harmless(&in_terminal(&mut lilims(&arguments)));
    }

    for name in ["a.docx", "b.html", "c.json"] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{EVIL}\0<p>")).unwrap();
        for command in [&["extract"][..], &["conversations", "import"]] {
            let arguments = [command, &[path.to_str().unwrap()]].concat();
            let home = folder.path().join("home");
            assert_harmless(&in_terminal(lilims(&arguments).env("LILIMS_HOME", &home)));
            let output = lilims(&arguments).env("LILIMS_HOME", &home).output().unwrap();
            assert_harmless(&String::from_utf8(output.stderr).unwrap());
        }
    }
}

/// The maximum output of a command about one untrusted name, in bytes.
const MAX_OUTPUT_BYTES: usize = 4000;

#[track_caller]
fn assert_short(arguments: &[&str]) {
    let output = run(arguments);
    for bytes in [output.stdout, output.stderr] {
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("panicked"), "{text}");
        assert!(text.len() < MAX_OUTPUT_BYTES, "{} bytes: {}", text.len(), &text[..500]);
        assert!(!text.contains(&"x".repeat(201)), "{text}");
    }
}

#[test]
fn a9_long_names_are_shortened() {
    let folder = tempfile::tempdir().unwrap();
    for (file, length) in [("long.gguf", 70_000), ("longest.gguf", 60_000), ("short.gguf", 300)] {
        let path = folder.path().join(file);
        let name = "x".repeat(length);
        write_gguf(&path, |writer| {
            writer.str("general.architecture", &name).str("general.name", &name);
            writer.str("tokenizer.ggml.model", &name);
            writer.value(&name, Value::U32(1));
            writer.tensor(&name, &[32], TensorType::F32, vec![0; 128]);
            writer.tensor("second", &[32], TensorType::Unknown(19), vec![0; 32]);
        });
        let path = path.to_str().unwrap();
        assert_short(&["inspect", path]);
        assert_short(&["generate", "--model", path, "--prompt", "x"]);
        assert_short(&["tokenize", "--model", path, "--text", "x"]);
        assert_short(&["fit", path]);
        let out = folder.path().join("out.gguf");
        assert_short(&["convert", path, "--out", out.to_str().unwrap(), "--type", "Q8_0"]);
    }
}

#[test]
fn a9_long_arguments_are_shortened() {
    let (long, spaced) = ("x".repeat(65_536), "x ".repeat(32_768));
    let repository = format!("owner/{long}");
    let both = format!("{long}/{long}");
    let typed = format!("q=.*={long}");
    for text in [&long, &spaced, &repository, &both[..100_000]] {
        for arguments in [
            &["pull", text][..],
            &["fit", text],
            &["show", text],
            &["rm", text],
            &["generate", "--model", text, "--prompt", "x"],
            &["generate", "--temperature", text, "--prompt", "x"],
            &["generate", "--backend", text, "--prompt", "x"],
            &["inspect", text],
            &["import", text],
            &["scan", text],
            &["quota", text],
            &["eval", "perplexity", "--text", text],
            &["convert", text, "--out", text, "--type", "Q8_0"],
            &["convert", text, "--out", "x", "--type", text],
            &["convert", text, "--out", "x", "--type", "Q8_0", "--tensor-type", &typed],
            &["logits", "--ids", "1", "--out", text],
            &["chat", "--session", text],
            &[text],
        ] {
            assert_short(arguments);
        }
    }
    let sentence = failure(&mut lilims(&["pull", &repository]), 2);
    assert!(sentence.contains('…'), "{sentence}");
}

#[test]
fn a9_wide_search_results_are_formatted_as_a_table() {
    let hub = HubServer::start();
    let id = format!("owner/{}-GGUF", "x".repeat(65_536));
    hub.add(Repo::new(&id).with_file("m.gguf", Content::held(b"GGUF".to_vec())));
    let mut search = lilims(&["search", "x"]);
    let output = search.env("HF_ENDPOINT", hub.endpoint()).output().unwrap();
    let (stdout, stderr) = (output.stdout, output.stderr);
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert!(!text.contains("panicked") && text.len() < MAX_OUTPUT_BYTES, "{}", text.len());
}
