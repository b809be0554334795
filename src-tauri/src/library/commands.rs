//! What the page may ask of the library.
//!
//! Whatever reads files runs on threads that may block. The hub is asked by `search_hub`,
//! `repository`, `fit` of a repository's file, `plan_download` and `download`, and by nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_gguf::File;
use lilims_hub::{self as hub, Client, Scanned, Source, Verified};
use lilims_ipc::{
    Download, DownloadPlan, Error, Fit, Found, Library, Limits, Recommended, Report, Repository,
    RepositoryFile, Search,
};
use lilims_models::scan::Environment;
use lilims_models::{Catalogue, quantisation_of};
use tauri::{AppHandle, Manager, State, Wry};
use tauri_plugin_dialog::{DialogExt, FileDialogBuilder, FilePath};

use super::convert::commands::check_not_converted;
use super::{Converter, Shelf, changed, errors, fit, shown};
use crate::model_thread::{ModelThread, Target};

/// What is read of a model's header first, and at most.
const FIRST_HEADER_BYTES: u64 = 1 << 20;
/// Parameters take about this many bytes each in the usual quantisations.
const BYTES_PER_PARAMETER: f64 = 0.6;
/// Files that a report names at most.
const NAMED_LEFT_OUT: usize = 3;

pub(super) type Answer<T> = Result<T, Error>;

/// Runs what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    app: &AppHandle,
    work: impl FnOnce(&Shelf) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let app = app.clone();
    let done = tauri::async_runtime::spawn_blocking(move || work(&app.state::<Shelf>())).await;
    done.unwrap_or_else(|error| Err(crate::errors::internal(&error.to_string())))
}

/// As [`blocking`], with the library; tells the page of the change afterwards.
async fn change<T: Send + 'static>(
    app: &AppHandle,
    work: impl FnOnce(&hub::Library) -> Result<T, hub::Error> + Send + 'static,
) -> Answer<T> {
    let handle = app.clone();
    blocking(app, move |shelf| {
        let done = work(shelf.library()?).map_err(|error| errors::of(&error));
        changed(&handle);
        done
    })
    .await
}

fn client(shelf: &Shelf) -> Answer<Client> {
    Client::from_env(Arc::clone(shelf.library()?)).map_err(|error| errors::of(&error))
}

/// The library.
#[tauri::command]
pub(crate) async fn library(app: AppHandle) -> Answer<Library> {
    blocking(&app, shown::library).await
}

/// The queue of downloads.
#[tauri::command]
pub(crate) async fn downloads(app: AppHandle) -> Answer<Vec<Download>> {
    blocking(&app, |shelf| {
        let rows = shelf.library()?.downloads().map_err(|error| errors::of(&error))?;
        Ok(shown::downloads(&rows))
    })
    .await
}

/// The models that Lilims recommends.
#[tauri::command]
pub(crate) async fn catalogue(app: AppHandle) -> Answer<Vec<Recommended>> {
    blocking(&app, |shelf| {
        let (library, budget) = (shelf.library()?, fit::budget());
        let entries = library.entries().map_err(|error| errors::of(&error))?;
        let models = Catalogue::curated().models.into_iter();
        Ok(models
            .map(|it| Recommended {
                here: entries
                    .iter()
                    .find(|entry| {
                        entry.file.as_ref() == Some(&it.file) || entry.path.ends_with(&it.file)
                    })
                    .map(|entry| entry.name.clone()),
                verdict: fit::by_size(it.size_bytes, &budget),
                id: it.id,
                title: it.name,
                repository: it.repository,
                file: it.file,
                size_bytes: it.size_bytes,
                licence: it.licence,
                context_tokens: it.context,
                good_at: it.good_at,
                is_hash_verified: it.hash_verified,
            })
            .collect())
    })
    .await
}

/// Searches the hub.
#[tauri::command]
pub(crate) async fn search_hub(shelf: State<'_, Shelf>, search: Search) -> Answer<Vec<Found>> {
    let available = fit::budget().available_bytes;
    let wanted = hub::Search {
        text: search.text,
        max_parameters: search.max_parameters,
        licence: search.licence,
    };
    let client = client(&shelf)?;
    let found = client.search(&wanted).await;
    shelf.note_token(&client);
    let found = found.map_err(|error| errors::of(&error))?;
    let fits = |it: &hub::Found| {
        !search.only_fitting
            || it.parameters.is_none_or(|n| n as f64 * BYTES_PER_PARAMETER <= available as f64)
    };
    Ok(found
        .into_iter()
        .filter(fits)
        .map(|it| Found {
            repository: it.repository,
            downloads: it.downloads,
            likes: it.likes,
            licence: it.licence,
            parameters: it.parameters,
            is_gated: it.is_gated,
            updated: it.updated,
        })
        .collect())
}

/// A repository of the hub with its card and its files.
#[tauri::command]
pub(crate) async fn repository(shelf: State<'_, Shelf>, repository: String) -> Answer<Repository> {
    let client = client(&shelf)?;
    let wrong = |error| errors::of(&error);
    let found = client.repository(&repository, "main").await;
    shelf.note_token(&client);
    let found = found.map_err(wrong)?;
    // A repository is of use without its card.
    let card = client.card(&repository, &found.revision).await.unwrap_or_default();
    let budget = fit::budget();
    let entries = shelf.library()?.entries().map_err(wrong)?;
    let here = |file: &hub::RepositoryFile| {
        let is_it = |entry: &&hub::Entry| {
            entry.repository.as_ref() == Some(&repository)
                && entry.file.as_ref() == Some(&file.file)
                || entry.sha256.is_some() && entry.sha256 == file.sha256
        };
        entries.iter().find(is_it).map(|entry| entry.name.clone())
    };
    let files = found.files.iter().map(|file| RepositoryFile {
        file: file.file.clone(),
        size_bytes: file.size_bytes,
        quantisation: quantisation_of(&file.file),
        verdict: fit::by_size(file.size_bytes, &budget),
        here: here(file),
        unsuitable: file.unsuitable().map(|why| why.to_string()),
    });
    Ok(Repository {
        files: files.collect(),
        repository: found.repository,
        revision: found.revision,
        licence: found.licence,
        is_gated: found.is_gated,
        card,
    })
}

/// Whether a model will run, by its header: one of the library, or a file of a repository.
#[tauri::command]
pub(crate) async fn fit(
    app: AppHandle,
    name: Option<String>,
    repository: Option<String>,
    file: Option<String>,
    context_tokens: Option<u32>,
) -> Answer<Fit> {
    if let (Some(repository), Some(file)) = (repository, file) {
        let shelf = app.state::<Shelf>();
        let header = header(&client(&shelf)?, &repository, &file).await?;
        let library = shelf.library()?;
        return fit::of_file(&header, &file, context_tokens, library, &fit::budget())
            .map_err(|error| crate::errors::not_loaded(&error));
    }
    blocking(&app, move |shelf| {
        let library = shelf.library()?;
        let entry = library.entry(&name.unwrap_or_default()).map_err(|error| errors::of(&error))?;
        let not_loaded = |error: lilims_engine::Error| crate::errors::not_loaded(&error);
        let file = File::open(&entry.path).map_err(|error| not_loaded(error.into()))?;
        fit::of_file(&file, &entry.name, context_tokens, library, &fit::budget())
            .map_err(not_loaded)
    })
    .await
}

/// A model's header, of which only as much is fetched as it needs.
async fn header(client: &Client, repository: &str, file: &str) -> Answer<File> {
    let mut wanted = FIRST_HEADER_BYTES;
    loop {
        let (bytes, total) = client
            .beginning(repository, "main", file, wanted)
            .await
            .map_err(|error| errors::of(&error))?;
        let held = bytes.len() as u64;
        match File::from_header(bytes, total) {
            Ok(file) => return Ok(file),
            Err(error) => match lilims_gguf::next_header_bytes(&error, held, total) {
                Some(more) => wanted = more,
                None => return Err(crate::errors::not_loaded(&error.into())),
            },
        }
    }
}

/// The file as the hub knows it now; a recommended one at its own commit.
async fn wanted(client: &Client, repository: &str, file: &str) -> Answer<(Source, u64)> {
    let models = Catalogue::curated().models;
    let curated = models.into_iter().find(|it| it.repository == repository && it.file == file);
    let revision = curated.as_ref().map_or("main", |it| it.revision.as_str()).to_owned();
    let found =
        client.repository(repository, &revision).await.map_err(|error| errors::of(&error))?;
    let there = found.files.into_iter().find(|it| it.file == file);
    let Some(there) = there else {
        let (what, host) = (format!("{file} in {repository}"), client.host().to_owned());
        return Err(errors::of(&hub::Error::NotFound { what, host }));
    };
    let source = Source {
        repository: repository.to_owned(),
        file: file.to_owned(),
        revision,
        sha256: curated.and_then(|it| it.sha256),
    };
    Ok((source, there.size_bytes))
}

/// What a download would take, and what would leave for it.
#[tauri::command]
pub(crate) async fn plan_download(
    app: AppHandle,
    repository: String,
    file: String,
) -> Answer<DownloadPlan> {
    let client = client(&app.state::<Shelf>())?;
    let (_, size_bytes) = wanted(&client, &repository, &file).await?;
    blocking(&app, move |shelf| {
        let library = shelf.library()?;
        let missing = library.missing_bytes(&repository, &file, size_bytes);
        let plan = missing.and_then(|missing| library.plan(missing));
        let plan = plan.map_err(|error| errors::of(&error))?;
        let obstacle = library.check(&plan).err().map(|error| errors::of(&error));
        Ok(shown::plan(&repository, &file, plan, obstacle))
    })
    .await
}

/// Makes room as planned, takes it, and puts the download into the queue.
#[tauri::command]
pub(crate) async fn download(app: AppHandle, repository: String, file: String) -> Answer<()> {
    let client = client(&app.state::<Shelf>())?;
    let (source, size_bytes) = wanted(&client, &repository, &file).await?;
    change(&app, move |library| {
        let missing = library.missing_bytes(&source.repository, &source.file, size_bytes)?;
        library.make_room(missing)?;
        let id = library.enqueue(&source)?;
        library.reserve(id, size_bytes)
    })
    .await
}

/// Pauses a download.
#[tauri::command]
pub(crate) async fn pause_download(app: AppHandle, id: i64) -> Answer<()> {
    change(&app, move |library| library.pause(id)).await
}

/// Lets a download go on.
#[tauri::command]
pub(crate) async fn resume_download(app: AppHandle, id: i64) -> Answer<()> {
    change(&app, move |library| library.resume(id)).await
}

/// Takes a download out of the queue, with what is here of it.
#[tauri::command]
pub(crate) async fn cancel_download(app: AppHandle, id: i64) -> Answer<()> {
    change(&app, move |library| library.cancel(id)).await
}

/// Forgets a download that has ended. Its model stays.
#[tauri::command]
pub(crate) async fn clear_download(app: AppHandle, id: i64) -> Answer<()> {
    change(&app, move |library| library.cancel(id)).await
}

/// Bounds downloads.
#[tauri::command]
pub(crate) async fn set_limits(app: AppHandle, limits: Limits) -> Answer<()> {
    let Limits { at_once, bytes_per_second } = limits;
    change(&app, move |library| library.set_limits(hub::Limits { at_once, bytes_per_second })).await
}

/// Sets the quota; `None` is the default.
#[tauri::command]
pub(crate) async fn set_quota(app: AppHandle, quota_bytes: Option<u64>) -> Answer<()> {
    change(&app, move |library| library.set_quota(quota_bytes)).await
}

/// Loads another model; the conversation stays.
#[tauri::command]
pub(crate) fn use_model(
    model: State<'_, ModelThread>,
    name: String,
    context_tokens: Option<u32>,
) -> Answer<()> {
    model.use_model(Target { name: Some(name), context_tokens })
}

/// Has the model give its memory back.
#[tauri::command]
pub(crate) fn unload_model(model: State<'_, ModelThread>) -> Answer<()> {
    model.unload()
}

/// Removes a model.
#[tauri::command]
pub(crate) async fn remove_model(app: AppHandle, name: String) -> Answer<()> {
    check_not_converted(&app.state::<Converter>(), &name)?;
    change(&app, move |library| library.remove(&name).map(drop)).await
}

/// Pins a model, or unpins it.
#[tauri::command]
pub(crate) async fn pin_model(app: AppHandle, name: String, is_pinned: bool) -> Answer<()> {
    change(&app, move |library| library.pin(&name, is_pinned)).await
}

/// Hashes a model again and repairs it where that can be done.
#[tauri::command]
pub(crate) async fn verify_model(app: AppHandle, name: String) -> Answer<Report> {
    change(&app, move |library| {
        let verified = library.verify(&name, &AtomicBool::new(false), &mut |_| {})?;
        let message = match verified {
            Verified::Good { .. } => format!("{name} is as it should be."),
            Verified::Repairing { .. } => {
                format!("{name} is damaged. What is damaged of it is fetched again: see Downloads.")
            }
            Verified::Damaged { .. } => format!(
                "{name} is damaged, and Lilims cannot repair it. Remove it and get it again from \
                 where it came."
            ),
        };
        Ok(Report { names: vec![name], message })
    })
    .await
}

/// Asks the user for files and copies them into the library.
#[tauri::command]
pub(crate) async fn choose_and_import(app: AppHandle) -> Answer<Option<Report>> {
    let dialog = app.dialog().file().add_filter("GGUF models", &["gguf"]);
    let chosen = blocking(&app, move |_| Ok(dialog.blocking_pick_files())).await?;
    match chosen {
        Some(files) => {
            let paths = files.into_iter().filter_map(path).collect();
            import_paths(&app, paths).await.map(Some)
        }
        None => Ok(None),
    }
}

/// Copies files that were dropped on the window into the library.
#[tauri::command]
pub(crate) async fn import_files(app: AppHandle, paths: Vec<PathBuf>) -> Answer<Report> {
    import_paths(&app, paths).await
}

async fn import_paths(app: &AppHandle, paths: Vec<PathBuf>) -> Answer<Report> {
    change(app, move |library| {
        let (mut names, mut failures, mut first) = (Vec::new(), Vec::new(), None);
        for path in paths {
            match library.import(&path) {
                Ok(entry) => names.push(entry.name),
                Err(error) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    failures.push(format!("{name}: {}", errors::of(&error).message));
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if names.is_empty() => Err(error),
            _ => {
                let mut message = format!("Imported {}.", names.join(", "));
                failures.iter().for_each(|failure| message.push_str(&format!(" {failure}")));
                Ok(Report { names, message })
            }
        }
    })
    .await
}

/// Asks the user for a folder, whose models are used in place.
#[tauri::command]
pub(crate) async fn choose_and_add_folder(app: AppHandle) -> Answer<Option<Report>> {
    let dialog = app.dialog().file();
    let chosen: Option<PathBuf> = blocking(&app, move |_| Ok(pick_folder(dialog))).await?;
    match chosen {
        Some(folder) => {
            let scanned = change(&app, move |library| library.scan_folder(&folder)).await?;
            Ok(Some(report(scanned)))
        }
        None => Ok(None),
    }
}

#[cfg(desktop)]
fn pick_folder(dialog: FileDialogBuilder<Wry>) -> Option<PathBuf> {
    dialog.blocking_pick_folder().and_then(path)
}

/// Phones have no folders to choose.
#[cfg(mobile)]
fn pick_folder(_dialog: FileDialogBuilder<Wry>) -> Option<PathBuf> {
    None
}

fn path(chosen: FilePath) -> Option<PathBuf> {
    chosen.into_path().ok()
}

/// Removes a folder, whose models leave the library; its files stay.
#[tauri::command]
pub(crate) async fn remove_folder(app: AppHandle, folder: PathBuf) -> Answer<()> {
    change(&app, move |library| library.remove_folder(&folder)).await
}

/// Looks for models of other programs.
#[tauri::command]
pub(crate) async fn scan(app: AppHandle) -> Answer<Report> {
    change(&app, |library| library.scan(&Environment::of_process())).await.map(report)
}

fn report(scanned: Scanned) -> Report {
    let Scanned { added, known, gone, left_out } = scanned;
    let mut message = match (added.len(), known) {
        (0, 0) => "No models of other programs were found.".to_owned(),
        (0, known) => format!("Nothing new; {known} known already."),
        (1, _) => format!("Found {}.", added[0]),
        (n, _) => format!("Found {n} models."),
    };
    if !gone.is_empty() {
        message.push_str(&format!(" Gone: {}.", gone.join(", ")));
    }
    for (path, why) in left_out.iter().take(NAMED_LEFT_OUT) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        message.push_str(&format!(" Left out: {name} ({why})."));
    }
    if left_out.len() > NAMED_LEFT_OUT {
        message.push_str(&format!(" {} more were left out.", left_out.len() - NAMED_LEFT_OUT));
    }
    Report { names: added, message }
}
