//! What to do about an error, where that is known.

use std::io;

use anyhow::Error;

/// A sentence to print below the error, if there is something to do about it.
pub(crate) fn advice(error: &Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<lilims_engine::Error>() {
            return engine(error);
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
        Error::OutOfMemory { .. } => Some("Take a smaller --context, or --kv-type q8_0."),
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
                Some("Check the path; `cargo xtask app` fetches the bundled model.")
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
