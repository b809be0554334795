//! The manifest beside a converted model, `<name>.lilims.json`: where the model comes from and how
//! it was converted. `docs/formats.md` describes it, `docs/lilims-manifest.schema.json` is its
//! schema.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file_hash::FileHash;
use crate::output::{Finished, Output};
use crate::{Error, input_file};

/// The version of the format. Readers reject any other.
pub const FORMAT_VERSION: u32 = 1;
/// The extension of a manifest's file name.
const EXTENSION: &str = "lilims.json";
/// The largest manifest that is read; that of a model of 1,000 tensors takes 100 kB.
const MAX_BYTES: u64 = 16 << 20;

/// The content of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The model's semantic version.
    pub version: String,
    /// The model's name (`general.name`).
    pub name: String,
    /// Its family (`general.architecture`).
    pub family: String,
    /// Its licence, if known; an SPDX identifier where one exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The context it was trained for, in tokens.
    pub context: usize,
    /// What it was converted from.
    pub source: Source,
    /// The converted file.
    pub result: FileHash,
    /// How it was converted.
    pub conversion: Conversion,
    /// The type of each tensor, in the file's order.
    pub tensors: Vec<TensorEntry>,
    /// Figures of source and result, if they were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
}

/// What a model was converted from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it comes from, such as a repository's name, if the caller gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The revision there, such as a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The files that were read.
    pub files: Vec<FileHash>,
}

/// The settings of a conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The converter and its version.
    pub tool: String,
    /// The requested type or mix of types.
    pub mix: String,
    /// The requested types of single tensors, as `REGEX=TYPE`.
    pub tensor_types: Vec<String>,
    /// The text that column importance was measured on, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// What is left out of the result, and other remarks: one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The text that column importance was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Its name.
    pub text: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A tensor of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its type, such as `Q4_K`.
    #[serde(rename = "type")]
    pub tensor_type: String,
}

/// Figures before and after the conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The name of the text.
    pub text: String,
    /// The number of its tokens that were scored.
    pub tokens: usize,
    /// Perplexity of the source.
    pub perplexity_before: f64,
    /// Perplexity of the result.
    pub perplexity_after: f64,
    /// Mean Kullback–Leibler divergence of the result's distributions from the source's, in nats.
    pub mean_kl: f64,
    /// The 99th percentile of the divergence, in nats.
    pub p99_kl: f64,
    /// The share of positions at which both have the same most likely token.
    pub same_top: f64,
}

impl Manifest {
    /// The path of the manifest of the model at `model`.
    pub fn path_of(model: &Path) -> PathBuf {
        model.with_extension(EXTENSION)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Damaged`] for anything but a manifest of this version.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = lilims_files::read(path, MAX_BYTES).map_err(input_file::from_files)?;
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Error::damaged(path, format!("is not a manifest: {error}")))?;
        if manifest.format_version != FORMAT_VERSION {
            let what = format!("has the format version {}", manifest.format_version);
            return Err(Error::damaged(path, what));
        }
        Ok(manifest)
    }

    /// Writes the manifest of the model at `model`, replacing an existing one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn write(&self, model: &Path) -> Result<(), Error> {
        self.prepare(model)?.publish(true)
    }

    /// Writes the manifest under a temporary name.
    pub(crate) fn prepare(&self, model: &Path) -> Result<Finished, Error> {
        let path = Self::path_of(model);
        let mut output = Output::create(&path)?;
        output.write_all(self.to_json().as_bytes()).map_err(Error::io(&path))?;
        output.finish()
    }

    /// The content of the manifest's file.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("all keys of a manifest are strings") + "\n"
    }
}
