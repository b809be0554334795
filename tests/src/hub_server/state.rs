//! The shared state of all requests: repositories, users, the log, and the plan's progress.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::content::Content;
use super::faults::{Injected, RequestFacts, RunningPlan};
use super::locked;
use super::log::Log;
use super::repo::{Repo, StoredFile, StoredRepo};
use super::rng::SeededRng;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hub: SocketAddr,
    pub(super) cdn: SocketAddr,
    /// A bound address on which nothing listens.
    pub(super) nowhere: SocketAddr,
    pub(super) log: Log,
    pub(super) tree_page: AtomicUsize,
    pub(super) small_files_redirect: AtomicBool,
    repos: Mutex<Vec<Arc<StoredRepo>>>,
    users: Mutex<HashMap<String, String>>,
    plan: Mutex<RunningPlan>,
    changed: Mutex<HashMap<String, Changed>>,
    url_generation: AtomicU64,
    moved_to: Mutex<Option<String>>,
    /// Whether lists also contain invalid entries.
    pub(super) has_odd_entries: AtomicBool,
}

/// The changes of a file by [`super::Fault::NewEtag`].
#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    times: u64,
    other_bytes: bool,
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Anonymous,
    User {
        name: String,
        token: String,
    },
    /// A user with an unknown token.
    UnknownToken,
}

/// The result of a lookup by id.
pub(super) enum Found {
    Here(Arc<StoredRepo>),
    /// The repository has this id now.
    Moved(String),
    Missing,
}

impl Shared {
    pub(super) fn new(hub: SocketAddr, cdn: SocketAddr, nowhere: SocketAddr) -> Self {
        Self {
            hub,
            cdn,
            nowhere,
            log: Log::default(),
            tree_page: AtomicUsize::new(1000),
            small_files_redirect: AtomicBool::new(true),
            repos: Mutex::default(),
            users: Mutex::default(),
            plan: Mutex::default(),
            changed: Mutex::default(),
            url_generation: AtomicU64::new(0),
            moved_to: Mutex::default(),
            has_odd_entries: AtomicBool::new(false),
        }
    }

    pub(super) fn add(&self, repo: Repo) -> io::Result<()> {
        for token in repo.gate.iter().flat_map(|gate| &gate.tokens) {
            locked(&self.users).entry(token.clone()).or_insert_with(|| "reader".to_owned());
        }
        let stored = Arc::new(StoredRepo::new(repo)?);
        let mut repos = locked(&self.repos);
        repos.retain(|present| present.repo.id != stored.repo.id);
        repos.push(stored);
        Ok(())
    }

    pub(super) fn add_user(&self, name: &str, token: &str) {
        locked(&self.users).insert(token.to_owned(), name.to_owned());
    }

    pub(super) fn repos(&self) -> Vec<Arc<StoredRepo>> {
        locked(&self.repos).clone()
    }

    pub(super) fn find(&self, id: &str) -> Found {
        let repos = locked(&self.repos);
        if let Some(repo) = repos.iter().find(|stored| stored.repo.id == id) {
            return Found::Here(Arc::clone(repo));
        }
        let is_it = |known: &String| known.eq_ignore_ascii_case(id);
        let moved = repos
            .iter()
            .find(|stored| is_it(&stored.repo.id) || stored.repo.former_ids.iter().any(is_it));
        moved.map_or(Found::Missing, |stored| Found::Moved(stored.repo.id.clone()))
    }

    /// The file in LFS with this SHA-256.
    pub(super) fn blob(&self, sha256: &str) -> Option<StoredFile> {
        let repos = locked(&self.repos);
        let mut files = repos.iter().flat_map(|stored| &stored.files);
        files.find(|file| file.lfs.is_some() && file.sha256 == sha256).cloned()
    }

    pub(super) fn caller(&self, headers: &HeaderMap) -> Caller {
        let Some(value) = headers.get(AUTHORIZATION) else { return Caller::Anonymous };
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        let users = locked(&self.users);
        match token.and_then(|token| users.get_key_value(token)) {
            Some((token, name)) => Caller::User { name: name.clone(), token: token.clone() },
            None => Caller::UnknownToken,
        }
    }

    /// The endpoint of the hub that all requests are redirected to.
    pub(super) fn moved_to(&self) -> Option<String> {
        locked(&self.moved_to).clone()
    }

    pub(super) fn move_to(&self, endpoint: Option<String>) {
        *locked(&self.moved_to) = endpoint;
    }

    pub(super) fn start_plan(&self, plan: RunningPlan) {
        *locked(&self.plan) = plan;
    }

    pub(super) fn next_fault(&self, asked: RequestFacts) -> Option<Injected> {
        locked(&self.plan).next(asked)
    }

    pub(super) fn change(&self, sha256: &str, other_bytes: bool) {
        let mut changed = locked(&self.changed);
        let entry = changed.entry(sha256.to_owned()).or_default();
        entry.times += 1;
        entry.other_bytes |= other_bytes;
    }

    /// The current content of a file and its `ETag`.
    pub(super) fn current_content(&self, file: &StoredFile) -> (Content, String) {
        let etag = file.lfs.as_ref().map_or(&file.oid, |lfs| &lfs.xet_hash);
        let Some(changed) = locked(&self.changed).get(&file.sha256).copied() else {
            return (file.content.clone(), format!("\"{etag}\""));
        };
        let content = if changed.other_bytes {
            Content::generated(changed.times ^ 0xbad, file.content.len_bytes())
        } else {
            file.content.clone()
        };
        (content, format!("\"{etag}-{}\"", changed.times))
    }

    pub(super) fn expire_urls(&self) {
        self.url_generation.fetch_add(1, Ordering::SeqCst);
    }

    /// The signature of a CDN URL. It changes when all URLs expire.
    pub(super) fn signature(&self, path: &str, expires: &str) -> String {
        let generation = self.url_generation.load(Ordering::SeqCst);
        let seed = path.bytes().chain(expires.bytes()).fold(generation, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(5)
        });
        let mut rng = SeededRng::new(seed);
        format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
    }
}
