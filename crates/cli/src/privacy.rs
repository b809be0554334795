//! `lilims privacy`: what left this device, and the seal.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use lilims_core::library::LibraryHandle;
use lilims_ipc::{
    ConnectionAnswer, ConnectionAsker, ConnectionPurpose, LoggedConnections, SealedBy,
};
use lilims_terminal::{output, words};

use crate::messages;

#[derive(Subcommand)]
pub(crate) enum Privacy {
    /// List the connections that were made, the latest first.
    Log(Log),
    /// Write the log of connections to a CSV file.
    Export {
        /// The file; it is replaced if it is there.
        #[arg(value_name = "FILE")]
        out: PathBuf,
    },
    /// Delete the log of connections.
    Clear,
    /// Make no connection any more, in the app and on the command line.
    Seal,
    /// Allow connections again.
    Unseal,
}

#[derive(Args)]
pub(crate) struct Log {
    /// List those whose host, repository or file has these words.
    #[arg(value_name = "WORDS")]
    filter: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Privacy {
    pub(crate) fn run(self) -> Result<()> {
        let library = LibraryHandle::try_open()?;
        match self {
            Self::Log(log) => log.run(&library),
            Self::Export { out } => {
                let n_connections = library.export_connections(&out)?;
                let plural = if n_connections == 1 { "" } else { "s" };
                let out = out.display();
                output::note(&format!("{n_connections} connection{plural} written to {out}"));
                Ok(())
            }
            Self::Clear => Ok(library.clear_connections()?),
            Self::Seal => Ok(library.set_sealed(true)?),
            Self::Unseal => Ok(library.set_sealed(false)?),
        }
    }
}

impl Log {
    fn run(self, library: &LibraryHandle) -> Result<()> {
        let log = library.connections(&self.filter.join(" "))?;
        if self.json {
            output::show_json(&log)?;
            return Ok(());
        }
        if !log.rows.is_empty() {
            let head = ["WHEN", "HOST", "ADDRESS", "WHY", "ASKED BY", "SENT", "RECEIVED", "ANSWER"];
            let rows = std::iter::once(head.map(str::to_owned)).chain(log.rows.iter().map(cells));
            output::show(&output::table(rows))?;
        }
        match (library.last_connection()?, log.n_logged) {
            (None, _) => output::note("Nothing has left this device."),
            (Some(last), 0) => {
                let when = words::when(last.at_ms);
                output::note(&format!("Nothing has left this device since {when}."));
            }
            _ => {}
        }
        if let Some(by) = library.sealed()? {
            output::note(&sealed(by));
        }
        Ok(())
    }
}

fn cells(row: &LoggedConnections) -> [String; 8] {
    let count = if row.count > 1 { format!(" ({} connections)", row.count) } else { String::new() };
    [
        words::when(row.at_ms),
        row.host.clone(),
        row.address.clone().unwrap_or_default(),
        format!("{} {}{count}", purpose(row.purpose), row.subject).trim().to_owned(),
        asker(row.asker).to_owned(),
        output::disk_size(row.sent_bytes),
        output::disk_size(row.received_bytes),
        answer(&row.answer),
    ]
}

fn purpose(purpose: ConnectionPurpose) -> &'static str {
    match purpose {
        ConnectionPurpose::Search => "search",
        ConnectionPurpose::Repository => "repository",
        ConnectionPurpose::FileInfo => "version of",
        ConnectionPurpose::Header => "header of",
        ConnectionPurpose::Card => "description of",
        ConnectionPurpose::Download => "download",
        ConnectionPurpose::Telemetry => "telemetry",
        ConnectionPurpose::Other => "",
    }
}

fn asker(asker: ConnectionAsker) -> &'static str {
    match asker {
        ConnectionAsker::Window => "window",
        ConnectionAsker::CommandLine => "command line",
        ConnectionAsker::Queue => "queue",
        ConnectionAsker::Telemetry => "telemetry",
        ConnectionAsker::Other => "",
    }
}

fn answer(answer: &ConnectionAnswer) -> String {
    match answer {
        ConnectionAnswer::None => "none".to_owned(),
        ConnectionAnswer::Status(status) => status.to_string(),
        ConnectionAnswer::Failed(problem) => messages::problem(&problem.clone().into()),
    }
}

/// Why nothing leaves the device.
pub(crate) fn sealed(by: SealedBy) -> String {
    let by = match by {
        SealedBy::Build => "this program was built without a way out",
        SealedBy::Start => "it was started with --sealed",
        SealedBy::Setting => "`lilims privacy unseal` allows connections again",
    };
    format!("Lilims is sealed and makes no connection: {by}")
}
