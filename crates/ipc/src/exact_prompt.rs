//! The exact prompt of an answer: what the model read, token by token, and where each part comes from.

use serde::{Deserialize, Serialize};

use crate::PromptNote;

/// What the model read before it wrote an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExactPrompt {
    /// Its parts in order.
    pub parts: Vec<PromptPart>,
    /// How many of its first tokens were in the cache and were not read again; `None` where that is not
    /// known.
    pub cached_tokens: Option<u32>,
    /// How many tokens the model read, where it was another number: what had left its window is among the
    /// parts, what it wrote before a continuation is not, and its own words may be split differently.
    pub read_tokens: Option<u32>,
    /// How it differs from the messages.
    pub notes: Vec<PromptNote>,
    /// The name of the model that wrote the answer, where it is known and is not the loaded one: then
    /// these are the text and the tokens that the loaded model would read.
    pub other_model: Option<String>,
}

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptPart {
    /// Where it comes from.
    pub source: PromptSource,
    /// Its tokens.
    pub tokens: Vec<PromptToken>,
}

/// Where a part of a prompt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptSource {
    /// The model's chat template.
    Template,
    /// The instructions.
    Instructions,
    /// The user.
    Question,
    /// An earlier answer.
    Answer,
}

/// A token of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptToken {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its text. Bytes that are no character alone stand with the token that completes it, or as `\u{fffd}`.
    pub text: String,
}
