//! What a hub knows: searches, repositories, files, cards. Source: the Hub API of Hugging Face.

use reqwest::header::{ETAG, HeaderMap};
use reqwest::{Method, Url};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::client::{Ask, Client, answer, host, redirected};
use crate::{Error, card};

/// Repositories that a search returns at most.
const MAX_FOUND: u32 = 40;
/// Redirects from an old name of a repository to its new one.
const MAX_RENAMES: usize = 4;

/// What to search for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Words of the name; empty finds what is popular.
    pub text: String,
    /// The largest model, in parameters.
    pub max_parameters: Option<u64>,
    /// A licence's identifier, such as `apache-2.0`.
    pub licence: Option<String>,
}

/// A repository that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `owner/name`.
    pub repository: String,
    /// Downloads in the last month.
    pub downloads: u64,
    /// How many like it.
    pub likes: u64,
    /// Its licence's identifier.
    pub licence: Option<String>,
    /// Parameters, where the hub knows them.
    pub parameters: Option<u64>,
    /// Whether its terms must be accepted first.
    pub is_gated: bool,
    /// When it was last changed, as the hub writes it.
    pub updated: Option<String>,
}

/// A repository with its GGUF files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name`.
    pub repository: String,
    /// The commit that the files are of.
    pub revision: String,
    /// Its licence's identifier.
    pub licence: Option<String>,
    /// Whether its terms must be accepted first.
    pub is_gated: bool,
    /// Its GGUF files, the smallest first.
    pub files: Vec<RepositoryFile>,
}

/// A GGUF file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFile {
    /// Its path in the repository.
    pub file: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Option<String>,
}

impl RepositoryFile {
    /// Why the file is no model by itself, if it is none.
    pub fn unsuitable(&self) -> Option<&'static str> {
        let name = self.file.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let part = name.strip_suffix(".gguf").and_then(|stem| stem.rsplit_once("-of-"));
        let is_part = part.is_some_and(|(before, of)| {
            let digits = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
            digits(of) && before.rsplit('-').next().is_some_and(digits)
        });
        if is_part {
            Some("one part of a split model, which Lilims cannot join yet")
        } else if name.contains("mmproj") {
            Some("the part of a model that sees pictures, no model of its own")
        } else if name.contains("imatrix") {
            Some("data for quantising, no model")
        } else {
            None
        }
    }
}

/// What is known of a file before its bytes come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) commit: String,
    pub(crate) etag: String,
    pub(crate) sha256: Option<String>,
    pub(crate) total_bytes: u64,
}

#[derive(Deserialize)]
struct FoundJson {
    id: String,
    #[serde(default)]
    downloads: u64,
    #[serde(default)]
    likes: u64,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    gated: serde_json::Value,
    #[serde(rename = "lastModified")]
    last_modified: Option<String>,
    gguf: Option<GgufJson>,
}

#[derive(Deserialize)]
struct GgufJson {
    total: Option<u64>,
}

#[derive(Deserialize)]
struct RepositoryJson {
    sha: String,
    #[serde(default)]
    siblings: Vec<SiblingJson>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    gated: serde_json::Value,
}

#[derive(Deserialize)]
struct SiblingJson {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<LfsJson>,
}

#[derive(Deserialize)]
struct LfsJson {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Client {
    /// Searches for repositories with GGUF files, the most downloaded first.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Status`], [`Error::Answer`].
    pub async fn search(&self, search: &Search) -> Result<Vec<Found>, Error> {
        let mut url = self.page("api/models");
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("filter", "gguf");
            if let Some(licence) = &search.licence {
                query.append_pair("filter", &format!("license:{licence}"));
            }
            if !search.text.trim().is_empty() {
                query.append_pair("search", search.text.trim());
            }
            query.append_pair("sort", "downloads").append_pair("direction", "-1");
            query.append_pair("limit", &MAX_FOUND.to_string());
            for field in ["downloads", "likes", "tags", "gated", "lastModified", "gguf"] {
                query.append_pair("expand[]", field);
            }
        }
        let found: Vec<FoundJson> = self.json(url, "search").await?;
        let fits = |found: &Found| match (search.max_parameters, found.parameters) {
            (Some(max), Some(parameters)) => parameters <= max,
            _ => true,
        };
        Ok(found.into_iter().map(Found::from).filter(fits).collect())
    }

    /// A repository's GGUF files at `revision`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Gated`], [`Error::RepositoryName`], or of the network.
    pub async fn repository(&self, name: &str, revision: &str) -> Result<Repository, Error> {
        let mut url = self.api_url(name, revision)?;
        url.query_pairs_mut().append_pair("blobs", "true");
        let json: RepositoryJson = self.json(url, &format!("look at {name}")).await?;
        let is_gguf = |it: &SiblingJson| it.rfilename.to_ascii_lowercase().ends_with(".gguf");
        let mut files: Vec<_> =
            json.siblings.into_iter().filter(is_gguf).map(RepositoryFile::from).collect();
        files.sort_by(|a, b| (a.size_bytes, &a.file).cmp(&(b.size_bytes, &b.file)));
        Ok(Repository {
            repository: name.to_owned(),
            revision: json.sha,
            licence: licence(&json.tags),
            is_gated: is_gated(&json.gated),
            files,
        })
    }

    /// A repository's card as Markdown that is safe to show; empty where it has none.
    ///
    /// # Errors
    /// As [`Client::repository`].
    pub async fn card(&self, name: &str, revision: &str) -> Result<String, Error> {
        let url = self.file_url(name, revision, "README.md")?;
        match self.text(url, &format!("read the card of {name}")).await {
            Ok((text, _)) => Ok(card::sanitise(&text)),
            Err(Error::NotFound { .. }) => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// What the hub knows of a file, without its bytes.
    pub(crate) async fn facts(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
    ) -> Result<FileFacts, Error> {
        let purpose = format!("look at {file} of {repository}");
        let mut url = self.file_url(repository, revision, file)?;
        for _ in 0..MAX_RENAMES {
            let ask =
                Ask { method: Method::HEAD, url, headers: HeaderMap::new(), purpose: &purpose };
            let response = self.send(&ask).await?;
            if let Some(facts) = facts(response.headers(), response.content_length()) {
                return Ok(facts);
            }
            if !response.status().is_redirection() {
                return Err(answer(response.url(), &purpose, "size, commit or ETag are missing"));
            }
            url = redirected(&response, &purpose)?;
            if !self.is_endpoint(&url) {
                return Err(answer(&url, &purpose, "the hub does not say what the file is"));
            }
        }
        let host = host(&self.page(""));
        Err(Error::Answer { what: purpose, host, message: "it redirects in circles".to_owned() })
    }

    /// The first `len` bytes of a file and its length.
    ///
    /// # Errors
    /// As [`Client::repository`].
    pub async fn beginning(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
        len: u64,
    ) -> Result<(Vec<u8>, u64), Error> {
        let purpose = format!("read the header of {file} of {repository}");
        let facts = self.facts(repository, revision, file).await?;
        let len = len.min(facts.total_bytes);
        let url = self.file_url(repository, &facts.commit, file)?;
        let mut headers = HeaderMap::new();
        let range = format!("bytes=0-{}", len.saturating_sub(1));
        headers.insert("range", range.parse().expect("a range is a header's value"));
        let mut response =
            self.follow(Ask { method: Method::GET, url, headers, purpose: &purpose }).await?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            match self.next(&mut response).await? {
                Some(piece) => bytes.extend_from_slice(&piece),
                None => return Err(answer(response.url(), &purpose, "it is too short")),
            }
        }
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok((bytes, facts.total_bytes))
    }

    async fn json<T: for<'a> Deserialize<'a>>(&self, url: Url, purpose: &str) -> Result<T, Error> {
        let (text, _) = self.text(url.clone(), purpose).await?;
        serde_json::from_str(&text).map_err(|error| answer(&url, purpose, &error.to_string()))
    }
}

impl From<FoundJson> for Found {
    fn from(json: FoundJson) -> Self {
        Self {
            licence: licence(&json.tags),
            is_gated: is_gated(&json.gated),
            repository: json.id,
            downloads: json.downloads,
            likes: json.likes,
            parameters: json.gguf.and_then(|gguf| gguf.total),
            updated: json.last_modified,
        }
    }
}

impl From<SiblingJson> for RepositoryFile {
    fn from(json: SiblingJson) -> Self {
        let (lfs_size, sha256) =
            json.lfs.map_or((None, None), |lfs| (lfs.size, lfs.sha256.and_then(|it| sha256(&it))));
        Self { file: json.rfilename, size_bytes: lfs_size.or(json.size).unwrap_or(0), sha256 }
    }
}

/// What the headers say of a file, `None` where they do not say all of it.
fn facts(headers: &HeaderMap, content_length: Option<u64>) -> Option<FileFacts> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = header("x-linked-etag").or_else(|| header(ETAG.as_str()))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
    let length = || header("content-length").and_then(|it| it.parse().ok()).or(content_length);
    let linked = header("x-linked-size").and_then(|size| size.parse().ok());
    Some(FileFacts {
        commit: header("x-repo-commit")?.to_owned(),
        sha256: sha256(&etag),
        total_bytes: linked.or_else(length)?,
        etag,
    })
}

/// The text, if it is a SHA-256 in hexadecimal.
fn sha256(text: &str) -> Option<String> {
    let is_hash = text.len() == 2 * <Sha256 as Digest>::output_size()
        && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

fn licence(tags: &[String]) -> Option<String> {
    tags.iter().find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned)
}

/// `false`, or how access is granted.
fn is_gated(gated: &serde_json::Value) -> bool {
    gated.as_bool().unwrap_or(gated.is_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_projectors_are_no_models() {
        let unsuitable = |file: &str| {
            let file = file.to_owned();
            RepositoryFile { file, size_bytes: 1, sha256: None }.unsuitable().is_some()
        };
        assert!(unsuitable("Q8_0/m-00001-of-00003.gguf"));
        assert!(unsuitable("mmproj-F16.gguf"));
        assert!(unsuitable("m.imatrix.gguf"));
        assert!(!unsuitable("m-of-00003.gguf") && !unsuitable("m-Q4_K_M.gguf"));
    }

    #[test]
    fn gates_and_licences_are_read() {
        assert!(is_gated(&serde_json::json!("manual")) && is_gated(&serde_json::json!(true)));
        assert!(!is_gated(&serde_json::json!(false)) && !is_gated(&serde_json::Value::Null));
        let tags = ["gguf".to_owned(), "license:mit".to_owned()];
        assert_eq!(licence(&tags).as_deref(), Some("mit"));
    }
}
