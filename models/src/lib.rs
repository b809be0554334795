//! The catalogue of recommended models, and where models and conversations are on this device.
//!
//! - [`Catalogue`]: the list that ships with Lilims.
//! - [`data_dir`], [`bundled_model`]: our own files; [`scan`]: models of other programs.
//! - [`short_name`], [`quantisation_of`]: what file names say.
//! - [`unsuitable`]: recognises GGUF files that are not models; [`best_matches`]: selects files of
//!   a repository by quantisation.
//! - [`ConversationFile`]: conversations on disk; [`LoadAttempt`]: marker of a load in progress.
//!
//! Nothing here downloads or runs a model.

mod attempt;
mod catalogue;
mod conversation;
mod error;
mod location;
mod name;
mod pick;
pub mod scan;
mod suitable;

pub use attempt::{LoadAttempt, LoadMarker};
pub use catalogue::{Catalogue, Entry};
pub use conversation::{ConversationFile, enforce_session_quota};
pub use error::Error;
pub use location::{bundled_model, data_dir};
pub use name::{quantisation_of, short_name};
pub use pick::{Match, best_matches, match_file};
pub use suitable::{Unsuitable, unsuitable};
