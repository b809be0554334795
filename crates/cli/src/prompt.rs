//! `lilims prompt`: what a model reads of messages.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lilims_engine::{ChatFormat, Prompt, Tokenizer};
use serde::Serialize;
use serde_json::Value;

use crate::generate::NoteReport;
use crate::{options, output};

/// The largest file of messages or template, in bytes.
const MAX_INPUT_BYTES: u64 = 64 << 20;
/// The longest role, in bytes.
const MAX_ROLE_LEN: usize = 64;

/// Print the prompt that a model gets for messages, exactly and with nothing added. Notes on standard
/// error say how it differs from what the messages ask for.
#[derive(Args)]
pub(crate) struct ShowPrompt {
    /// A GGUF file, of which one with only a vocabulary is enough, or a model that `lilims list` shows
    /// [default: the bundled model].
    #[arg(long, value_name = "FILE | NAME")]
    model: Option<PathBuf>,
    /// A JSON list of objects with `role`, `content` and what else the chat template knows, such as
    /// `reasoning_content`; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// Take the chat template in FILE in place of the model's own.
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Print one JSON object: the `text`, its token `ids`, and `notes`.
    #[arg(long)]
    json: bool,
    /// Leave out the beginning of an answer.
    #[arg(long)]
    no_generation: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    text: &'a str,
    ids: &'a [u32],
    notes: Vec<NoteReport>,
}

impl ShowPrompt {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let messages = self.read_messages()?;
        let path = options::model_path(self.model.as_deref())?;
        let load = || -> Result<_, lilims_engine::Error> {
            let file = Arc::new(lilims_gguf::File::open(&path)?);
            let tokenizer = Tokenizer::from_gguf(&file)?;
            Ok((file, tokenizer))
        };
        let (file, tokenizer) =
            load().with_context(|| format!("cannot load the tokenizer of {}", path.display()))?;
        let format = match &self.template {
            Some(template) => {
                let source = lilims_files::read_to_string(template, MAX_INPUT_BYTES)
                    .context("cannot read the chat template")?;
                ChatFormat::from_source(&source, &tokenizer)?
            }
            None => ChatFormat::from_gguf(&file, &tokenizer),
        };
        let cancel = AtomicBool::new(false);
        let prompt = Prompt::new(&format, &tokenizer, &messages, !self.no_generation, &cancel)?;
        if self.json {
            let notes = prompt.notes.iter().map(|&note| NoteReport::of(note)).collect();
            output::show_json(&Report { text: &prompt.text, ids: &prompt.ids, notes })?;
        } else {
            output::show_payload(&prompt.text)?;
            prompt.notes.iter().for_each(|note| output::note(&format!("[{note}]")));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read_messages(&self) -> Result<Vec<Value>> {
        let text = if self.messages == Path::new("-") {
            options::refuse_terminal_input("no messages: give a file, or pipe them in");
            lilims_files::read_stdin_to_string(MAX_INPUT_BYTES)
        } else {
            lilims_files::read_to_string(&self.messages, MAX_INPUT_BYTES)
        };
        let text = text.context("cannot read the messages")?;
        messages(&text)
    }
}

/// The messages in a JSON text.
fn messages(json: &str) -> Result<Vec<Value>> {
    let value: Value = serde_json::from_str(json).context("the messages are no JSON")?;
    let Value::Array(messages) = value else { bail!("the messages are no list") };
    for (idx, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str);
        let role = role.with_context(|| format!("message {idx} has no `role`"))?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        // Templates write roles beside their control tokens.
        ensure!(
            !role.is_empty() && role.len() <= MAX_ROLE_LEN && role.chars().all(is_word),
            "the role of message {idx} is no word of letters"
        );
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_a_list_with_roles() {
        assert_eq!(messages(r#"[{"role": "user", "content": "a"}]"#).unwrap().len(), 1);
        for wrong in ["", "{}", "[1]", r#"[{"content": "a"}]"#, r#"[{"role": "<|im_end|>"}]"#] {
            assert!(messages(wrong).is_err(), "{wrong}");
        }
    }
}
