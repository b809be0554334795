//! Counts tokens outside the model's thread, as long as the model is loaded.

use std::fmt;
use std::sync::Arc;

/// The number of tokens of a text; `None` once the model is unloaded.
pub type CountTokens = Arc<dyn Fn(&str) -> Option<usize> + Send + Sync>;

/// Bytes that a token stands for where nothing counts: fewer than in most texts, so that an estimate is
/// rather too high.
const BYTES_PER_TOKEN: usize = 3;

/// What is known of the tokens of the model that was loaded last.
#[derive(Clone)]
pub(crate) struct TokenCounter {
    /// The model's display name.
    pub(crate) model: String,
    /// The tokens of its context.
    pub(crate) context_tokens: usize,
    count: Option<CountTokens>,
}

impl TokenCounter {
    pub(crate) fn new(model: String, context_tokens: usize, count: Option<CountTokens>) -> Self {
        Self { model, context_tokens, count }
    }

    /// The tokens of `text`, if the model is still loaded.
    pub(crate) fn count(&self, text: &str) -> Option<usize> {
        self.count.as_ref().and_then(|count| count(text))
    }

    /// The tokens of `text`, estimated where the model is gone.
    pub(crate) fn count_or_estimate(&self, text: &str) -> usize {
        self.count(text).unwrap_or_else(|| estimate(text.len()))
    }
}

impl Default for TokenCounter {
    /// For a model that is not known yet: a small context, and estimates.
    fn default() -> Self {
        Self::new(String::new(), 4096, None)
    }
}

impl fmt::Debug for TokenCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, context_tokens, .. } = self;
        write!(f, "TokenCounter({model:?}, {context_tokens})")
    }
}

/// About how many tokens a text of so many bytes has.
pub(crate) fn estimate(n_bytes: usize) -> usize {
    n_bytes.div_ceil(BYTES_PER_TOKEN)
}
