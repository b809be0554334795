//! Text to tokens, tokens to text, messages to prompts.

mod template;
mod tokenizer;

pub use template::ChatTemplate;
pub use tokenizer::{DecodeStream, Tokenizer};
