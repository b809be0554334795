//! What a model reads: the tokens of texts, and the prompt of messages. Needs the vocabulary only.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::{ChatFormat, Prompt, Tokenizer};
use lilims_gguf::File;
use serde_json::Value;

use crate::error::{Error, MessageFault};

/// The longest role, in bytes.
const MAX_ROLE_LEN: usize = 64;

/// The tokens of each text. `has_special` reads texts such as `<|im_end|>` as the control tokens that
/// they name.
///
/// # Errors
/// [`Error::Load`], [`Error::Engine`].
pub fn tokenize(model: &Path, texts: &[&str], has_special: bool) -> Result<Vec<Vec<u32>>, Error> {
    let (file, tokenizer) = load(model)?;
    let ids = texts.iter().map(|text| tokenizer.encode(text, has_special));
    let ids = ids.collect::<Result<_, _>>()?;
    // What was cut off reads as zeros.
    file.check_unchanged()?;
    Ok(ids)
}

/// The prompt that a model gets for `messages`, in its own chat template or in `template`.
/// `begins_answer` adds the beginning of an answer.
///
/// # Errors
/// [`Error::Messages`], [`Error::Load`], [`Error::Engine`].
pub fn prompt(
    model: &Path,
    messages: &[Value],
    template: Option<&str>,
    begins_answer: bool,
) -> Result<Prompt, Error> {
    let (file, tokenizer) = load(model)?;
    let format = match template {
        Some(source) => ChatFormat::from_source(source, &tokenizer)?,
        None => ChatFormat::from_gguf(&file, &tokenizer),
    };
    let cancel = AtomicBool::new(false);
    let prompt = Prompt::new(&format, &tokenizer, messages, begins_answer, &cancel)?;
    file.check_unchanged()?;
    Ok(prompt)
}

/// Checks that `json` is a list of messages with roles.
///
/// # Errors
/// [`Error::Messages`].
pub fn messages(json: Value) -> Result<Vec<Value>, Error> {
    let Value::Array(messages) = json else { return Err(MessageFault::NotAList.into()) };
    for (idx, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str);
        let role = role.ok_or(MessageFault::NoRole { idx })?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        // Templates write roles beside their control tokens.
        if role.is_empty() || role.len() > MAX_ROLE_LEN || !role.chars().all(is_word) {
            return Err(MessageFault::Role { idx }.into());
        }
    }
    Ok(messages)
}

fn load(path: &Path) -> Result<(Arc<File>, Tokenizer), Error> {
    let load = || -> Result<_, lilims_engine::Error> {
        let file = Arc::new(File::open(path)?);
        let tokenizer = Tokenizer::from_gguf(&file)?;
        Ok((file, tokenizer))
    };
    load().map_err(|source| Error::Load {
        path: path.to_owned(),
        is_tokenizer: true,
        source: source.into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_a_list_with_roles() {
        assert_eq!(messages(json!([{"role": "user", "content": "a"}])).unwrap().len(), 1);
        for wrong in [json!({}), json!([1]), json!([{"content": "a"}]), json!([{"role": "<|x|>"}])]
        {
            assert!(messages(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
