//! What is compared: models, work, threads, and the floors that Lilims has to reach.

use std::path::{Path, PathBuf};

use crate::setup::BenchModels;

/// What both programs do in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Read a prompt.
    Prefill { tokens: usize },
    /// Generate after `depth` tokens.
    Decode { tokens: usize, depth: usize },
    /// From the start of the process: read a prompt of 35 tokens, generate one, end.
    FirstToken,
}

/// What is measured in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Tokens per second.
    Speed,
    /// Seconds from the start of the process to its end.
    Time,
    /// The most memory that the process held, in MiB.
    PeakMemory,
}

/// What Lilims' figure divided by the peer's has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Floor {
    AtLeast(f64),
    AtMost(f64),
}

impl Floor {
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(floor) => ratio >= floor,
            Self::AtMost(ceiling) => ratio <= ceiling,
        }
    }
}

/// Work for both programs, and what is asked of the outcome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Such as `SmolLM2-135M Q4_1`.
    pub(crate) model: String,
    pub(crate) file: PathBuf,
    pub(crate) work: Work,
    pub(crate) threads: usize,
    /// Whether another process keeps one core busy.
    pub(crate) busy_neighbour: bool,
    /// The figures of a run, each with its floor.
    pub(crate) figures: Vec<(Figure, Floor)>,
    /// The share of the memory roof that Lilims has to reach.
    pub(crate) roof_floor: Option<f64>,
}

impl Row {
    /// What the row is called on the terminal and by `--only`.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.model, self.work_name())
    }

    /// What is done, without the model.
    pub(crate) fn work_name(&self) -> String {
        let mut name = match self.work {
            Work::Prefill { tokens } => format!("prefill {tokens}"),
            Work::Decode { tokens, depth: 0 } => format!("decode {tokens}"),
            Work::Decode { tokens, depth } => format!("decode {tokens} at depth {depth}"),
            Work::FirstToken => "first token".to_string(),
        };
        if self.threads == 1 {
            name.push_str(", 1 thread");
        }
        if self.busy_neighbour {
            name.push_str(", one core busy");
        }
        name
    }

    fn new(model: &str, file: &Path, work: Work, ratio: f64) -> Self {
        Self {
            model: model.to_string(),
            file: file.to_path_buf(),
            work,
            threads: 2,
            busy_neighbour: false,
            figures: vec![(Figure::Speed, Floor::AtLeast(ratio))],
            roof_floor: None,
        }
    }
}

const PREFILL: Work = Work::Prefill { tokens: 512 };
const DECODE: Work = Work::Decode { tokens: 128, depth: 0 };
const DEEP_DECODE: Work = Work::Decode { tokens: 32, depth: 4096 };

/// The types that the first model is turned into, in which both programs are compared as well.
pub(crate) const OTHER_TYPES: [&str; 6] = ["F16", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"];
/// The floor of those files, reading and generating.
const OTHER_TYPES_RATIO: f64 = 1.1;
/// The floors with one thread.
const ONE_THREAD_DECODE_RATIO: f64 = 1.3;
const ONE_THREAD_PREFILL_RATIO: f64 = 2.0;

/// The floors of a model, as ratios to the peer but for the share of the roof.
struct Floors {
    decode: f64,
    roof_share: f64,
    deep_decode: f64,
    prefill: f64,
    first_token: f64,
    peak_memory: f64,
    busy_decode: f64,
}

const SMOLLM2: Floors = Floors {
    decode: 2.0,
    roof_share: 0.75,
    deep_decode: 2.5,
    prefill: 3.0,
    first_token: 0.5,
    peak_memory: 0.8,
    busy_decode: 4.0,
};

const GEMMA3: Floors = Floors {
    decode: 1.6,
    roof_share: 0.85,
    deep_decode: 1.5,
    prefill: 2.0,
    first_token: 0.4,
    peak_memory: 0.85,
    busy_decode: 3.0,
};

/// All rows. `other_types` are files of the first model, each with the name of its type.
pub(crate) fn all(models: &BenchModels, other_types: &[(&str, PathBuf)]) -> Vec<Row> {
    let mut rows = of_model("SmolLM2-135M Q4_1", &models.smollm2, &SMOLLM2);
    rows.extend(of_model("Gemma 3 270M Q4_K_M", &models.gemma3, &GEMMA3));
    for (name, file) in other_types {
        let model = format!("SmolLM2-135M {name}");
        rows.extend([DECODE, PREFILL].map(|work| Row::new(&model, file, work, OTHER_TYPES_RATIO)));
    }
    rows
}

fn of_model(model: &str, file: &Path, floors: &Floors) -> Vec<Row> {
    let row = |work, ratio| Row::new(model, file, work, ratio);
    vec![
        Row { roof_floor: Some(floors.roof_share), ..row(DECODE, floors.decode) },
        row(DEEP_DECODE, floors.deep_decode),
        row(PREFILL, floors.prefill),
        Row {
            figures: vec![
                (Figure::Time, Floor::AtMost(floors.first_token)),
                (Figure::PeakMemory, Floor::AtMost(floors.peak_memory)),
            ],
            ..row(Work::FirstToken, 0.0)
        },
        Row { busy_neighbour: true, ..row(DECODE, floors.busy_decode) },
        Row { threads: 1, ..row(DECODE, ONE_THREAD_DECODE_RATIO) },
        Row { threads: 1, ..row(PREFILL, ONE_THREAD_PREFILL_RATIO) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        let models = BenchModels { smollm2: "a.gguf".into(), gemma3: "b.gguf".into() };
        let others = OTHER_TYPES.map(|name| (name, PathBuf::from(name)));
        let mut names: Vec<String> = all(&models, &others).iter().map(Row::name).collect();
        assert_eq!(names.len(), 2 * 7 + 2 * 6);
        assert!(names.iter().any(|name| name == "Gemma 3 270M Q4_K_M, decode 32 at depth 4096"));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 26);
    }

    #[test]
    fn floors_hold_in_their_direction() {
        assert!(Floor::AtLeast(2.0).is_met(2.0) && !Floor::AtLeast(2.0).is_met(1.9));
        assert!(Floor::AtMost(0.5).is_met(0.4) && !Floor::AtMost(0.5).is_met(0.6));
    }
}
