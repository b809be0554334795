//! Models that other programs have on this device, found so that they can be used in place.
//!
//! [`known_places`] tells where such programs keep models, [`scan`] what lies there. Nothing is
//! opened beyond a file's first bytes, copied, written or fetched; whether the engine can run what
//! is found is the caller's to find out.
//!
//! Folders are foreign: their depth and their number of entries are bounded, a folder is entered
//! once however many links lead to it, and what cannot be read is left out with a reason.

mod file;
mod folder;
mod hugging_face;
mod ollama;
mod places;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

pub use places::{Environment, known_places};

use crate::Unsuitable;
use file::Identity;

/// Whose models a folder holds, which tells how it is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// LM Studio: `publisher/repository/file.gguf`.
    LmStudio,
    /// Ollama: manifests that name blobs.
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

/// A model in another program's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file, as its owner names it; it may be a link.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Owner,
    /// A name to show.
    pub title: String,
    /// The Hugging Face repository that its owner says it came from, `owner/name`.
    pub repository: Option<String>,
    /// The commit of that repository.
    pub revision: Option<String>,
    /// The SHA-256 that its owner keeps it under. Nobody computed it here.
    pub sha256: Option<String>,
    /// What its owner keeps as its licence.
    pub licence: Option<String>,
    /// The file's length.
    pub size_bytes: u64,
}

/// What lies in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The models, each file once.
    pub found: Vec<Found>,
    /// Files and folders that might have been expected, and why they are not in `found`.
    pub left_out: Vec<(PathBuf, Reason)>,
}

/// Why a file or a folder is left out of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not there.
    Missing,
    /// It cannot be read: what the system says.
    Unreadable(String),
    /// It is a pipe, a device or a folder.
    NotAFile,
    /// It does not begin as GGUF files do.
    NotGguf,
    /// It is GGUF but not a model of its own.
    Unsuitable(Unsuitable),
    /// The folder holds more files than are searched.
    TooManyFiles {
        /// How many are.
        limit: usize,
    },
    /// The model needs an adapter, which is not applied.
    NeedsAdapter,
    /// The model is split into several files.
    Split,
    /// The file has another size than its manifest says.
    WrongSize,
    /// The folder is nested deeper than is searched.
    TooDeep {
        /// How many levels are.
        limit: usize,
    },
    /// The manifest cannot be understood: what it does.
    Manifest(&'static str),
    /// The library cannot store it.
    Unusable(String),
}

/// Completes “FILE …”.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("its file is missing"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::NotAFile => f.write_str("is not a file"),
            Self::NotGguf => f.write_str("is not a GGUF file"),
            Self::Unsuitable(why) => write!(f, "is {why}"),
            Self::TooManyFiles { limit } => {
                write!(f, "holds more than {limit} files; the rest is unread")
            }
            Self::NeedsAdapter => f.write_str("needs an adapter, which Lilims does not apply"),
            Self::Split => f.write_str("is a split model, which Lilims cannot join"),
            Self::WrongSize => f.write_str("its blob has another size than the manifest says"),
            Self::TooDeep { limit } => write!(f, "is more than {limit} folders deep"),
            Self::Manifest(what) => f.write_str(what),
            Self::Unusable(why) => f.write_str(why),
        }
    }
}

/// Finds the models in a folder that is laid out as `owner` does it.
pub fn scan(owner: Owner, folder: &Path) -> Scan {
    scan_all(&[(owner, folder.to_owned())])
}

/// Finds the models in several folders. A file that lies in two of them is the first one's.
pub fn scan_all(places: &[(Owner, PathBuf)]) -> Scan {
    let mut scanner = Scanner::default();
    for (owner, folder) in places {
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

/// A scan under way.
#[derive(Debug, Default)]
struct Scanner {
    scan: Scan,
    seen: HashSet<Identity>,
}

impl Scanner {
    fn leave_out(&mut self, path: &Path, reason: Reason) {
        self.scan.left_out.push((path.to_owned(), reason));
    }

    /// Takes a file in unless it is no model or is in already; its length is filled in.
    fn take(&mut self, found: Found) {
        match file::check(&found.path) {
            Ok(model) => {
                if self.seen.insert(model.identity) {
                    self.scan.found.push(Found { size_bytes: model.size_bytes, ..found });
                }
            }
            Err(why) => self.leave_out(&found.path, why),
        }
    }
}

/// What tests ask of a scan: all titles, and the reason for the one path with this ending.
#[cfg(test)]
impl Scan {
    fn titles(&self) -> Vec<&str> {
        self.found.iter().map(|found| found.title.as_str()).collect()
    }

    #[track_caller]
    fn reason(&self, ending: &str) -> String {
        let mut reasons = self.left_out.iter().filter(|(path, _)| path.ends_with(ending));
        let (_, why) = reasons.next().unwrap_or_else(|| panic!("{ending} in {self:?}"));
        assert!(reasons.next().is_none(), "{ending} is left out twice in {self:?}");
        why.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_in_two_places_is_found_once_and_belongs_to_the_first() {
        let root = tempfile::tempdir().unwrap();
        let studio = root.path().join("studio");
        let repository = studio.join("maker").join("Tiny-GGUF");
        fs::create_dir_all(&repository).unwrap();
        fs::write(repository.join("tiny.gguf"), b"GGUF").unwrap();
        let places = [(Owner::LmStudio, studio), (Owner::Folder, root.path().to_owned())];
        let scan = scan_all(&places);
        assert_eq!(scan.found.len(), 1);
        assert_eq!(scan.found[0].owner, Owner::LmStudio);
        assert_eq!(scan.left_out, []);
    }

    #[test]
    fn owners_have_the_names_that_their_programs_have() {
        let names = [Owner::LmStudio, Owner::HuggingFace, Owner::Jan].map(|o| o.to_string());
        assert_eq!(names, ["LM Studio", "Hugging Face", "Jan"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        for owner in [Owner::Ollama, Owner::HuggingFace, Owner::LmStudio, Owner::Folder] {
            let scan = scan(owner, &root.path().join("gone"));
            assert_eq!(scan.found, []);
            assert!(scan.reason("gone").starts_with("cannot be read"), "{scan:?}");
        }
    }
}
