//! What chat templates expect of Python: methods, `tojson`, `raise_exception`, `strftime_now`.

use std::fmt::Write;

use chrono::NaiveDateTime;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, escape_formatter};

/// A template's own reason for refusing the messages.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

/// JSON nested deeper than this is refused.
const MAX_DEPTH: usize = 64;

/// Adds all of it to `environment`; `now` tells `strftime_now` the time.
pub(super) fn install(
    environment: &mut Environment<'static>,
    now: impl Fn() -> NaiveDateTime + Send + Sync + 'static,
) {
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::None => out.write_str("None").map_err(write_failure),
        ValueKind::Bool if value.is_true() => out.write_str("True").map_err(write_failure),
        ValueKind::Bool => out.write_str("False").map_err(write_failure),
        _ => escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |sentence: String| -> Result<Value, Error> {
        let error = Error::new(ErrorKind::InvalidOperation, sentence.clone());
        Err(error.with_source(Refusal(sentence)))
    });
    environment.add_function("strftime_now", move |format: String| {
        let mut text = String::new();
        // Chrono reports unknown directives by failing to write.
        write!(text, "{}", now().format(&format))
            .map(|()| text)
            .map_err(|_| invalid(format!("cannot write the time as `{format}`")))
    });
}

fn write_failure(error: std::fmt::Error) -> Error {
    Error::new(ErrorKind::WriteFailure, "cannot write a value").with_source(error)
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// Python's `json.dumps` with the defaults of transformers: not sorted, not ASCII, not escaped
/// for HTML.
fn to_json(value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent = kwargs.get::<Option<usize>>("indent")?.map(|indent| indent.min(32));
    let style = Style {
        indent,
        ensures_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorts_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        separators: match kwargs.get::<Option<Vec<String>>>("separators")?.as_deref() {
            Some([comma, colon]) => (comma.clone(), colon.clone()),
            _ if indent.is_some() => (",".to_owned(), ": ".to_owned()),
            _ => (", ".to_owned(), ": ".to_owned()),
        },
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    style.write(&mut out, value, 0)?;
    Ok(out)
}

struct Style {
    indent: Option<usize>,
    ensures_ascii: bool,
    sorts_keys: bool,
    separators: (String, String),
}

impl Style {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid("the value is nested too deeply for JSON".to_owned()));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::String => self.write_str(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<_> = value.try_iter()?.collect();
                self.write_all(out, ['[', ']'], depth, &items, |style, out, item| {
                    style.write(out, item, depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<_> = value.try_iter()?.collect();
                if self.sorts_keys {
                    keys.sort();
                }
                self.write_all(out, ['{', '}'], depth, &keys, |style, out, key| {
                    style.write_str(out, &key.to_string());
                    out.push_str(&style.separators.1);
                    style.write(out, &value.get_item(key)?, depth + 1)
                })?;
            }
            kind => return Err(invalid(format!("a value of type {kind} has no JSON"))),
        }
        Ok(())
    }

    fn write_all(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        depth: usize,
        items: &[Value],
        write: impl Fn(&Self, &mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (idx, item) in items.iter().enumerate() {
            if idx > 0 {
                out.push_str(&self.separators.0);
            }
            self.break_line(out, depth + 1);
            write(self, out, item)?;
        }
        if !items.is_empty() {
            self.break_line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn break_line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_str(&self, out: &mut String, text: &str) {
        let json = serde_json::Value::from(text).to_string();
        if !self.ensures_ascii {
            out.push_str(&json);
            return;
        }
        for c in json.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                out.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
}
