//! Reads a checkpoint's weights: shards of safetensors, or of pickles (`pickle.rs`).
//!
//! Opening a checkpoint reads only the headers. A tensor's bytes are read when it is converted, a
//! chunk at a time. Format: <https://github.com/huggingface/safetensors#format>.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lilims_gguf::TensorType;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::family::Family;
use crate::input_file::{optional_json, read_json};
use crate::plan::PlannedTensor;
use crate::quote::quoted;
use crate::source_tensor::{
    DataLocation, MAX_DIMENSIONS, MAX_NAME_BYTES, SourceTensor, is_buffer, plain_name, vision_part,
};
use crate::{Error, input_file, pickle, quantised};

/// The longest header of a safetensors file that is read, enough for 100,000 tensors; parsing takes
/// a multiple of it in memory. The reference implementation accepts 100 MB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Reads a tensor's bytes in order. The path and the name are for errors.
pub(crate) struct TensorReader<'a> {
    path: &'a Path,
    name: &'a str,
    input: Box<dyn Read + 'a>,
    /// The offset in the file of what is read next; `None` for bytes in memory.
    offset: Option<u64>,
}

impl<'a> TensorReader<'a> {
    /// Opens a file at the tensor's byte offset.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(crate) fn at(path: &'a Path, name: &'a str, offset: u64) -> Result<Self, Error> {
        let mut file = input_file::open(path)?;
        file.seek(SeekFrom::Start(offset)).map_err(Error::io(path))?;
        Ok(Self { path, name, input: Box::new(file), offset: Some(offset) })
    }

    /// Reads bytes that are in memory.
    pub(crate) fn from_bytes(path: &'a Path, name: &'a str, bytes: Vec<u8>) -> Self {
        Self { path, name, input: Box::new(Cursor::new(bytes)), offset: None }
    }

    /// The offset in the file of what is read next; `None` for bytes in memory.
    pub(crate) fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// Replaces the content of `bytes` with the next `n_bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Damaged`] where the file ends before the tensor does.
    pub(crate) fn read(&mut self, n_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        bytes.reserve_exact(n_bytes.saturating_sub(bytes.len()));
        bytes.resize(n_bytes, 0);
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                Error::damaged(self.path, format!("ends within the tensor `{}`", self.name))
            }
            _ => Error::io(self.path)(error),
        })?;
        self.offset = self.offset.map(|offset| offset + n_bytes as u64);
        Ok(())
    }
}

/// The weights of a checkpoint.
pub(crate) struct Checkpoint {
    files: Vec<PathBuf>,
    /// By their names without prefixes ([`plain_name`]).
    tensors: HashMap<String, SourceTensor>,
    /// The number of tensors of each part of the model that is left out.
    left_out: BTreeMap<&'static str, usize>,
}

impl Checkpoint {
    /// Reads the headers of the shards in `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingFile`] for missing weights or a missing shard, [`Error::Damaged`],
    /// [`Error::UnsafePickle`].
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let (files, are_pickles) = shards(folder)?;
        let (mut tensors, mut left_out) = (HashMap::new(), BTreeMap::new());
        for (file_idx, path) in files.iter().enumerate() {
            let in_file = if are_pickles {
                pickle::tensors(path, file_idx)?
            } else {
                safetensors(path, file_idx)?
            };
            for tensor in in_file {
                if let Some(part) = vision_part(&tensor.name) {
                    *left_out.entry(part).or_default() += 1;
                    continue;
                }
                if is_buffer(&tensor.name) {
                    continue;
                }
                let type_name = tensor.tensor_type.is_none().then_some(&*tensor.type_name);
                quantised::check_tensor(&tensor.name, type_name)?;
                let plain = plain_name(&tensor.name).to_owned();
                if let Some(twin) = tensors.insert(plain, tensor) {
                    let what = format!("has the tensor `{}` twice", twin.name);
                    return Err(Error::damaged(path, what));
                }
            }
        }
        Ok(Self { files, tensors, left_out })
    }

    /// The files that hold weights.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether the checkpoint has a tensor of that plain name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Checks that the checkpoint has exactly the planned tensors, in the right shapes. Returns
    /// notes on what is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], [`Error::UnknownTensor`].
    pub(crate) fn check(
        &self,
        family: Family,
        plan: &[PlannedTensor],
    ) -> Result<Vec<String>, Error> {
        for planned in plan {
            let tensor = self.tensor(&planned.source)?;
            if tensor.shape != planned.shape {
                let (name, expected) = (tensor.name.clone(), planned.shape.clone());
                return Err(Error::Shape { name, found: tensor.shape.clone(), expected });
            }
        }
        let known: BTreeSet<&str> = plan.iter().map(|planned| &*planned.source).collect();
        // Some checkpoints store a head although it is tied to the embedding.
        let others = self
            .tensors
            .iter()
            .filter(|(plain, _)| !known.contains(plain.as_str()) && *plain != "lm_head.weight");
        if let Some(name) = others.map(|(_, tensor)| &tensor.name).min() {
            let family = family.architecture();
            return Err(Error::UnknownTensor { name: name.clone(), family });
        }
        let parts = self.left_out.iter();
        let mut notes: Vec<String> =
            parts.map(|(part, n)| format!("{n} tensors of `{part}` are left out")).collect();
        if self.has("lm_head.weight") && !known.contains("lm_head.weight") {
            notes.push("`lm_head.weight` is left out: it is tied to the embedding".to_owned());
        }
        Ok(notes)
    }

    /// Finds the tensor of that plain name.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`].
    pub(crate) fn tensor(&self, name: &str) -> Result<&SourceTensor, Error> {
        let missing = || Error::MissingTensor { name: name.to_owned() };
        self.tensors.get(name).ok_or_else(missing)
    }

    /// Returns the type of the tensor of that plain name.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`], [`Error::Unsupported`] for a type that cannot be decoded.
    pub(crate) fn tensor_type(&self, name: &str) -> Result<TensorType, Error> {
        let tensor = self.tensor(name)?;
        tensor.tensor_type.ok_or_else(|| Error::Unsupported {
            what: format!("the type {} of the tensor `{}`", tensor.type_name, tensor.name),
        })
    }

    /// Returns a reader of the `n_bytes` bytes of the tensor of that plain name. Those in an
    /// archive are read here, all at once.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`], [`Error::Io`], [`Error::Damaged`].
    pub(crate) fn reader(&self, name: &str, n_bytes: usize) -> Result<TensorReader<'_>, Error> {
        let tensor = self.tensor(name)?;
        let path = &self.files[tensor.file_idx];
        match &tensor.location {
            DataLocation::File { offset } => TensorReader::at(path, &tensor.name, *offset),
            DataLocation::ArchiveEntry { entry, offset } => {
                let mut bytes = vec![0; n_bytes];
                pickle::read_entry(path, entry, *offset, &mut bytes)?;
                Ok(TensorReader::from_bytes(path, &tensor.name, bytes))
            }
        }
    }
}

/// Finds the files with the weights, and whether they are pickles.
fn shards(folder: &Path) -> Result<(Vec<PathBuf>, bool), Error> {
    for (single, are_pickles) in [("model.safetensors", false), ("pytorch_model.bin", true)] {
        let index = format!("{single}.index.json");
        if optional_json(folder, &index)?.is_some() {
            return Ok((indexed_shards(folder, &index)?, are_pickles));
        }
        if let Some(path) = input_file::find(folder, single)? {
            return Ok((vec![path], are_pickles));
        }
    }
    let what = "model.safetensors or pytorch_model.bin, nor an index of their shards".to_owned();
    Err(Error::MissingFile { folder: folder.to_owned(), what })
}

/// Finds the shards that an index lists.
fn indexed_shards(folder: &Path, index: &str) -> Result<Vec<PathBuf>, Error> {
    let json = read_json(folder, index)?;
    let path = folder.join(index);
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| Error::damaged(&path, "has no `weight_map`"))?;
    let names: BTreeSet<&str> = map.values().filter_map(|name| name.as_str()).collect();
    names
        .into_iter()
        .map(|name| {
            // An index must not refer to files outside its folder.
            let is_plain = Path::new(name).file_name() == Some(name.as_ref());
            if !is_plain {
                return Err(Error::damaged(&path, format!("lists the shard `{}`", quoted(name))));
            }
            let missing =
                || Error::MissingFile { folder: folder.to_owned(), what: name.to_owned() };
            input_file::find(folder, name)?.ok_or_else(missing)
        })
        .collect()
}

/// Lists the tensors of a safetensors file, and checks that the file has all their bytes.
fn safetensors(path: &Path, file_idx: usize) -> Result<Vec<SourceTensor>, Error> {
    let mut file = input_file::open(path)?;
    let total = file.metadata().map_err(Error::io(path))?.len();
    let truncated = || Error::damaged(path, "ends within its header");
    let mut len = [0; 8];
    file.read_exact(&mut len).map_err(|_| truncated())?;
    let len = u64::from_le_bytes(len);
    if len > MAX_HEADER_BYTES {
        return Err(Error::damaged(path, format!("has a header of {len} bytes")));
    }
    if len + 8 > total {
        return Err(truncated());
    }
    let mut header = vec![0; len as usize];
    file.read_exact(&mut header).map_err(|_| truncated())?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| Error::damaged(path, format!("is not safetensors: {error}")))?;
    let start = 8 + len;
    let infos = metadata.tensors();
    if let Some((name, _)) = infos
        .iter()
        .find(|(name, info)| name.len() > MAX_NAME_BYTES || info.shape.len() > MAX_DIMENSIONS)
    {
        return Err(Error::damaged(path, format!("has an invalid tensor `{}`", quoted(name))));
    }
    let mut tensors: Vec<_> = infos
        .into_iter()
        .map(|(name, info)| (start + info.data_offsets.1 as u64, start, name, info))
        .map(|(end, start, name, info)| {
            let tensor = SourceTensor {
                shape: info.shape.clone(),
                tensor_type: match info.dtype {
                    Dtype::F32 => Some(TensorType::F32),
                    Dtype::F16 => Some(TensorType::F16),
                    Dtype::BF16 => Some(TensorType::BF16),
                    _ => None,
                },
                type_name: format!("{:?}", info.dtype),
                file_idx,
                location: DataLocation::File { offset: start + info.data_offsets.0 as u64 },
                name,
            };
            (end, tensor)
        })
        .collect();
    tensors.sort_by_key(|(end, _)| *end);
    if let Some((end, tensor)) = tensors.iter().find(|(end, _)| *end > total) {
        let (name, missing) = (&tensor.name, end - total);
        let what = format!("ends {missing} bytes before the tensor `{name}` does");
        return Err(Error::damaged(path, what));
    }
    Ok(tensors.into_iter().map(|(_, tensor)| tensor).collect())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a14_weights_that_link_out_of_the_checkpoint_are_rejected() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("checkpoint");
        std::fs::create_dir(&folder).unwrap();
        let secret = outer.path().join("secret");
        std::fs::write(&secret, "{}").unwrap();
        std::os::unix::fs::symlink(&secret, folder.join("model.safetensors")).unwrap();
        assert!(matches!(Checkpoint::open(&folder), Err(Error::Io { .. })));
    }
}
