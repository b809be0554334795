//! What to do about an error, where that is known.

use std::io;

use anyhow::Error;

/// A sentence to print below the error, if there is something to do about it.
pub(crate) fn advice(error: &Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<lilims_engine::Error>() {
            return engine(error);
        }
        if let Some(error) = cause.downcast_ref::<lilims_hub::Error>() {
            return hub(error);
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
        Error::Unsupported { .. } => {
            Some("`lilims inspect FILE` shows what the file holds; another model may run.")
        }
        Error::Damaged { .. } => Some(DAMAGED),
        Error::Template { .. } => {
            Some("`lilims generate --raw` takes the prompt without the chat template.")
        }
        Error::ContextFull { .. } => {
            Some("Shorten the text, raise --context, or let the window slide: --overflow slide.")
        }
        Error::OutOfMemory { .. } | Error::TooLarge { .. } => {
            Some("Take a smaller --context, or --kv-type q8_0.")
        }
        _ => None,
    }
}

fn hub(error: &lilims_hub::Error) -> Option<&'static str> {
    use lilims_hub::Error;
    match error {
        Error::NoSuchModel { .. } => Some("`lilims list` shows the models here."),
        Error::InUse { .. } => Some("End the program that runs it, then try again."),
        Error::NoSpace { .. } => Some(
            "Free some of the disk: `lilims rm NAME` removes a model, `lilims unpin NAME` lets one leave.",
        ),
        Error::Quota { .. } => Some(
            "`lilims quota SIZE` allows more; `lilims rm NAME` removes a model, `lilims unpin NAME` \
             lets one leave.",
        ),
        Error::RepositoryName { .. } => Some("`lilims search TEXT` finds repositories."),
        Error::NotFound { .. } => {
            Some("Check the spelling; a private repository needs an access token (`lilims token`).")
        }
        Error::Gated { .. } => Some("`lilims search` marks gated models; others need no token."),
        Error::Refused { .. } => {
            Some("Check the access token: HF_TOKEN, or the one that `lilims token` keeps.")
        }
        Error::Status { status: 429, .. } => {
            Some("The hub wants fewer requests: wait a little; an access token is allowed more.")
        }
        Error::Network { .. } => {
            Some("The models that are here (`lilims list`) work without the network.")
        }
        Error::Hash { .. } | Error::Changed { .. } => {
            Some("Nothing of it was kept. Try again later, or take another repository.")
        }
        Error::IndexVersion { .. } => Some("Use the newer version of Lilims."),
        Error::NotAModel { source, .. } => gguf(source),
        _ => None,
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
