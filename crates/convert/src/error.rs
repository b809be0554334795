//! The errors of a conversion.

use std::path::{Path, PathBuf};

use lilims_gguf::TensorType;

/// An error of a conversion. Each names the file, the field or the tensor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The system could not start threads.
    #[error("cannot start threads")]
    Threads(#[source] std::io::Error),
    /// A file of the source was modified during the conversion.
    #[error("{} was modified or truncated during the conversion", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A thread panicked.
    #[error("internal error: a thread of the conversion panicked")]
    Panicked,
    /// The source lacks a required file.
    #[error("{folder} has no {what}")]
    MissingFile {
        /// The folder that was searched.
        folder: PathBuf,
        /// The file's name.
        what: String,
    },
    /// A file is damaged or has invalid content.
    #[error("{path}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The model's family is not supported.
    #[error("the model family `{found}` is not supported (supported: {supported})")]
    UnknownFamily {
        /// `model_type` in `config.json`.
        found: String,
        /// The supported values of `model_type`.
        supported: String,
    },
    /// The model uses a feature that Lilims or GGUF does not support.
    #[error("not supported: {what}")]
    Unsupported {
        /// The feature.
        what: String,
    },
    /// A tensor that the family requires is missing.
    #[error("the tensor `{name}` is missing")]
    MissingTensor {
        /// Its name in the source.
        name: String,
    },
    /// The source has a tensor that the family does not have.
    #[error("unexpected tensor `{name}` in a model of the family `{family}`")]
    UnknownTensor {
        /// Its name in the source.
        name: String,
        /// The family.
        family: &'static str,
    },
    /// A tensor's shape does not match the configuration.
    #[error(
        "the tensor `{name}` has shape {found:?}, expected {expected:?} from the configuration"
    )]
    Shape {
        /// Its name in the source.
        name: String,
        /// Its shape, the slowest dimension first.
        found: Vec<usize>,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
    },
    /// A tensor has a value that is not a finite number.
    #[error("the tensor `{name}` has the value {value} in row {row}, which is not finite")]
    NotFinite {
        /// Its name in the source.
        name: String,
        /// The row in the result.
        row: usize,
        /// The value.
        value: f32,
    },
    /// A value is too large for the result's type.
    #[error("the tensor `{name}` has the value {value}, which is too large for {tensor_type}")]
    Overflow {
        /// Its name in the source.
        name: String,
        /// The value.
        value: f32,
        /// The type.
        tensor_type: TensorType,
    },
    /// Lilims cannot quantise to the type.
    #[error("the tensor `{name}` cannot be converted to {tensor_type}: no quantiser for this type")]
    NoQuantiser {
        /// Its name in the source.
        name: String,
        /// The type.
        tensor_type: TensorType,
    },
    /// The converted tokenizer encodes a text differently from the source's.
    #[error(
        "not supported: a tokenizer that GGUF cannot represent: `{text}` is encoded as {got}, \
         expected {expected} from tokenizer.json"
    )]
    TokenizerDiffers {
        /// The first text that differs, truncated and escaped.
        text: String,
        /// The first ids from the source's tokenizer.
        expected: String,
        /// The first ids from the converted tokenizer.
        got: String,
    },
    /// A pickle refers to code.
    #[error("{path} is rejected: loading it with PyTorch would run `{what}`")]
    UnsafePickle {
        /// The file.
        path: PathBuf,
        /// The global that it refers to.
        what: String,
    },
    /// The requested type or mix does not exist.
    #[error("unknown type `{name}` (supported: {known})")]
    UnknownType {
        /// The requested name.
        name: String,
        /// The supported names.
        known: String,
    },
    /// An override of tensor types cannot be parsed.
    #[error("the override `{text}` is not REGEX=TYPE: {what}")]
    Override {
        /// The override.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// The calibration text has no tokens.
    #[error("the calibration text is empty: give one that resembles what the model will read")]
    EmptyText,
    /// The source could not be run for calibration or evaluation.
    #[error(transparent)]
    Run(#[from] lilims_engine::Error),
    /// The model was converted, but could not be evaluated.
    #[error("the model was converted, but it could not be evaluated")]
    Measure(#[from] lilims_bench::Error),
    /// The result cannot be loaded, which is a bug in the conversion.
    #[error("the converted model cannot be loaded")]
    Result(#[source] lilims_engine::Error),
    /// The GGUF source is damaged.
    #[error(transparent)]
    Gguf(#[from] lilims_gguf::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Adds the file's path to a system error; for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}
