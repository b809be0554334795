//! `cargo xtask audit`: checks all third-party packages with cargo-deny: licences, bans, sources, and
//! the known vulnerabilities of the RustSec advisory database.
//!
//! `deny.toml` says what is allowed. The database needs a network, or a copy of its git repository in
//! `LILIMS_ADVISORY_DB`. Without either the command fails, and says that nothing was checked against it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup::tools;

/// Names the folder of a git repository with the advisory database, instead of the network.
const DATABASE_VARIABLE: &str = "LILIMS_ADVISORY_DB";
/// Where cargo-deny keeps its copy below its folder of databases: the name and a hash of the address.
const DATABASE_FOLDER: &str = "advisory-db-3157b0e258782691";

/// Runs all checks, those without a network first.
///
/// # Errors
/// If a check fails, the advisory database cannot be had, or cargo-deny cannot be installed.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let tool = step("set-up: cargo-deny", || {
        let folder = tools::ensure(paths, &tools::cargo_deny())?;
        tools::remove_build_files(paths)?;
        Ok(folder)
    })?;
    let databases = paths.cache.join("advisory-dbs");
    let config = write_config(paths, &databases)?;
    let deny = |options: &[&str], words: &[&str]| -> Result<Command> {
        let mut command = Command::new("cargo-deny");
        command.current_dir(&paths.root).arg("--config").arg(&config);
        command.args(["--locked", "--log-level", "error"]).args(options).args(words);
        command.env("PATH", process::path_with_first(tool.as_slice())?);
        Ok(command)
    };
    let local = step("licences, bans and sources", || {
        let words = ["check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
        process::run(&mut deny(&[], &words)?)
    });
    let advisories = step("advisories", || {
        let database = databases.join(DATABASE_FOLDER);
        obtain(&database, || process::run(&mut deny(&[], &["fetch", "db"])?)).context(
            "NOTHING was checked against the advisory database, which cannot be fetched: name a copy of \
             the git repository github.com/rustsec/advisory-db in LILIMS_ADVISORY_DB",
        )?;
        note(&format!("advisory database of {}", last_commit(&database)?));
        let words = ["check", "--hide-inclusion-graph", "advisories"];
        process::run(&mut deny(&["--offline"], &words)?)
    });
    local.and(advisories)
}

/// Writes `deny.toml` with the folder of databases, which cargo-deny takes from its configuration only.
fn write_config(paths: &Paths, databases: &Path) -> Result<PathBuf> {
    let source = paths.root.join("deny.toml");
    let text = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
    let config = paths.target.join("audit/deny.toml");
    fs::create_dir_all(paths.target.join("audit"))?;
    paths::write(&config, with_databases(&text, databases)?)?;
    Ok(config)
}

fn with_databases(text: &str, databases: &Path) -> Result<String> {
    let mut config: toml::Table = text.parse().context("deny.toml")?;
    let advisories = config.get_mut("advisories").and_then(toml::Value::as_table_mut);
    let databases = databases.to_str().context("the cache's path is not Unicode")?;
    advisories
        .context("deny.toml has no [advisories]")?
        .insert("db-path".into(), databases.to_string().into());
    Ok(toml::to_string(&config)?)
}

/// Puts the newest database that can be had into `database`.
///
/// # Errors
/// If there is none, or only one that an earlier run left.
fn obtain(database: &Path, fetch: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(source) = env::var_os(DATABASE_VARIABLE).filter(|source| !source.is_empty()) else {
        return fetch();
    };
    if database.is_dir() {
        fs::remove_dir_all(database).with_context(|| database.display().to_string())?;
    }
    let mut command = Command::new("git");
    command.args(["clone", "--quiet", "--single-branch", "--no-tags", "--"]);
    process::run(command.arg(source).arg(database))
}

/// The date and the hash of the database's last change.
fn last_commit(database: &Path) -> Result<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(database).args(["log", "-1", "--format=%cs (%H)"]);
    match process::output(&mut command) {
        Some(commit) if !commit.is_empty() => Ok(commit),
        _ => bail!("{} has no commit", database.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_folder_is_added_to_the_policy() {
        let text = "[advisories]\nyanked = \"deny\"\n";
        let config = with_databases(text, Path::new("cache")).expect("a valid policy");
        let config: toml::Table = config.parse().expect("still TOML");
        assert_eq!(config["advisories"]["db-path"].as_str(), Some("cache"));
        assert_eq!(config["advisories"]["yanked"].as_str(), Some("deny"));
        assert!(with_databases("", Path::new("cache")).is_err());
    }

    #[test]
    fn folder_without_a_commit_is_no_database() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(last_commit(folder.path()).is_err());
    }
}
