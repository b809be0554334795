//! What went wrong in the library or at the hub, in words that a user can act on.

use lilims_hub::Error as Hub;
use lilims_ipc::{Error, ErrorCode};

use super::shown::size;
use crate::errors::{chain, sentence};

/// The longest message, in characters: some lines.
const MAX_MESSAGE: usize = 600;
/// The longest detail.
const MAX_DETAIL: usize = 4000;

/// The error as the page shows it.
pub(super) fn of(error: &Hub) -> Error {
    let (code, message) = match error {
        Hub::Network { host, .. } | Hub::Answer { host, is_permanent: false, .. } => (
            ErrorCode::Network,
            format!(
                "{host} cannot be reached or does not answer as it should. Check the connection \
                 and try again; models on this device work without it."
            ),
        ),
        Hub::Answer { host, message, .. } => (
            ErrorCode::Network,
            format!("{host} does not answer as a hub does: {message}. Models on this device work."),
        ),
        Hub::Status { host, status: 429, retry_after, .. } => {
            let wait = retry_after.filter(|wait| !wait.is_zero());
            let when = match wait.map(|wait| wait.as_secs()) {
                Some(seconds @ ..120) => format!("in {seconds} seconds"),
                Some(seconds) => format!("in {} minutes", seconds.div_ceil(60)),
                None => "in a few minutes".to_owned(),
            };
            (ErrorCode::Network, format!("{host} asks for a pause. Try again {when}."))
        }
        Hub::Status { host, status, .. } => {
            (ErrorCode::Network, format!("{host} answers with error {status}. Try again later."))
        }
        Hub::Gated { repository, page, reason, is_known: true } => (
            ErrorCode::Gated,
            match reason.trim_end_matches('.') {
                "" => format!("This account has no access to {repository}. Its page is {page}."),
                reason => format!("{reason}. The page of {repository} is {page}."),
            },
        ),
        Hub::Gated { repository, page, .. } => (
            ErrorCode::Gated,
            format!(
                "{repository} asks you to accept its terms first. Open {page} in a browser, accept \
                 them, create an access token there, and give it to Lilims: `lilims token` in a \
                 terminal, or the variable HF_TOKEN."
            ),
        ),
        Hub::Refused { host, message, .. } => (
            ErrorCode::Gated,
            match message.trim_end_matches('.') {
                "" => format!(
                    "{host} refuses access. Check the access token (`lilims token`, HF_TOKEN)."
                ),
                message => format!(
                    "{host} refuses access: {message}. Check the access token (`lilims token`, \
                     HF_TOKEN)."
                ),
            },
        ),
        Hub::NotFound { what, host } => {
            (ErrorCode::NotFound, format!("{host} has no {what}, or it is private."))
        }
        Hub::NoSuchModel { name } => {
            (ErrorCode::NotFound, format!("The library has no model called {name}."))
        }
        Hub::NoSpace { needed, free, .. } => (
            ErrorCode::NoRoom,
            format!(
                "The disk is too full: {} are needed, {} are free. Remove models or other files, \
                 then try again.",
                size(*needed),
                size(*free)
            ),
        ),
        Hub::Quota { needed, quota, kept } => (
            ErrorCode::NoRoom,
            format!(
                "{} do not fit the quota of {}, of which {} stay. Raise the quota, or remove or \
                 unpin models.",
                size(*needed),
                size(*quota),
                size(*kept)
            ),
        ),
        Hub::Hash { .. } => (
            ErrorCode::HashMismatch,
            "What came is not what the repository says it is, twice. It was thrown away. Try again \
             later, or another repository."
                .to_owned(),
        ),
        Hub::Changed { .. } => (
            ErrorCode::HashMismatch,
            "The repository has another file now than the one that was wanted. Look at the \
             repository in Discover."
                .to_owned(),
        ),
        Hub::NotAModel { .. } => (
            ErrorCode::ModelDamaged,
            "This is not a GGUF model, or it is damaged. Choose another file.".to_owned(),
        ),
        Hub::Unsuitable { path, why } => (
            ErrorCode::ModelUnsupported,
            format!("{} is {why}.", path.file_name().unwrap_or_default().display()),
        ),
        Hub::Outside { path } => (
            ErrorCode::Internal,
            format!(
                "{} leads out of the library's folder, and Lilims changes nothing there. Remove \
                 that link, or choose another name.",
                path.display()
            ),
        ),
        Hub::IndexDamaged => (
            ErrorCode::Internal,
            "The index of the library is damaged. End all other programs of Lilims and start it \
             again: it makes a new one from the files."
                .to_owned(),
        ),
        Hub::Busy => (
            ErrorCode::Busy,
            "Other programs of Lilims use the library. Try again in a moment.".to_owned(),
        ),
        Hub::InUse { name } => {
            (ErrorCode::Busy, format!("{name} is loaded. Unload it first, or use another model."))
        }
        Hub::Converting => (
            ErrorCode::Busy,
            "Another model is being converted. One is converted at a time: wait until it is done, or \
             cancel it."
                .to_owned(),
        ),
        Hub::RepositoryName { name } => {
            (ErrorCode::NotFound, format!("{name} is not a repository: it has the form owner/name."))
        }
        Hub::NotOurs { name, owner } => (
            ErrorCode::Internal,
            format!("{name} belongs to {owner}; Lilims only uses it where it is."),
        ),
        Hub::Endpoint { endpoint } => (
            ErrorCode::Network,
            format!("HF_ENDPOINT is {endpoint}, which is not an address. Correct or unset it."),
        ),
        Hub::Io { path, .. } => (
            ErrorCode::Internal,
            format!("{} cannot be used. Check the disk and its permissions.", path.display()),
        ),
        Hub::Index(_) | Hub::IndexVersion { .. } => (
            ErrorCode::Internal,
            "The index of the library cannot be used. Restart Lilims; if it comes back, update it."
                .to_owned(),
        ),
        Hub::FileName { .. } | Hub::Stopped => return crate::errors::internal(&chain(error)),
    };
    let message = bounded(message, MAX_MESSAGE);
    Error { code, message, detail: Some(bounded(chain(error), MAX_DETAIL)) }
}

/// `text` in at most so many characters: what others name things may be of any length.
fn bounded(text: String, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What the queue says of a download that broke off.
pub(super) fn of_download(failure: &str) -> Error {
    let message = sentence(&bounded(failure.to_owned(), MAX_MESSAGE));
    Error { code: ErrorCode::Network, message, detail: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a9_a_message_is_some_lines_however_long_what_it_names() {
        let name = "é".repeat(65_536);
        let error = of(&Hub::RepositoryName { name });
        assert_eq!(error.message.chars().count(), MAX_MESSAGE + 1);
        assert!(error.detail.is_some_and(|detail| detail.chars().count() <= MAX_DETAIL + 1));
        assert_eq!(of_download("no such file").message, "No such file.");
    }
}
