//! `lilims prompt`: what a model reads of messages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use lilims_core::tokens;
use lilims_terminal::output;
use serde::Serialize;
use serde_json::Value;

use crate::figures::NoteReport;
use crate::options;

/// The largest file of messages or template, in bytes.
const MAX_INPUT_BYTES: u64 = 64 << 20;

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
    pub(crate) fn run(self) -> Result<()> {
        let messages = self.read_messages()?;
        let model = options::model_path(self.model.as_deref())?;
        let read = |path: &PathBuf| lilims_files::read_to_string(path, MAX_INPUT_BYTES);
        let template = self.template.as_ref().map(read).transpose();
        let template = template.context("cannot read the chat template")?;
        let prompt = tokens::prompt(&model, &messages, template.as_deref(), !self.no_generation)?;
        if self.json {
            let notes = prompt.notes.iter().map(|&note| note.into()).collect();
            output::show_json(&Report { text: &prompt.text, ids: &prompt.ids, notes })?;
        } else {
            output::show_payload(&prompt.text)?;
            prompt.notes.iter().for_each(|note| output::note(&format!("[{note}]")));
        }
        Ok(())
    }

    fn read_messages(&self) -> Result<Vec<Value>> {
        let text = if self.messages == Path::new("-") {
            options::refuse_terminal_input("no messages: give a file, or pipe them in");
            lilims_files::read_stdin_to_string(MAX_INPUT_BYTES)
        } else {
            lilims_files::read_to_string(&self.messages, MAX_INPUT_BYTES)
        };
        let text = text.context("cannot read the messages")?;
        let json = serde_json::from_str(&text).context("the messages are no JSON")?;
        Ok(tokens::messages(json)?)
    }
}
