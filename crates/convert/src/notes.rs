//! What a conversion leaves out, as sentences for people: the manifest's `notes`.

use serde_json::Value as Json;

use crate::quote::{quoted, quoted_json};

/// The most fields that one note lists.
const MAX_LISTED_FIELDS: usize = 40;

/// Collected notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    ignored_fields: Vec<String>,
    others: Vec<String>,
}

impl Notes {
    /// Notes that a field with an unusual value is left out, because it has no effect.
    pub(crate) fn add_ignored_field(&mut self, file: &str, name: &str, value: &Json) {
        self.ignored_fields.push(format!("`{}` {} ({file})", quoted(name), quoted_json(value)));
    }

    /// Adds a note, which is a sentence without its full stop.
    pub(crate) fn add(&mut self, note: String) {
        self.others.push(note);
    }

    /// Returns one sentence for each note; ignored fields share one.
    pub(crate) fn into_sentences(self) -> Vec<String> {
        let mut sentences = self.others;
        let n_more = self.ignored_fields.len().saturating_sub(MAX_LISTED_FIELDS);
        if !self.ignored_fields.is_empty() {
            let listed: Vec<_> = self.ignored_fields.into_iter().take(MAX_LISTED_FIELDS).collect();
            let more = if n_more == 0 { String::new() } else { format!(", and {n_more} more") };
            sentences.push(format!(
                "left out, because they do not change what the model computes: {}{more}",
                listed.join(", ")
            ));
        }
        sentences
    }
}
