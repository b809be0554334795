//! Safe access to files whose names or content are untrusted. All other crates use it instead of
//! the standard library's functions, which `cargo xtask tidy` forbids there.
//!
//! A name may be that of a pipe that never ends, a device, a folder, or a link to another place; a
//! file may be larger than memory. Therefore [`open`] accepts only regular files and never blocks,
//! [`read()`] takes a limit, [`ConfinedFolder`] confines reads to one folder, and [`AtomicFile`]
//! replaces only regular files and does so atomically, as [`rename_replacing`] does with a file that is
//! already written. [`rename_no_replace`] and [`rename_to_free_name`] rename without replacing. A
//! [`Stamp`] detects whether a file has changed. [`BackgroundFlush`] flushes a long file while it is
//! written.
//!
//! Not defended against: other users of the machine who replace folders during a call (TOCTOU
//! races).

mod error;
mod flush;
mod folder;
mod name;
mod parent;
mod read;
mod stamp;
mod write;

pub use error::{Error, FileKind};
pub use flush::BackgroundFlush;
pub use folder::ConfinedFolder;
pub use name::{
    create_at_free_name, create_new, numbered_name, rename_no_replace, rename_to_free_name,
    with_free_name,
};
pub use parent::sync_folder;
pub use read::{
    open, read, read_line, read_open, read_prefix, read_stdin, read_stdin_to_string, read_to_string,
};
pub use stamp::Stamp;
pub use write::{AtomicFile, AtomicFileOptions, check_replaceable, rename_replacing, write_atomic};
