//! Where tensors come from: a checkpoint's shards of safetensors or pickles.
//!
//! Only heads are read when a source is opened. A tensor's bytes are read when it is converted, a piece
//! at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lilims_gguf::TensorType;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::config::{optional_json, read_json};
use crate::family::{Family, Planned, is_buffer, other_part, plain_name};
use crate::fields::quoted;
use crate::{Error, input_file, pickle, quantised};

/// The longest head of a safetensors file that is read, enough for 100,000 tensors; what it takes in
/// memory is a multiple. The reference implementation takes 100 MB.
const MAX_HEAD_BYTES: u64 = 16 << 20;
/// The most dimensions of a tensor, and the most bytes of its name, that are believed.
pub(crate) const MAX_DIMENSIONS: usize = 8;
pub(crate) const MAX_NAME_BYTES: usize = 1024;

/// A tensor of a checkpoint.
pub(crate) struct SourceTensor {
    /// Its name as the file has it.
    pub(crate) name: String,
    /// The slowest dimension first.
    pub(crate) shape: Vec<usize>,
    /// `None` for a type that cannot be decoded.
    pub(crate) tensor_type: Option<TensorType>,
    /// The type as its file calls it.
    pub(crate) type_name: String,
    /// Which of the checkpoint's files holds it.
    pub(crate) file_idx: usize,
    pub(crate) place: Place,
}

/// Where a tensor's bytes are in its file.
pub(crate) enum Place {
    /// At this byte.
    At(u64),
    /// In an entry of an archive, from a byte on.
    Entry { entry: String, start: u64 },
}

/// A tensor's bytes, from the first to the last.
pub(crate) struct TensorReader<'a> {
    path: &'a Path,
    name: &'a str,
    from: Box<dyn Read + 'a>,
}

impl<'a> TensorReader<'a> {
    /// Those of the tensor `name` of a file, from the byte `start` on.
    ///
    /// *Errors*: [`Error::Io`].
    pub(crate) fn at(path: &'a Path, name: &'a str, start: u64) -> Result<Self, Error> {
        let mut file = input_file::open(path)?;
        file.seek(SeekFrom::Start(start)).map_err(Error::io(path))?;
        Ok(Self { path, name, from: Box::new(file) })
    }

    /// Bytes that are in memory.
    pub(crate) fn of_bytes(path: &'a Path, name: &'a str, bytes: Vec<u8>) -> Self {
        Self { path, name, from: Box::new(Cursor::new(bytes)) }
    }

    /// The next `n_bytes`, in place of what `bytes` held.
    ///
    /// *Errors*: [`Error::Io`], [`Error::Damaged`] where the file ends before the tensor does.
    pub(crate) fn read(&mut self, n_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        bytes.clear();
        bytes.reserve_exact(n_bytes);
        let read = self.from.by_ref().take(n_bytes as u64).read_to_end(bytes);
        match read.map_err(Error::io(self.path))? {
            n if n == n_bytes => Ok(()),
            _ => Err(Error::damaged(self.path, format!("ends within the tensor `{}`", self.name))),
        }
    }
}

/// The weights of a checkpoint.
pub(crate) struct Checkpoint {
    files: Vec<PathBuf>,
    /// By their plain names.
    tensors: HashMap<String, SourceTensor>,
    /// Parts of the model that are none of the text model, and how many tensors each has.
    left_out: BTreeMap<&'static str, usize>,
}

impl Checkpoint {
    /// Reads the heads of the shards in `folder`.
    ///
    /// *Errors*: [`Error::MissingFile`] without weights or with a shard missing, [`Error::Damaged`],
    /// [`Error::UnsafePickle`].
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let (files, are_pickles) = shards(folder)?;
        let (mut tensors, mut left_out) = (HashMap::new(), BTreeMap::new());
        for (file_idx, path) in files.iter().enumerate() {
            let of_file = if are_pickles {
                pickle::tensors(path, file_idx)?
            } else {
                safetensors(path, file_idx)?
            };
            for tensor in of_file {
                if let Some(part) = other_part(&tensor.name) {
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
                    let what = format!("holds `{}` a second time", twin.name);
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

    /// Whether there is a tensor of that plain name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Checks that the planned tensors are what the checkpoint has, and all it has. Returns what is left
    /// out, a sentence each.
    ///
    /// *Errors*: [`Error::Shape`], [`Error::UnknownTensor`].
    pub(crate) fn check(&self, family: Family, plan: &[Planned]) -> Result<Vec<String>, Error> {
        for planned in plan {
            let tensor = self.tensor(&planned.source)?;
            if tensor.shape != planned.shape {
                let (name, expected) = (tensor.name.clone(), planned.shape.clone());
                return Err(Error::Shape { name, found: tensor.shape.clone(), expected });
            }
        }
        let known: BTreeSet<&str> = plan.iter().map(|planned| &*planned.source).collect();
        // The head may stand there although the embedding serves.
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
            notes.push("`lm_head.weight` is left out: the embedding is the head".to_owned());
        }
        Ok(notes)
    }

    /// The tensor of that plain name.
    ///
    /// *Errors*: [`Error::MissingTensor`].
    pub(crate) fn tensor(&self, name: &str) -> Result<&SourceTensor, Error> {
        let missing = || Error::MissingTensor { name: name.to_owned() };
        self.tensors.get(name).ok_or_else(missing)
    }

    /// The type of the tensor of that plain name.
    ///
    /// *Errors*: [`Error::MissingTensor`], [`Error::Unsupported`].
    pub(crate) fn tensor_type(&self, name: &str) -> Result<TensorType, Error> {
        let tensor = self.tensor(name)?;
        tensor.tensor_type.ok_or_else(|| Error::Unsupported {
            what: format!("the type {} of the tensor `{}`", tensor.type_name, tensor.name),
        })
    }

    /// The bytes of the tensor of that plain name, of which there are `n_bytes`. Those in an archive
    /// are read at once.
    ///
    /// *Errors*: [`Error::MissingTensor`], [`Error::Io`], [`Error::Damaged`].
    pub(crate) fn reader(&self, name: &str, n_bytes: usize) -> Result<TensorReader<'_>, Error> {
        let tensor = self.tensor(name)?;
        let path = &self.files[tensor.file_idx];
        match &tensor.place {
            Place::At(start) => TensorReader::at(path, &tensor.name, *start),
            Place::Entry { entry, start } => {
                let mut bytes = vec![0; n_bytes];
                pickle::read_entry(path, entry, *start, &mut bytes)?;
                Ok(TensorReader::of_bytes(path, &tensor.name, bytes))
            }
        }
    }
}

/// The files that hold the weights, and whether they are pickles.
fn shards(folder: &Path) -> Result<(Vec<PathBuf>, bool), Error> {
    for (single, are_pickles) in [("model.safetensors", false), ("pytorch_model.bin", true)] {
        let index = format!("{single}.index.json");
        if optional_json(folder, &index)?.is_some() {
            return Ok((indexed(folder, &index)?, are_pickles));
        }
        if let Some(path) = input_file::find(folder, single)? {
            return Ok((vec![path], are_pickles));
        }
    }
    let what = "model.safetensors or pytorch_model.bin, nor an index of shards".to_owned();
    Err(Error::MissingFile { folder: folder.to_owned(), what })
}

/// The shards that an index names.
fn indexed(folder: &Path, index: &str) -> Result<Vec<PathBuf>, Error> {
    let json = read_json(folder, index)?;
    let path = folder.join(index);
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| Error::damaged(&path, "has no `weight_map`"))?;
    let names: BTreeSet<&str> = map.values().filter_map(|name| name.as_str()).collect();
    names
        .into_iter()
        .map(|name| {
            // An index must not lead out of its folder.
            let is_plain = Path::new(name).file_name() == Some(name.as_ref());
            if !is_plain {
                return Err(Error::damaged(&path, format!("names the shard `{}`", quoted(name))));
            }
            let missing =
                || Error::MissingFile { folder: folder.to_owned(), what: name.to_owned() };
            input_file::find(folder, name)?.ok_or_else(missing)
        })
        .collect()
}

/// The tensors that a safetensors file announces, once it is long enough for all of them.
fn safetensors(path: &Path, file_idx: usize) -> Result<Vec<SourceTensor>, Error> {
    let mut file = input_file::open(path)?;
    let total = file.metadata().map_err(Error::io(path))?.len();
    let truncated = || Error::damaged(path, "ends within its head");
    let mut len = [0; 8];
    file.read_exact(&mut len).map_err(|_| truncated())?;
    let len = u64::from_le_bytes(len);
    if len > MAX_HEAD_BYTES {
        return Err(Error::damaged(path, format!("announces a head of {len} bytes")));
    }
    if len + 8 > total {
        return Err(truncated());
    }
    let mut head = vec![0; len as usize];
    file.read_exact(&mut head).map_err(|_| truncated())?;
    let metadata: Metadata = serde_json::from_slice(&head)
        .map_err(|error| Error::damaged(path, format!("is not safetensors: {error}")))?;
    let start = 8 + len;
    let infos = metadata.tensors();
    if let Some((name, _)) = infos
        .iter()
        .find(|(name, info)| name.len() > MAX_NAME_BYTES || info.shape.len() > MAX_DIMENSIONS)
    {
        return Err(Error::damaged(path, format!("describes the tensor `{}`", quoted(name))));
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
                place: Place::At(start + info.data_offsets.0 as u64),
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
