//! What must hold at any time: an intact database, no panic, memory and handles that do not grow.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lilims_store::database_path;
use rusqlite::{Connection, OpenFlags};

use crate::ledger::StoredMessage;

/// How much the memory of the app may grow after [`SETTLED`].
const MAX_GROWTH: f64 = 1.05;
/// After this time of a process, what is needed once has been taken.
const SETTLED: Duration = Duration::from_secs(600);
/// How many handles may be open beyond the first measurement: connections to a hub stay open for a while,
/// and the system's libraries open some when they are needed first.
const SPARE_HANDLES: usize = 4;
/// How long a reader waits for a writer.
const BUSY: Duration = Duration::from_secs(30);

/// All messages in the database.
pub(crate) fn stored_messages(data: &Path) -> Result<Vec<StoredMessage>> {
    let connection = open(&database_path(data))?;
    let mut statement = connection.prepare(
        "SELECT m.id, m.conversation, m.parent, m.role = 'user', m.state = 'writing',
                m.deleted_ms IS NOT NULL OR c.deleted_ms IS NOT NULL,
                coalesce((SELECT group_concat(text, '') FROM
                    (SELECT text FROM parts WHERE message = m.id AND kind = 'text' ORDER BY ordinal)), '')
                || coalesce((SELECT group_concat(text, '') FROM
                    (SELECT text FROM journal WHERE message = m.id AND kind = 'text' ORDER BY id)), '')
         FROM messages AS m JOIN conversations AS c ON c.id = m.conversation",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(StoredMessage {
            id: row.get(0)?,
            conversation: row.get(1)?,
            parent: row.get(2)?,
            is_question: row.get(3)?,
            is_writing: row.get(4)?,
            is_hidden: row.get(5)?,
            text: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A download in the queue.
#[derive(Clone, Debug)]
pub(crate) struct QueuedDownload {
    pub(crate) id: i64,
    pub(crate) repository: String,
    pub(crate) file: String,
    pub(crate) state: String,
    /// The model that it became.
    pub(crate) model: Option<String>,
}

/// A model of our folder.
#[derive(Clone, Debug)]
pub(crate) struct OwnModel {
    pub(crate) name: String,
    /// Relative to the folder of models.
    pub(crate) path: String,
}

/// All downloads, in the order of the queue.
pub(crate) fn downloads(data: &Path) -> Result<Vec<QueuedDownload>> {
    let connection = open(&database_path(data))?;
    let sql = "SELECT id, repository, file, state, model FROM downloads ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(QueuedDownload {
            id: row.get(0)?,
            repository: row.get(1)?,
            file: row.get(2)?,
            state: row.get(3)?,
            model: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The models of our folder, the newest first.
pub(crate) fn own_models(data: &Path) -> Result<Vec<OwnModel>> {
    let connection = open(&database_path(data))?;
    let sql = "SELECT name, path FROM models WHERE owner IS NULL ORDER BY id DESC";
    let mut statement = connection.prepare(sql)?;
    let rows =
        statement.query_map([], |row| Ok(OwnModel { name: row.get(0)?, path: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Checks the database that a running app has.
pub(crate) fn check_database(data: &Path) -> Result<()> {
    check_connection(&open(&database_path(data))?)
}

/// Checks a copy of the database that a killed app has left.
pub(crate) fn check_left_database(data: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let database = database_path(data);
    let name = database.file_name().context("a file")?.to_string_lossy().into_owned();
    for file in [name.clone(), format!("{name}-wal")] {
        let from = database.with_file_name(&file);
        if from.exists() {
            fs::copy(from, folder.path().join(file))?;
        }
    }
    check_connection(&open(&folder.path().join(name))?)
}

fn check_connection(connection: &Connection) -> Result<()> {
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(found == "ok", "the database is damaged: {found}");
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    ensure!(!statement.exists([])?, "a row refers to one that is not there");
    // With a rank of 1, the index is compared with the texts.
    connection
        .execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)", [])
        .context("the search index differs from the texts")?;
    Ok(())
}

fn open(database: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| database.display().to_string())?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Checks that nothing has panicked, by what the app wrote to standard error.
pub(crate) fn check_output(stderr: &Path) -> Result<()> {
    let text = fs::read(stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let signs =
        ["panicked at", "stack overflow", "memory allocation of", "SIGSEGV", "AddressSanitizer"];
    if let Some(line) = text.lines().position(|line| signs.iter().any(|sign| line.contains(sign))) {
        let lines: Vec<_> = text.lines().skip(line).take(20).collect();
        anyhow::bail!("the app wrote: {}", lines.join("\n"));
    }
    Ok(())
}

/// A process at rest.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// How long the process has been running.
    pub(crate) age: Duration,
    pub(crate) app: Memory,
    pub(crate) page: Memory,
    /// What each open handle of the app leads to, and how many do.
    pub(crate) handles: BTreeMap<String, usize>,
}

/// The memory of a process, in kB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The part that no file has.
    pub(crate) anonymous: u64,
}

impl Sample {
    /// Measures the app with process `app` and its page with process `page`.
    pub(crate) fn take(app: u32, page: u32, started: Instant) -> Result<Self> {
        Ok(Self {
            age: started.elapsed(),
            app: memory(app)?,
            page: memory(page)?,
            handles: handles(app)?,
        })
    }

    /// The number of open handles.
    pub(crate) fn n_handles(&self) -> usize {
        self.handles.values().sum()
    }

    /// A line for the log.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} s: app {} kB ({} kB anonymous), page {} kB, {} handles",
            self.age.as_secs(),
            self.app.resident,
            self.app.anonymous,
            self.page.resident,
            self.n_handles()
        )
    }
}

/// Checks the measurements of one process.
pub(crate) fn check_samples(samples: &[Sample]) -> Result<()> {
    let [first, .., last] = samples else { return Ok(()) };
    let more: Vec<_> = last
        .handles
        .iter()
        .filter(|(target, count)| first.handles.get(*target).copied().unwrap_or(0) < **count)
        .collect();
    ensure!(
        last.n_handles() <= first.n_handles() + SPARE_HANDLES,
        "{} handles were open, and {} are; more of: {more:?}",
        first.n_handles(),
        last.n_handles()
    );
    let Some(base) = samples.iter().find(|it| it.age >= SETTLED) else { return Ok(()) };
    let limit = base.app.resident as f64 * MAX_GROWTH;
    ensure!(
        last.app.resident as f64 <= limit,
        "the memory of the app has grown from {} to {}",
        base.line(),
        last.line()
    );
    Ok(())
}

fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let field = |name: &str| field(name).with_context(|| format!("no {name} in {status}"));
    Ok(Memory { resident: field("VmRSS:")?, anonymous: field("RssAnon:")? })
}

/// What the handles of a process lead to, without numbers that differ each time.
fn handles(pid: u32) -> Result<BTreeMap<String, usize>> {
    let mut handles = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        // It may have been closed meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        let target = target.split(":[").next().unwrap_or_default().to_owned();
        *handles.entry(target).or_default() += 1;
    }
    Ok(handles)
}

#[test]
fn growth_and_leaks_are_noticed() {
    let sample = |seconds, resident, n_files| Sample {
        age: Duration::from_secs(seconds),
        app: Memory { resident, anonymous: 0 },
        page: Memory::default(),
        handles: BTreeMap::from([("file".to_owned(), n_files)]),
    };
    // What a process takes at first is not counted.
    assert!(check_samples(&[sample(10, 100, 5), sample(700, 200, 5), sample(900, 209, 6)]).is_ok());
    assert!(check_samples(&[sample(700, 200, 5), sample(900, 211, 5)]).is_err());
    assert!(check_samples(&[sample(10, 200, 5), sample(20, 200, 10)]).is_err());
}
