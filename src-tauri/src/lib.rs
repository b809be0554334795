//! The shell: opens the window and hands the page's commands to the application in `lilims-core`.
//!
//! It decides nothing. Its windows show the app's own page and no other.

#![cfg_attr(
    mobile,
    expect(missing_docs, reason = "the entry point's macro adds a public function without docs")
)]

mod commands;
#[cfg(desktop)]
mod desktop;
mod dialogs;
#[cfg(target_os = "linux")]
mod drawing;
mod granted;
mod links;
mod window;
#[cfg(desktop)]
mod words;

use lilims_core::App;
use tauri::{AppHandle, DragDropEvent, Manager, RunEvent, WebviewEvent, WindowEvent};

use crate::commands::Subscribers;
use crate::granted::{CommandRate, GrantedPaths};

/// The label of the quick-ask window.
const QUICK: &str = "quick";
/// The least important events that are logged.
const LOG_LEVEL: tracing_subscriber::filter::LevelFilter =
    tracing_subscriber::filter::LevelFilter::WARN;

/// Opens the window and returns when it was closed; on desktops the process then ends. A second start
/// shows the window of the first, and ends at once.
#[cfg_attr(mobile, tauri::mobile_entry_point)]
pub fn run() {
    #[cfg(target_os = "linux")]
    drawing::avoid_emulated_card();
    // Events of the application go to standard error, without text of conversations.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(LOG_LEVEL);
    let _ = log.with_ansi(false).try_init();
    if std::env::args_os().any(|argument| argument == "--sealed") {
        lilims_core::privacy::seal_process();
    }
    #[cfg(desktop)]
    let Some(desktop) = desktop::Desktop::claim() else { return };
    let builder = tauri::Builder::default();
    #[cfg(desktop)]
    let builder = builder.manage(desktop);
    let app = builder
        .plugin(tauri_plugin_dialog::init())
        .invoke_handler(tauri::generate_handler![
            commands::call,
            commands::ask,
            commands::subscribe
        ])
        .manage(Subscribers::default())
        .manage(GrantedPaths::default())
        .manage(CommandRate::default())
        .setup(|app| {
            let core = start(app.handle());
            tauri::async_runtime::spawn(core.clone().run_jobs());
            app.manage(core.clone());
            window::open(app)?;
            #[cfg(desktop)]
            desktop::start(app.handle(), &core);
            Ok(())
        })
        .build(tauri::generate_context!());
    match app {
        Ok(app) => app.run(|app, event| {
            if let Some(paths) = dropped(&event) {
                app.state::<GrantedPaths>().grant(paths);
            }
            #[cfg(desktop)]
            desktop::on_event(app, &event);
            if let RunEvent::Exit = event {
                app.state::<App>().shut_down();
            }
        }),
        Err(error) => {
            eprintln!("Lilims could not start: {error}");
            std::process::exit(1);
        }
    }
}

/// The files that were dropped on a window.
fn dropped(event: &RunEvent) -> Option<Vec<String>> {
    let dropped = match event {
        RunEvent::WindowEvent { event: WindowEvent::DragDrop(dropped), .. } => dropped,
        RunEvent::WebviewEvent { event: WebviewEvent::DragDrop(dropped), .. } => dropped,
        _ => return None,
    };
    let DragDropEvent::Drop { paths, .. } = dropped else { return None };
    Some(paths.iter().filter_map(|path| Some(path.to_str()?.to_owned())).collect())
}

fn start(app: &AppHandle) -> App {
    let handle = app.clone();
    App::start(app.path().resource_dir().ok(), move |event| {
        handle.state::<Subscribers>().send(&event);
    })
}
