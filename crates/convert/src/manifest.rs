//! The manifest beside a converted model, `<name>.lilims.json`: where the model comes from and how it
//! was made.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::output::{Finished, Output};
use crate::{Error, input_file};

/// The version of the format. A reader refuses a larger one.
pub const FORMAT_VERSION: u32 = 1;
/// The ending of a manifest's name.
const ENDING: &str = "lilims.json";
/// The most bytes of a manifest that are read; one of a model of 1,000 tensors takes 100 kB.
const MAX_BYTES: u64 = 16 << 20;

/// What a manifest says.
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
    /// Its licence, if it is known, as an SPDX identifier where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The context that it was trained for, in tokens.
    pub context: usize,
    /// What it was made from.
    pub source: Source,
    /// The file that was made.
    pub result: FileHash,
    /// How it was made.
    pub conversion: Conversion,
    /// The type of each tensor, in the file's order.
    pub tensors: Vec<TensorEntry>,
    /// How it was measured, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
}

/// What a model was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it was taken from, such as a repository's name, if the caller said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The revision there, such as a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The files that were read, by their names.
    pub files: Vec<FileHash>,
}

/// A file and its hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// The file's name without its folder.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The settings of a conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The program and its version.
    pub tool: String,
    /// The type or mix that was asked for.
    pub mix: String,
    /// Overrides of single tensors' types, as they were given.
    pub tensor_types: Vec<String>,
    /// What the importance of columns was measured on, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// What of the source is not in the result, and what else is worth knowing: one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The text that the importance of columns was measured on.
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
    /// The text that they are of.
    pub text: String,
    /// Tokens of it that were scored.
    pub tokens: usize,
    /// Perplexity of the source.
    pub perplexity_before: f64,
    /// Perplexity of the result.
    pub perplexity_after: f64,
    /// Mean Kullback–Leibler divergence of the result's distributions from the source's, in nats.
    pub mean_kl: f64,
    /// The divergence that 99 of 100 positions stay below.
    pub p99_kl: f64,
    /// The share of positions at which both hold the same token for the likeliest.
    pub same_top: f64,
}

impl Manifest {
    /// Where the manifest of the model at `model` lies.
    pub fn path_of(model: &Path) -> PathBuf {
        model.with_extension(ENDING)
    }

    /// Reads a manifest.
    ///
    /// *Errors*: [`Error::Io`], or [`Error::Damaged`] for what is no manifest of this version.
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

    /// Writes the manifest of the model at `model`, in place of the one that is there.
    ///
    /// *Errors*: [`Error::Io`].
    pub fn write(&self, model: &Path) -> Result<(), Error> {
        self.prepare(model)?.publish(true)
    }

    /// Writes it beside its place.
    pub(crate) fn prepare(&self, model: &Path) -> Result<Finished, Error> {
        let path = Self::path_of(model);
        let mut output = Output::create(&path)?;
        output.write_all(self.to_json().as_bytes()).map_err(Error::io(&path))?;
        output.finish()
    }

    /// The manifest as it stands in its file.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("a manifest has text keys only") + "\n"
    }
}

impl FileHash {
    /// Reads and hashes the file at `path`, as long as `is_wanted` says so.
    ///
    /// *Errors*: [`Error::Io`], [`Error::Cancelled`].
    pub(crate) fn of(path: &Path, is_wanted: &impl Fn() -> bool) -> Result<Self, Error> {
        let mut file = input_file::open(path)?;
        let (mut hash, mut size_bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            if !is_wanted() {
                return Err(Error::Cancelled);
            }
            let n = file.read(&mut buffer).map_err(Error::io(path))?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            size_bytes += n as u64;
        }
        Ok(Self::new(path, size_bytes, hash))
    }

    pub(crate) fn new(path: &Path, size_bytes: u64, hash: Sha256) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, size_bytes, sha256: hex(hash.finalize()) }
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
