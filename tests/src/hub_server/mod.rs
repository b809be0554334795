//! A Hugging Face hub on loopback whose answers go wrong as a plan says: the API, `resolve`, and
//! another server for the bytes, with the real ones' redirects, headers and errors. What a client
//! makes of it is for the tests that use both.

mod answers;
mod api;
mod content;
mod draw;
mod faults;
mod files;
mod inject;
mod log;
mod repo;
mod state;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{Router, middleware};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};

pub use content::Content;
pub use faults::{Fault, FaultPlan, FaultRule, Place, RangeLie, Target, WaitHeader};
pub use log::{Host, LoggedRequest};
pub use repo::{Gate, GateKind, GgufSummary, Repo};

use faults::RunningPlan;
use inject::Door;
use state::{Found, Shared};
use wire::{Wire, WireListener};

/// A running hub. It stops when this is dropped.
#[derive(Debug)]
pub struct HubServer {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    /// Keeps its port from being anyone else's.
    _nowhere: TcpSocket,
}

impl HubServer {
    /// Starts the hub and its CDN on free ports of 127.0.0.1, on threads of their own.
    ///
    /// # Panics
    /// When the machine has no loopback, or no threads to give.
    pub fn start() -> Self {
        Self::try_start().expect("loopback has free ports and the machine free threads")
    }

    fn try_start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // Tests of another runtime start hubs as well, and may not wait for this one's.
        let entered = runtime.enter();
        let (hub, cdn) = (listen(loopback)?, listen(loopback)?);
        drop(entered);
        let nowhere = TcpSocket::new_v4()?;
        nowhere.bind(loopback)?;
        let shared = Shared::new(hub.local_addr()?, cdn.local_addr()?, nowhere.local_addr()?);
        let shared = Arc::new(shared);
        let routes = api::routes().merge(files::hub_routes());
        serve(&runtime, hub, Host::Hub, routes, &shared);
        serve(&runtime, cdn, Host::Cdn, files::cdn_routes(), &shared);
        Ok(Self { shared, runtime: Some(runtime), _nowhere: nowhere })
    }

    /// What a client takes for `https://huggingface.co`; without a slash at the end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.hub)
    }

    /// Where signed addresses lead; without a slash at the end.
    pub fn cdn_endpoint(&self) -> String {
        format!("http://{}", self.shared.cdn)
    }

    /// Adds a repository, or replaces the one of the same id: a new commit. Reads all of its files
    /// once, for their hashes.
    ///
    /// # Panics
    /// When a file on disk cannot be read.
    pub fn add(&self, repo: Repo) {
        self.shared.add(repo).expect("the repository's files can be read");
    }

    /// Makes a token valid; repositories that are gated with it need no more than that.
    pub fn add_user(&self, name: &str, token: &str) {
        self.shared.add_user(name, token);
    }

    /// The SHA-256 of a file, as the API states it.
    pub fn sha256(&self, id: &str, path: &str) -> Option<String> {
        let Found::Here(stored) = self.shared.find(id) else { return None };
        stored.file(path).map(|file| file.sha256.clone())
    }

    /// From now on, answers go wrong by this plan, which starts from its beginning.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.shared.start_plan(RunningPlan::new(plan));
    }

    /// How many entries a page of a tree has; 1000 otherwise, as on the real hub.
    pub fn set_tree_page(&self, entries: usize) {
        self.shared.tree_page.store(entries, Ordering::SeqCst);
    }

    /// Whether `resolve` leads to a relative address for files that are not in LFS, as the real hub
    /// does since 2025 and this one unless told otherwise, or sends them itself.
    pub fn set_small_files_redirect(&self, redirect: bool) {
        self.shared.small_files_redirect.store(redirect, Ordering::SeqCst);
    }

    /// Redirects all requests for good to another hub.
    pub fn move_to(&self, other: &Self) {
        self.shared.move_to(Some(other.endpoint()));
    }

    /// Whether searches and repositories list entries that make no sense beside those that do.
    pub fn set_odd_entries(&self, has_odd_entries: bool) {
        self.shared.has_odd_entries.store(has_odd_entries, Ordering::SeqCst);
    }

    /// Lets all signed addresses that were given out so far expire.
    pub fn expire_urls(&self) {
        self.shared.expire_urls();
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.requests()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// The faults that happened so far.
    pub fn faults_so_far(&self) -> Vec<Fault> {
        self.requests().into_iter().filter_map(|request| request.fault).collect()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        // Waiting is not allowed where this is dropped by a task of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Listens by the runtime that was entered.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    host: Host,
    routes: Router<Arc<Shared>>,
    shared: &Arc<Shared>,
) {
    let door = Door { shared: Arc::clone(shared), host };
    let app = routes
        .fallback(|| async { answers::error(404, None, "Sorry, we can't find the page") })
        .layer(middleware::from_fn_with_state(door, inject::attend))
        .with_state(Arc::clone(shared))
        .into_make_service_with_connect_info::<Wire>();
    runtime.spawn(async move {
        // It ends with the runtime, and no other way.
        let _ = axum::serve(WireListener(listener), app).await;
    });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// A test that panicked while it held the lock has failed already; the others go on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
