//! The one door to files whose names or content somebody else chose.
//!
//! A name may be that of a pipe that never ends, a device, a folder, or a link to somewhere else; a
//! file may be larger than the memory. So [`open`] takes regular files only and never waits,
//! [`read`] takes a limit, [`Folder`] keeps to one folder, [`Replacement`] replaces regular files
//! only and never leaves half of one, and [`publish_new`] and [`publish_free`] take a free name in
//! one step. A [`Stamp`] tells whether a file is still the one that was opened. `cargo xtask tidy` refuses the standard library's own calls elsewhere.
//!
//! Other users of the machine who exchange folders while we look are not defended against.

mod error;
mod folder;
mod name;
mod read;
mod stamp;
mod write;

pub use error::{Error, Kind};
pub use folder::Folder;
pub use name::{create_free, create_new, free_name, numbered, publish_free, publish_new};
pub use read::{
    open, read, read_line, read_open, read_prefix, read_stdin, read_stdin_to_string, read_to_string,
};
pub use stamp::Stamp;
pub use write::{ReplaceOptions, Replacement, check_replaceable, replace, sync_folder};
