//! `lilims verify`: hashes models again.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use clap::Args;
use lilims_hub::{Entry, Error, Library, Verified};

use super::find;
use super::list::is_missing;
use crate::interrupt::Interrupt;
use crate::output::{self, Line};

/// Hash models again and compare with what their source or an earlier time said. Of a damaged one that
/// came from a repository, the next `lilims pull` fetches the damaged part only.
#[derive(Args)]
pub(crate) struct Verify {
    /// Short names [default: all models].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Verify {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let library = super::open()?;
        let entries: Vec<Entry> = match self.names.is_empty() {
            true => library.entries()?,
            false => {
                let find = |name: &String| find::entry(&library, name);
                self.names.iter().map(find).collect::<Result<_>>()?
            }
        };
        let interrupt = Interrupt::for_answer();
        let mut all_good = true;
        for entry in entries {
            let verdict = interrupt.during(|cancel| judge(&library, &entry, cancel));
            match verdict? {
                None => return Ok(interrupt.exit_code()),
                Some((is_good, what)) => {
                    all_good &= is_good;
                    output::show(&format!("{}  {what}\n", entry.name))?;
                }
            }
        }
        Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whether a model is good, and what to say of it; `None` when it was cancelled.
fn judge(library: &Library, entry: &Entry, cancel: &AtomicBool) -> Result<Option<(bool, String)>> {
    if is_missing(entry) {
        return Ok(Some((false, format!("missing: {}", entry.path.display()))));
    }
    let mut line = Line::default();
    let is_terminal = output::stderr_is_terminal();
    let verified = library.verify(&entry.name, cancel, &mut |done| {
        let percent = done * 100 / entry.size_bytes.max(1);
        if is_terminal {
            line.rewrite(&format!("{}  {percent}%", entry.name));
        }
    });
    line.clear();
    Ok(Some(match verified {
        Ok(Verified::Good { sha256 }) => (true, format!("good  {sha256}")),
        Ok(Verified::Repairing { .. }) => {
            let repository = entry.repository.as_deref().unwrap_or_default();
            let file = entry.file.as_deref().unwrap_or_default();
            let what =
                format!("damaged: `lilims pull {repository}/{file}` fetches the damaged part");
            (false, what)
        }
        Ok(Verified::Damaged { expected, got }) => {
            (false, format!("damaged: its SHA-256 is {got}, it was {expected}"))
        }
        Err(Error::Stopped) => return Ok(None),
        Err(error) => return Err(error.into()),
    }))
}
