//! Decides whether a GGUF file is a complete model, for scans, repository listings, imports and
//! both user interfaces alike. Does not check whether the engine supports the model.
//!
//! The content decides if it is available, since names mislead: `m-Q4_K_M-imatrix.gguf` is a model
//! that was made with an importance matrix, `m-imatrix.gguf` is such a matrix.

use std::fmt;

use lilims_gguf::File;

use crate::quantisation_of;

/// The kind of a GGUF file that is not a complete model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    /// One part of a split model.
    Part {
        /// The part's number, from 1.
        number: u64,
        /// The number of parts.
        of: u64,
    },
    /// A multimodal projector: the image or sound encoder of a model.
    Projector,
    /// An importance matrix.
    ImportanceMatrix,
    /// A LoRA adapter.
    Adapter,
    /// A control vector.
    ControlVector,
    /// A vocabulary without weights.
    Vocabulary,
}

/// Completes “it is …”.
impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Part { number, of } => {
                return write!(
                    f,
                    "part {number} of {of} of a split model, which Lilims cannot join yet"
                );
            }
            Self::Projector => {
                "a projector, the image or sound encoder of a model, not a complete model"
            }
            Self::ImportanceMatrix => "an importance matrix, data for quantising, not a model",
            Self::Adapter => "an adapter (LoRA) for another model, which Lilims does not apply",
            Self::ControlVector => "a control vector for another model, not a model itself",
            Self::Vocabulary => "a vocabulary without weights, not a model",
        })
    }
}

/// The reason why a GGUF file is not a complete model; `None` for a model. `name` is its path or
/// file name, which decides alone if there is no `content`.
pub fn unsuitable(name: &str, content: Option<&File>) -> Option<Unsuitable> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name).to_ascii_lowercase();
    let stem = name.strip_suffix(".gguf").unwrap_or(&name);
    match content {
        Some(file) => by_content(file, part_of(stem)),
        None => by_name(stem),
    }
}

fn by_name(stem: &str) -> Option<Unsuitable> {
    let is_quantised = quantisation_of(stem).is_some();
    let words: Vec<_> = stem
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty() && quantisation_of(word).is_none())
        .collect();
    let is_adapter = |word: Option<&&str>| matches!(word, Some(&("lora" | "adapter")));
    if let Some((number, of)) = part_of(stem) {
        Some(Unsuitable::Part { number, of })
    } else if stem.contains("mmproj") {
        Some(Unsuitable::Projector)
    } else if stem.contains("imatrix") && !is_quantised {
        Some(Unsuitable::ImportanceMatrix)
    } else if stem.starts_with("ggml-vocab") {
        Some(Unsuitable::Vocabulary)
    } else if is_adapter(words.first()) || is_adapter(words.last()) {
        Some(Unsuitable::Adapter)
    } else {
        None
    }
}

fn by_content(file: &File, named_part: Option<(u64, u64)>) -> Option<Unsuitable> {
    let metadata = file.metadata();
    let text = |key: &str| metadata.get(key).and_then(|value| value.as_str());
    let number = |key: &str| metadata.get(key).and_then(|value| value.as_u64());
    match number("split.count") {
        Some(of @ 2..) => {
            let number = number("split.no").unwrap_or(0).saturating_add(1);
            return Some(Unsuitable::Part { number, of });
        }
        None => {
            if let Some((number, of)) = named_part {
                return Some(Unsuitable::Part { number, of });
            }
        }
        Some(_) => {}
    }
    match text("general.type") {
        Some("adapter") => return Some(Unsuitable::Adapter),
        Some("imatrix") => return Some(Unsuitable::ImportanceMatrix),
        Some("mmproj" | "projector") => return Some(Unsuitable::Projector),
        Some("vocab") => return Some(Unsuitable::Vocabulary),
        _ => {}
    }
    match text("general.architecture") {
        Some("clip") => return Some(Unsuitable::Projector),
        Some("controlvector") => return Some(Unsuitable::ControlVector),
        Some("imatrix") => return Some(Unsuitable::ImportanceMatrix),
        _ => {}
    }
    let names = || file.tensors().iter().map(|tensor| tensor.name.as_str());
    let all = |is: fn(&str) -> bool| names().all(is);
    if file.tensors().is_empty() {
        Some(Unsuitable::Vocabulary)
    } else if names().any(|name| name.ends_with(".lora_a") || name.ends_with(".lora_b")) {
        Some(Unsuitable::Adapter)
    } else if all(|name| name.ends_with(".in_sum2") || name.ends_with(".counts")) {
        Some(Unsuitable::ImportanceMatrix)
    } else if all(|name| name.starts_with("direction.")) {
        Some(Unsuitable::ControlVector)
    } else if all(|name| ["v.", "a.", "mm."].iter().any(|start| name.starts_with(start))) {
        Some(Unsuitable::Projector)
    } else {
        None
    }
}

/// Part number and count of a lower-case name that ends in `-00001-of-00003`; `None` if the count
/// is 1.
fn part_of(stem: &str) -> Option<(u64, u64)> {
    let number = |text: &str| {
        let is_number = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let (before, of) = stem.rsplit_once("-of-")?;
    let part = before.rsplit('-').next()?;
    let (part, of) = (number(part)?, number(of)?);
    (of > 1).then_some((part, of))
}

#[cfg(test)]
mod tests {
    use lilims_gguf::{TensorType, Value, Writer};

    use super::*;

    #[test]
    fn l12_name_decides_without_content() {
        let part = |number, of| Some(Unsuitable::Part { number, of });
        for (name, expected) in [
            ("Q8_0/m-00001-of-00003.gguf", part(1, 3)),
            ("m-00002-OF-00003.GGUF", part(2, 3)),
            ("00002-of-00003.gguf", part(2, 3)),
            ("m-00001-of-00001.gguf", None),
            ("m-1-of-3.gguf", None),
            ("m-of-00003.gguf", None),
            ("best-of-00005.gguf", None),
            ("mmproj-F16.gguf", Some(Unsuitable::Projector)),
            ("m.imatrix.gguf", Some(Unsuitable::ImportanceMatrix)),
            ("imatrix_unsloth.gguf", Some(Unsuitable::ImportanceMatrix)),
            ("m-Q4_K_M-imatrix.gguf", None),
            ("m-imatrix-IQ4_XS.gguf", None),
            ("ggml-vocab-llama-bpe.gguf", Some(Unsuitable::Vocabulary)),
            ("m-lora-f16.gguf", Some(Unsuitable::Adapter)),
            ("LoRA-m-F16.gguf", Some(Unsuitable::Adapter)),
            ("m-lora-merged-Q4_0.gguf", None),
            ("explorations-Q4_0.gguf", None),
            ("m-Q4_K_M.gguf", None),
            ("", None),
        ] {
            assert_eq!(unsuitable(name, None), expected, "{name}");
        }
    }

    /// `unsuitable` for a file with this name, metadata and tensors.
    fn of(name: &str, texts: &[(&str, &str)], tensors: &[&str]) -> Option<Unsuitable> {
        of_part(name, texts, tensors, None)
    }

    fn of_part(
        name: &str,
        texts: &[(&str, &str)],
        tensors: &[&str],
        split: Option<(u16, u16)>,
    ) -> Option<Unsuitable> {
        let mut writer = Writer::default();
        for (key, text) in texts {
            writer.str(key, text);
        }
        if let Some((number, count)) = split {
            writer.value("split.no", Value::U16(number)).value("split.count", Value::U16(count));
        }
        for tensor in tensors {
            writer.tensor(tensor, &[32], TensorType::F32, vec![0; 128]);
        }
        let mut bytes = Vec::new();
        writer.write(&mut bytes).unwrap();
        unsuitable(name, Some(&File::from_bytes(bytes).unwrap()))
    }

    #[test]
    fn l12_content_overrules_name() {
        let llama = &[("general.architecture", "llama")][..];
        let weights = &["token_embd.weight"][..];
        let typed = |kind| [("general.architecture", "llama"), ("general.type", kind)];
        assert_eq!(of("m-imatrix.gguf", &typed("model"), weights), None);
        assert_eq!(of("mmproj.gguf", llama, weights), None);
        assert_eq!(of("m.gguf", &typed("adapter"), weights), Some(Unsuitable::Adapter));
        let lora = &["blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"];
        assert_eq!(of("m.gguf", llama, lora), Some(Unsuitable::Adapter));
        let imatrix = Some(Unsuitable::ImportanceMatrix);
        assert_eq!(of("m.gguf", &[("general.type", "imatrix")], weights), imatrix);
        let sums = &["blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.counts"];
        assert_eq!(of("m.gguf", &[], sums), imatrix);
        assert_eq!(of("m.gguf", llama, &[]), Some(Unsuitable::Vocabulary));
        let clip = &[("general.architecture", "clip")];
        assert_eq!(of("m.gguf", clip, &["v.patch_embd.weight"]), Some(Unsuitable::Projector));
        assert_eq!(of("m.gguf", &[], &["mm.0.weight"]), Some(Unsuitable::Projector));
        let vector = &[("general.architecture", "controlvector")];
        assert_eq!(of("m.gguf", vector, &["direction.1"]), Some(Unsuitable::ControlVector));
        let second = Some(Unsuitable::Part { number: 2, of: 3 });
        assert_eq!(of_part("m.gguf", &[], weights, Some((1, 3))), second);
        assert_eq!(of_part("m-00001-of-00001.gguf", llama, weights, Some((0, 1))), None);
    }
}
