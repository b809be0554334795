//! `lilims pull`: downloads a model into the library.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lilims_core::library::fetch_header;
use lilims_engine::{LoadOptions, MemoryBudget};
use lilims_hub::{
    Client, Downloader, Entry, Library, Outcome, Plan, PlannedModel, Repository, RepositoryFile,
    Source,
};
use lilims_models::Catalogue;
use tokio::runtime::Runtime;

use super::list::{is_missing, place};
use super::progress::Progress;
use super::target::{Wanted, choose};
use super::{patiently, runtime, tell_of_token, words};
use crate::interrupt::Interrupt;
use crate::messages::{self, Failure};
use crate::output;

/// Download a model into the library. Ctrl-C pauses; the next pull of the same file goes on from there.
#[derive(Args)]
pub(crate) struct Pull {
    /// owner/name, owner/name:QUANT, owner/name/FILE, each with @REVISION, an address from the browser,
    /// or a curated model such as qwen3-0.6b. Without more, the only file, else Q4_K_M, else the largest
    /// that fits.
    #[arg(value_name = "REPO[:QUANT | /FILE]")]
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

/// A file that is to be downloaded.
struct Download<'a> {
    client: Client,
    library: Arc<Library>,
    repository: &'a Repository,
    file: &'a RepositoryFile,
    sha256: Option<String>,
}

impl Pull {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let library = Arc::new(super::open()?);
        let Wanted { target, revision, sha256, curated } = &self.target;
        if let Some(entry) = bundled(&library, curated.as_deref())? {
            return say_here(&entry);
        }
        // Another revision than the curated one holds another file.
        let (revision, sha256) = match &self.revision {
            Some(revision) => (revision.as_str(), None),
            None => (revision.as_deref().unwrap_or("main"), sha256.clone()),
        };
        let client = Client::from_env(library.clone())?;
        let runtime = runtime()?;
        let look = async || client.repository(&target.repository, revision).await;
        let repository = runtime.block_on(patiently(look));
        tell_of_token(&client);
        let repository = repository?;
        let available = MemoryBudget::now(Default::default()).available_bytes;
        let file = choose(&repository, &target.pick, available)?;
        let sha256 = sha256.or_else(|| file.sha256.clone());
        let download = Download { client, library, repository: &repository, file, sha256 };
        if let Some(entry) = download.here()? {
            return say_here(&entry);
        }
        download.introduce();
        download.tell_fit(&runtime, threads)?;
        if !download.make_room(self.yes)? {
            output::note("Nothing was changed.");
            return Ok(ExitCode::FAILURE);
        }
        download.run(&runtime, self.limit_rate)
    }
}

/// The bundled model, where it is the curated one that is wanted.
fn bundled(library: &Library, curated: Option<&str>) -> Result<Option<Entry>> {
    let catalogue = Catalogue::curated();
    if curated.is_none() || catalogue.bundled().map(|model| model.id.as_str()) != curated {
        return Ok(None);
    }
    Ok(library.entries()?.into_iter().find(|entry| entry.is_bundled() && !is_missing(entry)))
}

fn say_here(entry: &Entry) -> Result<ExitCode> {
    let (name, path) = (&entry.name, entry.path.display());
    let line = format!("{name} is here already ({}): {path}", place(entry));
    output::note(&line);
    Ok(ExitCode::SUCCESS)
}

impl Download<'_> {
    /// The model, if a file with these contents is here already.
    fn here(&self) -> Result<Option<Entry>> {
        let (repository, sha256) = (&self.repository.repository, self.sha256.as_deref());
        let is_it = |entry: &Entry| entry.is_file_of(repository, &self.file.file, sha256);
        Ok(self.library.entries()?.into_iter().find(|entry| is_it(entry) && entry.is_usable()))
    }

    /// Says what will be fetched.
    fn introduce(&self) {
        let size = output::disk_size(self.file.size_bytes);
        let licence = self.repository.licence.as_deref().unwrap_or("of no stated licence");
        let (repository, file) = (&self.repository.repository, &self.file.file);
        output::note(&format!("{repository}/{file} ({size}, {licence})"));
    }

    /// Says whether it will run, as far as that can be told. A hub that cannot be reached at the moment
    /// is the download's to wait for.
    fn tell_fit(&self, runtime: &Runtime, threads: Option<usize>) -> Result<()> {
        let Repository { repository, revision, .. } = self.repository;
        let options = LoadOptions { threads, ..LoadOptions::default() };
        let fetched = fetch_header(&self.client, repository, revision, &self.file.file);
        let judged = runtime.block_on(fetched).and_then(|header| {
            super::fit::judge(&self.library, &header, &options, &self.file.file)
        });
        let line = match judged {
            Ok(fit) => super::fit::line(&fit),
            Err(error) if messages::is_transient(&error.problem) => return Ok(()),
            Err(error) if messages::is_of_hub(&error.problem) => return Err(Failure(error).into()),
            Err(error) => format!("Lilims cannot run it: {}", messages::problem(&error)),
        };
        output::note(&line);
        Ok(())
    }

    /// Makes room for what is missing of the file, after asking where a model has to leave. Returns
    /// whether there is room.
    fn make_room(&self, is_agreed: bool) -> Result<bool> {
        let Repository { repository, .. } = self.repository;
        let needed =
            self.library.missing_bytes(repository, &self.file.file, self.file.size_bytes)?;
        let plan = self.library.plan(needed)?;
        self.library.check(&plan)?;
        if plan.removes.is_empty() {
            return Ok(true);
        }
        output::note(&plan_text(&plan));
        if !is_agreed && !agrees()? {
            return Ok(false);
        }
        let agreed: Vec<_> = plan.removes.iter().map(|it| it.name.clone()).collect();
        self.library.make_room(needed, &agreed)?;
        for name in agreed {
            output::note(&format!("Removed {name}."));
        }
        Ok(true)
    }

    fn run(&self, runtime: &Runtime, limit: Option<u64>) -> Result<ExitCode> {
        let id = self.library.enqueue(&Source {
            repository: self.repository.repository.clone(),
            file: self.file.file.clone(),
            revision: self.repository.revision.clone(),
            sha256: self.sha256.clone(),
        })?;
        self.library.reserve(id, self.file.size_bytes)?;
        let downloader = Downloader::new(self.client.clone());
        let downloader = match limit {
            Some(limit) => downloader.with_rate_limit(limit),
            None => downloader,
        };
        let mut progress = Progress::new();
        let (interrupt, library) = (Interrupt::for_answer(), self.library.clone());
        // A pause that cannot be written down is like a crash: the next pull goes on as well.
        let outcome = interrupt.during_with(
            move || library.pause(id).is_ok(),
            || runtime.block_on(downloader.run_until_done(id, |row| progress.tell(row))),
        );
        progress.end();
        tell_of_token(&self.client);
        match outcome? {
            Outcome::Done(entry) => self.done(&entry),
            Outcome::Paused => {
                output::note("Paused: the next `lilims pull` of it goes on from here.");
                let is_ours = interrupt.is_ending();
                Ok(if is_ours { interrupt.exit_code() } else { ExitCode::FAILURE })
            }
            Outcome::Cancelled => bail!("the download was cancelled"),
            Outcome::Failed(error) => Err(Failure(*error))
                .context("the download broke off; the next pull goes on from there"),
        }
    }

    fn done(&self, entry: &Entry) -> Result<ExitCode> {
        if let Some(licence) = &self.repository.licence {
            self.library.add_licence(&entry.name, licence)?;
        }
        let hint = format!("`lilims chat --model {}` talks to it.", entry.name);
        output::note(&hint);
        output::show(&format!("{}\n", &entry.name))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Such as `needs 4.1 GB: removes a (2.3 GB, last used in March) and b; keeps pinned c`.
fn plan_text(plan: &Plan) -> String {
    let leaves = |it: &PlannedModel| {
        let size = output::disk_size(it.disk_bytes);
        match it.last_used_ms {
            Some(at) => format!("{} ({size}, last used {})", it.name, words::when(at)),
            None => format!("{} ({size})", it.name),
        }
    };
    let removes: Vec<_> = plan.removes.iter().map(leaves).collect();
    let stays = |it: &PlannedModel| format!("{} {}", it.stays.map_or("", messages::stays), it.name);
    let keeps: Vec<_> = plan.keeps.iter().map(stays).collect();
    let needed = output::disk_size(plan.needed_bytes);
    let text = format!("needs {needed}: removes {}", words::list(&removes));
    if keeps.is_empty() { text } else { format!("{text}; keeps {}", words::list(&keeps)) }
}

/// Asks on the terminal whether to go on.
fn agrees() -> Result<bool> {
    let is_terminal = io::stdin().is_terminal() && output::stderr_is_terminal();
    ensure!(is_terminal, "models would leave, and there is nobody to ask: --yes agrees");
    output::ask("Go on? [y/N] ");
    let line = lilims_files::read_line(&mut io::stdin().lock(), "standard input", 4096)?;
    Ok(matches!(
        line.as_deref().unwrap_or_default().trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_read_as_sentences() {
        let occupant = |name: &str, stays| PlannedModel {
            name: name.to_owned(),
            title: String::new(),
            disk_bytes: 2_300_000_000,
            last_used_ms: None,
            stays,
        };
        let plan = Plan {
            needed_bytes: 4_100_000_000,
            removes: vec![occupant("a", None), occupant("b", None)],
            keeps: vec![occupant("c", Some(lilims_ipc::StayReason::Pinned))],
            missing_bytes: 0,
        };
        let expected = "needs 4.1 GB: removes a (2.3 GB) and b (2.3 GB); keeps pinned c";
        assert_eq!(plan_text(&plan), expected);
        let used = PlannedModel { last_used_ms: Some(0), ..occupant("a", None) };
        let plan = Plan { removes: vec![used], keeps: Vec::new(), ..plan };
        assert!(plan_text(&plan).contains("(2.3 GB, last used in "), "{}", plan_text(&plan));
    }
}
