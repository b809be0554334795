//! The settings of answers, and the assistants and presets that hold some of them.
//!
//! A setting has a value on several levels: that of Lilims, of the model, of all conversations, of the
//! assistant and of the conversation. The last one that is there applies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ConversationId;

#[cfg(not(target_arch = "wasm32"))]
mod plain;

/// Names an assistant or a preset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssistantId(pub String);

/// A setting of answers. Rows of the store and exported assistants hold these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// What the model is told before the conversation begins.
    Instructions,
    /// The short name of the model that answers.
    Model,
    /// The context in tokens.
    ContextTokens,
    /// What happens when the conversation outgrows the context, a word of [`crate::Overflow`].
    Overflow,
    /// The most tokens of an answer.
    MaxTokens,
    /// 0 picks the likeliest token each time; larger values vary more.
    Temperature,
    /// Samples from this many of the likeliest tokens; 0 is off.
    TopK,
    /// Samples from the likeliest tokens that together hold this probability; 1 is off.
    TopP,
    /// Samples from tokens at least this likely relative to the likeliest; 0 is off.
    MinP,
    /// Makes tokens that came before less likely; 1 is off.
    RepeatPenalty,
    /// Makes tokens less likely for each time that they came before; 0 is off.
    FrequencyPenalty,
    /// Makes tokens that came before less likely, however often; 0 is off.
    PresencePenalty,
    /// Fixes the random numbers.
    Seed,
    /// Texts that end an answer.
    Stop,
    /// A JSON schema that answers follow.
    JsonSchema,
    /// The short name of a smaller model that guesses ahead.
    DraftModel,
}

impl Setting {
    /// All of them, in the order in which doors show them.
    pub const ALL: [Self; 16] = [
        Self::Instructions,
        Self::Model,
        Self::ContextTokens,
        Self::Overflow,
        Self::MaxTokens,
        Self::Temperature,
        Self::TopK,
        Self::TopP,
        Self::MinP,
        Self::RepeatPenalty,
        Self::FrequencyPenalty,
        Self::PresencePenalty,
        Self::Seed,
        Self::Stop,
        Self::JsonSchema,
        Self::DraftModel,
    ];
}

/// The value of a setting. In JSON it is the number, the text or the texts alone.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(target_arch = "wasm32", derive(Serialize, Deserialize))]
pub enum SettingValue {
    /// A number.
    Number(f64),
    /// A text or a word.
    Text(String),
    /// Several texts.
    Lines(Vec<String>),
}

/// The settings of one level.
pub type Settings = BTreeMap<Setting, SettingValue>;

/// The level whose settings are shown or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingScope {
    /// All conversations.
    Everywhere,
    /// One conversation.
    Conversation(ConversationId),
    /// An assistant.
    Assistant(AssistantId),
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingOrigin {
    /// Lilims.
    Lilims,
    /// The model recommends it.
    Model,
    /// It was set for all conversations.
    Everywhere,
    /// The assistant.
    Assistant,
}

/// What values a setting has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// A number.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// The distance between two values.
        step: f64,
    },
    /// A text.
    Text,
    /// Several texts.
    Lines,
    /// The short name of a model.
    Model,
    /// A word of [`crate::Overflow`].
    Overflow,
}

/// A setting on one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingRow {
    /// Which setting.
    pub setting: Setting,
    /// Its values.
    pub kind: SettingKind,
    /// Its value on this level; `None` if the level leaves it to those below.
    pub own: Option<SettingValue>,
    /// The value that applies without [`SettingRow::own`]; `None` means off, or that of the model.
    pub inherited: Option<SettingValue>,
    /// Where that comes from.
    pub origin: SettingOrigin,
}

/// Named instructions with settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assistant {
    /// Its id.
    pub id: AssistantId,
    /// Its name; for one that comes with Lilims and was not renamed, a word that doors translate.
    pub name: String,
    /// A sign that stands before its name, such as an emoji; may be empty.
    pub look: String,
    /// Whether it comes with Lilims: then it cannot be deleted.
    pub is_built_in: bool,
    /// Whether one that comes with Lilims was changed, so that it can be reset.
    pub is_changed: bool,
}

/// Settings that were saved under a name, to be copied into conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preset {
    /// Its id.
    pub id: AssistantId,
    /// Its name.
    pub name: String,
}

/// Assistants and presets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assistants {
    /// Those that come with Lilims first, then by name.
    pub assistants: Vec<Assistant>,
    /// By name.
    pub presets: Vec<Preset>,
}
