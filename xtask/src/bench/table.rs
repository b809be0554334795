//! Formats the results: a line on the terminal and tables in `docs/benchmarks.md`.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::interval::Interval;
use super::rows::{Floor, Metric, OTHER_TYPES, Row, Workload};
use super::run::{
    Machine, OUR_BENCH, OUR_FIRST_TOKEN, PEER_BENCH, PEER_FIRST_TOKEN, PROMPT, Sample,
};
use super::statistics::Summary;
use super::{MAX_ROUNDS, MIN_ROUNDS, WANTED_HALF_WIDTH};
use crate::document;

/// The date, machine and versions of a table.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) machine: Machine,
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) peer: String,
}

impl Header {
    /// The line above a table.
    pub(crate) fn line(&self) -> String {
        let Self { machine, date, commit, peer } = self;
        format!("{}. {date}. Lilims {commit}, llama.cpp {peer}.", machine.description)
    }
}

/// One metric of a row, for both programs.
#[derive(Debug)]
pub(crate) struct Outcome {
    model: String,
    workload: String,
    metric: Metric,
    ours: Summary,
    other: Summary,
    /// The ratio of Lilims to the other program.
    ratio: Interval,
    rounds: usize,
    floor: Floor,
    roof: Option<Roof>,
}

/// The upper bound on decode speed from the memory bandwidth.
#[derive(Debug)]
struct Roof {
    /// The share of the bound that Lilims reached: the median of its runs.
    share: f64,
    tokens_per_second: f64,
    /// The share that Lilims has to reach.
    floor: Option<f64>,
}

impl Outcome {
    /// The outcomes of a row, one for each of its metrics. A ratio is that of two runs next to each
    /// other, since the machine's speed varies over minutes.
    ///
    /// # Errors
    /// If a sample lacks a metric, or there are too few of them.
    pub(crate) fn of(row: &Row, ours: &[Sample], others: &[Sample]) -> Result<Vec<Self>> {
        let metrics = row.metrics.iter().enumerate();
        let outcome = |(idx, &(metric, floor)): (usize, &(Metric, Floor))| {
            let values = |samples: &[Sample]| {
                let values = samples.iter().map(|sample| sample.values.get(idx).copied());
                values.collect::<Option<Vec<f64>>>()
            };
            let (ours_values, other_values) = (values(ours)?, values(others)?);
            let pairs = ours_values.iter().zip(&other_values);
            let ratios: Vec<f64> = pairs.map(|(ours, other)| ours / other).collect();
            Some(Self {
                model: row.model.clone(),
                workload: row.workload_name(),
                metric,
                ours: Summary::of(&ours_values)?,
                other: Summary::of(&other_values)?,
                ratio: Interval::of(&ratios)?,
                rounds: ratios.len(),
                floor,
                roof: roof(row, ours),
            })
        };
        let outcomes: Option<Vec<Self>> = metrics.map(outcome).collect();
        outcomes.with_context(|| format!("{} has too few samples", row.name()))
    }

    /// Whether the ratio is known as well as it should be.
    pub(crate) fn is_known(&self) -> bool {
        self.ratio.half_width() <= WANTED_HALF_WIDTH
    }

    /// Whether the floor is missed beyond doubt: by the whole interval.
    pub(crate) fn is_missed(&self) -> bool {
        !self.floor.is_met(self.ratio.low) && !self.floor.is_met(self.ratio.high)
    }

    /// The model, the workload and the metric.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}, {}", self.model, self.workload, unit(self.metric))
    }

    /// The outcome for the terminal.
    pub(crate) fn line(&self, other_name: &str) -> String {
        let (ours, other) = (spread(self.metric, self.ours), spread(self.metric, self.other));
        let (unit, ratio) = (unit(self.metric), self.ratio_text());
        let floor = self.floor_text();
        let mut line = format!("{ours} {unit}, {other_name} {other}: {ratio} times ({floor})");
        if let Some(roof) = &self.roof {
            line.push_str(", ");
            line.push_str(&roof_text(roof));
        }
        line
    }

    /// The ratio and its interval, such as `1.43 (1.40–1.46)`.
    fn ratio_text(&self) -> String {
        let Interval { median, low, high } = self.ratio;
        let mut text = format!("{median:.2} ({low:.2}–{high:.2})");
        if !self.is_known() {
            write!(text, ", still ±{:.0}% after {}", self.ratio.half_width() * 100.0, self.rounds)
                .expect("writing to a string does not fail");
        }
        text
    }

    fn floor_text(&self) -> String {
        let (sign, limit) = match self.floor {
            Floor::AtLeast(limit) => ('≥', limit),
            Floor::AtMost(limit) => ('≤', limit),
        };
        let is_met = [self.ratio.low, self.ratio.high].map(|ratio| self.floor.is_met(ratio));
        let verdict = match is_met {
            [true, true] => "met",
            [false, false] => "missed",
            _ => "open",
        };
        format!("{sign} {limit:.2}: {verdict}")
    }

    fn table_row(&self) -> String {
        format!(
            "| {} | {}, {} | {} | {} | {} | {} | {} |",
            self.model,
            self.workload,
            unit(self.metric),
            spread(self.metric, self.ours),
            spread(self.metric, self.other),
            self.ratio_text(),
            self.floor_text(),
            self.roof.as_ref().map(roof_text).unwrap_or_default(),
        )
    }
}

fn roof_text(roof: &Roof) -> String {
    let mut text = format!("{:.0}% of {:.0}", roof.share * 100.0, roof.tokens_per_second);
    if let Some(floor) = roof.floor {
        let verdict = if roof.share >= floor { "met" } else { "missed" };
        write!(text, " (≥ {:.0}%: {verdict})", floor * 100.0)
            .expect("writing to a string does not fail");
    }
    text
}

/// The roof of a decode row on an otherwise idle machine: the memory bandwidth that was measured
/// right after each run.
fn roof(row: &Row, ours: &[Sample]) -> Option<Roof> {
    if !matches!(row.workload, Workload::Decode { .. }) || row.busy_neighbour {
        return None;
    }
    let of_sample = |sample: &Sample| Some(sample.roof? / sample.bytes_per_token?);
    let roofs: Vec<f64> = ours.iter().filter_map(of_sample).collect();
    let share = |sample: &Sample| Some(sample.values.first()? / of_sample(sample)?);
    let shares: Vec<f64> = ours.iter().filter_map(share).collect();
    Some(Roof {
        share: Summary::of(&shares)?.median,
        tokens_per_second: Summary::of(&roofs)?.median,
        floor: row.roof_floor,
    })
}

fn unit(metric: Metric) -> &'static str {
    match metric {
        Metric::Speed => "tokens/s",
        Metric::Time => "s",
        Metric::PeakMemory => "MiB at most",
    }
}

/// The median and range, with a number of digits that suits the metric.
fn spread(metric: Metric, summary: Summary) -> String {
    let digits = match metric {
        Metric::Speed => 1,
        Metric::Time => 3,
        Metric::PeakMemory => 0,
    };
    let Summary { median, min, max } = summary;
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

/// The command in the marks of the document's parts.
const COMMAND: &str = "bench";

/// The part with the command lines; tables stand before it.
const COMMANDS: &str = "commands";

/// Writes the table of the machine's instruction set and the command lines into the document. A
/// table of another instruction set stays.
///
/// # Errors
/// If the document lacks a mark.
pub(crate) fn insert(document: &str, header: &Header, outcomes: &[Outcome]) -> Result<String> {
    let document = document::replace(document, COMMAND, COMMANDS, &commands())?;
    let isa = &header.machine.isa;
    let [start, end] = document::marks(COMMAND, isa);
    let document = if document.contains(&start) {
        document
    } else {
        let before = &document::marks(COMMAND, COMMANDS)[0];
        document.replacen(before, &format!("{start}\n{end}\n\n{before}"), 1)
    };
    document::replace(&document, COMMAND, isa, &table(header, outcomes))
}

fn table(header: &Header, outcomes: &[Outcome]) -> String {
    let rows: Vec<String> = outcomes.iter().map(Outcome::table_row).collect();
    format!(
        "{}

| model | figure | Lilims | llama.cpp | ratio | floor | share of roof |
| --- | --- | --- | --- | --- | --- | --- |
{}
",
        header.line(),
        rows.join("\n")
    )
}

fn commands() -> String {
    let types = OTHER_TYPES.join(", ");
    let percent = WANTED_HALF_WIDTH * 100.0;
    format!(
        "Both programs run in turn, {MIN_ROUNDS} to {MAX_ROUNDS} times each, until the ratio is \
known to ±{percent:.0}%. Speeds are medians, with the range in parentheses; the ratio is the median \
of the ratios of neighbouring runs, with an interval that contains it with a confidence of at least \
90% (two order statistics). “Open”: the floor lies inside the interval. Two threads unless the row \
says one. “First token” is a process from start to end that reads a prompt of 35 tokens with room \
for 2048 and generates one. “From the disk”: without the model in the page cache; the column of \
llama.cpp has the time to read the file front to back, or Lilims' time from the page cache if that is \
longer. “One core busy”: another process spins on the first core. The last \
column is the share of the memory roof, tokens/s if each token's weights and cache were read as fast \
as the same threads read memory.

P, N, D and T are the tokens of the prompt, the tokens to generate, the depth and the threads. The \
files in {types} come from the Q4_1 file by `lilims convert`.

```
{OUR_BENCH}
{PEER_BENCH}
{OUR_FIRST_TOKEN}
{PEER_FIRST_TOKEN}
```

PROMPT: “{PROMPT}”
"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::rows;
    use super::*;
    use crate::setup::BenchModels;

    fn outcomes(name: &str, ours: &[Sample], others: &[Sample]) -> Vec<Outcome> {
        let rows = rows::all(&BenchModels::default(), &[]);
        let row = rows.iter().find(|row| row.name() == name).expect("the row is there");
        Outcome::of(row, ours, others).expect("all samples are there")
    }

    fn samples<const N: usize>(values: [&[f64]; N]) -> [Sample; N] {
        values.map(|values| Sample { values: values.to_vec(), ..Sample::default() })
    }

    fn header(isa: &str) -> Header {
        let machine = Machine { description: format!("Fast ({isa})"), isa: isa.to_string() };
        let (date, commit) = ("today".to_string(), "c".to_string());
        Header { machine, date, commit, peer: "b1".to_string() }
    }

    #[test]
    fn speed_is_compared_with_peer_and_roof() {
        let mut ours = samples([&[196.0], &[206.0], &[200.0], &[202.0], &[198.0]]);
        for (sample, roof) in ours.iter_mut().zip([24e9, 25e9, 24e9, 23e9, 24e9]) {
            (sample.roof, sample.bytes_per_token) = (Some(roof), Some(1e8));
        }
        let others = samples([&[100.0]; 5]);
        let found = outcomes("SmolLM2-135M Q4_1, decode 128", &ours, &others);
        let expected = "| SmolLM2-135M Q4_1 | decode 128, tokens/s | 200.0 (196.0–206.0) \
                        | 100.0 (100.0–100.0) | 2.00 (1.96–2.06) | ≥ 1.80: met \
                        | 82% of 240 (≥ 75%: met) |";
        assert_eq!(found[0].table_row(), expected);
        assert!(found[0].is_known() && !found[0].is_missed());
        let busy = outcomes("SmolLM2-135M Q4_1, decode 128, one core busy", &ours, &others);
        assert!(busy[0].is_missed());
        let line = busy[0].line("llama.cpp");
        assert!(line.ends_with("2.00 (1.96–2.06) times (≥ 4.00: missed)"), "{line}");
    }

    #[test]
    fn uncertain_ratio_says_so() {
        let ours = samples([&[170.0], &[206.0], &[200.0], &[202.0], &[230.0]]);
        let found = outcomes("SmolLM2-135M Q4_1, decode 128", &ours, &samples([&[100.0]; 5]));
        assert!(!found[0].is_known() && !found[0].is_missed());
        let line = found[0].line("llama.cpp");
        let expected = "2.02 (1.70–2.30), still ±15% after 5 times (≥ 1.80: open)";
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn first_token_has_time_and_memory() {
        let ours = samples([&[0.2, 300.0]; 5]);
        let found =
            outcomes("Gemma 3 270M Q4_K_M, first token", &ours, &samples([&[1.0, 310.0]; 5]));
        assert_eq!(found.len(), 2);
        let [time, memory] = [0, 1].map(|idx: usize| found[idx].line("llama.cpp"));
        assert!(time.starts_with("0.200 (0.200–0.200) s"), "{time}");
        assert!(time.ends_with("(≤ 0.40: met)"), "{time}");
        assert!(memory.ends_with("(≤ 0.85: missed)"), "{memory}");
    }

    #[test]
    fn each_instruction_set_has_its_table() {
        let [start, end] = document::marks(COMMAND, COMMANDS);
        let document = format!("a\n{start}\noutdated\n{end}\nb\n");
        let one = insert(&document, &header("avx2"), &[]).expect("all marks are there");
        assert!(one.contains("Fast (avx2). today.") && !one.contains("outdated"), "{one}");
        let two = insert(&one, &header("neon"), &[]).expect("all marks are there");
        assert!(two.contains("Fast (avx2)") && two.contains("Fast (neon)"), "{two}");
        assert_eq!(insert(&two, &header("avx2"), &[]).expect("all marks are there"), two);
        assert!(insert("a", &header("avx2"), &[]).is_err());
    }

    #[test]
    fn document_has_the_marks() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let document = std::fs::read_to_string(root.join("docs/benchmarks.md"));
        let document = document.expect("the document is there");
        assert!(document::replace(&document, COMMAND, COMMANDS, "").is_ok());
    }
}
