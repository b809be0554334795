//! Conversations on disk: what was said, in JSON, and beside it what the engine saved of its session.
//!
//! The text is small and written at once, whole or not at all; the session is large, can be computed
//! anew at any time and is bounded by a quota. What they hold is the caller's.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lilims_files::{AtomicFile, AtomicFileOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How files of sessions end.
const SESSION_SUFFIX: &str = ".session";
/// The most bytes of a conversation that are read: years of talk.
const MAX_TEXT_BYTES: u64 = 256 << 20;
/// How the file of a conversation that could not be read ends.
const DAMAGED_SUFFIX: &str = ".damaged";
/// How names of files begin that are not written to their end yet, and after how long nobody writes to
/// such a file any more.
const TEMPORARY_PREFIX: &str = ".tmp";
const ABANDONED: Duration = Duration::from_secs(3600);

/// A conversation's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationFile {
    path: PathBuf,
}

impl ConversationFile {
    /// The conversation whose text is at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where its text is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its session is.
    pub fn session_path(&self) -> PathBuf {
        with_suffix(&self.path, SESSION_SUFFIX)
    }

    /// What was kept, `None` where nothing was.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        match lilims_files::read(&self.path, MAX_TEXT_BYTES) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps `conversation` in place of what was kept, at once or not at all.
    ///
    /// # Errors
    /// When it cannot be written; then the old one stands.
    pub fn write<T: Serialize>(&self, conversation: &T) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let options = AtomicFileOptions { prefix: TEMPORARY_PREFIX, is_private: true };
        let mut file = AtomicFile::with_options(&self.path, options)?;
        file.write_all(&serde_json::to_vec_pretty(conversation)?)?;
        Ok(file.commit()?)
    }

    /// Removes text and session; what is not there is no error.
    ///
    /// # Errors
    /// When one of them stays.
    pub fn remove(&self) -> io::Result<()> {
        [self.path.clone(), self.session_path()].iter().try_for_each(|path| remove(path))
    }

    /// Puts a damaged text aside, beside its old place and those put aside before, and returns where
    /// it is now.
    ///
    /// # Errors
    /// When it stays where it is.
    pub fn put_aside(&self) -> io::Result<PathBuf> {
        Ok(lilims_files::rename_to_free_name(&self.path, &with_suffix(&self.path, DAMAGED_SUFFIX))?)
    }
}

/// Removes sessions in `folder`, the longest unused first, until those that are left take at most
/// `quota_bytes`, and what writes that were cut off have left there. Texts are not touched.
///
/// # Errors
/// When the folder cannot be read or a file not be removed.
pub fn bound_sessions(folder: &Path, quota_bytes: u64) -> io::Result<()> {
    let mut sessions: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, metadata) = (entry.file_name(), entry.metadata()?);
        let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if name.to_string_lossy().ends_with(SESSION_SUFFIX) {
            sessions.push((used, metadata.len(), entry.path()));
        }
    }
    sweep_abandoned(folder);
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

/// Removes what writes into `folder` that were cut off have left there. What cannot be removed is
/// left for the next time.
pub(crate) fn sweep_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_old = || {
            let metadata = entry.metadata().ok().filter(|it| it.is_file())?;
            Some(metadata.modified().ok()?.elapsed().ok()? > ABANDONED)
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
    fn a_conversation_is_kept_and_a_damaged_one_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = ConversationFile::new(folder.path().join("new").join("chat.json"));
        assert_eq!(file.read::<Vec<String>>().unwrap(), None);
        file.write(&["one", "two"]).unwrap();
        assert_eq!(file.read::<Vec<String>>().unwrap().unwrap(), ["one", "two"]);
        fs::write(file.path(), "[\"one").unwrap();
        assert!(file.read::<Vec<String>>().is_err());
        let aside = file.put_aside().unwrap();
        assert_eq!(fs::read_to_string(&aside).unwrap(), "[\"one");
        fs::write(file.path(), "{").unwrap();
        assert_ne!(file.put_aside().unwrap(), aside);
        assert_eq!(fs::read_to_string(&aside).unwrap(), "[\"one", "the earlier one stays");
        assert_eq!(file.read::<Vec<String>>().unwrap(), None);
        file.remove().unwrap();
    }

    #[test]
    fn the_quota_takes_the_longest_unused_sessions_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| ConversationFile::new(folder.path().join(name));
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (age, name) in ["new", "middle", "old"].iter().enumerate() {
            file(name).write(&name).unwrap();
            fs::write(file(name).session_path(), [0; 100]).unwrap();
            let session = fs::File::options().append(true).open(file(name).session_path()).unwrap();
            session.set_modified(begin - Duration::from_secs(age as u64)).unwrap();
        }
        let abandoned = folder.path().join(".tmpAbC");
        fs::write(&abandoned, "half").unwrap();
        fs::File::options().append(true).open(&abandoned).unwrap().set_modified(begin).unwrap();
        fs::write(folder.path().join(".tmpNow"), "half").unwrap();
        let kept = |quota| {
            bound_sessions(folder.path(), quota).unwrap();
            let is_there = |name: &&str| file(name).session_path().exists();
            ["new", "middle", "old"].into_iter().filter(is_there).collect::<Vec<_>>()
        };
        assert_eq!(kept(300), ["new", "middle", "old"]);
        assert!(!abandoned.exists() && folder.path().join(".tmpNow").exists());
        assert_eq!(kept(250), ["new", "middle"]);
        assert_eq!(kept(99), [""; 0]);
        assert_eq!(file("old").read::<String>().unwrap().unwrap(), "old");
    }
}
