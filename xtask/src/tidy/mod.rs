//! The rules of the house that neither the compiler nor clippy knows, checked as one of the tests.
//!
//! Each rule is a function from the tracked files to the violations, in a file of its own together
//! with a bad sample that it has to catch.

mod dependencies;
mod machine;
mod size;
mod source;
mod text;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::places::Places;
use crate::process;
use crate::report::note;

/// A file of the repository as the rules see it.
#[derive(Debug)]
struct TrackedFile {
    /// Relative to the root, with forward slashes.
    path: String,
    size_bytes: u64,
    /// The content, or nothing for files that are not UTF-8 or too large to be source.
    text: Option<String>,
}

/// Where a rule is broken and how.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    /// Counted from one; nothing where the whole file is meant.
    line: Option<usize>,
    message: String,
}

impl Violation {
    fn of_file(file: &TrackedFile, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line: None, message: message.into() }
    }

    fn at(file: &TrackedFile, line: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line: Some(line), message: message.into() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

type Rule = fn(&[TrackedFile]) -> Vec<Violation>;

const RULES: &[Rule] = &[
    dependencies::check,
    machine::check,
    size::check_length,
    size::check_weight,
    source::check_headers,
    source::check_unsafe,
    source::check_ignored_tests,
    source::check_silent_returns,
    source::check_printing,
    source::check_async,
];

/// Checks all rules on the repository.
///
/// # Errors
/// When a rule is broken; the message lists every place.
pub(crate) fn run(places: &Places) -> Result<()> {
    let files = tracked_files(&places.root)?;
    let violations: Vec<String> =
        RULES.iter().flat_map(|rule| rule(&files)).map(|violation| violation.to_string()).collect();
    if !violations.is_empty() {
        bail!(
            "{} places break the rules of the house:\n{}",
            violations.len(),
            violations.join("\n")
        );
    }
    note(&format!("{} files keep the rules of the house", files.len()));
    Ok(())
}

/// All files that git tracks or would track, read.
fn tracked_files(root: &Path) -> Result<Vec<TrackedFile>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let list = process::output(&mut git).context("git cannot list the files of the repository")?;
    let mut files = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        let full = root.join(path);
        // A deleted file is listed until the deletion is staged; a symbolic link has no text of its own.
        let Ok(metadata) = fs::symlink_metadata(&full) else { continue };
        if metadata.is_file() {
            let size_bytes = metadata.len();
            let is_small = size_bytes <= size::LARGEST_FILE_BYTES;
            let text = if is_small { fs::read_to_string(&full).ok() } else { None };
            files.push(TrackedFile { path: path.to_string(), size_bytes, text });
        }
    }
    Ok(files)
}

/// Samples for the rules' tests.
#[cfg(test)]
fn sample(path: &str, text: &str) -> TrackedFile {
    TrackedFile {
        path: path.to_string(),
        size_bytes: text.len() as u64,
        text: Some(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_the_rules() {
        let places = Places::find().expect("the repository is there");
        if let Err(error) = run(&places) {
            panic!("{error}");
        }
    }

    #[test]
    fn violations_name_the_place() {
        let file = sample("ui/src/main.rs", "");
        assert_eq!(Violation::at(&file, 3, "bad").to_string(), "ui/src/main.rs:3: bad");
        assert_eq!(Violation::of_file(&file, "bad").to_string(), "ui/src/main.rs: bad");
    }
}
