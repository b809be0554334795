//! Text to token ids and back, as the model file describes.
//!
//! The kinds of vocabulary are `gpt2` (byte-level BPE), `llama` (SentencePiece) and `gemma4` (BPE
//! over plain text). Results are those of llama.cpp, token for token. Opening reads only what must
//! be checked; tables for encoding are built when needed.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lilims_gguf::{File, Metadata};

use super::bpe::{self, Bpe};
use super::normalizer::Normalizer;
use super::pre_tokenizer;
use super::sentencepiece::{self, SentencePiece};
use super::special::{PlainText, SpecialTokens, find_turn_ends, find_visible_control, token_at};
use super::special_split::Fragment;
use super::vocab::{self, TokenKind, Vocab, invalid};
use crate::Error;

/// Cancel flag for callers that never cancel.
static NEVER: AtomicBool = AtomicBool::new(false);

/// The tokens of a text, with their positions in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The first encoded byte of the text.
    from: usize,
    /// The tokens.
    pub ids: Vec<u32>,
    /// The end of each fragment (special token or text between two of them), in the text and in
    /// `ids`.
    fragments: Vec<(usize, usize)>,
}

/// A model's tokenizer.
pub struct Tokenizer {
    vocab: Vocab,
    model: Model,
    normalizer: Normalizer,
    specials: OnceLock<SpecialTokens>,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    turn_ends: Vec<u32>,
    /// Control tokens that are decoded as text, sorted.
    visible_control: Vec<u32>,
}

enum Model {
    SentencePiece(SentencePiece),
    ByteLevel(Bpe),
    /// `gemma4`.
    Plain(Bpe),
}

impl Model {
    /// Whether a space is only prepended to the start of a text, not after special tokens.
    fn is_first_only(&self) -> bool {
        matches!(self, Self::SentencePiece(model) if model.is_first_only())
    }
}

/// The size in bytes of the tables of a tokenizer of `n_tokens` that has encoded text: the
/// vocabulary, and merges or a priority per token.
pub(crate) fn table_bytes(metadata: Metadata<'_>, n_tokens: usize) -> usize {
    let merges = match bpe::merges_bytes(metadata) {
        0 => n_tokens * size_of::<u32>(),
        bytes => bytes,
    };
    vocab::size_bytes(n_tokens) + merges
}

impl Tokenizer {
    /// Builds the tokenizer from the metadata of `file`. The file needs no tensors.
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
                    "unknown tokenizer `{}` (known: gpt2, llama, gemma4)",
                    lilims_gguf::quoted(name)
                ),
            });
        }
        let mut vocab = Vocab::from_gguf(file)?;
        // SentencePiece vocabularies begin with `<unk>`, `<s>` and `</s>` unless the file says
        // otherwise.
        let default = |id: u32| (name == "llama" && (id as usize) < vocab.len()).then_some(id);
        let bos = token_at(&vocab, "tokenizer.ggml.bos_token_id").or(default(1));
        let eos = token_at(&vocab, "tokenizer.ggml.eos_token_id").or(default(2));
        let unknown = token_at(&vocab, "tokenizer.ggml.unknown_token_id").or(default(0));
        let (model, adds_bos) = match (name, pre_name) {
            ("llama", _) => {
                (Model::SentencePiece(SentencePiece::from_gguf(&vocab, unknown)?), true)
            }
            ("gemma4", _) | (_, Some("gemma4")) => {
                (Model::Plain(Bpe::from_gguf(&vocab, &pre_tokenizer::NEWLINES, false)?), true)
            }
            (_, Some(pre_name)) => {
                let pre = pre_tokenizer::named(pre_name)?;
                (Model::ByteLevel(Bpe::from_gguf(&vocab, pre, true)?), pre.adds_bos)
            }
            (_, None) => {
                let what = "the file does not name its pre-tokenizer (`tokenizer.ggml.pre`): \
                            it was written by an old converter";
                return Err(Error::Unsupported { what: what.to_owned() });
            }
        };
        let from_file =
            metadata.get("tokenizer.ggml.add_bos_token").and_then(|value| value.as_bool());
        // Files of Gemma 4 say false by mistake.
        let from_file = from_file.filter(|_| !matches!(model, Model::Plain(_)));
        let normalizer = Normalizer::from_gguf(metadata)?;
        let turn_ends = find_turn_ends(&mut vocab, eos);
        let visible_control = find_visible_control(&vocab);
        Ok(Self {
            vocab,
            model,
            normalizer,
            specials: OnceLock::new(),
            bos,
            eos,
            adds_bos: from_file.unwrap_or(adds_bos),
            turn_ends,
            visible_control,
        })
    }

    /// The ids of `text`, without BOS and EOS. With `parse_special`, texts such as `<|im_end|>`
    /// become their control token; without, they are ordinary text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, Error> {
        self.encode_cancellable(text, parse_special, &NEVER)
    }

    /// Like [`Tokenizer::encode`], until `cancel` is set.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub fn encode_cancellable(
        &self,
        text: &str,
        parse_special: bool,
        cancel: &AtomicBool,
    ) -> Result<Vec<u32>, Error> {
        let plain = if parse_special { PlainText::Parts(&[]) } else { PlainText::All };
        Ok(self.encode_from(text, 0, plain, cancel)?.ids)
    }

    /// Encodes `text` from byte `from` on, without BOS and EOS. Control tokens are matched only if
    /// they touch none of the `plain` parts, which are in order and do not overlap: text of users
    /// stays text. Otherwise these parts have no effect on tokens across their boundaries.
    /// User-defined tokens that do not look like control tokens are matched everywhere, like
    /// llama.cpp without `parse_special`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub fn encode_marked(
        &self,
        text: &str,
        from: usize,
        plain: &[Range<usize>],
        cancel: &AtomicBool,
    ) -> Result<Encoding, Error> {
        self.encode_from(text, from, PlainText::Parts(plain), cancel)
    }

    fn encode_from(
        &self,
        text: &str,
        from: usize,
        plain: PlainText<'_>,
        cancel: &AtomicBool,
    ) -> Result<Encoding, Error> {
        // Positions are stored in 32 bits.
        if text.len() > (u32::MAX / 4) as usize {
            return Err(invalid("the text is longer than a gigabyte".to_owned()));
        }
        let specials = self.specials.get_or_init(|| SpecialTokens::new(&self.vocab));
        let check_cancel = || match cancel.load(Ordering::Relaxed) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        };
        // Text after other text gets no space in front.
        let mut after_special = from == 0;
        let mut encoded = Encoding { from, ids: Vec::new(), fragments: Vec::new() };
        specials.split(&self.vocab, text, from, plain, |fragment, end| {
            check_cancel()?;
            let ids = &mut encoded.ids;
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => self.encode_text(text, after_special, ids, check_cancel)?,
            }
            after_special = matches!(fragment, Fragment::Token(_)) && !self.model.is_first_only();
            encoded.fragments.push((end, encoded.ids.len()));
            Ok(())
        })?;
        Ok(encoded)
    }

    /// The ids of `text` that follows other text, all of it as text. Their bytes may differ from
    /// its own where the model normalises texts.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub(crate) fn encode_continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        self.encode_text(text, false, &mut ids, || Ok(()))?;
        Ok(ids)
    }

    /// The number of tokens that end by byte `at` of the encoded text.
    pub fn tokens_before(&self, encoded: &Encoding, at: usize) -> usize {
        let next = encoded.fragments.partition_point(|fragment| fragment.0 <= at);
        let (start, first) = match next.checked_sub(1) {
            Some(last) => encoded.fragments[last],
            None => (encoded.from, 0),
        };
        let Some(&(end, last)) = encoded.fragments.get(next).filter(|_| at > start) else {
            return first;
        };
        let sizes = encoded.ids[first..last].iter().map(|&id| {
            let mut bytes = Vec::new();
            self.decode_into(id, &mut bytes);
            bytes.len()
        });
        let sizes: Vec<usize> = sizes.collect();
        // The space that SentencePiece prepends is not part of the text.
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
        check_cancel: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let text = &*self.normalizer.apply(text);
        match &self.model {
            Model::SentencePiece(model) => {
                model.encode(&self.vocab, text, after_special, ids, check_cancel)
            }
            Model::ByteLevel(model) | Model::Plain(model) => {
                model.encode(&self.vocab, text, ids, check_cancel)
            }
        }
    }

    /// Like [`Tokenizer::encode`], with BOS in front if the model requires it and the text does not
    /// start with it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_prompt(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, Error> {
        self.encode_prompt_cancellable(text, parse_special, &NEVER)
    }

    /// Like [`Tokenizer::encode_prompt`], until `cancel` is set.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::Cancelled`].
    pub fn encode_prompt_cancellable(
        &self,
        text: &str,
        parse_special: bool,
        cancel: &AtomicBool,
    ) -> Result<Vec<u32>, Error> {
        let mut ids = self.encode_cancellable(text, parse_special, cancel)?;
        if let Some(bos) = self.bos.filter(|bos| self.adds_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// Decodes `ids`; invalid UTF-8 becomes U+FFFD, control tokens become nothing.
    ///
    /// The space that SentencePiece vocabularies prepend to a text is kept.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        ids.iter().for_each(|&id| self.decode_into(id, &mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Appends the bytes of one token.
    pub(crate) fn decode_into(&self, id: u32, bytes: &mut Vec<u8>) {
        if self.visible_control.binary_search(&id).is_ok() {
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

    /// Whether the model requires BOS in front of every text.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The end-of-text token, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether `id` ends the turn of the model: EOS, EOT, EOM and similar.
    pub fn ends_turn(&self, id: u32) -> bool {
        self.turn_ends.binary_search(&id).is_ok()
    }

    /// Whether the tokens are the same as those of `other`, but for unused ones at the end.
    pub(crate) fn has_same_tokens(&self, other: &Self) -> bool {
        let (a, b) = (&self.vocab, &other.vocab);
        let n_shared = a.len().min(b.len()) as u32;
        let is_same = |id| a.text(id) == b.text(id) && a.kind(id) == b.kind(id);
        let longer = if a.len() > b.len() { a } else { b };
        let is_unused = |id| longer.kind(id) == TokenKind::Unused;
        (0..n_shared).all(is_same) && (n_shared..longer.len() as u32).all(is_unused)
    }

    /// The tokens that end the turn of the model.
    pub(crate) fn turn_ends(&self) -> &[u32] {
        &self.turn_ends
    }

    /// Whether a token stands for text and not for structure, such as the beginning of a message.
    pub(crate) fn is_text(&self, id: u32) -> bool {
        let kind = self.vocab.kind(id);
        !matches!(kind, TokenKind::Control | TokenKind::Unknown | TokenKind::Unused)
            && !self.ends_turn(id)
    }

    /// The text of a token in the vocabulary, for templates; empty if there is no such token.
    pub fn token_text(&self, id: u32) -> &str {
        std::str::from_utf8(self.vocab.text(id)).unwrap_or_default()
    }

    /// The token with exactly this text.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.vocab.find(text.as_bytes())
    }

    /// The length in bytes of the longest token text.
    pub(crate) fn longest_token(&self) -> usize {
        self.vocab.ids().map(|id| self.vocab.text(id).len()).max().unwrap_or(0)
    }

    /// Tokens in the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }
}
