//! `lilims pull`: downloads a model into the library.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lilims_core::library::{BlockingHub, HubFile, LibraryHandle, Listed, Outcome, Wanted};
use lilims_core::{Error, LoadOptions};
use lilims_ipc::{DownloadPlan, PlannedModel};
use lilims_terminal::{Progress, interrupt, output, words};

use super::list::place;
use super::{note_token_refusal, progress};
use crate::{Reported, messages};

#[derive(Args)]
pub(crate) struct Pull {
    /// owner/name, owner/name:QUANT, owner/name/FILE, each with @REVISION, an address from the browser,
    /// or a curated model such as qwen3-0.6b. Without more, the only file, else Q4_K_M, else the largest
    /// that fits.
    #[arg(value_name = "REPO[:QUANT | /FILE]", value_parser = super::wanted)]
    target: Wanted,
    /// A branch, a tag or a commit [default: main, or the curated model's commit].
    #[arg(long, value_name = "R")]
    revision: Option<String>,
    /// Remove models that have to leave to make room without asking.
    #[arg(long)]
    yes: bool,
    /// At most this many bytes per second, such as 5MB.
    #[arg(long, value_name = "RATE", value_parser = words::rate)]
    limit_rate: Option<u64>,
}

impl Pull {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        let library = super::open()?;
        if self.target.is_bundled
            && let Some(model) = library.bundled()?
        {
            note_present(&model);
            return Ok(());
        }
        let wanted = match self.revision {
            Some(revision) => self.target.at_revision(revision),
            None => self.target,
        };
        let hub = super::hub(&library)?;
        let file = hub.find(&wanted);
        note_token_refusal(&hub);
        let file = file?;
        if let Some(model) = library.model_of(&file)? {
            note_present(&model);
            return Ok(());
        }
        let size = output::disk_size(file.size_bytes);
        let licence = file.licence.as_deref().unwrap_or("of no stated licence");
        output::note(&format!("{}/{} ({size}, {licence})", file.repository, file.file));
        note_fit(&hub, &file, threads)?;
        let plan = library.plan_download(&file)?;
        if !plan.removes.is_empty() {
            output::note(&plan_text(&plan));
            if !self.yes && !confirm()? {
                output::note("Nothing was changed.");
                return Err(Reported.into());
            }
        }
        download(&library, &hub, &file, &plan, self.limit_rate)
    }
}

fn note_present(model: &Listed) {
    let (place, path) = (place(&model.model), model.model.path.display());
    output::note(&format!("{} is here already ({place}): {path}", model.model.name));
}

/// Prints whether the file will run. The download itself waits for a hub that cannot be reached now.
fn note_fit(hub: &BlockingHub<'_>, file: &HubFile, threads: Option<usize>) -> Result<()> {
    match hub.fit(file, &LoadOptions { threads, ..LoadOptions::default() }) {
        Ok(fit) => output::note(&super::fit::summary(&fit)),
        Err(error) if error.is_transient() => {}
        Err(error @ Error::Hub(_)) => return Err(error.into()),
        Err(error) => {
            let why = messages::problem(&error.into());
            output::note(&format!("Lilims cannot run it: {why}"));
        }
    }
    Ok(())
}

fn download(
    library: &LibraryHandle,
    hub: &BlockingHub<'_>,
    file: &HubFile,
    plan: &DownloadPlan,
    limit: Option<u64>,
) -> Result<()> {
    let agreed: Vec<_> = plan.removes.iter().map(|it| it.name.clone()).collect();
    let id = library.enqueue(file, &agreed)?;
    for name in agreed {
        output::note(&format!("Removed {name}."));
    }
    let mut progress = Progress::default();
    // A pause that cannot be recorded is like a crash: the next pull continues as well.
    let end = interrupt::during_with(library.download_pauser(id)?, || {
        hub.download(id, file, limit, |download| progress::show(&mut progress, download))
    });
    progress.clear();
    note_token_refusal(hub);
    match end? {
        Outcome::Done(model) => {
            let name = &model.name;
            output::note(&format!("`lilims chat --model {name}` talks to it."));
            Ok(output::show(&format!("{name}\n"))?)
        }
        Outcome::Paused => {
            output::note("Paused: the next `lilims pull` of it goes on from here.");
            if interrupt::is_ending() { Ok(()) } else { Err(Reported.into()) }
        }
        Outcome::Cancelled => bail!("the download was cancelled"),
        Outcome::Failed(error) => Err(Error::from(*error))
            .context("the download broke off; the next pull goes on from there"),
    }
}

/// Such as `needs 4.1 GB: removes a (2.3 GB, last used in March) and b; keeps pinned c`.
fn plan_text(plan: &DownloadPlan) -> String {
    let removed = |it: &PlannedModel| {
        let size = output::disk_size(it.disk_bytes);
        match it.last_used_ms {
            Some(at) => format!("{} ({size}, last used {})", it.name, words::when(at)),
            None => format!("{} ({size})", it.name),
        }
    };
    let removes: Vec<_> = plan.removes.iter().map(removed).collect();
    let keeps = plan.keeps.iter();
    let keeps: Vec<_> =
        keeps.map(|it| format!("{} {}", it.stays.map_or("", messages::stays), it.name)).collect();
    let needed = output::disk_size(plan.needed_bytes);
    let text = format!("needs {needed}: removes {}", words::list(&removes));
    if keeps.is_empty() { text } else { format!("{text}; keeps {}", words::list(&keeps)) }
}

/// Asks on the terminal whether to go on.
fn confirm() -> Result<bool> {
    let is_terminal = io::stdin().is_terminal() && output::stderr_is_terminal();
    ensure!(is_terminal, "models would leave, and there is nobody to ask: --yes agrees");
    output::ask("Go on? [y/N] ");
    let line = lilims_files::read_line(&mut io::stdin().lock(), "standard input", 4096)?;
    let answer = line.unwrap_or_default();
    Ok(["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_read_as_sentences() {
        let model = |name: &str, last_used_ms, stays| PlannedModel {
            name: name.to_owned(),
            title: String::new(),
            disk_bytes: 2_300_000_000,
            last_used_ms,
            stays,
        };
        let plan = DownloadPlan {
            repository: String::new(),
            file: String::new(),
            needed_bytes: 4_100_000_000,
            removes: vec![model("a", None, None), model("b", None, None)],
            keeps: vec![model("c", None, Some(lilims_ipc::StayReason::Pinned))],
            obstacle: None,
        };
        let expected = "needs 4.1 GB: removes a (2.3 GB) and b (2.3 GB); keeps pinned c";
        assert_eq!(plan_text(&plan), expected);
        let removes = vec![model("a", Some(0), None)];
        let plan = DownloadPlan { removes, keeps: Vec::new(), ..plan };
        assert!(plan_text(&plan).contains("(2.3 GB, last used in "), "{}", plan_text(&plan));
    }
}
