//! PyTorch's `*.bin`: a ZIP archive with a pickle that describes tensors, and their bytes.
//!
//! A pickle is a program. This reads the few instructions that a dictionary of tensors needs and refuses
//! any name but those of tensors, so that nothing in the file runs: not when it is read here, and not
//! unseen when the same file is loaded elsewhere. Instructions:
//! <https://github.com/python/cpython/blob/main/Lib/pickletools.py>.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use lilims_gguf::TensorType;
use zip::{CompressionMethod, ZipArchive};

use crate::fields::quoted;
use crate::source::{MAX_DIMENSIONS, MAX_NAME_BYTES, Place, SourceTensor};
use crate::{Error, input_file};

/// The largest description of tensors that is read.
const MAX_PICKLE_BYTES: u64 = 4 << 20;
/// How deep things are nested at most: a description of a tensor needs half of that.
const MAX_DEPTH: u8 = 16;
/// The most entries of an archive; each tensor has one.
const MAX_ENTRIES: usize = 1 << 17;
/// The names that descriptions of tensors use.
const ALLOWED: [(&str, &str); 4] = [
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("collections", "OrderedDict"),
];
/// What a storage's class is called, and the type of its values.
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

/// The tensors that the file at `path` describes.
///
/// *Errors*: [`Error::UnsafePickle`], [`Error::Damaged`], [`Error::Io`].
pub(crate) fn tensors(path: &Path, file_idx: usize) -> Result<Vec<SourceTensor>, Error> {
    let mut archive = open(path)?;
    let name = archive
        .file_names()
        .filter_map(|name| name.ok().map(|name| name.into_owned()))
        .find(|name| name.ends_with("/data.pkl") || name == "data.pkl");
    let name = name.ok_or_else(|| Error::damaged(path, "has no description of tensors"))?;
    let mut pickle = Vec::new();
    let entry = archive.by_name(&name).map_err(|error| fault(path, &error))?;
    entry.take(MAX_PICKLE_BYTES + 1).read_to_end(&mut pickle).map_err(Error::io(path))?;
    if pickle.len() as u64 > MAX_PICKLE_BYTES {
        let what = format!("describes tensors in more than {MAX_PICKLE_BYTES} bytes");
        return Err(Error::damaged(path, what));
    }
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    let mut machine = Machine { path, bytes: &pickle, ..Machine::default() };
    machine.run()?;
    let mut names = HashSet::new();
    let tensors: Result<Vec<_>, Error> = std::mem::take(&mut machine.entries)
        .into_iter()
        .map(|(name, value)| {
            let wrong = || {
                let name = quoted(&name);
                Error::damaged(path, format!("describes the tensor `{name}` wrongly"))
            };
            // Names and shapes are shared in a pickle: what each tensor has of its own is bounded.
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

/// Checks that a tensor's bytes are all there, before anybody makes room for them.
fn check_entry(
    path: &Path,
    archive: &mut ZipArchive<BufReader<File>>,
    file_bytes: u64,
    tensor: &SourceTensor,
) -> Result<(), Error> {
    let Place::Entry { entry, start } = &tensor.place else { return Ok(()) };
    let held = {
        let entry = archive.by_name(entry).map_err(|error| fault(path, &error))?;
        // PyTorch compresses nothing, and a size that is not that of bytes in the file is only a claim.
        if entry.compression() != CompressionMethod::Stored {
            let name = quoted(&tensor.name);
            return Err(Error::damaged(path, format!("compresses the tensor `{name}`")));
        }
        entry.size().min(entry.compressed_size()).min(file_bytes)
    };
    // Its value was checked when the shape was read.
    let n_values = tensor.shape.iter().product::<usize>() as u64;
    let size = tensor.tensor_type.map_or(Some(0), |ty| ty.size_bytes(n_values));
    match size.and_then(|size| size.checked_add(*start)) {
        Some(end) if end <= held => Ok(()),
        _ => Err(Error::damaged(path, format!("ends within the tensor `{}`", tensor.name))),
    }
}

/// Reads bytes of an entry, from `start` on.
pub(crate) fn read_entry(
    path: &Path,
    entry: &str,
    start: u64,
    bytes: &mut [u8],
) -> Result<(), Error> {
    let mut archive = open(path)?;
    let mut reader = archive.by_name(entry).map_err(|error| fault(path, &error))?;
    let skipped = std::io::copy(&mut reader.by_ref().take(start), &mut std::io::sink());
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
    Error::damaged(path, format!("is not an archive of tensors: {error}"))
}

/// What the machine works with. Clones share, so that no pickle makes large things of small ones; what
/// holds others knows how deep they go.
#[derive(Clone, Debug)]
enum Value {
    Mark,
    /// Nothing, a truth value, a float, a list: nothing that tensors are made of.
    Plain,
    Number(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>, u8),
    /// The dictionary of tensors. What it holds is kept in [`Machine::entries`].
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

/// The tensor that a call describes; `None` where it does not describe one.
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
            let start = offset.number()?.checked_mul(*value_bytes)?;
            start.checked_add((n_values as u64).checked_mul(*value_bytes)?)?;
            Some(SourceTensor {
                name: name.to_owned(),
                // Values in another order than that of rows are not read.
                tensor_type: tensor_type.filter(|_| is_contiguous(&shape, &strides)),
                type_name: match tensor_type {
                    Some(_) => "of values in another order".to_owned(),
                    None => (*class).to_owned(),
                },
                shape,
                file_idx,
                place: Place::Entry { entry: format!("{folder}data/{key}"), start },
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
            // A size of 0 makes the product 0, whatever the others are.
            expected = usize::saturating_mul(expected, size);
            fits
        })
}

/// Runs the instructions of a pickle that build data.
struct Machine<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    stack: Vec<Value>,
    /// By numbers that the pickle chooses, which may lie far apart.
    memo: HashMap<u32, Value>,
    /// What the first dictionary holds, by name. Others, such as those of hooks, are of no use.
    entries: Vec<(Rc<str>, Value)>,
    has_dictionary: bool,
}

impl Default for Machine<'_> {
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

impl Machine<'_> {
    /// Runs to the end, which must leave the dictionary of tensors.
    fn run(&mut self) -> Result<(), Error> {
        loop {
            let [instruction] = self.take()?;
            if instruction != b'.' {
                self.step(instruction)?;
                continue;
            }
            let what = "describes something else than a dictionary of tensors";
            return match self.pop()? {
                Value::Tensors => Ok(()),
                _ => Err(Error::damaged(self.path, what)),
            };
        }
    }

    /// How deep something is that holds these.
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
        self.stack.push(if is_first { Value::Tensors } else { Value::Plain });
    }

    fn step(&mut self, instruction: u8) -> Result<(), Error> {
        match instruction {
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            b'(' => self.stack.push(Value::Mark),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Plain),
            b'G' => {
                self.take::<8>()?;
                self.stack.push(Value::Plain);
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
            b'q' | b'r' | 0x94 => self.remember(instruction)?,
            b'h' => {
                let [idx] = self.take()?;
                self.recall(idx.into())?;
            }
            b'j' => {
                let idx = u32::from_le_bytes(self.take()?);
                self.recall(idx)?;
            }
            _ => self.combine(instruction)?,
        }
        Ok(())
    }

    /// Instructions that make one thing of several.
    fn combine(&mut self, instruction: u8) -> Result<(), Error> {
        match instruction {
            b')' => self.push_tuple(Vec::new())?,
            b't' => {
                let items = self.pop_marked()?;
                self.push_tuple(items)?;
            }
            0x85..=0x87 => {
                let n = usize::from(instruction - 0x84);
                let start = self.stack.len().checked_sub(n).ok_or_else(|| self.damaged())?;
                let items = self.stack.split_off(start);
                self.push_tuple(items)?;
            }
            b']' => self.stack.push(Value::Plain),
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
            // Attributes of what was built, such as a dictionary's metadata, are not data.
            b'b' => drop(self.pop()?),
            other => {
                let what = format!("holds the instruction {other:#04x}, which tensors do not need");
                return Err(Error::damaged(self.path, what));
            }
        }
        Ok(())
    }

    fn damaged(&self) -> Error {
        Error::damaged(self.path, "holds a damaged description of tensors")
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

    /// Puts pairs of keys and values into the dictionary on top, if it is the one of tensors.
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
        let allowed = ALLOWED.iter().find(|allowed| **allowed == (module, name));
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

    fn remember(&mut self, instruction: u8) -> Result<(), Error> {
        let idx = match instruction {
            b'q' => u32::from(self.take::<1>()?[0]),
            b'r' => u32::from_le_bytes(self.take()?),
            // A pickle of a few megabytes remembers fewer things than 32 bits count.
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
