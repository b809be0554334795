//! The commands of the model library through the command line, with and without a hub.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lilims_gguf::{TensorType, Value, Writer};
use lilims_tests::hub_server::{Content, Fault, FaultPlan, FaultRule, HubServer, Repo, Target};
use lilims_tests::program;
use serde_json::Value as Json;
use tempfile::TempDir;

const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const BUNDLED: &str = "smollm2-135m-instruct-q4_1";

/// A user with a separate home and library, and either no network or a hub on this machine.
struct User {
    home: TempDir,
    bundled: Option<PathBuf>,
    hub: Option<HubServer>,
}

impl User {
    /// A user whose program has no bundled model.
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), bundled: None, hub: None }
    }

    /// A user with the bundled model.
    fn with_model() -> Self {
        Self { bundled: Some(lilims_tests::real_model(SMOLLM2)), ..Self::new() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// A small GGUF file below the home; `fill` makes files differ.
    fn file(&self, below: &str, fill: u8) -> String {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_model(&path, fill);
        path.to_str().unwrap().to_owned()
    }

    fn lilims(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).current_dir(self.home.path());
        for name in ["HF_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME", "LILIMS_MODEL"] {
            command.env_remove(name);
        }
        command.env("HOME", self.home.path()).env("LILIMS_HOME", self.path("lilims"));
        // Nothing listens there: without a hub, a command that opens a connection fails.
        let closed_port = || "http://127.0.0.1:9".to_owned();
        command.env("HF_ENDPOINT", self.hub.as_ref().map_or_else(closed_port, HubServer::endpoint));
        let nowhere = self.path("no-model.gguf");
        command.env("LILIMS_MODEL", self.bundled.as_ref().unwrap_or(&nowhere));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.lilims(arguments).output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}: {stderr}", output.status);
        (String::from_utf8(output.stdout).unwrap(), stderr)
    }

    #[track_caller]
    fn stdout(&self, arguments: &[&str]) -> String {
        self.succeeds(arguments).0
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.stdout(arguments)).unwrap()
    }

    /// The error output of a run that fails with `code`.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    /// All short names.
    fn names(&self) -> Vec<String> {
        let list = self.json(&["list", "--json"]);
        let name = |model: &Json| model["name"].as_str().unwrap().to_owned();
        let mut names: Vec<_> = list.as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    }

    /// Imports a small model and returns its short name.
    fn import(&self, file: &str, fill: u8) -> String {
        let path = self.file(file, fill);
        self.stdout(&["import", &path]).trim().to_owned()
    }
}

fn write_model(path: &Path, fill: u8) {
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama").str("general.name", "Tiny");
    writer.str("general.license", "apache-2.0");
    writer.value("llama.context_length", Value::U32(512));
    writer.tensor("token_embd.weight", &[32, 4], TensorType::F32, vec![fill; 512]);
    writer.write(fs::File::create(path).unwrap()).unwrap();
}

#[test]
fn imported_model_is_listed_shown_pinned_and_removed() {
    let user = User::new();
    let (stdout, stderr) = user.succeeds(&["list"]);
    assert!(stdout.is_empty() && stderr.contains("no models yet"), "{stderr}");
    assert_eq!(user.import("Tiny.Q8_0.gguf", 1), "tiny-q8_0");

    let list = user.stdout(&["list"]);
    for part in ["NAME", "tiny-q8_0", "Q8_0", "ours", "never"] {
        assert!(list.contains(part), "{part} in {list}");
    }
    let model = &user.json(&["list", "--json"])[0];
    assert_eq!(model["is_pinned"], false);
    assert_eq!(model["context_tokens"], 512);
    assert_eq!(*model, user.json(&["show", "tiny-q8_0", "--json"]));
    let file = PathBuf::from(model["path"].as_str().unwrap());
    assert!(file.starts_with(user.path("lilims")) && file.is_file());

    user.succeeds(&["pin", "tiny-q8_0"]);
    let show = user.stdout(&["show", "TINY-q8_0"]);
    for part in ["pinned", "apache-2.0", "llama", "512 tokens", file.to_str().unwrap()] {
        assert!(show.contains(part), "{part} in {show}");
    }
    user.succeeds(&["unpin", "tiny-q8_0"]);
    assert_eq!(user.json(&["show", "tiny-q8_0", "--json"])["is_pinned"], false);

    let sentence = user.fails(&["rm", "tiny-q8_0", "tiny-q9"], 1);
    assert!(sentence.contains("there is `tiny-q8_0`"), "{sentence}");
    assert!(file.is_file(), "nothing is removed if one name is wrong");
    user.succeeds(&["rm", "tiny-q8_0"]);
    assert!(!file.exists() && user.path("Tiny.Q8_0.gguf").exists());
    assert!(user.names().is_empty());
}

#[test]
fn removing_a_model_used_in_place_keeps_its_file() {
    let user = User::new();
    let path = user.file("mine/Tiny.gguf", 1);
    assert_eq!(user.stdout(&["import", "--in-place", &path]), "tiny\n");
    assert_eq!(user.json(&["show", "tiny", "--json"])["path"], path);
    let (_, stderr) = user.succeeds(&["rm", "tiny"]);
    assert!(stderr.contains("its file stays") && Path::new(&path).is_file(), "{stderr}");

    let sentence = user.fails(&["import", user.path("mine").to_str().unwrap()], 1);
    assert!(sentence.contains("lilims scan"), "{sentence}");
    fs::write(user.path("text.gguf"), "no model").unwrap();
    let sentence = user.fails(&["import", "text.gguf"], 1);
    assert!(sentence.contains("not a usable GGUF file"), "{sentence}");
    assert!(user.names().is_empty());
}

#[test]
fn verify_finds_damage_and_missing_files() {
    let user = User::new();
    let (good, bad) = (user.import("good.gguf", 1), user.import("bad.gguf", 2));
    // The first run computes the hashes.
    let report = user.stdout(&["verify"]);
    assert_eq!(report.lines().count(), 2, "{report}");
    assert!(report.lines().all(|line| line.contains("  good  ")), "{report}");

    let path = user.json(&["show", &bad, "--json"])["path"].as_str().unwrap().to_owned();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&[3]).unwrap();
    drop(file);
    assert!(user.stdout(&["verify", &good]).contains("good  "));
    let output = user.run(&["verify"]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("bad  damaged: its SHA-256 is"), "{report}");
    assert!(user.stdout(&["list"]).contains("damaged"));

    fs::remove_file(&path).unwrap();
    let output = user.run(&["verify", &bad]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("missing: "));
    assert!(user.stdout(&["list"]).contains("missing"));
}

#[test]
fn scan_finds_models_of_lm_studio_and_of_a_folder() {
    let user = User::new();
    let studio = user.file(".lmstudio/models/maker/Tiny-GGUF/Tiny-Q4_0.gguf", 1);
    let report = user.stdout(&["scan"]);
    assert!(report.contains("1 model is new, 0 were known."), "{report}");
    assert!(user.stdout(&["scan"]).contains("0 models are new, 1 was known."));
    assert_eq!(user.names(), ["tiny-q4_0"]);
    assert!(user.stdout(&["list"]).contains("LM Studio"));
    assert_eq!(user.json(&["show", "tiny-q4_0", "--json"])["path"], studio);

    user.file("models/deep/Other.gguf", 2);
    let report = user.stdout(&["scan", user.path("models").to_str().unwrap()]);
    assert!(report.contains("new  other"), "{report}");
    fs::remove_file(&studio).unwrap();
    let report = user.stdout(&["scan"]);
    assert!(report.contains("gone  tiny-q4_0"), "{report}");
}

#[test]
fn quota_is_shown_and_changed() {
    let user = User::new();
    assert!(user.stdout(&["quota"]).contains("(the default)"));
    let text = user.stdout(&["quota", "20GB"]);
    assert!(text.contains("20.0 GB\n") && !text.contains("(the default)"), "{text}");
    assert!(user.stdout(&["quota", "2 GiB"]).contains("2.1 GB"));
    assert!(user.stdout(&["quota", "default"]).contains("(the default)"));
    for size in ["50%", "20", "lots"] {
        assert!(user.fails(&["quota", size], 2).contains("such as 20GB"));
    }
    user.succeeds(&["quota", "100B"]);
    let sentence = user.fails(&["import", &user.file("Tiny.gguf", 1)], 1);
    assert!(sentence.contains("lilims quota SIZE"), "{sentence}");
}

#[test]
fn bundled_model_is_listed_and_cannot_be_removed() {
    let user = User::with_model();
    assert_eq!(user.names(), [BUNDLED]);
    assert!(user.stdout(&["list"]).contains("bundled"));
    assert!(user.fails(&["rm", BUNDLED], 1).contains("ships with Lilims"));
    let (_, stderr) = user.succeeds(&["pull", BUNDLED]);
    assert!(stderr.contains("is here already (bundled)"), "{stderr}");
}

#[test]
fn fit_prints_its_parts_and_learns_from_runs() {
    let user = User::with_model();
    let report = user.json(&["fit", BUNDLED, "--context", "1024", "--json"]);
    assert_eq!(report["corrected_by_runs"], 0);
    assert_eq!((&report["context"], &report["kv_type"]), (&1024.into(), &"f16".into()));
    let parts = report["parts"].as_array().unwrap();
    let sum: u64 = parts.iter().map(|part| part["bytes"].as_u64().unwrap()).sum();
    assert_eq!(report["needed_bytes"], sum);
    assert!(report["expected_tokens_per_second"].as_f64().unwrap() > 0.0);

    let model = user.bundled.clone().unwrap();
    let text = user.stdout(&["fit", model.to_str().unwrap(), "--kv-type", "q8_0"]);
    for part in ["Weights", "Together", "tokens/s can be expected", "less a reserve"] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let run = ["generate", "--model", BUNDLED, "--prompt", "Hello", "--max-tokens", "4"];
    user.succeeds(&run);
    assert!(user.json(&["show", BUNDLED, "--json"])["last_used_ms"].is_u64());
    let text = user.stdout(&["fit", BUNDLED]);
    assert!(text.contains("Corrected by 1 run on this machine."), "{text}");
    let sentence = user.fails(&["fit", "smollm"], 1);
    assert!(sentence.contains(BUNDLED), "{sentence}");
}

#[test]
fn unknown_names_suggest_similar_ones() {
    let user = User::with_model();
    user.succeeds(&["list"]);
    let asked = |name| user.fails(&["generate", "--model", name, "--prompt", "x"], 1);
    let near = asked("smollm2-135m-instruct");
    assert!(near.contains(&format!("`{BUNDLED}`")), "{near}");
    let curated = asked("qwen3-0.6b-q8_0");
    assert!(curated.contains("`lilims pull qwen3-0.6b-q8_0`"), "{curated}");
    let path = asked("no/such/file.gguf");
    assert!(path.contains("no/such/file.gguf") && !path.contains("lilims list"), "{path}");
    assert!(asked("entirely-different").contains("`lilims list`"));
}

#[test]
fn running_model_is_not_removed() {
    let user = User::with_model();
    let source = user.bundled.clone().unwrap();
    let name = user.stdout(&["import", source.to_str().unwrap()]).trim().to_owned();
    let mut chat = user.lilims(&["chat", "--model", &name, "--max-tokens", "2"]);
    let mut chat = chat.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = chat.stdin.take().unwrap();
    input.write_all(b"Hello\n").unwrap();
    // The first output appears when the model is loaded.
    let mut answer = [0];
    std::io::Read::read_exact(chat.stdout.as_mut().unwrap(), &mut answer).unwrap();
    let sentence = user.fails(&["rm", &name], 1);
    assert!(sentence.contains("is loaded"), "{sentence}");
    drop(input);
    assert!(chat.wait().unwrap().success());
    user.succeeds(&["rm", &name]);
}

#[test]
fn offline_error_says_what_still_works() {
    let user = User::new();
    for arguments in [&["search", "tiny"][..], &["pull", "a/b"], &["fit", "a/b:Q4_0"]] {
        let sentence = user.fails(arguments, 1);
        assert!(sentence.contains("work without the network"), "{sentence}");
    }
    for target in ["a", "a/", "a/b:"] {
        user.fails(&["pull", target], 2);
    }
    user.fails(&["pull", "a/b", "--limit-rate", "fast"], 2);
}

/// A user with a hub that has the bundled model.
fn user_with_hub() -> User {
    let user = User::with_model();
    let server = HubServer::start();
    let content = Content::on_disk(user.bundled.as_ref().unwrap()).unwrap();
    server.add(Repo::new("someone/tiny-GGUF").with_file("tiny.Q4_1.gguf", content));
    User { hub: Some(server), ..user }
}

#[test]
fn model_is_found_estimated_pulled_and_used_by_name() {
    let user = user_with_hub();
    let found = user.stdout(&["search", "tiny"]);
    assert!(found.contains("someone/tiny-GGUF"), "{found}");
    let fit = user.stdout(&["fit", "someone/tiny-GGUF:Q4_1", "--context", "512"]);
    assert!(fit.to_lowercase().contains("fits"), "{fit}");
    // Only the header was downloaded.
    let server = user.hub.as_ref().unwrap();
    let fetched: u64 = server.requests().iter().map(|request| request.body_bytes).sum();
    assert!(fetched < 20 << 20, "{fetched} bytes for a header");

    let name = user.stdout(&["pull", "someone/tiny-GGUF:Q4_1", "--yes"]);
    let listed = user.json(&["list", "--json"]);
    assert!(listed.to_string().contains(name.trim()), "{name} in {listed}");
    let arguments =
        ["generate", "--model", name.trim(), "--prompt", "Hello", "--raw", "--max-tokens", "3"];
    assert!(!user.stdout(&arguments).trim().is_empty());
    user.succeeds(&["verify", name.trim()]);

    let before = server.requests().len();
    user.succeeds(&["pull", "someone/tiny-GGUF:Q4_1", "--yes"]);
    let again: u64 = server.requests()[before..].iter().map(|request| request.body_bytes).sum();
    assert!(again < 20 << 20, "the model was downloaded again: {again} bytes");
}

#[test]
fn making_room_lists_models_and_needs_confirmation() {
    let user = user_with_hub();
    let file = user.file("other.gguf", 1);
    user.succeeds(&["import", &file]);
    user.succeeds(&["quota", "98.363MB"]);
    let refused = user.fails(&["pull", "someone/tiny-GGUF:Q4_1"], 1);
    assert!(refused.contains("removes") && refused.contains("--yes"), "{refused}");
    assert!(user.stdout(&["list"]).contains("other"));
    let (_, stderr) = user.succeeds(&["pull", "someone/tiny-GGUF:Q4_1", "--yes"]);
    assert!(stderr.contains("removes other"), "{stderr}");
    assert!(!user.stdout(&["list"]).contains("other"));
}

/// A user with a hub that has these small files in `maker/Tiny-GGUF`.
fn user_with_files(files: &[&str]) -> User {
    let user = User::new();
    let server = HubServer::start();
    let mut repo = Repo::new("maker/Tiny-GGUF");
    for (fill, file) in (1..).zip(files) {
        let path = PathBuf::from(user.file(&format!("hub/{fill}.gguf"), fill));
        repo = repo.with_file(file, Content::on_disk(&path).unwrap());
    }
    server.add(repo);
    User { hub: Some(server), ..user }
}

#[test]
fn l13_l18_files_are_pulled_by_tag_name_and_url() {
    let files =
        ["t-UD-Q4_K_XL.gguf", "t-Q5_K_M.gguf", "t-Q5_0.gguf", "Q8_0/model.gguf", "t-imatrix.gguf"];
    let user = user_with_files(&files);
    for (target, file) in [
        ("maker/Tiny-GGUF:ud-q4_k_xl", files[0]),
        ("ollama run hf.co/maker/Tiny-GGUF:Q5_K_M", files[1]),
        ("https://huggingface.co/maker/Tiny-GGUF/blob/main/t-Q5_0.gguf", files[2]),
        ("hf.co/maker/Tiny-GGUF:q8", files[3]),
        ("maker/Tiny-GGUF@main/Q8_0/model.gguf", files[3]),
    ] {
        let name = user.stdout(&["pull", target, "--yes"]);
        let all = user.json(&["list", "--json"]);
        let found = all.as_array().unwrap().iter().find(|it| it["file"] == file);
        let found = found.unwrap_or_else(|| panic!("{target}: {all}"));
        assert!(name.trim().is_empty() || found["name"] == name.trim(), "{target}: {name}");
    }
    // Afterwards a name, a folder and a URL refer to the same model.
    user.succeeds(&["pin", "maker/Tiny-GGUF:q8"]);
    let several = user.fails(&["pull", "maker/Tiny-GGUF:q5"], 1);
    assert!(several.contains(files[1]) && several.contains(files[2]), "{several}");
    let matrix = user.fails(&["pull", "maker/Tiny-GGUF/t-imatrix.gguf"], 1);
    assert!(matrix.contains("importance matrix"), "{matrix}");
    let host = user.fails(&["pull", "https://example.org/a/b"], 2);
    assert!(host.contains("example.org is not the hub"), "{host}");
}

#[test]
fn l12_files_that_are_not_models_are_skipped_by_every_command() {
    let user = User::new();
    let write = |name: &str, kind: &str, tensor: Option<&str>| {
        let path = user.path(&format!("files/{name}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = Writer::default();
        writer.str("general.architecture", "llama").str("general.type", kind);
        if let Some(tensor) = tensor {
            writer.tensor(tensor, &[32], TensorType::F32, vec![0; 128]);
        }
        writer.write(fs::File::create(&path).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let no_models = [
        (write("lora.gguf", "adapter", Some("blk.0.attn_q.weight.lora_a")), "adapter"),
        (write("m.imatrix.gguf", "imatrix", Some("blk.0.attn_q.weight.counts")), "matrix"),
        (write("mmproj-m.gguf", "mmproj", Some("v.blk.0.attn_q.weight")), "projector"),
        (write("vocabulary.gguf", "model", None), "vocabulary"),
        (write("m-00001-of-00002.gguf", "model", Some("token_embd.weight")), "part 1 of 2"),
    ];
    let model = write("m-imatrix-Q4_0.gguf", "model", Some("token_embd.weight"));
    write("whole-00001-of-00001.gguf", "model", Some("token_embd.weight"));
    for (path, what) in &no_models {
        for arguments in [&["import", path][..], &["import", "--in-place", path]] {
            let sentence = user.fails(arguments, 1);
            assert!(sentence.contains(what), "{path}: {sentence}");
        }
    }
    let report = user.stdout(&["scan", user.path("files").to_str().unwrap()]);
    for (path, what) in &no_models {
        let line = report.lines().find(|line| line.contains(path.as_str()));
        assert!(line.is_some_and(|line| line.contains(what)), "{path}: {report}");
    }
    assert_eq!(user.names(), ["m-imatrix-q4_0", "whole-00001-of-00001"]);
    assert_eq!(user.stdout(&["import", &model]).trim(), "m-imatrix-q4_0-2");
}

#[test]
fn l10_damaged_index_is_reported_and_rebuilt() {
    let user = User::new();
    let name = user.import("Tiny.gguf", 1);
    let index = user.path("lilims/lilims.sqlite");
    fs::write(&index, "no database".repeat(1000)).unwrap();
    let (list, stderr) = user.succeeds(&["list"]);
    assert!(list.contains(&name), "{list}");
    assert!(stderr.contains("was damaged") && stderr.contains("lilims.sqlite"), "{stderr}");
    let (_, stderr) = user.succeeds(&["list"]);
    assert!(!stderr.contains("was damaged"), "{stderr}");
}

#[test]
fn l11_moved_home_keeps_its_models() {
    let mut user = User::new();
    let name = user.import("Tiny.gguf", 1);
    user.succeeds(&["pin", &name]);
    let moved = tempfile::tempdir().unwrap();
    fs::rename(user.path("lilims"), moved.path().join("lilims")).unwrap();
    user.home = moved;
    let model = user.json(&["show", &name, "--json"]);
    assert_eq!((&model["is_pinned"], &model["is_missing"]), (&true.into(), &false.into()));
    assert!(user.stdout(&["scan"]).contains("0 models are new"));
    assert_eq!(user.names(), [name]);
}

#[cfg(unix)]
#[test]
fn l2_signals_end_an_import_without_leftovers() {
    let user = User::new();
    let path = user.file("big.gguf", 1);
    // Large enough for a signal during the copy, on file systems without shared blocks.
    fs::File::options().append(true).open(&path).unwrap().set_len(2 << 30).unwrap();
    user.succeeds(&["quota", "10GB"]);
    let partials = user.path("lilims/models/.partial");
    let n_rests = || fs::read_dir(&partials).map_or(0, Iterator::count);
    let mut n_stopped = 0;
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut import = user.lilims(&["import", &path]).spawn().unwrap();
        while n_rests() == 0 && import.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let id = import.id().to_string();
        Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        let status = import.wait().unwrap();
        assert_eq!(n_rests(), 0, "{signal}: {status}");
        if status.code() != Some(0) {
            assert!(matches!(status.code(), Some(130)) || status.code() == Some(code), "{status}");
            n_stopped += 1;
        }
        for name in user.names() {
            user.succeeds(&["rm", &name]);
        }
    }
    assert!(n_stopped > 0, "no import was interrupted");
}

#[test]
fn l8_unfinished_pull_is_listed_and_removed() {
    let user = user_with_files(&["t-Q4_0.gguf"]);
    let server = user.hub.as_ref().unwrap();
    // The header is read before the download.
    let failing = FaultRule { skip: 1, ..FaultRule::always(Target::Bytes, Fault::Status(404)) };
    server.set_faults(FaultPlan::new(0, [failing]));
    user.fails(&["pull", "maker/Tiny-GGUF"], 1);
    let (list, _) = user.succeeds(&["list"]);
    assert!(list.contains("maker/Tiny-GGUF/t-Q4_0.gguf"), "{list}");
    assert!(list.contains("unfinished"), "{list}");
    let row = &user.json(&["list", "--json"])[0];
    assert_eq!((&row["is_unfinished"], &row["done_bytes"]), (&true.into(), &0.into()));
    assert!(user.stdout(&["quota"]).contains("unfinished"));
    let (_, stderr) = user.succeeds(&["rm", "maker/Tiny-GGUF:q4_0"]);
    assert!(stderr.contains("Dropped the unfinished maker/Tiny-GGUF/t-Q4_0.gguf"), "{stderr}");
    assert!(user.names().is_empty() && !user.stdout(&["quota"]).contains("unfinished"));
}
