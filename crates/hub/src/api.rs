//! What a hub knows: searches, repositories, files, cards. Source: the Hub API of Hugging Face.

use lilims_models::Unsuitable;
use reqwest::header::{ETAG, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::client::{Ask, Client, answer, check_no_page, redirected, senseless};
use crate::library::folder::check_repository;
use crate::{Error, card};

/// Repositories that a search returns at most.
const MAX_FOUND: u32 = 40;
/// Redirects from an old name of a repository to its new one, or from one hub to another.
const MAX_RENAMES: usize = 8;

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
    /// Why the file is no model by itself, as far as its name tells.
    pub fn unsuitable(&self) -> Option<Unsuitable> {
        lilims_models::unsuitable(&self.file, None)
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
            // An address means the repository in it.
            let address = search.text.parse().ok().filter(Address::is_pasted);
            let text = address.map_or_else(|| search.text.clone(), |it| it.repository);
            if !text.trim().is_empty() {
                query.append_pair("search", text.trim());
            }
            query.append_pair("sort", "downloads").append_pair("direction", "-1");
            query.append_pair("limit", &MAX_FOUND.to_string());
            for field in ["downloads", "likes", "tags", "gated", "lastModified", "gguf"] {
                query.append_pair("expand[]", field);
            }
        }
        let found = self.json(url.clone(), "search").await?;
        let Some(found) = found.as_array() else {
            return Err(senseless(&url, "search", "it is no list"));
        };
        let fits = |found: &Found| match (search.max_parameters, found.parameters) {
            (Some(max), Some(parameters)) => parameters <= max,
            _ => true,
        };
        Ok(found.iter().filter_map(Found::of).filter(fits).collect())
    }

    /// A repository's GGUF files at `revision`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Gated`], [`Error::RepositoryName`], or of the network.
    pub async fn repository(&self, name: &str, revision: &str) -> Result<Repository, Error> {
        let mut url = self.api_url(name, revision)?;
        url.query_pairs_mut().append_pair("blobs", "true");
        let purpose = format!("look at {name}");
        let json = self.json(url.clone(), &purpose).await?;
        if !json.is_object() {
            return Err(senseless(&url, &purpose, "it does not describe a repository"));
        }
        let siblings = json.get("siblings").and_then(Value::as_array);
        let files = siblings.into_iter().flatten().filter_map(RepositoryFile::of);
        let mut files: Vec<_> =
            files.filter(|it| it.file.to_ascii_lowercase().ends_with(".gguf")).collect();
        files.sort_by(|a, b| (a.size_bytes, &a.file).cmp(&(b.size_bytes, &b.file)));
        Ok(Repository {
            repository: name.to_owned(),
            // A hub that names no commit is asked for the revision again.
            revision: text(&json, "sha").unwrap_or_else(|| revision.to_owned()),
            licence: licence(&json),
            is_gated: is_gated(&json["gated"]),
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
                check_no_page(&response, &purpose)?;
                let message = "size, commit or ETag are missing";
                return Err(senseless(response.url(), &purpose, message));
            }
            // Another hub may be asked, without the token.
            url = redirected(&response, &purpose)?;
        }
        Err(senseless(&self.page(""), &purpose, "it redirects in circles"))
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
        check_no_page(&response, &purpose)?;
        let starts_elsewhere = |range: &str| !range.trim_start().starts_with("bytes 0-");
        let range = response.headers().get("content-range").and_then(|it| it.to_str().ok());
        if response.status() == StatusCode::PARTIAL_CONTENT && range.is_none_or(starts_elsewhere) {
            let message = "it sends another part of the file";
            return Err(senseless(response.url(), &purpose, message));
        }
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

    async fn json(&self, url: Url, purpose: &str) -> Result<Value, Error> {
        let (text, _) = self.text(url.clone(), purpose).await?;
        serde_json::from_str(&text).map_err(|error| senseless(&url, purpose, &error.to_string()))
    }
}

// Answers are read entry by entry and field by field: one that makes no sense is left out, and the
// rest is of use without it.

impl Found {
    /// What an entry of a search says, if it names a repository.
    fn of(json: &Value) -> Option<Self> {
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
    /// What an entry of a repository's files says, if it names one.
    fn of(json: &Value) -> Option<Self> {
        let lfs = &json["lfs"];
        let hash = text(lfs, "sha256").or_else(|| text(lfs, "oid"));
        Some(Self {
            file: text(json, "rfilename").or_else(|| text(json, "path"))?,
            size_bytes: number(&lfs["size"]).or_else(|| number(&json["size"])).unwrap_or(0),
            sha256: hash.and_then(|it| sha256(it.trim_start_matches("sha256:"))),
        })
    }
}

/// A text that is not empty.
fn text(json: &Value, key: &str) -> Option<String> {
    json.get(key)?.as_str().filter(|it| !it.is_empty()).map(str::to_owned)
}

/// A number that is not negative, also one with a point or written as text.
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

fn licence(json: &Value) -> Option<String> {
    let tags = json.get("tags").and_then(Value::as_array);
    let mut tags = tags.into_iter().flatten().filter_map(Value::as_str);
    tags.find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned)
}

/// `false`, or how access is granted.
fn is_gated(gated: &serde_json::Value) -> bool {
    gated.as_bool().unwrap_or(gated.is_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        assert!(is_gated(&json!("manual")) && is_gated(&json!(true)));
        assert!(!is_gated(&json!(false)) && !is_gated(&Value::Null));
        let json = json!({ "tags": [null, 7, "gguf", "license:mit"] });
        assert_eq!(licence(&json).as_deref(), Some("mit"));
    }

    #[test]
    fn l14_fields_that_make_no_sense_are_left_out() {
        let good = json!({ "id": "a/b", "downloads": 5, "likes": 2, "gguf": { "total": 7 } });
        let found = Found::of(&good).unwrap();
        assert_eq!((found.downloads, found.likes, found.parameters), (5, 2, Some(7)));
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
            let mut odd = good.clone();
            odd[field] = value.clone();
            assert_eq!(Found::of(&odd).unwrap().repository, "a/b", "{field}: {value}");
        }
        assert_eq!(number(&json!("5")), Some(5));
        assert_eq!(
            [json!(5.9), json!(-1), json!(1e300)].map(|it| number(&it)),
            [Some(5), None, None]
        );
        for odd in [json!(null), json!("a/b"), json!({}), json!({ "id": null }), json!({ "id": 7 })]
        {
            assert_eq!(Found::of(&odd), None, "{odd}");
        }
        for id in ["a", "a/b/c", "../b", "a/b\u{1b}[2J", ""] {
            assert_eq!(Found::of(&json!({ "id": id })), None, "{id:?}");
        }
        let file = RepositoryFile::of(&json!({ "rfilename": "m.gguf", "size": "9", "lfs": 3 }));
        assert_eq!(file.unwrap().size_bytes, 9);
        assert_eq!(RepositoryFile::of(&json!({ "rfilename": null, "size": 9 })), None);
    }
}
