//! Answers that follow a JSON schema, of a real model at temperature 1.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::{
    Answer, Conversation, Error, Finish, GenerateOptions, Message, Model, Role, Sampling,
};
use serde_json::{Value, json};

use crate::sessions::smollm2;
use crate::{Q8_TOLERANCE, relative_error};

const MAX_TOKENS: usize = 120;

/// A schema, and a check of the same that is written by hand.
struct Case {
    schema: Value,
    follows: fn(&Value) -> bool,
}

fn is_short(value: &Value, max: usize) -> bool {
    value.as_str().is_some_and(|text| text.chars().count() <= max)
}

fn is_within(value: &Value, min: i64, max: i64) -> bool {
    value.as_i64().is_some_and(|number| (min..=max).contains(&number))
}

fn is_list(
    value: &Value,
    lengths: std::ops::RangeInclusive<usize>,
    of: fn(&Value) -> bool,
) -> bool {
    value.as_array().is_some_and(|list| lengths.contains(&list.len()) && list.iter().all(of))
}

/// Whether `value` is an object with the `required` keys, and no others than those and the `optional`.
fn has_keys(value: &Value, required: &[&str], optional: &[&str]) -> bool {
    let Some(object) = value.as_object() else { return false };
    let is_known = |key: &String| required.iter().chain(optional).any(|known| known == key);
    required.iter().all(|key| object.contains_key(*key)) && object.keys().all(is_known)
}

fn is_date(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let parts: Vec<_> = text.split('-').map(str::parse::<u32>).collect();
    matches!(&parts[..], [Ok(0..=9999), Ok(1..=12), Ok(1..=31)]) && text.len() == 10
}

fn is_code(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let (letters, digits) = text.split_at(2.min(text.len()));
    letters.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=3).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `value` is a tree of short names.
fn is_tree(value: &Value) -> bool {
    has_keys(value, &["name"], &["left"])
        && is_short(&value["name"], 8)
        && value.get("left").is_none_or(is_tree)
}

fn cases() -> Vec<Case> {
    let object = |properties: Value, required: Value| {
        json!({
            "type": "object", "properties": properties, "required": required,
            "additionalProperties": false,
        })
    };
    vec![
        Case {
            schema: object(
                json!({
                    "name": { "type": "string", "maxLength": 12 },
                    "age": { "type": "integer", "minimum": 0, "maximum": 130 },
                    "is_alive": { "type": "boolean" },
                }),
                json!(["name", "age"]),
            ),
            follows: |value| {
                has_keys(value, &["name", "age"], &["is_alive"])
                    && is_short(&value["name"], 12)
                    && is_within(&value["age"], 0, 130)
                    && value.get("is_alive").is_none_or(Value::is_boolean)
            },
        },
        Case {
            schema: json!({
                "type": "array", "minItems": 2, "maxItems": 4,
                "items": { "enum": ["red", "green", "blue", 7, null] },
            }),
            follows: |value| {
                is_list(value, 2..=4, |it| {
                    [json!("red"), json!("green"), json!("blue"), json!(7), Value::Null]
                        .contains(it)
                })
            },
        },
        Case {
            schema: object(
                json!({
                    "date": { "type": "string", "format": "date" },
                    "code": { "type": "string", "pattern": "^[A-Z]{2}[0-9]{1,3}$" },
                    "price": { "type": "number", "minimum": 0, "exclusiveMaximum": 100 },
                }),
                json!(["date", "code"]),
            ),
            follows: |value| {
                let is_price =
                    |it: &Value| it.as_f64().is_some_and(|it| (0.0..100.0).contains(&it));
                has_keys(value, &["date", "code"], &["price"])
                    && is_date(&value["date"])
                    && is_code(&value["code"])
                    && value.get("price").is_none_or(is_price)
            },
        },
        Case {
            schema: json!({
                "$defs": {
                    "tree": object(
                        json!({
                            "name": { "type": "string", "maxLength": 8 },
                            "left": { "$ref": "#/$defs/tree" },
                        }),
                        json!(["name"]),
                    ),
                },
                "$ref": "#/$defs/tree",
            }),
            follows: is_tree,
        },
        Case {
            schema: json!({
                "anyOf": [
                    object(json!({ "ok": { "const": true } }), json!(["ok"])),
                    object(
                        json!({ "error": { "type": "string", "minLength": 1, "maxLength": 10 } }),
                        json!(["error"]),
                    ),
                    { "type": "integer", "minimum": 10, "maximum": 99 },
                ],
            }),
            follows: |value| {
                is_within(value, 10, 99)
                    || (has_keys(value, &["ok"], &[]) && value["ok"] == true)
                    || (has_keys(value, &["error"], &[])
                        && is_short(&value["error"], 10)
                        && value["error"] != "")
            },
        },
        Case {
            schema: object(
                json!({
                    "people": {
                        "type": "array", "minItems": 1, "maxItems": 2,
                        "items": object(
                            json!({
                                "first": { "type": "string", "maxLength": 6 },
                                "tags": {
                                    "type": "array", "maxItems": 2,
                                    "items": { "type": "string", "maxLength": 4 },
                                },
                            }),
                            json!(["first", "tags"]),
                        ),
                    },
                }),
                json!(["people"]),
            ),
            follows: |value| {
                has_keys(value, &["people"], &[])
                    && is_list(&value["people"], 1..=2, |person| {
                        has_keys(person, &["first", "tags"], &[])
                            && is_short(&person["first"], 6)
                            && is_list(&person["tags"], 0..=2, |tag| is_short(tag, 4))
                    })
            },
        },
    ]
}

fn options(schema: &Value, temperature: f32, seed: u64) -> GenerateOptions {
    let sampling = Sampling { temperature, seed, ..Sampling::default() };
    let json_schema = Some(schema.to_string());
    GenerateOptions { sampling, max_tokens: MAX_TOKENS, json_schema, ..Default::default() }
}

fn ask(model: &Arc<Model>, question: &str, options: &GenerateOptions) -> Answer {
    let mut conversation = Conversation::new(model).unwrap();
    let messages = [Message::new(Role::User, question)];
    conversation.answer(&messages, options, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

#[test]
fn finished_answers_follow_their_schema() {
    let model = smollm2(512);
    let (mut n_finished, mut n_all) = (0, 0);
    for Case { schema, follows } in cases() {
        for seed in 0..3 {
            let answer = ask(&model, "Invent some data.", &options(&schema, 1.0, seed));
            n_all += 1;
            println!("{:?} {}", answer.finish, answer.text);
            if answer.finish == Finish::MaxTokens {
                continue;
            }
            assert_eq!(answer.finish, Finish::EndOfTurn);
            n_finished += 1;
            let value: Value = serde_json::from_str(&answer.text).unwrap();
            assert!(follows(&value), "{schema}: {}", answer.text);
        }
    }
    assert!(n_finished * 4 >= n_all * 3, "{n_finished} of {n_all} answers were finished");
}

#[test]
fn speculation_does_not_change_answers_with_a_schema() {
    let model = smollm2(512);
    let schema = &cases()[5].schema;
    let question = r#"Repeat: {"people": [{"first": "Ada", "tags": ["a", "b"]}]}"#;
    for temperature in [0.0, 1.0] {
        let plain = options(schema, temperature, 3);
        let with_lookup = GenerateOptions { lookup: 7, ..plain.clone() };
        let (without, with) = (ask(&model, question, &plain), ask(&model, question, &with_lookup));
        assert_eq!(with.tokens, without.tokens, "{}", with.text);
    }
}

#[test]
fn a_session_goes_on_after_an_answer_with_a_schema() {
    let model = smollm2(512);
    let prompt = model.tokenizer().encode("A person as JSON:", false).unwrap();
    let mut session = model.session().unwrap();
    let options = options(&cases()[0].schema, 0.0, 1);
    let answer = session.generate(&prompt, &options, &AtomicBool::new(false), &mut |_, _| {});
    let answer = answer.unwrap();
    // Of what was read ahead, only the answer stays.
    let whole = [&*prompt, &*answer.tokens].concat();
    assert!(whole.starts_with(session.tokens()));
    let after = model.tokenizer().encode("\nThe name is", false).unwrap();
    let logits = session.logits(&after).unwrap();
    let mut fresh = model.session().unwrap();
    let n_before = session.tokens().len() - after.len();
    fresh.append(&session.tokens()[..n_before]).unwrap();
    let error = relative_error(&logits, &fresh.logits(&after).unwrap());
    assert!(error < Q8_TOLERANCE, "{error:.2e}");
}

#[test]
fn an_answer_that_was_cut_off_is_continued_within_its_schema() {
    let model = smollm2(512);
    let cancel = AtomicBool::new(false);
    let schema = &cases()[2].schema;
    let options = options(schema, 0.0, 1);
    let mut messages = vec![Message::new(Role::User, "Invent an order.")];
    let mut conversation = Conversation::new(&model).unwrap();
    let short = GenerateOptions { max_tokens: 9, ..options.clone() };
    let begun = conversation.answer(&messages, &short, &cancel, &mut |_| {}).unwrap();
    assert_eq!(begun.finish, Finish::MaxTokens);
    messages.push(Message::new(Role::Assistant, &begun.text));
    let rest = conversation.answer(&messages, &options, &cancel, &mut |_| {}).unwrap();
    let text = format!("{}{}", begun.text, rest.text);
    assert!((cases()[2].follows)(&serde_json::from_str(&text).unwrap()), "{text}");
    messages[1].content = "Sure, here is your order:".to_owned();
    let refused = conversation.answer(&messages, &options, &cancel, &mut |_| {});
    assert!(matches!(refused, Err(Error::Schema { .. })), "{refused:?}");
}

#[test]
fn a_schema_that_cannot_be_used_is_an_error_before_anything_is_read() {
    let model = smollm2(512);
    let mut session = model.session().unwrap();
    let options = options(&json!({ "not": {} }), 0.0, 1);
    let refused = session.generate(&[1, 2, 3], &options, &AtomicBool::new(false), &mut |_, _| {});
    assert!(matches!(&refused, Err(Error::Schema { what }) if what.contains("not")), "{refused:?}");
    assert!(session.tokens().is_empty());
}
