//! Lists the slowest tests, from the output of `cargo nextest`.

/// How many are listed.
const COUNT: usize = 20;

/// The tests with their durations.
#[derive(Debug, Default)]
pub(super) struct Slowest(Vec<(f64, String)>);

impl Slowest {
    /// Adds the test of a line `PASS [   4.278s] (217/889) lilims-engine::long_texts name`; ignores
    /// other lines.
    pub(super) fn add_line(&mut self, line: &str) {
        self.0.extend(parse(line));
    }

    /// The lines to print, the slowest test first; none if no durations are known.
    pub(super) fn lines(mut self) -> Vec<String> {
        self.0.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total: f64 = self.0.iter().map(|(seconds, _)| seconds).sum();
        let title = (total > 0.0).then(|| format!("slowest of {total:.0} s in all tests:"));
        let tests =
            self.0.iter().take(COUNT).map(|(seconds, name)| format!("{seconds:7.1} s  {name}"));
        title.into_iter().chain(tests).collect()
    }
}

fn parse(line: &str) -> Option<(f64, String)> {
    let line = line.trim_start();
    let rest = line.strip_prefix("PASS [").or_else(|| line.strip_prefix("FAIL ["))?;
    let (seconds, rest) = rest.split_once("s]")?;
    let name = rest.split_once(") ").map_or(rest, |(_, name)| name);
    Some((seconds.trim().parse().ok()?, name.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowest_tests_come_first() {
        let mut slowest = Slowest::default();
        for line in [
            "        PASS [   0.018s] (216/889) lilims-engine::hostile_models t11_parts",
            "        FAIL [   4.250s] (217/889) lilims-engine::long_texts a7",
            "        SLOW [> 60.000s] (───────) lilims-tests::window question",
            "test result: ok. 3 passed",
        ] {
            slowest.add_line(line);
        }
        let lines = slowest.lines();
        assert_eq!(lines[0], "slowest of 4 s in all tests:");
        assert_eq!(lines[1], "    4.2 s  lilims-engine::long_texts a7");
        assert_eq!(lines.len(), 3);
        assert!(Slowest::default().lines().is_empty());
    }
}
