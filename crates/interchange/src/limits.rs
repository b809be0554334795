//! Bounds on what is read of a file that may be hostile.

/// Bounds on what is read of one file. [`Limits::default`] is far above what programs export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// JSON of one file, in bytes; for an archive, of all its entries together, unpacked.
    pub max_bytes: u64,
    /// One text in the file, in bytes.
    pub max_string_bytes: u64,
    /// JSON values of one conversation.
    pub max_values: usize,
    /// Texts of one conversation together, in bytes.
    pub max_text_bytes: usize,
    /// Messages of one conversation.
    pub max_messages: usize,
    /// Parts of one message.
    pub max_parts: usize,
    /// Entries of an archive.
    pub max_entries: usize,
    /// The central directory of an archive, in bytes.
    pub max_directory_bytes: u64,
    /// Different things that a summary lists as skipped.
    pub max_skipped: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_string_bytes: 64 << 20,
            // A value takes up to 56 bytes of memory.
            max_values: 4 << 20,
            max_text_bytes: 256 << 20,
            max_messages: 100_000,
            max_parts: 1000,
            max_entries: 1 << 17,
            max_directory_bytes: 16 << 20,
            max_skipped: 1000,
        }
    }
}

/// The longest title, and the longest name of a model, folder or file, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 2000;

/// The deepest nesting of JSON that is kept. Below `serde_json`'s own limit of 128, so that a value that
/// is deeper costs that value and not the rest of the file.
pub(crate) const MAX_DEPTH: usize = 100;
