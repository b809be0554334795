//! What tests across crates share: models, fixtures, a hub that fails, and the real window, driven
//! as a user would.

#[cfg(target_os = "linux")]
pub mod app_window;
pub mod hub_server;
#[cfg(target_os = "linux")]
pub mod process_group;
#[cfg(target_os = "linux")]
pub mod webdriver;

use std::env;
use std::path::{Path, PathBuf};

/// A real model's file; `None` where `cargo xtask test`, which fetches it, has not put it.
pub fn real_model(name: &str) -> Option<PathBuf> {
    let cache = env::var_os("LILIMS_TEST_MODELS").map(PathBuf::from).unwrap_or_default();
    let folders = [cache, workspace().join("models").join("bundled")];
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A file or folder of `shared/fixtures` beside the checkout; says so where that is not there.
pub fn fixture(name: &str) -> Option<PathBuf> {
    let path = workspace().join("..").join("shared").join("fixtures").join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

/// The root of the checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
