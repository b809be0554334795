//! Counts passed, failed and skipped tests from the output of `cargo test` or `cargo nextest` and the
//! file of skips.

use std::fs;
use std::io;
use std::path::Path;

/// The prefix of the line that a test writes if it, or a part of it, cannot run
/// (`tests/src/skips.rs`).
const SKIP: &str = "lilims-test-skipped: ";

/// The total results of all test programs so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// The skipped tests and parts of tests, each with its reason.
    pub(super) skipped: Vec<String>,
    /// The number of tests marked `#[ignore]`.
    ignored: u64,
}

impl Counts {
    /// Adds the counts of a line `test result: ok. 3 passed; 0 failed; …` of `cargo test` or
    /// `Summary [ 1.2s] 4 tests run: 3 passed (1 slow), 1 failed, 0 skipped` of `cargo nextest`; ignores
    /// other lines.
    pub(super) fn add_line(&mut self, line: &str) {
        if let Some((_, result)) = line.split_once("test result: ") {
            self.passed += count_before(result, " passed;");
            self.failed += count_before(result, " failed;");
            self.ignored += count_before(result, " ignored;");
        } else if line.trim_start().starts_with("Summary [")
            && let Some((_, result)) = line.split_once(" run: ")
        {
            self.passed += count_before(result, " passed");
            self.failed += count_before(result, " failed") + count_before(result, " timed out");
            self.ignored += count_before(result, " skipped");
        }
    }

    /// Adds a skipped test or part of one, once.
    pub(super) fn skip(&mut self, what: String) {
        if !self.skipped.contains(&what) {
            self.skipped.push(what);
        }
    }

    /// Adds the skips that tests wrote to the file at `path`. The file may not exist.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn add_skips(&mut self, path: &Path) -> io::Result<()> {
        match fs::read_to_string(path) {
            Ok(text) => self.add_skip_lines(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn add_skip_lines(&mut self, text: &str) {
        for line in text.lines() {
            let Some((kind, what)) = line.strip_prefix(SKIP).and_then(|line| line.split_once(": "))
            else {
                continue;
            };
            // The test harness counts a test that returns early as passed.
            if kind == "test" && !self.skipped.iter().any(|it| it == what) {
                self.passed = self.passed.saturating_sub(1);
            }
            self.skip(what.to_owned());
        }
    }

    /// The number of skipped tests and parts of tests.
    pub(super) fn n_skipped(&self) -> u64 {
        self.skipped.len() as u64 + self.ignored
    }

    /// The last line of the output.
    pub(super) fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.n_skipped())
    }
}

/// The number right before the word, or 0.
fn count_before(text: &str, word: &str) -> u64 {
    let Some((before, _)) = text.split_once(word) else { return 0 };
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_test_programs() {
        let mut counts = Counts::default();
        for line in [
            "running 12 tests",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1 s",
            "12 passed; printed by a test itself",
            "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out",
        ] {
            counts.add_line(line);
        }
        assert_eq!(counts.line(), "15 passed, 2 failed, 1 skipped");
        counts.add_line("     Summary [ 901.5s] 8/9 tests run: 6 passed (2 slow), 1 failed, 1 timed out, 3 skipped");
        counts.add_line("     Summary [   1.0s] 1 test run: 1 passed, 0 skipped");
        assert_eq!(counts.line(), "22 passed, 4 failed, 4 skipped");
    }

    #[test]
    fn skipped_tests_do_not_count_as_passed() {
        let mut counts = Counts { passed: 5, ..Counts::default() };
        counts.add_skip_lines(
            "lilims-test-skipped: test: room::a_full_disk: this user cannot mount a disk\n\
             lilims-test-skipped: part: kernels of avxvnni: not on this processor\n\
             lilims-test-skipped: part: kernels of avxvnni: not on this processor\n\
             something else\n",
        );
        counts.skip("emulation: no emulator".to_owned());
        assert_eq!(counts.line(), "4 passed, 0 failed, 3 skipped");
        assert_eq!(counts.skipped[0], "room::a_full_disk: this user cannot mount a disk");
    }

    #[test]
    fn missing_file_means_no_skips() {
        let mut counts = Counts::default();
        counts.add_skips(Path::new("/no/such/file")).unwrap();
        assert_eq!(counts, Counts::default());
    }
}
