//! The settings of answers: their limits, their levels, and what they mean to the engine.

use chrono::{DateTime, Local};
use lilims_engine::{GenerateOptions, RecommendedSampling, Sampling, constraint, sampler};
use lilims_ipc::{
    Error, Overflow, Setting, SettingKind, SettingOrigin, SettingRow, SettingValue, Settings,
};
use serde_json::Value;

use crate::problem;

/// The most tokens of an answer, unless that is set.
const MAX_TOKENS: u32 = 1024;

/// What values a setting has.
pub(crate) fn kind(setting: Setting) -> SettingKind {
    let number = |min, max, step| SettingKind::Number { min, max, step };
    match setting {
        Setting::Instructions | Setting::JsonSchema => SettingKind::Text,
        Setting::Model | Setting::DraftModel => SettingKind::Model,
        Setting::Overflow => SettingKind::Overflow,
        Setting::Stop => SettingKind::Lines,
        Setting::ContextTokens => number(256.0, 1_048_576.0, 256.0),
        Setting::MaxTokens => number(1.0, 32_768.0, 1.0),
        Setting::Temperature | Setting::RepeatPenalty => number(0.0, 2.0, 0.05),
        Setting::TopK => number(0.0, 200.0, 1.0),
        Setting::TopP | Setting::MinP => number(0.0, 1.0, 0.01),
        Setting::FrequencyPenalty | Setting::PresencePenalty => number(-2.0, 2.0, 0.05),
        Setting::Seed => number(0.0, f64::from(u32::MAX), 1.0),
    }
}

/// The values that apply where no level has one. Settings that are off have none.
fn defaults() -> Settings {
    let Sampling { temperature, top_k, top_p, min_p, repeat_penalty, .. } = Sampling::CHAT;
    let Sampling { frequency_penalty, presence_penalty, .. } = Sampling::CHAT;
    [
        (Setting::Temperature, rounded(temperature)),
        (Setting::TopK, top_k as f64),
        (Setting::TopP, rounded(top_p)),
        (Setting::MinP, rounded(min_p)),
        (Setting::RepeatPenalty, rounded(repeat_penalty)),
        (Setting::FrequencyPenalty, rounded(frequency_penalty)),
        (Setting::PresencePenalty, rounded(presence_penalty)),
        (Setting::MaxTokens, f64::from(MAX_TOKENS)),
    ]
    .map(|(setting, number)| (setting, SettingValue::Number(number)))
    .into_iter()
    .chain([(Setting::Overflow, SettingValue::Text(word(Overflow::default())))])
    .collect()
}

/// What a model recommends for itself.
pub(crate) fn of_model(recommended: &RecommendedSampling) -> Settings {
    let number = |number: Option<f32>| number.map(rounded);
    [
        (Setting::Temperature, number(recommended.temperature)),
        (Setting::TopK, recommended.top_k.map(f64::from)),
        (Setting::TopP, number(recommended.top_p)),
        (Setting::MinP, number(recommended.min_p)),
        (Setting::RepeatPenalty, number(recommended.repeat_penalty)),
    ]
    .into_iter()
    .filter_map(|(setting, number)| Some((setting, clean(setting, SettingValue::Number(number?))?)))
    .collect()
}

/// The number that was written, without what `f32` cannot hold: 0.1 and not 0.10000000149.
fn rounded(number: f32) -> f64 {
    (f64::from(number) * 1e6).round() / 1e6
}

/// The word of an overflow, as it is stored.
pub(crate) fn word(overflow: Overflow) -> String {
    let word = serde_json::to_value(overflow).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A value within the limits of its setting; `None` if it is of another kind or empty.
pub(crate) fn clean(setting: Setting, value: SettingValue) -> Option<SettingValue> {
    match (kind(setting), value) {
        (SettingKind::Number { min, max, step }, SettingValue::Number(number)) => {
            let number = if step >= 1.0 { number.round() } else { number };
            number.is_finite().then(|| SettingValue::Number(number.clamp(min, max)))
        }
        (SettingKind::Overflow, SettingValue::Text(word)) => {
            let known = serde_json::from_value::<Overflow>(Value::String(word.clone())).is_ok();
            known.then_some(SettingValue::Text(word))
        }
        (SettingKind::Text | SettingKind::Model, SettingValue::Text(text)) => {
            (!text.trim().is_empty()).then_some(SettingValue::Text(text))
        }
        (SettingKind::Lines, SettingValue::Lines(lines)) => {
            let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            (!lines.is_empty()).then_some(SettingValue::Lines(lines))
        }
        _ => None,
    }
}

/// Checks a value that can be refused: a schema that no answer could follow.
///
/// # Errors
/// [`Problem::SchemaInvalid`](lilims_ipc::Problem::SchemaInvalid).
pub(crate) fn check(setting: Setting, value: Option<&SettingValue>) -> Result<(), Error> {
    match (setting, value) {
        (Setting::JsonSchema, Some(SettingValue::Text(schema))) => {
            constraint::check_schema(schema).map_err(|error| problem::not_answered(&error))
        }
        _ => Ok(()),
    }
}

/// Settings as they are stored. What this version does not know, or what is not valid, is left out.
pub(crate) fn from_json(json: &Value) -> Settings {
    let Some(map) = json.as_object() else { return Settings::new() };
    let known = |(name, value): (&String, &Value)| {
        let setting: Setting = serde_json::from_value(Value::String(name.clone())).ok()?;
        Some((setting, clean(setting, serde_json::from_value(value.clone()).ok()?)?))
    };
    map.iter().filter_map(known).collect()
}

/// Settings as they are stored; `None` without any. What `stored` has that this version does not know
/// stays.
pub(crate) fn to_json(settings: &Settings, stored: Option<&Value>) -> Option<Value> {
    let mut map = stored.and_then(Value::as_object).cloned().unwrap_or_default();
    map.retain(|name, _| serde_json::from_value::<Setting>(Value::String(name.clone())).is_err());
    if let Ok(Value::Object(own)) = serde_json::to_value(settings) {
        map.extend(own);
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

/// The levels below the one that is shown, the lowest first.
#[derive(Default)]
pub(crate) struct Levels(Vec<(SettingOrigin, Settings)>);

impl Levels {
    /// The defaults, and on them what the model recommends.
    pub(crate) fn on_model(model: Settings) -> Self {
        Self(vec![(SettingOrigin::Lilims, defaults()), (SettingOrigin::Model, model)])
    }

    /// Adds the next level.
    pub(crate) fn push(&mut self, origin: SettingOrigin, settings: Settings) {
        self.0.push((origin, settings));
    }

    /// All settings as a level with these values of its own has them.
    pub(crate) fn rows(&self, own: &Settings) -> Vec<SettingRow> {
        let row = |setting| {
            let found = self.0.iter().rev().find_map(|(origin, settings)| {
                settings.get(&setting).map(|value| (*origin, value.clone()))
            });
            let (origin, inherited) = match found {
                Some((origin, value)) => (origin, Some(value)),
                None => (SettingOrigin::Lilims, None),
            };
            let own = own.get(&setting).cloned();
            SettingRow { setting, kind: kind(setting), own, inherited, origin }
        };
        Setting::ALL.into_iter().map(row).collect()
    }

    /// The values that apply.
    pub(crate) fn merged(self) -> Settings {
        self.0.into_iter().flat_map(|(_, settings)| settings).collect()
    }
}

/// The settings that apply to an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied(pub(crate) Settings);

impl Applied {
    /// What applies: the defaults, what the model recommends, and `chosen` on both.
    pub(crate) fn new(model: Settings, chosen: &Settings) -> Self {
        let mut levels = Levels::on_model(model);
        levels.push(SettingOrigin::Everywhere, chosen.clone());
        Self(levels.merged())
    }

    /// How the engine samples. Draws a seed where none is set, and keeps it.
    pub(crate) fn options(&mut self) -> GenerateOptions {
        let seed = self.number(Setting::Seed).unwrap_or_else(|| sampler::random_seed() as f64);
        self.0.insert(Setting::Seed, SettingValue::Number(seed));
        let number = |setting| self.number(setting).unwrap_or_default();
        let sampling = Sampling {
            temperature: number(Setting::Temperature) as f32,
            top_k: number(Setting::TopK) as usize,
            top_p: number(Setting::TopP) as f32,
            min_p: number(Setting::MinP) as f32,
            repeat_penalty: number(Setting::RepeatPenalty) as f32,
            frequency_penalty: number(Setting::FrequencyPenalty) as f32,
            presence_penalty: number(Setting::PresencePenalty) as f32,
            seed: seed as u64,
            ..Sampling::CHAT
        };
        let stop = match self.0.get(&Setting::Stop) {
            Some(SettingValue::Lines(lines)) => lines.clone(),
            _ => Vec::new(),
        };
        let max_tokens = number(Setting::MaxTokens) as usize;
        let json_schema = text(&self.0, Setting::JsonSchema).map(str::to_owned);
        GenerateOptions { sampling, max_tokens, stop, json_schema, ..GenerateOptions::default() }
    }

    /// What happens when the conversation outgrows the context.
    pub(crate) fn overflow(&self) -> Overflow {
        overflow(&self.0)
    }

    fn number(&self, setting: Setting) -> Option<f64> {
        match self.0.get(&setting) {
            Some(SettingValue::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

/// The overflow that is set, or the default.
pub(crate) fn overflow(settings: &Settings) -> Overflow {
    text(settings, Setting::Overflow)
        .and_then(|word| serde_json::from_value(Value::String(word.to_owned())).ok())
        .unwrap_or_default()
}

/// Instructions with `{{date}}`, `{{time}}` and `{{weekday}}` replaced by those of `now`.
pub(crate) fn with_variables(instructions: &str, now: DateTime<Local>) -> String {
    [("{{date}}", "%Y-%m-%d"), ("{{time}}", "%H:%M"), ("{{weekday}}", "%A")]
        .into_iter()
        .filter(|(variable, _)| instructions.contains(variable))
        .fold(instructions.to_owned(), |text, (variable, format)| {
            text.replace(variable, &now.format(format).to_string())
        })
}

/// The text of a setting.
pub(crate) fn text(settings: &Settings, setting: Setting) -> Option<&str> {
    match settings.get(&setting) {
        Some(SettingValue::Text(text)) => Some(text),
        _ => None,
    }
}

/// The whole number of a setting.
pub(crate) fn count(settings: &Settings, setting: Setting) -> Option<u32> {
    match settings.get(&setting) {
        Some(SettingValue::Number(number)) => Some(*number as u32),
        _ => None,
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
