//! Assistants and presets: named settings. Which settings there are is the caller's.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;

use crate::conversations::{json, text_of};
use crate::{ConversationId, Error, Store, now_ms, signed};

pub(crate) const COLUMNS: &str = "id, kind, name, look, settings, created_ms";

/// What named settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssistantKind {
    /// Conversations follow them.
    Assistant,
    /// They are copied into conversations.
    Preset,
}

impl AssistantKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Preset => "preset",
        }
    }
}

/// An assistant or a preset.
#[derive(Clone, Debug, PartialEq)]
pub struct Assistant {
    /// Its id, the caller's.
    pub id: String,
    /// Which of the two it is.
    pub kind: AssistantKind,
    /// Its name; `None` for one that comes with the program and was not renamed.
    pub name: Option<String>,
    /// A sign that stands before its name.
    pub look: Option<String>,
    /// Its settings, JSON of the caller's.
    pub settings: Option<Value>,
}

impl Store {
    /// All assistants and presets, in the order of their creation.
    ///
    /// # Errors
    /// Those of the database.
    pub fn assistants(&self) -> Result<Vec<Assistant>, Error> {
        let reader = self.reader();
        let sql = format!("SELECT {COLUMNS} FROM assistants ORDER BY created_ms, id");
        let mut statement = reader.prepare_cached(&sql)?;
        Ok(statement.query_map([], row)?.collect::<Result<_, _>>()?)
    }

    /// One of them, if it is there.
    ///
    /// # Errors
    /// Those of the database.
    pub fn assistant(&self, id: &str) -> Result<Option<Assistant>, Error> {
        let reader = self.reader();
        let sql = format!("SELECT {COLUMNS} FROM assistants WHERE id = ?1");
        Ok(reader.prepare_cached(&sql)?.query_row([id], row).optional()?)
    }

    /// Adds an assistant or a preset, or replaces that of this id.
    ///
    /// # Errors
    /// Those of the database.
    pub fn put_assistant(&self, assistant: &Assistant) -> Result<(), Error> {
        let Assistant { id, kind, name, look, settings } = assistant;
        let sql = format!(
            "INSERT INTO assistants ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name, look = excluded.look, settings = excluded.settings"
        );
        let settings = text_of(settings.as_ref());
        let values = params![id, kind.as_str(), name, look, settings, signed(now_ms())];
        self.writer().prepare_cached(&sql)?.execute(values)?;
        Ok(())
    }

    /// Removes an assistant or a preset.
    ///
    /// # Errors
    /// Those of the database.
    pub fn remove_assistant(&self, id: &str) -> Result<(), Error> {
        self.writer().prepare_cached("DELETE FROM assistants WHERE id = ?1")?.execute([id])?;
        Ok(())
    }

    /// The conversations whose settings name an assistant (`assistant`), also deleted ones that can be
    /// restored.
    ///
    /// # Errors
    /// Those of the database.
    pub fn conversations_with_assistant(&self, id: &str) -> Result<Vec<ConversationId>, Error> {
        let reader = self.reader();
        // Settings that are not valid JSON name no assistant.
        let sql = "SELECT id FROM conversations
             WHERE json_valid(settings) AND json_extract(settings, '$.assistant') = ?1";
        let mut statement = reader.prepare_cached(sql)?;
        let ids = statement.query_map([id], |row| Ok(row.get::<_, String>(0)?.into()))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<Assistant> {
    let kind = match row.get_ref(1)?.as_str()? {
        "preset" => AssistantKind::Preset,
        _ => AssistantKind::Assistant,
    };
    Ok(Assistant {
        id: row.get(0)?,
        kind,
        name: row.get(2)?,
        look: row.get(3)?,
        settings: json(row, 4)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ConversationChange;

    fn assistant(id: &str, kind: AssistantKind) -> Assistant {
        let settings = Some(json!({ "temperature": 0.5 }));
        Assistant { id: id.into(), kind, name: Some(id.into()), look: None, settings }
    }

    #[test]
    fn assistants_are_added_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (first, preset) =
            (assistant("a", AssistantKind::Assistant), assistant("p", AssistantKind::Preset));
        store.put_assistant(&first).unwrap();
        store.put_assistant(&preset).unwrap();
        let changed = Assistant { look: Some("✎".into()), settings: None, ..first };
        store.put_assistant(&changed).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.assistants().unwrap(), [changed.clone(), preset]);
        assert_eq!(store.assistant("a").unwrap(), Some(changed));
        store.remove_assistant("a").unwrap();
        assert_eq!(store.assistant("a").unwrap(), None);
    }

    #[test]
    fn conversations_are_found_by_their_assistant() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let with = |settings| {
            let change =
                ConversationChange { settings: Some(settings), ..ConversationChange::default() };
            store.create_conversation(&change).unwrap()
        };
        let own = with(Some(json!({ "assistant": "a" })));
        with(Some(json!({ "assistant": "b" })));
        with(None);
        assert_eq!(store.conversations_with_assistant("a").unwrap(), [own]);
    }
}
