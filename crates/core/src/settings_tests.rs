//! Limits, levels and stored forms of settings.

use chrono::TimeZone;
use lilims_ipc::Problem;
use serde_json::json;

use super::*;

fn number(number: f64) -> SettingValue {
    SettingValue::Number(number)
}

#[test]
fn defaults_are_those_of_every_door() {
    let options = Applied::new(Settings::new(), &Settings::new()).options();
    let seed = options.sampling.seed;
    assert_eq!(options.sampling, Sampling { seed, ..Sampling::CHAT });
    assert_eq!(options.max_tokens, MAX_TOKENS as usize);
}

#[test]
fn values_are_brought_within_limits() {
    for (setting, value, expected) in [
        (Setting::Temperature, number(9.0), Some(number(2.0))),
        (Setting::Temperature, number(f64::NAN), None),
        (Setting::TopK, number(40.4), Some(number(40.0))),
        (Setting::TopK, SettingValue::Text("40".into()), None),
        (Setting::MaxTokens, number(0.0), Some(number(1.0))),
        (Setting::Seed, number(-1.0), Some(number(0.0))),
        (Setting::Instructions, SettingValue::Text(" \n".into()), None),
        (Setting::Overflow, SettingValue::Text("explode".into()), None),
        (
            Setting::Overflow,
            SettingValue::Text("stop".into()),
            Some(SettingValue::Text("stop".into())),
        ),
        (
            Setting::Stop,
            SettingValue::Lines(vec!["".into(), "END".into()]),
            Some(SettingValue::Lines(vec!["END".into()])),
        ),
    ] {
        assert_eq!(clean(setting, value.clone()), expected, "{setting:?} {value:?}");
    }
}

#[test]
fn schemas_are_checked_and_reach_the_engine() {
    let text = |schema: &str| SettingValue::Text(schema.to_owned());
    for (schema, what) in [("{", "not JSON"), (r#"{"not": {}}"#, "not")] {
        let error = check(Setting::JsonSchema, Some(&text(schema))).unwrap_err();
        let Problem::SchemaInvalid { what: found } = error.problem else { panic!("{error:?}") };
        assert!(found.contains(what), "{found}");
    }
    assert_eq!(check(Setting::Instructions, Some(&text("{"))), Ok(()));
    let schema = r#"{"type": "object"}"#;
    assert_eq!(check(Setting::JsonSchema, Some(&text(schema))), Ok(()));
    let chosen: Settings = [(Setting::JsonSchema, text(schema))].into();
    let mut applied = Applied::new(Settings::new(), &chosen);
    assert_eq!(applied.options().json_schema.as_deref(), Some(schema));
    assert_eq!(applied.0.get(&Setting::JsonSchema), Some(&text(schema)));
}

#[test]
fn the_highest_level_that_has_a_value_applies() {
    let recommended = RecommendedSampling {
        temperature: Some(0.6),
        top_k: Some(20),
        ..RecommendedSampling::default()
    };
    let mut levels = Levels::on_model(of_model(&recommended));
    levels.push(SettingOrigin::Everywhere, [(Setting::TopK, number(50.0))].into());
    levels.push(SettingOrigin::Assistant, [(Setting::MinP, number(0.1))].into());
    let own: Settings = [(Setting::Seed, number(7.0))].into();
    let rows = levels.rows(&own);
    let row = |setting| {
        let row: &SettingRow = rows.iter().find(|row| row.setting == setting).unwrap();
        (row.own.clone(), row.inherited.clone(), row.origin)
    };
    assert_eq!(row(Setting::Temperature), (None, Some(number(0.6)), SettingOrigin::Model));
    assert_eq!(row(Setting::TopK), (None, Some(number(50.0)), SettingOrigin::Everywhere));
    assert_eq!(row(Setting::MinP), (None, Some(number(0.1)), SettingOrigin::Assistant));
    assert_eq!(row(Setting::TopP), (None, Some(number(0.95)), SettingOrigin::Lilims));
    assert_eq!(row(Setting::Seed), (Some(number(7.0)), None, SettingOrigin::Lilims));
    let mut chosen = levels.merged();
    chosen.extend(own);
    let sampling = Applied(chosen).options().sampling;
    assert_eq!((sampling.temperature, sampling.top_k, sampling.seed), (0.6, 50, 7));
}

#[test]
fn stored_settings_keep_what_this_version_does_not_know() {
    let stored = json!({ "temperature": 0.5, "moon": 3, "assistant": "a", "top_k": "many" });
    let mut settings = from_json(&stored);
    assert_eq!(settings, [(Setting::Temperature, number(0.5))].into());
    settings.insert(Setting::Stop, SettingValue::Lines(vec!["x".into()]));
    settings.remove(&Setting::Temperature);
    let json = to_json(&settings, Some(&stored)).unwrap();
    assert_eq!(json, json!({ "moon": 3, "assistant": "a", "stop": ["x"] }));
    assert_eq!(to_json(&Settings::new(), None), None);
}

#[test]
fn instructions_have_the_date_and_the_time() {
    let now = Local.with_ymd_and_hms(2026, 11, 27, 9, 5, 0).unwrap();
    let text = with_variables("{{weekday}}, {{date}} at {{time}}; {{other}}", now);
    assert_eq!(text, "Friday, 2026-11-27 at 09:05; {{other}}");
}
