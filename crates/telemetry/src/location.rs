//! The place in our sources where something panicked.

use std::fmt;

use crate::crates::{OURS, is_ours};

/// The longest name of a source file.
const MAX_FILE_NAME_BYTES: usize = 40;

/// A place in our sources. Its text is `lilims_engine forward.rs:120`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodeLocation {
    crate_name: String,
    /// The name of the file without its folders.
    file_name: String,
    line: u32,
}

impl CodeLocation {
    /// The place in the file `path`, as the compiler states it: relative to the workspace for crates of
    /// ours. `None` for all other files.
    pub(crate) fn of_source(path: &str, line: u32) -> Option<Self> {
        let path = path.replace('\\', "/");
        let (folder, crate_name) = OURS.iter().find(|(folder, _)| path.starts_with(folder))?;
        let mut parts = path[folder.len()..].split('/').rev();
        let file_name = parts.next().filter(|name| is_file_name(name))?;
        parts.all(is_word).then(|| Self {
            crate_name: (*crate_name).to_string(),
            file_name: file_name.to_string(),
            line,
        })
    }

    /// Reads the text that [`fmt::Display`] writes, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (crate_name, rest) = text.split_once(' ')?;
        let (file_name, line) = rest.split_once(':')?;
        let line: u32 = line.parse().ok()?;
        let parsed =
            Self { crate_name: crate_name.to_string(), file_name: file_name.to_string(), line };
        let is_valid = is_ours(crate_name) && is_file_name(file_name);
        (is_valid && parsed.to_string() == text).then_some(parsed)
    }
}

impl fmt::Display for CodeLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.crate_name, self.file_name, self.line)
    }
}

fn is_file_name(name: &str) -> bool {
    name.len() <= MAX_FILE_NAME_BYTES && name.strip_suffix(".rs").is_some_and(is_word)
}

/// Whether `text` is a name as our modules have it.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> Option<String> {
        CodeLocation::of_source(path, 12).map(|place| place.to_string())
    }

    #[test]
    fn files_of_ours_are_named_without_folders() {
        let place = text("crates/engine/src/backend/cpu/team.rs");
        assert_eq!(place.as_deref(), Some("lilims_engine team.rs:12"));
        assert_eq!(text("crates\\core\\src\\app.rs").as_deref(), Some("lilims_core app.rs:12"));
        assert_eq!(text(file!()).as_deref(), Some("lilims_telemetry location.rs:12"));
        let place = place.unwrap();
        assert_eq!(CodeLocation::parse(&place).map(|it| it.to_string()), Some(place));
    }

    #[test]
    fn other_files_and_texts_are_not_named() {
        for path in [
            "/srv/anna/.cargo/registry/src/zip-9.1.3/src/read.rs",
            "/rustc/59807616e/library/core/src/option.rs",
            "/srv/anna/lilims/crates/core/src/app.rs",
            "crates/core/src/../../../srv/anna/secret.rs",
            "crates/core/src/Geheim.txt",
            "crates/core/src/",
            "crates/core/tests/a.rs",
            "crates/other/src/a.rs",
        ] {
            assert_eq!(text(path), None, "{path}");
        }
        for text in [
            "lilims_core app.rs:012",
            "lilims_core app.rs:+12",
            "lilims_core  app.rs:12",
            "lilims_core app.rs:12 anna",
            "lilims_core /srv/app.rs:12",
            "anna app.rs:12",
            "",
        ] {
            assert_eq!(CodeLocation::parse(text), None, "{text}");
        }
    }
}
