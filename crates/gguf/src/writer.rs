//! Writes a GGUF file, version 3. Tensor data is written as given, not checked.

use std::io::{self, Write};

use crate::metadata::{ARRAY, STRING};
use crate::{TensorType, Value};

const ALIGNMENT: u64 = 32;

/// A tensor's entry in the file's header; its data may be produced later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorHeader {
    /// The name.
    pub name: String,
    /// The dimensions, fastest-varying first.
    pub dims: Vec<u64>,
    /// How the values are stored.
    pub tensor_type: TensorType,
    /// The size in bytes.
    pub size_bytes: u64,
}

impl TensorHeader {
    /// A tensor of `dims`; `None` if its rows are not whole blocks of a known type.
    pub fn new(name: &str, dims: &[u64], tensor_type: TensorType) -> Option<Self> {
        let (&row, others) = dims.split_first()?;
        let rows = others.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))?;
        let size_bytes = tensor_type.size_bytes(row)?.checked_mul(rows)?;
        Some(Self { name: name.to_owned(), dims: dims.to_vec(), tensor_type, size_bytes })
    }
}

/// Collects metadata and tensors, then writes them in one pass.
///
/// For tensors that do not fit into memory, [`Writer::write_header`] writes everything before the
/// tensor data: the caller then writes the data of each tensor in the same order, followed by
/// [`Writer::padding`].
#[derive(Default)]
pub struct Writer {
    metadata: Vec<u8>,
    n_entries: u64,
    tensors: Vec<(TensorHeader, Vec<u8>)>,
}

impl Writer {
    /// Adds a metadata entry; a [`Value::Array`] is copied as it was read.
    pub fn value(&mut self, key: &str, value: Value<'_>) -> &mut Self {
        self.key(key);
        self.metadata.extend(type_id(&value).to_le_bytes());
        put(&mut self.metadata, &value);
        self
    }

    /// Adds a metadata entry with a string.
    pub fn str(&mut self, key: &str, text: &str) -> &mut Self {
        self.value(key, Value::String(text.as_bytes()))
    }

    /// Adds a metadata entry with an array; all values must have the type of the first.
    pub fn array<'a>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = Value<'a>>,
    ) -> &mut Self {
        let values: Vec<_> = values.into_iter().collect();
        self.key(key);
        self.metadata.extend(ARRAY.to_le_bytes());
        self.metadata.extend(values.first().map_or(STRING, type_id).to_le_bytes());
        self.metadata.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| put(&mut self.metadata, value));
        self
    }

    /// Adds a tensor; `dims` has the fastest-varying dimension first.
    pub fn tensor(
        &mut self,
        name: &str,
        dims: &[u64],
        tensor_type: TensorType,
        data: Vec<u8>,
    ) -> &mut Self {
        let (name, dims, size_bytes) = (name.to_owned(), dims.to_vec(), data.len() as u64);
        self.tensors.push((TensorHeader { name, dims, tensor_type, size_bytes }, data));
        self
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The errors of `out`.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        self.write_header(self.tensors.iter().map(|(head, _)| head), &mut out)?;
        for (head, data) in &self.tensors {
            out.write_all(data)?;
            out.write_all(Self::padding(head.size_bytes))?;
        }
        out.flush()
    }

    /// Writes the metadata and the entries of `tensors`, up to where the first tensor's data
    /// starts.
    ///
    /// # Errors
    /// The errors of `out`.
    pub fn write_header<'a>(
        &self,
        tensors: impl ExactSizeIterator<Item = &'a TensorHeader>,
        mut out: impl Write,
    ) -> io::Result<()> {
        let mut head = Vec::new();
        head.extend(b"GGUF");
        head.extend(3u32.to_le_bytes());
        head.extend((tensors.len() as u64).to_le_bytes());
        head.extend(self.n_entries.to_le_bytes());
        head.extend(&self.metadata);
        let mut offset = 0u64;
        for tensor in tensors {
            put(&mut head, &Value::String(tensor.name.as_bytes()));
            head.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| head.extend(dim.to_le_bytes()));
            head.extend(tensor.tensor_type.id().to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset += tensor.size_bytes.next_multiple_of(ALIGNMENT);
        }
        let padding = Self::padding(head.len() as u64);
        head.extend(padding);
        out.write_all(&head)
    }

    /// The zero bytes to write after `len` bytes of data, to align what follows.
    pub fn padding(len: u64) -> &'static [u8] {
        &[0; ALIGNMENT as usize][..(len.next_multiple_of(ALIGNMENT) - len) as usize]
    }

    fn key(&mut self, key: &str) {
        put(&mut self.metadata, &Value::String(key.as_bytes()));
        self.n_entries += 1;
    }
}

fn type_id(value: &Value<'_>) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn put(out: &mut Vec<u8>, value: &Value<'_>) {
    match *value {
        Value::U8(v) => out.push(v),
        Value::I8(v) => out.push(v as u8),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(v.into()),
        Value::String(bytes) => {
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
        Value::Array(array) => array.put(out),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
}
