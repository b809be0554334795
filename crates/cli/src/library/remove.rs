//! `lilims rm`, `pin` and `unpin`: which models stay.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lilims_core::library::Listed;

use super::list::place;
use crate::output;

/// Remove models, and downloads that did not end. Their files go where they are ours; those of other
/// programs stay where they are and only leave the library.
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

impl Rm {
    pub(crate) fn run(self) -> Result<ExitCode> {
        super::open()?.remove(&self.names.names, |removed| output::note(&text(removed)))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(removed: &Listed) -> String {
    let Listed { name, path, .. } = removed;
    if removed.is_unfinished {
        format!("Dropped the unfinished {name}.")
    } else if removed.owner.is_some() {
        format!("{name} left the library; its file stays ({}): {path}", place(removed))
    } else {
        format!("Removed {name} ({}).", output::disk_size(removed.size_bytes))
    }
}

impl Pin {
    pub(crate) fn run(self) -> Result<ExitCode> {
        super::open()?.pin(&self.names.names, true)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Unpin {
    pub(crate) fn run(self) -> Result<ExitCode> {
        super::open()?.pin(&self.names.names, false)?;
        Ok(ExitCode::SUCCESS)
    }
}
