//! `/api/models` and `/api/whoami-v2`: search, one model, its tree, and the token's owner.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::routing::get;
use serde_json::{Map, Value, json};

use super::answers::{
    Answer, Outcome, Refusal, entry_not_found, error, find_repo, json_answer, reject_unknown_token,
    require_revision, set_header,
};
use super::hex;
use super::repo::{GateKind, StoredFile, StoredRepo, blob_oid};
use super::state::{Caller, Shared};

const MAX_MODELS: usize = 1000;
/// The default fields of a list.
const LISTED: &[&str] = &[
    "_id",
    "id",
    "likes",
    "trendingScore",
    "private",
    "downloads",
    "tags",
    "pipeline_tag",
    "library_name",
    "createdAt",
    "modelId",
];
/// The fields that `full` adds to those.
const FULL: &[&str] = &["author", "gated", "lastModified", "sha", "siblings"];
/// The supported fields of `expand[]`.
const EXPANDABLE: &[&str] = &[
    "author",
    "cardData",
    "createdAt",
    "disabled",
    "downloads",
    "gated",
    "gguf",
    "lastModified",
    "library_name",
    "likes",
    "pipeline_tag",
    "private",
    "sha",
    "siblings",
    "tags",
    "trendingScore",
    "usedStorage",
];

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/whoami-v2", get(whoami))
        .route("/api/models", get(search))
        .route("/api/models/{owner}/{name}", get(model))
        .route("/api/models/{owner}/{name}/revision/{revision}", get(model_at))
        .route("/api/models/{owner}/{name}/tree/{revision}", get(tree))
        .route("/api/models/{owner}/{name}/tree/{revision}/{*folder}", get(folder))
}

async fn whoami(State(shared): State<Arc<Shared>>, request: Request) -> Outcome {
    let caller = shared.caller(request.headers());
    reject_unknown_token(&caller)?;
    let Caller::User { name, .. } = caller else {
        return Err(error(401, None, "Invalid username or password."));
    };
    Ok(json_answer(&json!({
        "type": "user", "id": object_id(&name), "name": name, "fullname": name, "isPro": false,
        "avatarUrl": "/avatars/0.svg", "orgs": [],
        "auth": { "type": "access_token", "accessToken": {
            "displayName": "tests", "role": "read", "createdAt": "2025-09-01T12:00:00.000Z",
        } },
    })))
}

/// The decoded query of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default().as_bytes();
        let owned = |(name, value): (_, _)| (String::from(name), String::from(value));
        Self(form_urlencoded::parse(query).map(owned).collect())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.first(name)?.parse().ok()
    }

    fn is_set(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| matches!(value, "true" | "True" | "1" | ""))
    }

    /// The fields in `expand`; `None` if it is absent.
    fn expand(&self) -> Result<Option<Vec<&str>>, Refusal> {
        let asked: Vec<_> = self.all("expand[]").chain(self.all("expand")).collect();
        if let Some(unknown) = asked.iter().find(|field| !EXPANDABLE.contains(field)) {
            return Err(error(400, None, &format!("Invalid expand option: {unknown}")));
        }
        Ok((!asked.is_empty()).then_some(asked))
    }
}

async fn search(State(shared): State<Arc<Shared>>, request: Request) -> Outcome {
    reject_unknown_token(&shared.caller(request.headers()))?;
    let query = Query::of(request.uri());
    let expand = query.expand()?;
    let mut found = shared.repos();
    found.retain(|stored| is_match(stored, &query));
    sort(&mut found, query.first("sort").unwrap_or("trendingScore"), query.first("direction"));

    let fields: Vec<_> = match &expand {
        Some(expand) => [&["_id", "id"], expand.as_slice()].concat(),
        None if query.is_set("full") => [LISTED, FULL].concat(),
        None => LISTED.to_vec(),
    };
    let mut models: Vec<_> =
        found.iter().map(|stored| only(describe(stored, false), &fields)).collect();
    if shared.has_odd_entries.load(Ordering::SeqCst) {
        for model in &mut models {
            model["likes"] = json!("12");
            model["downloads"] = json!(1234.5);
            model["gguf"] = json!({ "total": null });
            model["tags"] = json!([null, "gguf", "license:mit", 5]);
            model["lastModified"] = json!(null);
        }
        models.splice(0..0, odd_models());
    }
    let most = query.number("limit").unwrap_or(MAX_MODELS).min(MAX_MODELS);
    Ok(page(&shared, request.uri(), models, most))
}

/// Invalid entries of a search result.
fn odd_models() -> Vec<Value> {
    vec![
        json!(null),
        json!("owner/text"),
        json!({}),
        json!({ "id": null, "downloads": 1 }),
        json!({ "id": 5 }),
        json!({ "id": "no-owner" }),
        json!({ "id": "owner/\u{1b}[2Jescape" }),
    ]
}

fn is_match(stored: &StoredRepo, query: &Query) -> bool {
    let id = stored.repo.id.to_lowercase();
    let author = id.split('/').next();
    let tags = stored.tags();
    query.all("search").flat_map(str::split_whitespace).all(|w| id.contains(&w.to_lowercase()))
        && query.all("author").all(|asked| author == Some(asked.to_lowercase().as_str()))
        && query
            .all("filter")
            .flat_map(|tags| tags.split(','))
            .all(|asked| tags.iter().any(|tag| tag == asked))
}

fn sort(found: &mut [Arc<StoredRepo>], by: &str, direction: Option<&str>) {
    found.sort_by(|a, b| {
        let (a, b) = (&a.repo, &b.repo);
        match by {
            "downloads" => b.downloads.cmp(&a.downloads),
            "likes" | "trendingScore" => b.likes.cmp(&a.likes),
            _ => b.last_modified.cmp(&a.last_modified),
        }
    });
    if direction == Some("1") {
        found.reverse();
    }
}

async fn model(
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
    request: Request,
) -> Outcome {
    describe_at(&shared, &format!("{owner}/{name}"), "main", &request)
}

async fn model_at(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    request: Request,
) -> Outcome {
    describe_at(&shared, &format!("{owner}/{name}"), &revision, &request)
}

fn describe_at(shared: &Shared, id: &str, revision: &str, request: &Request) -> Outcome {
    let repo = public_repo(shared, id, revision, request)?;
    let query = Query::of(request.uri());
    let mut model = describe(&repo, query.is_set("blobs"));
    if shared.has_odd_entries.load(Ordering::SeqCst) {
        let odd = [json!(null), json!({ "size": 5 }), json!({ "rfilename": 7, "lfs": "x" })];
        if let Some(siblings) = model.get_mut("siblings").and_then(Value::as_array_mut) {
            siblings.splice(0..0, odd);
        }
        model.insert("tags".to_owned(), json!(null));
    }
    Ok(json_answer(&match query.expand()? {
        Some(expand) => only(model, &[&["_id", "id"], expand.as_slice()].concat()),
        None => only(model, &[LISTED, FULL, EXPANDABLE].concat()),
    }))
}

/// The repository for metadata requests, which are public even if the files are gated.
fn public_repo(
    shared: &Shared,
    id: &str,
    revision: &str,
    request: &Request,
) -> Result<Arc<StoredRepo>, Refusal> {
    let caller = shared.caller(request.headers());
    reject_unknown_token(&caller)?;
    let repo = find_repo(shared, &caller, id, request.uri())?;
    require_revision(&repo, revision)?;
    Ok(repo)
}

/// The complete JSON description of a model.
fn describe(stored: &StoredRepo, with_blobs: bool) -> Map<String, Value> {
    let repo = &stored.repo;
    let gated = match &repo.gate {
        None => json!(false),
        Some(gate) if gate.kind == GateKind::Auto => json!("auto"),
        Some(_) => json!("manual"),
    };
    let siblings: Vec<_> = stored.files.iter().map(|file| sibling(file, with_blobs)).collect();
    let used_storage: u64 = stored.files.iter().map(|file| file.content.len_bytes()).sum();
    let mut model = json!({
        "_id": object_id(&repo.id), "id": repo.id, "modelId": repo.id,
        "author": repo.id.split('/').next(), "sha": repo.commit,
        "lastModified": repo.last_modified, "createdAt": "2025-08-01T12:00:00.000Z",
        "private": false, "disabled": false, "gated": gated, "tags": stored.tags(),
        "downloads": repo.downloads, "likes": repo.likes, "trendingScore": repo.likes / 10,
        "pipeline_tag": "text-generation", "library_name": "transformers",
        "siblings": siblings, "usedStorage": used_storage,
    });
    let fields = model.as_object_mut().expect("the value is an object");
    if let Some(licence) = &repo.licence {
        fields.insert("cardData".to_owned(), json!({ "license": licence }));
    }
    if let Some(gguf) = &repo.gguf {
        let summary = json!({
            "total": gguf.total, "architecture": gguf.architecture,
            "context_length": gguf.context_length, "totalFileSize": used_storage,
        });
        fields.insert("gguf".to_owned(), summary);
    }
    std::mem::take(fields)
}

fn sibling(file: &StoredFile, with_blobs: bool) -> Value {
    if !with_blobs {
        return json!({ "rfilename": file.path });
    }
    let size = file.content.len_bytes();
    let mut sibling = json!({ "rfilename": file.path, "blobId": file.oid, "size": size });
    if let Some(lfs) = &file.lfs {
        sibling["lfs"] =
            json!({ "sha256": file.sha256, "size": size, "pointerSize": lfs.pointer_size });
    }
    sibling
}

fn only(mut model: Map<String, Value>, fields: &[&str]) -> Value {
    model.retain(|field, _| fields.contains(&field.as_str()));
    Value::Object(model)
}

async fn tree(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    request: Request,
) -> Outcome {
    list(&shared, &format!("{owner}/{name}"), &revision, "", &request)
}

async fn folder(
    State(shared): State<Arc<Shared>>,
    Path((owner, name, revision, folder)): Path<(String, String, String, String)>,
    request: Request,
) -> Outcome {
    let inside = format!("{}/", folder.trim_end_matches('/'));
    list(&shared, &format!("{owner}/{name}"), &revision, &inside, &request)
}

fn list(shared: &Shared, id: &str, revision: &str, inside: &str, request: &Request) -> Outcome {
    let repo = public_repo(shared, id, revision, request)?;
    let query = Query::of(request.uri());
    let is_recursive = query.is_set("recursive");
    let files: Vec<_> = repo.files.iter().filter(|file| file.path.starts_with(inside)).collect();
    if files.is_empty() && !inside.is_empty() {
        return Err(entry_not_found());
    }
    let is_listed = |path: &str| is_recursive || !path[inside.len()..].contains('/');
    let folders: BTreeSet<_> = files
        .iter()
        .flat_map(|file| file.path.match_indices('/').map(|(end, _)| &file.path[..end]))
        .filter(|path| path.len() > inside.len() && is_listed(path))
        .collect();
    let folders = folders.into_iter().map(|path| {
        json!({ "type": "directory", "oid": blob_oid(path.as_bytes()), "size": 0, "path": path })
    });
    let files = files.into_iter().filter(|file| is_listed(&file.path)).map(entry);
    let page_length = shared.tree_page.load(Ordering::SeqCst);
    let most = query.number("limit").unwrap_or(page_length).min(page_length);
    Ok(page(shared, request.uri(), folders.chain(files).collect(), most))
}

fn entry(file: &StoredFile) -> Value {
    let size = file.content.len_bytes();
    let mut entry = json!({ "type": "file", "oid": file.oid, "size": size, "path": file.path });
    if let Some(lfs) = &file.lfs {
        entry["lfs"] = json!({ "oid": file.sha256, "size": size, "pointerSize": lfs.pointer_size });
        entry["xetHash"] = json!(lfs.xet_hash);
    }
    entry
}

/// A page of a list, with a `Link` header to the next page if there is one.
fn page(shared: &Shared, uri: &Uri, mut list: Vec<Value>, most: usize) -> Answer {
    let query = Query::of(uri);
    let start = query.number("cursor").unwrap_or(0).min(list.len());
    let end = list.len().min(start + most);
    let is_last = end == list.len();
    list.truncate(end);
    list.drain(..start);
    let mut answer = json_answer(&Value::Array(list));
    if !is_last && most > 0 {
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.extend_pairs(query.0.iter().filter(|(name, _)| name != "cursor"));
        next.append_pair("cursor", &end.to_string());
        let link = format!("<http://{}{}?{}>; rel=\"next\"", shared.hub, uri.path(), next.finish());
        set_header(&mut answer, "link", &link);
    }
    answer
}

/// An object id in the format of the hub's database, derived from a name.
fn object_id(name: &str) -> String {
    let mut bytes = [0_u8; 12];
    for (index, byte) in name.bytes().enumerate() {
        bytes[index % 12] = byte.wrapping_add(bytes[index % 12].wrapping_mul(31));
    }
    hex(&bytes)
}
