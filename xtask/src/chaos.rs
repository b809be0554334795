//! `cargo xtask chaos`: random actions against the real app for as long as is wanted, or those of a log
//! again. The actions are in `tests/tests/chaos_window`.

use std::path::absolute;

use anyhow::{Context, Result, bail};

use crate::app::WORKSPACE_SELECTION;
use crate::page;
use crate::paths::Paths;
use crate::process;
use crate::report::{note, step};
use crate::setup;
use crate::test;

/// The options, with the variables by which the test gets their values.
const OPTIONS: [(&str, &str); 4] = [
    ("--seed", "LILIMS_CHAOS_SEED"),
    ("--minutes", "LILIMS_CHAOS_MINUTES"),
    ("--log", "LILIMS_CHAOS_LOG"),
    ("--replay", "LILIMS_CHAOS_REPLAY"),
];
/// The minutes of a run for which nothing else is said.
const MINUTES: &str = "60";

/// Builds app and tests, and carries out the actions.
///
/// # Errors
/// If an option is unknown, a build fails, or something does not hold.
pub(crate) fn run(paths: &Paths, words: &[&str]) -> Result<()> {
    let mut variables = variables(words)?;
    let is_set = |variables: &[(&str, String)], name| variables.iter().any(|(it, _)| *it == name);
    if !is_set(&variables, "LILIMS_CHAOS_MINUTES") && !is_set(&variables, "LILIMS_CHAOS_REPLAY") {
        variables.push(("LILIMS_CHAOS_MINUTES", MINUTES.to_owned()));
    }
    if !is_set(&variables, "LILIMS_CHAOS_LOG") {
        let log = paths.target.join(format!("chaos-{}.jsonl", std::process::id()));
        note(&format!("the actions are logged in {}", log.display()));
        variables.push(("LILIMS_CHAOS_LOG", log.display().to_string()));
    }
    let tools = setup::for_tests(paths)?;
    page::build(paths, &tools.page).context("the page")?;
    step("build of the app and the tests", || {
        let mut command = process::cargo(paths);
        process::run(
            command.arg("build").args(WORKSPACE_SELECTION).args(["--bins", "--lib", "--tests"]),
        )
    })?;
    let mut command = process::cargo(paths);
    command.arg("test").args(WORKSPACE_SELECTION);
    command.args(["--test", "chaos_window", "--", "--nocapture", "nothing_is_lost_in_chaos"]);
    test::set_environment(&mut command, paths, &tools)?;
    command.envs(variables);
    step("chaos", || process::run(&mut command))
}

/// The variables of the options. Paths become absolute, since tests run in a folder of their own.
fn variables(words: &[&str]) -> Result<Vec<(&'static str, String)>> {
    let mut variables = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some((option, variable)) = OPTIONS.iter().find(|(option, _)| option == word) else {
            bail!("unknown option `{word}`");
        };
        let value = words.next().with_context(|| format!("{option} needs a value"))?;
        let value = match *option {
            "--seed" | "--minutes" => {
                let number: u64 = value.parse().with_context(|| format!("{option} {value}"))?;
                number.to_string()
            }
            _ => absolute(value)?.display().to_string(),
        };
        variables.push((*variable, value));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_variables() {
        let expected =
            [("LILIMS_CHAOS_SEED", "7".to_owned()), ("LILIMS_CHAOS_LOG", "/a/b".to_owned())];
        assert_eq!(variables(&["--seed", "7", "--log", "/a/b"]).unwrap(), expected);
        assert!(variables(&["--seed"]).is_err() && variables(&["--seed", "x"]).is_err());
        assert!(variables(&["--sed", "7"]).is_err());
    }
}
