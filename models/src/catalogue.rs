//! The curated list of models: reads and validates `catalogue.toml`. It does not download anything.

use std::collections::HashSet;

use serde::Deserialize;

use crate::Error;

const FORMAT: u32 = 2;

/// The models that Lilims recommends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The version of the file format, currently 2.
    format: u32,
    /// The models, in display order.
    #[serde(rename = "model", default)]
    pub models: Vec<Entry>,
}

/// One model: a file in a repository, with the facts that are known before it is downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// A stable identifier: lower-case letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The display name.
    pub name: String,
    /// The Hugging Face repository, `owner/name`.
    pub repository: String,
    /// The commit of that repository, or a branch if no commit is known.
    pub revision: String,
    /// The file name, at the top level of that repository.
    pub file: String,
    /// The file's size in bytes.
    pub size_bytes: u64,
    /// Whether `size_bytes` is exact rather than an estimate.
    #[serde(default = "default_size_is_exact")]
    pub size_is_exact: bool,
    /// The file's SHA-256 in lower-case hexadecimal, if one was published or computed.
    pub sha256: Option<String>,
    /// The source of `sha256`. Absent only if we computed it.
    pub sha256_from: Option<String>,
    /// Whether we computed `sha256` from the file itself.
    #[serde(default)]
    pub hash_verified: bool,
    /// The number of parameters.
    pub parameters: u64,
    /// The licence of the weights, as an SPDX identifier.
    pub licence: String,
    /// The context length that the model was trained for, in tokens.
    pub context: u32,
    /// Whether the model ships with Lilims; exactly one entry does.
    #[serde(default)]
    pub bundled: bool,
}

fn default_size_is_exact() -> bool {
    true
}

impl Catalogue {
    /// The catalogue that ships with this version of Lilims.
    pub fn curated() -> Self {
        Self::parse(include_str!("../catalogue.toml"))
            .expect("a test parses the catalogue of this crate")
    }

    /// Parses and validates a catalogue.
    ///
    /// # Errors
    /// [`Error::Catalogue`] for text that is not a catalogue, [`Error::Format`] for another format
    /// version, [`Error::Entry`] for an invalid entry.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let catalogue: Self = toml::from_str(text)?;
        if catalogue.format != FORMAT {
            return Err(Error::Format { format: catalogue.format });
        }
        let mut ids = HashSet::new();
        let mut files = HashSet::new();
        for entry in &catalogue.models {
            let invalid = |what| Err(Error::Entry { id: entry.id.clone(), what });
            if let Some(what) = entry.violation() {
                return invalid(what);
            }
            if !ids.insert(&entry.id) {
                return invalid("appears twice");
            }
            // Downloaded files are identified by name, and some file systems ignore case.
            if !files.insert(entry.file.to_ascii_lowercase()) {
                return invalid("has the same file as another entry");
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
    /// The first rule that the entry violates, if any.
    ///
    /// Ids and file names become parts of paths and URLs, so path separators and leading dots are
    /// rejected.
    fn violation(&self) -> Option<&'static str> {
        let rules = [
            (
                !is_plain(&self.id) || self.id.bytes().any(|b| b.is_ascii_uppercase()),
                "has an id that is not lower-case letters, digits, `-`, `_` and `.`",
            ),
            (self.name.trim().is_empty(), "has no name"),
            (
                !self.repository.split_once('/').is_some_and(|(a, b)| is_plain(a) && is_plain(b)),
                "has a repository that is not `owner/name`",
            ),
            (!is_plain(&self.revision), "has a revision that is not a commit or a branch"),
            (
                !is_plain(&self.file) || !self.file.ends_with(".gguf"),
                "has a file that is not a plain name ending in .gguf",
            ),
            (self.size_bytes == 0, "has no size"),
            (self.parameters == 0, "has no parameters"),
            (self.licence.trim().is_empty(), "has no licence"),
            (self.context == 0, "has no context"),
        ];
        rules
            .into_iter()
            .find(|(is_violated, _)| *is_violated)
            .map(|(_, what)| what)
            .or_else(|| self.hash_violation())
    }

    /// The first rule that `sha256`, its source and `hash_verified` violate, if any.
    fn hash_violation(&self) -> Option<&'static str> {
        let source = self.sha256_from.as_deref().map(str::trim);
        match &self.sha256 {
            Some(hash) if !is_sha256(hash) => {
                Some("has a sha256 that is not 64 lower-case hexadecimal digits")
            }
            Some(_) if source == Some("") || (source.is_none() && !self.hash_verified) => {
                Some("has a sha256 without sha256_from")
            }
            None if self.hash_verified => Some("has hash_verified without a sha256"),
            None if source.is_some() => Some("has sha256_from without a sha256"),
            _ if self.hash_verified && !self.size_is_exact => {
                Some("has hash_verified without an exact size")
            }
            _ => None,
        }
    }
}

/// Whether a text is safe as one component of a path and of a URL, and not hidden.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Whether a text is a SHA-256 in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curated_catalogue_is_valid_and_bundles_one_model() {
        let catalogue = Catalogue::curated();
        assert_eq!(catalogue.models.iter().filter(|entry| entry.bundled).count(), 1);
        let bundled = catalogue.bundled().unwrap();
        assert_eq!(bundled.file, "SmolLM2-135M-Instruct.Q4_1.gguf");
        assert_eq!(bundled.size_bytes, 98_362_432);
        assert!(bundled.hash_verified);
    }

    #[test]
    fn curated_catalogue_covers_small_to_large_models() {
        let models = Catalogue::curated().models;
        assert!((18..=25).contains(&models.len()), "{}", models.len());
        let parameters = || models.iter().map(|entry| entry.parameters);
        assert!(parameters().min().unwrap() < 150_000_000);
        assert!(parameters().max().unwrap() > 8_000_000_000);
        for entry in &models {
            // Outside 2 to 16 bits per weight, the size or the parameter count has a typo.
            let bits = entry.size_bytes as f64 * 8.0 / entry.parameters as f64;
            assert!((2.0..17.0).contains(&bits), "{}: {bits} bits per weight", entry.id);
            assert!(entry.id.starts_with(|c: char| c.is_ascii_lowercase()), "{}", entry.id);
            let quantisation = crate::quantisation_of(&entry.file).unwrap();
            let suffix = quantisation.to_ascii_lowercase();
            assert!(entry.id.ends_with(&suffix), "{} of {}", entry.id, entry.file);
        }
        let stated = models.iter().filter_map(|entry| entry.sha256.as_ref());
        let distinct: HashSet<_> = stated.clone().collect();
        assert_eq!(distinct.len(), stated.count(), "two entries have the same hash");
    }

    const ENTRY: &str = r#"
format = 2

[[model]]
id = "smol-q4_1"
name = "Smol"
repository = "owner/Smol-GGUF"
revision = "main"
file = "Smol.Q4_1.gguf"
size_bytes = 98362432
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
sha256_from = "A list"
parameters = 134515008
licence = "Apache-2.0"
context = 8192
"#;

    /// Parses a valid one-entry catalogue with `from` replaced by `to`.
    fn parse_with(from: &str, to: &str) -> Result<Catalogue, Error> {
        assert!(ENTRY.contains(from), "{from}");
        Catalogue::parse(&ENTRY.replace(from, to))
    }

    #[test]
    fn error_names_the_violated_rule() {
        for (from, to, expected) in [
            ("file = \"Smol", "file = \"../Smol", "has a file that is not a plain name"),
            (".gguf\"", ".exe\"", "ending in .gguf"),
            ("sha256 = \"b1", "sha256 = \"B1", "64 lower-case hexadecimal digits"),
            ("sha256 = \"b1", "sha256 = \"1", "64 lower-case hexadecimal digits"),
            ("sha256_from = \"A list\"", "", "without sha256_from"),
            ("sha256_from = \"A list\"", "sha256_from = \" \"", "without sha256_from"),
            ("owner/", "", "owner/name"),
            ("revision = \"main\"", "revision = \"a/b\"", "has a revision"),
            ("size_bytes = 98362432", "size_bytes = 0", "no size"),
            ("parameters = 134515008", "parameters = 0", "no parameters"),
            ("context = 8192", "context = 0", "no context"),
            ("Apache-2.0", " ", "no licence"),
            ("name = \"Smol\"", "name = \"\"", "no name"),
            ("id = \"smol", "id = \"Smol", "has an id"),
            ("format = 2", "format = 1", "has format 1"),
            (
                "size_bytes = 98362432",
                "size_bytes = 98362432\nsize_is_exact = false\nhash_verified = true",
                "without an exact size",
            ),
        ] {
            let error = parse_with(from, to).unwrap_err().to_string();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn hash_is_optional_but_its_fields_must_agree() {
        let hash = ENTRY.lines().find(|line| line.starts_with("sha256 =")).unwrap();
        let source = "sha256_from = \"A list\"\n";
        let without = ENTRY.replace(hash, "");
        let error = Catalogue::parse(&without).unwrap_err().to_string();
        assert!(error.contains("has sha256_from without a sha256"), "{error}");

        let bare = without.replace(source, "");
        let catalogue = Catalogue::parse(&bare).unwrap();
        assert_eq!(catalogue.models[0].sha256, None);
        assert!(!catalogue.models[0].hash_verified && catalogue.models[0].size_is_exact);

        let error = Catalogue::parse(&format!("{bare}hash_verified = true\n")).unwrap_err();
        assert!(error.to_string().contains("hash_verified without a sha256"), "{error}");
    }

    #[test]
    fn rejects_missing_unknown_and_duplicate_fields_and_entries() {
        assert!(matches!(parse_with("context = 8192\n", ""), Err(Error::Catalogue(_))));
        assert!(matches!(parse_with("context = 8192", "kontext = 1"), Err(Error::Catalogue(_))));
        let (head, entry) = ENTRY.split_once("[[model]]").unwrap();
        let twice = |second: &str| {
            let text = format!("{head}[[model]]{entry}[[model]]{second}");
            Catalogue::parse(&text).unwrap_err().to_string()
        };
        let error = twice(entry);
        assert!(error.ends_with("appears twice"), "{error}");
        let error = twice(&entry.replace("smol-q4_1", "other").replace("Smol.Q", "SMOL.Q"));
        assert!(error.ends_with("has the same file as another entry"), "{error}");
        assert!(Catalogue::parse("format = 2").unwrap().models.is_empty());
    }
}
