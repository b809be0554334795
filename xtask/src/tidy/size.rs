//! Checks sizes: no overlong source files, no large files and no weights in the repository.

use super::{TrackedFile, Violation};

/// The longest source file, in lines.
const MAX_SOURCE_LINES: usize = 800;
/// Files that may be longer, each with its reason.
const EXEMPT_FROM_LENGTH: &[(&str, &str)] = &[];
/// The largest file that may be in git, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// Checks the length of source files.
pub(super) fn check_length(files: &[TrackedFile]) -> Vec<Violation> {
    let sources = files.iter().filter(|file| file.path.ends_with(".rs"));
    sources
        .filter(|file| EXEMPT_FROM_LENGTH.iter().all(|(path, _reason)| *path != file.path))
        .filter_map(|file| {
            let lines = file.text.as_ref()?.lines().count();
            let message = format!("{lines} lines, at most {MAX_SOURCE_LINES} are allowed");
            (lines > MAX_SOURCE_LINES).then(|| Violation::of_file(file, message))
        })
        .collect()
}

/// Checks that no large files and no weights are tracked.
pub(super) fn check_weight(files: &[TrackedFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        if file.size_bytes > MAX_FILE_BYTES {
            violations.push(Violation::of_file(
                file,
                format!("{} bytes, at most 1 MiB is allowed", file.size_bytes),
            ));
        }
        if [".gguf", ".safetensors"].iter().any(|extension| file.path.ends_with(extension)) {
            violations.push(Violation::of_file(file, "weights do not belong in git"));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn long_source_file_is_caught() {
        let long = "//! A header.\n".repeat(MAX_SOURCE_LINES + 1);
        let files = [sample("crates/x/src/lib.rs", &long), sample("docs/long.md", &long)];
        let found = check_length(&files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "crates/x/src/lib.rs");
    }

    #[test]
    fn large_files_and_weights_are_caught() {
        let large = TrackedFile { path: "a.png".into(), size_bytes: (1 << 20) + 1, text: None };
        let files = [large, sample("tests/tiny.gguf", ""), sample("ok.rs", "")];
        let paths: Vec<String> = check_weight(&files).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["a.png", "tests/tiny.gguf"]);
    }
}
