//! Reads PyTorch's `*.bin`: a ZIP archive with a pickle that describes tensors, and their bytes.
//!
//! A pickle is a program. This interprets the few opcodes that a dictionary of tensors needs and
//! rejects every global but those of tensors, so nothing in the file runs here, and a file that
//! would run something when it is loaded elsewhere is noticed. Opcodes:
//! <https://github.com/python/cpython/blob/main/Lib/pickletools.py>.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use lilims_gguf::TensorType;
use zip::{CompressionMethod, ZipArchive};

use crate::quote::quoted;
use crate::source_tensor::{DataLocation, MAX_DIMENSIONS, MAX_NAME_BYTES, SourceTensor};
use crate::{Error, input_file};

/// The largest pickle that is read.
const MAX_PICKLE_BYTES: u64 = 4 << 20;
/// The deepest nesting that is accepted; the description of a tensor needs half of it.
const MAX_DEPTH: u8 = 16;
/// The most entries of an archive; each tensor has one.
const MAX_ENTRIES: usize = 1 << 17;
/// The globals that descriptions of tensors use.
const ALLOWED_GLOBALS: [(&str, &str); 4] = [
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("collections", "OrderedDict"),
];
/// Storage classes, the type of their values where it can be decoded, and a value's size in bytes.
const STORAGES: [(&str, Option<TensorType>, u64); 9] = [
    ("FloatStorage", Some(TensorType::F32), 4),
    ("HalfStorage", Some(TensorType::F16), 2),
    ("BFloat16Storage", Some(TensorType::BF16), 2),
    ("DoubleStorage", None, 8),
    ("LongStorage", None, 8),
    ("IntStorage", None, 4),
    ("ShortStorage", None, 2),
    ("ByteStorage", None, 1),
    ("BoolStorage", None, 1),
];

/// Lists the tensors of the file at `path`, which has the index `file_idx` in the checkpoint.
///
/// # Errors
///
/// [`Error::UnsafePickle`], [`Error::Damaged`], [`Error::Io`].
pub(crate) fn tensors(path: &Path, file_idx: usize) -> Result<Vec<SourceTensor>, Error> {
    let mut archive = open(path)?;
    let name = archive
        .file_names()
        .filter_map(|name| name.ok().map(|name| name.into_owned()))
        .find(|name| name.ends_with("/data.pkl") || name == "data.pkl");
    let name = name.ok_or_else(|| Error::damaged(path, "has no pickle (`data.pkl`)"))?;
    let mut pickle = Vec::new();
    let entry = archive.by_name(&name).map_err(|error| fault(path, &error))?;
    entry.take(MAX_PICKLE_BYTES + 1).read_to_end(&mut pickle).map_err(Error::io(path))?;
    if pickle.len() as u64 > MAX_PICKLE_BYTES {
        let what = format!("has a pickle of more than {MAX_PICKLE_BYTES} bytes");
        return Err(Error::damaged(path, what));
    }
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    let mut unpickler = Unpickler { path, bytes: &pickle, ..Unpickler::default() };
    unpickler.run()?;
    let mut names = HashSet::new();
    let tensors: Result<Vec<_>, Error> = std::mem::take(&mut unpickler.entries)
        .into_iter()
        .map(|(name, value)| {
            let wrong = || {
                let name = quoted(&name);
                Error::damaged(path, format!("has an invalid description of the tensor `{name}`"))
            };
            // A pickle shares names and shapes between tensors, so each tensor's copy must be
            // small.
            let is_new = name.len() <= MAX_NAME_BYTES && names.insert(Rc::clone(&name));
            let tensor = if is_new { tensor(&name, &value, folder, file_idx) } else { None };
            tensor.ok_or_else(wrong)
        })
        .collect();
    let tensors = tensors?;
    let file_bytes = input_file::open(path)?.metadata().map_err(Error::io(path))?.len();
    for tensor in &tensors {
        check_entry(path, &mut archive, file_bytes, tensor)?;
    }
    Ok(tensors)
}

/// Checks that the archive has all of a tensor's bytes, before memory is allocated for them.
fn check_entry(
    path: &Path,
    archive: &mut ZipArchive<BufReader<File>>,
    file_bytes: u64,
    tensor: &SourceTensor,
) -> Result<(), Error> {
    let DataLocation::ArchiveEntry { entry, offset } = &tensor.location else { return Ok(()) };
    let available = {
        let entry = archive.by_name(entry).map_err(|error| fault(path, &error))?;
        // PyTorch does not compress, and the uncompressed size of a compressed entry cannot be
        // trusted.
        if entry.compression() != CompressionMethod::Stored {
            let name = quoted(&tensor.name);
            return Err(Error::damaged(path, format!("compresses the tensor `{name}`")));
        }
        entry.size().min(entry.compressed_size()).min(file_bytes)
    };
    // The product was checked for overflow when the shape was read.
    let n_values = tensor.shape.iter().product::<usize>() as u64;
    let size = tensor.tensor_type.map_or(Some(0), |ty| ty.size_bytes(n_values));
    match size.and_then(|size| size.checked_add(*offset)) {
        Some(end) if end <= available => Ok(()),
        _ => Err(Error::damaged(path, format!("ends within the tensor `{}`", tensor.name))),
    }
}

/// Fills `bytes` from an entry of the archive, from `offset` on.
pub(crate) fn read_entry(
    path: &Path,
    entry: &str,
    offset: u64,
    bytes: &mut [u8],
) -> Result<(), Error> {
    let mut archive = open(path)?;
    let mut reader = archive.by_name(entry).map_err(|error| fault(path, &error))?;
    let skipped = std::io::copy(&mut reader.by_ref().take(offset), &mut std::io::sink());
    let read = skipped.and_then(|_| reader.read_exact(bytes));
    read.map_err(|error| Error::damaged(path, format!("ends within `{entry}`: {error}")))
}

fn open(path: &Path) -> Result<ZipArchive<BufReader<File>>, Error> {
    let file = input_file::open(path)?;
    let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| fault(path, &error))?;
    if archive.len() > MAX_ENTRIES {
        return Err(Error::damaged(path, format!("has {} entries", archive.len())));
    }
    Ok(archive)
}

fn fault(path: &Path, error: &zip::result::ZipError) -> Error {
    Error::damaged(path, format!("is not a ZIP archive: {error}"))
}

/// A value on the unpickler's stack. Clones are shared, so a small pickle cannot build large
/// values; containers store the depth of their nesting.
#[derive(Clone, Debug)]
enum Value {
    Mark,
    /// A value that does not describe tensors: None, a boolean, a float, a list.
    Opaque,
    Number(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>, u8),
    /// The dictionary of tensors, whose content is in [`Unpickler::entries`].
    Tensors,
    Global(&'static str),
    Storage(&'static str, Option<TensorType>, u64),
    Persistent(Rc<Value>, u8),
    Call(Rc<(Value, Value)>, u8),
}

impl Value {
    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { u64::try_from(*number).ok() } else { None }
    }

    fn tuple(&self) -> Option<&[Value]> {
        if let Self::Tuple(items, _) = self { Some(items) } else { None }
    }

    fn depth(&self) -> u8 {
        match self {
            Self::Tuple(_, depth) | Self::Persistent(_, depth) | Self::Call(_, depth) => *depth,
            _ => 0,
        }
    }
}

/// Reads the tensor that a call rebuilds; `None` where the value is anything else.
fn tensor(name: &str, value: &Value, folder: &str, file_idx: usize) -> Option<SourceTensor> {
    let Value::Call(call, _) = value else { return None };
    let (Value::Global(function), arguments) = (&call.0, call.1.tuple()?) else { return None };
    match (*function, arguments) {
        ("_rebuild_parameter", [inner, ..]) => tensor(name, inner, folder, file_idx),
        ("_rebuild_from_type_v2", [function, _, arguments, ..]) => {
            let inner = Value::Call(Rc::new((function.clone(), arguments.clone())), 0);
            tensor(name, &inner, folder, file_idx)
        }
        ("_rebuild_tensor_v2", [storage, offset, size, stride, ..]) => {
            let Value::Persistent(storage, _) = storage else { return None };
            let [_, Value::Storage(class, tensor_type, value_bytes), key, ..] = storage.tuple()?
            else {
                return None;
            };
            let key = key.text().filter(|key| key.len() <= MAX_NAME_BYTES)?;
            let sizes = |value: &Value| -> Option<Vec<usize>> {
                let sizes = value.tuple().filter(|sizes| sizes.len() <= MAX_DIMENSIONS)?;
                let sizes = sizes.iter().map(Value::number);
                sizes.map(|size| size.and_then(|size| usize::try_from(size).ok())).collect()
            };
            let (shape, strides) = (sizes(size)?, sizes(stride)?);
            let n_values = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size))?;
            let offset = offset.number()?.checked_mul(*value_bytes)?;
            offset.checked_add((n_values as u64).checked_mul(*value_bytes)?)?;
            Some(SourceTensor {
                name: name.to_owned(),
                // Only contiguous tensors can be read.
                tensor_type: tensor_type.filter(|_| is_contiguous(&shape, &strides)),
                type_name: match tensor_type {
                    Some(_) => "of a tensor that is not contiguous".to_owned(),
                    None => (*class).to_owned(),
                },
                shape,
                file_idx,
                location: DataLocation::ArchiveEntry {
                    entry: format!("{folder}data/{key}"),
                    offset,
                },
            })
        }
        _ => None,
    }
}

fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            // With a size of 0 the product is 0 however large the others are.
            expected = usize::saturating_mul(expected, size);
            fits
        })
}

/// Interprets the opcodes of a pickle that build data.
struct Unpickler<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    stack: Vec<Value>,
    /// The pickle chooses the indices, which may be far apart.
    memo: HashMap<u32, Value>,
    /// The content of the first dictionary. Others, such as those of hooks, are ignored.
    entries: Vec<(Rc<str>, Value)>,
    has_dictionary: bool,
}

impl Default for Unpickler<'_> {
    fn default() -> Self {
        Self {
            path: Path::new(""),
            bytes: &[],
            stack: Vec::new(),
            memo: HashMap::new(),
            entries: Vec::new(),
            has_dictionary: false,
        }
    }
}

impl Unpickler<'_> {
    /// Runs to the end, where the dictionary of tensors must be on top of the stack.
    fn run(&mut self) -> Result<(), Error> {
        loop {
            let [opcode] = self.take()?;
            if opcode != b'.' {
                self.step(opcode)?;
                continue;
            }
            let what = "is not a dictionary of tensors";
            return match self.pop()? {
                Value::Tensors => Ok(()),
                _ => Err(Error::damaged(self.path, what)),
            };
        }
    }

    /// Returns the depth of a container of these values.
    fn depth_over<'v>(&self, inner: impl IntoIterator<Item = &'v Value>) -> Result<u8, Error> {
        let depth = inner.into_iter().map(Value::depth).max().unwrap_or(0) + 1;
        if depth > MAX_DEPTH { Err(self.damaged()) } else { Ok(depth) }
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), Error> {
        let depth = self.depth_over(&items)?;
        self.stack.push(Value::Tuple(items.into(), depth));
        Ok(())
    }

    fn push_dictionary(&mut self) {
        let is_first = !std::mem::replace(&mut self.has_dictionary, true);
        self.stack.push(if is_first { Value::Tensors } else { Value::Opaque });
    }

    fn step(&mut self, opcode: u8) -> Result<(), Error> {
        match opcode {
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            b'(' => self.stack.push(Value::Mark),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Opaque),
            b'G' => {
                self.take::<8>()?;
                self.stack.push(Value::Opaque);
            }
            b'K' => {
                let [number] = self.take()?;
                self.stack.push(Value::Number(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.take()?);
                self.stack.push(Value::Number(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.take()?);
                self.stack.push(Value::Number(number.into()));
            }
            0x8a => self.long()?,
            b'X' => {
                let len = u32::from_le_bytes(self.take()?);
                self.push_text(len as usize)?;
            }
            0x8c => {
                let [len] = self.take()?;
                self.push_text(len.into())?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let texts = module.text().zip(name.text()).ok_or_else(|| self.damaged())?;
                let (module, name) = (texts.0.to_owned(), texts.1.to_owned());
                self.push_global(&module, &name)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let depth = self.depth_over([&id])?;
                self.stack.push(Value::Persistent(Rc::new(id), depth));
            }
            b'q' | b'r' | 0x94 => self.memoize(opcode)?,
            b'h' => {
                let [idx] = self.take()?;
                self.recall(idx.into())?;
            }
            b'j' => {
                let idx = u32::from_le_bytes(self.take()?);
                self.recall(idx)?;
            }
            _ => self.combine(opcode)?,
        }
        Ok(())
    }

    /// Runs the opcodes that combine several values into one.
    fn combine(&mut self, opcode: u8) -> Result<(), Error> {
        match opcode {
            b')' => self.push_tuple(Vec::new())?,
            b't' => {
                let items = self.pop_marked()?;
                self.push_tuple(items)?;
            }
            0x85..=0x87 => {
                let n = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(n).ok_or_else(|| self.damaged())?;
                let items = self.stack.split_off(start);
                self.push_tuple(items)?;
            }
            b']' => self.stack.push(Value::Opaque),
            b'a' => drop(self.pop()?),
            b'e' => drop(self.pop_marked()?),
            b'}' => self.push_dictionary(),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value]);
            }
            b'u' => {
                let items = self.pop_marked()?;
                self.insert(&items);
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                if matches!(function, Value::Global("OrderedDict")) {
                    self.push_dictionary();
                } else {
                    let depth = self.depth_over([&function, &arguments])?;
                    self.stack.push(Value::Call(Rc::new((function, arguments)), depth));
                }
            }
            // State that is set on an object, such as a dictionary's metadata, is ignored.
            b'b' => drop(self.pop()?),
            other => {
                let what = format!("has the pickle opcode {other:#04x}, which tensors do not need");
                return Err(Error::damaged(self.path, what));
            }
        }
        Ok(())
    }

    fn damaged(&self) -> Error {
        Error::damaged(self.path, "has a damaged pickle")
    }

    fn take<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Error> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or_else(|| self.damaged())?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn pop(&mut self) -> Result<Value, Error> {
        self.stack.pop().ok_or_else(|| self.damaged())
    }

    fn pop_marked(&mut self) -> Result<Vec<Value>, Error> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let items = self.stack.split_off(mark.ok_or_else(|| self.damaged())? + 1);
        self.stack.pop();
        Ok(items)
    }

    /// Adds keys and values to the dictionary on top of the stack, if it is that of tensors.
    fn insert(&mut self, items: &[Value]) {
        if !matches!(self.stack.last(), Some(Value::Tensors)) {
            return;
        }
        for pair in items.as_chunks::<2>().0 {
            if let [Value::Text(name), value @ Value::Call(..)] = pair {
                self.entries.push((Rc::clone(name), value.clone()));
            }
        }
    }

    fn push_text(&mut self, len: usize) -> Result<(), Error> {
        let (text, rest) = self.bytes.split_at_checked(len).ok_or_else(|| self.damaged())?;
        let text = std::str::from_utf8(text).map_err(|_| self.damaged())?;
        self.bytes = rest;
        self.stack.push(Value::Text(text.into()));
        Ok(())
    }

    fn line(&mut self) -> Result<String, Error> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = self.bytes.split_at(end.ok_or_else(|| self.damaged())?);
        self.bytes = &rest[1..];
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Error> {
        let allowed = ALLOWED_GLOBALS.iter().find(|allowed| **allowed == (module, name));
        let storage = STORAGES.iter().find(|(storage, ..)| module == "torch" && *storage == name);
        self.stack.push(match (allowed, storage) {
            (Some((_, name)), _) => Value::Global(name),
            (_, Some((class, tensor_type, bytes))) => Value::Storage(class, *tensor_type, *bytes),
            _ => {
                let what = quoted(&format!("{module}.{name}"));
                return Err(Error::UnsafePickle { path: self.path.to_owned(), what });
            }
        });
        Ok(())
    }

    fn long(&mut self) -> Result<(), Error> {
        let [len] = self.take()?;
        let (bytes, rest) =
            self.bytes.split_at_checked(len.into()).ok_or_else(|| self.damaged())?;
        let mut number = [0; 8];
        let number = match bytes.len() {
            0..=8 => {
                number[..bytes.len()].copy_from_slice(bytes);
                i64::from_le_bytes(number)
            }
            _ => return Err(self.damaged()),
        };
        self.bytes = rest;
        self.stack.push(Value::Number(number));
        Ok(())
    }

    fn memoize(&mut self, opcode: u8) -> Result<(), Error> {
        let idx = match opcode {
            b'q' => u32::from(self.take::<1>()?[0]),
            b'r' => u32::from_le_bytes(self.take()?),
            // A pickle of a few megabytes memoizes fewer values than 32 bits count.
            _ => self.memo.len() as u32,
        };
        let value = self.stack.last().cloned().ok_or_else(|| self.damaged())?;
        self.memo.insert(idx, value);
        Ok(())
    }

    fn recall(&mut self, idx: u32) -> Result<(), Error> {
        let value = self.memo.get(&idx).cloned().ok_or_else(|| self.damaged())?;
        self.stack.push(value);
        Ok(())
    }
}
