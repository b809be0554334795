//! How many tests passed, failed and were skipped, as `cargo test` and the tests themselves say.

use std::fs;
use std::io;
use std::path::Path;

/// How a line begins that a test writes where it or a part of it cannot run
/// (`tests/src/skips.rs`).
const SKIP: &str = "lilims-test-skipped: ";

/// The results so far, over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// What was left out, each with its reason.
    pub(super) skipped: Vec<String>,
    /// Tests that are marked as ignored and have no reason.
    ignored: u64,
}

impl Counts {
    /// Adds what a line of the form `test result: ok. 3 passed; 0 failed; …` says; ignores others.
    pub(super) fn add_line(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else { return };
        self.passed += count_before(result, " passed;");
        self.failed += count_before(result, " failed;");
        self.ignored += count_before(result, " ignored;");
    }

    /// Adds something that was left out.
    pub(super) fn skip(&mut self, what: String) {
        if !self.skipped.contains(&what) {
            self.skipped.push(what);
        }
    }

    /// Adds what tests wrote into the file at `path`, which may not be there.
    ///
    /// # Errors
    /// When the file cannot be read.
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
            // The harness counts a test that returns early as one that passed.
            if kind == "test" && !self.skipped.iter().any(|it| it == what) {
                self.passed = self.passed.saturating_sub(1);
            }
            self.skip(what.to_owned());
        }
    }

    /// How many tests and checks were left out.
    pub(super) fn n_skipped(&self) -> u64 {
        self.skipped.len() as u64 + self.ignored
    }

    /// The line that ends the output, which many readers look at alone.
    pub(super) fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.n_skipped())
    }
}

/// The number that stands right before the word.
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
            "12 passed; said by a test itself",
            "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out",
        ] {
            counts.add_line(line);
        }
        assert_eq!(counts.line(), "15 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn skipped_tests_did_not_pass() {
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
    fn no_file_of_skips_is_no_skip() {
        let mut counts = Counts::default();
        counts.add_skips(Path::new("/no/such/file")).unwrap();
        assert_eq!(counts, Counts::default());
    }
}
