//! What the runs came to: a line on the terminal, a table in the document.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::rows::{Figure, Floor, OTHER_TYPES, Row, Work};
use super::run::{OUR_BENCH, OUR_FIRST_TOKEN, PEER_BENCH, PEER_FIRST_TOKEN, PROMPT, Sample};
use super::statistics::Summary;

/// Between these lines the document belongs to this command.
const START: &str = "<!-- bench:start -->";
const END: &str = "<!-- bench:end -->";

/// When, where and of what a table was made.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) machine: String,
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) peer: String,
    pub(crate) rounds: usize,
}

/// One figure of a row, for both programs.
#[derive(Debug)]
pub(crate) struct Outcome {
    model: String,
    work: String,
    figure: Figure,
    ours: Summary,
    peer: Summary,
    floor: Floor,
    roof: Option<Roof>,
}

/// How fast the memory would let Lilims generate.
#[derive(Debug)]
struct Roof {
    tokens_per_second: f64,
    /// The share of it that Lilims has to reach.
    floor: Option<f64>,
}

impl Outcome {
    /// The outcomes of a row, one for each of its figures.
    ///
    /// # Errors
    /// When a sample lacks a figure.
    pub(crate) fn of(row: &Row, ours: &[Sample], peers: &[Sample]) -> Result<Vec<Self>> {
        let figures = row.figures.iter().enumerate();
        let outcome = |(idx, &(figure, floor)): (usize, &(Figure, Floor))| {
            let summary = |samples: &[Sample]| {
                let values = samples.iter().map(|sample| sample.values.get(idx).copied());
                Summary::of(&values.collect::<Option<Vec<_>>>()?)
            };
            Some(Self {
                model: row.model.clone(),
                work: row.work_name(),
                figure,
                ours: summary(ours)?,
                peer: summary(peers)?,
                floor,
                roof: roof(row, ours),
            })
        };
        let outcomes: Option<Vec<Self>> = figures.map(outcome).collect();
        outcomes.with_context(|| format!("{} has no samples", row.name()))
    }

    /// The outcome for the terminal.
    pub(crate) fn line(&self) -> String {
        let (ours, peer) = (spread(self.figure, self.ours), spread(self.figure, self.peer));
        let unit = unit(self.figure);
        let mut line = format!("{ours} {unit}, llama.cpp {peer}: {:.2} times ", self.ratio());
        write!(line, "({})", self.floor_text()).expect("writing to a string does not fail");
        if let Some(roof) = &self.roof {
            line.push_str(", ");
            line.push_str(&self.roof_text(roof));
        }
        line
    }

    fn ratio(&self) -> f64 {
        self.ours.median / self.peer.median
    }

    fn floor_text(&self) -> String {
        let (sign, limit) = match self.floor {
            Floor::AtLeast(limit) => ('≥', limit),
            Floor::AtMost(limit) => ('≤', limit),
        };
        format!("{sign} {limit}: {}", verdict(self.floor.is_met(self.ratio())))
    }

    fn roof_text(&self, roof: &Roof) -> String {
        let share = self.ours.median / roof.tokens_per_second;
        let mut text = format!("{:.0}% of {:.0}", share * 100.0, roof.tokens_per_second);
        if let Some(floor) = roof.floor {
            let verdict = verdict(share >= floor);
            write!(text, " (≥ {:.0}%: {verdict})", floor * 100.0)
                .expect("writing to a string does not fail");
        }
        text
    }

    fn table_row(&self) -> String {
        format!(
            "| {} | {}, {} | {} | {} | {:.2} | {} | {} |",
            self.model,
            self.work,
            unit(self.figure),
            spread(self.figure, self.ours),
            spread(self.figure, self.peer),
            self.ratio(),
            self.floor_text(),
            self.roof.as_ref().map(|roof| self.roof_text(roof)).unwrap_or_default(),
        )
    }
}

/// The roof of a row that reads all weights for each token, on an otherwise idle machine: from the
/// readings of memory after each run, the median as for the speed.
fn roof(row: &Row, ours: &[Sample]) -> Option<Roof> {
    if !matches!(row.work, Work::Decode { .. }) || row.busy_neighbour {
        return None;
    }
    let of_sample = |sample: &Sample| Some(sample.roof? / sample.bytes_per_token?);
    let roofs: Vec<f64> = ours.iter().filter_map(of_sample).collect();
    let tokens_per_second = Summary::of(&roofs)?.median;
    Some(Roof { tokens_per_second, floor: row.roof_floor })
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

fn unit(figure: Figure) -> &'static str {
    match figure {
        Figure::Speed => "tokens/s",
        Figure::Time => "s",
        Figure::PeakMemory => "MiB at most",
    }
}

/// The median and the range, with the digits that the figure deserves.
fn spread(figure: Figure, summary: Summary) -> String {
    let digits = match figure {
        Figure::Speed => 1,
        Figure::Time => 3,
        Figure::PeakMemory => 0,
    };
    let Summary { median, min, max } = summary;
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

/// The part of the document that belongs to this command.
pub(crate) fn render(header: &Header, outcomes: &[Outcome]) -> String {
    let Header { machine, date, commit, peer, rounds } = header;
    let rows: Vec<String> = outcomes.iter().map(Outcome::table_row).collect();
    let rows = rows.join("\n");
    let types = OTHER_TYPES.join(", ");
    format!(
        "Machine: {machine}. Date: {date}. Lilims {commit}, llama.cpp {peer}.

Both programs run in turn, {rounds} times each; medians, with the range in parentheses. Two threads \
unless the row says one. “First token” is a process from start to end that reads a prompt of 35 \
tokens with room for 2048 and generates one. “One core busy”: another process spins on the first \
core. The last column is the share of the memory roof, tokens/s if each token's weights and cache \
were read as fast as the same threads read memory.

| model | figure | Lilims | llama.cpp | ratio | floor | share of roof |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

`cargo xtask bench --peer llama.cpp` runs these; P, N, D and T are the tokens of the prompt, the \
tokens to generate, the depth and the threads. The files in {types} come from the Q4_1 file.

```
{OUR_BENCH}
{PEER_BENCH}
{OUR_FIRST_TOKEN}
{PEER_FIRST_TOKEN}
llama-quantize --allow-requantize SmolLM2-135M-Instruct.Q4_1.gguf SmolLM2-135M-Instruct.F16.gguf F16
llama-quantize --allow-requantize SmolLM2-135M-Instruct.F16.gguf SmolLM2-135M-Instruct.TYPE.gguf TYPE
```

PROMPT: “{PROMPT}”
"
    )
}

/// The document with another part between the markers.
///
/// # Errors
/// When the document lacks a marker.
pub(crate) fn replace(document: &str, part: &str) -> Result<String> {
    let (before, rest) =
        document.split_once(START).with_context(|| format!("the document lacks {START}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the document lacks {END}"))?;
    Ok(format!("{before}{START}\n{part}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::rows;
    use super::*;
    use crate::setup::BenchModels;

    fn outcomes(name: &str, ours: &[Sample], peers: &[Sample]) -> Vec<Outcome> {
        let models = BenchModels { smollm2: "a.gguf".into(), gemma3: "b.gguf".into() };
        let rows = rows::all(&models, &[]);
        let row = rows.iter().find(|row| row.name() == name).expect("the row is there");
        Outcome::of(row, ours, peers).expect("all samples are there")
    }

    fn sample(values: &[f64]) -> Sample {
        Sample { values: values.to_vec(), ..Sample::default() }
    }

    #[test]
    fn a_speed_is_compared_with_peer_and_roof() {
        let ours = |speed, roof| Sample {
            roof: Some(roof),
            bytes_per_token: Some(1e8),
            ..sample(&[speed])
        };
        let ours = [ours(190.0, 20e9), ours(210.0, 25e9), ours(200.0, 24e9)];
        let peers = [sample(&[90.0]), sample(&[110.0]), sample(&[100.0])];
        let found = outcomes("SmolLM2-135M Q4_1, decode 128", &ours, &peers);
        let expected = "| SmolLM2-135M Q4_1 | decode 128, tokens/s | 200.0 (190.0–210.0) \
                        | 100.0 (90.0–110.0) | 2.00 | ≥ 2: met | 83% of 240 (≥ 75%: met) |";
        assert_eq!(found[0].table_row(), expected);
        let busy = outcomes("SmolLM2-135M Q4_1, decode 128, one core busy", &ours, &peers);
        assert!(busy[0].line().ends_with("2.00 times (≥ 4: missed)"), "{}", busy[0].line());
    }

    #[test]
    fn a_first_token_has_time_and_memory() {
        let found = outcomes(
            "Gemma 3 270M Q4_K_M, first token",
            &[sample(&[0.2, 300.0])],
            &[sample(&[1.0, 310.0])],
        );
        assert_eq!(found.len(), 2);
        assert!(found[0].line().starts_with("0.200 (0.200–0.200) s"), "{}", found[0].line());
        assert!(found[0].line().ends_with("(≤ 0.4: met)"), "{}", found[0].line());
        assert!(found[1].line().ends_with("(≤ 0.85: missed)"), "{}", found[1].line());
    }

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let document = format!("a\n{START}\nold\n{END}\nb\n");
        let new = replace(&document, "new\n").expect("both markers are there");
        assert_eq!(new, format!("a\n{START}\nnew\n{END}\nb\n"));
        assert!(replace("a", "new").is_err());
    }

    #[test]
    fn the_document_has_the_markers() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let document = std::fs::read_to_string(root.join("docs/benchmarks.md"));
        assert!(replace(&document.expect("the document is there"), "").is_ok());
    }
}
