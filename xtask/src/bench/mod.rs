//! `cargo xtask bench`: Lilims and llama.cpp in turn on this machine, row by row.
//!
//! Owns the order of the steps and of the runs. What the rows are is in `rows`, how the peer comes
//! here in `peer`, how one run is measured in `run`, what is written of it in `table`.

pub(crate) mod child;
mod peer;
mod rows;
mod run;
#[path = "../../../crates/bench/src/statistics.rs"]
#[expect(
    unreachable_pub,
    reason = "a file of lilims-bench, which xtask cannot link: the engine \
                                    would have to be built before anything could be set up"
)]
mod statistics;
mod table;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::app::{EVERYTHING, program_name};
use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup;
use child::BusyNeighbour;
use rows::Row;
use run::{Programs, Sample};
use table::{Header, Outcome};

/// Runs of each program in a row.
const ROUNDS: usize = 5;
/// The same with `--quick`.
const QUICK_ROUNDS: usize = 3;

/// What the words after `bench` ask for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    rounds: usize,
    /// Only the rows whose names hold this text.
    only: Option<String>,
}

/// Measures all rows, prints each and rewrites the table in `docs/benchmarks.md`; with `--only`, the
/// document stays as it is.
///
/// # Errors
/// When something is missing that cannot be installed, a build fails or a program fails. A floor
/// that is missed is no error.
pub(crate) fn run(places: &Places, words: &[&str]) -> Result<()> {
    let request = read_request(words)?;
    let peer = peer::ensure(places)?;
    let models = setup::for_bench(places)?;
    let programs = Programs { ours: build(places)?, peer };
    let others = &rows::OTHER_TYPES;
    let others = peer::requantise(places, &programs.peer, &models.smollm2, others)?;
    let rows = rows::all(&models, &others);
    let wanted = |row: &&Row| request.only.as_ref().is_none_or(|only| row.name().contains(only));
    let rows: Vec<&Row> = rows.iter().filter(wanted).collect();
    ensure!(!rows.is_empty(), "no row's name holds `{}`", request.only.unwrap_or_default());

    let mut outcomes = Vec::new();
    let mut machine = None;
    for row in rows {
        let (ours, peers) = step(&row.name(), || measure(&programs, row, request.rounds))?;
        machine = ours.first().and_then(|sample| sample.machine.clone()).or(machine);
        for outcome in Outcome::of(row, &ours, &peers)? {
            note(&outcome.line());
            outcomes.push(outcome);
        }
    }
    if request.only.is_some() {
        return Ok(());
    }
    let header = Header {
        machine: machine.context("no run told what the machine is")?,
        date: output_of("date", &["-u", "+%Y-%m-%d"], places)?,
        commit: output_of("git", &["describe", "--always", "--dirty"], places)?,
        peer: programs.peer.version()?,
        rounds: request.rounds,
    };
    let document = places.root.join("docs/benchmarks.md");
    let old = fs::read_to_string(&document)?;
    fs::write(&document, table::replace(&old, &table::render(&header, &outcomes))?)?;
    note(&format!("{} is rewritten", document.display()));
    Ok(())
}

fn read_request(words: &[&str]) -> Result<Request> {
    let mut request = Request { rounds: ROUNDS, only: None };
    let mut peer = None;
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--quick" => request.rounds = QUICK_ROUNDS,
            "--peer" => peer = words.next().copied(),
            "--only" => {
                let text = words.next().context("--only needs a part of a row's name")?;
                request.only = Some((*text).to_string());
            }
            other => bail!("bench does not know `{other}`"),
        }
    }
    match peer {
        Some("llama.cpp") => Ok(request),
        Some(other) => bail!("the peer `{other}` is not known: --peer llama.cpp"),
        None => bail!("which program to compare with: --peer llama.cpp"),
    }
}

/// Runs both programs in turn, first Lilims, with the model's file in the page cache. Returns the
/// samples of each.
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

/// The output of a program that has to be there.
fn output_of(program: &str, arguments: &[&str], places: &Places) -> Result<String> {
    let mut command = Command::new(program);
    process::output(command.args(arguments).current_dir(&places.root))
        .with_context(|| format!("`{}` failed", process::line(&command)))
}

/// Builds the command line as users run it, and returns its program.
fn build(places: &Places) -> Result<PathBuf> {
    step("lilims, release build", || {
        let mut command = process::cargo(places);
        command.args(["build", "--release"]).args(EVERYTHING);
        process::run(command.args(["--bin", "lilims"]))
    })?;
    Ok(places.target.join("release").join(program_name("lilims")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_others_refused() {
        let request = read_request(&["--peer", "llama.cpp"]).expect("the usual request");
        assert_eq!(request, Request { rounds: ROUNDS, only: None });
        let words = ["--quick", "--only", "prefill", "--peer", "llama.cpp"];
        let request = read_request(&words).expect("a short request");
        assert_eq!(request, Request { rounds: QUICK_ROUNDS, only: Some("prefill".to_string()) });
        for words in
            [&[][..], &["--peer", "other"], &["--peer", "llama.cpp", "--fast"], &["--only"]]
        {
            assert!(read_request(words).is_err(), "{words:?}");
        }
    }
}
