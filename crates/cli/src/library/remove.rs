//! `lilims rm`, `pin` and `unpin`: which models stay.

use anyhow::Result;
use clap::Args;
use lilims_core::library::{Entry, Listed};
use lilims_terminal::output;

use super::list::place;

#[derive(Args)]
pub(crate) struct Names {
    /// Short names.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Names {
    pub(crate) fn remove(self) -> Result<()> {
        super::open()?.remove(&self.names, |removed| output::note(&text(removed)))?;
        Ok(())
    }

    pub(crate) fn pin(self, is_pinned: bool) -> Result<()> {
        super::open()?.pin(&self.names, is_pinned)?;
        Ok(())
    }
}

fn text(removed: &Listed) -> String {
    let Entry { name, path, owner, size_bytes, .. } = &removed.model;
    if removed.is_unfinished {
        format!("Dropped the unfinished {name}.")
    } else if owner.is_some() {
        let (place, path) = (place(&removed.model), path.display());
        format!("{name} left the library; its file stays ({place}): {path}")
    } else {
        format!("Removed {name} ({}).", output::disk_size(*size_bytes))
    }
}
