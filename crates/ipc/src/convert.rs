//! Conversions of models to other types: the choice of types, the running conversion, its result.
//!
//! Sizes are in bytes.

use serde::{Deserialize, Serialize};

use crate::{Error, PlannedModel};

/// The types that a model can be converted to, as the command `conversion_offer` returns them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversionOffer {
    /// The model's short name.
    pub name: String,
    /// Its display name.
    pub title: String,
    /// Its quantisation; empty if unknown.
    pub quantisation: String,
    /// Its file's length.
    pub size_bytes: u64,
    /// Whether the sizes are for a conversion with an importance matrix.
    pub is_weighed: bool,
    /// The types, highest quality first.
    pub targets: Vec<ConversionTarget>,
}

/// A type that a model can be converted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversionTarget {
    /// Its name, such as `Q4_K_M`.
    pub name: String,
    /// The quality of a model in this type.
    pub quality: Quality,
    /// Bits per parameter for this model.
    pub bits_per_weight: f32,
    /// Whether it is the recommended type.
    pub is_recommended: bool,
    /// Whether it is one of the common types.
    pub is_common: bool,
    /// The exact length of the resulting file.
    pub size_bytes: u64,
    /// Why converting this model to it is of little use.
    pub caution: Option<Caution>,
    /// Models to remove to free space, in this order.
    pub removes: Vec<PlannedModel>,
    /// Why it is not possible; then nothing is removed.
    pub obstacle: Option<Error>,
}

/// Why converting a model to a type is of little use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caution {
    /// The model already has this type.
    SameType,
    /// The type is larger than the model's own, without better quality.
    Larger {
        /// The model's bits per parameter.
        bits_per_weight: f32,
    },
    /// The model is already quantised: converting the original would be better.
    AlreadyQuantised {
        /// The model's bits per parameter.
        bits_per_weight: f32,
    },
}

/// The quality of a quantised model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Identical to the original.
    Lossless,
    /// No visible difference.
    Excellent,
    /// A measurable but hardly visible difference.
    VeryGood,
    /// Occasionally visible differences.
    Good,
    /// Simpler answers than the original's.
    Fair,
    /// Only for models that do not fit otherwise.
    Poor,
}

/// The argument of the command `convert`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversionRequest {
    /// The model's short name.
    pub name: String,
    /// The type's name.
    pub target: String,
    /// Whether an importance matrix is computed first and used.
    pub is_weighed: bool,
    /// Whether source and result are measured and compared.
    pub is_measured: bool,
    /// Short names of the models that the user agreed to remove.
    #[serde(default)]
    pub agreed_removals: Vec<String>,
}

/// The running or last conversion. The command `conversion` returns it, and the event
/// `conversion-changed` carries it, at most four times a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversion {
    /// Its number in this process.
    pub id: u64,
    /// The request.
    pub request: ConversionRequest,
    /// Display name of its source.
    pub title: String,
    /// The length of the source's file.
    pub source_bytes: u64,
    /// Its state.
    pub state: ConversionState,
}

/// The state of a conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConversionState {
    /// Running.
    Running {
        /// The current stage.
        stage: ConversionStage,
        /// The number of the current step, from 1.
        step: u32,
        /// The number of steps.
        n_steps: u32,
        /// Remaining time of the step.
        seconds_left: Option<u64>,
        /// Whether it was cancelled but has not ended yet.
        is_ending: bool,
    },
    /// The model is in the library.
    Done {
        /// Its short name.
        name: String,
        /// Its file's length.
        size_bytes: u64,
        /// The measurement; `None` if it was not requested, was cancelled or failed.
        figures: Option<Measurement>,
        /// Why the measurement failed.
        unmeasured: Option<Error>,
    },
    /// Failed; no file is left.
    Failed {
        /// Why.
        error: Error,
    },
    /// Cancelled by the user; no file is left.
    Cancelled,
}

/// A stage of a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConversionStage {
    /// Opening the source.
    Starting,
    /// Creating a temporary copy that can run, for calibration.
    Preparing(TensorProgress),
    /// Running the model to compute the importance matrix.
    Calibrating(Share),
    /// Converting tensors.
    Converting(TensorProgress),
    /// Running and comparing both models.
    Measuring(Share),
}

/// Progress in tensors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorProgress {
    /// Converted tensors.
    pub done: u32,
    /// All tensors.
    pub total: u32,
    /// The name of the next tensor; empty at the end.
    pub name: String,
    /// Written bytes.
    pub written_bytes: u64,
    /// Total bytes.
    pub total_bytes: u64,
}

/// Progress in parts of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Finished parts.
    pub done: u32,
    /// All parts.
    pub total: u32,
}

/// The comparison of a model before and after its conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The text that it read.
    pub text: String,
    /// Number of predicted tokens.
    pub tokens: u64,
    /// Perplexity of the source.
    pub perplexity_before: f64,
    /// Perplexity of the result.
    pub perplexity_after: f64,
    /// Mean Kullback-Leibler divergence of the result's from the source's probabilities, in nats per token.
    pub mean_kl: f64,
    /// 99th percentile of that divergence.
    pub p99_kl: f64,
    /// How often both have the same most likely token, 0 to 1.
    pub same_top: f64,
}

/// How a model was converted, from the manifest beside its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversionRecord {
    /// The source file.
    pub source: String,
    /// Length of the source file, or of all files of a checkpoint.
    pub source_bytes: u64,
    /// The converting program with its version.
    pub tool: String,
    /// The requested type.
    pub target: String,
    /// Length of the resulting file.
    pub size_bytes: u64,
    /// The measurement, if there was one.
    pub figures: Option<Measurement>,
}
