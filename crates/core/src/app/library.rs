//! The commands of the library and of the hub.
//!
//! The network is used by [`Command::SearchHub`], [`Command::Repository`], [`Command::FitOnHub`],
//! [`Command::PlanDownload`] and [`Command::Download`] alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::LoadOptions;
use lilims_gguf::File;
use lilims_hub::{self as hub, Client, Library, Verified};
use lilims_ipc::{
    CatalogueModel, Command, Error, ImportFailure, Limits, Problem, Reply, Report, Repository,
    RepositoryFile, Search,
};
use lilims_models::scan::Environment;
use lilims_models::{Catalogue, quantisation_of};

use super::{App, blocking};
use crate::library::{LibraryHandle, Wanted, download, fetch_header, fit, present};
use crate::{load_options, problem};

impl App {
    pub(super) async fn call_library(&self, command: Command) -> Result<Reply, Error> {
        match command {
            Command::Library => self.read(|it| present::library(it).map(Reply::Library)).await,
            Command::Catalogue => self.read(catalogue).await,
            Command::Fit { name, context_tokens } => {
                self.read(move |it| fit_of(it, &name, context_tokens)).await
            }
            Command::RemoveModel { name } => {
                self.0.converter.check_not_source(&name)?;
                self.change(move |library| library.remove(&name).map(drop)).await
            }
            Command::PinModel { name, is_pinned } => {
                self.change(move |library| library.pin(&name, is_pinned)).await
            }
            Command::VerifyModel { name } => self.report(move |it| verify(it, name)).await,
            Command::ImportFiles { paths } => self.report(|it| import(it, paths)).await,
            Command::AddFolder { path } => {
                let path = PathBuf::from(path);
                self.report(move |it| Ok(present::scanned(it.scan_folder(&path)?))).await
            }
            Command::RemoveFolder { path } => {
                self.change(move |library| library.remove_folder(&PathBuf::from(path))).await
            }
            Command::Scan => {
                self.report(|it| Ok(present::scanned(it.scan(&Environment::of_process())?))).await
            }
            Command::SetQuota { quota_bytes } => {
                self.change(move |library| library.set_quota(quota_bytes)).await
            }
            command => self.call_hub(command).await,
        }
    }

    async fn call_hub(&self, command: Command) -> Result<Reply, Error> {
        match command {
            Command::SearchHub { search } => self.search(search).await,
            Command::Repository { repository } => self.repository(repository).await,
            Command::FitOnHub { repository, file } => self.fit_on_hub(repository, file).await,
            Command::PlanDownload { repository, file } => self.plan(repository, file).await,
            Command::Download { repository, file, agreed_removals } => {
                self.download(repository, file, agreed_removals).await
            }
            Command::Downloads => {
                self.read(|it| {
                    Ok(Reply::Downloads(present::downloads(&it.library()?.downloads()?)))
                })
                .await
            }
            Command::PauseDownload { id } => self.change(move |library| library.pause(id)).await,
            Command::ResumeDownload { id } => self.change(move |library| library.resume(id)).await,
            Command::CancelDownload { id } => self.change(move |library| library.cancel(id)).await,
            Command::SetLimits { limits: Limits { at_once, bytes_per_second } } => {
                let limits = hub::Limits { at_once, bytes_per_second };
                self.change(move |library| library.set_limits(limits)).await
            }
            Command::SetAccessToken { token } => {
                self.read(move |it| set_access_token(it, token.as_deref())).await
            }
            _ => Err(Error::internal("not a command of the hub")),
        }
    }

    pub(super) async fn read(
        &self,
        work: impl FnOnce(&LibraryHandle) -> Result<Reply, Error> + Send + 'static,
    ) -> Result<Reply, Error> {
        let handle = Arc::clone(&self.0.library);
        blocking(move || work(&handle)).await
    }

    /// The client of the hub. Waits for the database, on a blocking thread.
    pub(super) async fn client(&self) -> Result<Client, Error> {
        let handle = Arc::clone(&self.0.library);
        blocking(move || handle.client().cloned()).await
    }

    /// Changes the library and reports that.
    async fn change(
        &self,
        work: impl FnOnce(&Library) -> Result<(), hub::Error> + Send + 'static,
    ) -> Result<Reply, Error> {
        let app = self.clone();
        blocking(move || {
            let done = work(app.0.library.library()?);
            app.0.library_events.notify();
            done?;
            Ok(Reply::Done)
        })
        .await
    }

    /// As [`App::change`], for what has a result to show.
    async fn report(
        &self,
        work: impl FnOnce(&Library) -> Result<Report, Error> + Send + 'static,
    ) -> Result<Reply, Error> {
        let app = self.clone();
        blocking(move || {
            let report = work(app.0.library.library()?);
            app.0.library_events.notify();
            report.map(Reply::Report)
        })
        .await
    }

    async fn search(&self, search: Search) -> Result<Reply, Error> {
        let client = &self.client().await?;
        let found = download::search(client, &search).await;
        self.0.library.note_token(client);
        Ok(Reply::SearchResults(found?))
    }

    async fn repository(&self, repository: String) -> Result<Reply, Error> {
        let client = &self.client().await?;
        let found = client.repository(&repository, "main").await;
        self.0.library.note_token(client);
        let found = found?;
        // A repository is of use without its card.
        let card = client.card(&repository, &found.revision).await.unwrap_or_default();
        self.read(move |it| {
            let entries = it.library()?.entries()?;
            Ok(Reply::Repository(present_repository(found, card, &entries)))
        })
        .await
    }

    async fn fit_on_hub(&self, repository: String, file: String) -> Result<Reply, Error> {
        let client = &self.client().await?;
        let header = fetch_header(client, &repository, "main", &file).await?;
        self.read(move |it| fit_of_file(it.library()?, &header, &file, &LoadOptions::default()))
            .await
    }

    async fn plan(&self, repository: String, file: String) -> Result<Reply, Error> {
        let client = &self.client().await?;
        let file = download::find(client, &Wanted::file(&repository, &file)).await?;
        self.read(move |it| {
            let (plan, _) = download::plan(it.library()?, &file)?;
            Ok(Reply::Plan(plan))
        })
        .await
    }

    /// Makes room as agreed, reserves it, and queues the download.
    async fn download(
        &self,
        repository: String,
        file: String,
        agreed: Vec<String>,
    ) -> Result<Reply, Error> {
        let client = &self.client().await?;
        let file = download::find(client, &Wanted::file(&repository, &file)).await?;
        self.change(move |library| download::enqueue(library, &file, &agreed).map(drop)).await
    }
}

fn catalogue(handle: &LibraryHandle) -> Result<Reply, Error> {
    let (entries, budget) = (handle.library()?.entries()?, fit::budget());
    let models = Catalogue::curated().models.into_iter().map(|it| {
        let is_it = |entry: &&hub::Entry| {
            entry.is_file_of(&it.repository, &it.file, it.sha256.as_deref())
                || entry.path.ends_with(&it.file)
        };
        CatalogueModel {
            here: entries.iter().find(is_it).map(|entry| entry.name.clone()),
            verdict: fit::by_size(it.size_bytes, &budget),
            id: it.id,
            title: it.name,
            repository: it.repository,
            file: it.file,
            size_bytes: it.size_bytes,
            licence: it.licence,
            context_tokens: it.context,
            is_hash_verified: it.hash_verified,
        }
    });
    Ok(Reply::Catalogue(models.collect()))
}

fn set_access_token(handle: &LibraryHandle, token: Option<&str>) -> Result<Reply, Error> {
    if token.is_some_and(|token| token.is_empty() || !token.bytes().all(|it| it.is_ascii_graphic()))
    {
        return Err(Problem::NotAnAccessToken.into());
    }
    hub::set_token(token)?;
    handle.client()?.forget_token();
    Ok(Reply::Done)
}

fn fit_of(handle: &LibraryHandle, name: &str, context_tokens: Option<u32>) -> Result<Reply, Error> {
    let library = handle.library()?;
    let entry = library.entry(name)?;
    let file = File::open(&entry.path).map_err(|error| problem::not_loaded(&error.into()))?;
    fit_of_file(library, &file, &entry.name, &load_options(context_tokens))
}

fn fit_of_file(
    library: &Library,
    file: &File,
    name: &str,
    options: &LoadOptions,
) -> Result<Reply, Error> {
    let fit = fit::of_file(file, name, options, library, &fit::budget());
    fit.map(Reply::Fit).map_err(|error| problem::not_loaded(&error))
}

fn present_repository(found: hub::Repository, card: String, entries: &[hub::Entry]) -> Repository {
    let budget = fit::budget();
    let here = |file: &hub::RepositoryFile| {
        let is_it = |entry: &&hub::Entry| {
            entry.is_file_of(&found.repository, &file.file, file.sha256.as_deref())
        };
        entries.iter().find(is_it).map(|entry| entry.name.clone())
    };
    let files = found.files.iter().map(|file| RepositoryFile {
        file: file.file.clone(),
        size_bytes: file.size_bytes,
        quantisation: quantisation_of(&file.file),
        verdict: fit::by_size(file.size_bytes, &budget),
        here: here(file),
        unsuitable: file.unsuitable().map(hub::unsuitable),
    });
    Repository {
        files: files.collect(),
        repository: found.repository,
        revision: found.revision,
        licence: found.licence,
        is_gated: found.is_gated,
        card,
    }
}

fn verify(library: &Library, name: String) -> Result<Report, Error> {
    let verified = library.verify(&name, &AtomicBool::new(false), &mut |_| {})?;
    Ok(match verified {
        Verified::Good { .. } => Report::Verified { name },
        Verified::Repairing { .. } => Report::Repairing { name },
        Verified::Damaged { .. } => Report::Damaged { name },
    })
}

fn import(library: &Library, paths: Vec<String>) -> Result<Report, Error> {
    let (mut names, mut failures) = (Vec::new(), Vec::new());
    for path in paths.into_iter().map(PathBuf::from) {
        match library.import(&path) {
            Ok(entry) => names.push(entry.name),
            Err(error) => {
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                failures.push(ImportFailure { file, error: error.into() });
            }
        }
    }
    match failures.first() {
        Some(failure) if names.is_empty() => Err(failure.error.clone()),
        _ => Ok(Report::Imported { names, failures }),
    }
}
