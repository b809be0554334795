//! Metadata: keys with typed values, decoded on access. The reader has already checked all lengths.

use std::ops::Range;

use crate::{Error, quoted};

/// One metadata value. Strings and arrays borrow from the file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the type that it holds")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// UTF-8 by the specification, but not checked.
    String(&'a [u8]),
    Array(Array<'a>),
}

/// The ids of the value types without a fixed size.
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

/// Size in bytes of one value; `None` for strings, arrays and unknown types.
pub(crate) fn fixed_size(type_id: u32) -> Option<u64> {
    Some(match type_id {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

impl<'a> Value<'a> {
    /// Decodes a fixed-size value from exactly its bytes.
    fn from_bytes(type_id: u32, bytes: &'a [u8]) -> Option<Self> {
        Some(match type_id {
            0 => Self::U8(bytes[0]),
            1 => Self::I8(bytes[0] as i8),
            2 => Self::U16(u16::from_le_bytes(bytes.try_into().ok()?)),
            3 => Self::I16(i16::from_le_bytes(bytes.try_into().ok()?)),
            4 => Self::U32(u32::from_le_bytes(bytes.try_into().ok()?)),
            5 => Self::I32(i32::from_le_bytes(bytes.try_into().ok()?)),
            6 => Self::F32(f32::from_le_bytes(bytes.try_into().ok()?)),
            7 => Self::Bool(bytes[0] != 0),
            10 => Self::U64(u64::from_le_bytes(bytes.try_into().ok()?)),
            11 => Self::I64(i64::from_le_bytes(bytes.try_into().ok()?)),
            12 => Self::F64(f64::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }

    /// The value as an unsigned integer, if it is a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value as a float, if it is a number.
    pub fn as_f32(&self) -> Option<f32> {
        match *self {
            Self::F32(v) => Some(v),
            Self::F64(v) => Some(v as f32),
            Self::I8(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::I32(v) => Some(v as f32),
            Self::I64(v) => Some(v as f32),
            _ => self.as_u64().map(|v| v as f32),
        }
    }

    /// The value as a boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// The value as text, if it is a string in valid UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The value as an array, if it is one.
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

/// An array of values, decoded as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    type_id: u32,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let Array { type_id, len, mut bytes } = *self;
        (0..len).map_while(move |_| {
            let (value, rest) = split_value(type_id, bytes)?;
            bytes = rest;
            Some(value)
        })
    }

    /// Appends the array in the file's encoding: type, length, values.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.type_id.to_le_bytes());
        out.extend((self.len as u64).to_le_bytes());
        out.extend(self.bytes);
    }

    /// The bytes of each string; empty if the values are not strings.
    pub fn strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.iter().map_while(|value| match value {
            Value::String(bytes) => Some(bytes),
            _ => None,
        })
    }
}

/// Splits one value off the front of `bytes`.
pub(crate) fn split_value(type_id: u32, bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    match type_id {
        STRING => {
            let (len, rest) = bytes.split_first_chunk::<8>()?;
            let (text, rest) = rest.split_at_checked(u64::from_le_bytes(*len).try_into().ok()?)?;
            Some((Value::String(text), rest))
        }
        ARRAY => {
            let (inner, len, rest) = split_array_head(bytes)?;
            let size = match fixed_size(inner) {
                Some(size) => len.checked_mul(size as usize)?,
                None => (0..len)
                    .try_fold(rest, |rest, _| Some(split_value(inner, rest)?.1))
                    .map(|left| rest.len() - left.len())?,
            };
            let (content, rest) = rest.split_at_checked(size)?;
            Some((Value::Array(Array { type_id: inner, len, bytes: content }), rest))
        }
        _ => {
            let (value, rest) = bytes.split_at_checked(fixed_size(type_id)? as usize)?;
            Some((Value::from_bytes(type_id, value)?, rest))
        }
    }
}

/// Splits an array's element type and length off the front of `bytes`.
fn split_array_head(bytes: &[u8]) -> Option<(u32, usize, &[u8])> {
    let (type_id, rest) = bytes.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    Some((u32::from_le_bytes(*type_id), len, rest))
}

/// Byte ranges of a metadata entry in the file.
pub(crate) struct Entry {
    /// The range of the key, which is UTF-8.
    pub(crate) key: Range<usize>,
    pub(crate) type_id: u32,
    pub(crate) value: Range<usize>,
}

/// A file's metadata.
#[derive(Clone, Copy)]
pub struct Metadata<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) entries: &'a [Entry],
    /// Indices into `entries`, sorted by key.
    pub(crate) by_key: &'a [u32],
}

impl<'a> Metadata<'a> {
    /// The value of `key`, if the file has that key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let entry = |idx: u32| &self.entries[idx as usize];
        let key_at = |idx: u32| &self.bytes[entry(idx).key.clone()];
        let found = self.by_key.binary_search_by(|&idx| key_at(idx).cmp(key.as_bytes()));
        self.decode(entry(self.by_key[found.ok()?]))
    }

    /// All keys and values in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let metadata = *self;
        self.entries.iter().filter_map(move |entry| {
            let key = std::str::from_utf8(&metadata.bytes[entry.key.clone()]).ok()?;
            Some((key, metadata.decode(entry)?))
        })
    }

    /// Decodes an entry. The entry stores where its value ends, so arrays of strings, which hold
    /// whole vocabularies, need not be scanned to find their end.
    fn decode(&self, entry: &Entry) -> Option<Value<'a>> {
        let bytes = &self.bytes[entry.value.clone()];
        if entry.type_id != ARRAY {
            return split_value(entry.type_id, bytes).map(|(value, _)| value);
        }
        let (type_id, len, bytes) = split_array_head(bytes)?;
        Some(Value::Array(Array { type_id, len, bytes }))
    }

    /// The unsigned integer at `key`.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongType`].
    pub fn u64(&self, key: &str) -> Result<u64, Error> {
        self.require(key)?.as_u64().ok_or_else(|| wrong_type(key, "a whole number"))
    }

    /// The number at `key`.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongType`].
    pub fn f32(&self, key: &str) -> Result<f32, Error> {
        self.require(key)?.as_f32().ok_or_else(|| wrong_type(key, "a number"))
    }

    /// The text at `key`.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongType`].
    pub fn str(&self, key: &str) -> Result<&'a str, Error> {
        self.require(key)?.as_str().ok_or_else(|| wrong_type(key, "a text in UTF-8"))
    }

    /// The array at `key`.
    ///
    /// # Errors
    /// [`Error::MissingKey`], [`Error::WrongType`].
    pub fn array(&self, key: &str) -> Result<Array<'a>, Error> {
        self.require(key)?.as_array().ok_or_else(|| wrong_type(key, "an array"))
    }

    fn require(&self, key: &str) -> Result<Value<'a>, Error> {
        self.get(key).ok_or_else(|| Error::MissingKey { key: quoted(key).into_owned() })
    }
}

fn wrong_type(key: &str, expected: &'static str) -> Error {
    Error::WrongType { key: quoted(key).into_owned(), expected }
}
