//! Conversions: what a model of the library could become, the conversion that runs, and what one has
//! made.
//!
//! Sizes are bytes. Perplexities say how well a model predicts a text: 1 is perfect.

use serde::{Deserialize, Serialize};

use crate::{Error, PlanModel};

/// What a model could become; the answer of the command `conversion_offer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversionOffer {
    /// The model's short name.
    pub name: String,
    /// The name to show.
    pub title: String,
    /// Its quantisation; empty where unknown.
    pub quantisation: String,
    /// Its file's length.
    pub size_bytes: u64,
    /// Whether the sizes are those with an importance matrix.
    pub is_weighed: bool,
    /// The types to choose from, those that keep most first.
    pub targets: Vec<ConversionTarget>,
}

/// A type that a model can be converted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversionTarget {
    /// Its name, such as `Q4_K_M`.
    pub name: String,
    /// How much of the original a model keeps in it.
    pub quality: Quality,
    /// Bits of the file for each parameter of this model.
    pub bits_per_weight: f32,
    /// Whether it is the one to take without a reason for another.
    pub is_recommended: bool,
    /// Whether it is one of the few that most people choose among.
    pub is_common: bool,
    /// The exact length of the file that would be made.
    pub size_bytes: u64,
    /// Why this model gains nothing by it, or less than it seems.
    pub caution: Option<Caution>,
    /// Models that leave to make room, the first to leave first.
    pub removes: Vec<PlanModel>,
    /// Why it cannot be done; then nothing leaves.
    pub obstacle: Option<Error>,
}

/// Why a model gains nothing by a type, or less than it seems.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "caution", rename_all = "kebab-case")]
pub enum Caution {
    /// The model has this type already.
    SameType,
    /// The type takes more room than the model's own and keeps no more.
    Larger {
        /// Bits of the model for each parameter.
        bits_per_weight: f32,
    },
    /// The model has lost precision already: converting the original would be better.
    AlreadyQuantised {
        /// Bits of the model for each parameter.
        bits_per_weight: f32,
    },
}

/// How much of the original a quantised model keeps, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// All of it.
    Lossless,
    /// Nobody sees a difference.
    Excellent,
    /// A difference can be measured, hardly seen.
    VeryGood,
    /// A difference is seen now and then.
    Good,
    /// Answers are simpler than the original's.
    Fair,
    /// For models that would not fit otherwise.
    Poor,
}

/// What the command `convert` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversionRequest {
    /// The model's short name.
    pub name: String,
    /// The type's name.
    pub target: String,
    /// Whether columns are weighed by what matters: an importance matrix is measured first.
    pub is_weighed: bool,
    /// Whether the model is measured before and after.
    pub is_measured: bool,
    /// Short names of the models that the user agreed to remove to make room.
    #[serde(default)]
    pub agreed_removals: Vec<String>,
}

/// The conversion that runs, or the one that ended last; the command `conversion` answers with it, and
/// the event `conversion-changed` carries it, at most four times a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversion {
    /// Counts the conversions of this process.
    pub id: u64,
    /// What was asked for.
    pub request: ConversionRequest,
    /// The name of its source to show.
    pub title: String,
    /// The length of the source's file.
    pub source_bytes: u64,
    /// How far it is.
    pub state: ConversionState,
}

/// How far a conversion is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ConversionState {
    /// It runs.
    Running {
        /// What it does.
        stage: ConversionStage,
        /// Which of its steps that is, from 1.
        step: u32,
        /// Steps in all.
        n_steps: u32,
        /// How long the step will take.
        seconds_left: Option<u64>,
        /// Whether it was cancelled and has not ended yet.
        is_ending: bool,
    },
    /// The model is in the library.
    Done {
        /// Its short name.
        name: String,
        /// Its file's length.
        size_bytes: u64,
        /// What measuring has shown; `None` where it was not asked for, was cancelled or failed.
        figures: Option<Figures>,
        /// Why measuring failed.
        unmeasured: Option<Error>,
    },
    /// It broke off and left nothing.
    Failed {
        /// Why.
        error: Error,
    },
    /// The user cancelled it; nothing is left.
    Cancelled,
}

/// What a conversion does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum ConversionStage {
    /// It opens the source.
    Starting,
    /// It makes a copy that can be run, to calibrate with.
    Preparing(TensorProgress),
    /// It runs the model to learn what matters.
    Calibrating(Share),
    /// It converts tensors.
    Converting(TensorProgress),
    /// It runs both models and compares them.
    Measuring(Share),
}

/// How many tensors are converted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorProgress {
    /// Those that are.
    pub done: u32,
    /// All.
    pub total: u32,
    /// The name of the next; empty at the end.
    pub name: String,
    /// Bytes that are written.
    pub written_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// How much of something is done, in parts of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Parts that are done.
    pub done: u32,
    /// All.
    pub total: u32,
}

/// What measuring a model before and after its conversion has shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The text that it read.
    pub text: String,
    /// Tokens that it predicted.
    pub tokens: u64,
    /// Perplexity of the source.
    pub perplexity_before: f64,
    /// Perplexity of the result.
    pub perplexity_after: f64,
    /// How far the result's probabilities are from the source's: the mean Kullback-Leibler divergence,
    /// in nats a token; 0 is the same.
    pub mean_kl: f64,
    /// The divergence that one token in a hundred exceeds.
    pub p99_kl: f64,
    /// How often both find the same token likeliest, 0 to 1.
    pub same_top: f64,
}

/// How a model was made, as the manifest beside its file tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The file that it was made from.
    pub source: String,
    /// That file's length, or of all files of a checkpoint.
    pub source_bytes: u64,
    /// The program that made it, with its version.
    pub tool: String,
    /// The type that was asked for.
    pub target: String,
    /// The length of the file that was made.
    pub size_bytes: u64,
    /// What measuring has shown.
    pub figures: Option<Figures>,
}
