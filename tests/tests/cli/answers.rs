//! Flags of `lilims generate` that change how an answer is written.

use super::*;

/// A folder with a schema's file, and its path.
fn schema(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("schema.json");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn answers_follow_the_json_schema_of_a_file() {
    let (_folder, path) = schema(
        r#"{"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}},
            "required": ["n"], "additionalProperties": false}"#,
    );
    let generate = ["generate", "--model", &model(SMOLLM2), "--prompt", "A number?", "--seed", "1"];
    let answer = json_of(&[&generate[..], &["--json", "--json-schema", &path]].concat());
    assert_eq!(answer["finish"], "end-of-turn");
    let value: Json = serde_json::from_str(answer["text"].as_str().unwrap()).unwrap();
    assert!(value["n"].as_i64().is_some_and(|n| n <= 99), "{value}");
}

#[test]
fn a_schema_that_cannot_be_used_says_why() {
    let generate = ["generate", "--model", &model(SMOLLM2), "--prompt", "x", "--json-schema"];
    for (text, what) in [("{", "not JSON"), (r#"{"not": {}}"#, "not")] {
        let (_folder, path) = schema(text);
        let sentence = failure(&mut lilims(&[&generate[..], &[&path]].concat()), 1);
        assert!(sentence.contains("JSON schema") && sentence.contains(what), "{sentence}");
    }
    let sentence = failure(&mut lilims(&[&generate[..], &["nowhere.json"]].concat()), 1);
    assert!(sentence.contains("nowhere.json"), "{sentence}");
}

#[test]
fn a_draft_model_changes_no_answer() {
    let file = model(SMOLLM2);
    let generate =
        ["generate", "--model", &file, "--prompt", "Count from 1 to 20.", "--seed", "1", "--json"];
    let plain = json_of(&generate);
    let drafted = json_of(&[&generate[..], &["--draft", &file]].concat());
    assert_eq!(drafted["text"], plain["text"]);
    // The first trial comes whatever the speed, and the draft model is sure of this answer.
    assert!(drafted["drafted_tokens"].as_u64() > plain["drafted_tokens"].as_u64(), "{drafted}");
    let other = ["--draft", &model(GEMMA)];
    let sentence = failure(&mut lilims(&[&generate[..], &other].concat()), 1);
    assert!(sentence.contains("vocabulary"), "{sentence}");
    let sentence = failure(&mut lilims(&[&generate[..], &["--draft", "nowhere.gguf"]].concat()), 1);
    assert!(sentence.contains("nowhere.gguf"), "{sentence}");
}
