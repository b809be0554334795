//! Envelopes for people to read. The format: <https://develop.sentry.dev/sdk/data-model/envelopes/>.

use serde_json::Value;

use crate::QueuedEnvelope;

impl QueuedEnvelope {
    /// The envelope with the body `bytes`.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let texts: Vec<String> = lines.map(readable).collect();
        Self { text: texts.join("\n"), bytes }
    }
}

/// A line as JSON with line breaks, or as it is: envelopes of ours have one JSON value on each.
fn readable(line: &[u8]) -> String {
    let indented = serde_json::from_slice::<Value>(line)
        .and_then(|value| serde_json::to_string_pretty(&value));
    indented.unwrap_or_else(|_| String::from_utf8_lossy(line).into_owned())
}
