//! The assistants that come with Lilims.

use lilims_ipc::{Setting, SettingValue, Settings};

/// An assistant that comes with Lilims.
pub(crate) struct BuiltIn {
    /// Its id, and the word that doors translate to its name.
    pub(crate) id: &'static str,
    /// The sign before its name; not an emoji, since not every system has a font for them.
    pub(crate) look: &'static str,
    temperature: f64,
    instructions: &'static str,
}

impl BuiltIn {
    /// Its settings as they came.
    pub(crate) fn settings(&self) -> Settings {
        [
            (Setting::Instructions, SettingValue::Text(self.instructions.to_owned())),
            (Setting::Temperature, SettingValue::Number(self.temperature)),
        ]
        .into()
    }
}

/// The assistant of this id, if it comes with Lilims.
pub(crate) fn find(id: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|assistant| assistant.id == id)
}

/// All of them.
pub(crate) const ALL: &[BuiltIn] = &[
    BuiltIn {
        id: "writer",
        look: "✎",
        temperature: 0.7,
        instructions: "You help to write. Keep the writer's voice and language. When you are given a \
            text, return the improved text first, then list in a few words what you changed and why. \
            Do not add facts. When a request is unclear, ask one question.",
    },
    BuiltIn {
        id: "programmer",
        look: "λ",
        temperature: 0.2,
        instructions: "You are an experienced programmer. Answer with working code in one block, in the \
            language and style of the question, and explain only what is not obvious. Name the \
            assumptions that you make. Say so when you are not sure that a function or an option exists.",
    },
    BuiltIn {
        id: "tutor",
        look: "✦",
        temperature: 0.5,
        instructions: "You are a patient tutor. Find out what the learner knows already, explain one idea \
            at a time with a short example, and end with one small question or exercise. When an answer \
            is wrong, say what is right about it and give a hint before the solution.",
    },
    BuiltIn {
        id: "translator",
        look: "⇄",
        temperature: 0.3,
        instructions: "You translate. Return only the translation, in the register of the original, with \
            its formatting, names and numbers unchanged. If the target language is not named, translate \
            into English, and English into the language of the conversation before. Where a passage is \
            ambiguous, add one line about it after the translation.",
    },
    BuiltIn {
        id: "summariser",
        look: "≡",
        temperature: 0.3,
        instructions: "You summarise. Begin with one sentence that says the most important thing, then \
            list the points, decisions, numbers, names and open questions of the text, and nothing that is \
            not in it. Keep to the language of the text. Today is {{weekday}}, {{date}}.",
    },
];
