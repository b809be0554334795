//! Runs one program once: builds its command line and parses its output.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::child;
use super::peer::{InstructionSet, Peer};
use super::rows::{Metric, Row, Workload};
use crate::process;

/// The command lines; words in capitals are replaced by the row's values.
pub(crate) const OUR_BENCH: &str = "lilims bench --model MODEL --threads T --prompt-tokens P \
                                    --generate-tokens N --depth D --repeat 1 --roof --json";
pub(crate) const PEER_BENCH: &str = "llama-bench -m MODEL -t T -p P -n N -d D -r 1 -o json";
pub(crate) const OUR_FIRST_TOKEN: &str = "lilims generate --model MODEL --prompt PROMPT --raw \
                                          --temperature 0 --max-tokens 1 --threads T --context 2048";
pub(crate) const PEER_FIRST_TOKEN: &str =
    "llama-completion -m MODEL -p PROMPT -n 1 -t T -c 2048 --temp 0 -no-cnv";

/// A prompt of 35 tokens for both models, including the BOS token of Gemma.
pub(crate) const PROMPT: &str = "The old lighthouse stood on a rock above the sea. Every evening the keeper climbed the stairs, \
     lit the lamp and wrote a few words in his notebook about the seagulls and";

/// The size of one read of a model file.
const READ_BYTES: usize = 1 << 20;

const MIB: f64 = 1024.0 * 1024.0;

/// The compared programs.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The command line of Lilims.
    pub(crate) ours: PathBuf,
    pub(crate) other: Other,
    /// The instruction set of both.
    pub(crate) isa: InstructionSet,
}

/// The program that Lilims is compared with.
#[derive(Debug)]
pub(crate) enum Other {
    LlamaCpp(Peer),
    /// The command line of another revision.
    Lilims(PathBuf),
}

impl Other {
    /// Its name on the terminal.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::LlamaCpp(_) => "llama.cpp",
            Self::Lilims(_) => "older",
        }
    }
}

/// The machine that Lilims reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Machine {
    /// Such as `AMD EPYC, 2 cores (avx2), 23.5 GiB, Debian GNU/Linux 12`.
    pub(crate) description: String,
    /// The instruction set in use.
    pub(crate) isa: String,
}

/// The result of one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    /// One value for each of the row's metrics.
    pub(crate) values: Vec<f64>,
    /// The memory bandwidth of the threads, in bytes per second.
    pub(crate) roof: Option<f64>,
    /// The bytes that generating a token has to read.
    pub(crate) bytes_per_token: Option<f64>,
    pub(crate) machine: Option<Machine>,
}

impl Programs {
    /// Runs Lilims for a row.
    pub(crate) fn run_ours(&self, row: &Row) -> Result<Sample> {
        self.run_lilims(&self.ours, row)
    }

    /// Runs the other program for a row.
    pub(crate) fn run_other(&self, row: &Row) -> Result<Sample> {
        match &self.other {
            Other::LlamaCpp(peer) => self.run_peer(peer, row),
            Other::Lilims(program) => self.run_lilims(program, row),
        }
    }

    fn run_lilims(&self, lilims: &Path, row: &Row) -> Result<Sample> {
        let program = |_: &str| lilims.to_path_buf();
        if row.workload == Workload::ColdStart {
            evict(&row.file)?;
        }
        if matches!(row.workload, Workload::FirstToken | Workload::ColdStart) {
            return first_token(&self.command(OUR_FIRST_TOKEN, row, program), row);
        }
        let report = process::json(&mut self.command(OUR_BENCH, row, program))?;
        let key = if is_decode(row) { "decode_tps" } else { "prefill_tps" };
        let speed = report[key][0].as_f64().with_context(|| format!("no {key}"))?;
        Ok(Sample {
            values: vec![speed],
            roof: report["roof_bytes_per_second"].as_f64(),
            bytes_per_token: report["bytes_per_token"].as_f64(),
            machine: Some(Machine::of(&report["machine"])),
        })
    }

    fn run_peer(&self, peer: &Peer, row: &Row) -> Result<Sample> {
        let program = |name: &str| peer.program(name);
        if row.workload == Workload::ColdStart {
            evict(&row.file)?;
            let reading = time_to_read(&row.file)?;
            let warm =
                first_token(&self.command(OUR_FIRST_TOKEN, row, |_| self.ours.clone()), row)?;
            return Ok(if warm.values > reading.values { warm } else { reading });
        }
        if row.workload == Workload::FirstToken {
            return first_token(&self.command(PEER_FIRST_TOKEN, row, program), row);
        }
        let report = process::json(&mut self.command(PEER_BENCH, row, program))?;
        let speed = report[0]["samples_ts"][0].as_f64().context("no samples_ts")?;
        Ok(Sample { values: vec![speed], ..Sample::default() })
    }

    /// The command of a template, with the row's values and the program's path filled in.
    fn command(&self, template: &str, row: &Row, program: impl Fn(&str) -> PathBuf) -> Command {
        let (prompt_tokens, generate_tokens, depth) = match row.workload {
            Workload::Prefill { tokens } => (tokens, 0, 0),
            Workload::Decode { tokens, depth } => (0, tokens, depth),
            Workload::FirstToken | Workload::ColdStart => (0, 0, 0),
        };
        let value = |word: &str| match word {
            "MODEL" => row.file.as_os_str().to_owned(),
            "PROMPT" => PROMPT.into(),
            "T" => row.threads.to_string().into(),
            "P" => prompt_tokens.to_string().into(),
            "N" => generate_tokens.to_string().into(),
            "D" => depth.to_string().into(),
            other => OsString::from(other),
        };
        let mut words = template.split(' ');
        let mut command = Command::new(program(words.next().unwrap_or_default()));
        command.args(words.map(value));
        if self.isa == InstructionSet::Avx2 {
            command.env("LILIMS_ISA", "avx2");
        }
        command
    }
}

fn is_decode(row: &Row) -> bool {
    matches!(row.workload, Workload::Decode { .. })
}

/// Removes a file from the page cache, with a program of Linux.
fn evict(file: &Path) -> Result<()> {
    let mut command = Command::new("dd");
    command.arg(format!("if={}", file.display())).args(["iflag=nocache", "count=0"]);
    process::bytes(&mut command).map(drop)
}

/// Measures how long reading the file takes, front to back.
fn time_to_read(file: &Path) -> Result<Sample> {
    let start = Instant::now();
    let (mut file, mut buffer) = (File::open(file)?, vec![0; READ_BYTES]);
    while file.read(&mut buffer)? > 0 {}
    Ok(Sample { values: vec![start.elapsed().as_secs_f64()], ..Sample::default() })
}

/// Measures the command from start to exit.
fn first_token(command: &Command, row: &Row) -> Result<Sample> {
    let cost = child::cost(command)?;
    let value = |metric: &Metric| match metric {
        Metric::Time => Ok(cost.seconds),
        Metric::PeakMemory => Ok(cost.peak_rss_bytes as f64 / MIB),
        Metric::Speed => bail!("the time to the first token has no speed"),
    };
    let values = row.metrics.iter().map(|(metric, _)| value(metric)).collect::<Result<_>>()?;
    Ok(Sample { values, ..Sample::default() })
}

impl Machine {
    /// The machine in a report of `lilims bench`.
    pub(crate) fn of(report: &Value) -> Self {
        let text = |key: &str| report[key].as_str().unwrap_or("unknown");
        let gib = report["memory_bytes"].as_f64().unwrap_or(0.0) / MIB / 1024.0;
        let (cpu, isa, os) = (text("cpu"), text("isa"), text("os"));
        let cores = &report["cores"];
        let description = format!("{cpu}, {cores} cores ({isa}), {gib:.1} GiB, {os}");
        Self { description, isa: isa.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_become_command_lines() {
        let peer = Peer::in_folder("peer".into());
        let programs = Programs {
            ours: "ours".into(),
            other: Other::Lilims("older".into()),
            isa: InstructionSet::Avx2,
        };
        let row = Row {
            model: "m".to_string(),
            file: "m.gguf".into(),
            workload: Workload::Decode { tokens: 32, depth: 4096 },
            threads: 2,
            busy_neighbour: false,
            metrics: Vec::new(),
            roof_floor: None,
        };
        let ours = |_: &str| programs.ours.clone();
        let expected = "ours bench --model m.gguf --threads 2 --prompt-tokens 0 --generate-tokens \
                        32 --depth 4096 --repeat 1 --roof --json";
        let command = programs.command(OUR_BENCH, &row, ours);
        assert_eq!(process::line(&command), expected);
        assert!(command.get_envs().any(|(name, _)| name == "LILIMS_ISA"));
        let peers = programs.command(PEER_BENCH, &row, |name| peer.program(name));
        let peers = process::line(&peers);
        assert!(peers.ends_with("llama-bench -m m.gguf -t 2 -p 0 -n 32 -d 4096 -r 1 -o json"));
        assert!(peers.starts_with("peer"), "{peers}");
        let first = programs.command(OUR_FIRST_TOKEN, &row, ours);
        assert!(first.get_args().any(|word| word == PROMPT));
    }

    #[test]
    fn machine_is_formatted_as_one_line() {
        let report = serde_json::json!({
            "cpu": "Fast", "cores": 2, "memory_bytes": 3u64 << 30, "os": "Debian", "isa": "avx2"
        });
        let machine = Machine::of(&report);
        assert_eq!(machine.description, "Fast, 2 cores (avx2), 3.0 GiB, Debian");
        assert_eq!(machine.isa, "avx2");
    }
}
