//! Prints each step's name and duration to the terminal.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Runs one step; prints its name before and its duration after.
///
/// # Errors
/// The action's error, with the step's name as context.
pub(crate) fn step<T>(name: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("==> {name}");
    let start = Instant::now();
    let outcome = action();
    let verdict = if outcome.is_ok() { "done" } else { "failed" };
    println!("    {name}: {verdict} in {}", duration(start.elapsed()));
    outcome.with_context(|| name.to_string())
}

/// Prints a remark below the current step.
pub(crate) fn note(text: &str) {
    println!("    {text}");
}

/// Formats a duration: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 60.0 {
        format!("{seconds:.0} s")
    } else {
        let whole = elapsed.as_secs();
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_for_people() {
        assert_eq!(duration(Duration::from_millis(440)), "0.4 s");
        assert_eq!(duration(Duration::from_millis(12_300)), "12 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }
}
