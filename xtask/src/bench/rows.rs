//! The comparisons of the benchmark: models, workloads, threads and required ratios. Runs nothing.

use std::path::{Path, PathBuf};

use crate::setup::BenchModels;

/// What both programs do in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Process a prompt.
    Prefill { tokens: usize },
    /// Generate `tokens` tokens after `depth` tokens of context.
    Decode { tokens: usize, depth: usize },
    /// A whole process: process a prompt of 35 tokens and generate one token.
    FirstToken,
    /// The same while the model is not in the page cache, compared with reading the file or with the
    /// time from the page cache, whichever is longer.
    ColdStart,
}

/// A measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Tokens per second.
    Speed,
    /// Seconds from the start of the process to its end.
    Time,
    /// The peak memory of the process, in MiB.
    PeakMemory,
}

/// The required ratio of Lilims' value to the peer's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Floor {
    AtLeast(f64),
    AtMost(f64),
}

/// The share of an older revision's speed that a newer one has to keep.
const KEPT: f64 = 0.98;

impl Floor {
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(floor) => ratio >= floor,
            Self::AtMost(ceiling) => ratio <= ceiling,
        }
    }
}

/// One comparison: a workload for both programs, and the required results.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Such as `SmolLM2-135M Q4_1`.
    pub(crate) model: String,
    pub(crate) file: PathBuf,
    pub(crate) workload: Workload,
    pub(crate) threads: usize,
    /// Whether another process keeps one core busy during the run.
    pub(crate) busy_neighbour: bool,
    /// The metrics of a run, each with its required ratio.
    pub(crate) metrics: Vec<(Metric, Floor)>,
    /// The share of the memory bandwidth roof that Lilims has to reach.
    pub(crate) roof_floor: Option<f64>,
}

impl Row {
    /// The row's name on the terminal and for `--only`.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.model, self.workload_name())
    }

    /// The workload's part of the name.
    pub(crate) fn workload_name(&self) -> String {
        let mut name = match self.workload {
            Workload::Prefill { tokens } => format!("prefill {tokens}"),
            Workload::Decode { tokens, depth: 0 } => format!("decode {tokens}"),
            Workload::Decode { tokens, depth } => format!("decode {tokens} at depth {depth}"),
            Workload::FirstToken => "first token".to_string(),
            Workload::ColdStart => "first token from the disk".to_string(),
        };
        if self.threads == 1 {
            name.push_str(", 1 thread");
        }
        if self.busy_neighbour {
            name.push_str(", one core busy");
        }
        name
    }

    /// Requires nothing but what an older revision reached.
    pub(crate) fn keep_speed(&mut self) {
        for (metric, floor) in &mut self.metrics {
            *floor = match metric {
                Metric::Speed => Floor::AtLeast(KEPT),
                Metric::Time | Metric::PeakMemory => Floor::AtMost(1.0 / KEPT),
            };
        }
        self.roof_floor = None;
    }

    fn new(model: &str, file: &Path, workload: Workload, ratio: f64) -> Self {
        Self {
            model: model.to_string(),
            file: file.to_path_buf(),
            workload,
            threads: 2,
            busy_neighbour: false,
            metrics: vec![(Metric::Speed, Floor::AtLeast(ratio))],
            roof_floor: None,
        }
    }
}

const PREFILL: Workload = Workload::Prefill { tokens: 512 };
const DECODE: Workload = Workload::Decode { tokens: 128, depth: 0 };
/// The time to the first token from the disk, relative to what it is compared with.
const COLD_START: Floor = Floor::AtMost(1.1);
const DEEP_DECODE: Workload = Workload::Decode { tokens: 32, depth: 4096 };

/// Further types of the first model, in which both programs are compared as well.
pub(crate) const OTHER_TYPES: [&str; 6] = ["F16", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"];
/// The required ratios of those files.
const OTHER_TYPES_DECODE: f64 = 1.2;
const OTHER_TYPES_PREFILL: f64 = 1.1;

/// The required values of a small model: ratios to the peer, except for `roof_share`.
struct Floors {
    decode: f64,
    roof_share: f64,
    deep_decode: f64,
    prefill: f64,
    first_token: f64,
    peak_memory: f64,
    busy_decode: f64,
    one_thread_decode: f64,
    one_thread_prefill: f64,
}

const SMOLLM2: Floors = Floors {
    decode: 1.8,
    roof_share: 0.75,
    deep_decode: 3.0,
    prefill: 4.0,
    first_token: 0.5,
    peak_memory: 0.8,
    busy_decode: 4.0,
    one_thread_decode: 1.3,
    one_thread_prefill: 2.0,
};

const GEMMA3: Floors = Floors {
    decode: 1.5,
    roof_share: 0.85,
    deep_decode: 1.5,
    prefill: 3.0,
    first_token: 0.4,
    peak_memory: 0.85,
    busy_decode: 3.0,
    one_thread_decode: 1.3,
    one_thread_prefill: 2.0,
};

/// All rows. `other_types` are the first model's files in other types, with the type's name.
pub(crate) fn all(models: &BenchModels, other_types: &[(&str, PathBuf)]) -> Vec<Row> {
    let large =
        |workload, ratio| Row::new("Qwen2.5-Coder 1.5B Q4_K_M", &models.qwen_1_5b, workload, ratio);
    let middle =
        |workload, ratio| Row::new("Qwen2.5-Coder 0.5B Q4_K_M", &models.qwen_0_5b, workload, ratio);
    let mut rows = vec![
        Row { roof_floor: Some(0.88), ..large(DECODE, 1.4) },
        Row { threads: 1, ..large(DECODE, 1.5) },
        large(PREFILL, 3.0),
        middle(DECODE, 1.5),
        middle(DEEP_DECODE, 2.5),
        middle(PREFILL, 3.2),
        cold_start(middle(Workload::ColdStart, 0.0)),
    ];
    rows.extend(of_model("SmolLM2-135M Q4_1", &models.smollm2, &SMOLLM2));
    rows.extend(of_model("Gemma 3 270M Q4_K_M", &models.gemma3, &GEMMA3));
    for (name, file) in other_types {
        let row =
            |workload, ratio| Row::new(&format!("SmolLM2-135M {name}"), file, workload, ratio);
        rows.push(row(DECODE, OTHER_TYPES_DECODE));
        rows.push(row(PREFILL, OTHER_TYPES_PREFILL));
    }
    rows
}

fn cold_start(row: Row) -> Row {
    Row { metrics: vec![(Metric::Time, COLD_START)], ..row }
}

fn of_model(model: &str, file: &Path, floors: &Floors) -> Vec<Row> {
    let row = |workload, ratio| Row::new(model, file, workload, ratio);
    vec![
        Row { roof_floor: Some(floors.roof_share), ..row(DECODE, floors.decode) },
        row(DEEP_DECODE, floors.deep_decode),
        row(PREFILL, floors.prefill),
        Row {
            metrics: vec![
                (Metric::Time, Floor::AtMost(floors.first_token)),
                (Metric::PeakMemory, Floor::AtMost(floors.peak_memory)),
            ],
            ..row(Workload::FirstToken, 0.0)
        },
        cold_start(row(Workload::ColdStart, 0.0)),
        Row { busy_neighbour: true, ..row(DECODE, floors.busy_decode) },
        Row { threads: 1, ..row(DECODE, floors.one_thread_decode) },
        Row { threads: 1, ..row(PREFILL, floors.one_thread_prefill) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_names_are_unique() {
        let others = OTHER_TYPES.map(|name| (name, PathBuf::from(name)));
        let mut names: Vec<String> =
            all(&BenchModels::default(), &others).iter().map(Row::name).collect();
        assert_eq!(names.len(), 7 + 2 * 8 + 2 * 6);
        assert!(names.iter().any(|name| name == "Gemma 3 270M Q4_K_M, decode 32 at depth 4096"));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 35);
    }

    #[test]
    fn older_revision_sets_the_floors() {
        let mut rows = all(&BenchModels::default(), &[]);
        rows.iter_mut().for_each(Row::keep_speed);
        let first_token = rows.iter().find(|row| row.workload == Workload::FirstToken);
        assert!(!first_token.expect("a row").metrics[0].1.is_met(1.03));
        assert!(rows[0].metrics[0].1.is_met(0.981) && !rows[0].metrics[0].1.is_met(0.979));
        assert_eq!(rows[0].roof_floor, None);
    }

    #[test]
    fn floors_compare_in_the_right_direction() {
        assert!(Floor::AtLeast(2.0).is_met(2.0) && !Floor::AtLeast(2.0).is_met(1.9));
        assert!(Floor::AtMost(0.5).is_met(0.4) && !Floor::AtMost(0.5).is_met(0.6));
    }
}
