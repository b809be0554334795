//! Text to token ids and back, as the model's file describes it.
//!
//! The kinds of vocabulary are `gpt2` (byte-level byte pairs), `llama` (SentencePiece) and
//! `gemma4` (byte pairs over plain text). Results are those of llama.cpp, token for token.
//! Opening only reads what must be checked; tables for encoding are built when they are needed.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lilims_gguf::{File, Metadata};

use super::bpe::{self, Bpe};
use super::normalizer::Normalizer;
use super::pre;
use super::sentencepiece::{self, SentencePiece};
use super::special::{Fragment, Plain, Specials, find_shown, find_turn_ends, token_at};
use super::vocab::{self, Vocab, damaged};
use crate::Error;

/// Cancel flag for callers that never cancel.
static NEVER: AtomicBool = AtomicBool::new(false);

/// Tokens of a text, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The first byte of the text that was encoded.
    from: usize,
    /// The tokens.
    pub ids: Vec<u32>,
    /// Where each special token and each text between two of them ends, in the text and in `ids`.
    pieces: Vec<(usize, usize)>,
}

/// A model's tokenizer.
pub struct Tokenizer {
    vocab: Vocab,
    model: Model,
    normalizer: Normalizer,
    specials: OnceLock<Specials>,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    turn_ends: Vec<u32>,
    /// Control tokens whose texts are part of what a model writes, in order.
    shown: Vec<u32>,
}

enum Model {
    SentencePiece(SentencePiece),
    ByteLevel(Bpe),
    /// `gemma4`.
    Plain(Bpe),
}

impl Model {
    /// Whether the space in front belongs to the start of a text alone, not to what follows a special
    /// token.
    fn is_first_only(&self) -> bool {
        matches!(self, Self::SentencePiece(model) if model.is_first_only())
    }
}

/// Bytes of the tables of a tokenizer of `n_tokens` that has encoded text: the vocabulary, and merges or
/// a priority for each token.
pub(crate) fn table_bytes(metadata: Metadata<'_>, n_tokens: usize) -> usize {
    let merges = match bpe::merges_bytes(metadata) {
        0 => n_tokens * size_of::<u32>(),
        bytes => bytes,
    };
    vocab::size_bytes(n_tokens) + merges
}

impl Tokenizer {
    /// Builds the tokenizer that the file's metadata describes. Files without tensors are fine.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an unknown model or pre-tokenizer,
    /// [`Error::Tokenizer`] and [`Error::Gguf`] for damaged metadata.
    pub fn from_gguf(file: &Arc<File>) -> Result<Self, Error> {
        let metadata = file.metadata();
        let name = metadata.str("tokenizer.ggml.model").map_err(|error| match file.split() {
            // Only the first part has the vocabulary.
            Some(split) => Error::Split(split),
            None => error.into(),
        })?;
        let pre_name = metadata.get("tokenizer.ggml.pre").and_then(|value| value.as_str());
        if !["gpt2", "llama", "gemma4"].contains(&name) {
            return Err(Error::Unsupported {
                what: format!(
                    "the tokenizer `{}` is not known (known: gpt2, llama, gemma4)",
                    lilims_gguf::quoted(name)
                ),
            });
        }
        let mut vocab = Vocab::from_gguf(file)?;
        // SentencePiece vocabularies begin with these three where the file does not say otherwise.
        let default = |id: u32| (name == "llama" && (id as usize) < vocab.len()).then_some(id);
        let bos = token_at(&vocab, "tokenizer.ggml.bos_token_id").or(default(1));
        let eos = token_at(&vocab, "tokenizer.ggml.eos_token_id").or(default(2));
        let unknown = token_at(&vocab, "tokenizer.ggml.unknown_token_id").or(default(0));
        let (model, adds_bos) = match (name, pre_name) {
            ("llama", _) => {
                (Model::SentencePiece(SentencePiece::from_gguf(&vocab, unknown)?), true)
            }
            ("gemma4", _) | (_, Some("gemma4")) => {
                (Model::Plain(Bpe::from_gguf(&vocab, &pre::NEWLINES, false)?), true)
            }
            (_, Some(pre_name)) => {
                let pre = pre::named(pre_name)?;
                (Model::ByteLevel(Bpe::from_gguf(&vocab, pre, true)?), pre.adds_bos)
            }
            (_, None) => {
                let what = "the file does not name its pre-tokenizer (`tokenizer.ggml.pre`), \
                            as files of old converters do not";
                return Err(Error::Unsupported { what: what.to_owned() });
            }
        };
        let asked = metadata.get("tokenizer.ggml.add_bos_token").and_then(|value| value.as_bool());
        // Files of Gemma 4 say false by mistake.
        let asked = asked.filter(|_| !matches!(model, Model::Plain(_)));
        let normalizer = Normalizer::from_gguf(metadata)?;
        let turn_ends = find_turn_ends(&mut vocab, eos);
        let shown = find_shown(&vocab);
        Ok(Self {
            vocab,
            model,
            normalizer,
            specials: OnceLock::new(),
            bos,
            eos,
            adds_bos: asked.unwrap_or(adds_bos),
            turn_ends,
            shown,
        })
    }

    /// The ids of `text`, without BOS and EOS. With `parse_special`, texts such as `<|im_end|>`
    /// become their control token; without, they are ordinary text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, Error> {
        self.encode_until(text, parse_special, &NEVER)
    }

    /// As [`Tokenizer::encode`], until `cancel` is set.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub fn encode_until(
        &self,
        text: &str,
        parse_special: bool,
        cancel: &AtomicBool,
    ) -> Result<Vec<u32>, Error> {
        let plain = if parse_special { Plain::Parts(&[]) } else { Plain::All };
        Ok(self.encode_from(text, 0, plain, cancel)?.ids)
    }

    /// The ids of `text` from its byte `from` on, without BOS and EOS. Control tokens are matched only
    /// where they touch none of the `plain` parts, which are in order and do not overlap: text of people
    /// stays text. All else goes over the borders of these parts as if there were none. User-defined
    /// tokens that are not written like control tokens are matched everywhere, as llama.cpp does where
    /// it parses no special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub fn encode_marked(
        &self,
        text: &str,
        from: usize,
        plain: &[Range<usize>],
        cancel: &AtomicBool,
    ) -> Result<Encoded, Error> {
        self.encode_from(text, from, Plain::Parts(plain), cancel)
    }

    fn encode_from(
        &self,
        text: &str,
        from: usize,
        plain: Plain<'_>,
        cancel: &AtomicBool,
    ) -> Result<Encoded, Error> {
        // Positions are kept in 32 bits.
        if text.len() > (u32::MAX / 4) as usize {
            return Err(damaged("the text is longer than a gigabyte".to_owned()));
        }
        let specials = self.specials.get_or_init(|| Specials::new(&self.vocab));
        let go_on = || match cancel.load(Ordering::Relaxed) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        };
        // Text that follows other text gets no space in front.
        let mut after_special = from == 0;
        let mut encoded = Encoded { from, ids: Vec::new(), pieces: Vec::new() };
        specials.split(&self.vocab, text, from, plain, |fragment, end| {
            go_on()?;
            let ids = &mut encoded.ids;
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => self.encode_text(text, after_special, ids, go_on)?,
            }
            after_special = matches!(fragment, Fragment::Token(_)) && !self.model.is_first_only();
            encoded.pieces.push((end, encoded.ids.len()));
            Ok(())
        })?;
        Ok(encoded)
    }

    /// How many of the tokens end by the byte `at` of the text that they were encoded from.
    pub fn tokens_before(&self, encoded: &Encoded, at: usize) -> usize {
        let next = encoded.pieces.partition_point(|piece| piece.0 <= at);
        let (start, first) = match next.checked_sub(1) {
            Some(last) => encoded.pieces[last],
            None => (encoded.from, 0),
        };
        let Some(&(end, last)) = encoded.pieces.get(next).filter(|_| at > start) else {
            return first;
        };
        let sizes = encoded.ids[first..last].iter().map(|&id| {
            let mut bytes = Vec::new();
            self.decode_into(id, &mut bytes);
            bytes.len()
        });
        let sizes: Vec<usize> = sizes.collect();
        // A space that SentencePiece puts in front is not part of the text.
        let n_added = sizes.iter().sum::<usize>().saturating_sub(end - start);
        let mut left = at - start + n_added;
        let fits = sizes.iter().take_while(|&&size| {
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        });
        first + fits.count()
    }

    fn encode_text(
        &self,
        text: &str,
        after_special: bool,
        ids: &mut Vec<u32>,
        go_on: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let text = &*self.normalizer.apply(text);
        match &self.model {
            Model::SentencePiece(model) => {
                model.encode(&self.vocab, text, after_special, ids, go_on)
            }
            Model::ByteLevel(model) | Model::Plain(model) => {
                model.encode(&self.vocab, text, ids, go_on)
            }
        }
    }

    /// `encode`, with BOS in front where the model asks for it and the text does not have it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_prompt(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, Error> {
        self.encode_prompt_until(text, parse_special, &NEVER)
    }

    /// As [`Tokenizer::encode_prompt`], until `cancel` is set.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub fn encode_prompt_until(
        &self,
        text: &str,
        parse_special: bool,
        cancel: &AtomicBool,
    ) -> Result<Vec<u32>, Error> {
        let mut ids = self.encode_until(text, parse_special, cancel)?;
        if let Some(bos) = self.bos.filter(|bos| self.adds_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// The text of `ids`; bytes that are not UTF-8 become U+FFFD, control tokens nothing.
    ///
    /// The space that SentencePiece vocabularies put before a text stays.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        ids.iter().for_each(|&id| self.decode_into(id, &mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Appends the bytes of one token.
    pub(super) fn decode_into(&self, id: u32, bytes: &mut Vec<u8>) {
        if self.shown.binary_search(&id).is_ok() {
            return bytes.extend(self.vocab.text(id));
        }
        match &self.model {
            Model::ByteLevel(_) => bpe::decode(&self.vocab, id, bytes),
            Model::SentencePiece(_) | Model::Plain(_) => {
                sentencepiece::decode(&self.vocab, id, bytes);
            }
        }
    }

    /// The beginning-of-text token, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether the model asks for BOS in front of every text.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The end-of-text token, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether `id` ends the model's turn: EOS, EOT, EOM and their kin.
    pub fn ends_turn(&self, id: u32) -> bool {
        self.turn_ends.binary_search(&id).is_ok()
    }

    /// How a token is written in the vocabulary, for templates; empty if there is no such token.
    pub fn token_text(&self, id: u32) -> &str {
        std::str::from_utf8(self.vocab.text(id)).unwrap_or_default()
    }

    /// The token that is written so.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.vocab.find(text.as_bytes())
    }

    /// Bytes of the longest text that a token stands for, at most.
    pub(crate) fn longest_token(&self) -> usize {
        self.vocab.ids().map(|id| self.vocab.text(id).len()).max().unwrap_or(0)
    }

    /// Tokens in the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }
}
