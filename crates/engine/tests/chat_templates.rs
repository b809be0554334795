//! Chat templates against their renderings by jinja2 with the settings of transformers.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::path::Path;

use chrono::NaiveDate;
use lilims_engine::{ChatTemplate, Error};
use serde_json::Value;

#[test]
fn templates_render_like_jinja2() {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/chat_templates");
    assert!(root.is_dir(), "{} is missing", root.display());
    let mut n_cases = 0;
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jinja") {
            n_cases += check(&path);
        }
    }
    assert!(n_cases >= 7 * 8, "only {n_cases} cases");
}

/// Checks all cases of one template and returns their number.
fn check(path: &Path) -> usize {
    let source = std::fs::read_to_string(path).unwrap();
    let cases = std::fs::read_to_string(path.with_extension("json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    for case in &cases {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let today: NaiveDate = text("strftime_now").parse().unwrap();
        let template =
            ChatTemplate::with_clock(&source, text("bos_token"), text("eos_token"), move || {
                today.into()
            })
            .unwrap();
        let adds_prompt = case["add_generation_prompt"].as_bool().unwrap();
        let rendered = template.render(&case["messages"], adds_prompt);
        let name = format!("{} {}", path.display(), text("case"));
        match (rendered, case.get("error").and_then(Value::as_str)) {
            (Ok(rendered), None) => assert_eq!(rendered, text("text"), "{name}"),
            (Err(Error::Template { what }), Some(message)) => assert_eq!(what, message, "{name}"),
            (rendered, expected) => panic!("{name}: {rendered:?}, expected error {expected:?}"),
        }
    }
    cases.len()
}
