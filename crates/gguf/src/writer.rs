//! Writes a GGUF file, version 3.

use std::io::{self, Write};

use crate::metadata::{ARRAY, STRING};
use crate::{TensorType, Value};

const ALIGNMENT: usize = 32;

/// Collects metadata and tensors, then writes them in one pass.
#[derive(Default)]
pub struct Writer {
    metadata: Vec<u8>,
    n_entries: u64,
    tensors: Vec<(String, Vec<u64>, TensorType, Vec<u8>)>,
}

impl Writer {
    /// Adds a metadata entry of one value.
    ///
    /// An [`Value::Array`] is written as it was read.
    pub fn value(&mut self, key: &str, value: Value<'_>) -> &mut Self {
        self.key(key);
        self.metadata.extend(type_id(&value).to_le_bytes());
        put(&mut self.metadata, &value);
        self
    }

    /// Adds a metadata entry with a text.
    pub fn str(&mut self, key: &str, text: &str) -> &mut Self {
        self.value(key, Value::String(text.as_bytes()))
    }

    /// Adds a metadata entry with an array whose values all have the type of the first.
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

    /// Adds a tensor; `dims` has the fastest dimension first.
    pub fn tensor(
        &mut self,
        name: &str,
        dims: &[u64],
        tensor_type: TensorType,
        data: Vec<u8>,
    ) -> &mut Self {
        self.tensors.push((name.to_owned(), dims.to_vec(), tensor_type, data));
        self
    }

    /// Writes the file.
    ///
    /// *Errors*: whatever `out` returns.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let mut head = Vec::new();
        head.extend(b"GGUF");
        head.extend(3u32.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend(self.n_entries.to_le_bytes());
        head.extend(&self.metadata);
        let mut offset = 0u64;
        for (name, dims, tensor_type, data) in &self.tensors {
            put(&mut head, &Value::String(name.as_bytes()));
            head.extend((dims.len() as u32).to_le_bytes());
            dims.iter().for_each(|dim| head.extend(dim.to_le_bytes()));
            head.extend(tensor_type.id().to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset += data.len().next_multiple_of(ALIGNMENT) as u64;
        }
        head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
        out.write_all(&head)?;
        for (_, _, _, data) in &self.tensors {
            out.write_all(data)?;
            let padding = data.len().next_multiple_of(ALIGNMENT) - data.len();
            out.write_all(&[0; ALIGNMENT][..padding])?;
        }
        out.flush()
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
