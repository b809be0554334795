//! Measures models. So far: perplexity.

mod perplexity;

pub use perplexity::{Error, Perplexity, perplexity};
