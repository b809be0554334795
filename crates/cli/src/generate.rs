//! `lilims generate`: one prompt, one answer.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use lilims_engine::conversation::Update;
use lilims_engine::prompt::Note;
use lilims_engine::{
    Answer, Conversation, Error, Finish, GenerateOptions, Message, Model, Progress, Role,
};
use serde::Serialize;

use crate::interrupt::Interrupt;
use crate::options::{AnswerOptions, ModelOptions};
use crate::{memory, options, output};

/// Answer one prompt. The answer goes to standard output as it is written, reasoning and a line of
/// figures to standard error.
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

/// The note where values did not fit into the cache.
const CUT_KEYS: &str = "note: some of the model's keys or values are larger than this type of cache holds \
                        and were cut; --kv-type f32 keeps them";

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
    finish: &'static str,
    seed: u64,
    notes: Vec<NoteReport>,
}

impl Generate {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let prompt = read_prompt(self.prompt.as_deref())?;
        let interrupt = Interrupt::for_answer();
        let start = Instant::now();
        let loaded = self.model.load(threads, self.answer.context)?;
        let model = &loaded.model;
        let load = start.elapsed();
        let options = GenerateOptions {
            ignore_eos: self.ignore_eos,
            ..self.answer.generate(self.max_tokens)
        };
        // What the template's error is does not matter where it is not used.
        let is_raw = self.raw || model.chat_format().template()?.is_none();
        ensure!(
            !is_raw || self.system.is_none(),
            "the model has no chat template, which --system needs"
        );
        let mut out = AnswerOutput::new(!self.json);
        let done = if is_raw {
            self.continue_text(model, &prompt, &options, interrupt, &mut out)?
        } else {
            Some(self.answer_question(model, &prompt, &options, interrupt, &mut out)?)
        };
        out.end()?;
        let Some(done) = done else { return Ok(interrupt.exit_code()) };
        self.report(&done, load, options.sampling.seed)?;
        if done.has_cut {
            output::note(CUT_KEYS);
        }
        loaded.note_peak(done.n_held);
        Ok(match done.answer.finish {
            Finish::Cancelled => interrupt.exit_code(),
            _ => ExitCode::SUCCESS,
        })
    }

    /// Goes on with the prompt as it stands. Control tokens in it are what they name. Nothing where it
    /// was interrupted before it was tokens.
    fn continue_text(
        &self,
        model: &Arc<Model>,
        prompt: &str,
        options: &GenerateOptions,
        interrupt: Interrupt,
        out: &mut AnswerOutput,
    ) -> Result<Option<Done>> {
        let mut session = model.session()?;
        session.set_overflow(self.answer.overflow());
        if let Some(n_sinks) = self.answer.sinks {
            session.set_sinks(n_sinks);
        }
        let (prompt, note) = model.truncate_middle(prompt);
        let answer = interrupt.during(|cancel| {
            let ids = model.tokenizer().encode_prompt_cancellable(&prompt, true, cancel)?;
            session.generate(&ids, options, cancel, &mut |text, _| out.text(text, cancel))
        });
        match answer {
            Err(Error::Cancelled) => Ok(None),
            answer => {
                let (answer, n_held) = (answer?, session.tokens().len());
                let notes = note.into_iter().collect();
                let has_cut = session.has_clamped_kv();
                Ok(Some(Done { answer, notes, n_held, has_cut }))
            }
        }
    }

    /// Answers the prompt as a question, in the chat template's form.
    fn answer_question(
        &self,
        model: &Arc<Model>,
        prompt: &str,
        options: &GenerateOptions,
        interrupt: Interrupt,
        out: &mut AnswerOutput,
    ) -> Result<Done> {
        let mut conversation = Conversation::new(model)?;
        conversation.set_overflow(self.answer.overflow());
        if let Some(n_sinks) = self.answer.sinks {
            conversation.set_sinks(n_sinks);
        }
        let system = self.system.iter().map(|text| Message::new(Role::System, text));
        let messages: Vec<_> = system.chain([Message::new(Role::User, prompt)]).collect();
        let answer = interrupt.during(|cancel| {
            conversation.answer(&messages, options, cancel, &mut |update| match update {
                Update::Reading { .. } => {}
                Update::Reasoning(text, _) => out.reasoning(text),
                Update::Text(text, _) => out.text(text, cancel),
            })
        })?;
        let (notes, session) = (conversation.notes().to_vec(), conversation.session());
        let (n_held, has_cut) = (session.tokens().len(), session.has_clamped_kv());
        Ok(Done { answer, notes, n_held, has_cut })
    }

    fn report(&self, done: &Done, load: Duration, seed: u64) -> Result<()> {
        let Done { answer, notes, .. } = done;
        let progress = &answer.progress;
        if !self.json {
            output::show_payload("\n")?;
            notes.iter().for_each(|note| output::note(&format!("[{note}]")));
            output::note(&figures(progress));
            return Ok(());
        }
        output::show_json(&Report {
            text: &answer.text,
            reasoning: answer.reasoning.as_deref(),
            tokens: progress.tokens,
            prompt_tokens: progress.prompt_tokens,
            unread_tokens: progress.unread_tokens,
            prefill_tps: progress.prefill_tps(),
            decode_tps: progress.decode_tps(),
            load_ms: milliseconds(load),
            ttft_ms: milliseconds(progress.first_token),
            peak_rss_bytes: memory::peak_rss_bytes(),
            finish: finish_name(answer.finish),
            seed,
            notes: notes.iter().map(|&note| NoteReport::of(note)).collect(),
        })
    }
}

/// An answer and what there is to say of its prompt.
struct Done {
    answer: Answer,
    notes: Vec<Note>,
    /// Tokens that the session held at the end.
    n_held: usize,
    /// Keys or values were cut to what the cache can hold.
    has_cut: bool,
}

/// A note in JSON.
#[derive(Serialize)]
pub(crate) struct NoteReport {
    code: &'static str,
    text: String,
}

impl NoteReport {
    pub(crate) fn of(note: Note) -> Self {
        Self { code: note.code(), text: note.to_string() }
    }
}

/// Writes an answer as it comes: the text to standard output, reasoning, dimmed, to standard error.
pub(crate) struct AnswerOutput {
    is_shown: bool,
    written: io::Result<()>,
    in_reasoning: bool,
}

impl AnswerOutput {
    /// An answer of which nothing is written yet, or ever unless `is_shown`.
    pub(crate) fn new(is_shown: bool) -> Self {
        Self { is_shown, written: Ok(()), in_reasoning: false }
    }

    /// More of the answer. Once the reader has gone, the rest is not worth computing.
    pub(crate) fn text(&mut self, text: &str, cancel: &AtomicBool) {
        if !self.is_shown || self.written.is_err() || text.is_empty() {
            return;
        }
        self.end_reasoning();
        self.written = output::show_payload(text);
        cancel.fetch_or(self.written.is_err(), Ordering::SeqCst);
    }

    /// More reasoning.
    pub(crate) fn reasoning(&mut self, text: &str) {
        if self.is_shown {
            self.in_reasoning = true;
            output::aside(text);
        }
    }

    fn end_reasoning(&mut self) {
        if std::mem::take(&mut self.in_reasoning) {
            output::note("");
        }
    }

    /// Whether all could be written.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.end_reasoning();
        self.written
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
    let text = lilims_files::read_stdin_to_string(options::MAX_TEXT_BYTES)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// What an answer took, in a line.
pub(crate) fn figures(progress: &Progress) -> String {
    let reread = match progress.reread_tokens {
        0 => String::new(),
        n => format!("; {n} tokens read again, since this model's window cannot slide"),
    };
    let unread = match progress.unread_tokens {
        0 => String::new(),
        n => format!("; {n} tokens of the prompt do not fit the context and were not read"),
    };
    format!(
        "[{} prompt tokens, {} read at {:.1}/s; {} tokens at {:.1}/s; first after {:.2} \
         s{reread}{unread}]",
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
