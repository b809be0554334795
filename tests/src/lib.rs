//! Support for tests across crates: models, fixtures, a hub with injected faults, and the real
//! window, driven as a user would. The tests are in `tests/`.

#[cfg(target_os = "linux")]
pub mod app_window;
pub mod hub_server;
#[cfg(target_os = "linux")]
pub mod process_group;
mod skips;
#[cfg(target_os = "linux")]
pub mod webdriver;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

pub use skips::{skip, skip_part};

/// The path of a real model file.
///
/// # Panics
/// If `cargo xtask test` has not downloaded it.
pub fn real_model(name: &str) -> PathBuf {
    let cache = env::var_os("LILIMS_TEST_MODELS").map(PathBuf::from).unwrap_or_default();
    let folders = [cache, workspace().join("models").join("bundled")];
    let mut paths = folders.iter().map(|folder| folder.join(name));
    let found = paths.find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: run `cargo xtask test`, which downloads it"))
}

/// The path of a file or folder in `shared/fixtures` beside the checkout.
///
/// # Panics
/// If it does not exist.
pub fn fixture(name: &str) -> PathBuf {
    let path = workspace().join("..").join("shared").join("fixtures").join(name);
    assert!(path.exists(), "{} is missing: the tests need shared/fixtures", path.display());
    path
}

/// The path of the program `lilims`: `LILIMS_CLI`, which `cargo xtask test` sets, or else built
/// here.
///
/// # Panics
/// If it does not build.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = env::var_os("LILIMS_CLI") {
            return path.into();
        }
        let build = ["build", "--quiet", "--package", "lilims-cli"];
        let status = Command::new(env!("CARGO")).args(build).current_dir(workspace()).status();
        assert!(status.is_ok_and(|status| status.success()), "lilims-cli does not build");
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| workspace().join("target"));
        target.join("debug").join(format!("lilims{}", env::consts::EXE_SUFFIX))
    })
}

/// A command that runs `lilims` with `arguments`, isolated from the user's own files.
pub fn lilims(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("LILIMS_MODEL").env("LILIMS_HOME", env::temp_dir().join("no-lilims"));
    command
}

/// The root of the checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
