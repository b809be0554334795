//! The allow-list from the side of the bytes: every key and value that an envelope may have.

use serde_json::Value;

/// Checks an envelope of a scrubber of [`super::options`].
pub(super) fn check(envelope: &[u8]) {
    let lines: Vec<&[u8]> = envelope.split(|b| *b == b'\n').collect();
    let [header, item, payload, end] = lines[..] else { panic!("{} lines", lines.len()) };
    assert!(end.is_empty());
    for (prefix, line) in [("header", header), ("item", item), ("event", payload)] {
        let value: Value = serde_json::from_slice(line).expect("a line of JSON");
        check_value(prefix, &value);
    }
    let item: Value = serde_json::from_slice(item).unwrap();
    assert_eq!(item["length"], payload.len());
}

fn check_value(path: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| check_value(&format!("{path}.{name}"), value));
        }
        Value::Array(items) => items.iter().for_each(|it| check_value(&format!("{path}[]"), it)),
        leaf => assert!(is_allowed(path, leaf), "{path} is {leaf}"),
    }
}

fn is_allowed(path: &str, leaf: &Value) -> bool {
    let one_of = |allowed: &[&str]| leaf.as_str().is_some_and(|it| allowed.contains(&it));
    match path {
        "header.event_id" | "event.event_id" => is_id(leaf),
        "item.type" => one_of(&["event"]),
        "item.length" => leaf.is_u64(),
        "event.level" => one_of(&["debug", "info", "warning", "fatal"]),
        "event.platform" => one_of(&["native"]),
        "event.timestamp" => leaf.as_f64().is_some_and(|seconds| seconds % 3600.0 == 0.0),
        "event.release" => one_of(&["lilims@0.0.1"]),
        "event.environment" => one_of(&["test"]),
        "event.message" => one_of(&["performance figures"]),
        "event.tags.install_id" => one_of(&["00000000-0000-0000-0000-000000000001"]),
        "event.tags.catalogue_model" => one_of(&["model-a", "model-b", "other"]),
        "event.contexts.os.type" => one_of(&["os"]),
        "event.contexts.os.name" => one_of(&["linux", "macos", "windows"]),
        "event.contexts.os.version" => one_of(&["6.8"]),
        "event.contexts.device_class.type" | "event.contexts.figures.type" => one_of(&["unknown"]),
        "event.contexts.device_class.arch" => one_of(&["x86_64", "aarch64"]),
        "event.contexts.device_class.instruction_set" => one_of(&["avx2"]),
        "event.contexts.device_class.cores" => one_of(&["5-8"]),
        "event.contexts.device_class.memory" => one_of(&["8-16 GiB"]),
        "event.contexts.figures.load_ms"
        | "event.contexts.figures.first_token_ms"
        | "event.contexts.figures.tokens_per_second"
        | "event.contexts.figures.peak_memory_bytes" => has_two_digits(leaf),
        "event.exception.values[].type" => one_of(&["panic", "page panic", "page exception"]),
        "event.exception.values[].value" => leaf.as_str().is_some_and(is_location),
        "event.exception.values[].stacktrace.frames[].function" => {
            leaf.as_str().is_some_and(is_function)
        }
        "event.exception.values[].stacktrace.frames[].in_app" => leaf.is_boolean(),
        _ => false,
    }
}

fn is_id(leaf: &Value) -> bool {
    leaf.as_str().is_some_and(|it| it.chars().all(|c| c.is_ascii_hexdigit() || c == '-'))
}

fn has_two_digits(leaf: &Value) -> bool {
    let text = format!("{:e}", leaf.as_f64().unwrap());
    let digits = text.split('e').next().unwrap().chars().filter(char::is_ascii_digit).count();
    digits <= 2
}

fn is_location(text: &str) -> bool {
    let known =
        |rest: &str| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.: ".contains(&b));
    text.strip_prefix("lilims_").is_some_and(known)
}

fn is_function(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_:{}".contains(c);
    let root = text.split("::").next().unwrap();
    text.chars().all(is_plain) && ["lilims_engine", "lilims_core", "core", "std"].contains(&root)
}
