//! `cargo xtask bench`: compares Lilims with llama.cpp on this machine, in alternating runs.
//!
//! Owns the order of steps and runs. `rows` defines the comparisons, `peer` builds llama.cpp, `run`
//! measures one run, `table` writes the results.

pub(crate) mod child;
mod peer;
mod rows;
mod run;
#[path = "../../../crates/bench/src/statistics.rs"]
#[expect(
    unreachable_pub,
    reason = "a file of lilims-bench, which xtask cannot depend on: it would have to build the \
              engine before it could set anything up"
)]
mod statistics;
mod table;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::app::{WORKSPACE_SELECTION, program_name};
use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup;
use child::BusyNeighbour;
use rows::Row;
use run::{Programs, Sample};
use table::{Header, Outcome};

/// Runs of each program in a row.
const ROUNDS: usize = 5;
/// Runs of each program in a row with `--quick`.
const QUICK_ROUNDS: usize = 3;

/// The parsed options of `bench`.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: usize,
    /// Run only rows whose name contains this text.
    only: Option<String>,
}

/// Measures and prints all rows and rewrites the table in `docs/benchmarks.md`. With `--only`, the
/// document is not changed.
///
/// # Errors
/// If a missing requirement cannot be installed, a build fails or a program fails. A missed floor
/// is not an error.
pub(crate) fn run(paths: &Paths, words: &[&str]) -> Result<()> {
    let options = parse_options(words)?;
    let peer = peer::ensure(paths)?;
    let models = setup::for_bench(paths)?;
    let programs = Programs { ours: build(paths)?, peer };
    let others = &rows::OTHER_TYPES;
    let others = peer::requantise(paths, &programs.peer, &models.smollm2, others)?;
    let rows = rows::all(&models, &others);
    let wanted = |row: &&Row| options.only.as_ref().is_none_or(|only| row.name().contains(only));
    let rows: Vec<&Row> = rows.iter().filter(wanted).collect();
    ensure!(!rows.is_empty(), "no row's name contains `{}`", options.only.unwrap_or_default());

    let mut outcomes = Vec::new();
    let mut machine = None;
    for row in rows {
        let (ours, peers) = step(&row.name(), || measure(&programs, row, options.rounds))?;
        machine = ours.first().and_then(|sample| sample.machine.clone()).or(machine);
        for outcome in Outcome::of(row, &ours, &peers)? {
            note(&outcome.line());
            outcomes.push(outcome);
        }
    }
    if options.only.is_some() {
        return Ok(());
    }
    let header = Header {
        machine: machine.context("no run reported the machine")?,
        date: output_of("date", &["-u", "+%Y-%m-%d"], paths)?,
        commit: output_of("git", &["describe", "--always", "--dirty"], paths)?,
        peer: programs.peer.version()?,
        rounds: options.rounds,
    };
    let document = paths.root.join("docs/benchmarks.md");
    let old = fs::read_to_string(&document)?;
    paths::write(&document, table::replace(&old, &table::render(&header, &outcomes))?)?;
    note(&format!("{} rewritten", document.display()));
    Ok(())
}

fn parse_options(words: &[&str]) -> Result<Options> {
    let mut options = Options { rounds: ROUNDS, only: None };
    let mut peer = None;
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--quick" => options.rounds = QUICK_ROUNDS,
            "--peer" => peer = words.next().copied(),
            "--only" => {
                let text = words.next().context("--only needs part of a row's name")?;
                options.only = Some((*text).to_string());
            }
            other => bail!("unknown option `{other}` of bench"),
        }
    }
    match peer {
        Some("llama.cpp") => Ok(options),
        Some(other) => bail!("unknown peer `{other}`, expected --peer llama.cpp"),
        None => bail!("--peer llama.cpp is missing"),
    }
}

/// Runs both programs in turn, Lilims first, with the model file in the page cache. Returns the
/// samples of Lilims and of the peer.
fn measure(programs: &Programs, row: &Row, rounds: usize) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let mut model = File::open(&row.file).with_context(|| row.file.display().to_string())?;
    io::copy(&mut model, &mut io::sink())?;
    let with_neighbour = |run: &dyn Fn() -> Result<Sample>| {
        let _neighbour = row.busy_neighbour.then(BusyNeighbour::start).transpose()?;
        run()
    };
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(with_neighbour(&|| programs.run_ours(row))?);
        peers.push(with_neighbour(&|| programs.run_peer(row))?);
    }
    Ok((ours, peers))
}

/// The output of a program that is required.
fn output_of(program: &str, arguments: &[&str], paths: &Paths) -> Result<String> {
    let mut command = Command::new(program);
    process::output(command.args(arguments).current_dir(&paths.root))
        .with_context(|| format!("`{}` failed", process::line(&command)))
}

/// Builds the command line in release mode and returns the program's path.
fn build(paths: &Paths) -> Result<PathBuf> {
    step("lilims, release build", || {
        let mut command = process::cargo(paths);
        command.args(["build", "--release"]).args(WORKSPACE_SELECTION);
        process::run(command.args(["--bin", "lilims"]))
    })?;
    Ok(paths.target.join("release").join(program_name("lilims")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_and_unknown_ones_rejected() {
        let options = parse_options(&["--peer", "llama.cpp"]).expect("valid options");
        assert_eq!(options, Options { rounds: ROUNDS, only: None });
        let words = ["--quick", "--only", "prefill", "--peer", "llama.cpp"];
        let options = parse_options(&words).expect("valid options");
        assert_eq!(options, Options { rounds: QUICK_ROUNDS, only: Some("prefill".to_string()) });
        for words in
            [&[][..], &["--peer", "other"], &["--peer", "llama.cpp", "--fast"], &["--only"]]
        {
            assert!(parse_options(words).is_err(), "{words:?}");
        }
    }
}
