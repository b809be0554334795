//! Compares renderings with those of jinja2, configured as in transformers.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use chrono::NaiveDate;
use lilims_jinja::{Error, Input, Template};
use serde_json::{Value, json};

/// Renders a file's cases; returns the differences and the number of cases.
fn differences(path: &Path) -> (Vec<String>, usize) {
    let file =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value = serde_json::from_str(&file).unwrap();
    let today: NaiveDate = file["strftime_now"].as_str().unwrap().parse().unwrap();
    let variables = [
        ("add_generation_prompt", file["add_generation_prompt"].clone()),
        ("bos_token", file["bos_token"].clone()),
        ("eos_token", file["eos_token"].clone()),
        ("tools", json!(null)),
        ("documents", json!(null)),
    ];
    let cases = file["cases"].as_array().unwrap();
    let mut differences = Vec::new();
    for case in cases {
        let input = Input {
            messages: &file["messages"],
            variables: &variables,
            now: &|| today.into(),
            cancel: &AtomicBool::new(false),
        };
        let source = case["template"].as_str().unwrap();
        let rendered = Template::parse(source).and_then(|template| template.render(&input));
        let is_equal = match (&rendered, case["text"].as_str(), case["error"].as_str()) {
            (Ok(rendering), Some(text), None) => rendering.text == text,
            (Err(error), None, Some(class)) => is_of(error, class),
            _ => false,
        };
        if !is_equal {
            let rendered = rendered.map(|rendering| rendering.text);
            differences.push(format!("{case}\n    is {rendered:?}"));
        }
    }
    (differences, cases.len())
}

/// Whether the error corresponds to the Python exception `class`. If Python's compiler or one of
/// our limits rejects a template early, other classes are accepted.
fn is_of(error: &Error, class: &str) -> bool {
    match error {
        Error::Syntax { .. } => matches!(
            class,
            "TemplateSyntaxError" | "TemplateAssertionError" | "SyntaxError" | "UnicodeEncodeError"
        ),
        Error::Runtime { class: found, .. } => *found == class,
        Error::Raised { .. } => class == "TemplateError",
        Error::LimitExceeded { .. } => {
            matches!(class, "RecursionError" | "MemoryError" | "OverflowError")
        }
        Error::Cancelled => false,
    }
}

#[track_caller]
fn assert_equal(path: &Path, n_expected: usize) {
    let (differences, n_cases) = differences(path);
    assert!(n_cases >= n_expected, "{}: only {n_cases} cases", path.display());
    let n = differences.len();
    assert!(n == 0, "{n} of {n_cases} differ:\n{}", differences.join("\n"));
}

#[test]
fn t7_constructs_of_published_templates_render_like_jinja2() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_equal(&root.join("../../../shared/faults/templates.json"), 208);
}

#[test]
fn t7_own_constructs_render_like_jinja2() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_equal(&root.join("tests/vectors.json"), 1500);
}
