//! Recognises models split into several files by llama.cpp's `gguf-split`. Joining them is not done
//! here.

use crate::File;

/// A file's part number in a split model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The part, counted from 1.
    pub part: u64,
    /// The number of parts: two or more.
    pub count: u64,
}

impl File {
    /// The part of a split model that this file is, according to its metadata. `None` for a
    /// complete model, including one "split" into a single part.
    pub fn split(&self) -> Option<Split> {
        let number = |key| self.metadata().get(key).and_then(|value| value.as_u64());
        let count = number("split.count").filter(|&count| count > 1)?;
        Some(Split { part: number("split.no").unwrap_or(0).saturating_add(1), count })
    }
}

impl Split {
    /// The part according to the file name, such as `model-00002-of-00003.gguf`, for files whose
    /// metadata does not contain it.
    pub fn from_file_name(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (_, part) = rest.rsplit_once('-')?;
        let number = |text: &str| {
            let is_number = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        let (part, count) = (number(part)?, number(count)?);
        (count > 1 && (1..=count).contains(&part)).then_some(Self { part, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Value, Writer};

    fn file(values: &[(&str, Value<'_>)]) -> File {
        let mut writer = Writer::default();
        for (key, value) in values {
            writer.value(key, *value);
        }
        let mut bytes = Vec::new();
        writer.write(&mut bytes).expect("writing to memory does not fail");
        File::from_bytes(bytes).expect("the file is valid")
    }

    #[test]
    fn t11_reads_the_part_from_metadata() {
        let part = |no, count| file(&[("split.no", no), ("split.count", count)]).split();
        assert_eq!(part(Value::U16(1), Value::U16(2)), Some(Split { part: 2, count: 2 }));
        assert_eq!(part(Value::U16(0), Value::U16(3)), Some(Split { part: 1, count: 3 }));
        assert_eq!(part(Value::U16(0), Value::U16(1)), None);
        assert_eq!(part(Value::U16(0), Value::U16(0)), None);
        assert_eq!(part(Value::U64(u64::MAX), Value::U16(2)).map(|it| it.count), Some(2));
        assert_eq!(part(Value::U16(0), Value::String(b"2")), None);
        assert_eq!(file(&[]).split(), None);
    }

    #[test]
    fn t11_reads_the_part_from_the_file_name() {
        let split = |part, count| Some(Split { part, count });
        assert_eq!(Split::from_file_name("a-b-00002-of-00003.gguf"), split(2, 3));
        assert_eq!(Split::from_file_name("a-00001-of-00001.gguf"), None);
        for name in ["a.gguf", "a-2-of-3.gguf", "a-00004-of-00003.gguf", "a-00001-of-00002.bin"] {
            assert_eq!(Split::from_file_name(name), None, "{name}");
        }
    }
}
