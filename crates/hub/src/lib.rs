//! The model library and its downloads: finds, downloads, verifies and stores models.
//!
//! [`Library`] is the set of models on this device: rows of the database, a folder with a quota, and
//! locks between processes. [`Client`] talks to a hub with Hugging Face's API. [`Downloader`] runs
//! the library's queue of downloads. A file becomes a model only after its hash has been verified;
//! an interrupted download resumes where it stopped.
//!
//! [`Egress`] is the door out: no other code opens network connections. This crate does not know the
//! engine and loads no models. SQLite and file calls block, so async code runs them on tokio's
//! blocking threads.

mod address;
mod api;
mod blocking;
mod card;
mod client;
mod download;
mod egress;
mod error;
mod library;
mod problem;
mod retry_after;
mod timeouts;
mod token;

pub use address::Address;
pub use api::{Repository, RepositoryFile, Search, SearchResult};
pub use card::sanitise as sanitise_card;
pub use client::Client;
pub use download::{Downloader, Outcome, Verified};
pub use egress::{Egress, PostAnswer};
pub use error::Error;
pub use library::folder::disk_bytes;
pub use library::{
    DownloadProgress, DownloadRow, DownloadState, Entry, Library, Limits, LockGuard,
    LoggedConnection, OngoingConversion, Peak, Plan, PlannedModel, Published, Rebuilt, Scanned,
    Source, Storage, seal_process,
};
pub use problem::{owner_of, unsuitable};
pub use timeouts::Timeouts;
pub use token::set_token;
