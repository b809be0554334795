//! Finds GGUF files anywhere below a folder, for LM Studio, Jan and folders of the user.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use super::file::{self, cannot_read, is_named_gguf};
use super::{FoundModel, Owner, Scanner, SkipReason};

/// Limits of a folder walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The deepest level of folders that is entered.
    pub(super) depth: usize,
    /// The total number of files and folders.
    pub(super) entries: usize,
}

/// Far more than any program creates, but low enough that walking a whole disk takes seconds.
pub(super) const BOUNDS: Bounds = Bounds { depth: 8, entries: 100_000 };

/// Adds the models below a folder to the scan.
pub(super) fn scan(owner: Owner, folder: &Path, scanner: &mut Scanner) {
    for path in files_below(folder, BOUNDS, &is_named_gguf, scanner) {
        let below = path.strip_prefix(folder).unwrap_or(&path);
        let found = FoundModel {
            title: title(below),
            repository: repository(below).filter(|_| owner == Owner::LmStudio),
            owner,
            path,
            revision: None,
            sha256: None,
            licence: None,
            size_bytes: 0,
        };
        scanner.add(found);
    }
}

/// The display name of a file: its stem, or its folder's name for files called `model.gguf`.
fn title(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name);
    let name = folder.filter(|_| stem.eq_ignore_ascii_case("model")).unwrap_or(stem);
    name.to_string_lossy().into_owned()
}

/// The repository from LM Studio's folder layout, `publisher/repository/…/file.gguf`.
fn repository(below: &Path) -> Option<String> {
    let mut components = below.iter().map(|component| component.to_str());
    let (publisher, name) = (components.next()??, components.next()??);
    components.next()?;
    Some(format!("{publisher}/{name}"))
}

/// The `wanted` files below a folder, breadth first. Follows links, enters each folder only once,
/// and skips folders whose names start with a dot.
pub(super) fn files_below(
    root: &Path,
    bounds: Bounds,
    wanted: &dyn Fn(&Path) -> bool,
    scanner: &mut Scanner,
) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entered = HashSet::new();
    let mut n_entries = 0;
    let mut folders = VecDeque::from([(root.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        if depth > bounds.depth {
            scanner.skip(&folder, SkipReason::TooDeep { limit: bounds.depth });
            continue;
        }
        let listed = file::folder_identity(&folder).and_then(|identity| {
            let n_left = bounds.entries - n_entries;
            if entered.insert(identity) { list(&folder, n_left + 1) } else { Ok(Vec::new()) }
        });
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) => {
                scanner.skip(&folder, cannot_read(&error));
                continue;
            }
        };
        for path in entries {
            n_entries += 1;
            if n_entries > bounds.entries {
                scanner.skip(root, SkipReason::TooManyFiles { limit: bounds.entries });
                return files;
            }
            if path.is_dir() {
                if !is_hidden(&path) {
                    folders.push_back((path, depth + 1));
                }
            } else if wanted(&path) {
                files.push(path);
            }
        }
    }
    files
}

/// At most `max_entries` entries of a folder, sorted by path.
pub(super) fn list(folder: &Path, max_entries: usize) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.take(max_entries);
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort_unstable();
    Ok(paths)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::super::{Scan, scan as scan_folder};
    use super::*;

    /// Writes a file that starts with the GGUF magic.
    fn put(path: &Path) -> PathBuf {
        put_bytes(path, b"GGUF and more")
    }

    fn put_bytes(path: &Path, bytes: &[u8]) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        path.to_owned()
    }

    #[test]
    fn lm_studio_repository_comes_from_folders() {
        let root = tempfile::tempdir().unwrap();
        let repository = root.path().join("bartowski").join("Tiny-GGUF");
        let path = put(&repository.join("Tiny-Q4_K_M.gguf"));
        put(&repository.join("mmproj-model-f16.gguf"));
        put(&root.path().join("loose").join("Loose.gguf"));
        let scan = scan_folder(Owner::LmStudio, root.path());
        assert_eq!(scan.titles(), ["Loose", "Tiny-Q4_K_M"]);
        assert_eq!(scan.found[0].repository, None);
        let tiny = &scan.found[1];
        assert_eq!(tiny.repository.as_deref(), Some("bartowski/Tiny-GGUF"));
        assert_eq!((&tiny.path, tiny.size_bytes), (&path, 13));
        assert_eq!((tiny.owner, &tiny.sha256, &tiny.revision), (Owner::LmStudio, &None, &None));
        assert!(scan.reason("mmproj-model-f16.gguf").contains("projector"));
    }

    #[test]
    fn jan_title_comes_from_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("janhq").join("Jan-v1-4B-Q4_K_M");
        put(&folder.join("model.gguf"));
        put(&folder.join("mmproj.gguf"));
        put_bytes(&folder.join("model.yml"), b"name: Jan");
        let scan = scan_folder(Owner::Jan, root.path());
        assert_eq!(scan.titles(), ["Jan-v1-4B-Q4_K_M"]);
        assert_eq!(scan.found[0].repository, None);
    }

    #[test]
    fn finds_only_complete_models() {
        let root = tempfile::tempdir().unwrap();
        let path_of = |name: &str| root.path().join(name);
        put(&path_of("UPPER.GGUF"));
        put(&path_of("deep/er/still.gguf"));
        put(&path_of("big-00001-of-00002.gguf"));
        put(&path_of("big-00002-of-00002.gguf"));
        put(&path_of("whole-00001-of-00001.gguf"));
        put(&path_of("notes.txt"));
        put(&path_of(".trash/gone.gguf"));
        put_bytes(&path_of("empty.gguf"), b"");
        put_bytes(&path_of("zip.gguf"), b"PK\x03\x04");
        fs::create_dir(path_of("folder.gguf")).unwrap();
        let scan = scan_folder(Owner::Folder, root.path());
        assert_eq!(scan.titles(), ["UPPER", "whole-00001-of-00001", "still"]);
        assert_eq!(scan.skipped.len(), 4, "{scan:?}");
        for part in ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"] {
            assert!(scan.reason(part).contains("of a split model"));
        }
        for name in ["empty.gguf", "zip.gguf"] {
            assert_eq!(scan.reason(name), "is not a GGUF file");
        }
    }

    #[test]
    fn depth_and_entries_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        put(&root.path().join("a").join("a.gguf"));
        put(&root.path().join("b").join("b").join("b.gguf"));
        let walk = |depth, entries| {
            let mut scanner = Scanner::default();
            let bounds = Bounds { depth, entries };
            let files = files_below(root.path(), bounds, &is_named_gguf, &mut scanner);
            (files.len(), scanner.scan)
        };
        assert_eq!(walk(2, 5), (2, Scan::default()));
        let (n_files, scan) = walk(1, 5);
        assert_eq!(n_files, 1);
        assert_eq!(scan.reason("b/b"), "is more than 1 folders deep");
        let (n_files, scan) = walk(2, 4);
        assert_eq!(n_files, 1);
        assert_eq!(scan.skipped.len(), 1);
        assert_eq!(scan.skipped[0].1, SkipReason::TooManyFiles { limit: 4 });
    }

    #[cfg(unix)]
    #[test]
    fn links_cause_no_loop_and_no_duplicate() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let models = root.path().join("models");
        let outside = root.path().join("outside");
        let file = put(&models.join("one.gguf"));
        put(&outside.join("two.gguf"));
        symlink(&models, models.join("loop")).unwrap();
        symlink(root.path(), models.join("up")).unwrap();
        symlink(&outside, models.join("other-disk")).unwrap();
        symlink(&file, models.join("same.gguf")).unwrap();
        symlink("self.gguf", models.join("self.gguf")).unwrap();
        symlink(root.path().join("gone"), models.join("broken.gguf")).unwrap();
        fs::hard_link(&file, models.join("hard.gguf")).unwrap();
        let scan = scan_folder(Owner::Folder, &models);
        // Of several links to a file, the first in sort order is reported.
        assert_eq!(scan.titles(), ["hard", "two"]);
        assert_eq!(scan.skipped.len(), 2, "{scan:?}");
        assert_eq!(scan.reason("broken.gguf"), "does not exist");
        assert!(scan.reason("self.gguf").starts_with("cannot be read"));
    }

    #[cfg(unix)]
    #[test]
    fn unreadable_folders_and_pipes_are_skipped() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().unwrap();
        let closed = root.path().join("closed");
        put(&closed.join("secret.gguf"));
        put(&root.path().join("open.gguf"));
        let pipe = root.path().join("pipe.gguf");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let set_mode = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode));
        set_mode(0o000).unwrap();
        let scan = scan_folder(Owner::Folder, root.path());
        let is_root = fs::read_dir(&closed).is_ok();
        set_mode(0o700).unwrap();
        assert_eq!(scan.reason("pipe.gguf"), "is not a file");
        // Root ignores file permissions.
        if is_root {
            assert_eq!(scan.titles(), ["open", "secret"]);
        } else {
            assert_eq!(scan.titles(), ["open"]);
            assert!(scan.reason("closed").starts_with("cannot be read"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn non_unicode_names_are_accepted() {
        use std::os::unix::ffi::OsStrExt;

        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(std::ffi::OsStr::from_bytes(b"pub\xff")).join("repo");
        put(&folder.join(std::ffi::OsStr::from_bytes(b"a\xff.gguf")));
        let scan = scan_folder(Owner::LmStudio, root.path());
        assert_eq!(scan.titles(), ["a\u{fffd}"]);
        assert_eq!(scan.found[0].repository, None);
    }
}
