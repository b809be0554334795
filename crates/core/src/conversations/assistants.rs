//! Settings of all conversations, of assistants and of one conversation, and the assistants themselves.

use std::io::Write;
use std::path::Path;

use lilims_ipc::{
    self as ipc, AppEvent, AssistantId, Error, Preset, Problem, Setting, SettingOrigin, SettingRow,
    SettingScope, SettingValue, Settings,
};
use lilims_store::{self as store, Assistant, AssistantKind, ConversationChange, ConversationId};
use serde_json::{Map, Value, json};

use super::Conversations;
use super::organise::one_line;
use crate::built_in_assistants::{self as built_in, BuiltIn};
use crate::database::from_store;
use crate::settings::{self, Levels};

/// The key of the settings of all conversations.
const EVERYWHERE: &str = "sampling";
/// The name of a conversation's assistant among its settings.
const ASSISTANT: &str = "assistant";
/// Names a file of assistants.
const FORMAT: &str = "lilims-assistants";
/// The largest file of assistants.
const MAX_FILE_BYTES: u64 = 8 << 20;

impl Conversations {
    /// All settings of a level; `model` is what the loaded model recommends.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], [`Problem::AssistantGone`], or if the database cannot be read.
    pub(crate) fn settings(
        &self,
        scope: &SettingScope,
        model: Settings,
    ) -> Result<Vec<SettingRow>, Error> {
        let mut levels = Levels::on_model(model);
        let own = match scope {
            SettingScope::Everywhere => self.everywhere()?,
            SettingScope::Assistant(id) => {
                levels.push(SettingOrigin::Everywhere, self.everywhere()?);
                self.assistant_settings(&id.0)?.ok_or(Problem::AssistantGone)?
            }
            SettingScope::Conversation(id) => {
                let conversation = self.stored(id)?;
                levels.push(SettingOrigin::Everywhere, self.everywhere()?);
                if let Some(assistant) = self.settings_of_assistant_of(&conversation)? {
                    levels.push(SettingOrigin::Assistant, assistant);
                }
                own(&conversation)
            }
        };
        Ok(levels.rows(&own))
    }

    /// Sets a setting of a level. A value that is empty or of another kind removes it.
    ///
    /// # Errors
    /// As for [`Conversations::settings`] and [`settings::check`], or if the database cannot be
    /// written.
    pub(crate) fn set_setting(
        &self,
        scope: &SettingScope,
        setting: Setting,
        value: Option<SettingValue>,
    ) -> Result<(), Error> {
        let value = value.and_then(|value| settings::clean(setting, value));
        settings::check(setting, value.as_ref())?;
        let changed = |mut settings: Settings| {
            match value {
                Some(value) => settings.insert(setting, value),
                None => settings.remove(&setting),
            };
            settings
        };
        match scope {
            SettingScope::Everywhere => {
                let stored = self.stored_everywhere()?;
                let json = settings::to_json(&changed(self.everywhere()?), stored.as_ref());
                let json = json.unwrap_or_else(|| json!({}));
                self.store()?.overwrite(EVERYWHERE, &json).map_err(from_store)
            }
            SettingScope::Assistant(id) => {
                let own = self.assistant_settings(&id.0)?.ok_or(Problem::AssistantGone)?;
                let row = self.row(&id.0)?;
                let settings = settings::to_json(&changed(own), row.settings.as_ref());
                // An assistant of ours without any settings differs from one as it came.
                let settings = settings.or_else(|| Some(json!({})));
                self.put(&Assistant { settings, ..row })
            }
            SettingScope::Conversation(id) => {
                let conversation = self.stored(id)?;
                self.set_own(&conversation, &changed(own(&conversation)))
            }
        }
    }

    /// Makes the model that of the conversation, if a setting of any level asks for another one.
    ///
    /// # Errors
    /// As for [`Conversations::set_setting`].
    pub(crate) fn keep_model(&self, id: &ipc::ConversationId, name: String) -> Result<(), Error> {
        let chosen = self.chosen(&self.stored(id)?)?;
        if settings::text(&chosen, Setting::Model).is_none_or(|chosen| chosen == name) {
            return Ok(());
        }
        let scope = SettingScope::Conversation(id.clone());
        self.set_setting(&scope, Setting::Model, Some(SettingValue::Text(name)))
    }

    /// What was chosen for a conversation: for all conversations, by its assistant, and by itself.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) fn chosen(&self, conversation: &store::Conversation) -> Result<Settings, Error> {
        let mut chosen = self.everywhere()?;
        chosen.extend(self.settings_of_assistant_of(conversation)?.unwrap_or_default());
        chosen.extend(own(conversation));
        Ok(chosen)
    }

    /// The assistants and presets.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) fn assistants(&self) -> Result<ipc::Assistants, Error> {
        let rows = self.store()?.assistants().map_err(from_store)?;
        let ours = built_in::ALL.iter().map(|it| {
            shown(
                &rows.iter().find(|row| row.id == it.id).cloned().unwrap_or_else(|| as_it_came(it)),
            )
        });
        let (mut others, mut presets) = (Vec::new(), Vec::new());
        for row in &rows {
            match row.kind {
                AssistantKind::Preset => presets.push(Preset {
                    id: AssistantId(row.id.clone()),
                    name: row.name.clone().unwrap_or_default(),
                }),
                AssistantKind::Assistant if built_in::find(&row.id).is_none() => {
                    others.push(shown(row));
                }
                AssistantKind::Assistant => {}
            }
        }
        others.sort_by_cached_key(|it| it.name.to_lowercase());
        presets.sort_by_cached_key(|it| it.name.to_lowercase());
        Ok(ipc::Assistants { assistants: ours.chain(others).collect(), presets })
    }

    /// Creates an assistant, as a copy of `like`.
    ///
    /// # Errors
    /// [`Problem::AssistantGone`], or if the database cannot be written.
    pub(crate) fn create_assistant(
        &self,
        like: Option<&AssistantId>,
        name: &str,
    ) -> Result<ipc::Assistant, Error> {
        let mut row = new_row(AssistantKind::Assistant, name);
        if let Some(like) = like {
            let settings = self.assistant_settings(&like.0)?.ok_or(Problem::AssistantGone)?;
            let ours = built_in::find(&like.0).map(|it| it.look.to_owned());
            row.look = self.row(&like.0)?.look.or(ours);
            row.settings = settings::to_json(&settings, None);
        }
        self.put(&row)?;
        Ok(shown(&row))
    }

    /// Changes the name and the look of an assistant.
    ///
    /// # Errors
    /// [`Problem::AssistantGone`], or if the database cannot be written.
    pub(crate) fn change_assistant(
        &self,
        id: &AssistantId,
        name: &str,
        look: &str,
    ) -> Result<(), Error> {
        let row = self.row(&id.0)?;
        let look = Some(look.trim().chars().take(MAX_LOOK_CHARS).collect());
        // An empty name of one of ours is the name that it came with.
        let name = one_line(name).or(row.name.filter(|_| built_in::find(&id.0).is_none()));
        self.put(&Assistant { name, look, ..row })
    }

    /// Deletes an assistant or a preset; what conversations had of it they have themselves from then on.
    /// One of ours becomes as it came.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) fn remove_assistant(&self, id: &AssistantId) -> Result<(), Error> {
        let store = self.store()?;
        if built_in::find(&id.0).is_none()
            && let Some(settings) = self.assistant_settings(&id.0)?
        {
            for id in store.conversations_with_assistant(&id.0).map_err(from_store)? {
                let Some(conversation) = store.conversation(&id).map_err(from_store)? else {
                    continue;
                };
                let mut merged = settings.clone();
                merged.extend(own(&conversation));
                let conversation = without_assistant(conversation);
                self.set_own(&conversation, &merged)?;
            }
        }
        store.remove_assistant(&id.0).map_err(from_store)?;
        self.notify_assistants();
        Ok(())
    }

    /// Sets the assistant of a conversation.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], [`Problem::AssistantGone`], or if the database cannot be written.
    pub(crate) fn use_assistant(
        &self,
        id: &ipc::ConversationId,
        assistant: Option<&AssistantId>,
    ) -> Result<(), Error> {
        let mut conversation = without_assistant(self.stored(id)?);
        if let Some(AssistantId(assistant)) = assistant {
            self.assistant_settings(assistant)?.ok_or(Problem::AssistantGone)?;
            let settings = conversation.settings.get_or_insert_with(|| json!({}));
            if let Some(map) = settings.as_object_mut() {
                map.insert(ASSISTANT.into(), Value::String(assistant.clone()));
            }
        }
        let own = own(&conversation);
        self.set_own(&conversation, &own)
    }

    /// Saves what a conversation has set itself as a preset, in place of one of this name.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be written.
    pub(crate) fn save_preset(&self, id: &ipc::ConversationId, name: &str) -> Result<(), Error> {
        let settings = own(&self.stored(id)?);
        let new = new_row(AssistantKind::Preset, name);
        let rows = self.store()?.assistants().map_err(from_store)?;
        let same = rows.into_iter().find(|row| row.kind == new.kind && row.name == new.name);
        let row = same.unwrap_or(new);
        self.put(&Assistant { settings: settings::to_json(&settings, None), ..row })
    }

    /// Copies the settings of a preset into a conversation.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], [`Problem::AssistantGone`], or if the database cannot be written.
    pub(crate) fn use_preset(
        &self,
        id: &ipc::ConversationId,
        preset: &AssistantId,
    ) -> Result<(), Error> {
        let conversation = self.stored(id)?;
        let preset = self.assistant_settings(&preset.0)?.ok_or(Problem::AssistantGone)?;
        let mut settings = own(&conversation);
        settings.extend(preset);
        self.set_own(&conversation, &settings)
    }

    /// Exports all assistants of the user, and those of ours that were changed. Returns how many.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn export_assistants(&self, path: &Path) -> Result<u64, Error> {
        let rows = self.store()?.assistants().map_err(from_store)?;
        let rows: Vec<Value> = rows
            .iter()
            .filter(|row| row.kind == AssistantKind::Assistant)
            .map(|row| {
                let Assistant { id, name, look, settings, .. } = row;
                json!({ "id": id, "name": name, "look": look, "settings": settings })
            })
            .collect();
        let n_rows = rows.len() as u64;
        let json = json!({ "format": FORMAT, "version": 1, "assistants": rows });
        let text = serde_json::to_vec_pretty(&json).unwrap_or_default();
        lilims_files::write_atomic(path, |file| file.write_all(&text))
            .map_err(crate::error::Error::from)?;
        Ok(n_rows)
    }

    /// Imports the assistants of a file. One that is here already, by its id, stays as it is here unless
    /// it is the same; then it comes in under a new id. Returns how many came in.
    ///
    /// # Errors
    /// [`Problem::NotAnExport`], or if a file cannot be read or the database cannot be written.
    pub(crate) fn import_assistants(&self, paths: &[String]) -> Result<u64, Error> {
        let mut n_imported = 0;
        for path in paths {
            for row in read(path)? {
                let id = row.id.clone();
                match self.store()?.assistant(&id).map_err(from_store)? {
                    Some(known) if known == row => continue,
                    Some(_) => self.put(&Assistant { id: new_id(), ..row })?,
                    None => self.put(&row)?,
                }
                n_imported += 1;
            }
        }
        Ok(n_imported)
    }

    fn stored_everywhere(&self) -> Result<Option<Value>, Error> {
        match self.store()?.get(EVERYWHERE) {
            Err(error @ store::Error::Setting { .. }) => {
                tracing::warn!(%error, "cannot read the settings of all conversations");
                Ok(None)
            }
            result => result.map_err(from_store),
        }
    }

    /// The settings of all conversations.
    fn everywhere(&self) -> Result<Settings, Error> {
        let stored = self.stored_everywhere()?;
        Ok(stored
            .as_ref()
            .map(|json| settings::from_json(&chosen_values(json)))
            .unwrap_or_default())
    }

    /// The settings of an assistant or a preset; `None` if it is gone.
    fn assistant_settings(&self, id: &str) -> Result<Option<Settings>, Error> {
        let row = self.store()?.assistant(id).map_err(from_store)?;
        let ours = || built_in::find(id).map(BuiltIn::settings);
        Ok(match row {
            Some(Assistant { settings: Some(json), .. }) => Some(settings::from_json(&json)),
            Some(_) => Some(ours().unwrap_or_default()),
            None => ours(),
        })
    }

    fn settings_of_assistant_of(
        &self,
        conversation: &store::Conversation,
    ) -> Result<Option<Settings>, Error> {
        match assistant_of(conversation) {
            Some(AssistantId(id)) => self.assistant_settings(&id),
            None => Ok(None),
        }
    }

    /// The row of an assistant; one of ours that was never changed gets its first.
    fn row(&self, id: &str) -> Result<Assistant, Error> {
        let row = self.store()?.assistant(id).map_err(from_store)?;
        let ours = || built_in::find(id).map(as_it_came);
        Ok(row.or_else(ours).ok_or(Problem::AssistantGone)?)
    }

    fn put(&self, row: &Assistant) -> Result<(), Error> {
        self.store()?.put_assistant(row).map_err(from_store)?;
        self.notify_assistants();
        Ok(())
    }

    fn notify_assistants(&self) {
        match self.assistants() {
            Ok(assistants) => (self.events)(AppEvent::Assistants(assistants)),
            Err(error) => tracing::warn!(?error, "cannot read the assistants that changed"),
        }
    }

    fn stored(&self, id: &ipc::ConversationId) -> Result<store::Conversation, Error> {
        let found =
            self.store()?.conversation(&ConversationId::from(&*id.0)).map_err(from_store)?;
        Ok(found.ok_or(Problem::ConversationGone)?)
    }

    /// Stores the settings of a conversation.
    fn set_own(&self, conversation: &store::Conversation, own: &Settings) -> Result<(), Error> {
        let mut own = own.clone();
        let overflow = own.remove(&Setting::Overflow).and_then(|value| match value {
            SettingValue::Text(word) => Some(word),
            _ => None,
        });
        let settings = settings::to_json(&own, conversation.settings.as_ref());
        let change = ConversationChange {
            overflow: Some(overflow),
            settings: Some(settings),
            ..ConversationChange::default()
        };
        self.store()?.change_conversation(&conversation.id, &change).map_err(from_store)
    }
}

/// The most characters of a look: an emoji may be several.
const MAX_LOOK_CHARS: usize = 8;

/// The assistant of a conversation.
pub(super) fn assistant_of(conversation: &store::Conversation) -> Option<AssistantId> {
    let id = conversation.settings.as_ref()?.get(ASSISTANT)?.as_str()?;
    Some(AssistantId(id.to_owned()))
}

fn without_assistant(mut conversation: store::Conversation) -> store::Conversation {
    if let Some(map) = conversation.settings.as_mut().and_then(Value::as_object_mut) {
        map.remove(ASSISTANT);
    }
    conversation
}

/// What a conversation has set itself. What happens when it outgrows the context has a column.
fn own(conversation: &store::Conversation) -> Settings {
    let mut own = conversation.settings.as_ref().map(settings::from_json).unwrap_or_default();
    let word = conversation.overflow.clone().map(SettingValue::Text);
    if let Some(word) = word.and_then(|word| settings::clean(Setting::Overflow, word)) {
        own.insert(Setting::Overflow, word);
    }
    own
}

/// Leaves out what the version before this one stored without anybody having chosen it: it stored all of
/// its four settings, a seed of `null` among them.
fn chosen_values(stored: &Value) -> Value {
    let Some(map) = stored.as_object().filter(|map| map.get("seed") == Some(&Value::Null)) else {
        return stored.clone();
    };
    let is_default = |(name, value): &(&String, &Value)| {
        let defaults = [("temperature", 0.7), ("top_p", 0.95), ("max_tokens", 1024.0)];
        let is = |(known, number): &(&str, f64)| {
            known == name && value.as_f64().is_some_and(|value| (value - number).abs() < 1e-6)
        };
        defaults.iter().any(is)
    };
    let chosen: Map<String, Value> = map
        .iter()
        .filter(|entry| !is_default(entry))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(chosen)
}

fn as_it_came(it: &BuiltIn) -> Assistant {
    let (kind, id) = (AssistantKind::Assistant, it.id.to_owned());
    Assistant { id, kind, name: None, look: None, settings: None }
}

fn new_row(kind: AssistantKind, name: &str) -> Assistant {
    Assistant { id: new_id(), kind, name: one_line(name), look: None, settings: None }
}

fn new_id() -> String {
    ConversationId::new().as_str().to_owned()
}

fn shown(row: &Assistant) -> ipc::Assistant {
    let ours = built_in::find(&row.id);
    let is_changed = row.name.is_some() || row.look.is_some() || row.settings.is_some();
    ipc::Assistant {
        id: AssistantId(row.id.clone()),
        name: row.name.clone().or(ours.map(|it| it.id.to_owned())).unwrap_or_default(),
        look: row.look.clone().or(ours.map(|it| it.look.to_owned())).unwrap_or_default(),
        is_built_in: ours.is_some(),
        is_changed: ours.is_some() && is_changed,
    }
}

/// The assistants in a file.
fn read(path: &str) -> Result<Vec<Assistant>, Error> {
    let path = Path::new(path);
    let bytes = lilims_files::read(path, MAX_FILE_BYTES).map_err(crate::error::Error::from)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let items = json["assistants"].as_array().filter(|_| json["format"] == FORMAT);
    let items = items.ok_or(Problem::NotAnExport { file })?;
    let text = |item: &Value, key: &str| item[key].as_str().map(str::to_owned);
    Ok(items
        .iter()
        .map(|item| Assistant {
            id: text(item, "id").filter(|id| is_id(id)).unwrap_or_else(new_id),
            kind: AssistantKind::Assistant,
            name: text(item, "name").and_then(|name| one_line(&name)),
            look: text(item, "look").map(|it| it.chars().take(MAX_LOOK_CHARS).collect()),
            settings: settings::to_json(&settings::from_json(&item["settings"]), None),
        })
        .collect())
}

/// Whether an id may be that of an assistant.
fn is_id(id: &str) -> bool {
    built_in::find(id).is_some() || super::is_id(id)
}
