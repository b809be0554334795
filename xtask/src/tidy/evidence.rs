//! Checks that the files and tests which the documents about security name exist.

use std::collections::HashSet;

use super::{TrackedFile, Violation};

/// The documents whose claims are held by tests.
const DOCUMENTS: [&str; 2] = ["docs/security.md", "docs/audits.md"];

/// Names with at least so many underscores are functions: tests, mostly.
const MIN_UNDERSCORES: usize = 2;

/// Checks every name in backticks that is a path of a source file or a function.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    let documents = files.iter().filter(|file| DOCUMENTS.contains(&file.path.as_str()));
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut functions = HashSet::new();
    for text in
        files.iter().filter(|file| file.path.ends_with(".rs")).filter_map(|it| it.text.as_ref())
    {
        functions.extend(text.lines().filter_map(function_name));
    }
    let mut violations = Vec::new();
    for file in documents {
        for (index, line) in file.text.iter().flat_map(|text| text.lines()).enumerate() {
            // Every second part is between backticks.
            for name in line.split('`').skip(1).step_by(2) {
                let is_missing = if name.contains('/') && name.ends_with(".rs") {
                    !paths.contains(name)
                } else {
                    is_function(name) && !functions.contains(name)
                };
                if is_missing {
                    let message = format!("`{name}` does not exist");
                    violations.push(Violation::at(file, index + 1, message));
                }
            }
        }
    }
    violations
}

/// The name of the function that the line declares.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_declaration = before.is_empty() || before.ends_with(' ');
    is_declaration.then(|| after.split(|c: char| !is_name(c)).next())?
}

fn is_function(name: &str) -> bool {
    name.chars().all(is_name) && name.matches('_').count() >= MIN_UNDERSCORES
}

fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn missing_files_and_tests_are_caught() {
        let source = "//! A header.\n\n    async fn a_file_is_read() {}\n";
        let good =
            "`crates/a/src/a.rs`: `a_file_is_read`; `quick_xml`, `crates/a`, `RLIMIT_NO_FILE`\n";
        let bad = "`crates/a/src/b.rs`\n\n| x | `a_file_is_written` |\n";
        let files = [
            sample("crates/a/src/a.rs", source),
            sample(DOCUMENTS[0], good),
            sample(DOCUMENTS[1], bad),
            sample("docs/other.md", bad),
        ];
        let found: Vec<_> = check(&files).into_iter().map(|it| (it.path, it.line)).collect();
        let path = DOCUMENTS[1].to_string();
        assert_eq!(found, [(path.clone(), Some(1)), (path, Some(3))]);
    }
}
