//! Text to tokens, tokens to text, and chat templates.

mod bpe;
mod decode;
mod merge;
mod normalizer;
mod pre_tokenizer;
mod sentencepiece;
mod special;
mod special_split;
mod template;
mod tokenizer;
mod vocab;

pub use decode::DecodeStream;
pub use template::{ChatTemplate, ContentSpan, Rendering};
pub(crate) use tokenizer::table_bytes;
pub use tokenizer::{Encoding, Tokenizer};
