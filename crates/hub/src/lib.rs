//! Finds, downloads, checks and keeps models: the only crate that opens network connections,
//! telemetry aside.
//!
//! [`Library`] is what is on this device: an index, our folder with its quota, locks between
//! processes. [`Client`] asks a hub, in the conventions of Hugging Face. [`Downloader`] carries out
//! the library's queue of downloads. A file becomes a model only after its hash held; whatever
//! interrupts a download leaves what is here, and the next attempt goes on from there.
//!
//! Nothing here loads a model or knows the engine.

mod address;
mod api;
mod card;
mod client;
mod download;
mod error;
mod library;
mod pause;
mod problem;
mod token;

pub use address::{Address, NotAnAddress};
pub use api::{Found, Repository, RepositoryFile, Search};
pub use client::{Client, Patience};
pub use download::{Downloader, Outcome, Verified};
pub use error::Error;
pub use library::folder::disk_bytes;
pub use library::{
    Converting, DownloadRow, DownloadState, Entry, Held, Journal, Library, Limits,
    LoggedConnection, Occupant, Peak, Plan, Published, Rebuilt, Scanned, Source, Storage,
};
pub use problem::{owner_of, unsuitable};
pub use token::set_token;
