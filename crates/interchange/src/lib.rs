//! Conversations as files: reads the exports of other programs and Lilims's own JSON, and writes that
//! JSON, Markdown and plain text.
//!
//! [`read_file`] recognises by content, never by the file's name: Lilims, ChatGPT (a file or the whole
//! ZIP archive), Claude, Open WebUI, llama.cpp's page, LM Studio, and messages as `OpenAI`'s API takes
//! them, also one JSON value a line. It hands over one [`Conversation`] at a time, so memory depends on
//! the largest conversation and not on the file. It is lenient: what has no place is kept as text, or
//! left out and counted in the [`Summary`].
//!
//! Files are untrusted. [`Limits`] bounds what is read of one, and a file that breaks them is an error or
//! counted, never a panic, a hang or a large allocation. Ids that are handed over are always 32
//! hexadecimal digits, parents always stand before their children.
//!
//! This crate owns file formats. It never opens a database or a connection.

mod archive;
mod branch;
mod conversation;
mod error;
mod formats;
mod ids;
mod json;
mod limits;
mod read;
mod repair;
mod stream;
mod summary;
mod time;
mod tree;
mod write;

pub use branch::{write_markdown, write_text};
pub use conversation::{Conversation, Message, Part, PartKind, Role, State};
pub use error::Error;
pub use formats::Format;
pub use limits::Limits;
pub use read::{read_bytes, read_file};
pub use summary::{SkipReason, Skipped, Summary};
pub use tree::in_order;
pub use write::{FORMAT, JsonWriter, VERSION};
