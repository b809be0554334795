//! The curated models and where a model's files live on this device.
//!
//! [`Catalogue`] is the list that ships with Lilims; [`data_dir`] and [`bundled_model`] find our
//! files, [`scan`] those of other programs; [`short_name`] and [`quantisation_of`] read names;
//! [`unsuitable`] tells what is no model, [`best_matches`] which files a word means;
//! [`ConversationFile`] keeps conversations, [`Attempt`] a note of each load. Nothing here downloads or runs a model.

mod attempt;
mod catalogue;
mod conversation;
mod error;
mod location;
mod name;
mod pick;
pub mod scan;
mod suitable;

pub use attempt::{Attempt, Note};
pub use catalogue::{Catalogue, Entry};
pub use conversation::{ConversationFile, bound_sessions};
pub use error::Error;
pub use location::{bundled_model, data_dir};
pub use name::{quantisation_of, short_name};
pub use pick::{Match, best as best_matches, fits};
pub use suitable::{Unsuitable, unsuitable};
