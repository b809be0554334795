//! Metadata as JSON, long arrays and texts cut short.

use lilims_gguf::{Array, Value};
use serde_json::{Value as Json, json};

/// How many values of an array are shown.
const SHOWN_VALUES: usize = 8;

/// How deep arrays are shown inside of arrays.
const SHOWN_DEPTH: usize = 2;

/// The value as JSON. An array becomes `{"length": n, "first": […]}`; bytes that are not UTF-8
/// are shown as U+FFFD, numbers that JSON cannot hold as texts.
pub(super) fn to_json(value: &Value<'_>) -> Json {
    nested(value, SHOWN_DEPTH)
}

fn nested(value: &Value<'_>, depth: usize) -> Json {
    match *value {
        Value::U8(v) => v.into(),
        Value::I8(v) => v.into(),
        Value::U16(v) => v.into(),
        Value::I16(v) => v.into(),
        Value::U32(v) => v.into(),
        Value::I32(v) => v.into(),
        Value::U64(v) => v.into(),
        Value::I64(v) => v.into(),
        Value::F32(v) => float(v.into(), &v),
        Value::F64(v) => float(v, &v),
        Value::Bool(v) => v.into(),
        Value::String(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Array(array) => shortened(&array, depth),
    }
}

/// The shortest decimal that reads back as the number, so that 1e-5 stays 1e-5 and is not padded
/// with the digits that f32 lacks.
fn float(value: f64, shown: &impl ToString) -> Json {
    let text = shown.to_string();
    match text.parse::<f64>() {
        Ok(short) if value.is_finite() => short.into(),
        _ => text.into(),
    }
}

fn shortened(array: &Array<'_>, depth: usize) -> Json {
    let shown = if depth == 0 { 0 } else { SHOWN_VALUES };
    let first: Vec<_> = array.iter().take(shown).map(|value| nested(&value, depth - 1)).collect();
    json!({ "length": array.len(), "first": first })
}

#[cfg(test)]
mod tests {
    use lilims_gguf::{File, Writer};

    use super::*;

    #[test]
    fn values_are_short_and_exact() {
        let mut bytes = Vec::new();
        Writer::default()
            .value("eps", Value::F32(1e-5))
            .value("nan", Value::F32(f32::NAN))
            .str("text", &"x\n".repeat(100))
            .array("ids", (0..20).map(Value::I32))
            .array("none", [])
            .write(&mut bytes)
            .unwrap();
        let file = File::from_bytes(bytes).unwrap();
        let json: Vec<_> = file.metadata().iter().map(|(_, value)| to_json(&value)).collect();
        // As f64, the f32 would be 9.999999747378752e-6.
        assert_eq!(json[0], json!(1e-5));
        assert_eq!(json[1], "NaN");
        assert_eq!(json[4], json!({ "length": 0, "first": [] }));
        assert_eq!(json[3], json!({ "length": 20, "first": [0, 1, 2, 3, 4, 5, 6, 7] }));
    }
}
