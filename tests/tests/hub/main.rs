//! The library and its downloads against a loopback hub with injected faults: each downloaded model
//! equals the hub's file bit by bit, and nothing else is ever listed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod answers;
mod api;
mod child;
mod damage;
mod downloads;
mod folder;
mod kills;
mod memory;
mod proxy;
mod queue;
mod room;
mod schedules;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lilims_gguf::{TensorType, Value, Writer};
use lilims_hub::{Client, DownloadRow, Downloader, Library, Outcome, Source, Timeouts};
use lilims_ipc::{ConnectionAsker, Problem};
use lilims_tests::hub_server::{Content, Host, HubServer, Repo};
use tempfile::TempDir;

/// The repository of most tests.
const ID: &str = "owner/tiny";
/// The file of that repository.
const FILE: &str = "tiny-Q8_0.gguf";
/// The chunk size: the bytes to download again after one damaged byte.
const CHUNK: u64 = 4 << 20;
/// Short timeouts, so that tests do not wait long for missing responses.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    read: Duration::from_millis(400),
    first_retry: Duration::from_millis(1),
    max_retries: 14,
};

/// A model file with at least `data_bytes` of data generated from `seed`.
fn model(seed: u64, data_bytes: u64) -> Content {
    let data_bytes = data_bytes.next_multiple_of(32);
    let mut head = Vec::new();
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama").str("general.name", &format!("Tiny {seed}"));
    writer.value("llama.context_length", Value::U32(2048));
    // The data is generated on the fly and never in memory.
    writer.tensor("token_embd.weight", &[data_bytes / 4], TensorType::F32, Vec::new());
    writer.write(&mut head).unwrap();
    let len_bytes = head.len() as u64 + data_bytes;
    Content::generated(seed, len_bytes).with_head(head)
}

/// A hub with one repository of one file.
fn hub_with(content: &Content) -> HubServer {
    let hub = HubServer::start();
    hub.add(Repo::new(ID).with_licence("apache-2.0").with_file(FILE, content.clone()));
    hub
}

fn source() -> Source {
    source_of(ID)
}

fn source_of(repository: &str) -> Source {
    Source {
        repository: repository.to_owned(),
        file: FILE.to_owned(),
        revision: "main".to_owned(),
        sha256: None,
    }
}

/// A library in a temporary folder, and a client of a hub.
struct Store {
    folder: TempDir,
    library: Arc<Library>,
    client: Client,
}

impl Store {
    fn of(hub: &HubServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = Arc::new(Library::open(folder.path()).unwrap());
        let client = client(&library, hub);
        Self { folder, library, client }
    }

    fn downloader(&self) -> Downloader {
        Downloader::new(self.client.clone())
    }

    async fn pull(&self) -> Outcome {
        self.pull_of(&source()).await
    }

    async fn pull_of(&self, source: &Source) -> Outcome {
        let id = self.library.enqueue(source).unwrap();
        self.downloader().run_until_done(id, |_| ()).await.unwrap()
    }

    fn row(&self, id: i64) -> DownloadRow {
        self.library.download(id).unwrap().expect("the download is not in the queue")
    }

    /// Asserts that the library has exactly this file and nothing else.
    fn assert_has(&self, content: &Content) {
        let entries = self.library.entries().unwrap();
        assert_eq!(entries.len(), 1, "{entries:?}");
        let sha256 = content.sha256().unwrap();
        assert_eq!(entries[0].sha256.as_ref(), Some(&sha256));
        assert_eq!(entries[0].size_bytes, content.len_bytes());
        let files = files(self.folder.path());
        assert_eq!(files, [entries[0].path.clone()]);
        let on_disk = Content::on_disk(&files[0]).unwrap();
        assert_eq!(on_disk.sha256().unwrap(), sha256, "the file differs from the hub's");
        assert!(partials(self.folder.path()).is_empty(), "an unfinished file is left");
    }

    /// Asserts that there is no model in the library or its folder.
    fn assert_nothing_shows(&self) {
        assert_eq!(self.library.entries().unwrap(), []);
        assert_eq!(files(self.folder.path()), [] as [PathBuf; 0]);
    }
}

fn client(library: &Arc<Library>, hub: &HubServer) -> Client {
    // The machine that runs the tests may have a token configured.
    Client::new(library.clone(), &hub.endpoint(), TIMEOUTS).unwrap().with_token(None)
}

/// The visible files in the library's folder, which should be its models.
fn files(root: &Path) -> Vec<PathBuf> {
    let is_ours = |name: &str| {
        name.starts_with("lilims.sqlite")
            || matches!(name, ".locks" | ".partial" | "backups" | "CACHEDIR.TAG" | "lost+found")
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(root).unwrap().flatten() {
        if !is_ours(&entry.file_name().to_string_lossy()) {
            collect(&entry.path(), &mut files);
        }
    }
    files
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().flatten().for_each(|entry| collect(&entry.path(), files));
    } else {
        files.push(path.to_owned());
    }
}

/// The unfinished files.
fn partials(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root.join(".partial"), &mut files);
    files
}

/// The bytes of files that the hub has sent so far.
fn sent_bytes(hub: &HubServer) -> u64 {
    let requests = hub.requests();
    requests.iter().filter(|it| it.host == Host::Cdn).map(|it| it.body_bytes).sum()
}

/// Waits until a condition holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "timeout waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The error code of a failed download, as stored in its row.
fn problem(store: &Store, outcome: &Outcome) -> Problem {
    let Outcome::Failed(error) = outcome else { panic!("it did not break off: {outcome:?}") };
    let rows = store.library.downloads().unwrap();
    let stored = rows.into_iter().filter_map(|row| row.failure).next_back();
    assert_eq!(stored.as_ref(), Some(&**error), "the row must store the whole error");
    error.problem.clone()
}

/// The technical detail of a failed download.
fn failure(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => error.detail.expect("a download's failure has a detail"),
        other => panic!("it did not break off: {other:?}"),
    }
}

/// Flips a bit of a file on disk.
fn damage(path: &Path, offset: u64) {
    use std::io::{Read, Seek, SeekFrom, Write};
    let mut file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}
