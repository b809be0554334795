//! Flags that several commands share.

use std::io::{self, IsTerminal};
use std::num::IntErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, ValueEnum};
use lilims_core::{
    AnswerOptions, BackendKind, GenerateOptions, KvType, LoadOptions, LocalModel, Overflow,
    Sampling, library,
};
use lilims_terminal::output;

use crate::messages;

/// The most bytes of a text that is read from a file or standard input.
pub(crate) const MAX_TEXT_BYTES: u64 = 256 << 20;

/// Which model, and how to run it.
#[derive(Args)]
pub(crate) struct ModelOptions {
    /// A GGUF file, or a model that `lilims list` shows [default: the bundled model].
    #[arg(long, value_name = "FILE | NAME")]
    model: Option<PathBuf>,
    #[command(flatten)]
    run: RunOptions,
}

/// How to run a model.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// What runs the model: our own kernels or candle's [default: candle where a GPU was built in
    /// and starts, else cpu].
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// How keys and values are cached.
    #[arg(long, value_enum, default_value_t)]
    kv_type: Kv,
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    Cpu,
    Candle,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Kv {
    F32,
    #[default]
    F16,
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<Kv> for KvType {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::F32 => Self::F32,
            Kv::F16 => Self::F16,
            Kv::Q8_0 => Self::Q8_0,
        }
    }
}

impl ModelOptions {
    /// Loads the model with room for `context` tokens, or for as many as it was made for.
    pub(crate) fn load(
        &self,
        threads: Option<usize>,
        context: Option<usize>,
    ) -> Result<LocalModel> {
        self.run.load(self.model.as_deref(), threads, context)
    }
}

impl RunOptions {
    /// Loads the named model with room for `context` tokens, or for as many as it was made for.
    pub(crate) fn load(
        &self,
        named: Option<&Path>,
        threads: Option<usize>,
        context: Option<usize>,
    ) -> Result<LocalModel> {
        let backend = match self.backend {
            Some(Backend::Cpu) => BackendKind::Cpu,
            Some(Backend::Candle) => BackendKind::Candle,
            None => BackendKind::default(),
        };
        let options = LoadOptions { backend, kv_type: self.kv_type.into(), threads, context };
        Ok(LocalModel::load(model_path(named)?, options)?)
    }
}

/// The file that `--model` names, as a path or as a model of the library, else the bundled model's.
pub(crate) fn model_path(named: Option<&Path>) -> Result<PathBuf> {
    let path = library::model_path(named, &messages::print_note);
    match named {
        None => path.context("no --model was given"),
        Some(_) => Ok(path?),
    }
}

/// How tokens are picked and when an answer ends.
#[derive(Args)]
pub(crate) struct AnswerFlags {
    /// 0 picks the likeliest token each time; larger values vary more.
    #[arg(long, value_name = "T", default_value_t = Sampling::CHAT.temperature, value_parser = temperature)]
    temperature: f32,
    /// Sample from the K likeliest tokens; 0 is off.
    #[arg(long, value_name = "K", default_value_t = Sampling::CHAT.top_k, value_parser = tokens)]
    top_k: usize,
    /// Sample from the likeliest tokens that together hold this probability; 1 is off.
    #[arg(long, value_name = "P", default_value_t = Sampling::CHAT.top_p, value_parser = probability)]
    top_p: f32,
    /// Drop tokens less likely than this share of the likeliest; 0 is off.
    #[arg(long, value_name = "P", default_value_t = Sampling::CHAT.min_p, value_parser = probability)]
    min_p: f32,
    /// Make tokens that came up lately less likely; 1 is off.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    repeat_penalty: f32,
    /// Lower a recent token's logit by this for each time it came up; 0 is off.
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    #[arg(value_parser = finite)]
    frequency_penalty: f32,
    /// Lower a recent token's logit by this; 0 is off.
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    #[arg(value_parser = finite)]
    presence_penalty: f32,
    /// Fixes the random numbers [default: new ones each time].
    #[arg(long, value_name = "S", value_parser = seed)]
    seed: Option<u64>,
    /// End the answer before this text. Can be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Guess up to N tokens from what was said before and read them together: faster where an answer
    /// repeats its prompt, and the same answer. 0 is off.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = tokens)]
    lookup: usize,
    /// Let this smaller model of the same vocabulary guess ahead: the same answer, and faster where it
    /// guesses well. It takes memory, too, and rests while it does not help.
    #[arg(long, value_name = "FILE | NAME")]
    draft: Option<PathBuf>,
    /// Write JSON that follows the JSON schema in FILE, after any reasoning. An answer that is cut off
    /// is the beginning of such JSON.
    #[arg(long, value_name = "FILE")]
    json_schema: Option<PathBuf>,
    /// The most tokens that the model sees at once [default: the model's own, at most 8192].
    #[arg(long, value_name = "N", value_parser = some_tokens)]
    context: Option<usize>,
    /// Keep the first N tokens when the context is full and the window slides, at most half of it
    /// [default: 4, in a chat what stands before the first question].
    #[arg(long, value_name = "N", value_parser = tokens)]
    sinks: Option<usize>,
    /// What happens when the context is full: the oldest tokens leave, or the answer ends, or, in a chat,
    /// the model writes a summary of the messages that leave.
    #[arg(long, value_enum, default_value_t)]
    overflow: OnOverflow,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum OnOverflow {
    #[default]
    Slide,
    Stop,
    Summarise,
}

impl AnswerFlags {
    /// Loads `model` with room for the context, and the draft model where one is named.
    pub(crate) fn load(&self, model: &ModelOptions, threads: Option<usize>) -> Result<LocalModel> {
        let mut model = model.load(threads, self.context)?;
        if let Some(draft) = &self.draft {
            model.load_draft(model_path(Some(draft))?)?;
        }
        Ok(model)
    }

    /// Options for answers of at most `max_tokens`, with a new seed where none was given.
    ///
    /// # Errors
    /// If the file of the schema cannot be read.
    pub(crate) fn to_options(&self, max_tokens: usize) -> Result<AnswerOptions> {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            seed: self.seed.unwrap_or_else(lilims_core::random_seed),
            ..Sampling::default()
        };
        let read = |path: &PathBuf| lilims_files::read_to_string(path, MAX_TEXT_BYTES);
        let generate = GenerateOptions {
            sampling,
            max_tokens,
            stop: self.stop.clone(),
            ignore_eos: false,
            lookup: self.lookup,
            json_schema: self.json_schema.as_ref().map(read).transpose()?,
        };
        Ok(AnswerOptions {
            generate,
            overflow: match self.overflow {
                OnOverflow::Slide => Overflow::Slide,
                OnOverflow::Stop => Overflow::Stop,
                OnOverflow::Summarise => Overflow::Summarise,
            },
            sinks: self.sinks,
        })
    }
}

/// Ends the program as for wrong usage, with `what` is missing, where standard input is a terminal:
/// nobody would know that it is waited for.
pub(crate) fn refuse_terminal_input(what: &str) {
    if io::stdin().is_terminal() {
        output::exit_with_usage(
            crate::Cli::command().error(ErrorKind::MissingRequiredArgument, what),
        );
    }
}

/// The most tokens that any option takes: no context is as large, and sums of some cannot overflow.
const MAX_TOKENS: usize = u32::MAX as usize;
/// The most samples that are measured or chunks that are read.
const MAX_COUNT: usize = 1_000_000;

/// Parses a number of tokens, which may be 0.
pub(crate) fn tokens(text: &str) -> Result<usize, String> {
    whole(text, 0, MAX_TOKENS)
}

/// Parses a number of tokens of at least one.
pub(crate) fn some_tokens(text: &str) -> Result<usize, String> {
    whole(text, 1, MAX_TOKENS)
}

/// Parses a count of at least one.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    whole(text, 1, MAX_COUNT)
}

/// Parses a number of worker threads.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    whole(text, 1, lilims_core::max_threads())
}

/// Parses a seed.
fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u64::MAX))
}

/// Parses a whole number from `least` to `most`.
fn whole(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number < least => Err(format!("it must be at least {least}")),
        Ok(number) if number <= most => Ok(number),
        Ok(_) => Err(format!("it must be at most {most}")),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
            Err(format!("it must be at most {most}"))
        }
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

fn finite(text: &str) -> Result<f32, String> {
    number(text, |x| x.is_finite(), "it must be a number")
}

fn temperature(text: &str) -> Result<f32, String> {
    number(text, |x| x.is_finite() && x >= 0.0, "it must be 0 or larger")
}

fn positive(text: &str) -> Result<f32, String> {
    number(text, |x| x.is_finite() && x > 0.0, "it must be larger than 0")
}

fn probability(text: &str) -> Result<f32, String> {
    number(text, |x| (0.0..=1.0).contains(&x), "it must be between 0 and 1")
}

fn number(text: &str, valid: impl Fn(f32) -> bool, rule: &str) -> Result<f32, String> {
    text.parse().ok().filter(|&x| valid(x)).ok_or_else(|| rule.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused() {
        assert_eq!(temperature("0.7"), Ok(0.7));
        for text in ["-1", "NaN", "inf", "warm", ""] {
            assert!(temperature(text).is_err(), "{text}");
            assert!(probability(text).is_err(), "{text}");
            assert!(positive(text).is_err(), "{text}");
        }
        assert!(probability("1.01").is_err());
        for text in ["0", "-1", "1.5", "1e3", "", "99999999999", "18446744073709551616", "９"] {
            assert!(count(text).is_err(), "{text}");
            assert!(some_tokens(text).is_err(), "{text}");
            assert!(threads(text).is_err(), "{text}");
        }
        assert_eq!(count("2"), Ok(2));
        assert_eq!(tokens("0"), Ok(0));
        assert_eq!(threads("1"), Ok(1));
        let most = lilims_core::max_threads();
        assert_eq!(threads("10000"), Err(format!("it must be at most {most}")));
        assert_eq!(threads(&u128::MAX.to_string()), Err(format!("it must be at most {most}")));
        assert!(seed("-1").is_err() && seed("18446744073709551615").is_ok());
        assert_eq!(finite("-0.5"), Ok(-0.5));
    }
}
