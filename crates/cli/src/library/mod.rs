//! The commands of the model library, one file for each or for a few that belong together.
//!
//! Network connections are opened by `search`, `pull`, and `fit` of a repository only. What the
//! library keeps is the business of the crate `lilims-hub`.

mod find;
mod fit;
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
use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use lilims_hub::{Client, Error, Library};
use tokio::runtime::{Builder, Runtime};

use crate::{messages, output};

pub(crate) use find::named;
pub(crate) use in_use::InUse;

/// A command keeps a pause that a hub asks for up to this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);

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
    tell_rebuilt(&library);
    if let Ok(bundled) = lilims_models::bundled_model(None)
        && let Err(error) = library.add_bundled(&bundled)
    {
        output::note(&format!("lilims: the bundled model is left out: {error}"));
    }
    Ok(library)
}

/// Says that the index was rebuilt, if it was.
fn tell_rebuilt(library: &Library) {
    if let Some(rebuilt) = library.rebuilt() {
        output::note(&format!("lilims: {}", messages::rebuilt(rebuilt)));
    }
}

/// Says that the hub refused the access token, if it did.
fn tell_of_token(client: &Client) {
    if client.take_token_rejection() {
        output::note(&format!(
            "lilims: {} refuses the access token, so Lilims goes on without it: it may have expired \
             (HF_TOKEN, `lilims token`)",
            client.host()
        ));
    }
}

/// What `ask` gets from the hub. Where that asks for a pause, the pause is said and kept, once.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    match ask().await {
        Err(Error::Status { host, retry_after: Some(wait), .. }) if wait <= LONGEST_PAUSE => {
            let time = words::duration(wait.as_secs());
            output::note(&format!("{host} asks to wait {time}; going on then (Ctrl-C ends)."));
            tokio::time::sleep(wait).await;
            ask().await
        }
        result => result,
    }
}

/// What runs the network's side of a command.
fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
