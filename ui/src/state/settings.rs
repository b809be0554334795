//! The settings page: the level that is shown, its settings, and the assistants.

use leptos::prelude::*;
use lilims_ipc::{
    AssistantId, Assistants, ConversationId, Error, Setting, SettingKind, SettingOrigin,
    SettingRow, SettingScope, SettingValue,
};

use crate::format::number;
use crate::text::text;

/// The state of the settings page. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct SettingsState {
    /// Whether the page is shown.
    pub(crate) is_open: RwSignal<bool>,
    /// The level that is shown.
    pub(crate) scope: RwSignal<SettingScope>,
    /// Its settings.
    pub(crate) rows: RwSignal<Vec<SettingRow>>,
    /// What is searched for.
    pub(crate) query: RwSignal<String>,
    /// Why the last change was not made.
    pub(crate) failure: RwSignal<Option<Error>>,
    /// The assistants and presets.
    pub(crate) assistants: RwSignal<Assistants>,
}

impl SettingsState {
    /// A page that is not shown.
    pub(crate) fn new() -> Self {
        Self {
            is_open: RwSignal::new(false),
            scope: RwSignal::new(SettingScope::Everywhere),
            rows: RwSignal::default(),
            query: RwSignal::default(),
            failure: RwSignal::default(),
            assistants: RwSignal::default(),
        }
    }

    /// Shows the settings of a conversation, or of all without one.
    pub(crate) fn show(&self, conversation: Option<ConversationId>) {
        let scope = conversation.map_or(SettingScope::Everywhere, SettingScope::Conversation);
        self.query.set(String::new());
        self.scope.set(scope);
        self.is_open.set(true);
    }

    /// The sign and the name of an assistant; `None` if it is gone.
    pub(crate) fn assistant_name(&self, id: &AssistantId) -> Option<String> {
        self.assistants.with(|all| {
            let found = all.assistants.iter().find(|it| it.id == *id)?;
            Some(format!("{} {}", found.look, assistant_name(&found.name)).trim().to_owned())
        })
    }
}

/// The name of an assistant: those that come with Lilims have a word that is translated.
pub(crate) fn assistant_name(name: &str) -> String {
    match name {
        "writer" => text!(assistant.writer).into(),
        "programmer" => text!(assistant.programmer).into(),
        "tutor" => text!(assistant.tutor).into(),
        "translator" => text!(assistant.translator).into(),
        "summariser" => text!(assistant.summariser).into(),
        name => name.into(),
    }
}

/// The name of a setting, and what it does in one sentence.
pub(crate) fn texts(setting: Setting) -> (&'static str, &'static str) {
    match setting {
        Setting::Instructions => (text!(settings.instructions), text!(settings.instructions_hint)),
        Setting::Model => (text!(settings.model), text!(settings.model_hint)),
        Setting::ContextTokens => (text!(settings.context), text!(settings.context_hint)),
        Setting::Overflow => (text!(settings.overflow), text!(settings.overflow_hint)),
        Setting::MaxTokens => (text!(settings.max_tokens), text!(settings.max_tokens_hint)),
        Setting::Temperature => (text!(settings.temperature), text!(settings.temperature_hint)),
        Setting::TopK => (text!(settings.top_k), text!(settings.top_k_hint)),
        Setting::TopP => (text!(settings.top_p), text!(settings.top_p_hint)),
        Setting::MinP => (text!(settings.min_p), text!(settings.min_p_hint)),
        Setting::RepeatPenalty => {
            (text!(settings.repeat_penalty), text!(settings.repeat_penalty_hint))
        }
        Setting::FrequencyPenalty => {
            (text!(settings.frequency_penalty), text!(settings.frequency_penalty_hint))
        }
        Setting::PresencePenalty => {
            (text!(settings.presence_penalty), text!(settings.presence_penalty_hint))
        }
        Setting::Seed => (text!(settings.seed), text!(settings.seed_hint)),
        Setting::Stop => (text!(settings.stop), text!(settings.stop_hint)),
        Setting::JsonSchema => (text!(settings.json_schema), text!(settings.json_schema_hint)),
        Setting::DraftModel => (text!(settings.draft_model), text!(settings.draft_model_hint)),
    }
}

/// The test id of a setting, and the prefix of its control's element id.
pub(crate) fn test_id(setting: Setting) -> &'static str {
    match setting {
        Setting::Instructions => "instructions",
        Setting::Model => "setting-model",
        Setting::ContextTokens => "context-tokens",
        Setting::Overflow => "setting-overflow",
        Setting::MaxTokens => "max-tokens",
        Setting::Temperature => "temperature",
        Setting::TopK => "top-k",
        Setting::TopP => "top-p",
        Setting::MinP => "min-p",
        Setting::RepeatPenalty => "repeat-penalty",
        Setting::FrequencyPenalty => "frequency-penalty",
        Setting::PresencePenalty => "presence-penalty",
        Setting::Seed => "seed",
        Setting::Stop => "stop-texts",
        Setting::JsonSchema => "json-schema",
        Setting::DraftModel => "draft-model",
    }
}

/// Whether a setting with this name and sentence is found by `query`.
pub(crate) fn is_found((name, hint): (&str, &str), query: &str) -> bool {
    let text = format!("{name} {hint}").to_lowercase();
    query.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

/// Where a value comes from that is not the level's own.
pub(crate) fn origin(origin: SettingOrigin) -> &'static str {
    match origin {
        SettingOrigin::Lilims => text!(settings.from_lilims),
        SettingOrigin::Model => text!(settings.from_model),
        SettingOrigin::Everywhere => text!(settings.from_everywhere),
        SettingOrigin::Assistant => text!(settings.from_assistant),
    }
}

/// The words of the overflows, as they are stored, with their names.
pub(crate) fn overflows() -> [(&'static str, &'static str); 3] {
    [
        ("slide", text!(context.slide)),
        ("summarise", text!(context.summarise)),
        ("stop", text!(context.stop)),
    ]
}

/// A value as a control shows it.
pub(crate) fn shown(value: Option<&SettingValue>) -> String {
    match value {
        Some(SettingValue::Number(number)) => number::shortest((number * 1e6).round() / 1e6),
        Some(SettingValue::Text(text)) => text.clone(),
        Some(SettingValue::Lines(lines)) => lines.join("\n"),
        None => String::new(),
    }
}

/// The value that was entered; `None` if nothing was, or if a number was expected and it is none.
pub(crate) fn entered(kind: SettingKind, text: &str) -> Option<SettingValue> {
    if text.trim().is_empty() {
        return None;
    }
    match kind {
        SettingKind::Number { min, max, .. } => {
            number::parse(text).map(|number| SettingValue::Number(number.clamp(min, max)))
        }
        SettingKind::Lines => Some(SettingValue::Lines(text.lines().map(str::to_owned).collect())),
        _ => Some(SettingValue::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPERATURE: SettingKind = SettingKind::Number { min: 0.0, max: 2.0, step: 0.05 };

    #[test]
    fn entries_become_values_within_their_limits() {
        for (text, expected) in [
            ("0", Some(0.0)),
            (" 1.25 ", Some(1.25)),
            ("9", Some(2.0)),
            ("-1", Some(0.0)),
            ("", None),
            ("x", None),
            ("NaN", None),
            ("inf", None),
        ] {
            let expected = expected.map(SettingValue::Number);
            assert_eq!(entered(TEMPERATURE, text), expected, "{text:?}");
        }
        let lines = entered(SettingKind::Lines, "END\nSTOP");
        assert_eq!(lines, Some(SettingValue::Lines(vec!["END".into(), "STOP".into()])));
        assert_eq!(shown(lines.as_ref()), "END\nSTOP");
    }

    #[test]
    fn numbers_are_shown_as_they_were_entered() {
        for number in ["0.7", "40", "0.05", "1048576", "4294967295", "-2"] {
            let value = SettingValue::Number(number.parse().unwrap());
            assert_eq!(shown(Some(&value)), number);
        }
    }

    #[test]
    fn settings_are_found_by_words_of_their_name_or_sentence() {
        assert!(is_found(texts(Setting::Temperature), "TEMPER"));
        assert!(is_found(texts(Setting::Temperature), "varied steady"));
        assert!(is_found(texts(Setting::Seed), ""));
        assert!(!is_found(texts(Setting::Seed), "temperature"));
    }
}
