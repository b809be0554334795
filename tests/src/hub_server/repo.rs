//! Repositories as tests define them, and the hashes that the hub derives from them.

use std::io;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::content::Content;
use super::hex;

/// Extensions of files that are in LFS at any size, as in a new repository's `.gitattributes`.
const LFS_ENDINGS: &[&str] = &[".gguf", ".bin", ".safetensors", ".zip"];
/// The largest file that the hub accepts outside LFS, in bytes.
const LARGEST_PLAIN_BYTES: u64 = 10 << 20;

/// How access to a gated repository is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// Granted to everybody on request.
    Auto,
    /// Granted by the authors.
    Manual,
}

/// The access to the files of a gated repository; its metadata is public.
#[derive(Clone, Debug)]
pub struct Gate {
    /// How access is granted.
    pub kind: GateKind,
    /// The tokens that have access.
    pub tokens: Vec<String>,
}

/// The hub's summary of a repository's GGUF file.
#[derive(Clone, Debug)]
pub struct GgufSummary {
    /// The number of parameters.
    pub total: u64,
    /// `general.architecture`.
    pub architecture: String,
    /// The longest context that the model was trained for.
    pub context_length: u64,
}

/// A model repository with one commit on `main`.
#[derive(Clone, Debug)]
pub struct Repo {
    /// `owner/name`.
    pub id: String,
    /// Former ids; the hub redirects them.
    pub former_ids: Vec<String>,
    /// The commit of `main`: 40 hexadecimal digits.
    pub commit: String,
    /// The licence's identifier, as in `license:apache-2.0`.
    pub licence: Option<String>,
    /// Set if the files need a token with access.
    pub gate: Option<Gate>,
    /// The README, without its metadata.
    pub card: Option<String>,
    /// Further tags.
    pub tags: Vec<String>,
    /// The number of downloads in the last 30 days.
    pub downloads: u64,
    /// The number of likes.
    pub likes: u64,
    /// The time of the last change, in the API's format.
    pub last_modified: String,
    /// The hub's summary of its GGUF file.
    pub gguf: Option<GgufSummary>,
    files: Vec<(String, Content, Storage)>,
}

#[derive(Clone, Copy, Debug)]
enum Storage {
    AsUsual,
    Plain,
    Lfs,
}

impl Repo {
    /// An open repository without files; its commit is derived from its id.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            former_ids: Vec::new(),
            commit: hex(&Sha1::digest(id)),
            licence: None,
            gate: None,
            card: None,
            tags: Vec::new(),
            downloads: 0,
            likes: 0,
            last_modified: "2025-09-01T12:00:00.000Z".to_owned(),
            gguf: None,
            files: Vec::new(),
        }
    }

    /// Adds a file; in LFS if its extension or size requires that.
    #[must_use]
    pub fn with_file(self, path: &str, content: Content) -> Self {
        self.with(path, content, Storage::AsUsual)
    }

    /// Adds a file that is in git itself, with any extension.
    #[must_use]
    pub fn with_plain_file(self, path: &str, content: Content) -> Self {
        self.with(path, content, Storage::Plain)
    }

    /// Adds a file that is in LFS, with any extension.
    #[must_use]
    pub fn with_lfs_file(self, path: &str, content: Content) -> Self {
        self.with(path, content, Storage::Lfs)
    }

    /// Sets the licence.
    #[must_use]
    pub fn with_licence(mut self, licence: &str) -> Self {
        self.licence = Some(licence.to_owned());
        self
    }

    /// Gates the files; only `tokens` have access.
    #[must_use]
    pub fn gated(mut self, kind: GateKind, tokens: &[&str]) -> Self {
        self.gate = Some(Gate { kind, tokens: tokens.iter().map(|&t| t.to_owned()).collect() });
        self
    }

    fn with(mut self, path: &str, content: Content, storage: Storage) -> Self {
        self.files.retain(|(present, ..)| present != path);
        self.files.push((path.to_owned(), content, storage));
        self
    }
}

/// A repository with the hashes of its files.
#[derive(Debug)]
pub(super) struct StoredRepo {
    pub(super) repo: Repo,
    pub(super) files: Vec<StoredFile>,
}

#[derive(Clone, Debug)]
pub(super) struct StoredFile {
    pub(super) path: String,
    pub(super) content: Content,
    pub(super) sha256: String,
    /// The git blob id of the file, or of its pointer if it is in LFS.
    pub(super) oid: String,
    pub(super) lfs: Option<Lfs>,
}

#[derive(Clone, Debug)]
pub(super) struct Lfs {
    pub(super) pointer_size: u64,
    /// The CDN's identifier of the file, unrelated to its SHA-256.
    pub(super) xet_hash: String,
}

impl StoredRepo {
    pub(super) fn new(mut repo: Repo) -> io::Result<Self> {
        if let Some(card) = &repo.card {
            let licence = repo.licence.as_deref().unwrap_or("other");
            let readme = format!("---\nlicense: {licence}\n---\n{card}");
            repo = repo.clone().with_file("README.md", Content::held(readme));
        }
        let mut files = repo
            .files
            .iter()
            .map(|(path, content, storage)| StoredFile::new(path, content, *storage))
            .collect::<io::Result<Vec<_>>>()?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { repo, files })
    }

    pub(super) fn file(&self, path: &str) -> Option<&StoredFile> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(super) fn has_revision(&self, revision: &str) -> bool {
        ["main", "refs/heads/main", self.repo.commit.as_str()].contains(&revision)
    }

    pub(super) fn tags(&self) -> Vec<String> {
        let mut tags = self.repo.tags.clone();
        if self.files.iter().any(|file| file.path.ends_with(".gguf")) {
            tags.insert(0, "gguf".to_owned());
        }
        tags.extend(self.repo.licence.iter().map(|licence| format!("license:{licence}")));
        tags.push("region:us".to_owned());
        tags
    }
}

impl StoredFile {
    fn new(path: &str, content: &Content, storage: Storage) -> io::Result<Self> {
        let is_lfs = match storage {
            Storage::Lfs => true,
            Storage::Plain => false,
            Storage::AsUsual => {
                content.len_bytes() > LARGEST_PLAIN_BYTES
                    || LFS_ENDINGS.iter().any(|ending| path.ends_with(ending))
            }
        };
        let sha256 = content.sha256()?;
        let (oid, lfs) = if is_lfs {
            let pointer = format!(
                "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {}\n",
                content.len_bytes()
            );
            let xet_hash = hex(&Sha256::digest(format!("xet {sha256}")));
            let lfs = Lfs { pointer_size: pointer.len() as u64, xet_hash };
            (blob_oid(pointer.as_bytes()), Some(lfs))
        } else {
            (blob_oid(&content.read(0..content.len_bytes())?), None)
        };
        Ok(Self { path: path.to_owned(), content: content.clone(), sha256, oid, lfs })
    }
}

/// The git blob id of this content.
pub(super) fn blob_oid(content: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex(&hasher.finalize())
}
