//! Type-checks every crate for macOS and iOS, Metal included, on any machine with a Rust compiler.
//!
//! Where the targets are installed, plain `cargo check` does it. Elsewhere Debian's compiler builds
//! the standard library's interface from source, and stand-ins take the C compiler's place: nothing
//! is linked, so nothing has to be right but the types. Metal's shader sources are not checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup::wasm::{DEBIAN_RUSTC, has_target, use_debian_rust};
use crate::stand_in;

const TARGETS: [&str; 2] = ["aarch64-apple-ios", "aarch64-apple-darwin"];

/// The page is WebAssembly everywhere; xtask and the tests across crates drive Linux programs.
const EXCLUDED: [&str; 3] = ["lilims-ui", "lilims-tests", "xtask"];

/// The command line and what only it uses are not for phones.
const EXCLUDED_ON_IOS: [&str; 2] = ["lilims-cli", "lilims-bench"];

/// Checks all targets.
///
/// # Errors
/// When no compiler for the targets is there, or a crate does not type-check.
pub(crate) fn check(places: &Places) -> Result<()> {
    for target in TARGETS {
        step(&format!("type check for {target}"), || check_target(places, target))?;
    }
    Ok(())
}

fn check_target(places: &Places, target: &str) -> Result<()> {
    let mut command = if has_target("rustc", target) {
        process::cargo(places)
    } else if Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").exists()
        && Path::new(DEBIAN_RUSTC).exists()
    {
        note(
            "the target is not installed: using Debian's compiler with a standard library from source",
        );
        debian_cargo(places)
    } else {
        bail!(
            "run `rustup target add {target}`, or on Debian `sudo apt-get install rustc-web cargo-web rust-web-src`"
        );
    };
    if !cfg!(target_os = "macos") {
        use_stand_ins(places, &mut command, target)?;
    }
    command.args(["check", "--workspace", "--features", "lilims-engine/metal", "--target", target]);
    let on_ios: &[&str] = if target.ends_with("-ios") { &EXCLUDED_ON_IOS } else { &[] };
    for package in EXCLUDED.iter().chain(on_ios) {
        command.args(["--exclude", package]);
    }
    command.env("CARGO_TARGET_DIR", places.target.join("apple"));
    process::run(&mut command)
}

/// Debian's cargo and compiler, with the standard library built from source.
fn debian_cargo(places: &Places) -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    use_debian_rust(&mut command);
    command.env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort").env("PATH", "/usr/bin:/bin");
    command.current_dir(&places.root);
    command
}

/// Points the build scripts of C code to stand-ins for Apple's compiler and SDK.
fn use_stand_ins(places: &Places, command: &mut Command, target: &str) -> Result<()> {
    let folder: PathBuf = places.target.join("apple/stand-in");
    // Any folder of this name passes for the SDK where only its existence is checked.
    let sdk = folder.join("iPhoneOS.sdk");
    fs::create_dir_all(&sdk)?;
    let suffix = target.replace('-', "_");
    command.env("SDKROOT", sdk);
    command.env(format!("CC_{suffix}"), stand_in::install(&folder, "cc")?);
    command.env(format!("AR_{suffix}"), stand_in::install(&folder, "ar")?);
    Ok(())
}
