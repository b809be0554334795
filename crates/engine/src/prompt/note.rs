//! Notes on how a prompt differs from its messages.

use std::fmt;

/// A way in which a prompt differs from its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// The file has no chat template: messages are rendered in a plain format, after their roles.
    NoTemplate,
    /// The template does not support system messages: they are prepended to the next question.
    InstructionsInQuestion,
    /// The template omits instructions.
    InstructionsLeftOut,
    /// The template requires alternating roles: consecutive messages of one role are merged.
    RolesJoined,
    /// The template sends reasoning back to the model.
    ReasoningKept,
    /// The template omits some or all reasoning.
    ReasoningLeftOut,
    /// The template omits other messages.
    MessagesLeftOut {
        /// Number of messages.
        count: usize,
    },
    /// The template does not start the answer.
    NoGenerationPrompt,
    /// Texts are longer than the context can hold: their middle was skipped.
    TextLeftOut {
        /// Number of bytes.
        bytes: usize,
    },
}

impl Note {
    /// A stable identifier for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoTemplate => "no-template",
            Self::InstructionsInQuestion => "instructions-in-question",
            Self::InstructionsLeftOut => "instructions-left-out",
            Self::RolesJoined => "roles-joined",
            Self::ReasoningKept => "reasoning-kept",
            Self::ReasoningLeftOut => "reasoning-left-out",
            Self::MessagesLeftOut { .. } => "messages-left-out",
            Self::NoGenerationPrompt => "no-generation-prompt",
            Self::TextLeftOut { .. } => "text-left-out",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTemplate => {
                "the model has no chat template: each message is written after its role"
            }
            Self::InstructionsInQuestion => {
                "the chat template does not support system messages: they are prepended to the \
                 question that follows them"
            }
            Self::InstructionsLeftOut => "the chat template omits instructions",
            Self::RolesJoined => {
                "the chat template requires alternating roles: consecutive messages of one role \
                 are merged"
            }
            Self::ReasoningKept => "the chat template sends reasoning back to the model",
            Self::ReasoningLeftOut => "the chat template omits reasoning",
            Self::MessagesLeftOut { count: 1 } => "the chat template omits 1 message",
            Self::MessagesLeftOut { count } => {
                return write!(f, "the chat template omits {count} messages");
            }
            Self::NoGenerationPrompt => "the chat template does not start the answer",
            Self::TextLeftOut { bytes } => {
                return write!(
                    f,
                    "a text is longer than the context can hold: {bytes} bytes of its middle were \
                     skipped"
                );
            }
        })
    }
}
