//! Streaming decoder from tokens to text.

use super::Tokenizer;

/// Decodes tokens to text one by one, holding back incomplete characters.
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    bytes: Vec<u8>,
}

impl<'a> DecodeStream<'a> {
    /// A stream at the start of a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, bytes: Vec::new() }
    }

    /// Takes the next token and returns the text that is complete now: often a word, sometimes
    /// nothing.
    pub fn push(&mut self, id: u32) -> String {
        self.tokenizer.decode_into(id, &mut self.bytes);
        let held_back = incomplete_len(&self.bytes);
        let complete = self.bytes.len() - held_back;
        let text = String::from_utf8_lossy(&self.bytes[..complete]).into_owned();
        self.bytes.drain(..complete);
        text
    }

    /// Whether part of a character is held back.
    pub fn holds_back(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.tokenizer
    }

    /// Returns the bytes held back; incomplete characters become U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The number of bytes at the end that form an incomplete character.
fn incomplete_len(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}
