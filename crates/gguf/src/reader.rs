//! Opens a file, checks every length in it and indexes what it holds.

#![expect(unsafe_code, reason = "mapping a file is unsafe: see `File::open`")]

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use crate::metadata::{ARRAY, STRING, fixed_size};
use crate::{Error, Metadata, TensorType};

/// What a file begins with.
const MAGIC: &[u8] = b"GGUF";
/// Arrays nested deeper than this are refused, so that reading cannot exhaust the stack.
const MAX_ARRAY_DEPTH: u32 = 4;
/// GGUF stores at most this many dimensions.
const MAX_DIMS: u32 = 4;
/// Where tensor data starts and each tensor's offset are multiples of this, unless the file says.
const DEFAULT_ALIGNMENT: u64 = 32;
/// The bytes of the shortest metadata entry: key length, empty key, type, one byte.
const MIN_ENTRY_BYTES: u64 = 8 + 4 + 1;
/// The bytes of the shortest tensor entry: name length, empty name, no dimensions, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;

/// Where a metadata value lies in the file.
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) type_id: u32,
    pub(crate) value: Range<usize>,
}

/// What a file says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Its dimensions, the fastest first: a matrix is `[columns, rows]`.
    pub dims: Vec<u64>,
    /// How its values are stored.
    pub tensor_type: TensorType,
    /// Its values in all.
    pub n_values: u64,
    /// Its size in bytes; 0 where the type is unknown.
    pub size_bytes: u64,
    /// Where its data starts in the file.
    offset: u64,
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

/// An open GGUF file, or one of which only the first bytes are held.
pub struct File {
    bytes: Bytes,
    /// The file's length, of which `bytes` may be the beginning.
    total_bytes: u64,
    version: u32,
    entries: Vec<Entry>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

impl File {
    /// Maps the file at `path` and checks it.
    ///
    /// *Errors*: [`Error::Io`], or what [`File::from_bytes`] finds.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(io(std::io::Error::other("not a regular file")));
        }
        // SAFETY: the map is read only. A file that another program shortens while it is mapped
        // raises SIGBUS; model files are replaced by rename, never rewritten in place.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let total_bytes = map.len() as u64;
        Self::index(Bytes::Mapped(map), total_bytes)
    }

    /// Reads a file that is already in memory.
    ///
    /// *Errors*: every variant but [`Error::Io`] and [`Error::PrefixTooShort`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let total_bytes = bytes.len() as u64;
        Self::index(Bytes::Owned(bytes), total_bytes)
    }

    /// Reads the header of a file of `total_bytes`, of which only the first bytes are there: what it
    /// says of itself before it is downloaded. Metadata and tensors are those of the whole file, and
    /// tensors are checked against its length; only [`File::data`] is refused. Bytes after the file's
    /// end are ignored.
    ///
    /// *Errors*: [`Error::PrefixTooShort`] when the header goes on after `prefix`, which
    /// [`next_header_bytes`](crate::next_header_bytes) turns into what to fetch; otherwise as for
    /// [`File::from_bytes`], and then more bytes would not help.
    pub fn from_header(mut prefix: Vec<u8>, total_bytes: u64) -> Result<Self, Error> {
        prefix.truncate(usize::try_from(total_bytes).unwrap_or(usize::MAX));
        Self::index(Bytes::Owned(prefix), total_bytes)
    }

    fn index(bytes: Bytes, total_bytes: u64) -> Result<Self, Error> {
        let mut file = Self {
            bytes,
            total_bytes,
            version: 0,
            entries: vec![],
            tensors: vec![],
            by_name: HashMap::new(),
        };
        let mut reader = Reader { bytes: file.as_bytes(), total_bytes, offset: 0 };
        let (version, n_tensors, n_entries) = reader.header()?;
        let entries = reader.entries(n_entries)?;
        let mut tensors = reader.tensors(n_tensors)?;
        let metadata = Metadata { bytes: file.as_bytes(), entries: &entries };
        let alignment = match metadata.get("general.alignment") {
            Some(value) => value.as_u64().filter(|a| a.is_power_of_two()).ok_or_else(|| {
                reader.invalid("general.alignment is not a power of two".to_owned())
            })?,
            None => DEFAULT_ALIGNMENT,
        };
        let data_start = reader
            .offset
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| reader.invalid("the alignment is too large".to_owned()))?;
        for tensor in &mut tensors {
            place(tensor, data_start, alignment, total_bytes)?;
        }
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (idx, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name.clone(), idx).is_some() {
                return Err(reader.invalid(format!("tensor `{}` appears twice", tensor.name)));
            }
        }
        file.version = version;
        file.entries = entries;
        file.tensors = tensors;
        file.by_name = by_name;
        Ok(file)
    }

    /// The file's length in bytes, also where only its header is held.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The whole file, or what is held of it after [`File::from_header`].
    pub fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(vec) => vec,
        }
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata { bytes: self.as_bytes(), entries: &self.entries }
    }

    /// All tensors in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`.
    ///
    /// *Errors*: [`Error::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo, Error> {
        let idx = self.by_name.get(name);
        idx.map(|&idx| &self.tensors[idx])
            .ok_or_else(|| Error::MissingTensor { name: name.to_owned() })
    }

    /// A tensor's data, borrowed from the map.
    ///
    /// *Errors*: [`Error::UnknownTensorType`]; [`Error::HeaderOnly`] where not the whole file is held.
    pub fn data(&self, tensor: &TensorInfo) -> Result<&[u8], Error> {
        if let TensorType::Unknown(type_id) = tensor.tensor_type {
            return Err(Error::UnknownTensorType { name: tensor.name.clone(), type_id });
        }
        if (self.as_bytes().len() as u64) < self.total_bytes {
            return Err(Error::HeaderOnly { name: tensor.name.clone() });
        }
        let missing = || Error::MissingTensor { name: tensor.name.clone() };
        let start = usize::try_from(tensor.offset).map_err(|_| missing())?;
        let len = usize::try_from(tensor.size_bytes).map_err(|_| missing())?;
        self.as_bytes().get(start..).and_then(|rest| rest.get(..len)).ok_or_else(missing)
    }
}

/// Turns a tensor's relative offset into one of the file and checks that its data is there.
fn place(
    tensor: &mut TensorInfo,
    data_start: u64,
    alignment: u64,
    total: u64,
) -> Result<(), Error> {
    let invalid =
        |what: &str| Error::Invalid { what: format!("tensor `{}` {what}", tensor.name), offset: 0 };
    if !tensor.offset.is_multiple_of(alignment) {
        return Err(invalid("does not start at a multiple of the alignment"));
    }
    let offset =
        data_start.checked_add(tensor.offset).ok_or_else(|| invalid("starts past the end"))?;
    if !matches!(tensor.tensor_type, TensorType::Unknown(_)) {
        let row = tensor.dims.first().copied().unwrap_or(1);
        let rows = tensor.n_values.checked_div(row).unwrap_or(0);
        tensor.size_bytes = tensor
            .tensor_type
            .size_bytes(row)
            .and_then(|bytes| bytes.checked_mul(rows))
            .ok_or_else(|| invalid("has rows that are not whole blocks"))?;
    }
    let left = total.saturating_sub(offset);
    if tensor.size_bytes > left {
        return Err(Error::Truncated {
            what: "tensor data",
            offset,
            needed: tensor.size_bytes,
            left,
        });
    }
    tensor.offset = offset;
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The file's length, of which `bytes` may be the beginning.
    total_bytes: u64,
    offset: u64,
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Result<(u32, u64, u64), Error> {
        let magic = &self.bytes[..self.bytes.len().min(MAGIC.len())];
        // So far as it goes: of a prefix, the rest may follow.
        if !MAGIC.starts_with(magic) || self.total_bytes < MAGIC.len() as u64 {
            return Err(Error::Magic { found: magic.to_vec() });
        }
        self.take("magic", MAGIC.len() as u64)?;
        let version = self.u32("version")?;
        if !(2..=3).contains(&version) {
            return Err(Error::Version { version });
        }
        let n_tensors = self.count("tensor count", MIN_TENSOR_BYTES)?;
        let n_entries = self.count("metadata count", MIN_ENTRY_BYTES)?;
        Ok((version, n_tensors, n_entries))
    }

    fn entries(&mut self, count: u64) -> Result<Vec<Entry>, Error> {
        let mut seen = std::collections::HashSet::new();
        (0..count)
            .map(|_| {
                let key = self.text("metadata key")?;
                if !seen.insert(key.clone()) {
                    return Err(self.invalid(format!("metadata key `{key}` appears twice")));
                }
                let type_id = self.u32("metadata type")?;
                let start = self.offset as usize;
                self.skip_value(type_id, 0)?;
                Ok(Entry { key, type_id, value: start..self.offset as usize })
            })
            .collect()
    }

    fn tensors(&mut self, count: u64) -> Result<Vec<TensorInfo>, Error> {
        (0..count).map(|_| self.tensor()).collect()
    }

    fn tensor(&mut self) -> Result<TensorInfo, Error> {
        let name = self.text("tensor name")?;
        let n_dims = self.u32("tensor dimensions")?;
        if n_dims > MAX_DIMS {
            return Err(self.invalid(format!("tensor `{name}` has {n_dims} dimensions")));
        }
        let dims =
            (0..n_dims).map(|_| self.u64("tensor dimension")).collect::<Result<Vec<_>, _>>()?;
        let n_values = dims
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim))
            .ok_or_else(|| self.invalid(format!("tensor `{name}` is too large")))?;
        let tensor_type = TensorType::from_id(self.u32("tensor type")?);
        let offset = self.u64("tensor offset")?;
        Ok(TensorInfo { name, dims, tensor_type, n_values, size_bytes: 0, offset })
    }

    fn skip_value(&mut self, type_id: u32, depth: u32) -> Result<(), Error> {
        if let Some(size) = fixed_size(type_id) {
            return self.take("metadata value", size).map(drop);
        }
        match type_id {
            STRING => {
                let len = self.u64("string length")?;
                self.take("string", len).map(drop)
            }
            ARRAY if depth < MAX_ARRAY_DEPTH => {
                let inner = self.u32("array type")?;
                match fixed_size(inner) {
                    Some(size) => {
                        let len = self.count("array length", size)?;
                        self.take("array", len * size).map(drop)
                    }
                    None => {
                        let len = self.count("array length", 8)?;
                        (0..len).try_for_each(|_| self.skip_value(inner, depth + 1))
                    }
                }
            }
            ARRAY => Err(self.invalid("arrays are nested too deeply".to_owned())),
            _ => Err(self.invalid(format!("unknown metadata type {type_id}"))),
        }
    }

    /// Reads a count of things that take at least `min_bytes` each, which must fit what is left.
    fn count(&mut self, what: &'static str, min_bytes: u64) -> Result<u64, Error> {
        let count = self.u64(what)?;
        self.expect_left(what, count.saturating_mul(min_bytes))?;
        Ok(count)
    }

    fn text(&mut self, what: &'static str) -> Result<String, Error> {
        let len = self.u64(what)?;
        let bytes = self.take(what, len)?;
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        text.map_err(|_| self.invalid(format!("{what} is not UTF-8")))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        let bytes = self.take(what, 4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("take returns the length asked for")))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        let bytes = self.take(what, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("take returns the length asked for")))
    }

    fn take(&mut self, what: &'static str, needed: u64) -> Result<&'a [u8], Error> {
        self.expect_left(what, needed)?;
        let start = self.offset as usize;
        self.offset += needed;
        Ok(&self.bytes[start..self.offset as usize])
    }

    /// Checks that `needed` bytes are held from here on.
    fn expect_left(&self, what: &'static str, needed: u64) -> Result<(), Error> {
        let offset = self.offset;
        if needed <= self.bytes.len() as u64 - offset {
            return Ok(());
        }
        let left = self.total_bytes - offset;
        if needed > left {
            return Err(Error::Truncated { what, offset, needed, left });
        }
        Err(Error::PrefixTooShort { needed_bytes: offset + needed })
    }

    fn invalid(&self, what: String) -> Error {
        Error::Invalid { what, offset: self.offset }
    }
}
