//! Reads `tokenizer.model`: the fields of SentencePiece's protocol buffer that GGUF has keys for.
//!
//! Only byte-pair vocabularies are supported; unigram ones are rejected. Format:
//! <https://protobuf.dev/programming-guides/encoding/> and
//! <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>.

use std::path::Path;

use crate::quote::quoted;
use crate::token::{Token, kind};
use crate::{Error, input_file};

/// Fields of `ModelProto`.
const PIECES: u64 = 1;
const TRAINER: u64 = 2;
const NORMALIZER: u64 = 3;
/// Fields of `SentencePiece`.
const PIECE: u64 = 1;
const SCORE: u64 = 2;
const TYPE: u64 = 3;
/// A field of `TrainerSpec`, and one of its values.
const MODEL_TYPE: u64 = 3;
const UNIGRAM: u64 = 1;
/// Fields of `NormalizerSpec`.
const NAME: u64 = 1;
const CHARSMAP: u64 = 2;
const ADD_DUMMY_PREFIX: u64 = 3;
const REMOVE_EXTRA_WHITESPACES: u64 = 4;

/// The vocabulary, and how texts are normalised.
pub(crate) struct SentencePieceModel {
    pub(crate) tokens: Vec<Token>,
    /// Whether a space is put in front of texts.
    pub(crate) adds_space: bool,
    /// Whether spaces at both ends are removed and repeated ones collapsed.
    pub(crate) removes_spaces: bool,
}

/// The value of a field.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Float(f32),
    /// Eight bytes, which none of the fields above has.
    Other,
}

/// Reads the file at `path`.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Damaged`], [`Error::Unsupported`] for a unigram model and for a
/// normalizer that changes characters.
pub(crate) fn read(path: &Path) -> Result<SentencePieceModel, Error> {
    let bytes = input_file::read(path)?;
    let damaged = || Error::damaged(path, "is not a SentencePiece model");
    let (mut tokens, mut adds_space, mut is_unigram) = (Vec::new(), true, false);
    let mut removes_spaces = false;
    for field in fields(&bytes) {
        match field.ok_or_else(damaged)? {
            (PIECES, Field::Bytes(bytes)) => tokens.push(token(bytes).ok_or_else(damaged)?),
            (TRAINER, Field::Bytes(bytes)) => {
                // Unigram is the default, so its field may be absent.
                let model_type = number(bytes, MODEL_TYPE).ok_or_else(damaged)?;
                is_unigram = model_type.is_none_or(|model_type| model_type == UNIGRAM);
            }
            (NORMALIZER, Field::Bytes(bytes)) => {
                check_normalizer(bytes).ok_or_else(damaged)??;
                let number = |key| number(bytes, key).ok_or_else(damaged);
                // Both default to true.
                adds_space = number(ADD_DUMMY_PREFIX)? != Some(0);
                removes_spaces = number(REMOVE_EXTRA_WHITESPACES)? != Some(0);
            }
            _ => {}
        }
    }
    if is_unigram {
        let what = format!("the unigram vocabulary of {}", path.display());
        return Err(Error::Unsupported { what });
    }
    if tokens.is_empty() {
        return Err(damaged());
    }
    Ok(SentencePieceModel { tokens, adds_space, removes_spaces })
}

/// Rejects a normalizer that changes characters; outer `None` for a damaged message.
fn check_normalizer(bytes: &[u8]) -> Option<Result<(), Error>> {
    let (mut name, mut has_map) = (String::new(), false);
    for field in fields(bytes) {
        match field? {
            (NAME, Field::Bytes(text)) => name = String::from_utf8_lossy(text).into_owned(),
            (CHARSMAP, Field::Bytes(map)) => has_map = !map.is_empty(),
            _ => {}
        }
    }
    if !has_map && (name.is_empty() || name == "identity") {
        return Some(Ok(()));
    }
    let what = format!("the normalizer `{}` of tokenizer.model", quoted(&name));
    Some(Err(Error::Unsupported { what }))
}

fn token(bytes: &[u8]) -> Option<Token> {
    let mut token = Token { text: String::new(), kind: kind::NORMAL, score: 0.0 };
    for field in fields(bytes) {
        match field? {
            (PIECE, Field::Bytes(text)) => token.text = std::str::from_utf8(text).ok()?.to_owned(),
            (SCORE, Field::Float(score)) => token.score = score,
            // SentencePiece and GGUF number the types alike.
            (TYPE, Field::Number(kind)) => token.kind = i32::try_from(kind).ok()?,
            _ => {}
        }
    }
    if token.kind == kind::USER_DEFINED {
        token.text = token.text.replace('▁', " ");
    }
    Some(token)
}

/// Returns the last value of a number field; outer `None` for a damaged message.
fn number(bytes: &[u8], wanted: u64) -> Option<Option<u64>> {
    let mut found = None;
    for field in fields(bytes) {
        if let (number, Field::Number(value)) = field?
            && number == wanted
        {
            found = Some(value);
        }
    }
    Some(found)
}

/// Iterates over the fields of a message; a damaged one ends with a `None`.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u64, Field<'_>)>> {
    let mut is_damaged = false;
    std::iter::from_fn(move || {
        if bytes.is_empty() || is_damaged {
            return None;
        }
        let field = field(&mut bytes);
        is_damaged = field.is_none();
        Some(field)
    })
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => Field::Number(varint(bytes)?),
        1 => {
            bytes.split_off(..8)?;
            Field::Other
        }
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            Field::Bytes(bytes.split_off(..len)?)
        }
        5 => Field::Float(f32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?)),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, content: &[u8]) -> Vec<u8> {
        let head = [(number << 3 | 2) as u8, content.len() as u8];
        [&head, content].concat()
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let score = [&[2 << 3 | 5][..], &score.to_le_bytes()].concat();
        message(1, &[message(1, text.as_bytes()), score, vec![3 << 3, kind]].concat())
    }

    fn read_bytes(bytes: &[u8]) -> Result<SentencePieceModel, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.model");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    #[test]
    fn reads_pieces_and_settings() {
        let model = [
            piece("<unk>", 0.0, 2),
            piece("▁the", -3.5, 1),
            piece("▁▁", -4.0, 4),
            message(2, &[3 << 3, 2]),
            message(3, &[3 << 3, 0]),
        ];
        let model = read_bytes(&model.concat()).unwrap();
        let SentencePieceModel { tokens, adds_space, removes_spaces } = model;
        let texts: Vec<_> = tokens.iter().map(|token| &*token.text).collect();
        assert_eq!(texts, ["<unk>", "▁the", "  "]);
        assert_eq!((tokens[1].score, tokens[0].kind), (-3.5, kind::UNKNOWN));
        assert!(!adds_space && removes_spaces);
    }

    #[test]
    fn c6_normalizers_are_read_or_rejected() {
        let with = |normalizer: &[u8]| {
            let trainer = message(2, &[3 << 3, 2]);
            read_bytes(&[piece("a", 0.0, 1), trainer, message(3, normalizer)].concat())
        };
        let identity = [message(1, b"identity"), vec![4 << 3, 0]].concat();
        assert!(!with(&identity).unwrap().removes_spaces);
        for normalizer in [message(1, b"nmt_nfkc"), message(2, b"map")] {
            let error = with(&normalizer).err().unwrap().to_string();
            assert!(error.contains("normalizer"), "{error}");
        }
        assert!(with(b"\x0a\xff").is_err());
    }

    #[test]
    fn rejects_other_files_and_unigram_models() {
        assert!(read_bytes(b"").is_err());
        assert!(read_bytes(&[0xff; 40]).is_err());
        assert!(read_bytes(&piece("a", 0.0, 1)[..9]).is_err());
        let unigram = [piece("a", 0.0, 1), message(2, &[3 << 3, 1])].concat();
        assert!(read_bytes(&unigram).err().unwrap().to_string().contains("unigram"));
    }
}
