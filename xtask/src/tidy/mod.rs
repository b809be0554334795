//! `cargo xtask tidy`: checks project rules that neither the compiler nor clippy covers. Also a
//! test.
//!
//! Each rule is a function from the tracked files to violations, tested with a sample that violates
//! it. The rule about third-party packages reads `deny.toml` and what cargo knows about them.

mod dependencies;
mod evidence;
mod files;
mod machine;
mod size;
mod source;
mod supply;
mod text;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::process;
use crate::report::note;

/// A file of the repository, the input of the rules.
#[derive(Debug)]
struct TrackedFile {
    /// Relative to the root, with forward slashes.
    path: String,
    size_bytes: u64,
    /// The content; `None` for files that are not UTF-8 or too large to be source.
    text: Option<String>,
}

/// A violation of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    /// The line number, from 1; `None` for the whole file.
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
    evidence::check,
    files::check,
    machine::check,
    size::check_length,
    size::check_weight,
    source::check_headers,
    source::check_unsafe,
    source::check_ignored_tests,
    source::check_silent_returns,
    source::check_printing,
    source::check_async,
    source::check_connections,
];

/// Checks the repository against all rules.
///
/// # Errors
/// If a rule is violated; the message lists all violations.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let files = tracked_files(&paths.root)?;
    let (packages, of_packages) = supply::check(paths)?;
    let violations: Vec<String> = RULES
        .iter()
        .flat_map(|rule| rule(&files))
        .chain(of_packages)
        .map(|violation| violation.to_string())
        .collect();
    if !violations.is_empty() {
        bail!("{} violations of project rules:\n{}", violations.len(), violations.join("\n"));
    }
    note(&format!("{} files and {packages} packages follow the project rules", files.len()));
    Ok(())
}

/// Reads all files that git tracks or would track.
fn tracked_files(root: &Path) -> Result<Vec<TrackedFile>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let list = process::output(&mut git).context("git cannot list the files of the repository")?;
    let mut files = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        let full = root.join(path);
        // A deleted file is listed until the deletion is staged; a symbolic link has no own text.
        let Ok(metadata) = fs::symlink_metadata(&full) else { continue };
        if metadata.is_file() {
            let size_bytes = metadata.len();
            let is_small = size_bytes <= size::MAX_FILE_BYTES;
            let text = if is_small { fs::read_to_string(&full).ok() } else { None };
            files.push(TrackedFile { path: path.to_string(), size_bytes, text });
        }
    }
    Ok(files)
}

/// A sample file for the tests of the rules.
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
    fn repository_follows_the_rules() {
        let paths = Paths::find().expect("the repository exists");
        if let Err(error) = run(&paths) {
            panic!("{error}");
        }
    }

    #[test]
    fn violations_name_file_and_line() {
        let file = sample("ui/src/main.rs", "");
        assert_eq!(Violation::at(&file, 3, "bad").to_string(), "ui/src/main.rs:3: bad");
        assert_eq!(Violation::of_file(&file, "bad").to_string(), "ui/src/main.rs: bad");
    }
}
