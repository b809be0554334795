//! Another revision of this repository, built to be measured beside the sources at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::process;

use super::output_of;

/// Builds the command line of `revision` and returns the program's path. All revisions share one
/// build folder, so only the first one compiles the dependencies.
///
/// # Errors
/// If there is no such revision, or it cannot be built.
pub(crate) fn build(paths: &Paths, revision: &str) -> Result<PathBuf> {
    let commit = output_of("git", &["rev-parse", "--verify", &commit_of(revision)], &paths.root)
        .with_context(|| format!("there is no revision `{revision}`"))?;
    let folder = paths.cache.join("older");
    let sources = folder.join("sources");
    if !sources.join(".git").exists() {
        fs::create_dir_all(&folder)?;
        let mut clone = git(&paths.root, &["clone", "--quiet", "--no-checkout", "."]);
        process::run(clone.arg(&sources))?;
    }
    let mut fetch = git(&sources, &["fetch", "--quiet"]);
    process::run(fetch.arg(&paths.root).arg(&commit))?;
    process::run(&mut git(&sources, &["checkout", "--quiet", "--force", "--detach", &commit]))?;
    super::build(&sources, &folder.join("target"))
}

/// A name of a revision that is a commit, and cannot be an option of git.
fn commit_of(revision: &str) -> String {
    format!("{}^{{commit}}", revision.trim_start_matches('-'))
}

fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder);
    command
}
