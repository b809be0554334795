//! What can go wrong between a checkpoint and a file of GGUF.

use std::path::{Path, PathBuf};

use lilims_gguf::TensorType;

/// Why a model could not be converted. Each names the file or the tensor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system gave no threads.
    #[error("cannot start threads")]
    Threads(#[source] std::io::Error),
    /// A file of the source is no longer what it was when the conversion began.
    #[error("{} was changed or cut short while it was converted", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A thread did not end as it should, by a fault in Lilims.
    #[error("a computation failed inside Lilims")]
    Panicked,
    /// The source lacks a file.
    #[error("{folder} has no {what}")]
    MissingFile {
        /// Where it was looked for.
        folder: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// A file is there, but not what it should be.
    #[error("{path}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The family is not one that Lilims runs.
    #[error("the model family `{found}` is not supported (supported: {supported})")]
    UnknownFamily {
        /// What `config.json` says.
        found: String,
        /// What is supported.
        supported: String,
    },
    /// The model has something that Lilims or GGUF has no place for.
    #[error("not supported: {what}")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// A tensor that the family needs is not there.
    #[error("the tensor `{name}` is missing")]
    MissingTensor {
        /// Its name in the source.
        name: String,
    },
    /// A tensor does not belong to the family.
    #[error("the tensor `{name}` is none that a model of the family `{family}` has")]
    UnknownTensor {
        /// Its name in the source.
        name: String,
        /// The family.
        family: &'static str,
    },
    /// A tensor has another shape than the configuration says.
    #[error("the tensor `{name}` has shape {found:?}, the configuration says {expected:?}")]
    Shape {
        /// Its name in the source.
        name: String,
        /// Its shape, the slowest dimension first.
        found: Vec<usize>,
        /// What it should be.
        expected: Vec<usize>,
    },
    /// A tensor has a value that is not a finite number.
    #[error("the tensor `{name}` holds {value} in row {row}")]
    NotFinite {
        /// Its name in the source.
        name: String,
        /// The row in the result.
        row: usize,
        /// The value.
        value: f32,
    },
    /// A value is too large for the type.
    #[error("the tensor `{name}` holds {value}, which {tensor_type} cannot")]
    Overflow {
        /// Its name in the source.
        name: String,
        /// The value.
        value: f32,
        /// The type.
        tensor_type: TensorType,
    },
    /// No quantiser for the type.
    #[error("the tensor `{name}` cannot become {tensor_type}: there is no quantiser for it")]
    NoQuantiser {
        /// Its name in the source.
        name: String,
        /// The type.
        tensor_type: TensorType,
    },
    /// The tokenizer that was written makes other tokens than the source's.
    #[error(
        "not supported: a tokenizer that GGUF has no place for: `{text}` becomes {got}, \
         tokenizer.json says {expected}"
    )]
    TokenizerDiffers {
        /// The first text that differs, cut and escaped.
        text: String,
        /// The first ids of the source's tokenizer.
        expected: String,
        /// The first ids of what was written.
        got: String,
    },
    /// A pickle names something that is not data.
    #[error("{path} is refused: it would run `{what}` when it is loaded")]
    UnsafePickle {
        /// The file.
        path: PathBuf,
        /// What it would run.
        what: String,
    },
    /// The type or mix is not known.
    #[error("the type `{name}` is not known (known: {known})")]
    UnknownType {
        /// What was asked for.
        name: String,
        /// What is known.
        known: String,
    },
    /// An override of tensor types cannot be read.
    #[error("the override `{text}` is not REGEX=TYPE: {what}")]
    Override {
        /// What was given.
        text: String,
        /// What is wrong with it.
        what: String,
    },
    /// The text to calibrate with holds nothing.
    #[error("the calibration text is empty: give one that is like what the model will read")]
    EmptyText,
    /// A model could not be run to calibrate or to measure.
    #[error(transparent)]
    Run(#[from] lilims_engine::Error),
    /// The model was converted and could not be measured.
    #[error("the model is converted, but it could not be measured")]
    Measure(#[from] lilims_bench::Error),
    /// The result does not load: a fault of the conversion.
    #[error("the result does not load")]
    Result(#[source] lilims_engine::Error),
    /// The GGUF source is damaged.
    #[error(transparent)]
    Gguf(#[from] lilims_gguf::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Says which file the system failed on.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}
