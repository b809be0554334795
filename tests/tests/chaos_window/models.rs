//! What users do with models and files: switching, downloading, converting, importing, removing.

use std::fs;
use std::process::Output;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use lilims_gguf::{TensorType, Value, Writer};
use lilims_ipc::{Command, ConversionRequest, ConversionState, ModelStatus, Reply};
use lilims_tests::hub_server::{Content, FaultPlan, Repo};
use lilims_tests::lilims;
use serde_json::json;

use crate::action::TYPES;
use crate::checks;
use crate::ledger::Allowed;
use crate::world::{BUNDLED, Refusal, World};

/// More models of our own than this are removed before another one is made.
const MAX_OWN_MODELS: usize = 3;
/// The smallest file that is downloaded.
const MIN_BYTES: u64 = 1 << 20;
const OPTION: &str = "[data-testid=model-picker-option]";
const FILE: &str = "tiny-Q8_0.gguf";

/// A model file with data that follow from `seed`: listed, but too little to load.
fn tiny_model(seed: u64) -> Result<Content> {
    let data_bytes = (MIN_BYTES + seed % (8 << 20)).next_multiple_of(32);
    let mut head = Vec::new();
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama").str("general.name", &format!("Tiny {seed}"));
    writer.value("llama.context_length", Value::U32(2048));
    writer.tensor("token_embd.weight", &[data_bytes / 4], TensorType::F32, Vec::new());
    writer.write(&mut head)?;
    let len_bytes = head.len() as u64 + data_bytes;
    Ok(Content::generated(seed, len_bytes).with_head(head))
}

/// What a call came to.
fn outcome(result: Result<Reply, Refusal>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(Refusal(text)) => format!("refused: {text}"),
    }
}

/// One of `all`, counted around.
fn pick<T>(all: &[T], index: u64) -> Option<&T> {
    all.get((index % all.len().max(1) as u64) as usize)
}

impl World {
    /// Loads another model, as users pick it.
    pub(crate) fn switch_model(&self, index: u64) -> Result<String> {
        self.wait_for_end()?;
        self.press_soon("model-picker")?;
        let window = self.window()?;
        window.wait("the models", || {
            Ok((!self.attributes(OPTION, "data-name")?.is_empty()).then_some(()))
        })?;
        let names = self.attributes(OPTION, "data-name")?;
        let at = index % names.len() as u64;
        self.press(OPTION, at)?;
        window.wait("the end of loading", || {
            // It begins to load after it was picked.
            std::thread::sleep(Duration::from_millis(300));
            let states = self.attributes("[data-testid=model-status]", "data-state")?;
            Ok(states.first().is_some_and(|it| it != "loading").then_some(()))
        })?;
        self.wait_for_model()?;
        Ok(names[at as usize].clone())
    }

    /// Unloads the model.
    pub(crate) fn unload(&self) -> Result<String> {
        Ok(outcome(self.call(&Command::UnloadModel)?))
    }

    /// Queues a download that meets faults.
    pub(crate) fn download(&self, seed: u64) -> Result<String> {
        self.make_room()?;
        let repository = format!("chaos/tiny-{seed}");
        self.hub.add(Repo::new(&repository).with_file(FILE, tiny_model(seed)?));
        self.hub.set_faults(FaultPlan::random(seed));
        let agreed_removals = Vec::new();
        let download = Command::Download { repository, file: FILE.to_owned(), agreed_removals };
        Ok(outcome(self.call(&download)?))
    }

    /// Cancels a download.
    pub(crate) fn cancel_download(&self, index: u64) -> Result<String> {
        let downloads = checks::downloads(&self.data())?;
        let Some(download) = pick(&downloads, index) else {
            return Ok("no download".to_owned());
        };
        let done = outcome(self.call(&Command::CancelDownload { id: download.id })?);
        Ok(format!("{}: {done}", download.state))
    }

    /// Pauses a download, or resumes it.
    pub(crate) fn pause_download(&self, index: u64) -> Result<String> {
        let downloads = checks::downloads(&self.data())?;
        let Some(download) = pick(&downloads, index) else {
            return Ok("no download".to_owned());
        };
        let id = download.id;
        let is_open = matches!(&*download.state, "queued" | "running");
        let change =
            if is_open { Command::PauseDownload { id } } else { Command::ResumeDownload { id } };
        let done = outcome(self.call(&change)?);
        Ok(format!("{}: {done}", download.state))
    }

    /// Checks that a model which is said to be complete is the hub's, bit by bit.
    fn check_downloads(&self) -> Result<()> {
        let models = checks::own_models(&self.data())?;
        for download in checks::downloads(&self.data())? {
            let Some(model) = models.iter().find(|it| Some(&it.name) == download.model.as_ref())
            else {
                continue;
            };
            let found =
                Content::on_disk(&self.data().join("models").join(&model.path))?.sha256()?;
            let expected = self.hub.sha256(&download.repository, &download.file);
            ensure!(Some(&found) == expected.as_ref(), "{download:?} is not what the hub has");
        }
        Ok(())
    }

    /// Converts the bundled model.
    pub(crate) fn convert(&self, index: u64) -> Result<String> {
        self.make_room()?;
        let _ = self.call(&Command::ClearConversion)?;
        let target = TYPES[(index % TYPES.len() as u64) as usize].to_owned();
        let request = ConversionRequest {
            name: BUNDLED.to_owned(),
            target,
            is_weighed: false,
            is_measured: false,
            agreed_removals: Vec::new(),
        };
        Ok(outcome(self.call(&Command::Convert { request })?))
    }

    /// Cancels the running conversion.
    pub(crate) fn cancel_conversion(&self) -> Result<String> {
        Ok(outcome(self.call(&Command::CancelConversion)?))
    }

    /// Imports a file of conversations.
    pub(crate) fn import_conversations(&mut self, count: u64) -> Result<String> {
        let texts: Vec<_> =
            (0..count).map(|at| format!("Imported (chaos {} {at})", self.n)).collect();
        let path = self.files().join("import.json");
        let conversations: Vec<_> =
            texts.iter().enumerate().map(|(at, text)| exported(self.n, at, text)).collect();
        let file = json!({ "format": "lilims-conversations", "version": 1, "conversations": conversations });
        fs::write(&path, file.to_string())?;
        // By the other door: the page names no file that was not dropped or opened.
        let output = self.lilims(&["conversations", "import", &path.to_string_lossy()])?;
        ensure!(output.status.success(), "{output:?}");
        let n_answers = texts.len();
        self.compare(&Allowed { questions: texts, n_answers, must: true, ..Allowed::default() })?;
        Ok(String::new())
    }

    /// Imports a model file.
    pub(crate) fn import_model(&self, seed: u64) -> Result<String> {
        self.make_room()?;
        let path = self.files().join(format!("imported-{seed}.gguf"));
        let content = tiny_model(seed)?;
        fs::write(&path, content.read(0..content.len_bytes())?)?;
        let output = self.lilims(&["import", &path.to_string_lossy()])?;
        fs::remove_file(&path)?;
        Ok(output.status.to_string())
    }

    /// Runs the command line beside the app.
    fn lilims(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = lilims(arguments);
        Ok(command.env("LILIMS_HOME", self.data()).env("HOME", self.home.path()).output()?)
    }

    /// Removes a model of our folder.
    pub(crate) fn remove_model(&self, index: u64) -> Result<String> {
        let models = checks::own_models(&self.data())?;
        let Some(model) = pick(&models, index) else {
            return Ok("no model".to_owned());
        };
        let removed = outcome(self.call(&Command::RemoveModel { name: model.name.clone() })?);
        Ok(format!("{}: {removed}", model.name))
    }

    /// Removes models until there is room for another one. One that is in use stays.
    fn make_room(&self) -> Result<()> {
        let models = checks::own_models(&self.data())?;
        for model in models.iter().skip(MAX_OWN_MODELS) {
            let _ = self.call(&Command::RemoveModel { name: model.name.clone() })?;
        }
        Ok(())
    }

    /// Ends all work, loads the bundled model, shows an empty conversation and measures.
    pub(crate) fn rest_and_measure(&mut self) -> Result<String> {
        self.wait_for_end()?;
        self.check_downloads()?;
        self.end_work()?;
        self.load_bundled()?;
        self.wait_for_model()?;
        let window = self.window()?;
        window.session().resize(1280, 800)?;
        window.wait_for_model("ready")?;
        window.wait("the bundled model", || {
            let status = self.must(&Command::Status)?;
            let Reply::Status(ModelStatus::Ready { model }) = status else { return Ok(None) };
            Ok((model.quantisation == "Q4_1").then_some(()))
        })?;
        self.new_chat()?;
        // The session is saved, and connections to the hub are closed, after some seconds.
        std::thread::sleep(Duration::from_secs(6));
        self.measure()
    }

    /// Cancels the conversion and all downloads.
    fn end_work(&self) -> Result<()> {
        let _ = self.call(&Command::CancelConversion)?;
        self.window()?.wait("the end of the conversion", || {
            let Reply::Conversion(conversion) = self.must(&Command::Conversion)? else {
                bail!("no conversion")
            };
            let is_running =
                conversion.is_some_and(|it| matches!(it.state, ConversionState::Running { .. }));
            Ok((!is_running).then_some(()))
        })?;
        for download in checks::downloads(&self.data())? {
            self.must(&Command::CancelDownload { id: download.id })?;
        }
        self.hub.set_faults(FaultPlan::none());
        Ok(())
    }
}

/// A conversation of one question and its answer, as Lilims exports it.
fn exported(n: usize, at: usize, text: &str) -> serde_json::Value {
    let id = |kind: u32| format!("0190a1b2c3d47e5f{kind:04x}{n:08x}{at:04x}");
    let message = |kind, parent: Option<String>, role, text: &str| {
        json!({ "id": id(kind), "parent": parent, "role": role, "created_ms": 1_700_000_000_000_u64,
            "state": "done", "parts": [{ "kind": "text", "text": text }] })
    };
    json!({ "id": id(1), "created_ms": 1_700_000_000_000_u64, "updated_ms": 1_700_000_000_000_u64,
        "current_leaf": id(3), "messages": [
            message(2, None, "user", text),
            message(3, Some(id(2)), "assistant", "An imported answer."),
        ] })
}
