//! The desktop program: opens the window and nothing else.

// Without this, Windows opens a console beside the window.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

fn main() {
    lilims_core::documents::run_reader_if_requested();
    lilims_app::run();
}
