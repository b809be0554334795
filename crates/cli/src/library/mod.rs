//! The commands of the model library, one file for each or for a few that belong together.
//!
//! Network connections are opened by `search`, `pull`, and `fit` of a repository only. What the
//! library has is up to `lilims-core`.

mod fit;
mod import;
mod list;
mod progress;
mod pull;
mod quota;
mod remove;
mod search;
mod token;
mod verify;

use anyhow::Result;
use clap::Subcommand;
use lilims_core::library::{BlockingHub, LibraryHandle, Wanted};
use lilims_ipc::LibraryNote;
use lilims_terminal::{output, words};
use remove::Names;

use crate::messages;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Search Hugging Face for models in GGUF.
    Search(search::Search),
    /// Download a model into the library. One that was interrupted goes on where it was.
    Pull(pull::Pull),
    /// List the models on this device.
    List(list::List),
    /// Tell what is known of a model of the library.
    Show(list::Show),
    /// Remove models; files of other programs stay.
    Rm(Names),
    /// Never remove these models to make room.
    Pin(Names),
    /// Let these models be removed to make room.
    Unpin(Names),
    /// Show how much of the disk models may take, or change it.
    Quota(quota::Quota),
    /// Hash models again and compare; all without names. A damaged one makes the exit code 1.
    Verify(verify::Verify),
    /// Bring GGUF files into the library.
    Import(import::Import),
    /// Find the models of LM Studio, Ollama, Jan and Hugging Face's cache, or those in a folder.
    Scan(import::Scan),
    /// Tell whether a model fits into the memory, and how fast it will be.
    Fit(fit::Fit),
    /// Keep an access token of Hugging Face, read from standard input, in the system's keychain.
    Token(token::Token),
}

impl Command {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        match self {
            Self::Search(command) => command.run(),
            Self::Pull(command) => command.run(threads),
            Self::List(command) => command.run(),
            Self::Show(command) => command.run(),
            Self::Rm(names) => names.remove(),
            Self::Pin(names) => names.pin(true),
            Self::Unpin(names) => names.pin(false),
            Self::Quota(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Import(command) => command.run(),
            Self::Scan(command) => command.run(),
            Self::Fit(command) => command.run(threads),
            Self::Token(command) => command.run(),
        }
    }
}

/// The library of this user, with the bundled model in it.
fn open() -> Result<LibraryHandle> {
    let library = LibraryHandle::try_open()?;
    library.notes().iter().for_each(messages::print_note);
    if let Err(error) = library.add_bundled() {
        output::note(&format!("lilims: the bundled model is left out: {error}"));
    }
    Ok(library)
}

/// The hub, whose requests for a pause are printed.
fn hub(library: &LibraryHandle) -> Result<BlockingHub<'_>> {
    Ok(BlockingHub::new(library, |host, pause| {
        let time = words::duration(pause.as_secs());
        output::note(&format!("{host} asks to wait {time}; going on then (Ctrl-C ends)."));
    })?)
}

/// Prints that the hub refused the access token, if it did.
fn note_token_refusal(hub: &BlockingHub<'_>) {
    if hub.take_token_rejection() {
        messages::print_note(&LibraryNote::TokenRefused { host: hub.host().to_owned() });
    }
}

/// Parses what to download.
fn wanted(text: &str) -> Result<Wanted, String> {
    text.parse().map_err(|error| messages::error(&error))
}
