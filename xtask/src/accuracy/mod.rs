//! `cargo xtask accuracy`: compares what Lilims computes, and how well it quantises, with llama.cpp,
//! and writes the tables into `docs/benchmarks.md`.
//!
//! Owns the order of the measurements. `checkpoints` compares logits with transformers' and
//! `perplexity` the results of two models; `types` compares the quantised files of both programs.
//! llama.cpp runs as a program of its own, and so does the built `lilims`, which measures everything
//! that needs an engine.

mod checkpoints;
mod format;
mod paired;
mod perplexity;
mod types;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::bench;
use crate::bench::peer::{self, InstructionSet, Peer};
use crate::bench::run::Machine;
use crate::bench::table::Header;
use crate::document;
use crate::paths::{self, Paths};
use crate::process;
use crate::report::note;
use crate::setup::{self, AccuracyFiles};

/// The command in the marks of the document's tables.
const COMMAND: &str = "accuracy";
/// Tokens of a chunk, as llama.cpp's perplexities are measured by default.
const CONTEXT: &str = "512";

/// A measurement, with a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measurement {
    Checkpoints,
    Peer,
    Types,
}

impl Measurement {
    /// All of them, the shortest first.
    const ALL: [Self; 3] = [Self::Checkpoints, Self::Peer, Self::Types];

    /// Its name on the command line and in the document's marks.
    fn name(self) -> &'static str {
        match self {
            Self::Checkpoints => "checkpoints",
            Self::Peer => "peer",
            Self::Types => "types",
        }
    }
}

/// The parsed options of `accuracy`.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    measurements: Vec<Measurement>,
    /// Measure only rows whose name contains this text.
    only: Option<String>,
    /// Read at most this many chunks of a text.
    chunks: Option<usize>,
}

impl Options {
    fn includes(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|only| row.contains(only))
    }

    /// Checks that `--only` has left something.
    fn check_some<T>(&self, rows: &[T]) -> Result<()> {
        let only = self.only.as_deref().unwrap_or_default();
        ensure!(!rows.is_empty(), "no row's name contains `{only}`");
        Ok(())
    }
}

/// The programs and files of the measurements.
#[derive(Debug)]
struct Session<'a> {
    paths: &'a Paths,
    options: Options,
    /// The command line of Lilims.
    lilims: PathBuf,
    peer: Peer,
    files: AccuracyFiles,
}

/// The rows of a measurement, and whether they are all that the document should have.
#[derive(Debug)]
struct Table {
    text: String,
    is_complete: bool,
}

/// Measures what the options name, and rewrites the tables that are complete.
///
/// # Errors
/// If a missing requirement cannot be installed, a build fails or a program fails. A worse result
/// than llama.cpp's is not an error.
pub(crate) fn run(paths: &Paths, words: &[&str]) -> Result<()> {
    let options = parse_options(words)?;
    let peer = peer::ensure(paths, InstructionSet::Native)?;
    let files = setup::for_accuracy(paths)?;
    let lilims = bench::build(&paths.root, &paths.target)?;
    let session = Session { paths, options, lilims, peer, files };
    fs::create_dir_all(session.folder())?;
    // Before the measurements, during which a commit may be made.
    let header = session.header()?;
    for &measurement in &session.options.measurements {
        let table = match measurement {
            Measurement::Checkpoints => checkpoints::measure(&session)?,
            Measurement::Peer => perplexity::measure(&session)?,
            Measurement::Types => types::measure(&session)?,
        };
        println!("\n{}", table.text);
        if table.is_complete {
            session.write(measurement, &header, &table.text)?;
        }
    }
    Ok(())
}

impl Session<'_> {
    /// The folder of the files that are made for measuring, in the cache.
    fn folder(&self) -> PathBuf {
        self.paths.cache.join("accuracy")
    }

    /// A folder of the reference data beside the repository.
    fn fixtures(&self, name: &str) -> Result<PathBuf> {
        let folder = self.paths.root.join("../shared/fixtures").join(name);
        ensure!(folder.is_dir(), "{} is missing", folder.display());
        Ok(folder)
    }

    /// A command of Lilims.
    fn lilims(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.lilims);
        command.args(words);
        command
    }

    /// Converts a model with `lilims convert`, replacing `out`.
    fn convert(&self, source: &Path, out: &Path, type_name: &str) -> Result<()> {
        let mut command = self.lilims(&["convert", "--force", "--type", type_name]);
        command.arg(source).arg("--out").arg(out);
        process::bytes(&mut command).map(drop)
    }

    /// The machine, the date and the versions.
    fn header(&self) -> Result<Header> {
        let mut bench = self.lilims(&["bench", "--prompt-tokens", "8", "--generate-tokens", "0"]);
        bench.args(["--repeat", "1", "--json", "--model"]).arg(&self.files.smollm2);
        let machine = Machine::of(&process::json(&mut bench)?["machine"]);
        bench::header(self.paths, machine, self.peer.version()?)
    }

    /// Rewrites a table of the document.
    fn write(&self, measurement: Measurement, header: &Header, text: &str) -> Result<()> {
        let path = self.paths.root.join("docs/benchmarks.md");
        let old = fs::read_to_string(&path)?;
        let part = format!("{}\n\n{text}", header.line());
        paths::write(&path, document::replace(&old, COMMAND, measurement.name(), &part)?)?;
        note(&format!("{} rewritten", path.display()));
        Ok(())
    }
}

fn parse_options(words: &[&str]) -> Result<Options> {
    let mut options = Options { measurements: Vec::new(), only: None, chunks: None };
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let mut value = |what: &str| words.next().with_context(|| format!("{word} needs {what}"));
        match word {
            "--only" => options.only = Some((*value("part of a row's name")?).to_string()),
            "--chunks" => {
                let chunks = value("a number")?.parse().ok().filter(|&chunks| chunks >= 2);
                options.chunks = Some(chunks.context("--chunks needs a number of at least 2")?);
            }
            name => match Measurement::ALL.into_iter().find(|it| it.name() == name) {
                Some(measurement) => options.measurements.push(measurement),
                None => bail!("unknown word `{name}` of accuracy"),
            },
        }
    }
    let is_one = options.measurements.len() == 1;
    ensure!(is_one || options.only.is_none(), "--only needs the name of one measurement");
    if options.measurements.is_empty() {
        options.measurements = Measurement::ALL.to_vec();
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_and_unknown_ones_rejected() {
        let options = parse_options(&[]).expect("valid options");
        assert_eq!(options.measurements, Measurement::ALL);
        assert!(options.includes("Q4_0"));
        let options = parse_options(&["types", "peer"]).expect("valid options");
        assert_eq!(options.measurements, [Measurement::Types, Measurement::Peer]);
        let words = ["types", "--only", "Q4_", "--chunks", "2"];
        let options = parse_options(&words).expect("valid options");
        assert_eq!(options.chunks, Some(2));
        assert!(options.includes("Q4_K_M") && !options.includes("Q8_0"));
        assert!(options.check_some(&[0]).is_ok() && options.check_some::<u8>(&[]).is_err());
        for words in [
            &["types", "--only"][..],
            &["--only", "Q4_0"],
            &["--chunks", "1"],
            &["--chunks", "many"],
            &["speed"],
        ] {
            assert!(parse_options(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn document_has_the_marks() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = fs::read_to_string(root.join("docs/benchmarks.md")).expect("it is there");
        for measurement in Measurement::ALL {
            assert!(document::replace(&text, COMMAND, measurement.name(), "").is_ok());
        }
    }
}
