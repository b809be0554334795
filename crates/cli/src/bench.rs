//! `lilims bench`: how fast a model reads and generates on this machine.

use std::fmt::Write;

use anyhow::{Result, ensure};
use clap::Args;
use lilims_core::measure::{SpeedReport, SpeedSummary, Workload};
use lilims_terminal::output;

use crate::options::{self, ModelOptions};

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

impl Bench {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
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
        let model = self.model.load(threads, Some(workload.context()))?;
        let report = model.measure_speed(&workload, self.roof)?;
        if self.json { output::show_json(&report) } else { Ok(output::show(&text(&report)?)?) }
    }
}

fn text(report: &SpeedReport) -> Result<String> {
    let mut out = String::new();
    let (machine, name) = (&report.machine, output::field(&report.model));
    writeln!(out, "{name} ({}) on {}", report.quantisation, report.backend_details)?;
    let memory = output::size(machine.memory_bytes);
    writeln!(out, "{}, {} cores, {memory}, {}\n", machine.cpu, machine.cores, machine.os)?;

    writeln!(out, "{:<26}{:>10}{:>10}{:>10}", "", "tokens/s", "lowest", "highest")?;
    for (name, tokens, speed) in [
        ("prefill", report.prompt_tokens, report.prefill()),
        ("decode", report.generate_tokens, report.decode()),
    ] {
        let Some(SpeedSummary { median, min, max }) = speed else { continue };
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
