//! Takes over what earlier versions kept in other files: `models/library.sqlite`, and
//! `conversations/current.json`.
//!
//! Everything is written in one transaction, which also notes the files by their hashes. Only then are
//! they moved to the copies. After a crash between the two, the next opening finds the note and moves
//! them; nothing is taken over twice. A file that an earlier version wrote later is another file, and is
//! taken over again.

mod conversation;
mod library;

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::open::{PATIENCE, with_suffix};
use crate::{ConversationId, Error, Locks, Paths, now_ms, signed};

/// The lock for importing.
const LOCK: &str = "import";
/// The lock that users of the library's index shared in earlier versions.
const OLD_LOCK: &str = "index";
/// The largest file of an earlier version that is read.
const MAX_BYTES: u64 = 1 << 30;

/// What was taken over from earlier versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Models of the library.
    pub n_models: usize,
    /// Downloads of the queue.
    pub n_downloads: usize,
    /// The conversation of the last visit.
    pub conversation: Option<ConversationId>,
    /// What was wrong with the library's index, of which only a part was read.
    pub library_damage: Option<String>,
    /// Where the library's index is now.
    pub library_kept_as: Option<PathBuf>,
    /// Where the last conversation's file is, which could not be read.
    pub unreadable_conversation: Option<PathBuf>,
}

/// Takes over what is there; `None` where nothing is.
pub(crate) fn import(
    paths: &Paths,
    locks: &Locks,
    writer: &mut Connection,
    with_conversation: bool,
) -> Result<Option<Imported>, Error> {
    if !is_anything_there(paths, with_conversation) {
        return Ok(None);
    }
    let _turn = locks.exclusive_within(LOCK, PATIENCE)?.ok_or(Error::Busy)?;
    if !is_anything_there(paths, with_conversation) {
        return Ok(None);
    }
    fs::create_dir_all(&paths.copies).map_err(Error::io(&paths.copies))?;
    let mut imported = Imported::default();
    let mut moves = Vec::new();
    // A program of an earlier version that still runs would go on with a file that is moved.
    let old_locks = Locks::open(paths.models.join(".locks"))?;
    let mut old_users = None;
    let index = paths.old_index();
    let mut library = None;
    if index.is_file() {
        old_users = Some(old_locks.exclusive_within(OLD_LOCK, PATIENCE)?.ok_or(Error::Busy)?);
        library = Some(library::read(&index, &paths.models)?);
    }
    let current = paths.old_conversation();
    let mut conversation = None;
    if with_conversation && current.is_file() {
        match conversation::read(&current) {
            Ok(read) => conversation = Some(read),
            Err(_) => {
                let file = lilims_models::ConversationFile::new(current.clone());
                let aside = file.rename_damaged().map_err(Error::io(&current))?;
                imported.unreadable_conversation = Some(aside);
            }
        }
    }
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(library) = library {
        let hash = hash(&index)?;
        let kept_as = paths.copies.join(format!("library-{}.sqlite", &hash[..8]));
        if known(&transaction, "library.sqlite", &hash)?.is_none() {
            imported.library_damage.clone_from(&library.damage);
            (imported.n_models, imported.n_downloads) = library.write(&transaction)?;
            note(&transaction, "library.sqlite", &hash, &kept_as, None)?;
        }
        imported.library_kept_as = Some(kept_as.clone());
        for suffix in ["", "-wal", "-shm"] {
            moves.push((with_suffix(&index, suffix), with_suffix(&kept_as, suffix)));
        }
    }
    if let Some(conversation) = conversation {
        let hash = hash(&current)?;
        let kept_as = paths.copies.join(format!("current-{}.json", &hash[..8]));
        let id = match known(&transaction, "current.json", &hash)? {
            Some(id) => id,
            None => {
                let id = conversation.write(&transaction)?;
                note(&transaction, "current.json", &hash, &kept_as, id.as_ref())?;
                imported.conversation.clone_from(&id);
                id
            }
        };
        if let Some(id) = id {
            let session = with_suffix(&current, ".session");
            moves.push((session, paths.session(&id)));
        }
        moves.push((current, kept_as));
    }
    transaction.commit()?;
    for (from, to) in moves {
        // After a crash, the next opening finds the hash of the file and moves it again.
        match fs::rename(&from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(from)(error));
            }
            _ => {}
        }
    }
    lilims_files::sync_folder(&paths.copies);
    drop(old_users);
    Ok(Some(imported))
}

fn is_anything_there(paths: &Paths, with_conversation: bool) -> bool {
    paths.old_index().is_file() || with_conversation && paths.old_conversation().is_file()
}

fn hash(path: &Path) -> Result<String, Error> {
    let bytes = lilims_files::read(path, MAX_BYTES).map_err(Error::file(path))?;
    Ok(format!("{:x}", Sha256::digest(bytes)))
}

/// Whether the file was taken over before, and the conversation that it became.
fn known(
    connection: &Connection,
    name: &str,
    hash: &str,
) -> Result<Option<Option<ConversationId>>, Error> {
    let sql = "SELECT conversation FROM imports WHERE name = ?1 AND sha256 = ?2";
    let id = connection.query_row(sql, [name, hash], |row| row.get::<_, Option<String>>(0));
    Ok(id.optional()?.map(|id| id.map(ConversationId::from)))
}

fn note(
    connection: &Connection,
    name: &str,
    hash: &str,
    kept_as: &Path,
    conversation: Option<&ConversationId>,
) -> Result<(), Error> {
    let kept_as = kept_as.file_name().unwrap_or_default().to_string_lossy();
    connection.execute(
        "INSERT INTO imports (name, sha256, at_ms, kept_as, conversation)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![name, hash, signed(now_ms()), kept_as, conversation.map(|id| id.as_str())],
    )?;
    Ok(())
}
