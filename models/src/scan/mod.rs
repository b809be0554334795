//! Finds models of other programs on this device, so that they can be used in place.
//!
//! [`known_locations`] returns the folders where such programs keep models, [`scan`] the models in
//! a folder. Reads the first bytes of each file, or its header if the name is suspicious; copies,
//! writes and downloads nothing. The caller checks whether the engine can run a found model.
//!
//! The folders are untrusted: depth and number of entries are bounded, each folder is entered only
//! once however many links lead to it, and unreadable entries are skipped with a reason.

mod file;
mod folder;
mod hugging_face;
mod locations;
mod ollama;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

pub use locations::{Environment, known_locations};

use crate::Unsuitable;
use file::Identity;

/// The program whose models a folder holds, which determines the folder's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// LM Studio: `publisher/repository/file.gguf`.
    LmStudio,
    /// Ollama: manifests that refer to blobs.
    Ollama,
    /// The cache of Hugging Face's libraries: snapshots of repositories, linked to blobs.
    HuggingFace,
    /// Jan: a folder for each model.
    Jan,
    /// The user: GGUF files anywhere.
    Folder,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LmStudio => "LM Studio",
            Self::Ollama => "Ollama",
            Self::HuggingFace => "Hugging Face",
            Self::Jan => "Jan",
            Self::Folder => "Folder",
        })
    }
}

/// A model found in another program's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundModel {
    /// The path of the file in the program's folder; it may be a link.
    pub path: PathBuf,
    /// The program that it belongs to.
    pub owner: Owner,
    /// A display name.
    pub title: String,
    /// The Hugging Face repository that it came from according to the program, `owner/name`.
    pub repository: Option<String>,
    /// The commit of that repository.
    pub revision: Option<String>,
    /// The SHA-256 that the program recorded. It is not verified here.
    pub sha256: Option<String>,
    /// The licence that the program recorded.
    pub licence: Option<String>,
    /// The file size in bytes.
    pub size_bytes: u64,
}

/// The result of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The models, each file once.
    pub found: Vec<FoundModel>,
    /// Files and folders that look relevant but are not in `found`, with the reason.
    pub skipped: Vec<(PathBuf, SkipReason)>,
}

/// Why a scan skipped a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The file does not exist.
    Missing,
    /// The file or folder cannot be read, with the system's message.
    Unreadable(String),
    /// It is a pipe, a device or a folder.
    NotAFile,
    /// The file does not start with the GGUF magic.
    NotGguf,
    /// The file is GGUF but not a complete model.
    Unsuitable(Unsuitable),
    /// The folder holds more entries than the limit.
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// The model needs an adapter, which Lilims does not support.
    NeedsAdapter,
    /// The model is split into several files.
    Split,
    /// The file's size differs from the size in its manifest.
    WrongSize,
    /// The folder is nested deeper than the limit.
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// The manifest is invalid; the text completes “the manifest …”.
    Manifest(&'static str),
    /// The library cannot store the model, with the reason.
    Unusable(String),
}

/// Completes a sentence that starts with the path.
impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::NotAFile => f.write_str("is not a file"),
            Self::NotGguf => f.write_str("is not a GGUF file"),
            Self::Unsuitable(why) => write!(f, "is {why}"),
            Self::TooManyFiles { limit } => {
                write!(f, "holds more than {limit} files; the rest is skipped")
            }
            Self::NeedsAdapter => f.write_str("needs an adapter, which Lilims does not apply"),
            Self::Split => f.write_str("is a split model, which Lilims cannot join"),
            Self::WrongSize => f.write_str("has a blob whose size differs from the manifest"),
            Self::TooDeep { limit } => write!(f, "is more than {limit} folders deep"),
            Self::Manifest(what) => f.write_str(what),
            Self::Unusable(why) => f.write_str(why),
        }
    }
}

/// Finds the models in a folder with the layout of `owner`.
pub fn scan(owner: Owner, folder: &Path) -> Scan {
    scan_all(&[(owner, folder.to_owned())])
}

/// Finds the models in several folders. A file in two of them is reported for the first.
pub fn scan_all(locations: &[(Owner, PathBuf)]) -> Scan {
    let mut scanner = Scanner::default();
    for (owner, folder) in locations {
        match owner {
            Owner::Ollama => ollama::scan(folder, &mut scanner),
            Owner::HuggingFace => hugging_face::scan(folder, &mut scanner),
            Owner::LmStudio | Owner::Jan | Owner::Folder => {
                folder::scan(*owner, folder, &mut scanner);
            }
        }
    }
    scanner.scan
}

/// Collects the results of a scan and removes duplicates.
#[derive(Debug, Default)]
struct Scanner {
    scan: Scan,
    seen: HashSet<Identity>,
}

impl Scanner {
    fn skip(&mut self, path: &Path, reason: SkipReason) {
        self.scan.skipped.push((path.to_owned(), reason));
    }

    /// Adds a model and fills in its size. Skips files that are not models and drops duplicates.
    fn add(&mut self, found: FoundModel) {
        match file::check(&found.path) {
            Ok(model) => {
                if self.seen.insert(model.identity) {
                    self.scan.found.push(FoundModel { size_bytes: model.size_bytes, ..found });
                }
            }
            Err(why) => self.skip(&found.path, why),
        }
    }
}

/// Accessors for tests: all titles, and the reason for the only skipped path with this suffix.
#[cfg(test)]
impl Scan {
    fn titles(&self) -> Vec<&str> {
        self.found.iter().map(|found| found.title.as_str()).collect()
    }

    #[track_caller]
    fn reason(&self, suffix: &str) -> String {
        let mut reasons = self.skipped.iter().filter(|(path, _)| path.ends_with(suffix));
        let (_, why) = reasons.next().unwrap_or_else(|| panic!("{suffix} in {self:?}"));
        assert!(reasons.next().is_none(), "{suffix} is skipped twice in {self:?}");
        why.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn file_in_two_locations_is_reported_for_the_first() {
        let root = tempfile::tempdir().unwrap();
        let studio = root.path().join("studio");
        let repository = studio.join("maker").join("Tiny-GGUF");
        fs::create_dir_all(&repository).unwrap();
        fs::write(repository.join("tiny.gguf"), b"GGUF").unwrap();
        let locations = [(Owner::LmStudio, studio), (Owner::Folder, root.path().to_owned())];
        let scan = scan_all(&locations);
        assert_eq!(scan.found.len(), 1);
        assert_eq!(scan.found[0].owner, Owner::LmStudio);
        assert_eq!(scan.skipped, []);
    }

    #[test]
    fn owners_are_displayed_by_program_name() {
        let names = [Owner::LmStudio, Owner::HuggingFace, Owner::Jan].map(|o| o.to_string());
        assert_eq!(names, ["LM Studio", "Hugging Face", "Jan"]);
    }

    #[test]
    fn missing_folder_is_skipped() {
        let root = tempfile::tempdir().unwrap();
        for owner in [Owner::Ollama, Owner::HuggingFace, Owner::LmStudio, Owner::Folder] {
            let scan = scan(owner, &root.path().join("gone"));
            assert_eq!(scan.found, []);
            assert!(scan.reason("gone").starts_with("cannot be read"), "{scan:?}");
        }
    }
}
