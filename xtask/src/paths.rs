//! The paths of the repository, the build folder, and the cache of tools and models; atomic writes to
//! them.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders that every command uses.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// Cargo's build folder.
    pub(crate) target: PathBuf,
    /// The cache of tools and models, outside the repository and shared by clones.
    pub(crate) cache: PathBuf,
}

impl Paths {
    /// Reads the folders from the environment.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is not in a folder of the repository")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => std::path::absolute(folder)?,
            None => root.join("target"),
        };
        Ok(Self { root, target, cache: cache_folder()? })
    }

    /// The folder of installed build tools.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// The folder of downloaded models.
    pub(crate) fn models(&self) -> PathBuf {
        self.cache.join("models")
    }
}

/// Writes a file atomically.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    Ok(lilims_files::write_atomic(path, |file| file.write_all(content.as_ref()))?)
}

/// `LILIMS_CACHE`, or `lilims` in the system's cache folder.
fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("LILIMS_CACHE").filter(|folder| !folder.is_empty()) {
        return Ok(std::path::absolute(folder)?);
    }
    let home = env::home_dir().context("no home folder: set LILIMS_CACHE")?;
    if cfg!(target_os = "macos") {
        return Ok(home.join("Library/Caches/lilims"));
    }
    let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Ok(caches.unwrap_or_else(|| home.join(".cache")).join("lilims"))
}
