//! Compares the perplexities that Lilims and llama.cpp measure with the same files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::format::{change, table};
use super::{CONTEXT, Session, Table};
use crate::process;
use crate::report::step;

/// A perplexity of a text, and of its first chunk alone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Perplexity {
    whole: f64,
    first_chunk: f64,
}

/// Measures both models with both programs.
pub(super) fn measure(session: &Session<'_>) -> Result<Table> {
    let text = session.fixtures("reference")?.join("eval_text.txt");
    let models = [
        ("SmolLM2-135M-Instruct Q4_1", &session.files.smollm2),
        ("Gemma 3 270M Q4_K_M", &session.files.gemma3),
    ];
    let mut rows = Vec::new();
    for (name, model) in models.into_iter().filter(|(name, _)| session.options.includes(name)) {
        let other = step(&format!("{name}, llama.cpp"), || peers(session, model, &text))?;
        let ours = step(&format!("{name}, Lilims"), || ours(session, model, &text))?;
        rows.push(row(name, other, ours));
    }
    session.options.check_some(&rows)?;
    let headings =
        ["model", "llama.cpp", "Lilims", "difference", "first chunk: llama.cpp", "Lilims"];
    let is_complete = session.options.only.is_none() && session.options.chunks.is_none();
    Ok(Table { text: table(headings, &rows), is_complete })
}

fn ours(session: &Session<'_>, model: &Path, text: &Path) -> Result<Perplexity> {
    let mut command = session.lilims(&["eval", "perplexity", "--json", "--context", CONTEXT]);
    command.arg("--model").arg(model).arg("--text").arg(text);
    let chunks = session.options.chunks.map(|chunks| chunks.to_string());
    command.args(chunks.iter().flat_map(|chunks| ["--chunks", chunks]));
    let report = process::json(&mut command)?;
    let figure = |key: &str| report[key].as_f64().with_context(|| format!("no {key}"));
    Ok(Perplexity { whole: figure("perplexity")?, first_chunk: figure("first_chunk")? })
}

fn peers(session: &Session<'_>, model: &Path, text: &Path) -> Result<Perplexity> {
    let log = session.folder().join("llama-perplexity.log");
    let mut command = Command::new(session.peer.program("llama-perplexity"));
    command.args(["-c", CONTEXT, "-m"]).arg(model).arg("-f").arg(text);
    let chunks = session.options.chunks.map(|chunks| chunks.to_string());
    command.args(chunks.iter().flat_map(|chunks| ["--chunks", chunks]));
    // Its figures and its messages are spread over both streams.
    let file = fs::File::create(&log)?;
    process::run(command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file))
        .with_context(|| format!("see {}", log.display()))?;
    let output = fs::read(&log)?;
    parse(&String::from_utf8_lossy(&output))
        .with_context(|| format!("no perplexity in {}", log.display()))
}

/// The figures in the output of llama-perplexity, such as `[1]16.5546,[2]18.2,` and `Final estimate:
/// PPL = 18.3914 +/- 0.34`.
fn parse(output: &str) -> Option<Perplexity> {
    let after = |mark: &str| Some(output.split_once(mark)?.1.trim_start());
    let number =
        |text: &str| text.split(|c: char| !matches!(c, '0'..='9' | '.')).next()?.parse().ok();
    Some(Perplexity {
        whole: number(after("Final estimate: PPL =")?)?,
        first_chunk: number(after("[1]")?)?,
    })
}

fn row(name: &str, other: Perplexity, ours: Perplexity) -> [String; 6] {
    [
        name.to_string(),
        format!("{:.4}", other.whole),
        format!("{:.4}", ours.whole),
        change(ours.whole / other.whole - 1.0, 2),
        format!("{:.4}", other.first_chunk),
        format!("{:.4}", ours.first_chunk),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_output() {
        let output = "perplexity: 1.10 seconds per pass - ETA 0.25 minutes\n\
                      [1]16.5546,[2]18.2001,\n\
                      Final estimate: PPL = 18.3914 +/- 0.34012\n";
        let expected = Perplexity { whole: 18.3914, first_chunk: 16.5546 };
        assert_eq!(parse(output), Some(expected));
        assert_eq!(parse("Final estimate: PPL = nan"), None);
        let ours = Perplexity { whole: 18.3564, first_chunk: 16.26 };
        let cells = row("m", expected, ours);
        assert_eq!(cells, ["m", "18.3914", "18.3564", "−0.19%", "16.5546", "16.2600"]);
    }
}
