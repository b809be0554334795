//! Masks, reasoning and schemas of constraints, on a vocabulary of single bytes and a few words.

use std::collections::BTreeSet;

use lilims_gguf::{File, Value as Meta, Writer};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;
/// Tokens beside those of single bytes; the last ones are no text.
const WORDS: [&str; 16] = [
    "\"", "{", "}", "\":", "\",", " \"", "a", "ab", "b", "tru", "true", "12", "2", "</s>",
    "<think>", "</think>",
];

/// A vocabulary of all bytes and [`WORDS`].
fn tokenizer() -> Arc<Tokenizer> {
    let mut tokens: Vec<(String, i32)> = vec![("<unk>".into(), 2)];
    tokens.extend((0..=255).map(|byte: u8| (format!("<0x{byte:02X}>"), BYTE)));
    let kind = |word: &str| if word.starts_with('<') { CONTROL } else { NORMAL };
    tokens.extend(WORDS.map(|word| (word.replace(' ', "▁"), kind(word))));
    let end = tokens.iter().position(|token| token.0 == "</s>").unwrap();
    let mut writer = Writer::default();
    let texts = tokens.iter().map(|token| Meta::String(token.0.as_bytes()));
    writer
        .str("tokenizer.ggml.model", "llama")
        .array("tokenizer.ggml.tokens", texts)
        .array("tokenizer.ggml.token_type", tokens.iter().map(|token| Meta::I32(token.1)))
        .array("tokenizer.ggml.scores", (0..tokens.len()).map(|id| Meta::F32(id as f32)))
        .value("tokenizer.ggml.eos_token_id", Meta::U32(end as u32));
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    Arc::new(Tokenizer::from_gguf(&Arc::new(File::from_bytes(bytes).unwrap())).unwrap())
}

fn constraint(schema: &str, start: &AnswerStart<'_>) -> Result<Constraint, Error> {
    let tokenizer = tokenizer();
    let parser = SchemaCompiler::new(&tokenizer)?.compile(schema)?;
    Constraint::new(parser, &tokenizer, start)
}

/// The tokens that may come next.
fn allowed(constraint: &mut Constraint) -> BTreeSet<u32> {
    let mut logits = vec![0.0; constraint.tokenizer.n_vocab()];
    constraint.mask(&mut logits).unwrap();
    (0..).zip(logits).filter(|(_, logit)| *logit == 0.0).map(|(id, _)| id).collect()
}

/// Writes an answer whose tokens `choose` picks, of so many that are possible; its text, once it is
/// complete.
fn write(
    constraint: &mut Constraint,
    max_tokens: usize,
    mut choose: impl FnMut(usize) -> usize,
) -> Option<String> {
    let mut ids = Vec::new();
    while !constraint.is_complete() && ids.len() < max_tokens {
        if let Some(id) = constraint.take_forced() {
            ids.push(id);
            continue;
        }
        let possible: Vec<u32> = allowed(constraint).into_iter().collect();
        let id = possible[choose(possible.len())];
        assert!(constraint.accept(id).unwrap());
        ids.push(id);
        if constraint.tokenizer.ends_turn(id) {
            return Some(constraint.tokenizer.decode(&ids));
        }
    }
    constraint.is_complete().then(|| constraint.tokenizer.decode(&ids))
}

#[test]
fn masks_allow_exactly_the_tokens_that_some_answer_continues_with() {
    let values = [json!("ab"), json!("a\"b"), json!(true), json!(12), json!("b")];
    let schema = json!({ "enum": values }).to_string();
    let texts = values.map(|value| value.to_string().into_bytes());
    let tokenizer = tokenizer();
    let bytes = |ids: &[u32]| {
        let mut bytes = Vec::new();
        ids.iter().for_each(|&id| tokenizer.decode_into(id, &mut bytes));
        bytes
    };
    let mut pending: Vec<Vec<u32>> = vec![Vec::new()];
    let mut n_complete = 0;
    while let Some(ids) = pending.pop() {
        let mut constraint = constraint(&schema, &AnswerStart::default()).unwrap();
        // What is forced would be one of several ways to write the same text.
        constraint.forced.clear();
        constraint.matcher.reset().unwrap();
        constraint.matcher.consume_tokens(&ids).unwrap();
        let written = bytes(&ids);
        if texts.contains(&written) {
            n_complete += 1;
            assert!(constraint.matcher.is_accepting().unwrap());
        }
        if constraint.matcher.is_stopped() {
            assert!(texts.contains(&written));
            continue;
        }
        let next: BTreeSet<u32> = (0..tokenizer.n_vocab() as u32)
            .filter(|&id| tokenizer.is_text(id))
            .filter(|&id| {
                let text = [&*written, &*bytes(&[id])].concat();
                text != written && texts.iter().any(|it| it.starts_with(&text))
            })
            .collect();
        let mut found: BTreeSet<u32> = BTreeSet::new();
        for id in 0..tokenizer.n_vocab() as u32 {
            if tokenizer.is_text(id) && constraint.matcher.validate_tokens(&[id]).unwrap() == 1 {
                found.insert(id);
            }
        }
        assert_eq!(found, next, "after {:?}", String::from_utf8_lossy(&written));
        // The mask may leave out ways to write what is forced, and nothing else.
        let masked = allowed(&mut constraint);
        let text_masked: BTreeSet<u32> =
            masked.iter().copied().filter(|&id| tokenizer.is_text(id)).collect();
        assert!(!text_masked.is_empty() && text_masked.is_subset(&next));
        pending.extend(next.iter().map(|&id| [&*ids, &[id]].concat()));
    }
    assert!(n_complete >= texts.len());
}

#[test]
fn answers_end_only_where_the_schema_allows_it() {
    let schema = r#"{"type": "integer", "minimum": 1, "maximum": 122}"#;
    let mut constraint = constraint(schema, &AnswerStart::default()).unwrap();
    let end = constraint.tokenizer.eos().unwrap();
    assert!(!allowed(&mut constraint).contains(&end));
    let token = |text| constraint.tokenizer.token(text).unwrap();
    let (twelve, two) = (token("12"), token("2"));
    assert!(constraint.accept(twelve).unwrap());
    assert!(allowed(&mut constraint).contains(&end));
    assert!(!constraint.is_complete());
    assert_eq!(constraint.n_allowed(&[two, two]).unwrap(), 1);
    assert!(constraint.accept(two).unwrap());
    assert!(constraint.is_complete());
}

#[test]
fn reasoning_is_free_and_comes_before_the_answer() {
    let tags = &ReasoningTags { open: "<think>", close: "</think>" };
    let schema = r#"{"enum": [true, 12]}"#;
    let mut constraint = constraint(schema, &AnswerStart::new(Some(tags), "", "")).unwrap();
    let token = |text: &str| constraint.tokenizer.token(text).unwrap();
    let (open, close, end) = (token("<think>"), token("</think>"), token("</s>"));
    let (word, answer) = (token("ab"), token("12"));
    let first = allowed(&mut constraint);
    assert!(first.contains(&open) && first.contains(&answer) && !first.contains(&word));
    assert!(!first.contains(&end));
    assert!(constraint.accept(open).unwrap());
    for _ in 0..3 {
        let next = allowed(&mut constraint);
        assert!(next.contains(&word) && next.contains(&close) && !next.contains(&end));
        assert!(constraint.accept(word).unwrap());
    }
    assert!(constraint.accept(close).unwrap());
    assert_eq!(write(&mut constraint, 9, |n| n - 1).as_deref(), Some("12"));
}

#[test]
fn reasoning_that_the_prompt_opened_ends_with_a_tag_in_text() {
    let tags = &ReasoningTags { open: "<x>", close: "b12" };
    let schema = r#"{"enum": [true]}"#;
    let mut constraint = constraint(schema, &AnswerStart::new(Some(tags), "<x>", "")).unwrap();
    let tokenizer = tokenizer();
    let token = |text: &str| tokenizer.token(text).unwrap();
    for word in [token("a"), token("ab"), token("12")] {
        assert!(constraint.accept(word).unwrap());
    }
    assert_eq!(write(&mut constraint, 9, |_| 0).as_deref(), Some("true"));
    // A token that ends the tag and begins something else may not be drawn.
    let tags = &ReasoningTags { open: "<x>", close: "1" };
    let start = AnswerStart::new(Some(tags), "<x>", "");
    let mut constraint = self::constraint(schema, &start).unwrap();
    assert!(!constraint.accept(token("12")).unwrap());
    assert!(constraint.accept(token("2")).unwrap());
}

#[test]
fn answers_continue_what_is_written() {
    let schema = r#"{"enum": ["ab", "b"]}"#;
    let start = |written| AnswerStart::new(None, "", written);
    let mut half = constraint(schema, &start("\n \"a")).unwrap();
    assert_eq!(write(&mut half, 9, |_| 0).as_deref(), Some("b\""));
    assert!(constraint(schema, &start("\"b\"")).unwrap().is_complete());
    let error = constraint(schema, &start("Sure! \"a")).err().unwrap();
    assert_eq!(error.to_string(), "JSON schema: the answer so far does not follow it");
}

#[test]
fn schemas_that_cannot_be_used_say_why() {
    for (schema, what) in [
        ("{", "not JSON"),
        ("3", "not a JSON object"),
        (r#"{"type": "text"}"#, "text"),
        (r#"{"not": {"type": "string"}}"#, "not"),
        (r#"{"type": "array", "uniqueItems": true}"#, "uniqueItems"),
        (r#"{"type": "string", "format": "colour"}"#, "colour"),
        (r#"{"type": "string", "pattern": "("}"#, "("),
        (r#"{"type": "string", "pattern": "(?=a)b"}"#, "(?=a)b"),
        (r##"{"$ref": "#/$defs/gone"}"##, "gone"),
        (r#"{"$ref": "https://example.com/schema"}"#, "example.com"),
        (r#"{"oneOf": [{"type": "number"}, {"type": "integer"}]}"#, "oneOf"),
        (r#"{"type": "integer", "minimum": 3, "maximum": 2}"#, "minimum"),
        (r#"{"type": "integer", "minimum": "3"}"#, "minimum"),
    ] {
        let error = check_schema(schema).unwrap_err().to_string();
        println!("{schema}: {error}");
        assert!(error.contains(what) && !error.contains('\n'), "{schema}: {error}");
        assert!(error.len() < 400, "{error}");
    }
}

#[test]
fn hostile_schemas_are_errors_or_work_in_limited_time() {
    let nested = |depth: usize| {
        let open = r#"{"type":"array","items":"#.repeat(depth);
        format!("{open}{{\"type\":\"null\"}}{}", "}".repeat(depth))
    };
    let wide = |count: usize| {
        let names = (0..count).map(|i| format!(r#""p{i}":{{"type":"integer"}}"#));
        format!(r#"{{"type":"object","properties":{{{}}}}}"#, names.collect::<Vec<_>>().join(","))
    };
    let cycle =
        r##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##;
    let all = r##"{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}"##;
    let long_text = format!(r#"{{"type":"string","format":3,"$ref":"{}"}}"#, "é".repeat(300));
    for schema in [
        nested(60),
        nested(5000),
        wide(2000),
        cycle.to_owned(),
        all.to_owned(),
        r##"{"$ref":"#"}"##.to_owned(),
        long_text,
        r#"{"type":"string","pattern":"((a{1,1000}){1,1000}){1,1000}"}"#.to_owned(),
        r#"{"type":"string","minLength":1000000000}"#.to_owned(),
        r#"{"type":"array","minItems":1000000000,"items":{"type":"null"}}"#.to_owned(),
        format!(r#"{{"title":"{}"}}"#, "x".repeat(MAX_SCHEMA_BYTES)),
    ] {
        let start = std::time::Instant::now();
        let checked = check_schema(&schema);
        let (elapsed, head) = (start.elapsed(), &schema[..schema.len().min(60)]);
        println!("{head}: {checked:?} after {elapsed:?}");
        assert!(elapsed.as_secs() < 10, "{head}: {elapsed:?}");
        if let Err(error) = checked {
            assert!(error.to_string().len() < 1000, "{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_answers_follow_their_schema(choices in prop::collection::vec(0usize..1 << 20, 200)) {
        let schema = json!({
            "type": "object",
            "properties": {
                "a": { "type": "integer", "minimum": -3, "maximum": 20 },
                "b": { "type": "array", "items": { "enum": ["ab", null] }, "maxItems": 2 },
                "ab": { "type": "string", "maxLength": 3 },
            },
            "required": ["a", "ab"],
            "additionalProperties": false,
        });
        let mut constraint = constraint(&schema.to_string(), &AnswerStart::default()).unwrap();
        let mut choices = choices.into_iter();
        let text = write(&mut constraint, 200, |n| choices.next().unwrap_or(0) % n);
        let Some(text) = text else { return Ok(()) };
        let value: Value = serde_json::from_str(&text).unwrap();
        // −0 is a whole number, too.
        let number = value["a"].as_f64().unwrap();
        prop_assert!((-3.0..=20.0).contains(&number) && number.fract() == 0.0, "{text}");
        prop_assert!(value["ab"].as_str().unwrap().chars().count() <= 3, "{text}");
        let is_item = |item: &Value| *item == json!("ab") || item.is_null();
        let is_list = |list: &Value| {
            list.as_array().is_some_and(|list| list.len() <= 2 && list.iter().all(is_item))
        };
        prop_assert!(value.get("b").is_none_or(is_list), "{text}");
        prop_assert!(value.as_object().unwrap().len() <= 3, "{text}");
    }
}
