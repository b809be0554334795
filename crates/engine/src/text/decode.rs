//! Tokens to text as they come.

use super::Tokenizer;

/// Turns tokens into text as they come, holding back half characters.
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    bytes: Vec<u8>,
}

impl<'a> DecodeStream<'a> {
    /// A stream at the start of a text.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, bytes: Vec::new() }
    }

    /// Takes the next token and returns the text that is complete now, often a word, maybe none.
    pub fn push(&mut self, id: u32) -> String {
        self.tokenizer.decode_into(id, &mut self.bytes);
        let held_back = unfinished(&self.bytes);
        let complete = self.bytes.len() - held_back;
        let text = String::from_utf8_lossy(&self.bytes[..complete]).into_owned();
        self.bytes.drain(..complete);
        text
    }

    /// Whether part of a character is held back.
    pub fn holds_back(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The tokenizer whose tokens it takes.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.tokenizer
    }

    /// Returns what was held back; bytes that never became a character are U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// How many bytes at the end begin a character that more bytes could complete.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}
