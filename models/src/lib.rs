//! The curated models and where a model's files live on this device.
//!
//! [`Catalogue`] is the list that ships with Lilims; [`data_dir`] and [`bundled_model`] find
//! files. Nothing here downloads or opens a model.

mod catalogue;
mod error;
mod location;

pub use catalogue::{Catalogue, Entry};
pub use error::Error;
pub use location::{bundled_model, data_dir};
