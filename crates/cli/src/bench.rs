//! `lilims bench`: how fast a model reads and generates on this machine.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use lilims_bench::{Machine, Speed, Summary, Workload, roofline, speed};
use lilims_engine::Model;
use serde::Serialize;

use crate::options::{self, ModelOptions};
use crate::{memory, output};

/// Measure speed, with llama-bench's meaning of each figure: tokens of a prompt read per second, and
/// tokens generated per second without sampling or text.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    model: ModelOptions,
    /// Tokens of the prompt that is read; 0 leaves reading out.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = options::tokens)]
    prompt_tokens: usize,
    /// Tokens to generate; 0 leaves generating out.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = options::tokens)]
    generate_tokens: usize,
    /// Tokens that the cache holds before; filling it is not timed.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = options::tokens)]
    depth: usize,
    /// Samples of each figure.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = options::count)]
    repeat: usize,
    /// Measure also how fast the threads read memory, which bounds generating, and the share of it
    /// that generating reached.
    #[arg(long)]
    roof: bool,
    /// Print one JSON object, with all samples.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    quantisation: &'a str,
    prompt_tokens: usize,
    generate_tokens: usize,
    depth: usize,
    prefill_tps: &'a [f64],
    decode_tps: &'a [f64],
    load_ms: f64,
    peak_rss_bytes: Option<u64>,
    threads: usize,
    isa: &'a str,
    backend: &'a str,
    /// What has to be read from memory for each generated token.
    bytes_per_token: u64,
    /// Bytes per second that the threads read; with `--roof` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    roof_bytes_per_second: Option<f64>,
    /// The share of the roof that the median of `decode_tps` reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_roof_share: Option<f64>,
    machine: &'a Machine,
}

impl Bench {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let workload = Workload {
            prompt_tokens: self.prompt_tokens,
            generate_tokens: self.generate_tokens,
            depth: self.depth,
            repeat: self.repeat,
        };
        ensure!(
            workload.prompt_tokens > 0 || workload.generate_tokens > 0,
            "nothing to measure: both --prompt-tokens and --generate-tokens are 0"
        );
        let machine = Machine::here();
        let start = Instant::now();
        let loaded = self.model.load(threads, Some(workload.context()))?;
        let model = &loaded.model;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let threads = model.threads();
        let (needed, context) = (workload.context(), model.spec().context);
        ensure!(
            needed <= context,
            "{needed} tokens are more than the {context} that the model was trained for"
        );
        let speed = speed::measure(model, &workload)?;
        // Before the roof's buffer and a second map of the file count as well.
        let peak_rss_bytes = memory::peak_rss_bytes();
        loaded.note_peak(needed);
        let file = lilims_gguf::File::open(&loaded.path)?;
        let bytes_per_token = roofline::bytes_per_token(&file, self.depth, self.model.kv_type())?;
        let roof = self.roof.then(|| roofline::read_bytes_per_second(threads));
        let decode = Summary::of(&speed.decode_tps);
        let backend = model.backend();
        let report = Report {
            model: model.name(),
            quantisation: model.quantisation(),
            prompt_tokens: self.prompt_tokens,
            generate_tokens: self.generate_tokens,
            depth: self.depth,
            prefill_tps: &speed.prefill_tps,
            decode_tps: &speed.decode_tps,
            load_ms,
            peak_rss_bytes,
            threads,
            isa: machine.isa,
            backend: backend.split(' ').next().unwrap_or_default(),
            bytes_per_token,
            roof_bytes_per_second: roof,
            decode_roof_share: roof
                .zip(decode)
                .map(|(roof, decode)| decode.median * bytes_per_token as f64 / roof),
            machine: &machine,
        };
        if self.json {
            output::show_json(&report)?;
        } else {
            output::show(&text(model, &speed, &report)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The report for people: a table with a row for each figure.
fn text(model: &Model, speed: &Speed, report: &Report) -> Result<String> {
    let mut out = String::new();
    let machine = report.machine;
    let name = output::field(report.model);
    writeln!(out, "{name} ({}) on {}", report.quantisation, model.backend())?;
    let memory = output::size(machine.memory_bytes);
    writeln!(out, "{}, {} cores, {memory}, {}\n", machine.cpu, machine.cores, machine.os)?;

    writeln!(out, "{:<26}{:>10}{:>10}{:>10}", "", "tokens/s", "lowest", "highest")?;
    for (name, tokens, samples) in [
        ("prefill", report.prompt_tokens, &speed.prefill_tps),
        ("decode", report.generate_tokens, &speed.decode_tps),
    ] {
        let Some(Summary { median, min, max }) = Summary::of(samples) else { continue };
        let mut row = format!("{name} {tokens}");
        if report.depth > 0 {
            write!(row, " at depth {}", report.depth)?;
        }
        writeln!(out, "{row:<26}{median:>10.1}{min:>10.1}{max:>10.1}")?;
    }

    write!(out, "\nloaded in {:.0} ms", report.load_ms)?;
    if let Some(bytes) = report.peak_rss_bytes {
        write!(out, ", peak memory {}", output::size(bytes))?;
    }
    writeln!(out)?;
    if let Some(roof) = report.roof_bytes_per_second {
        write!(out, "memory roof {:.1} GB/s", roof / 1e9)?;
        if let Some(share) = report.decode_roof_share {
            write!(out, ", of which decoding reaches {:.0}%", share * 100.0)?;
        }
        writeln!(out)?;
    }
    Ok(out)
}
