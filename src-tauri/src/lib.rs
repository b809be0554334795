//! The shell: opens the window, loads the bundled model and answers the page's commands.
//!
//! The engine blocks, so the model lives on a thread of its own ([`model_thread`]); commands only
//! pass jobs to it. Nothing here opens network connections, and the window shows the app's own
//! page and no other.

#![cfg_attr(
    mobile,
    expect(missing_docs, reason = "the entry point's macro adds a public function without docs")
)]

mod answer_stream;
mod chat;
mod commands;
mod errors;
mod kept;
mod model_thread;
mod window;

use std::path::{Path, PathBuf};

use lilims_ipc::ModelStatus;
use lilims_models::Catalogue;
use tauri::{App, Emitter, Manager, RunEvent};

use crate::chat::Chat;
use crate::model_thread::{ModelThread, Talk};

/// The event that tells the page where the model stands.
const MODEL_STATUS_EVENT: &str = "model-status";

/// Opens the window and returns when it was closed; on desktops the process then ends.
#[cfg_attr(mobile, tauri::mobile_entry_point)]
pub fn run() {
    let app = tauri::Builder::default()
        .invoke_handler(tauri::generate_handler![
            commands::status,
            commands::send,
            commands::stop,
            commands::retry_load,
            commands::conversation,
            commands::forget,
            commands::set_overflow
        ])
        .setup(|app| {
            app.manage(start_model(app));
            window::open(app)?;
            Ok(())
        })
        .build(tauri::generate_context!());
    match app {
        Ok(app) => app.run(|app, event| {
            if let RunEvent::Exit = event {
                app.state::<ModelThread>().shut_down();
            }
        }),
        Err(error) => {
            eprintln!("Lilims could not start: {error}");
            std::process::exit(1);
        }
    }
}

fn start_model(app: &App) -> ModelThread {
    let resource_dir: Option<PathBuf> = app.path().resource_dir().ok();
    let handle = app.handle().clone();
    let tell = move |status: &ModelStatus| {
        // A page that is gone, or not there yet, misses nothing: it asks for the status first.
        let _ = handle.emit(MODEL_STATUS_EVENT, status);
    };
    ModelThread::start(tell, move |found| {
        let path = lilims_models::bundled_model(resource_dir.as_deref())
            .map_err(|error| errors::not_found(&error))?;
        let curated_name = curated_name(&path);
        found(curated_name.clone().unwrap_or_else(|| file_name(&path)));
        let chat = Chat::load(&path)?;
        let mut info = chat.info();
        // Files often give themselves names that only their makers understand.
        info.name = curated_name.unwrap_or(info.name);
        Ok((info, Box::new(chat) as Box<dyn Talk>))
    })
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
