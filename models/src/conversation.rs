//! Conversation files: the messages as JSON, with the engine's saved session beside them.
//!
//! The messages are small and written atomically. The session is large, can be recomputed at any
//! time and is bounded by a quota. The caller defines the content of both.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lilims_files::{AtomicFile, AtomicFileOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The suffix of session files.
const SESSION_SUFFIX: &str = ".session";
/// The largest conversation that is read, far beyond what anybody types.
const MAX_TEXT_BYTES: u64 = 256 << 20;
/// The suffix of a conversation that could not be read.
const DAMAGED_SUFFIX: &str = ".damaged";
/// The prefix of temporary files, which an atomic write later renames.
const TEMPORARY_PREFIX: &str = ".tmp";
/// The age after which a temporary file counts as left over from an interrupted write.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// The files of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationFile {
    path: PathBuf,
}

impl ConversationFile {
    /// The conversation whose messages are at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The path of the messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the session.
    pub fn session_path(&self) -> PathBuf {
        with_suffix(&self.path, SESSION_SUFFIX)
    }

    /// Reads the messages; `None` if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        match lilims_files::read(&self.path, MAX_TEXT_BYTES) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the messages atomically with `conversation`.
    ///
    /// # Errors
    /// If they cannot be written; the previous file is then unchanged.
    pub fn write<T: Serialize>(&self, conversation: &T) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let options = AtomicFileOptions { prefix: TEMPORARY_PREFIX, is_private: true };
        let mut file = AtomicFile::with_options(&self.path, options)?;
        file.write_all(&serde_json::to_vec_pretty(conversation)?)?;
        Ok(file.commit()?)
    }

    /// Removes messages and session; missing files are not an error.
    ///
    /// # Errors
    /// If one of them cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        [self.path.clone(), self.session_path()].iter().try_for_each(|path| remove(path))
    }

    /// Renames a damaged file to a free name beside it and returns the new path. Files that were
    /// renamed earlier are kept.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn rename_damaged(&self) -> io::Result<PathBuf> {
        Ok(lilims_files::rename_to_free_name(&self.path, &with_suffix(&self.path, DAMAGED_SUFFIX))?)
    }
}

/// Removes the least recently used sessions in `folder` until the rest take at most `quota_bytes`.
/// Also removes leftover temporary files. Messages are never removed.
///
/// # Errors
/// If the folder cannot be read or a file cannot be removed.
pub fn enforce_session_quota(folder: &Path, quota_bytes: u64) -> io::Result<()> {
    let mut sessions: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, metadata) = (entry.file_name(), entry.metadata()?);
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if name.to_string_lossy().ends_with(SESSION_SUFFIX) {
            sessions.push((used, metadata.len(), entry.path()));
        }
    }
    remove_abandoned(folder);
    sessions.sort();
    let mut total: u64 = sessions.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in sessions {
        if total <= quota_bytes {
            break;
        }
        remove(&path)?;
        total -= bytes;
    }
    Ok(())
}

/// Removes temporary files that interrupted writes left in `folder`. Failures are ignored: the next
/// call tries again.
pub(crate) fn remove_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_old = || {
            let metadata = entry.metadata().ok().filter(|it| it.is_file())?;
            Some(metadata.modified().ok()?.elapsed().ok()? > ABANDONED_AFTER)
        };
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        if is_temporary && is_old() == Some(true) {
            let _ = remove(&entry.path());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_saved_and_damaged_ones_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let file = ConversationFile::new(folder.path().join("new").join("chat.json"));
        assert_eq!(file.read::<Vec<String>>().unwrap(), None);
        file.write(&["one", "two"]).unwrap();
        assert_eq!(file.read::<Vec<String>>().unwrap().unwrap(), ["one", "two"]);
        fs::write(file.path(), "[\"one").unwrap();
        assert!(file.read::<Vec<String>>().is_err());
        let renamed = file.rename_damaged().unwrap();
        assert_eq!(fs::read_to_string(&renamed).unwrap(), "[\"one");
        fs::write(file.path(), "{").unwrap();
        assert_ne!(file.rename_damaged().unwrap(), renamed);
        assert_eq!(
            fs::read_to_string(&renamed).unwrap(),
            "[\"one",
            "the earlier damaged file is kept"
        );
        assert_eq!(file.read::<Vec<String>>().unwrap(), None);
        file.remove().unwrap();
    }

    #[test]
    fn quota_removes_least_recently_used_sessions_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| ConversationFile::new(folder.path().join(name));
        let newest = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (age, name) in ["new", "middle", "old"].iter().enumerate() {
            file(name).write(&name).unwrap();
            fs::write(file(name).session_path(), [0; 100]).unwrap();
            let session = fs::File::options().append(true).open(file(name).session_path()).unwrap();
            session.set_modified(newest - Duration::from_secs(age as u64)).unwrap();
        }
        let abandoned = folder.path().join(".tmpAbC");
        fs::write(&abandoned, "half").unwrap();
        fs::File::options().append(true).open(&abandoned).unwrap().set_modified(newest).unwrap();
        fs::write(folder.path().join(".tmpNow"), "half").unwrap();
        let remaining = |quota| {
            enforce_session_quota(folder.path(), quota).unwrap();
            let exists = |name: &&str| file(name).session_path().exists();
            ["new", "middle", "old"].into_iter().filter(exists).collect::<Vec<_>>()
        };
        assert_eq!(remaining(300), ["new", "middle", "old"]);
        assert!(!abandoned.exists() && folder.path().join(".tmpNow").exists());
        assert_eq!(remaining(250), ["new", "middle"]);
        assert_eq!(remaining(99), [""; 0]);
        assert_eq!(file("old").read::<String>().unwrap().unwrap(), "old");
    }
}
