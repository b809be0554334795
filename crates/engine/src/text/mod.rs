//! Text to tokens, tokens to text, messages to prompts.

mod bpe;
mod cuts;
mod decode;
mod merge;
mod normalizer;
mod pre;
mod sentencepiece;
mod special;
mod template;
mod tokenizer;
mod vocab;

pub use decode::DecodeStream;
pub use template::{ChatTemplate, ContentSpan, Rendering};
pub(crate) use tokenizer::table_bytes;
pub use tokenizer::{Encoded, Tokenizer};
