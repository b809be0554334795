//! Settings on their levels and assistants, from commands to the question that the model gets.

use std::sync::Arc;

use lilims_ipc::{
    Assistant, AssistantId, Assistants, Conversation, ConversationId, Problem, Request, Setting,
    SettingOrigin, SettingRow, SettingValue, Settings,
};
use serde_json::json;

use super::*;
use crate::database::Database;
use crate::model_host::{Idle, Target};
use crate::parrot::loaded;

struct Door {
    host: ModelHost,
    conversations: Conversations,
}

impl Door {
    fn new() -> Self {
        let conversations = Conversations::new(Arc::new(|_| {}));
        conversations.provide(Database::temporary(None));
        let idle = Idle { after: std::time::Duration::MAX, is_short: || false };
        let load = |_: &Target, _: &dyn Fn(String)| loaded();
        Self {
            host: ModelHost::start(Target::default, |_| {}, load, idle, |_, _| {}, None),
            conversations,
        }
    }

    fn try_call(&self, command: Command) -> Result<Reply, Error> {
        call(&self.host, &self.conversations, command)
    }

    fn call(&self, command: Command) -> Reply {
        self.try_call(command).unwrap()
    }

    fn conversation(&self) -> Conversation {
        match self.call(Command::OpenConversation { conversation: None, message: None }) {
            Reply::Conversation(conversation) => conversation,
            reply => panic!("{reply:?}"),
        }
    }

    fn assistants(&self) -> Assistants {
        match self.call(Command::Assistants) {
            Reply::Assistants(assistants) => assistants,
            reply => panic!("{reply:?}"),
        }
    }

    fn create(&self, like: Option<&str>, name: &str) -> Assistant {
        let like = like.map(|id| AssistantId(id.to_owned()));
        match self.call(Command::CreateAssistant { like, name: name.to_owned() }) {
            Reply::Assistant(assistant) => assistant,
            reply => panic!("{reply:?}"),
        }
    }

    fn set(&self, scope: &SettingScope, setting: Setting, value: SettingValue) {
        self.call(Command::SetSetting { scope: scope.clone(), setting, value: Some(value) });
    }

    fn row(&self, scope: &SettingScope, setting: Setting) -> SettingRow {
        match self.call(Command::Settings { scope: scope.clone() }) {
            Reply::Settings(rows) => rows.into_iter().find(|row| row.setting == setting).unwrap(),
            reply => panic!("{reply:?}"),
        }
    }

    fn use_assistant(&self, conversation: &ConversationId, assistant: Option<&AssistantId>) {
        let (conversation, assistant) = (conversation.clone(), assistant.cloned());
        self.call(Command::UseAssistant { conversation, assistant });
    }

    /// What the model gets for a question.
    fn asked(&self, text: &str) -> crate::Question {
        let Conversation { id, messages, .. } = self.conversation();
        let parent = messages.last().map(|message| message.id.clone());
        let text = Some(text.to_owned());
        let request = Request { conversation: id, parent, text, attachments_of: None };
        self.conversations.ask(&request, &self.host.token_counter()).unwrap().question
    }
}

fn number(number: f64) -> SettingValue {
    SettingValue::Number(number)
}

fn text(text: &str) -> SettingValue {
    SettingValue::Text(text.to_owned())
}

fn here(conversation: &Conversation) -> SettingScope {
    SettingScope::Conversation(conversation.id.clone())
}

#[test]
fn a_conversation_follows_its_assistant_and_its_own_settings_go_first() {
    let door = Door::new();
    let conversation = door.conversation();
    let here = here(&conversation);
    let mine = door.create(None, "Mine");
    let scope = SettingScope::Assistant(mine.id.clone());
    door.set(&SettingScope::Everywhere, Setting::TopK, number(10.0));
    door.set(&scope, Setting::Instructions, text("Be brief."));
    door.set(&scope, Setting::TopK, number(20.0));
    door.use_assistant(&conversation.id, Some(&mine.id));
    assert_eq!(door.conversation().assistant, Some(mine.id.clone()));
    let row = door.row(&here, Setting::TopK);
    assert_eq!(
        (row.own, row.inherited, row.origin),
        (None, Some(number(20.0)), SettingOrigin::Assistant)
    );
    door.set(&here, Setting::TopK, number(30.0));
    let question = door.asked("hi");
    let expected: Settings =
        [(Setting::TopK, number(30.0)), (Setting::Instructions, text("Be brief."))].into();
    assert_eq!(question.settings, expected);
    let contents: Vec<&str> = question.messages.iter().map(|it| &*it.content).collect();
    assert_eq!(contents, ["Be brief.", "hi"]);
    let reset = Command::SetSetting { scope: here.clone(), setting: Setting::TopK, value: None };
    door.call(reset);
    assert_eq!(door.row(&here, Setting::TopK).own, None);
}

#[test]
fn conversations_keep_the_settings_of_an_assistant_that_is_deleted() {
    let door = Door::new();
    let conversation = door.conversation();
    let mine = door.create(Some("tutor"), "Mine");
    door.use_assistant(&conversation.id, Some(&mine.id));
    door.set(&here(&conversation), Setting::Temperature, number(1.0));
    door.call(Command::RemoveAssistant { assistant: mine.id.clone() });
    assert_eq!(door.conversation().assistant, None);
    let settings = door.asked("hi").settings;
    assert_eq!(settings[&Setting::Temperature], number(1.0));
    assert!(settings.contains_key(&Setting::Instructions), "{settings:?}");
    let gone = door.try_call(Command::Settings { scope: SettingScope::Assistant(mine.id) });
    assert_eq!(gone.unwrap_err().problem, Problem::AssistantGone);
}

#[test]
fn assistants_of_ours_are_changed_and_reset() {
    let door = Door::new();
    let ours = door.assistants().assistants;
    assert_eq!(ours.len(), 5);
    assert!(ours.iter().all(|it| it.is_built_in && !it.is_changed));
    let scope = SettingScope::Assistant(ours[0].id.clone());
    let before = door.row(&scope, Setting::Temperature).own;
    door.set(&scope, Setting::Temperature, number(0.1));
    assert!(door.assistants().assistants[0].is_changed);
    assert!(door.row(&scope, Setting::Instructions).own.is_some(), "the others stay");
    door.call(Command::RemoveAssistant { assistant: ours[0].id.clone() });
    assert_eq!(door.row(&scope, Setting::Temperature).own, before);
    assert_eq!(door.assistants().assistants, ours);
}

#[test]
fn presets_are_copied_into_conversations() {
    let door = Door::new();
    let conversation = door.conversation();
    let here = here(&conversation);
    door.set(&here, Setting::MinP, number(0.2));
    for _ in 0..2 {
        let name = "Wild".to_owned();
        door.call(Command::SavePreset { conversation: conversation.id.clone(), name });
    }
    let presets = door.assistants().presets;
    assert_eq!(presets.len(), 1, "one name, one preset");
    door.set(&here, Setting::MinP, number(0.0));
    let preset = presets[0].id.clone();
    door.call(Command::UsePreset { conversation: conversation.id.clone(), preset: preset.clone() });
    assert_eq!(door.row(&here, Setting::MinP).own, Some(number(0.2)));
    door.call(Command::RemovePreset { preset });
    assert_eq!(door.assistants().presets, []);
}

#[test]
fn assistants_are_exported_and_imported() {
    let (door, folder) = (Door::new(), tempfile::tempdir().unwrap());
    let mine = door.create(Some("writer"), "Mine");
    let path = folder.path().join("assistants.json").display().to_string();
    assert_eq!(door.call(Command::ExportAssistants { path: path.clone() }), Reply::Exported(1));
    let import = Command::ImportAssistants { paths: vec![path.clone()] };
    assert_eq!(door.call(import.clone()), Reply::Exported(0), "it is here");
    let other = Door::new();
    assert_eq!(other.call(import.clone()), Reply::Exported(1));
    assert_eq!(other.assistants(), door.assistants());
    let scope = SettingScope::Assistant(mine.id);
    let row = |door: &Door| door.row(&scope, Setting::Instructions);
    assert_eq!(row(&other), row(&door));
    std::fs::write(&path, json!({ "format": "other", "assistants": [] }).to_string()).unwrap();
    let error = other.try_call(import).unwrap_err();
    assert_eq!(error.problem, Problem::NotAnExport { file: "assistants.json".into() });
}

#[test]
fn settings_of_the_version_before_keep_what_was_chosen() {
    let door = Door::new();
    let stored = json!({ "temperature": 0.7, "top_p": 0.5, "max_tokens": 1024, "seed": null });
    door.conversations.store().unwrap().overwrite("sampling", &stored).unwrap();
    assert_eq!(door.asked("hi").settings, [(Setting::TopP, number(0.5))].into());
}

#[test]
fn a_schema_that_cannot_be_used_is_refused() {
    let door = Door::new();
    let set = |schema: &str| {
        door.try_call(Command::SetSetting {
            scope: SettingScope::Everywhere,
            setting: Setting::JsonSchema,
            value: Some(text(schema)),
        })
    };
    set(r#"{"type": "object"}"#).unwrap();
    for schema in ["{", "3", r#"{"type": "text"}"#] {
        let problem = set(schema).unwrap_err().problem;
        assert!(matches!(problem, Problem::SchemaInvalid { .. }), "{schema}: {problem:?}");
    }
    let row = door.row(&SettingScope::Everywhere, Setting::JsonSchema);
    assert_eq!(row.own, Some(text(r#"{"type": "object"}"#)));
}
