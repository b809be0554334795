//! Converts arguments of string methods.

use crate::Error;
use crate::ops;
use crate::text::Text;
use crate::value::Value;

/// Converts a required string argument.
pub(super) fn string(value: Option<Value>, function: &str) -> Result<Text, Error> {
    match value {
        Some(Value::Str(text)) => Ok(text),
        Some(other) => Err(Error::type_error(format!(
            "{function}() argument must be str, not {}",
            other.type_name()
        ))),
        None => Err(Error::type_error(format!("{function}() takes more arguments"))),
    }
}

/// Converts a maximum count; negative or missing means unlimited.
pub(crate) fn limit(count: Option<Value>) -> Result<usize, Error> {
    match count {
        None | Some(Value::None) => Ok(usize::MAX),
        Some(count) => match count.as_index() {
            Some(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            None => ops::size(&count),
        },
    }
}
