//! Opens a file, checks every length in it and indexes its metadata and tensors.
//!
//! Values are decoded in `metadata`, tensor data in `lilims-quant`.

#![expect(unsafe_code, reason = "mapping a file is unsafe: see `File::open`")]

use std::hint::black_box;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lilims_files::Stamp;
use memmap2::{Mmap, MmapOptions};

use crate::guard::Guard;
use crate::metadata::{ARRAY, Entry, STRING, fixed_size};
use crate::{Error, Metadata, TensorType, quoted};

const MAGIC: &[u8] = b"GGUF";
/// The smallest page size of any supported system.
const PAGE_BYTES: usize = 4096;
/// Arrays nested deeper than this are refused, so that reading cannot exhaust the stack.
const MAX_ARRAY_DEPTH: u32 = 4;
/// GGUF stores at most this many dimensions.
const MAX_DIMS: u32 = 4;
/// The start of the tensor data and all tensor offsets are multiples of this, unless the file sets
/// `general.alignment`.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Size of the shortest metadata entry: key length, empty key, type, one byte.
const MIN_ENTRY_BYTES: u64 = 8 + 4 + 1;
/// Size of the shortest tensor entry: name length, empty name, no dimensions, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;

/// The most metadata keys: a thousand times what files have. Many more would make lookups slow.
const MAX_ENTRIES: u64 = 1 << 16;
/// The most tensors: several times what the largest models have.
const MAX_TENSORS: u64 = 1 << 17;
/// The longest key and tensor name, in bytes: what GGUF allows for a key.
const MAX_NAME_BYTES: u64 = u16::MAX as u64;

/// A tensor's description in the file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// The dimensions, fastest-varying first: a matrix is `[columns, rows]`.
    pub dims: Vec<u64>,
    /// How the values are stored.
    pub tensor_type: TensorType,
    /// The total number of values.
    pub n_values: u64,
    /// The size in bytes; 0 where the type is unknown.
    pub size_bytes: u64,
    /// Offset of the data in the file.
    offset: u64,
}

enum Bytes {
    Mapped(Mapped),
    Owned(Vec<u8>),
}

/// A memory map of a file, and what is needed to detect changes of the file.
struct Mapped {
    // Dropped in this order: once unmapped, the addresses may be reused, and the guard must not
    // cover them any more.
    guard: Guard,
    map: Mmap,
    file: std::fs::File,
    stamp: Stamp,
    path: PathBuf,
}

impl Mapped {
    /// # Errors
    /// [`Error::Io`], [`Error::Empty`].
    fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = lilims_files::open(path).map_err(|error| io(error.into()))?;
        let stamp = Stamp::of(&file).map_err(io)?;
        if stamp.size_bytes() == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        let len = usize::try_from(stamp.size_bytes());
        let len = len.map_err(|_| io(std::io::ErrorKind::FileTooLarge.into()))?;
        // SAFETY: the map is read-only. If another program truncates the file while it is mapped,
        // reads return zeros, thanks to the guard. If another program writes to it, reads return
        // other bytes than before, as reading a file twice can; they are only ever interpreted as
        // plain bytes. `check_unchanged` detects both.
        let map = unsafe { MmapOptions::new().len(len).map(&file) }.map_err(io)?;
        // Fewer page faults and misses of the TLB; older kernels refuse it or do nothing.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { guard: Guard::new(&map), map, file, stamp, path: path.to_owned() })
    }

    fn is_changed(&self) -> bool {
        // If the file's metadata is unavailable, only the guard's flag can show a change.
        self.guard.is_damaged() || Stamp::of(&self.file).is_ok_and(|stamp| stamp != self.stamp)
    }
}

/// An open GGUF file, or a prefix of one that holds its header.
pub struct File {
    bytes: Bytes,
    /// The length of the whole file; `bytes` may be a prefix.
    total_bytes: u64,
    version: u32,
    entries: Vec<Entry>,
    /// Indices into `entries`, sorted by key.
    by_key: Vec<u32>,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, sorted by name.
    by_name: Vec<u32>,
}

impl File {
    /// Maps the file at `path` and checks it.
    ///
    /// # Errors
    /// [`Error::Io`], also if `path` is not a regular file; [`Error::Empty`]; [`Error::Changed`];
    /// and the errors of [`File::from_bytes`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mapped = Mapped::open(path)?;
        let total_bytes = mapped.map.len() as u64;
        let (again, stamp) = (mapped.file.try_clone(), mapped.stamp);
        let file = Self::index(Bytes::Mapped(mapped), total_bytes).map_err(|error| {
            // What was cut off while it was read looks like damage.
            let now = again.and_then(|again| Stamp::of(&again));
            let is_changed = now.is_ok_and(|now| now != stamp);
            if is_changed { Error::Changed { path: path.to_owned() } } else { error }
        })?;
        file.check_unchanged()?;
        Ok(file)
    }

    /// Checks that the file was not truncated or written to since it was opened.
    ///
    /// Code that computes with the data calls this before it returns a result; it costs one system
    /// call. Replacing the file by renaming another one over it does not change the open one.
    ///
    /// # Errors
    /// [`Error::Changed`]; the data read so far may then be wrong.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        match &self.bytes {
            Bytes::Mapped(mapped) if mapped.is_changed() => {
                Err(Error::Changed { path: mapped.path.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether a read went past the end of a truncated file and returned zeros.
    ///
    /// Cheaper than [`File::check_unchanged`], but detects only truncation.
    pub fn is_damaged(&self) -> bool {
        matches!(&self.bytes, Bytes::Mapped(mapped) if mapped.guard.is_damaged())
    }

    /// Reads a file that is already in memory.
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::Version`], [`Error::Truncated`] or [`Error::Invalid`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let total_bytes = bytes.len() as u64;
        Self::index(Bytes::Owned(bytes), total_bytes)
    }

    /// Reads the header from a prefix of a file of `total_bytes`, to inspect it before it is
    /// downloaded.
    ///
    /// Metadata and tensors are those of the whole file, and tensors are checked against its
    /// length; only [`File::data`] fails. Bytes of `prefix` beyond `total_bytes` are ignored.
    ///
    /// # Errors
    /// [`Error::PrefixTooShort`] when the header is longer than `prefix`;
    /// [`next_header_bytes`](crate::next_header_bytes) then says how much to fetch. Otherwise as
    /// for [`File::from_bytes`], and more bytes would not help.
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
            by_key: vec![],
            tensors: vec![],
            by_name: vec![],
        };
        let mut reader = Reader { bytes: file.as_bytes(), total_bytes, offset: 0 };
        let (version, n_tensors, n_entries) = reader.header()?;
        let entries = reader.entries(n_entries)?;
        let by_key = reader.by_key(&entries)?;
        let mut tensors = reader.tensors(n_tensors)?;
        let metadata = Metadata { bytes: file.as_bytes(), entries: &entries, by_key: &by_key };
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
            resolve_data(tensor, data_start, alignment, total_bytes)?;
        }
        let mut by_name: Vec<u32> = (0..tensors.len() as u32).collect();
        by_name.sort_unstable_by_key(|&idx| &tensors[idx as usize].name);
        let name = |idx: u32| &tensors[idx as usize].name;
        if let Some(twice) = by_name.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
            let name = quoted(name(twice[0]));
            return Err(reader.invalid(format!("tensor `{name}` appears twice")));
        }
        refuse_overlaps(&tensors)?;
        file.version = version;
        file.entries = entries;
        file.by_key = by_key;
        file.tensors = tensors;
        file.by_name = by_name;
        Ok(file)
    }

    /// The length of the whole file in bytes, even if only its header was read.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The whole file, or the prefix passed to [`File::from_header`].
    pub fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapped) => &mapped.map,
            Bytes::Owned(vec) => vec,
        }
    }

    /// Reads a range of bytes from the disk, so that using them later waits less.
    ///
    /// # Panics
    /// If the range exceeds the file.
    pub fn preload(&self, range: Range<usize>) {
        let bytes = &self.as_bytes()[range.clone()];
        #[cfg(target_os = "linux")]
        if let Bytes::Mapped(mapped) = &self.bytes {
            let read = memmap2::Advice::PopulateRead;
            if mapped.map.advise_range(read, range.start, range.len()).is_ok() {
                return;
            }
        }
        bytes.iter().step_by(PAGE_BYTES).for_each(|byte| {
            black_box(*byte);
        });
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata { bytes: self.as_bytes(), entries: &self.entries, by_key: &self.by_key }
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo, Error> {
        let tensor = |idx: u32| &self.tensors[idx as usize];
        let found = self.by_name.binary_search_by(|&idx| tensor(idx).name.as_str().cmp(name));
        found
            .map(|position| tensor(self.by_name[position]))
            .map_err(|_| Error::MissingTensor { name: quoted(name).into_owned() })
    }

    /// A tensor's data, borrowed from the map.
    ///
    /// # Errors
    /// [`Error::UnknownTensorType`]; [`Error::HeaderOnly`] after [`File::from_header`].
    pub fn data(&self, tensor: &TensorInfo) -> Result<&[u8], Error> {
        if let TensorType::Unknown(type_id) = tensor.tensor_type {
            let name = quoted(&tensor.name).into_owned();
            return Err(Error::UnknownTensorType { name, type_id });
        }
        if (self.as_bytes().len() as u64) < self.total_bytes {
            return Err(Error::HeaderOnly { name: quoted(&tensor.name).into_owned() });
        }
        let missing = || Error::MissingTensor { name: quoted(&tensor.name).into_owned() };
        let start = usize::try_from(tensor.offset).map_err(|_| missing())?;
        let len = usize::try_from(tensor.size_bytes).map_err(|_| missing())?;
        self.as_bytes().get(start..).and_then(|rest| rest.get(..len)).ok_or_else(missing)
    }
}

/// Turns a tensor's offset into one from the start of the file, computes its size, and checks that
/// its data fits into the file.
fn resolve_data(
    tensor: &mut TensorInfo,
    data_start: u64,
    alignment: u64,
    total: u64,
) -> Result<(), Error> {
    let name = tensor.name.clone();
    let invalid = |what: &str| Error::Invalid {
        what: format!("tensor `{}` {what}", quoted(&name)),
        offset: 0,
    };
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
            .ok_or_else(|| invalid("has rows that are not a whole number of blocks"))?;
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

/// Checks that no two tensors share bytes: otherwise a small file could declare any number of large
/// tensors.
fn refuse_overlaps(tensors: &[TensorInfo]) -> Result<(), Error> {
    let mut sized: Vec<&TensorInfo> = tensors.iter().filter(|it| it.size_bytes > 0).collect();
    sized.sort_unstable_by_key(|tensor| tensor.offset);
    let overlap =
        sized.windows(2).find(|pair| pair[0].offset + pair[0].size_bytes > pair[1].offset);
    match overlap {
        Some(pair) => {
            let [a, b] = [quoted(&pair[0].name), quoted(&pair[1].name)];
            let what = format!("tensors `{a}` and `{b}` overlap");
            Err(Error::Invalid { what, offset: pair[1].offset })
        }
        None => Ok(()),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The length of the whole file; `bytes` may be a prefix.
    total_bytes: u64,
    offset: u64,
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Result<(u32, u64, u64), Error> {
        let magic = &self.bytes[..self.bytes.len().min(MAGIC.len())];
        // A prefix shorter than the magic may still be that of a GGUF file.
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
        for (count, most, what) in
            [(n_tensors, MAX_TENSORS, "tensors"), (n_entries, MAX_ENTRIES, "metadata keys")]
        {
            if count > most {
                return Err(self.invalid(format!("{count} {what}, the limit is {most}")));
            }
        }
        Ok((version, n_tensors, n_entries))
    }

    fn entries(&mut self, count: u64) -> Result<Vec<Entry>, Error> {
        (0..count)
            .map(|_| {
                let len = self.text("metadata key")?.len();
                let end = self.offset as usize;
                let key = end - len..end;
                let type_id = self.u32("metadata type")?;
                let start = self.offset as usize;
                self.skip_value(type_id, 0)?;
                Ok(Entry { key, type_id, value: start..self.offset as usize })
            })
            .collect()
    }

    /// The indices of the entries, sorted by key. Duplicate keys are an error.
    fn by_key(&self, entries: &[Entry]) -> Result<Vec<u32>, Error> {
        let key = |idx: u32| &self.bytes[entries[idx as usize].key.clone()];
        let mut by_key: Vec<u32> = (0..entries.len() as u32).collect();
        by_key.sort_unstable_by(|&a, &b| key(a).cmp(key(b)));
        match by_key.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            Some(twice) => {
                let name = String::from_utf8_lossy(key(twice[0]));
                Err(self.invalid(format!("metadata key `{}` appears twice", quoted(&name))))
            }
            None => Ok(by_key),
        }
    }

    fn tensors(&mut self, count: u64) -> Result<Vec<TensorInfo>, Error> {
        (0..count).map(|_| self.tensor()).collect()
    }

    fn tensor(&mut self) -> Result<TensorInfo, Error> {
        let name = self.text("tensor name")?.to_owned();
        let n_dims = self.u32("tensor dimensions")?;
        if n_dims > MAX_DIMS {
            return Err(self.invalid(format!("tensor `{}` has {n_dims} dimensions", quoted(&name))));
        }
        let dims =
            (0..n_dims).map(|_| self.u64("tensor dimension")).collect::<Result<Vec<_>, _>>()?;
        let n_values = dims
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim))
            .ok_or_else(|| self.invalid(format!("tensor `{}` is too large", quoted(&name))))?;
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

    /// Reads a count of items of at least `min_bytes` each and checks that the rest of the file can
    /// hold that many.
    fn count(&mut self, what: &'static str, min_bytes: u64) -> Result<u64, Error> {
        let count = self.u64(what)?;
        self.expect_left(what, count.saturating_mul(min_bytes))?;
        Ok(count)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, Error> {
        let len = self.u64(what)?;
        let bytes = self.take(what, len)?;
        if len > MAX_NAME_BYTES {
            return Err(self.invalid(format!("{what} of {len} bytes")));
        }
        std::str::from_utf8(bytes).map_err(|_| self.invalid(format!("{what} is not UTF-8")))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        let bytes = self.take(what, 4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("`take` returns the requested length")))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        let bytes = self.take(what, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("`take` returns the requested length")))
    }

    fn take(&mut self, what: &'static str, needed: u64) -> Result<&'a [u8], Error> {
        self.expect_left(what, needed)?;
        let start = self.offset as usize;
        self.offset += needed;
        Ok(&self.bytes[start..self.offset as usize])
    }

    /// Checks that at least `needed` bytes are available from the current offset.
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
