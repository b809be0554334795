//! `lilims generate`: one prompt, one answer.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use lilims_engine::{Answer, Finish, GenerateOptions, Model, Progress};
use serde::Serialize;
use serde_json::json;

use crate::interrupt::Interrupt;
use crate::options::{AnswerOptions, ModelOptions};
use crate::{memory, options, output};

/// Answer one prompt. The answer goes to standard output as it is written, a line of figures to
/// standard error.
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
    answer: AnswerOptions,
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
    tokens: usize,
    prompt_tokens: usize,
    prefill_tps: f64,
    decode_tps: f64,
    load_ms: f64,
    ttft_ms: f64,
    peak_rss_bytes: Option<u64>,
    finish: &'static str,
    seed: u64,
}

impl Generate {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let prompt = read_prompt(self.prompt.as_deref())?;
        let interrupt = Interrupt::for_answer();
        let start = Instant::now();
        let loaded = self.model.load(threads, self.answer.context)?;
        let model = &loaded.model;
        let load = start.elapsed();
        let ids = self.prompt_ids(model, &prompt)?;
        let options = GenerateOptions {
            ignore_eos: self.ignore_eos,
            ..self.answer.generate(self.max_tokens)
        };
        let mut session = model.session()?;
        session.set_overflow(self.answer.overflow());
        if let Some(n_sinks) = self.answer.sinks {
            session.set_sinks(n_sinks);
        }
        let mut written = Ok(());
        let answer = interrupt.during(|cancel| {
            session.generate(&ids, &options, cancel, &mut |text, _| {
                if !self.json && written.is_ok() {
                    written = output::show_payload(text);
                    // With nobody to read it, the rest of the answer is not worth computing.
                    cancel.fetch_or(written.is_err(), Ordering::SeqCst);
                }
            })
        })?;
        written?;
        self.report(&answer, load, options.sampling.seed)?;
        loaded.note_peak(session.tokens().len());
        Ok(match answer.finish {
            Finish::Cancelled => interrupt.exit_code(),
            _ => ExitCode::SUCCESS,
        })
    }

    /// The tokens of the prompt, in the chat template's form unless that is not wanted.
    fn prompt_ids(&self, model: &Model, prompt: &str) -> Result<Vec<u32>> {
        let tokenizer = model.tokenizer();
        let template = model.chat_template().filter(|_| !self.raw);
        let Some(template) = template else {
            ensure!(self.system.is_none(), "the model has no chat template, which --system needs");
            return Ok(tokenizer.encode_prompt(prompt, true)?);
        };
        let system = self.system.iter().map(|text| json!({ "role": "system", "content": text }));
        let messages = system.chain([json!({ "role": "user", "content": prompt })]).collect();
        let text = template.render(&messages, true)?;
        Ok(tokenizer.encode_prompt(&text, true)?)
    }

    fn report(&self, answer: &Answer, load: Duration, seed: u64) -> Result<()> {
        let progress = &answer.progress;
        if !self.json {
            output::show_payload("\n")?;
            output::note(&figures(progress));
            return Ok(());
        }
        output::show_json(&Report {
            text: &answer.text,
            tokens: progress.tokens,
            prompt_tokens: progress.prompt_tokens,
            prefill_tps: progress.prefill_tps(),
            decode_tps: progress.decode_tps(),
            load_ms: milliseconds(load),
            ttft_ms: milliseconds(progress.first_token),
            peak_rss_bytes: memory::peak_rss_bytes(),
            finish: finish_name(answer.finish),
            seed,
        })
    }
}

/// The prompt itself, or what standard input holds, without its last line break.
fn read_prompt(prompt: Option<&str>) -> Result<String> {
    match prompt {
        Some("-") => {}
        Some(text) => return Ok(text.to_owned()),
        None => options::refuse_terminal_input(
            "no prompt: give one with --prompt TEXT or through a pipe",
        ),
    }
    let text = io::read_to_string(io::stdin()).context("cannot read the prompt")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// What an answer took, in a line.
pub(crate) fn figures(progress: &Progress) -> String {
    let reread = match progress.reread_tokens {
        0 => String::new(),
        n => format!("; {n} tokens read again, since this model's window cannot slide"),
    };
    format!(
        "[{} prompt tokens, {} read at {:.1}/s; {} tokens at {:.1}/s; first after {:.2} s{reread}]",
        progress.prompt_tokens,
        progress.prefilled_tokens,
        progress.prefill_tps(),
        progress.tokens,
        progress.decode_tps(),
        progress.first_token.as_secs_f64(),
    )
}

/// The name of `finish` in JSON.
fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::EndOfTurn => "end-of-turn",
        Finish::StopText => "stop-text",
        Finish::MaxTokens => "max-tokens",
        Finish::ContextFull => "context-full",
        Finish::Cancelled => "cancelled",
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
