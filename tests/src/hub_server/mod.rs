//! A fake Hugging Face hub on loopback with injected faults: the API, `resolve`, and a CDN server
//! for file content, with redirects, headers and errors of the real ones. It contains no client.

mod answers;
mod api;
mod content;
mod faults;
mod files;
mod inject;
mod log;
mod repo;
mod rng;
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
pub use faults::{BodyOffset, Fault, FaultPlan, FaultRule, RangeLie, Target, WaitHeader};
pub use log::{Host, LoggedRequest};
pub use repo::{Gate, GateKind, GgufSummary, Repo};
pub use rng::SeededRng;

use faults::RunningPlan;
use inject::ServerState;
use state::{Found, Shared};
use wire::{Wire, WireListener};

/// A running hub. It stops on drop.
#[derive(Debug)]
pub struct HubServer {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    /// Reserves a port on which nothing listens.
    _nowhere: TcpSocket,
}

impl HubServer {
    /// Starts the hub and its CDN on free ports of 127.0.0.1, in a separate runtime.
    ///
    /// # Panics
    /// If there is no free port on loopback, or no thread can be started.
    pub fn start() -> Self {
        Self::try_start().expect("cannot start the hub")
    }

    fn try_start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // Enters the runtime instead of blocking on it: callers may be tasks of another runtime.
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

    /// The URL in place of `https://huggingface.co`, without a trailing slash.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.hub)
    }

    /// The URL of the CDN, without a trailing slash.
    pub fn cdn_endpoint(&self) -> String {
        format!("http://{}", self.shared.cdn)
    }

    /// Adds a repository, or replaces the one with the same id as a new commit would. Reads all of
    /// its files once to hash them.
    ///
    /// # Panics
    /// If a file on disk cannot be read.
    pub fn add(&self, repo: Repo) {
        self.shared.add(repo).expect("cannot read the repository's files");
    }

    /// Makes a token valid. Tokens of gated repositories are valid without this.
    pub fn add_user(&self, name: &str, token: &str) {
        self.shared.add_user(name, token);
    }

    /// The SHA-256 of a file, as the API reports it.
    pub fn sha256(&self, id: &str, path: &str) -> Option<String> {
        let Found::Here(stored) = self.shared.find(id) else { return None };
        stored.file(path).map(|file| file.sha256.clone())
    }

    /// Replaces the fault plan and starts the new one from its beginning.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.shared.start_plan(RunningPlan::new(plan));
    }

    /// Sets the page size of a tree; the default is 1000, as on the real hub.
    pub fn set_tree_page(&self, entries: usize) {
        self.shared.tree_page.store(entries, Ordering::SeqCst);
    }

    /// Sets whether `resolve` redirects to a relative URL for files that are not in LFS, or serves
    /// them itself. The default is to redirect, as the real hub does since 2025.
    pub fn set_small_files_redirect(&self, redirect: bool) {
        self.shared.small_files_redirect.store(redirect, Ordering::SeqCst);
    }

    /// Redirects all requests permanently to another hub.
    pub fn move_to(&self, other: &Self) {
        self.shared.move_to(Some(other.endpoint()));
    }

    /// Sets whether searches and repositories also list invalid entries.
    pub fn set_odd_entries(&self, has_odd_entries: bool) {
        self.shared.has_odd_entries.store(has_odd_entries, Ordering::SeqCst);
    }

    /// Expires all signed URLs so far.
    pub fn expire_urls(&self) {
        self.shared.expire_urls();
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.requests()
    }

    /// Clears the log of requests.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// The faults injected so far.
    pub fn faults_so_far(&self) -> Vec<Fault> {
        self.requests().into_iter().filter_map(|request| request.fault).collect()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        // Does not wait: this may be dropped by a task of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Listens on the entered runtime.
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
    let server = ServerState { shared: Arc::clone(shared), host };
    let app = routes
        .fallback(|| async { answers::error(404, None, "Sorry, we can't find the page") })
        .layer(middleware::from_fn_with_state(server, inject::handle_request))
        .with_state(Arc::clone(shared))
        .into_make_service_with_connect_info::<Wire>();
    runtime.spawn(async move {
        // It runs until the runtime is shut down.
        let _ = axum::serve(WireListener(listener), app).await;
    });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// Locks and ignores poisoning: the test that panicked has failed, and others can continue.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
