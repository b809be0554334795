//! Writes Lilims's own JSON, which `docs/formats.md` describes.

use std::io::{self, Write};

use crate::conversation::Conversation;

/// The value of `format` in an export.
pub const FORMAT: &str = "lilims-conversations";

/// The value of `version` that this program writes, and the newest that it reads.
pub const VERSION: u64 = 1;

/// Writes conversations one after another, a line each.
#[derive(Debug)]
pub struct JsonWriter<W: Write> {
    out: W,
    is_first: bool,
}

impl<W: Write> JsonWriter<W> {
    /// Begins an export.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        write!(out, "{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"conversations\":[")?;
        Ok(Self { out, is_first: true })
    }

    /// Writes a conversation.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&mut self, conversation: &Conversation) -> io::Result<()> {
        self.out.write_all(if self.is_first { b"\n" } else { b",\n" })?;
        self.is_first = false;
        Ok(serde_json::to_writer(&mut self.out, conversation)?)
    }

    /// Ends the export, and returns the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(self.out)
    }
}
