//! Text to token ids and back, as the model's file describes it.

use std::sync::Arc;

use crate::Error;

/// A model's tokenizer.
pub struct Tokenizer {}

impl Tokenizer {
    /// Builds the tokenizer that the file's metadata describes. Files without tensors are fine.
    ///
    /// *Errors*: [`Error::Unsupported`] for an unknown model or pre-tokenizer,
    /// [`Error::Tokenizer`] and [`Error::Gguf`] for damaged metadata.
    pub fn from_gguf(_file: &Arc<lilims_gguf::File>) -> Result<Self, Error> {
        unimplemented!()
    }

    /// The ids of `text`, without BOS and EOS. With `parse_special`, texts such as `<|im_end|>`
    /// become their control token; without, they are ordinary text.
    ///
    /// *Errors*: [`Error::Tokenizer`].
    pub fn encode(&self, _text: &str, _parse_special: bool) -> Result<Vec<u32>, Error> {
        unimplemented!()
    }

    /// `encode`, with BOS in front where the model asks for it and the text does not have it.
    ///
    /// *Errors*: [`Error::Tokenizer`].
    pub fn encode_prompt(&self, _text: &str, _parse_special: bool) -> Result<Vec<u32>, Error> {
        unimplemented!()
    }

    /// The text of `ids`; bytes that are not UTF-8 become U+FFFD, control tokens nothing.
    pub fn decode(&self, _ids: &[u32]) -> String {
        unimplemented!()
    }

    /// The beginning-of-text token, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        unimplemented!()
    }

    /// Whether the model asks for BOS in front of every text.
    pub fn adds_bos(&self) -> bool {
        unimplemented!()
    }

    /// The end-of-text token, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        unimplemented!()
    }

    /// Whether `id` ends the model's turn: EOS, EOT, EOM and their kin.
    pub fn ends_turn(&self, _id: u32) -> bool {
        unimplemented!()
    }

    /// How a token is written in the vocabulary, for templates; empty if there is no such token.
    pub fn token_text(&self, _id: u32) -> &str {
        unimplemented!()
    }

    /// Tokens in the vocabulary.
    pub fn n_vocab(&self) -> usize {
        unimplemented!()
    }
}

/// Turns tokens into text as they come, holding back half characters.
pub struct DecodeStream<'a> {
    _tokenizer: &'a Tokenizer,
}

impl<'a> DecodeStream<'a> {
    /// A stream at the start of a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { _tokenizer: tokenizer }
    }

    /// Takes the next token and returns the text that is complete now, often a word, maybe none.
    pub fn push(&mut self, _id: u32) -> String {
        unimplemented!()
    }

    /// Returns what was held back; bytes that never became a character are U+FFFD.
    pub fn finish(self) -> String {
        unimplemented!()
    }
}
