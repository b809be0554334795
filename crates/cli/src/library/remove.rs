//! `lilims rm`, `pin` and `unpin`: which models stay.

use anyhow::Result;
use clap::Args;
use lilims_core::library::Listed;

use super::list::place;
use crate::output;

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
    let Listed { name, path, .. } = removed;
    if removed.is_unfinished {
        format!("Dropped the unfinished {name}.")
    } else if removed.owner.is_some() {
        format!("{name} left the library; its file stays ({}): {path}", place(removed))
    } else {
        format!("Removed {name} ({}).", output::disk_size(removed.size_bytes))
    }
}
