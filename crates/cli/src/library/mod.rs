//! The commands of the model library, one file for each or for a few that belong together.
//!
//! Network connections are opened by `search`, `pull`, and `fit` of a repository only. What the
//! library keeps is the business of the crate `lilims-hub`.

mod find;
mod fit;
mod header;
mod import;
mod in_use;
mod keep;
mod list;
mod progress;
mod pull;
mod quota;
mod search;
mod show;
mod target;
mod token;
mod verify;
mod words;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use lilims_hub::Library;
use tokio::runtime::{Builder, Runtime};

use crate::output;

pub(crate) use find::named;
pub(crate) use in_use::InUse;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Search Hugging Face for models in GGUF.
    Search(search::Search),
    /// Download a model into the library. One that was interrupted goes on where it was.
    Pull(pull::Pull),
    /// List the models on this device.
    List(list::List),
    /// Tell what is known of a model of the library.
    Show(show::Show),
    /// Remove models; files of other programs stay.
    Rm(keep::Rm),
    /// Never remove these models to make room.
    Pin(keep::Pin),
    /// Let these models be removed to make room.
    Unpin(keep::Unpin),
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
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        match self {
            Self::Search(command) => command.run(),
            Self::Pull(command) => command.run(threads),
            Self::List(command) => command.run(),
            Self::Show(command) => command.run(),
            Self::Rm(command) => command.run(),
            Self::Pin(command) => command.run(),
            Self::Unpin(command) => command.run(),
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
fn open() -> Result<Library> {
    let library = Library::open_default()?;
    if let Ok(bundled) = lilims_models::bundled_model(None)
        && let Err(error) = library.add_bundled(&bundled)
    {
        output::note(&format!("lilims: the bundled model is left out: {error}"));
    }
    Ok(library)
}

/// What runs the network's side of a command.
fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
