//! `cargo xtask check-apple`: type-checks every crate for macOS and iOS, Metal included, on any
//! machine with a Rust compiler.
//!
//! If the targets are installed, plain `cargo check` is enough. Otherwise Debian's compiler builds
//! the standard library from source, and stand-ins replace Apple's C compiler: nothing is linked,
//! so only the types matter. Metal's shader sources are not checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths::Paths;
use crate::process;
use crate::report::{note, step};
use crate::setup::wasm::{DEBIAN_RUSTC, has_target, use_debian_rust};
use crate::stand_in;

const TARGETS: [&str; 2] = ["aarch64-apple-ios", "aarch64-apple-darwin"];

/// Packages without Apple code: the page is WebAssembly; xtask and the tests run on Linux.
const EXCLUDED: [&str; 3] = ["lilims-ui", "lilims-tests", "xtask"];

/// The command line, and crates that only it uses, are not built for phones.
const EXCLUDED_ON_IOS: [&str; 2] = ["lilims-cli", "lilims-bench"];

/// Checks all targets.
///
/// # Errors
/// If there is no compiler for the targets, or a crate does not type-check.
pub(crate) fn check(paths: &Paths) -> Result<()> {
    for target in TARGETS {
        step(&format!("type check for {target}"), || check_target(paths, target))?;
    }
    Ok(())
}

fn check_target(paths: &Paths, target: &str) -> Result<()> {
    let mut command = if has_target("rustc", target) {
        process::cargo(paths)
    } else if Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").exists()
        && Path::new(DEBIAN_RUSTC).exists()
    {
        note(
            "the target is not installed: using Debian's compiler with a standard library from source",
        );
        debian_cargo(paths)
    } else {
        bail!(
            "run `rustup target add {target}`, or on Debian `sudo apt-get install rustc-web cargo-web rust-web-src`"
        );
    };
    if !cfg!(target_os = "macos") {
        use_stand_ins(paths, &mut command, target)?;
    }
    command.args(["check", "--workspace", "--features", "lilims-engine/metal", "--target", target]);
    let on_ios: &[&str] = if target.ends_with("-ios") { &EXCLUDED_ON_IOS } else { &[] };
    for package in EXCLUDED.iter().chain(on_ios) {
        command.args(["--exclude", package]);
    }
    command.env("CARGO_TARGET_DIR", paths.target.join("apple"));
    process::run(&mut command)
}

/// A command for Debian's cargo and compiler, with the standard library built from source.
fn debian_cargo(paths: &Paths) -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    use_debian_rust(&mut command);
    command.env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort").env("PATH", "/usr/bin:/bin");
    command.current_dir(&paths.root);
    command
}

/// Makes build scripts use stand-ins for Apple's C compiler and SDK.
fn use_stand_ins(paths: &Paths, command: &mut Command, target: &str) -> Result<()> {
    let folder: PathBuf = paths.target.join("apple/stand-in");
    // Build scripts only check that the SDK folder exists and has this name.
    let sdk = folder.join("iPhoneOS.sdk");
    fs::create_dir_all(&sdk)?;
    let suffix = target.replace('-', "_");
    command.env("SDKROOT", sdk);
    command.env(format!("CC_{suffix}"), stand_in::install(&folder, "cc")?);
    command.env(format!("AR_{suffix}"), stand_in::install(&folder, "ar")?);
    Ok(())
}
