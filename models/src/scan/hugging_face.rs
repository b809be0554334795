//! Finds models in the cache of Hugging Face's libraries. Never writes to it.
//!
//! `models--owner--name/snapshots/<commit>/…/file.gguf` is a link into `blobs/`, where a large file
//! is named by its SHA-256; `refs/main` holds the current commit
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{cannot_read, is_named_gguf};
use super::folder::{BOUNDS, files_below, list};
use super::{FoundModel, Owner, Scanner};
use crate::catalogue::is_sha256;

/// The largest file in `refs/` that is read, in bytes.
const MAX_REF_BYTES: u64 = 256;

/// Adds the models in a cache folder to the scan.
pub(super) fn scan(hub: &Path, scanner: &mut Scanner) {
    let entries = match list(hub, BOUNDS.entries) {
        Ok(entries) => entries,
        Err(error) => return scanner.skip(hub, cannot_read(&error)),
    };
    for folder in entries {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if let Some(name) = name.strip_prefix("models--") {
            // Owner and name never contain two hyphens in a row.
            scan_repository(&name.replace("--", "/"), &folder, scanner);
        }
    }
}

fn scan_repository(repository: &str, folder: &Path, scanner: &mut Scanner) {
    let snapshots = folder.join("snapshots");
    // A repository has no snapshots if only its refs were resolved.
    let Ok(mut snapshots) = list(&snapshots, BOUNDS.entries) else { return };
    let current = super::locations::read_line(&folder.join("refs").join("main"), MAX_REF_BYTES);
    // An unchanged file is linked from several snapshots: report it for the current one.
    snapshots.sort_by_key(|snapshot| {
        let name = snapshot.file_name().and_then(|name| name.to_str());
        name.is_none() || name != current.as_deref()
    });
    for snapshot in snapshots {
        for path in files_below(&snapshot, BOUNDS, &is_named_gguf, scanner) {
            let stem = path.file_stem().unwrap_or_default();
            let found = FoundModel {
                title: stem.to_string_lossy().into_owned(),
                repository: Some(repository.to_owned()),
                revision: commit(&snapshot),
                sha256: blob_hash(&path, folder),
                owner: Owner::HuggingFace,
                path,
                licence: None,
                size_bytes: 0,
            };
            scanner.add(found);
        }
    }
}

/// The commit in a snapshot folder's name.
fn commit(snapshot: &Path) -> Option<String> {
    let name = snapshot.file_name()?.to_str()?;
    let is_commit = name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| name.to_owned())
}

/// The SHA-256 in the name of the blob that `path` links to, if it is a blob of this repository.
fn blob_hash(path: &Path, folder: &Path) -> Option<String> {
    let blob: PathBuf = fs::canonicalize(path).ok()?;
    let blobs = fs::canonicalize(folder.join("blobs")).ok()?;
    let name = blob.file_name()?.to_str()?;
    (blob.parent() == Some(&*blobs) && is_sha256(name)).then(|| name.to_owned())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::scan as scan_folder;
    use super::*;

    const OLD: &str = "0000000000000000000000000000000000000001";
    const NEW: &str = "ffffffffffffffffffffffffffffffffffffffff";

    /// Creates a file in the cache as `hf download` does.
    fn put(hub: &Path, repository: &str, commit: &str, file: &str, blob: &str) -> PathBuf {
        let folder = hub.join(format!("models--{}", repository.replace('/', "--")));
        let blobs = folder.join("blobs");
        let path = folder.join("snapshots").join(commit).join(file);
        fs::create_dir_all(&blobs).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(blobs.join(blob), b"GGUF and more").unwrap();
        let up = "../".repeat(1 + file.split('/').count());
        symlink(format!("{up}blobs/{blob}"), &path).unwrap();
        path
    }

    fn set_main(hub: &Path, folder: &str, commit: &str) {
        let refs = hub.join(folder).join("refs");
        fs::create_dir_all(&refs).unwrap();
        fs::write(refs.join("main"), commit).unwrap();
    }

    #[test]
    fn reads_repository_commit_and_hash() {
        let hub = tempfile::tempdir().unwrap();
        let hash = "a".repeat(64);
        let path = put(hub.path(), "maker/Tiny-GGUF", NEW, "q4/Tiny-Q4_0.gguf", &hash);
        put(hub.path(), "gpt2", NEW, "gpt2.gguf", "0123456789abcdef0123456789abcdef01234567");
        put(hub.path(), "maker/Tiny-GGUF", NEW, "README.md", &"b".repeat(40));
        fs::create_dir(hub.path().join("models--only--refs")).unwrap();
        fs::create_dir(hub.path().join("datasets--maker--texts")).unwrap();
        fs::write(hub.path().join("version.txt"), "1").unwrap();
        let scan = scan_folder(Owner::HuggingFace, hub.path());
        assert_eq!(scan.skipped, []);
        assert_eq!(scan.titles(), ["gpt2", "Tiny-Q4_0"]);
        let (gpt2, tiny) = (&scan.found[0], &scan.found[1]);
        assert_eq!((gpt2.repository.as_deref(), &gpt2.sha256), (Some("gpt2"), &None));
        let expected = FoundModel {
            path,
            owner: Owner::HuggingFace,
            title: "Tiny-Q4_0".into(),
            repository: Some("maker/Tiny-GGUF".into()),
            revision: Some(NEW.into()),
            sha256: Some(hash),
            licence: None,
            size_bytes: 13,
        };
        assert_eq!(*tiny, expected);
    }

    #[test]
    fn shared_file_belongs_to_current_snapshot() {
        let hub = tempfile::tempdir().unwrap();
        for commit in [OLD, NEW] {
            put(hub.path(), "maker/Tiny", commit, "tiny.gguf", &"c".repeat(64));
        }
        put(hub.path(), "maker/Tiny", OLD, "dropped.gguf", &"d".repeat(64));
        let revisions = || {
            let scan = scan_folder(Owner::HuggingFace, hub.path());
            let named = scan.found.iter().map(|f| (f.title.clone(), f.revision.clone().unwrap()));
            named.collect::<Vec<_>>()
        };
        let pair = |title: &str, commit: &str| (title.to_owned(), commit.to_owned());
        set_main(hub.path(), "models--maker--Tiny", &format!("{NEW}\n"));
        assert_eq!(revisions(), [pair("tiny", NEW), pair("dropped", OLD)]);
        set_main(hub.path(), "models--maker--Tiny", OLD);
        assert_eq!(revisions(), [pair("dropped", OLD), pair("tiny", OLD)]);
    }

    #[test]
    fn links_outside_the_repository_yield_no_hash() {
        let hub = tempfile::tempdir().unwrap();
        let hash = "e".repeat(64);
        let outside = hub.path().join(&hash);
        fs::write(&outside, b"GGUF").unwrap();
        let snapshot = hub.path().join("models--a--b").join("snapshots").join("not-a-commit");
        fs::create_dir_all(&snapshot).unwrap();
        symlink(&outside, snapshot.join("outside.gguf")).unwrap();
        symlink("../../blobs/gone", snapshot.join("gone.gguf")).unwrap();
        symlink("/dev/zero", snapshot.join("zero.gguf")).unwrap();
        let scan = scan_folder(Owner::HuggingFace, hub.path());
        assert_eq!(scan.titles(), ["outside"]);
        assert_eq!((&scan.found[0].sha256, &scan.found[0].revision), (&None, &None));
        assert_eq!(scan.reason("gone.gguf"), "does not exist");
        assert_eq!(scan.reason("zero.gguf"), "is not a file");
    }
}
