//! `lilims rm`, `pin` and `unpin`: which models stay.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use lilims_hub::{Entry, Library};

use super::find;
use super::list::place;
use crate::output;

/// Remove models, and downloads that did not end. Their files go where they are ours; those of other programs stay where they are and
/// only leave the library.
#[derive(Args)]
pub(crate) struct Rm {
    #[command(flatten)]
    names: Names,
}

/// Never remove these models to make room.
#[derive(Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    names: Names,
}

/// Let these models be removed to make room.
#[derive(Args)]
pub(crate) struct Unpin {
    #[command(flatten)]
    names: Names,
}

#[derive(Args)]
struct Names {
    /// Short names.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Names {
    /// All entries, so that nothing is done where one of the names is wrong.
    fn entries(&self, library: &Library) -> Result<Vec<Entry>> {
        self.names.iter().map(|name| find::entry(library, name)).collect()
    }

    fn pin(&self, is_pinned: bool) -> Result<ExitCode> {
        let library = super::open()?;
        for entry in self.entries(&library)? {
            library.pin(&entry.name, is_pinned)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rm {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let library = super::open()?;
        let (mut entries, mut downloads) = (Vec::new(), Vec::new());
        for name in &self.names.names {
            let unfinished = find::unfinished(&library, name)?;
            match find::find(&library, name)? {
                Some(entry) => entries.push(entry),
                None if unfinished.is_empty() => entries.push(find::entry(&library, name)?),
                None => downloads.extend(unfinished),
            }
        }
        for entry in &entries {
            ensure!(!entry.is_bundled(), "{} ships with Lilims and stays", entry.name);
        }
        for row in downloads {
            library.cancel(row.id)?;
            output::note(&format!("Dropped the unfinished {}.", find::name_of(&row)));
        }
        for entry in entries {
            library.remove(&entry.name)?;
            let name = &entry.name;
            let line = match &entry.owner {
                None => format!("Removed {name} ({}).", output::disk_size(entry.size_bytes)),
                Some(_) => {
                    let (place, path) = (place(&entry), entry.path.display());
                    format!("{name} left the library; its file stays ({place}): {path}")
                }
            };
            output::note(&line);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Pin {
    pub(crate) fn run(self) -> Result<ExitCode> {
        self.names.pin(true)
    }
}

impl Unpin {
    pub(crate) fn run(self) -> Result<ExitCode> {
        self.names.pin(false)
    }
}
