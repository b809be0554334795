//! The shell: opens the window, loads the bundled model and answers the page's commands.
//!
//! The engine blocks, so the model lives on a thread of its own ([`model_thread`]); commands only
//! pass jobs to it. The window shows the app's own page and no other. Network connections are
//! `lilims-hub`'s, for searches and downloads that the user asked for.

#![cfg_attr(
    mobile,
    expect(missing_docs, reason = "the entry point's macro adds a public function without docs")
)]

mod answer_stream;
mod chat;
mod commands;
mod errors;
mod kept;
mod library;
mod model_thread;
mod window;

use std::path::{Path, PathBuf};

use lilims_ipc::{Attempt, Error, ModelStatus};
use lilims_models::Catalogue;
use tauri::{App, AppHandle, Emitter, Manager, RunEvent};

use crate::chat::Chat;
use crate::library::Shelf;
use crate::model_thread::{Idle, Loaded, ModelThread, Talk, Target};

/// The event that tells the page where the model stands.
const MODEL_STATUS_EVENT: &str = "model-status";

/// Opens the window and returns when it was closed; on desktops the process then ends.
#[cfg_attr(mobile, tauri::mobile_entry_point)]
pub fn run() {
    let app = tauri::Builder::default()
        .plugin(tauri_plugin_dialog::init())
        .invoke_handler(tauri::generate_handler![
            commands::status,
            commands::send,
            commands::stop,
            commands::retry_load,
            commands::conversation,
            commands::forget,
            commands::set_overflow,
            library::commands::library,
            library::commands::downloads,
            library::commands::catalogue,
            library::commands::search_hub,
            library::commands::repository,
            library::commands::fit,
            library::commands::plan_download,
            library::commands::download,
            library::commands::pause_download,
            library::commands::resume_download,
            library::commands::cancel_download,
            library::commands::clear_download,
            library::commands::set_limits,
            library::commands::set_quota,
            library::commands::use_model,
            library::commands::unload_model,
            library::commands::remove_model,
            library::commands::pin_model,
            library::commands::verify_model,
            library::commands::choose_and_import,
            library::commands::import_files,
            library::commands::choose_and_add_folder,
            library::commands::remove_folder,
            library::commands::scan,
            library::convert::commands::conversion_offer,
            library::convert::commands::convert,
            library::convert::commands::conversion,
            library::convert::commands::cancel_conversion,
            library::convert::commands::clear_conversion
        ])
        .setup(|app| {
            let shelf = Shelf::open();
            let held = library::held();
            if let (Some(_), Ok(path)) = (&held, bundled_model(app.handle())) {
                // The page offers to load it, and nothing loads it before.
                shelf.add_given(&path);
            }
            app.manage(shelf);
            app.manage(library::converter(app.handle()));
            app.manage(start_model(app, held));
            library::start(app.handle());
            window::open(app)?;
            Ok(())
        })
        .build(tauri::generate_context!());
    match app {
        Ok(app) => app.run(|app, event| {
            if let RunEvent::Exit = event {
                app.state::<library::Converter>().shut_down();
                app.state::<ModelThread>().shut_down();
            }
        }),
        Err(error) => {
            eprintln!("Lilims could not start: {error}");
            std::process::exit(1);
        }
    }
}

fn start_model(app: &App, held: Option<Attempt>) -> ModelThread {
    let handle = app.handle().clone();
    let tell = move |status: &ModelStatus| {
        let shelf = handle.state::<Shelf>();
        match status {
            ModelStatus::Ready { .. } => shelf.remember_loaded(),
            ModelStatus::Loading { .. } => {}
            _ => shelf.end_use(),
        }
        // A page that is gone, or not there yet, misses nothing: it asks for the status first.
        let _ = handle.emit(MODEL_STATUS_EVENT, status);
        if !matches!(status, ModelStatus::Loading { .. }) {
            library::changed(&handle);
        }
    };
    let handle = app.handle().clone();
    let load = move |target: &Target, found: &dyn Fn(String)| load(&handle, target, found);
    let idle = Idle { after: library::idle_after(), is_short: library::is_memory_short };
    ModelThread::start(tell, load, idle, held)
}

/// Loads the target, or the model of the last visit, or the bundled one.
fn load(app: &AppHandle, target: &Target, found: &dyn Fn(String)) -> Result<Loaded, Error> {
    let shelf = app.state::<Shelf>();
    // The one of the last visit is worth nothing where LILIMS_MODEL names another.
    let is_named = std::env::var_os("LILIMS_MODEL").is_some_and(|value| !value.is_empty());
    let known = match &target.name {
        Some(name) => Some(shelf.path(Some(name)).ok_or_else(|| errors::gone(name))?),
        None if is_named => None,
        None => shelf.path(None),
    };
    let path = match known {
        Some(path) => path,
        None => {
            let path = bundled_model(app).map_err(|error| errors::not_found(&error))?;
            shelf.add_given(&path);
            path
        }
    };
    let title = shelf.begin_use(&path).or_else(|| curated_name(&path));
    let shown = title.clone().unwrap_or_else(|| file_name(&path));
    found(shown.clone());
    let options = chat::load_options(target.context_tokens);
    let attempt = library::attempt(&path, &shown, &options)?;
    // Where the note cannot be written, the load goes on without it.
    let _note = lilims_models::data_dir().ok().and_then(|folder| attempt.note(&folder).ok());
    let taken_before = library::resident_bytes();
    let (handle, file) = (app.clone(), path.clone());
    let idles = move |n_tokens: usize| {
        let taken = library::resident_bytes().saturating_sub(taken_before);
        handle.state::<Shelf>().note_peak(&file, n_tokens, taken);
    };
    let chat = Chat::load(&path, &options, idles)?;
    let mut info = chat.info();
    // Files often give themselves names that only their makers understand.
    info.name = title.unwrap_or(info.name);
    Ok((info, Box::new(chat) as Box<dyn Talk>))
}

fn bundled_model(app: &AppHandle) -> Result<PathBuf, lilims_models::Error> {
    lilims_models::bundled_model(app.path().resource_dir().ok().as_deref())
}

/// The name that the catalogue has for the file at `path`.
fn curated_name(path: &Path) -> Option<String> {
    let models = Catalogue::curated().models;
    models.into_iter().find(|entry| path.ends_with(&entry.file)).map(|entry| entry.name)
}

fn file_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curated_files_have_their_names_from_the_catalogue() {
        let entry = Catalogue::curated().models.remove(0);
        assert_eq!(curated_name(&Path::new("models").join(entry.file)), Some(entry.name));
        assert_eq!(curated_name(Path::new("models/other.gguf")), None);
        assert_eq!(file_name(Path::new("models/other.gguf")), "other");
    }
}
