//! Requests to the Hub API of Hugging Face: searches, repositories, files, model cards.

use lilims_ipc::ConnectionPurpose;
use lilims_models::Unsuitable;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::client::{Client, Request, check_not_html, redirect_target};
use crate::egress::header::ETAG;
use crate::egress::{HeaderMap, Method, Purpose, StatusCode, Url};
use crate::library::folder::check_repository;
use crate::{Error, card};

/// The most results of a search.
const MAX_RESULTS: u32 = 40;
/// The most redirects to a repository's new name or to another hub.
const MAX_RENAMES: usize = 8;

/// A search for repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Words of the name; if empty, the most popular repositories are found.
    pub text: String,
    /// The largest model, in parameters.
    pub max_parameters: Option<u64>,
    /// Identifier of a licence, such as `apache-2.0`.
    pub licence: Option<String>,
}

/// A repository in the results of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// `owner/name`.
    pub repository: String,
    /// Downloads in the last month.
    pub downloads: u64,
    /// Number of likes.
    pub likes: u64,
    /// Identifier of its licence.
    pub licence: Option<String>,
    /// Number of parameters, if the hub knows it.
    pub parameters: Option<u64>,
    /// Whether its terms must be accepted first.
    pub is_gated: bool,
    /// When it was last changed, in the hub's format.
    pub updated: Option<String>,
}

/// A repository with its GGUF files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name`.
    pub repository: String,
    /// The commit of the files.
    pub revision: String,
    /// Identifier of its licence.
    pub licence: Option<String>,
    /// Whether its terms must be accepted first.
    pub is_gated: bool,
    /// Its GGUF files, sorted by size.
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
    /// Why the file is not a model by itself, judged by its name.
    pub fn unsuitable(&self) -> Option<Unsuitable> {
        lilims_models::unsuitable(&self.file, None)
    }
}

/// A file's version and size, from the headers of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileInfo {
    pub(crate) commit: String,
    pub(crate) etag: String,
    pub(crate) sha256: Option<String>,
    pub(crate) total_bytes: u64,
}

impl Client {
    /// Searches for repositories with GGUF files, sorted by downloads.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Status`], [`Error::InvalidResponse`].
    pub async fn search(&self, search: &Search) -> Result<Vec<SearchResult>, Error> {
        let mut url = self.url("api/models");
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("filter", "gguf");
            if let Some(licence) = &search.licence {
                query.append_pair("filter", &format!("license:{licence}"));
            }
            // A pasted address finds its repository.
            let address = search.text.parse().ok().filter(Address::is_pasted);
            let text = address.map_or_else(|| search.text.clone(), |it| it.repository);
            if !text.trim().is_empty() {
                query.append_pair("search", text.trim());
            }
            query.append_pair("sort", "downloads").append_pair("direction", "-1");
            query.append_pair("limit", &MAX_RESULTS.to_string());
            for field in ["downloads", "likes", "tags", "gated", "lastModified", "gguf"] {
                query.append_pair("expand[]", field);
            }
        }
        let purpose = Purpose::new(ConnectionPurpose::Search, "");
        let json = self.get_json(url.clone(), &purpose).await?;
        let Some(results) = json.as_array() else {
            return Err(Error::invalid_response(&url, &purpose, "it is not a list"));
        };
        let fits = |result: &SearchResult| match (search.max_parameters, result.parameters) {
            (Some(max), Some(parameters)) => parameters <= max,
            _ => true,
        };
        Ok(results.iter().filter_map(SearchResult::from_json).filter(fits).collect())
    }

    /// Fetches the list of a repository's GGUF files at `revision`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Gated`], [`Error::RepositoryName`]; or as for [`Client::search`].
    pub async fn repository(&self, name: &str, revision: &str) -> Result<Repository, Error> {
        let mut url = self.api_url(name, revision)?;
        url.query_pairs_mut().append_pair("blobs", "true");
        let purpose = Purpose::new(ConnectionPurpose::Repository, name);
        let json = self.get_json(url.clone(), &purpose).await?;
        if !json.is_object() {
            return Err(Error::invalid_response(&url, &purpose, "it is not an object"));
        }
        let siblings = json.get("siblings").and_then(Value::as_array);
        let files = siblings.into_iter().flatten().filter_map(RepositoryFile::from_json);
        let mut files: Vec<_> =
            files.filter(|it| it.file.to_ascii_lowercase().ends_with(".gguf")).collect();
        files.sort_by(|a, b| (a.size_bytes, &a.file).cmp(&(b.size_bytes, &b.file)));
        Ok(Repository {
            repository: name.to_owned(),
            // Without a commit, the next request uses the revision again.
            revision: text(&json, "sha").unwrap_or_else(|| revision.to_owned()),
            licence: licence(&json),
            is_gated: is_gated(&json["gated"]),
            files,
        })
    }

    /// Fetches a repository's model card as Markdown that is safe to show; empty if it has none.
    ///
    /// # Errors
    /// As for [`Client::repository`].
    pub async fn card(&self, name: &str, revision: &str) -> Result<String, Error> {
        let url = self.file_url(name, revision, "README.md")?;
        match self.get_text(url, &Purpose::new(ConnectionPurpose::Card, name)).await {
            Ok(text) => Ok(card::sanitise(&text)),
            Err(Error::NotFound { .. }) => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// Fetches a file's version and size.
    pub(crate) async fn file_info(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
    ) -> Result<FileInfo, Error> {
        let purpose = Purpose::of_file(ConnectionPurpose::FileInfo, repository, file);
        let mut url = self.file_url(repository, revision, file)?;
        for _ in 0..MAX_RENAMES {
            let (method, headers) = (Method::HEAD, HeaderMap::new());
            let response = self.send(&Request { method, url, headers, purpose: &purpose }).await?;
            if let Some(info) = file_info(response.headers(), response.content_length()) {
                return Ok(info);
            }
            if !response.status().is_redirection() {
                check_not_html(&response, &purpose)?;
                let message = "size, commit or ETag are missing";
                return Err(Error::invalid_response(response.url(), &purpose, message));
            }
            // This may be another hub, which does not get the token.
            url = redirect_target(&response, &purpose)?;
        }
        Err(Error::invalid_response(&self.url(""), &purpose, "too many redirects"))
    }

    /// Fetches the first `len` bytes of a file, and its size.
    ///
    /// # Errors
    /// As for [`Client::repository`].
    pub async fn read_prefix(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
        len: u64,
    ) -> Result<(Vec<u8>, u64), Error> {
        let purpose = Purpose::of_file(ConnectionPurpose::Header, repository, file);
        let info = self.file_info(repository, revision, file).await?;
        let len = len.min(info.total_bytes);
        let url = self.file_url(repository, &info.commit, file)?;
        let mut headers = HeaderMap::new();
        let range = format!("bytes=0-{}", len.saturating_sub(1));
        headers.insert("range", range.parse().expect("a range is a header's value"));
        let request = Request { method: Method::GET, url, headers, purpose: &purpose };
        let mut response = self.send_following(request).await?;
        check_not_html(&response, &purpose)?;
        let starts_elsewhere = |range: &str| !range.trim_start().starts_with("bytes 0-");
        let range = response.headers().get("content-range").and_then(|it| it.to_str().ok());
        if response.status() == StatusCode::PARTIAL_CONTENT && range.is_none_or(starts_elsewhere) {
            let message = "it sends another part of the file";
            return Err(Error::invalid_response(response.url(), &purpose, message));
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let Some(part) = response.chunk().await? else {
                let message = "it is too short";
                return Err(Error::transient_response(response.url(), &purpose, message));
            };
            bytes.extend_from_slice(&part);
        }
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok((bytes, info.total_bytes))
    }

    async fn get_json(&self, url: Url, purpose: &Purpose) -> Result<Value, Error> {
        let text = self.get_text(url.clone(), purpose).await?;
        serde_json::from_str(&text)
            .map_err(|error| Error::invalid_response(&url, purpose, &error.to_string()))
    }
}

// Responses are parsed entry by entry and field by field: invalid ones are skipped, and the rest is
// used.

impl SearchResult {
    /// Parses a result, if it names a repository.
    pub fn from_json(json: &Value) -> Option<Self> {
        let repository = text(json, "id").or_else(|| text(json, "modelId"))?;
        check_repository(&repository).ok()?;
        Some(Self {
            licence: licence(json),
            is_gated: is_gated(&json["gated"]),
            repository,
            downloads: number(&json["downloads"]).unwrap_or(0),
            likes: number(&json["likes"]).unwrap_or(0),
            parameters: number(&json["gguf"]["total"]),
            updated: text(json, "lastModified"),
        })
    }
}

impl RepositoryFile {
    /// Parses a file of a repository, if it has a name.
    pub fn from_json(json: &Value) -> Option<Self> {
        let lfs = &json["lfs"];
        let hash = text(lfs, "sha256").or_else(|| text(lfs, "oid"));
        Some(Self {
            file: text(json, "rfilename").or_else(|| text(json, "path"))?,
            size_bytes: number(&lfs["size"]).or_else(|| number(&json["size"])).unwrap_or(0),
            sha256: hash.and_then(|it| sha256(it.trim_start_matches("sha256:"))),
        })
    }
}

/// The field `key`, if it is a non-empty string.
fn text(json: &Value, key: &str) -> Option<String> {
    json.get(key)?.as_str().filter(|it| !it.is_empty()).map(str::to_owned)
}

/// Parses a non-negative number, also as a float or a string.
fn number(json: &Value) -> Option<u64> {
    let float = |number: f64| (0.0..u64::MAX as f64).contains(&number).then_some(number as u64);
    match json {
        Value::Number(number) => number.as_u64().or_else(|| float(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| float(text.parse().ok()?))
        }
        _ => None,
    }
}

/// Parses the headers of a file; `None` if they are incomplete.
fn file_info(headers: &HeaderMap, content_length: Option<u64>) -> Option<FileInfo> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = header("x-linked-etag").or_else(|| header(ETAG.as_str()))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
    let length = || header("content-length").and_then(|it| it.parse().ok()).or(content_length);
    let linked = header("x-linked-size").and_then(|size| size.parse().ok());
    Some(FileInfo {
        commit: header("x-repo-commit")?.to_owned(),
        sha256: sha256(&etag),
        total_bytes: linked.or_else(length)?,
        etag,
    })
}

/// Returns `text` if it is a SHA-256 in hexadecimal.
fn sha256(text: &str) -> Option<String> {
    let is_hash = text.len() == 2 * <Sha256 as Digest>::output_size()
        && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

fn licence(json: &Value) -> Option<String> {
    let tags = json.get("tags").and_then(Value::as_array);
    let mut tags = tags.into_iter().flatten().filter_map(Value::as_str);
    tags.find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned)
}

/// Parses the field `gated`: `false`, or how access is granted.
fn is_gated(gated: &serde_json::Value) -> bool {
    gated.as_bool().unwrap_or(gated.is_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_and_projectors_are_not_models() {
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
    fn gated_and_licence_are_parsed() {
        assert!(is_gated(&json!("manual")) && is_gated(&json!(true)));
        assert!(!is_gated(&json!(false)) && !is_gated(&Value::Null));
        let json = json!({ "tags": [null, 7, "gguf", "license:mit"] });
        assert_eq!(licence(&json).as_deref(), Some("mit"));
    }

    #[test]
    fn l14_invalid_fields_are_skipped() {
        let good = json!({ "id": "a/b", "downloads": 5, "likes": 2, "gguf": { "total": 7 } });
        let result = SearchResult::from_json(&good).unwrap();
        assert_eq!((result.downloads, result.likes, result.parameters), (5, 2, Some(7)));
        for (field, value) in [
            ("downloads", json!(null)),
            ("downloads", json!("5")),
            ("downloads", json!(5.9)),
            ("downloads", json!(-5)),
            ("downloads", json!([])),
            ("likes", json!("many")),
            ("tags", json!("gguf")),
            ("tags", json!([null, {}])),
            ("gguf", json!(null)),
            ("gguf", json!({ "total": "7e0" })),
            ("gguf", json!("x")),
            ("gated", json!(3)),
            ("lastModified", json!(0)),
        ] {
            let mut invalid = good.clone();
            invalid[field] = value.clone();
            assert_eq!(
                SearchResult::from_json(&invalid).unwrap().repository,
                "a/b",
                "{field}: {value}"
            );
        }
        assert_eq!(number(&json!("5")), Some(5));
        assert_eq!(
            [json!(5.9), json!(-1), json!(1e300)].map(|it| number(&it)),
            [Some(5), None, None]
        );
        for invalid in
            [json!(null), json!("a/b"), json!({}), json!({ "id": null }), json!({ "id": 7 })]
        {
            assert_eq!(SearchResult::from_json(&invalid), None, "{invalid}");
        }
        for id in ["a", "a/b/c", "../b", "a/b\u{1b}[2J", ""] {
            assert_eq!(SearchResult::from_json(&json!({ "id": id })), None, "{id:?}");
        }
        let file =
            RepositoryFile::from_json(&json!({ "rfilename": "m.gguf", "size": "9", "lfs": 3 }));
        assert_eq!(file.unwrap().size_bytes, 9);
        assert_eq!(RepositoryFile::from_json(&json!({ "rfilename": null, "size": 9 })), None);
    }
}
