//! Checks that files are read and written through `lilims-files`, which accepts regular files only,
//! limits their size and writes atomically.

use super::text::code_lines;
use super::{TrackedFile, Violation};

/// Calls that open or write any kind of file, or read without a limit.
const CALLS: &[&str] = &[
    "fs::read(",
    "fs::read_to_string(",
    "fs::write(",
    "fs::copy(",
    "fs::File::open(",
    "fs::File::create(",
    "fs::File::create_new(",
    "fs::File::options(",
    "OpenOptions::new(",
    "io::read_to_string(",
    "stdin().read_line(",
    "stdin().lock().read_line(",
    "stdin().read_to_",
    "stdin().lines(",
    ".persist(",
    ".persist_noclobber(",
];
/// Further calls, checked only in files that import the standard library's `File`, since other
/// crates have types of that name.
const CALLS_OF_FILE: &[&str] =
    &["File::open(", "File::create(", "File::create_new(", "File::options("];

/// Folders that may use these calls: `lilims-files` itself, tests and build code.
const EXEMPT_FOLDERS: &[&str] = &["crates/files/", "tests/", "ui/build.rs", "xtask/"];

/// Files with calls that `lilims-files` cannot replace, each with its reason.
const EXEMPT_FILES: &[(&str, &str)] = &[
    ("crates/hub/src/download/sink.rs", "a download's own file, written in the middle"),
    ("crates/hub/src/download/steps.rs", "a download's own file, given its length"),
    ("crates/hub/src/library/folder.rs", "files that the library makes in its own folder"),
    ("src-tauri/src/desktop/instance.rs", "a lock file, which is never read"),
    (
        "crates/fuzz/src/scratch.rs",
        "files of the fuzz targets' own, as other programs would write them",
    ),
    ("crates/store/src/locks.rs", "lock files of the store's own, which are never read"),
];

/// Checks all source files that are not exempt.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    let sources = files.iter().filter(|file| file.path.ends_with(".rs") && !is_exempt(&file.path));
    sources.flat_map(check_source).collect()
}

fn is_exempt(path: &str) -> bool {
    let is_test = |part: &str| {
        matches!(part, "tests" | "benches" | "tests.rs") || part.ends_with("_tests.rs")
    };
    EXEMPT_FOLDERS.iter().any(|folder| path.starts_with(folder))
        || path.split('/').any(is_test)
        || EXEMPT_FILES.iter().any(|(file, _reason)| path == *file)
}

fn check_source(file: &TrackedFile) -> Vec<Violation> {
    let Some(text) = &file.text else { return Vec::new() };
    let lines = code_lines(text);
    let imports_file = lines.iter().any(|line| {
        line.starts_with("use std::fs::File")
            || (line.starts_with("use std::fs::{") && line.contains("File"))
    });
    let mut violations = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        // Test modules are at the end of a file.
        if line.trim() == "#[cfg(test)]"
            && lines[index + 1..]
                .iter()
                .find(|line| !line.starts_with("#["))
                .is_some_and(|line| line.starts_with("mod "))
        {
            break;
        }
        let plain = CALLS.iter().filter(|call| line.contains(**call));
        let of_file =
            CALLS_OF_FILE.iter().filter(|call| imports_file && has_unqualified(line, call));
        let found = plain.chain(of_file).max_by_key(|call| call.len());
        if let Some(call) = found {
            let call = call.trim_end_matches('(');
            let message = format!("`{call}`: files are opened and written through lilims-files");
            violations.push(Violation::at(file, index + 1, message));
        }
    }
    violations
}

/// Whether the line has the call without a path before it: `other::File::open` is another type.
fn has_unqualified(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&[sample(path, text)]).into_iter().filter_map(|violation| violation.line).collect()
    }

    #[test]
    fn standard_library_calls_are_caught() {
        let text = "//! Text.\nuse std::fs::{self, File};\nlet a = fs::read(path);\n\
                    let b = std::fs::File::open(path);\nlet c = File::create(path);\n\
                    let d = io::read_to_string(io::stdin());\nlet e = file.persist(path);\n";
        assert_eq!(lines("crates/cli/src/a.rs", text), [3, 4, 5, 6, 7]);
    }

    #[test]
    fn other_file_types_and_lilims_files_are_allowed() {
        let text = "//! Text: `fs::read(`.\nuse lilims_gguf::File;\nlet a = File::open(path);\n\
                    let b = lilims_files::read(path, 9);\nlet c = \"fs::read(\";\n";
        assert_eq!(lines("crates/cli/src/a.rs", text), [0; 0]);
        let both = "//! Text.\nuse std::fs::File;\nlet a = lilims_gguf::File::open(path);\n";
        assert_eq!(lines("crates/cli/src/a.rs", both), [0; 0]);
    }

    #[test]
    fn tests_benches_and_listed_files_are_exempt() {
        let text = "//! Text.\nlet a = fs::read(path);\n";
        let exempt = [
            "crates/files/src/read.rs",
            "crates/gguf/tests/changed.rs",
            "crates/bench/benches/sessions.rs",
            "tests/tests/cli.rs",
            "src-tauri/src/model_thread_tests.rs",
            "xtask/src/test.rs",
            EXEMPT_FILES[0].0,
        ];
        for path in exempt {
            assert_eq!(lines(path, text), [0; 0], "{path}");
        }
        let within =
            format!("{text}\n#[cfg(unix)]\n#[cfg(test)]\nmod tests {{\nfs::write(a, b);\n}}\n");
        assert_eq!(lines("crates/cli/src/a.rs", &within), [2]);
    }
}
