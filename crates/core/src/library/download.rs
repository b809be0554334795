//! From a repository on the hub to a model of the library: which file, what it takes, and the download.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lilims_engine::LoadOptions;
use lilims_hub::{self as hub, Client, Downloader, Library, Outcome, Source};
use lilims_ipc::{ConnectionAsker, Download, DownloadPlan, Fit, Search, SearchResult};
use tokio::runtime::{Builder, Runtime};

use super::listing::Listed;
use super::wanted::{Wanted, choose};
use super::{LibraryHandle, fetch_header, fit, present};
use crate::error::Error;

/// Bytes of a parameter in the usual quantisations, about.
const BYTES_PER_PARAMETER: f64 = 0.6;
/// The longest pause that a hub asks for and that a command waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);

/// A file of a repository, as the hub has it now.
#[derive(Clone, Debug)]
pub struct HubFile {
    /// `owner/name`.
    pub repository: String,
    /// The licence that the repository states.
    pub licence: Option<String>,
    /// The path in the repository.
    pub file: String,
    /// The file's length.
    pub size_bytes: u64,
    revision: String,
    sha256: Option<String>,
}

/// Finds a file on the hub.
///
/// # Errors
/// The hub's, [`Error::NoSuchFile`], [`Error::Ambiguous`], [`Error::Unsuitable`].
pub(crate) async fn find(client: &Client, wanted: &Wanted) -> Result<HubFile, Error> {
    let revision = wanted.revision.as_deref().unwrap_or("main");
    let found = client.repository(&wanted.target.repository, revision).await?;
    let (pick, available) = (&wanted.target.pick, fit::budget().available_bytes);
    let chosen = choose(&found, pick, available, client.host())?;
    Ok(HubFile {
        file: chosen.file.clone(),
        size_bytes: chosen.size_bytes,
        sha256: wanted.sha256.clone().or_else(|| chosen.sha256.clone()),
        repository: found.repository,
        revision: found.revision,
        licence: found.licence,
    })
}

/// Searches the hub.
///
/// # Errors
/// The hub's.
pub(crate) async fn search(
    client: &Client,
    search: &Search,
) -> Result<Vec<SearchResult>, hub::Error> {
    let query = hub::Search {
        text: search.text.clone(),
        max_parameters: search.max_parameters,
        licence: search.licence.clone(),
    };
    let available = fit::budget().available_bytes as f64;
    let fits = |it: &hub::SearchResult| {
        !search.only_fitting
            || it.parameters.is_none_or(|n| n as f64 * BYTES_PER_PARAMETER <= available)
    };
    let found = client.search(&query).await?.into_iter().filter(fits).map(|it| SearchResult {
        repository: it.repository,
        downloads: it.downloads,
        likes: it.likes,
        licence: it.licence,
        parameters: it.parameters,
        is_gated: it.is_gated,
        updated: it.updated,
    });
    Ok(found.collect())
}

/// What has to be removed for a download, and what prevents it.
///
/// # Errors
/// The library's.
pub(crate) fn plan(
    library: &Library,
    file: &HubFile,
) -> Result<(DownloadPlan, Option<hub::Error>), hub::Error> {
    let plan = library.plan(missing_bytes(library, file)?)?;
    let obstacle = library.check(&plan).err();
    let error = obstacle.as_ref().map(Into::into);
    Ok((present::plan(&file.repository, &file.file, plan, error), obstacle))
}

/// Removes the models that were `agreed` to, reserves the room, and queues the download. Returns its
/// number.
///
/// # Errors
/// [`hub::Error::PlanChanged`] where other models would have to be removed, or the library's.
pub(crate) fn enqueue(
    library: &Library,
    file: &HubFile,
    agreed: &[String],
) -> Result<i64, hub::Error> {
    library.make_room(missing_bytes(library, file)?, agreed)?;
    let id = library.enqueue(&Source {
        repository: file.repository.clone(),
        file: file.file.clone(),
        revision: file.revision.clone(),
        sha256: file.sha256.clone(),
    })?;
    library.reserve(id, file.size_bytes)?;
    Ok(id)
}

fn missing_bytes(library: &Library, file: &HubFile) -> Result<u64, hub::Error> {
    library.missing_bytes(&file.repository, &file.file, file.size_bytes)
}

/// The hub for programs that wait for its answers.
pub struct BlockingHub<'a> {
    handle: &'a LibraryHandle,
    client: Client,
    runtime: Runtime,
    on_pause: fn(&str, Duration),
}

impl<'a> BlockingHub<'a> {
    /// Prepares requests; the network is not used before the first. `on_pause` is called with the
    /// hub's host when it wants a pause, which is then waited for.
    ///
    /// # Errors
    /// When the hub's address is not one, or there are no threads.
    pub fn new(handle: &'a LibraryHandle, on_pause: fn(&str, Duration)) -> Result<Self, Error> {
        let library = Arc::clone(handle.opened()?);
        let client = Client::from_env(library, ConnectionAsker::CommandLine)?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| lilims_ipc::Error::internal(error.to_string()))?;
        Ok(Self { handle, client, runtime, on_pause })
    }

    /// The hub's host name.
    pub fn host(&self) -> &str {
        self.client.host()
    }

    /// Whether the hub has refused the access token since the last call. Requests go on without it.
    pub fn take_token_rejection(&self) -> bool {
        self.client.take_token_rejection()
    }

    /// Searches the hub.
    ///
    /// # Errors
    /// The hub's.
    pub fn search(&self, query: &Search) -> Result<Vec<SearchResult>, Error> {
        self.wait(|| async { Ok(search(&self.client, query).await?) })
    }

    /// Finds a file on the hub.
    ///
    /// # Errors
    /// The hub's, [`Error::NoSuchFile`], [`Error::Ambiguous`], [`Error::Unsuitable`].
    pub fn find(&self, wanted: &Wanted) -> Result<HubFile, Error> {
        self.wait(|| find(&self.client, wanted))
    }

    /// Whether the file will run here, judged by its header.
    ///
    /// # Errors
    /// The hub's, or [`Error::Run`].
    pub fn fit(&self, file: &HubFile, options: &LoadOptions) -> Result<Fit, Error> {
        let header = fetch_header(&self.client, &file.repository, &file.revision, &file.file);
        let (header, library) = (self.runtime.block_on(header)?, self.handle.opened()?);
        let fit = fit::of_file(&header, &file.file, options, library, &fit::budget());
        let name = || format!("{}/{}", file.repository, file.file);
        fit.map_err(|source| Error::Run { name: name(), source: source.into() })
    }

    /// Carries out a queued download, with at most `bytes_per_second`.
    ///
    /// # Errors
    /// The library's.
    pub fn download(
        &self,
        id: i64,
        file: &HubFile,
        bytes_per_second: Option<u64>,
        mut on_progress: impl FnMut(&Download) + Send,
    ) -> Result<Outcome, Error> {
        let downloader = Downloader::new(self.client.clone());
        let downloader = match bytes_per_second {
            Some(limit) => downloader.with_rate_limit(limit),
            None => downloader,
        };
        let run = downloader.run_until_done(id, |row| on_progress(&present::download(row)));
        let outcome = self.runtime.block_on(run)?;
        if let (Outcome::Done(entry), Some(licence)) = (&outcome, &file.licence) {
            self.handle.opened()?.add_licence(&entry.name, licence)?;
        }
        Ok(outcome)
    }

    /// The answer to `ask`; waits once where the hub wants a pause.
    fn wait<T, F: Future<Output = Result<T, Error>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, Error> {
        self.runtime.block_on(async {
            match ask().await {
                Err(Error::Hub(hub::Error::Status { host, retry_after: Some(pause), .. }))
                    if pause <= LONGEST_PAUSE =>
                {
                    (self.on_pause)(&host, pause);
                    tokio::time::sleep(pause).await;
                    ask().await
                }
                result => result,
            }
        })
    }
}

impl LibraryHandle {
    /// The model with the contents of `file`, if it is in the library and can be used.
    ///
    /// # Errors
    /// The library's.
    pub fn model_of(&self, file: &HubFile) -> Result<Option<Listed>, Error> {
        let (repository, sha256) = (&file.repository, file.sha256.as_deref());
        let found =
            self.opened()?.entries()?.into_iter().find(|entry| {
                entry.is_file_of(repository, &file.file, sha256) && entry.is_usable()
            });
        Ok(found.map(Listed::from))
    }

    /// What has to be removed for a download.
    ///
    /// # Errors
    /// What prevents the download.
    pub fn plan_download(&self, file: &HubFile) -> Result<DownloadPlan, Error> {
        let (plan, obstacle) = plan(self.opened()?, file)?;
        obstacle.map_or(Ok(plan), |error| Err(error.into()))
    }

    /// Removes the models that were `agreed` to, reserves the room, and queues the download. Returns its
    /// number.
    ///
    /// # Errors
    /// The library's, where other models would have to be removed.
    pub fn enqueue(&self, file: &HubFile, agreed: &[String]) -> Result<i64, Error> {
        Ok(enqueue(self.opened()?, file, agreed)?)
    }

    /// Pauses a download when called, from any thread; returns whether that was recorded.
    ///
    /// # Errors
    /// When there is no library.
    pub fn download_pauser(&self, id: i64) -> Result<impl Fn() -> bool + Send + 'static, Error> {
        let library = Arc::clone(self.opened()?);
        Ok(move || library.pause(id).is_ok())
    }
}
