//! The model library as the page sees it: what is here, what can be downloaded, what would fit.
//!
//! `lilims-hub` does the work; this joins it with the engine's estimates, puts both into the types
//! of the page and tells the page what changed.

pub(crate) mod commands;
pub(crate) mod convert;
mod errors;
mod fit;
mod headers;
mod machine;
mod shown;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lilims_hub::{Client, DownloadRow, DownloadState, Downloader, Held, Library};
use lilims_ipc::{Attempt, Conversion, ConversionState, Error};
use lilims_models::Catalogue;
use lilims_models::scan::Environment;
use tauri::{AppHandle, Emitter, Manager};

use headers::Headers;

pub(crate) use convert::Converter;
pub(crate) use fit::attempt;
pub(crate) use machine::resident_bytes;

/// The events that tell the page what changed.
const LIBRARY_EVENT: &str = "library-changed";
const DOWNLOADS_EVENT: &str = "downloads-changed";
const CONVERSION_EVENT: &str = "conversion-changed";
/// Under which name the library keeps the model that was used last.
const LAST_MODEL: &str = "model";

/// The library, or why there is none. Chatting with the bundled model works without it.
pub(crate) struct Shelf {
    library: Result<Arc<Library>, Error>,
    /// The model that is loaded, and the lock that keeps it from being removed.
    loaded: Mutex<Option<(String, Held)>>,
    /// What the person should know of the hub, sentences.
    notes: Mutex<Vec<String>>,
    headers: Headers,
}

impl Shelf {
    /// Opens the library of this user.
    pub(crate) fn open() -> Self {
        let library = Library::open_default().map(Arc::new).map_err(|error| errors::of(&error));
        let (loaded, notes) = (Mutex::default(), Mutex::default());
        Self { library, loaded, notes, headers: Headers::default() }
    }

    /// The library.
    fn library(&self) -> Result<&Arc<Library>, Error> {
        self.library.as_ref().map_err(Clone::clone)
    }

    /// What happened without the user asking for it.
    fn notes(&self) -> Vec<String> {
        let rebuilt = self.library.as_ref().ok().and_then(|library| library.rebuilt());
        let rebuilt = rebuilt.map(|rebuilt| {
            let text = rebuilt.to_string();
            // A sentence of its own here.
            format!("{}{}.", text[..1].to_ascii_uppercase(), &text[1..])
        });
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        rebuilt.into_iter().chain(notes.iter().cloned()).collect()
    }

    /// Keeps the note that the hub has refused the access token, if it just did; returns whether.
    fn note_token(&self, client: &Client) -> bool {
        let Some(notice) = client.take_token_notice() else { return false };
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(format!("{notice}."));
        true
    }

    /// The short name of the model that is loaded.
    fn loaded(&self) -> Option<String> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map(|(name, _)| name.clone())
    }

    /// The file of the model with this short name; without one, of the last visit's.
    pub(crate) fn path(&self, name: Option<&str>) -> Option<PathBuf> {
        let library = self.library().ok()?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => library.text(LAST_MODEL).ok()??,
        };
        let path = library.entry(&name).ok()?.path;
        path.is_file().then_some(path)
    }

    /// Takes the model that is there without a choice into the library: the bundled one, or what
    /// `LILIMS_MODEL` names. One that is no model is not taken; loading it tells why.
    pub(crate) fn add_given(&self, path: &Path) {
        let Ok(library) = self.library() else { return };
        let bundled = Catalogue::curated().bundled().map(|it| it.file.clone());
        let is_bundled = bundled.is_some_and(|file| path.ends_with(file));
        let _ = match is_bundled {
            true => library.add_bundled(path),
            false => library.add_in_place(path, "named at the start"),
        };
    }

    /// Notes that the model at `path` is about to be loaded, so that nobody removes it. Returns the
    /// name by which it is shown, if the library knows it.
    pub(crate) fn begin_use(&self, path: &Path) -> Option<String> {
        let library = self.library().ok()?;
        let path = std::path::absolute(path).ok()?;
        let entry = library.entry_at(&path).ok()??;
        let held = library.use_model(&entry.name).ok()?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded = Some((entry.name, held));
        Some(entry.title)
    }

    /// Notes that the loaded model is to be there again at the next start.
    pub(crate) fn remember_loaded(&self) {
        if let (Ok(library), Some(name)) = (self.library(), self.loaded()) {
            // Without the note, the bundled model is loaded then.
            let _ = library.set_text(LAST_MODEL, Some(&name));
        }
    }

    /// Notes what the model at `path` takes with `n_tokens` in its cache, so that later estimates are
    /// better. Without the note, they are what they were.
    pub(crate) fn note_peak(&self, path: &Path, n_tokens: usize, taken_bytes: u64) {
        if let (Ok(library), Some(name)) = (self.library(), self.loaded())
            && let Some(peak) = fit::measured(path, name, n_tokens, taken_bytes)
        {
            let _ = library.note_peak(&peak);
        }
    }

    /// Notes that no model is loaded.
    pub(crate) fn end_use(&self) {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Looks once at the folders of other programs and carries out the queue of downloads, telling the
/// page what changes.
pub(crate) fn start(app: &AppHandle) {
    let shelf = app.state::<Shelf>();
    let Ok(library) = shelf.library().cloned() else { return };
    let handle = app.clone();
    tauri::async_runtime::spawn_blocking({
        let library = Arc::clone(&library);
        move || {
            // A folder that cannot be read now is looked at when the user asks for it.
            let _ = library.scan(&Environment::of_process());
            changed(&handle);
        }
    });
    let Ok(client) = Client::from_env(library) else { return };
    let handle = app.clone();
    tauri::async_runtime::spawn(async move {
        let mut n_done = None;
        let asking = client.clone();
        let tell = move |rows: &[DownloadRow]| {
            if handle.state::<Shelf>().note_token(&asking) {
                changed(&handle);
            }
            let _ = handle.emit(DOWNLOADS_EVENT, shown::downloads(rows));
            let done = rows.iter().filter(|row| row.state == DownloadState::Done).count();
            if n_done.replace(done).is_none_or(|before| before != done) {
                changed(&handle);
            }
        };
        Downloader::new(client).run(tell).await;
    });
}

/// Carries out conversions, telling the page how far they are.
pub(crate) fn converter(app: &AppHandle) -> Converter {
    let handle = app.clone();
    Converter::new(move |conversion: Option<Conversion>| {
        let is_running = conversion
            .as_ref()
            .is_some_and(|it| matches!(it.state, ConversionState::Running { .. }));
        let _ = handle.emit(CONVERSION_EVENT, conversion);
        if !is_running {
            changed(&handle);
        }
    })
}

/// Tells the page that the library changed, from a thread that may read files: whoever calls this
/// may be about to answer a question.
pub(crate) fn changed(app: &AppHandle) {
    /// One at a time, so that what the page hears last is what is true.
    static TELLING: Mutex<()> = Mutex::new(());
    let app = app.clone();
    tauri::async_runtime::spawn_blocking(move || {
        let _telling = TELLING.lock().unwrap_or_else(PoisonError::into_inner);
        tell_of_library(&app);
    });
}

fn tell_of_library(app: &AppHandle) {
    if let Ok(library) = shown::library(&app.state::<Shelf>()) {
        // A page that is gone misses nothing.
        let _ = app.emit(LIBRARY_EVENT, library);
    }
}

/// The load that the last process did not survive, if there is one.
pub(crate) fn held() -> Option<Attempt> {
    let folder = lilims_models::data_dir().ok()?;
    let left = lilims_models::Attempt::take_left(&folder, fit::is_alive)?;
    Some(fit::explained(left))
}

/// Whether so little memory is free that an idle model should give its own back.
pub(crate) fn is_memory_short() -> bool {
    fit::budget().available_bytes == 0
}

/// When an idle model gives its memory back, unless `LILIMS_IDLE_SECONDS` says otherwise.
pub(crate) fn idle_after() -> Duration {
    const TEN_MINUTES: Duration = Duration::from_secs(600);
    let seconds = std::env::var("LILIMS_IDLE_SECONDS").ok();
    seconds.and_then(|text| text.parse().ok()).map_or(TEN_MINUTES, Duration::from_secs)
}
