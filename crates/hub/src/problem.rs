//! Converts errors of the library and the hub to the codes that cross to the doors.

use lilims_ipc::{self as ipc, Owner, Problem};
use lilims_models::Unsuitable;

use crate::Error;

/// The longest text from files or servers in an argument, in characters.
const MAX_TEXT_CHARS: usize = 400;

impl From<&Error> for ipc::Error {
    fn from(error: &Error) -> Self {
        Self::caused_by(problem(error), error)
    }
}

impl From<Error> for ipc::Error {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

fn problem(error: &Error) -> Problem {
    let text = |text: &str| bounded(text, MAX_TEXT_CHARS);
    let path = |path: &std::path::Path| text(&path.display().to_string());
    match error {
        Error::Sealed { by } => Problem::Sealed { by: *by },
        Error::Network { host, .. } | Error::InvalidResponse { host, is_permanent: false, .. } => {
            Problem::HubUnreachable { host: text(host) }
        }
        Error::InvalidResponse { host, .. } => Problem::NotAHub { host: text(host) },
        Error::Status { host, status: 429, retry_after, .. } => {
            let seconds = retry_after.filter(|wait| !wait.is_zero()).map(|wait| wait.as_secs());
            Problem::HubBusy { host: text(host), seconds }
        }
        Error::Status { host, status, .. } => {
            Problem::HubStatus { host: text(host), status: *status }
        }
        Error::Gated { repository, page, reason, is_known: true, token } => Problem::NoAccess {
            repository: text(repository),
            page: text(page),
            reason: text(reason.trim_end_matches('.')),
            token: *token,
        },
        Error::Gated { repository, page, token, .. } => Problem::TermsNotAccepted {
            repository: text(repository),
            page: text(page),
            token: *token,
        },
        Error::Refused { host, message, token, .. } => Problem::AccessRefused {
            host: text(host),
            reason: text(message.trim_end_matches('.')),
            token: *token,
        },
        Error::NotFound { what, host } => Problem::NotOnHub { what: text(what), host: text(host) },
        Error::RepositoryName { name: address }
        | Error::AddressTooShort { address }
        | Error::OtherHost { host: address }
        | Error::NotAModelAddress { address } => Problem::NotARepository { name: text(address) },
        Error::Endpoint { endpoint } => Problem::HubAddress { address: text(endpoint) },
        Error::Hash { file, .. } => Problem::HashMismatch { file: text(file) },
        Error::Changed { file, .. } => Problem::SourceChanged { file: text(file) },
        Error::NoSpace { needed, free, .. } => {
            Problem::DiskFull { needed_bytes: *needed, free_bytes: *free }
        }
        Error::Quota { needed, quota, kept } => {
            Problem::OverQuota { needed_bytes: *needed, quota_bytes: *quota, kept_bytes: *kept }
        }
        Error::PlanChanged { .. } => Problem::PlanChanged,
        Error::NoSuchModel { name } => Problem::NoSuchModel { name: text(name) },
        Error::InUse { name } => Problem::ModelInUse { name: text(name) },
        Error::NotOurs { name, owner } => {
            Problem::NotOurs { name: text(name), owner: owner_of(owner) }
        }
        Error::Converting => Problem::Converting { title: None, target: None },
        Error::NotAModel { path, .. } => Problem::NotAModel { file: file_name(path) },
        Error::Unsuitable { path, why } => {
            Problem::UnsuitableFile { file: file_name(path), why: unsuitable(*why) }
        }
        Error::FileName { file } => Problem::FileName { file: text(file) },
        Error::Outside { path: at } => Problem::OutsideLibrary { path: path(at) },
        Error::Io { path: at, .. } => Problem::FileUnusable { path: path(at) },
        Error::Busy => Problem::LibraryBusy,
        Error::DatabaseDamaged => Problem::StoreDamaged,
        Error::NewerDatabase { version, known } => {
            Problem::StoreNewer { found: *version, known: *known }
        }
        Error::Database(lilims_store::Error::DiskFull) => {
            // SQLite does not say how much it needed.
            Problem::DiskFull { needed_bytes: 1, free_bytes: 0 }
        }
        Error::Database(_) => Problem::StoreUnusable,
        Error::Task(_) | Error::Stopped => Problem::Internal,
    }
}

/// Converts the kind of a file that is not a model.
pub fn unsuitable(why: Unsuitable) -> ipc::Unsuitable {
    match why {
        Unsuitable::Part { number, of } => ipc::Unsuitable::Part { part: number, count: of },
        Unsuitable::Projector => ipc::Unsuitable::Projector,
        Unsuitable::ImportanceMatrix => ipc::Unsuitable::ImportanceMatrix,
        Unsuitable::Adapter => ipc::Unsuitable::Adapter,
        Unsuitable::ControlVector => ipc::Unsuitable::ControlVector,
        Unsuitable::Vocabulary => ipc::Unsuitable::Vocabulary,
    }
}

/// Converts the owner that a row of the database stores.
pub fn owner_of(text: &str) -> Owner {
    match text {
        crate::library::BUNDLED => Owner::App,
        crate::library::FOLDER => Owner::Folder,
        crate::library::GIVEN | "named at the start" => Owner::Given,
        program => Owner::Program(program.to_owned()),
    }
}

fn file_name(path: &std::path::Path) -> String {
    bounded(&path.file_name().unwrap_or_default().to_string_lossy(), MAX_TEXT_CHARS)
}

/// Shortens `text` to `max_chars` characters.
fn bounded(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a9_arguments_are_bounded() {
        let error = ipc::Error::from(Error::RepositoryName { name: "é".repeat(65_536) });
        let Problem::NotARepository { name } = &error.problem else { panic!("{error:?}") };
        assert_eq!(name.chars().count(), MAX_TEXT_CHARS + 1);
        assert!(error.detail.is_some_and(|detail| detail.chars().count() <= 4001));
    }

    #[test]
    fn failures_of_downloads_have_stable_codes() {
        let wait = Some(std::time::Duration::from_secs(9));
        let status = |status, retry_after| Error::Status {
            what: "x".into(),
            host: "h".into(),
            status,
            retry_after,
        };
        let host = || "h".to_owned();
        for (error, problem) in [
            (
                Error::NoSpace { needed: 5, free: 3, folder: "f".into() },
                Problem::DiskFull { needed_bytes: 5, free_bytes: 3 },
            ),
            (
                Error::Hash { file: "f".into(), expected: "a".into(), got: "b".into() },
                Problem::HashMismatch { file: "f".into() },
            ),
            (
                Error::NotFound { what: "f".into(), host: host() },
                Problem::NotOnHub { what: "f".into(), host: host() },
            ),
            (
                Error::Network { host: host(), message: "m".into() },
                Problem::HubUnreachable { host: host() },
            ),
            (status(429, wait), Problem::HubBusy { host: host(), seconds: Some(9) }),
            (status(500, None), Problem::HubStatus { host: host(), status: 500 }),
        ] {
            assert_eq!(ipc::Error::from(&error).problem, problem);
        }
    }
}
