//! GGUF files anywhere below a folder: those of LM Studio, of Jan and of the user.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use super::file::{self, cannot_read, is_named_gguf};
use super::{Found, Owner, Reason, Scanner};

/// How far below the folder files are looked for, and how much there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many folders deep.
    pub(super) depth: usize,
    /// How many files and folders in all.
    pub(super) entries: usize,
}

/// Far beyond what programs build, near enough that a whole disk takes seconds.
pub(super) const BOUNDS: Bounds = Bounds { depth: 8, entries: 100_000 };

/// Takes in the models below a folder.
pub(super) fn scan(owner: Owner, folder: &Path, scanner: &mut Scanner) {
    for path in files_below(folder, BOUNDS, &is_named_gguf, scanner) {
        let below = path.strip_prefix(folder).unwrap_or(&path);
        let found = Found {
            title: title(below),
            repository: repository(below).filter(|_| owner == Owner::LmStudio),
            owner,
            path,
            revision: None,
            sha256: None,
            licence: None,
            size_bytes: 0,
        };
        scanner.take(found);
    }
}

/// The name to show for a file: its own, or its folder's where all of a program's files are
/// called `model.gguf`.
fn title(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name);
    let name = folder.filter(|_| stem.eq_ignore_ascii_case("model")).unwrap_or(stem);
    name.to_string_lossy().into_owned()
}

/// The repository that LM Studio's folders name: `publisher/repository/…/file.gguf`.
fn repository(below: &Path) -> Option<String> {
    let mut components = below.iter().map(|component| component.to_str());
    let (publisher, name) = (components.next()??, components.next()??);
    components.next()?;
    Some(format!("{publisher}/{name}"))
}

/// The files below a folder whose paths are `wanted`, nearest first. Folders that begin with a dot
/// are not entered, none is entered twice, and links are followed.
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
            scanner.leave_out(&folder, Reason::TooDeep { limit: bounds.depth });
            continue;
        }
        let listed = file::folder_identity(&folder).and_then(|identity| {
            let n_left = bounds.entries - n_entries;
            if entered.insert(identity) { list(&folder, n_left + 1) } else { Ok(Vec::new()) }
        });
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) => {
                scanner.leave_out(&folder, cannot_read(&error));
                continue;
            }
        };
        for path in entries {
            n_entries += 1;
            if n_entries > bounds.entries {
                scanner.leave_out(root, Reason::TooManyFiles { limit: bounds.entries });
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

/// What lies in a folder, at most so many entries, in the order of their names.
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
    use super::super::{Scan, scan as scan_place};
    use super::*;

    /// Writes a file that begins as a model does.
    fn put(path: &Path) -> PathBuf {
        put_bytes(path, b"GGUF and more")
    }

    fn put_bytes(path: &Path, bytes: &[u8]) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        path.to_owned()
    }

    #[test]
    fn lm_studio_names_the_repository_by_its_folders() {
        let root = tempfile::tempdir().unwrap();
        let repository = root.path().join("bartowski").join("Tiny-GGUF");
        let path = put(&repository.join("Tiny-Q4_K_M.gguf"));
        put(&repository.join("mmproj-model-f16.gguf"));
        put(&root.path().join("loose").join("Loose.gguf"));
        let scan = scan_place(Owner::LmStudio, root.path());
        assert_eq!(scan.titles(), ["Loose", "Tiny-Q4_K_M"]);
        assert_eq!(scan.found[0].repository, None);
        let tiny = &scan.found[1];
        assert_eq!(tiny.repository.as_deref(), Some("bartowski/Tiny-GGUF"));
        assert_eq!((&tiny.path, tiny.size_bytes), (&path, 13));
        assert_eq!((tiny.owner, &tiny.sha256, &tiny.revision), (Owner::LmStudio, &None, &None));
        assert!(scan.reason("mmproj-model-f16.gguf").contains("projector"));
    }

    #[test]
    fn jan_names_models_by_their_folders() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("janhq").join("Jan-v1-4B-Q4_K_M");
        put(&folder.join("model.gguf"));
        put(&folder.join("mmproj.gguf"));
        put_bytes(&folder.join("model.yml"), b"name: Jan");
        let scan = scan_place(Owner::Jan, root.path());
        assert_eq!(scan.titles(), ["Jan-v1-4B-Q4_K_M"]);
        assert_eq!(scan.found[0].repository, None);
    }

    #[test]
    fn only_whole_models_are_taken() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        put(&at("UPPER.GGUF"));
        put(&at("deep/er/still.gguf"));
        put(&at("big-00001-of-00002.gguf"));
        put(&at("big-00002-of-00002.gguf"));
        put(&at("whole-00001-of-00001.gguf"));
        put(&at("notes.txt"));
        put(&at(".trash/gone.gguf"));
        put_bytes(&at("empty.gguf"), b"");
        put_bytes(&at("zip.gguf"), b"PK\x03\x04");
        fs::create_dir(at("folder.gguf")).unwrap();
        let scan = scan_place(Owner::Folder, root.path());
        assert_eq!(scan.titles(), ["UPPER", "whole-00001-of-00001", "still"]);
        assert_eq!(scan.left_out.len(), 4, "{scan:?}");
        for part in ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"] {
            assert!(scan.reason(part).contains("of a split model"));
        }
        for name in ["empty.gguf", "zip.gguf"] {
            assert_eq!(scan.reason(name), "is not a GGUF file");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        put(&root.path().join("a").join("a.gguf"));
        put(&root.path().join("b").join("b").join("b.gguf"));
        let look = |depth, entries| {
            let mut scanner = Scanner::default();
            let bounds = Bounds { depth, entries };
            let files = files_below(root.path(), bounds, &is_named_gguf, &mut scanner);
            (files.len(), scanner.scan)
        };
        assert_eq!(look(2, 5), (2, Scan::default()));
        let (n_files, scan) = look(1, 5);
        assert_eq!(n_files, 1);
        assert_eq!(scan.reason("b/b"), "is more than 1 folders deep");
        let (n_files, scan) = look(2, 4);
        assert_eq!(n_files, 1);
        assert_eq!(scan.left_out.len(), 1);
        assert_eq!(scan.left_out[0].1, Reason::TooManyFiles { limit: 4 });
    }

    #[cfg(unix)]
    #[test]
    fn links_neither_loop_nor_repeat() {
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
        let scan = scan_place(Owner::Folder, &models);
        // The first name in order stands for the file.
        assert_eq!(scan.titles(), ["hard", "two"]);
        assert_eq!(scan.left_out.len(), 2, "{scan:?}");
        assert_eq!(scan.reason("broken.gguf"), "its file is missing");
        assert!(scan.reason("self.gguf").starts_with("cannot be read"));
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_is_left_out_and_pipes_are_not_opened() {
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
        let scan = scan_place(Owner::Folder, root.path());
        let is_root = fs::read_dir(&closed).is_ok();
        set_mode(0o700).unwrap();
        assert_eq!(scan.reason("pipe.gguf"), "is not a file");
        // Root reads everything.
        if is_root {
            assert_eq!(scan.titles(), ["open", "secret"]);
        } else {
            assert_eq!(scan.titles(), ["open"]);
            assert!(scan.reason("closed").starts_with("cannot be read"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_unicode_do_no_harm() {
        use std::os::unix::ffi::OsStrExt;

        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(std::ffi::OsStr::from_bytes(b"pub\xff")).join("repo");
        put(&folder.join(std::ffi::OsStr::from_bytes(b"a\xff.gguf")));
        let scan = scan_place(Owner::LmStudio, root.path());
        assert_eq!(scan.titles(), ["a\u{fffd}"]);
        assert_eq!(scan.found[0].repository, None);
    }
}
