//! Chat templates: messages to the prompt that a model was trained on.

use crate::Error;

/// A compiled chat template.
pub struct ChatTemplate {}

impl ChatTemplate {
    /// Compiles a Jinja `source` as transformers does: sandboxed, blocks trimmed, with
    /// `raise_exception`, `strftime_now` and Python's string methods. `bos` and `eos` are the
    /// texts of those tokens.
    ///
    /// *Errors*: [`Error::Template`].
    pub fn new(_source: &str, _bos: &str, _eos: &str) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Renders `messages` (each an object with at least `role` and `content`).
    ///
    /// *Errors*: [`Error::Template`], also where the template itself refuses the messages.
    pub fn render(
        &self,
        _messages: &serde_json::Value,
        _add_generation_prompt: bool,
    ) -> Result<String, Error> {
        unimplemented!()
    }
}
