//! `lilims generate`: one prompt, one answer.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use lilims_core::{Error, Finish, OneAnswer, PromptRequest, Update};
use lilims_terminal::{AnswerOutput, interrupt, output};
use serde::Serialize;

use crate::figures::{NoteReport, figures};
use crate::options::{self, AnswerFlags, ModelOptions};

#[derive(Args)]
pub(crate) struct Generate {
    #[command(flatten)]
    model: ModelOptions,
    /// The prompt; `-`, or nothing when input is piped in, reads standard input.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Instructions that stand before the prompt.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "raw")]
    system: Option<String>,
    /// The answer ends after this many tokens.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = options::tokens)]
    max_tokens: usize,
    #[command(flatten)]
    answer: AnswerFlags,
    /// Continue the prompt as it stands, without the chat template. Models without a template
    /// always do.
    #[arg(long)]
    raw: bool,
    /// Go on past the tokens that end a turn.
    #[arg(long)]
    ignore_eos: bool,
    /// Print one JSON object at the end instead of streaming. `ttft_ms` is the time from the
    /// start of reading the prompt to the first token; loading is `load_ms`.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    text: &'a str,
    reasoning: Option<&'a str>,
    tokens: usize,
    prompt_tokens: usize,
    unread_tokens: usize,
    prefill_tps: f64,
    decode_tps: f64,
    load_ms: f64,
    ttft_ms: f64,
    peak_rss_bytes: Option<u64>,
    drafted_tokens: u64,
    accepted_tokens: u64,
    finish: &'static str,
    seed: u64,
    notes: Vec<NoteReport>,
}

impl Generate {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        let prompt = match self.prompt {
            Some(text) if text != "-" => text,
            prompt => read_prompt(prompt.is_some())?,
        };
        let mut options = self.answer.to_options(self.max_tokens)?;
        let model = self.answer.load(&self.model, threads)?;
        options.generate.ignore_eos = self.ignore_eos;
        let question = PromptRequest { prompt, system: self.system, is_raw: self.raw };
        let mut out = AnswerOutput::new(!self.json);
        let answered = interrupt::during(|cancel| {
            model.answer(&question, &options, cancel, &mut |update| match update {
                Update::Reading { .. } => {}
                Update::Reasoning(text, _) => out.reasoning(text),
                Update::Text(text, _) => out.text(text, cancel),
            })
        });
        out.end()?;
        let answered = match answered {
            Err(Error::NoChatTemplate(_)) => {
                bail!("the model has no chat template, which --system needs")
            }
            answered => answered?,
        };
        if self.json {
            print_json(&answered, model.load_time(), options.generate.sampling.seed)?;
        } else {
            output::show_payload("\n")?;
            answered.notes.iter().for_each(|note| output::note(&format!("[{note}]")));
            output::note(&figures(&answered.answer.progress));
        }
        if answered.has_clamped_kv {
            output::note(
                "note: some of the model's keys or values are larger than this type of cache holds \
                 and were cut; --kv-type f32 keeps them",
            );
        }
        Ok(())
    }
}

fn print_json(answered: &OneAnswer, load_time: Duration, seed: u64) -> Result<()> {
    let (answer, progress) = (&answered.answer, &answered.answer.progress);
    output::show_json(&Report {
        text: &answer.text,
        reasoning: answer.reasoning.as_deref(),
        tokens: progress.tokens,
        prompt_tokens: progress.prompt_tokens,
        unread_tokens: progress.unread_tokens,
        prefill_tps: progress.prefill_tps(),
        decode_tps: progress.decode_tps(),
        load_ms: load_time.as_secs_f64() * 1e3,
        ttft_ms: progress.first_token.as_secs_f64() * 1e3,
        peak_rss_bytes: lilims_core::library::machine::peak_bytes(),
        drafted_tokens: answered.counters.drafted,
        accepted_tokens: answered.counters.accepted,
        finish: match answer.finish {
            Finish::EndOfTurn => "end-of-turn",
            Finish::StopText => "stop-text",
            Finish::MaxTokens => "max-tokens",
            Finish::ContextFull => "context-full",
            Finish::Cancelled => "cancelled",
        },
        seed,
        notes: answered.notes.iter().map(|&note| note.into()).collect(),
    })
}

/// What standard input holds, without its last line break.
fn read_prompt(is_wanted: bool) -> Result<String> {
    if !is_wanted {
        options::refuse_terminal_input("no prompt: give one with --prompt TEXT or through a pipe");
    }
    let text = lilims_files::read_stdin_to_string(options::MAX_TEXT_BYTES)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
