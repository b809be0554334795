//! Chooses the compiler for WebAssembly: the active one if it has the target, else Debian's.
//!
//! `rustup target add` is tried first. A failure is remembered for a week, so that it does not
//! delay each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::paths::{self, Paths};
use crate::process;
use crate::report::note;

/// The target triple of the page.
const TARGET: &str = "wasm32-unknown-unknown";
/// The time limit of `rustup target add`.
const TARGET_ADD_LIMIT: Duration = Duration::from_secs(180);
/// How long a failure of `rustup target add` is remembered.
const FAILURE_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Debian's compiler, which has a WebAssembly back end but no installed target.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The compiler that builds the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The active compiler, which has the target installed.
    Installed,
    /// Debian's `rustc-web`, which builds the standard library from source.
    Debian,
}

impl Toolchain {
    /// Whether this is Debian's compiler.
    pub(crate) fn is_debian(self) -> bool {
        self == Self::Debian
    }

    /// Sets the environment of a command that builds for WebAssembly, with the folders first on
    /// `PATH`.
    pub(crate) fn prepare(self, command: &mut Command, folders: &[PathBuf]) -> Result<()> {
        let mut first = folders.to_vec();
        if self.is_debian() {
            use_debian_rust(command);
            first.push(PathBuf::from("/usr/bin"));
            command.env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort");
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", debian_linker());
        }
        command.env("PATH", process::path_with_first(&first)?);
        Ok(())
    }

    /// The compiler's full version, part of the page's stamp.
    pub(crate) fn version(self) -> Option<String> {
        let mut command = match self {
            Self::Installed => Command::new("rustc"),
            Self::Debian => Command::new(DEBIAN_RUSTC),
        };
        process::output(command.arg("-vV"))
    }
}

/// Makes the command use Debian's compiler with unstable features, instead of the one that runs
/// xtask.
pub(crate) fn use_debian_rust(command: &mut Command) {
    command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
    // Cargo sets these when it runs xtask; they refer to the other toolchain.
    for variable in ["CARGO", "LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"] {
        command.env_remove(variable);
    }
}

/// Chooses the compiler, and adds the target through rustup if possible.
///
/// # Errors
/// If the target is not available and the system is not Debian or Ubuntu.
pub(crate) fn choose(paths: &Paths) -> Result<Toolchain> {
    if has_target("rustc", TARGET) {
        note("the active Rust compiler has the WebAssembly target");
        return Ok(Toolchain::Installed);
    }
    let failure = paths.cache.join("wasm-target-refused");
    if !is_recent(&failure) {
        // Check again: rustup may have added the target to another compiler.
        if add_target() && has_target("rustc", TARGET) {
            return Ok(Toolchain::Installed);
        }
        fs::create_dir_all(&paths.cache)?;
        paths::write(&failure, "rustup could not add the WebAssembly target\n")?;
    }
    if Path::new("/etc/debian_version").exists() {
        note("rustup cannot add the WebAssembly target: using Debian's rustc-web");
        return Ok(Toolchain::Debian);
    }
    bail!("no WebAssembly target: run `rustup target add {TARGET}` and start again")
}

/// Whether the compiler has the target's standard library installed.
pub(crate) fn has_target(rustc: &str, target: &str) -> bool {
    process::output(Command::new(rustc).args(["--print", "target-libdir", "--target", target]))
        .is_some_and(|folder| Path::new(&folder).is_dir())
}

fn add_target() -> bool {
    if process::on_path("rustup").is_none() {
        return false;
    }
    note("adding the WebAssembly target through rustup");
    let mut command = Command::new("rustup");
    process::run_within(command.args(["target", "add", TARGET]), TARGET_ADD_LIMIT).is_ok()
}

fn is_recent(file: &Path) -> bool {
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age < FAILURE_LIFETIME)
}

/// The newest of Debian's `wasm-ld-<version>` programs.
fn debian_linker() -> String {
    let names = fs::read_dir("/usr/bin").into_iter().flatten().flatten();
    let versions = names.filter_map(|entry| {
        entry.file_name().to_str()?.strip_prefix("wasm-ld-")?.parse::<u32>().ok()
    });
    match versions.max() {
        Some(version) => format!("wasm-ld-{version}"),
        None => "wasm-ld".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_remembered_for_a_limited_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("refused");
        assert!(!is_recent(&file));
        fs::write(&file, "").expect("writing");
        assert!(is_recent(&file));
        let old = std::time::SystemTime::now() - FAILURE_LIFETIME * 2;
        let handle = fs::File::options().write(true).open(&file).expect("opening");
        handle.set_modified(old).expect("setting the time");
        assert!(!is_recent(&file));
    }

    #[test]
    fn host_target_is_installed_and_unknown_one_is_not() {
        assert!(!has_target("rustc", "no-such-target"));
        let host = process::output(Command::new("rustc").args(["--print", "host-tuple"]));
        assert!(has_target("rustc", &host.expect("rustc runs")));
    }
}
