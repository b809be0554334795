//! `cargo xtask bench`: compares Lilims with llama.cpp, or with an older Lilims, in alternating runs.
//!
//! Owns the order of steps and runs. `rows` defines the comparisons, `peer` builds llama.cpp, `older`
//! builds another revision, `run` measures one run, `table` writes the results; `ui` measures the page.

pub(crate) mod child;
mod interval;
mod older;
pub(crate) mod peer;
mod rows;
pub(crate) mod run;
#[path = "../../../crates/bench/src/statistics.rs"]
#[expect(
    unreachable_pub,
    reason = "a file of lilims-bench, which xtask cannot depend on: it would have to build the \
              engine before it could set anything up"
)]
mod statistics;
pub(crate) mod table;
mod ui;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::app::{program_name, release};
use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup;
use child::BusyNeighbour;
use peer::InstructionSet;
use rows::Row;
use run::{Other, Programs, Sample};
use table::{Header, Outcome};

/// Runs of each program in a row, at least: fewer give no interval.
const MIN_ROUNDS: usize = 5;
/// Runs of each program in a row, at most.
const MAX_ROUNDS: usize = 15;
/// A row is measured until its ratio is known to within this share.
const WANTED_HALF_WIDTH: f64 = 0.03;

/// The parsed options of `bench`.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    other: OtherName,
    /// Runs of each program in a row, at most.
    max_rounds: usize,
    /// Run only rows whose name contains this text.
    only: Option<String>,
    /// The instruction set of both programs, instead of the machine's best.
    isa: InstructionSet,
}

/// What Lilims is compared with.
#[derive(Debug, PartialEq, Eq)]
enum OtherName {
    LlamaCpp,
    /// A revision of this repository.
    Revision(String),
}

/// Measures and prints all rows. Compared with llama.cpp, the table in `docs/benchmarks.md` is
/// rewritten, unless `--only` chose some rows.
///
/// # Errors
/// If a missing requirement cannot be installed, a build fails or a program fails; if an older
/// revision is faster. A missed floor against llama.cpp is not an error.
pub(crate) fn run(paths: &Paths, words: &[&str]) -> Result<()> {
    if words == ["--ui"] {
        return ui::run(paths);
    }
    let options = parse_options(words)?;
    let models = setup::for_bench(paths)?;
    let ours = build(&paths.root, &paths.target)?;
    let others = convert(paths, &ours, &models.smollm2)?;
    let mut rows = rows::all(&models, &others);
    let wanted = |row: &Row| options.only.as_ref().is_none_or(|only| row.name().contains(only));
    rows.retain(wanted);
    ensure!(!rows.is_empty(), "no row's name contains `{}`", options.only.unwrap_or_default());
    match &options.other {
        OtherName::LlamaCpp => {
            let peer = peer::ensure(paths, options.isa)?;
            let version = peer.version()?;
            let programs = Programs { ours, other: Other::LlamaCpp(peer), isa: options.isa };
            let (outcomes, machine) = measure_all(&programs, &rows, options.max_rounds)?;
            if options.only.is_some() {
                return Ok(());
            }
            write_table(paths, &outcomes, machine, version)
        }
        OtherName::Revision(revision) => {
            rows.iter_mut().for_each(Row::keep_speed);
            let other = Other::Lilims(older::build(paths, revision)?);
            let programs = Programs { ours, other, isa: options.isa };
            let (outcomes, _) = measure_all(&programs, &rows, options.max_rounds)?;
            let slower = outcomes.iter().filter(|outcome| outcome.is_missed());
            let slower: Vec<String> = slower.map(Outcome::name).collect();
            ensure!(slower.is_empty(), "slower than {revision}: {}", slower.join("; "));
            Ok(())
        }
    }
}

/// Converts the first model to the other types, and returns each with its file. Existing files are
/// reused.
fn convert(paths: &Paths, lilims: &Path, model: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = paths.cache.join("bench");
    fs::create_dir_all(&folder)?;
    let file_of = |name| {
        let file = folder.join(format!("SmolLM2-135M-Instruct.{name}.gguf"));
        if !file.is_file() {
            step(&format!("SmolLM2 in {name}"), || {
                let mut command = Command::new(lilims);
                command.arg("convert").arg(model).arg("--out").arg(&file).args(["--type", name]);
                process::bytes(&mut command)
            })?;
        }
        Ok((name, file))
    };
    rows::OTHER_TYPES.into_iter().map(file_of).collect()
}

/// The outcomes of all rows, and the machine that they were measured on.
fn measure_all(
    programs: &Programs,
    rows: &[Row],
    max_rounds: usize,
) -> Result<(Vec<Outcome>, run::Machine)> {
    let mut outcomes = Vec::new();
    let mut machine = None;
    for row in rows {
        let (ours, others) = step(&row.name(), || measure(programs, row, max_rounds))?;
        machine = ours.first().and_then(|sample| sample.machine.clone()).or(machine);
        for outcome in Outcome::of(row, &ours, &others)? {
            note(&outcome.line(programs.other.name()));
            outcomes.push(outcome);
        }
    }
    Ok((outcomes, machine.unwrap_or_default()))
}

fn write_table(
    paths: &Paths,
    outcomes: &[Outcome],
    machine: run::Machine,
    peer: String,
) -> Result<()> {
    let header = header(paths, machine, peer)?;
    let document = paths.root.join("docs/benchmarks.md");
    let old = fs::read_to_string(&document)?;
    paths::write(&document, table::insert(&old, &header, outcomes)?)?;
    note(&format!("{} rewritten", document.display()));
    Ok(())
}

/// The header of a table that is measured now.
pub(crate) fn header(paths: &Paths, machine: run::Machine, peer: String) -> Result<Header> {
    Ok(Header {
        machine,
        date: output_of("date", &["-u", "+%Y-%m-%d"], &paths.root)?,
        commit: output_of("git", &["describe", "--always", "--dirty"], &paths.root)?,
        peer,
    })
}

fn parse_options(words: &[&str]) -> Result<Options> {
    let (mut other, mut only, mut max_rounds) = (None, None, MAX_ROUNDS);
    let mut isa = InstructionSet::Native;
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut value = |what: &str| words.next().with_context(|| format!("{word} needs {what}"));
        match word {
            "--quick" => max_rounds = MIN_ROUNDS,
            "--only" => only = Some((*value("part of a row's name")?).to_string()),
            "--against" => other = Some(OtherName::Revision((*value("a revision")?).to_string())),
            "--peer" => match *value("a name")? {
                "llama.cpp" => other = Some(OtherName::LlamaCpp),
                name => bail!("unknown peer `{name}`, expected --peer llama.cpp"),
            },
            "--isa" => match *value("a name")? {
                "avx2" => isa = InstructionSet::Avx2,
                name => bail!("unknown instruction set `{name}`, expected --isa avx2"),
            },
            other => bail!("unknown option `{other}` of bench"),
        }
    }
    let other = other.context("--peer llama.cpp or --against REVISION is missing")?;
    Ok(Options { other, max_rounds, only, isa })
}

/// Runs both programs in turn, Lilims first, with the model file in the page cache, until the
/// ratios are known well enough or the rounds are used up. Returns the samples of Lilims and of the
/// other program.
fn measure(
    programs: &Programs,
    row: &Row,
    max_rounds: usize,
) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let mut model = File::open(&row.file).with_context(|| row.file.display().to_string())?;
    io::copy(&mut model, &mut io::sink())?;
    let with_neighbour = |run: &dyn Fn() -> Result<Sample>| {
        let _neighbour = row.busy_neighbour.then(BusyNeighbour::start).transpose()?;
        run()
    };
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for round in 0..max_rounds {
        if round >= MIN_ROUNDS && Outcome::of(row, &ours, &others)?.iter().all(Outcome::is_known) {
            break;
        }
        ours.push(with_neighbour(&|| programs.run_ours(row))?);
        others.push(with_neighbour(&|| programs.run_other(row))?);
    }
    Ok((ours, others))
}

/// The output of a program that is required.
fn output_of(program: &str, arguments: &[&str], folder: &Path) -> Result<String> {
    let mut command = Command::new(program);
    process::output(command.args(arguments).current_dir(folder))
        .with_context(|| format!("`{}` failed", process::line(&command)))
}

/// Builds the command line of the sources in `root` in release mode and returns the program's path.
pub(crate) fn build(root: &Path, target: &Path) -> Result<PathBuf> {
    step("lilims, release build", || process::run(&mut release(root, target, "lilims")))?;
    Ok(target.join("release").join(program_name("lilims")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_and_unknown_ones_rejected() {
        let options = parse_options(&["--peer", "llama.cpp"]).expect("valid options");
        let mut expected = Options {
            other: OtherName::LlamaCpp,
            max_rounds: MAX_ROUNDS,
            only: None,
            isa: InstructionSet::Native,
        };
        assert_eq!(options, expected);
        let words = ["--quick", "--only", "prefill", "--against", "v1", "--isa", "avx2"];
        expected.other = OtherName::Revision("v1".to_string());
        expected.max_rounds = MIN_ROUNDS;
        expected.only = Some("prefill".to_string());
        expected.isa = InstructionSet::Avx2;
        assert_eq!(parse_options(&words).expect("valid options"), expected);
        for words in
            [&[][..], &["--peer", "other"], &["--peer", "llama.cpp", "--fast"], &["--only"]]
        {
            assert!(parse_options(words).is_err(), "{words:?}");
        }
    }
}
