//! What to do about an error, where that is known.

use std::io;

use anyhow::Error;

use crate::messages::{self, Failure};

/// A sentence to print below the error, if there is something to do about it.
pub(crate) fn advice(error: &Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<lilims_engine::Error>() {
            return engine(error);
        }
        if let Some(error) = cause.downcast_ref::<lilims_hub::Error>() {
            return hub(error);
        }
        if let Some(Failure(error)) = cause.downcast_ref() {
            return messages::advice(&error.problem);
        }
        if let Some(lilims_models::Error::BundledModelMissing { .. }) = cause.downcast_ref() {
            return Some("`--model` names one; `lilims search` and `lilims pull` fetch one.");
        }
        cause.downcast_ref::<lilims_gguf::Error>().and_then(gguf)
    })
}

fn engine(error: &lilims_engine::Error) -> Option<&'static str> {
    use lilims_engine::Error;
    match error {
        Error::Gguf(error) => gguf(error),
        Error::Damaged { .. } => Some(DAMAGED),
        Error::Template { .. } => {
            Some("`lilims generate --raw` takes the prompt without the chat template.")
        }
        error => messages::advice(&lilims_core::problem::not_answered(error).problem)
            .or_else(|| messages::advice(&lilims_core::problem::not_loaded(error).problem)),
    }
}

fn hub(error: &lilims_hub::Error) -> Option<&'static str> {
    match error {
        lilims_hub::Error::NotAModel { source, .. } => gguf(source),
        error => messages::advice(&lilims_ipc::Error::from(error).problem),
    }
}

const DAMAGED: &str =
    "Download the file again, and compare its size and SHA-256 with the source's.";

fn gguf(error: &lilims_gguf::Error) -> Option<&'static str> {
    use lilims_gguf::Error;
    match error {
        Error::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => {
                Some("Check the path; `--model` also takes the short name of a model.")
            }
            io::ErrorKind::PermissionDenied => Some("Check who may read the file."),
            _ => None,
        },
        Error::Magic { .. } => Some("Lilims runs GGUF files; get the model in that format."),
        Error::Truncated { .. } | Error::Invalid { .. } => Some(DAMAGED),
        Error::MissingKey { .. } | Error::MissingTensor { .. } => {
            Some("The file is not a complete model; get one that was converted for llama.cpp.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_found_below_the_context() {
        let damaged = lilims_gguf::Error::Invalid { what: "x".into(), offset: 4 };
        let error = Error::new(lilims_engine::Error::from(damaged)).context("cannot load");
        assert_eq!(advice(&error), Some(DAMAGED));
        assert_eq!(advice(&Error::msg("other")), None);
    }
}
