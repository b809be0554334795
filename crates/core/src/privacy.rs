//! What left this device: the log of connections, grouped, filtered and exported, and the seal.
//!
//! Connections are logged where they are made, in `lilims_hub::Egress`.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use chrono::{DateTime, SecondsFormat};
use lilims_files::AtomicFile;
use lilims_hub::{Library, LoggedConnection};
use lilims_ipc::{
    ConnectionAnswer, ConnectionLog, LastConnection, LoggedConnections, Problem, SealedBy,
};
use serde::de::DeserializeOwned;

use crate::destination::check_destination;
use crate::error::Error;
use crate::library::LibraryHandle;

pub use lilims_hub::seal_process;

/// The most groups of connections in one [`ConnectionLog`].
const MAX_ROWS: usize = 500;
/// The first line of an export.
const COLUMNS: &str = "time,host,address,purpose,subject,asker,sent_bytes,received_bytes,answer";

impl LibraryHandle {
    /// Why no connection is made; `None` if connections are possible.
    ///
    /// # Errors
    /// The library's.
    pub fn sealed(&self) -> Result<Option<SealedBy>, Error> {
        Ok(self.opened()?.sealed()?)
    }

    /// Seals Lilims in all its processes, or opens it.
    ///
    /// # Errors
    /// The library's.
    pub fn set_sealed(&self, is_sealed: bool) -> Result<(), Error> {
        Ok(self.opened()?.set_sealed(is_sealed)?)
    }

    /// The last connection; `None` if there was none, ever.
    ///
    /// # Errors
    /// The library's.
    pub fn last_connection(&self) -> Result<Option<LastConnection>, Error> {
        Ok(last(self.opened()?)?)
    }

    /// The log of connections whose host or subject has the words of `filter`.
    ///
    /// # Errors
    /// The library's.
    pub fn connections(&self, filter: &str) -> Result<ConnectionLog, Error> {
        Ok(grouped(&self.opened()?.connections()?, filter))
    }

    /// Writes the whole log to `out` as comma-separated values, the latest first; returns how many
    /// connections that were.
    ///
    /// # Errors
    /// The library's; if the file cannot be written.
    pub fn export_connections(&self, out: &Path) -> Result<u64, Error> {
        let connections = self.opened()?.connections()?;
        check_destination(out, &[])?;
        let mut file = AtomicFile::new(out)?;
        let written = write_csv(&mut BufWriter::new(file.file()), &connections);
        written.map_err(|source| Error::Write { path: out.to_owned(), source: source.into() })?;
        file.commit()?;
        Ok(connections.len() as u64)
    }

    /// Deletes the log of connections.
    ///
    /// # Errors
    /// The library's.
    pub fn clear_connections(&self) -> Result<(), Error> {
        Ok(self.opened()?.clear_connections()?)
    }
}

pub(crate) fn last(library: &Library) -> Result<Option<LastConnection>, lilims_hub::Error> {
    let last = library.last_connection()?;
    Ok(last.map(|it| LastConnection { at_ms: it.at_ms, host: it.host }))
}

/// The connections that match `filter`, with neighbours of one kind joined.
fn grouped(connections: &[LoggedConnection], filter: &str) -> ConnectionLog {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let matches = |it: &&LoggedConnection| {
        let text = format!("{} {}", it.what.host, it.what.subject).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let mut log = ConnectionLog { n_logged: connections.len() as u64, ..Default::default() };
    for connection in connections.iter().filter(matches) {
        log.n_matching += 1;
        let row = presented(connection);
        let group = log.rows.last_mut().filter(|group| is_same_kind(group, &row));
        if let Some(group) = group {
            group.sent_bytes += row.sent_bytes;
            group.received_bytes += row.received_bytes;
            group.count += 1;
        } else if log.rows.len() < MAX_ROWS {
            log.rows.push(row);
        }
    }
    log
}

fn is_same_kind(a: &LoggedConnections, b: &LoggedConnections) -> bool {
    (&a.host, &a.address, a.purpose, &a.subject) == (&b.host, &b.address, b.purpose, &b.subject)
        && (a.asker, &a.answer) == (b.asker, &b.answer)
}

fn presented(connection: &LoggedConnection) -> LoggedConnections {
    let LoggedConnection { at_ms, what, end } = connection;
    let purpose: Option<_> = name(&what.purpose);
    LoggedConnections {
        at_ms: *at_ms,
        host: what.host.clone(),
        address: end.address.clone(),
        // An older version wrote purpose and subject as one text.
        subject: if purpose.is_some() { what.subject.clone() } else { what.purpose.clone() },
        purpose: purpose.unwrap_or_default(),
        asker: name(&what.asker).unwrap_or_default(),
        answer: answer(&end.outcome),
        sent_bytes: end.sent_bytes,
        received_bytes: end.received_bytes,
        count: 1,
    }
}

/// The value of a stored name.
fn name<T: DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

fn answer(outcome: &str) -> ConnectionAnswer {
    match outcome.parse() {
        _ if outcome.is_empty() => ConnectionAnswer::None,
        Ok(status) => ConnectionAnswer::Status(status),
        Err(_) => {
            let problem = serde_json::from_str(outcome);
            ConnectionAnswer::Failed(problem.unwrap_or(Problem::Unknown))
        }
    }
}

fn write_csv(file: &mut impl Write, connections: &[LoggedConnection]) -> io::Result<()> {
    writeln!(file, "{COLUMNS}\r")?;
    for LoggedConnection { at_ms, what, end } in connections {
        let time = DateTime::from_timestamp_millis(i64::try_from(*at_ms).unwrap_or(i64::MAX));
        let time = time.map(|it| it.to_rfc3339_opts(SecondsFormat::Millis, true));
        let cells = [
            &time.unwrap_or_default(),
            &what.host,
            end.address.as_deref().unwrap_or_default(),
            &what.purpose,
            &what.subject,
            &what.asker,
            &end.sent_bytes.to_string(),
            &end.received_bytes.to_string(),
            &end.outcome,
        ];
        writeln!(file, "{}\r", cells.map(cell).join(","))?;
    }
    file.flush()
}

/// A text as a cell (RFC 4180). Spreadsheets must not take it for a formula.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = text.replace('"', "\"\"");
    format!("\"{}{text}\"", if is_formula { "'" } else { "" })
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{ConnectionAsker, ConnectionPurpose};
    use lilims_store::{ConnectionEnd, NewConnection};

    use super::*;

    fn connection(host: &str, purpose: &str, subject: &str, outcome: &str) -> LoggedConnection {
        LoggedConnection {
            at_ms: 1_790_000_000_123,
            what: NewConnection {
                host: host.into(),
                purpose: purpose.into(),
                subject: subject.into(),
                asker: "window".into(),
            },
            end: ConnectionEnd {
                address: None,
                outcome: outcome.into(),
                sent_bytes: 10,
                received_bytes: 20,
            },
        }
    }

    #[test]
    fn neighbours_of_one_kind_are_joined_and_filtered() {
        let part = connection("cdn", "download", "a/b/m.gguf", "206");
        let failed =
            connection("hub", "search", "", r#"{"code":"hub-unreachable","args":{"host":"hub"}}"#);
        let older = connection("hub", "look at a/b", "", "200");
        let all = [part.clone(), part.clone(), failed, older, part];
        let log = grouped(&all, "");
        let counts: Vec<_> = log.rows.iter().map(|it| (it.count, it.received_bytes)).collect();
        assert_eq!(counts, [(2, 40), (1, 20), (1, 20), (1, 20)]);
        assert_eq!((log.n_matching, log.n_logged), (5, 5));
        assert_eq!(log.rows[0].purpose, ConnectionPurpose::Download);
        assert_eq!(log.rows[0].asker, ConnectionAsker::Window);
        let unreachable = Problem::HubUnreachable { host: "hub".into() };
        assert_eq!(log.rows[1].answer, ConnectionAnswer::Failed(unreachable));
        let older = (log.rows[2].purpose, log.rows[2].subject.as_str());
        assert_eq!(older, (ConnectionPurpose::Other, "look at a/b"));

        let found = grouped(&all, " M.GGUF cdn ");
        assert_eq!((found.rows.len(), found.n_matching), (1, 3), "neighbours after the filter");
        assert_eq!(grouped(&all, "nothing").rows, []);
    }

    #[test]
    fn exports_are_quoted_and_no_formulas() {
        let mut csv = Vec::new();
        write_csv(&mut csv, &[connection("=1+1", "download", "a/\"b\",c", "200")]).unwrap();
        let text = String::from_utf8(csv).unwrap();
        let row = r#""2026-09-21T14:13:20.123Z","'=1+1","","download","a/""b"",c","window","10","20","200""#;
        assert_eq!(text, format!("{COLUMNS}\r\n{row}\r\n"));
    }
}
