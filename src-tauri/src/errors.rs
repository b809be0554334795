//! What went wrong, in words that a user can act on.
//!
//! The detail is for reports: it carries paths and figures, never text of a conversation. Errors
//! of the tokenizer and the template may quote what they choked on, so while answering they
//! carry none.

use std::error::Error as StdError;
use std::io;

use lilims_ipc::{Error, ErrorCode};

const ABOUT_FETCHING: &str = "Choose another one in the Library, run `cargo xtask app` to fetch the \
                              bundled one, or set LILIMS_MODEL to a GGUF file.";

/// No model file was found at start-up.
pub(crate) fn not_found(error: &lilims_models::Error) -> Error {
    let message = match error {
        lilims_models::Error::NamedModelMissing { path } => format!(
            "No model was found at {}, which LILIMS_MODEL names. Put a GGUF file there, or unset \
             it to use the bundled model.",
            path.display()
        ),
        _ => format!("No model was found on this device. {ABOUT_FETCHING}"),
    };
    Error { code: ErrorCode::ModelMissing, message, detail: Some(chain(error)) }
}

/// The model that was chosen is not in the library any more.
pub(crate) fn gone(name: &str) -> Error {
    let message = format!("{name} is not on this device any more. {ABOUT_FETCHING}");
    Error { code: ErrorCode::ModelMissing, message, detail: None }
}

/// The model file could not be loaded.
pub(crate) fn not_loaded(error: &lilims_engine::Error) -> Error {
    use lilims_engine::Error as Engine;
    let (code, message) = match error {
        Engine::Gguf(error) => not_read(error),
        Engine::Damaged { .. } | Engine::Tokenizer { .. } => damaged(),
        Engine::Unsupported { .. } | Engine::Template { .. } | Engine::Decode(_) => unsupported(),
        Engine::OutOfMemory { .. } => (
            ErrorCode::Internal,
            "There is not enough memory for the model's context. Close other programs, or set \
             LILIMS_CONTEXT to a smaller number of tokens, then try again."
                .to_owned(),
        ),
        Engine::Isa(error) => (ErrorCode::Internal, format!("{error}.")),
        _ => (
            ErrorCode::Internal,
            "The model could not be started. Close other programs to free memory, then try again."
                .to_owned(),
        ),
    };
    Error { code, message, detail: Some(chain(error)) }
}

/// An answer broke off.
pub(crate) fn not_answered(error: &lilims_engine::Error) -> Error {
    use lilims_engine::Error as Engine;
    match error {
        Engine::ContextFull { needed, context } => Error {
            code: ErrorCode::ContextFull,
            message: format!(
                "This conversation is longer than the model can hold: {needed} of {context} \
                 tokens. Choose Slide or Summarise in the context panel, or start a new chat."
            ),
            detail: Some(chain(error)),
        },
        Engine::Template { .. } => Error {
            code: ErrorCode::Internal,
            message: "The model's chat template cannot express this conversation. Start a new \
                      chat."
                .to_owned(),
            detail: None,
        },
        Engine::Tokenizer { .. } => Error {
            code: ErrorCode::Internal,
            message: "The model cannot read this text. Write the question in another way."
                .to_owned(),
            detail: None,
        },
        _ => internal(&chain(error)),
    }
}

/// Something that should not happen did.
pub(crate) fn internal(detail: &str) -> Error {
    Error {
        code: ErrorCode::Internal,
        message: "Something went wrong inside Lilims. Try again; if it comes back, restart the \
                  app."
            .to_owned(),
        detail: Some(detail.to_owned()),
    }
}

/// An answer is being written already.
pub(crate) fn busy() -> Error {
    Error {
        code: ErrorCode::Busy,
        message: "An answer is still being written. Wait for it or stop it first.".to_owned(),
        detail: None,
    }
}

/// The last load ended the app, and nobody has said how to go on.
pub(crate) fn held() -> Error {
    Error {
        code: ErrorCode::ModelLoading,
        message: "The model is not loaded, because Lilims ended while it loaded it the last time. \
                  Choose how to load it, or another model."
            .to_owned(),
        detail: None,
    }
}

/// There is no question.
pub(crate) fn no_question() -> Error {
    Error { code: ErrorCode::Internal, message: "Write a question first.".to_owned(), detail: None }
}

fn not_read(error: &lilims_gguf::Error) -> (ErrorCode, String) {
    use lilims_gguf::Error as Gguf;
    match error {
        Gguf::Io { path, source } if source.kind() == io::ErrorKind::NotFound => (
            ErrorCode::ModelMissing,
            format!("No model was found at {}. {ABOUT_FETCHING}", path.display()),
        ),
        Gguf::Io { path, .. } => (
            ErrorCode::ModelMissing,
            format!(
                "The model at {} cannot be read. Check its permissions and its disk, then try \
                 again.",
                path.display()
            ),
        ),
        Gguf::Version { .. } | Gguf::UnknownTensorType { .. } => unsupported(),
        _ => damaged(),
    }
}

fn damaged() -> (ErrorCode, String) {
    let message = "The model file is damaged or incomplete. Verify it in the Library, or delete it \
                   and fetch it again (the bundled one: `cargo xtask app`), then try again.";
    (ErrorCode::ModelDamaged, message.to_owned())
}

fn unsupported() -> (ErrorCode, String) {
    let message = "Lilims cannot run this model yet. Choose another one in the Library, or unset \
                   LILIMS_MODEL to use the bundled model.";
    (ErrorCode::ModelUnsupported, message.to_owned())
}

/// The error and its causes, outermost first.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn io_error(kind: io::ErrorKind) -> lilims_engine::Error {
        let path = PathBuf::from("somewhere/model.gguf");
        lilims_gguf::Error::Io { path, source: kind.into() }.into()
    }

    #[test]
    fn each_way_to_fail_loading_has_its_code() {
        use lilims_gguf::Error as Gguf;
        let truncated = Gguf::Truncated { what: "a tensor", offset: 9, needed: 8, left: 7 };
        let cases = [
            (io_error(io::ErrorKind::NotFound), ErrorCode::ModelMissing),
            (io_error(io::ErrorKind::PermissionDenied), ErrorCode::ModelMissing),
            (truncated.into(), ErrorCode::ModelDamaged),
            (Gguf::Magic { found: b"PK".to_vec() }.into(), ErrorCode::ModelDamaged),
            (Gguf::Version { version: 9 }.into(), ErrorCode::ModelUnsupported),
            (lilims_engine::Error::Damaged { what: "shape".into() }, ErrorCode::ModelDamaged),
            (
                lilims_engine::Error::Unsupported { what: "family x".into() },
                ErrorCode::ModelUnsupported,
            ),
        ];
        for (error, code) in cases {
            assert_eq!(not_loaded(&error).code, code, "{error}");
        }
    }

    #[test]
    fn the_detail_names_the_file_and_the_cause() {
        let detail = not_loaded(&io_error(io::ErrorKind::PermissionDenied)).detail.unwrap();
        assert!(detail.contains("model.gguf") && detail.contains("permission"), "{detail}");
    }

    #[test]
    fn a_full_context_says_how_full_and_what_to_do() {
        let error = not_answered(&lilims_engine::Error::ContextFull { needed: 9, context: 8 });
        assert_eq!(error.code, ErrorCode::ContextFull);
        assert!(error.message.contains("9 of 8") && error.message.contains("new chat"));
    }

    #[test]
    fn errors_while_answering_do_not_quote_the_conversation() {
        let what = || "secret".to_owned();
        for error in [
            lilims_engine::Error::Template { what: what() },
            lilims_engine::Error::Tokenizer { what: what() },
        ] {
            let error = not_answered(&error);
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}
