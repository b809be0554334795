//! Commands of a door to the application: as bytes, and carried out over a data folder of their own.
//!
//! An input is a list of commands, each after its length in two bytes. `@c` in it is the conversation that was
//! opened last, `@m` its last message. Every path in a command leads into that folder. Commands that use the
//! network or the system's keychain are decoded, not carried out.

use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use lilims_core::App;
use lilims_gguf::TensorType;
use lilims_ipc::{
    AppEvent, AttachmentChange, Command, ConversationChange, ConversationId, Error, Event,
    ExportFormat, Formula, MessageId, Overflow, Reply, Request, Setting, SettingScope,
    SettingValue, wire,
};
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use crate::{Bound, Target, scratch, tiny_model};

/// Decodes commands and carries them out. The variable `LILIMS_HOME` must name a folder whose name begins with
/// `lilims-fuzz-`, which is emptied.
pub(crate) const COMMANDS: Target = Target {
    name: "commands",
    run: call,
    seeds,
    words: &[
        "\x02@c",
        "\x02@m",
        "\x07page.md",
        "\x09model.txt",
        "\x0amodel.gguf",
        "\x02..",
        "\x01/",
        "\x00",
        "\x01",
        "\x7f\x7f\x7f\x7f\x7f\x7f",
        "rust",
        "\\frac{a}{b}",
        "\\begin{matrix}",
        "\\def\\a{\\a}",
        "\"quoted\" -not",
        "NEAR(",
        "*",
        "\u{0}",
        "\u{202e}",
    ],
    // The grammars for highlighting code, the engine's buffers for a model, and what a formula may take.
    bound: Bound { base_bytes: 256 << 20, per_byte: 1000 },
    n_smoke: 150,
};

/// The most commands of an input.
const MAX_COMMANDS: usize = 16;
/// How many inputs an application carries out before it is replaced by an empty one.
const INPUTS_OF_ONE: u32 = 64;

/// The application, and what its ids are.
struct Door {
    app: App,
    n_inputs: u32,
    conversation: String,
    message: String,
}

static DOOR: Mutex<Option<Door>> = Mutex::new(None);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime starts"))
}

/// The folder that `LILIMS_HOME` names.
fn home() -> PathBuf {
    let home = std::env::var_os("LILIMS_HOME").map(PathBuf::from).unwrap_or_default();
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    assert!(name.starts_with("lilims-fuzz-"), "LILIMS_HOME must be a folder of this target's own");
    home
}

impl Door {
    fn open() -> Self {
        let home = home();
        let _ = std::fs::remove_dir_all(&home);
        let outside = home.join("files");
        for (name, content) in [
            ("model.gguf", tiny_model::file("llama", TensorType::Q8_0)),
            ("page.md", b"# a\n\nb".to_vec()),
            ("page.html", b"<p>a<table><tr><td>b".to_vec()),
            ("model.txt", "Grüße".as_bytes().to_vec()),
            ("claude.json", include_bytes!("../../interchange/tests/data/claude.json").to_vec()),
            ("lilims.json", include_bytes!("../../interchange/tests/data/lilims.json").to_vec()),
        ] {
            scratch::write(&outside.join(name), &content);
        }
        let app = runtime().block_on(async { App::start(None, |_| {}) });
        Self { app, n_inputs: 0, conversation: String::new(), message: String::new() }
    }

    fn call(&mut self, command: &Command) {
        let Some(command) = self.with_ids(command).and_then(confined) else { return };
        if uses_what_is_not_ours(&command) {
            return;
        }
        let reply = runtime().block_on(self.app.call(command));
        let bytes = wire::encode(&reply);
        // Errors are for the page alone, whose type of them is another one.
        let has_error = serde_json::to_string(&reply).is_ok_and(|json| json.contains("\"code\":"));
        if !has_error {
            let again: Result<Reply, Error> = wire::decode(&bytes).expect("a reply crosses");
            // Bytes, since numbers that are none differ from themselves.
            assert_eq!(wire::encode(&again), bytes, "a reply is read as it was written");
        }
        if let Ok(Reply::Conversation(conversation)) = reply {
            self.conversation = conversation.id.0;
            self.message =
                conversation.messages.last().map_or(String::new(), |last| last.id.0.clone());
        }
    }

    /// The command with the ids that stand for others. One that JSON cannot express stays as it is.
    fn with_ids(&self, command: &Command) -> Option<Command> {
        let mut json = serde_json::to_value(command).ok()?;
        self.put_ids(&mut json);
        Some(serde_json::from_value(json).unwrap_or_else(|_| command.clone()))
    }

    fn put_ids(&self, json: &mut Json) {
        match json {
            Json::String(text) if text == "@c" => self.conversation.clone_into(text),
            Json::String(text) if text == "@m" => self.message.clone_into(text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.put_ids(item)),
            Json::Object(items) => items.values_mut().for_each(|item| self.put_ids(item)),
            _ => {}
        }
    }
}

/// The command with every path inside the folder; `None` if another part of it names one.
fn confined(mut command: Command) -> Option<Command> {
    let files = home().join("files");
    let confine = |path: &mut String| {
        let parts = Path::new(&*path).components();
        let parts = parts.filter(|part| matches!(part, Component::Normal(_)));
        *path = files.join(parts.collect::<PathBuf>()).to_string_lossy().into_owned();
    };
    match &mut command {
        Command::ExportConversations { path, .. }
        | Command::ExportAssistants { path }
        | Command::AddFolder { path }
        | Command::RemoveFolder { path } => confine(path),
        Command::ImportConversations { paths }
        | Command::ImportAssistants { paths }
        | Command::ImportFiles { paths }
        | Command::Attachments { change: AttachmentChange::Files { paths }, .. } => {
            paths.iter_mut().for_each(confine);
        }
        _ => {}
    }
    let json = serde_json::to_value(&command).ok()?;
    has_only_paths_below(&json, &files).then_some(command)
}

fn has_only_paths_below(json: &Json, folder: &Path) -> bool {
    let is_below =
        |path: &Json| path.as_str().is_some_and(|path| Path::new(path).starts_with(folder));
    match json {
        Json::Object(items) => items.iter().all(|(key, value)| match (key.as_str(), value) {
            ("path", path) => is_below(path),
            ("paths", Json::Array(paths)) => paths.iter().all(is_below),
            _ => has_only_paths_below(value, folder),
        }),
        Json::Array(items) => items.iter().all(|item| has_only_paths_below(item, folder)),
        _ => true,
    }
}

/// Whether it asks the hub or changes the keychain.
fn uses_what_is_not_ours(command: &Command) -> bool {
    matches!(
        command,
        Command::SearchHub { .. }
            | Command::Repository { .. }
            | Command::FitOnHub { .. }
            | Command::PlanDownload { .. }
            | Command::Download { .. }
            | Command::ResumeDownload { .. }
            | Command::VerifyModel { .. }
            | Command::SetAccessToken { .. }
            | Command::SetLimits { .. }
    )
}

fn call(input: &[u8]) {
    // What crosses in either direction.
    let _ = wire::decode::<Request>(input);
    let _ = wire::decode::<Event>(input);
    let _ = wire::decode::<AppEvent>(input);
    let _ = wire::decode::<Result<Reply, Error>>(input);
    let mut door = DOOR.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = door.take_if(|door| door.n_inputs >= INPUTS_OF_ONE) {
        old.app.shut_down();
    }
    let door = door.get_or_insert_with(Door::open);
    door.n_inputs += 1;
    let mut rest = input;
    for _ in 0..MAX_COMMANDS {
        let Some((len, after)) = rest.split_first_chunk() else { break };
        let (bytes, after) = after.split_at(usize::from(u16::from_le_bytes(*len)).min(after.len()));
        rest = after;
        if let Ok(command) = wire::decode::<Command>(bytes) {
            assert_eq!(
                wire::decode::<Command>(&wire::encode(&command))
                    .map(|again| wire::encode(&again))
                    .ok(),
                Some(wire::encode(&command)),
                "a command is read as it was written"
            );
            door.call(&command);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let conversation = || ConversationId("@c".to_owned());
    let message = || MessageId("@m".to_owned());
    let open = || Command::OpenConversation { conversation: None, message: None };
    let import =
        || Command::ImportConversations { paths: vec!["claude.json".into(), "lilims.json".into()] };
    let lists: [Vec<Command>; 8] = [
        vec![Command::Status, open(), Command::Conversations, Command::Library, Command::Catalogue],
        vec![import(), Command::SearchConversations { query: "green te".into() }, open()],
        vec![
            import(),
            open(),
            Command::EditMessage { message: message(), text: "a".into() },
            Command::ForkConversation { message: message() },
            Command::BranchMap { conversation: conversation() },
            Command::DeleteMessage { message: message() },
            Command::RestoreMessage { message: message(), leaf: message() },
            Command::ExactPrompt { message: message() },
        ],
        vec![
            Command::NewConversation,
            Command::SetDraft { conversation: conversation(), text: "b".into() },
            Command::Attachments {
                conversation: conversation(),
                change: AttachmentChange::Files {
                    paths: vec!["page.md".into(), "page.html".into()],
                },
            },
            Command::ChangeConversation {
                conversation: conversation(),
                change: ConversationChange::Title("t".into()),
            },
            Command::SetOverflow { conversation: conversation(), overflow: Overflow::Stop },
            Command::ExportConversations {
                conversation: None,
                format: ExportFormat::Json,
                path: "out".into(),
            },
            Command::ImportConversations { paths: vec!["out".into()] },
        ],
        vec![
            Command::Settings { scope: SettingScope::Everywhere },
            Command::SetSetting {
                scope: SettingScope::Conversation(conversation()),
                setting: Setting::Temperature,
                value: Some(SettingValue::Number(0.5)),
            },
            Command::CreateAssistant { like: None, name: "n".into() },
            Command::Assistants,
            Command::SavePreset { conversation: conversation(), name: "p".into() },
            Command::ExportAssistants { path: "assistants.json".into() },
            Command::ImportAssistants { paths: vec!["assistants.json".into()] },
        ],
        vec![
            Command::ImportFiles { paths: vec!["model.gguf".into(), "model.txt".into()] },
            Command::Fit { name: "model".into(), context_tokens: Some(7) },
            Command::PinModel { name: "model".into(), is_pinned: true },
            Command::UseModel {
                name: "model".into(),
                context_tokens: Some(32),
                conversation: None,
            },
            Command::ConversionOffer { name: "model".into(), is_weighed: false },
            Command::UnloadModel,
            Command::RemoveModel { name: "model".into() },
            Command::SetQuota { quota_bytes: Some(1 << 30) },
        ],
        vec![
            Command::AddFolder { path: ".".into() },
            Command::Scan,
            Command::RemoveFolder { path: ".".into() },
            Command::CreateConversationFolder { name: "f".into() },
            Command::Desktop,
        ],
        vec![
            Command::Highlight { language: "rust".into(), code: "fn a() { \"b\" } // c".into() },
            Command::Formulas {
                formulas: vec![Formula { latex: "\\frac{a}{b}^2".into(), is_display: true }],
            },
            Command::OpenLink { address: "https://a.b".into() },
            Command::DeleteAllConversations,
        ],
    ];
    let bytes = |commands: Vec<Command>| {
        let parts = commands.iter().flat_map(|command| {
            let bytes = wire::encode(command);
            let len = u16::try_from(bytes.len()).expect("a seed's commands are short");
            [len.to_le_bytes().to_vec(), bytes].concat()
        });
        parts.collect()
    };
    lists.map(bytes).into()
}
