//! The program `lilims`: the engine on the command line, one file for each command.
//!
//! Exit codes: 0 done, 1 failed (one sentence on standard error says why), 2 wrong usage; 130, 143
//! and 129 when Ctrl-C, `SIGTERM` or `SIGHUP` ended it. A reader that closes the pipe ends the program
//! quietly.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod bench;
mod chat;
mod conversations;
mod convert;
mod eval;
mod extract;
mod figures;
mod generate;
mod inspect;
mod library;
mod logits;
mod messages;
mod options;
mod privacy;
mod prompt;
mod tokenize;

use std::fmt;
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::{Parser, Subcommand};
use lilims_terminal::{interrupt, output};

/// Run language models from GGUF files on this device.
#[derive(Parser)]
#[command(name = "lilims", bin_name = "lilims", version, about, propagate_version = true)]
struct Cli {
    /// Worker threads [default: one for each performance core].
    #[arg(long, global = true, value_name = "N", value_parser = options::threads)]
    threads: Option<usize>,
    /// Make no connection, whatever the command is.
    #[arg(long, global = true)]
    sealed: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer one prompt and stream the answer.
    Generate(generate::Generate),
    /// Hold a conversation in the terminal. Ctrl-C stops an answer.
    Chat(chat::Chat),
    /// Tell what a GGUF file holds and whether Lilims can run it.
    Inspect(inspect::Inspect),
    /// Show the prompt that a model gets for messages.
    Prompt(prompt::ShowPrompt),
    /// Print the text of a document: PDF, Word, HTML or a text in any encoding.
    Extract(extract::Extract),
    /// Turn texts into token ids.
    Tokenize(tokenize::Tokenize),
    /// Write the logits that follow each of some tokens to a safetensors file.
    Logits(logits::Logits),
    /// Measure how fast a model reads and generates.
    Bench(bench::Bench),
    /// Measure how well a model does.
    #[command(subcommand)]
    Eval(eval::Eval),
    /// Make a GGUF file of a checkpoint, or of another GGUF file in another type.
    Convert(convert::Convert),
    /// List, search, show, export and import the conversations of the app.
    #[command(subcommand)]
    Conversations(conversations::Conversations),
    /// Show what left this device, or seal Lilims.
    #[command(subcommand)]
    Privacy(privacy::Privacy),
    #[command(flatten)]
    Library(library::Command),
}

impl Command {
    fn run(self, threads: Option<usize>) -> Result<()> {
        match self {
            Self::Generate(command) => command.run(threads),
            Self::Chat(command) => command.run(threads),
            Self::Inspect(command) => command.run(threads),
            Self::Prompt(command) => command.run(),
            Self::Extract(command) => command.run(),
            Self::Tokenize(command) => command.run(),
            Self::Logits(command) => command.run(threads),
            Self::Bench(command) => command.run(threads),
            Self::Eval(command) => command.run(threads),
            Self::Convert(command) => command.run(threads),
            Self::Conversations(command) => command.run(),
            Self::Privacy(command) => command.run(),
            Self::Library(command) => command.run(threads),
        }
    }
}

/// The command failed, and has already printed why.
#[derive(Debug)]
struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the command failed")
    }
}

impl std::error::Error for Reported {}

fn main() -> ExitCode {
    lilims_core::documents::run_reader_if_requested();
    output::take_over_panics("lilims");
    let Cli { threads, sealed, command } =
        Cli::try_parse().unwrap_or_else(|error| output::exit_with_usage(error));
    if sealed {
        lilims_core::privacy::seal_process();
    }
    match interrupt::install().and_then(|()| command.run(threads)) {
        Err(error) if messages::is_cancelled(&error) => interrupt::exit_code(),
        Err(error) => fail(&error),
        Ok(()) if interrupt::is_ending() => interrupt::exit_code(),
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn fail(error: &Error) -> ExitCode {
    if output::is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    if !error.is::<Reported>() {
        output::error("lilims", error.chain().map(messages::cause), messages::advice_on(error));
    }
    ExitCode::FAILURE
}
