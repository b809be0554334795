//! The curated list of models: a TOML file in this crate, checked when it is parsed.

use std::collections::HashSet;

use serde::Deserialize;

use crate::Error;

const FORMAT: u32 = 1;

/// The models that Lilims recommends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The version of the format, 1.
    format: u32,
    /// The models, in the order in which they are shown.
    #[serde(rename = "model", default)]
    pub models: Vec<Entry>,
}

/// One model: a file of a repository, and what is known of it before it is downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// A stable name: lower-case letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// The Hugging Face repository, `owner/name`.
    pub repository: String,
    /// The file in that repository, in no folder.
    pub file: String,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// The file's SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The licence of the weights, as SPDX writes it.
    pub licence: String,
    /// The context it was trained for, in tokens.
    pub context: u32,
    /// Whether it ships with Lilims. One entry does.
    #[serde(default)]
    pub bundled: bool,
}

impl Catalogue {
    /// The catalogue that ships with this version of Lilims.
    pub fn curated() -> Self {
        Self::parse(include_str!("../catalogue.toml"))
            .expect("a test parses the catalogue of this crate")
    }

    /// Reads and checks a catalogue.
    ///
    /// *Errors*: [`Error::Catalogue`], [`Error::Format`], [`Error::Entry`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let catalogue: Self = toml::from_str(text)?;
        if catalogue.format != FORMAT {
            return Err(Error::Format { format: catalogue.format });
        }
        let mut seen = HashSet::new();
        for entry in &catalogue.models {
            let invalid = |what| Err(Error::Entry { id: entry.id.clone(), what });
            if let Some(what) = entry.fault() {
                return invalid(what);
            }
            if !seen.insert(&entry.id) {
                return invalid("appears twice");
            }
        }
        Ok(catalogue)
    }

    /// The model that ships with Lilims.
    pub fn bundled(&self) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.bundled)
    }
}

impl Entry {
    /// What is wrong with the entry, if anything is.
    ///
    /// Ids and file names become paths, so nothing that could leave a folder is let through.
    fn fault(&self) -> Option<&'static str> {
        let plain = |text: &str| {
            !text.is_empty()
                && !text.starts_with('.')
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let faults = [
            (
                !plain(&self.id) || self.id.bytes().any(|b| b.is_ascii_uppercase()),
                "has an id that is not lower-case letters, digits, `-`, `_` and `.`",
            ),
            (self.name.trim().is_empty(), "has no name"),
            (
                !self.repository.split_once('/').is_some_and(|(a, b)| plain(a) && plain(b)),
                "has a repository that is not `owner/name`",
            ),
            (
                !plain(&self.file) || !self.file.ends_with(".gguf"),
                "has a file that is not a plain name ending in .gguf",
            ),
            (self.size_bytes == 0, "has no size"),
            (
                self.sha256.len() != 64
                    || !self.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
                "has a sha256 that is not 64 lower-case hexadecimal digits",
            ),
            (self.licence.trim().is_empty(), "has no licence"),
            (self.context == 0, "has no context"),
        ];
        faults.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curated_catalogue_is_valid_and_bundles_one_model() {
        let catalogue = Catalogue::curated();
        assert_eq!(catalogue.models.iter().filter(|entry| entry.bundled).count(), 1);
        let bundled = catalogue.bundled().unwrap();
        assert_eq!(bundled.file, "SmolLM2-135M-Instruct.Q4_1.gguf");
        assert_eq!(bundled.size_bytes, 98_362_432);
    }

    /// The curated catalogue with `from` replaced by `to`.
    fn changed(from: &str, to: &str) -> Result<Catalogue, Error> {
        let text = include_str!("../catalogue.toml");
        assert!(text.contains(from), "{from}");
        Catalogue::parse(&text.replace(from, to))
    }

    #[test]
    fn faults_are_named() {
        for (from, to, expected) in [
            ("file = \"Smol", "file = \"../Smol", "has a file that is not a plain name"),
            (".gguf\"", ".exe\"", "ending in .gguf"),
            ("sha256 = \"b1", "sha256 = \"B1", "sha256"),
            ("sha256 = \"b1", "sha256 = \"1", "sha256"),
            ("QuantFactory/", "", "owner/name"),
            ("size_bytes = 98362432", "size_bytes = 0", "no size"),
            ("context = 8192", "context = 0", "no context"),
            ("Apache-2.0", " ", "no licence"),
            ("SmolLM2 135M Instruct", "", "no name"),
            ("id = \"smol", "id = \"Smol", "has an id"),
            ("format = 1", "format = 2", "has format 2"),
        ] {
            let error = changed(from, to).unwrap_err().to_string();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn missing_unknown_and_repeated_things_are_refused() {
        assert!(matches!(changed("context = 8192\n", ""), Err(Error::Catalogue(_))));
        assert!(matches!(changed("context = 8192", "kontext = 1"), Err(Error::Catalogue(_))));
        let (head, entry) = include_str!("../catalogue.toml").split_once("[[model]]").unwrap();
        let twice = format!("{head}[[model]]{entry}[[model]]{entry}");
        let error = Catalogue::parse(&twice).unwrap_err().to_string();
        assert!(error.ends_with("appears twice"), "{error}");
        assert!(Catalogue::parse("format = 1").unwrap().models.is_empty());
    }
}
