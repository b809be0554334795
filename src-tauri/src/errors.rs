//! What went wrong, in words that a user can act on.
//!
//! The detail is for reports: it carries paths and figures, never text of a conversation. Errors
//! of the tokenizer and the template may quote what they choked on, so while answering they
//! carry none.

use std::error::Error as StdError;
use std::io;

use lilims_ipc::{Error, ErrorCode};

/// What to do where a model is not there.
const CHOOSE_ANOTHER: &str = "Choose or download another one in the Library.";

/// No model file was found at start-up.
pub(crate) fn not_found(error: &lilims_models::Error) -> Error {
    match error {
        lilims_models::Error::NamedModelMissing { path } => Error {
            code: ErrorCode::ModelMissing,
            message: format!(
                "No model was found at {}, where Lilims was told to look. Put a GGUF file there, or \
                 choose another model in the Library.",
                path.display()
            ),
            detail: None,
        },
        _ => Error {
            code: ErrorCode::NoModel,
            message: format!("There is no model on this device yet. {CHOOSE_ANOTHER}"),
            detail: Some(chain(error)),
        },
    }
}

/// The model that was chosen is not in the library any more.
pub(crate) fn gone(name: &str) -> Error {
    let message = format!("{name} is not on this device any more. {CHOOSE_ANOTHER}");
    Error { code: ErrorCode::ModelMissing, message, detail: None }
}

/// The model file could not be loaded.
pub(crate) fn not_loaded(error: &lilims_engine::Error) -> Error {
    use lilims_engine::Error as Engine;
    let (code, message) = match error {
        Engine::Gguf(error) => not_read(error),
        Engine::Damaged { .. } | Engine::Tokenizer { .. } => damaged(),
        Engine::Unsupported { .. } | Engine::Template { .. } | Engine::Decode(_) => unsupported(),
        Engine::Split(_) => (ErrorCode::ModelUnsupported, sentence(&error.to_string())),
        Engine::TooLarge { .. } => (ErrorCode::Internal, sentence(&error.to_string())),
        Engine::OutOfMemory { .. } => (
            ErrorCode::Internal,
            "There is not enough memory for the model's context. Close other programs, or choose a \
             smaller model in the Library, then try again."
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
        Engine::Gguf(cause @ lilims_gguf::Error::Changed { .. }) => {
            let (code, message) = not_read(cause);
            Error { code, message, detail: Some(chain(error)) }
        }
        Engine::Template { .. } => Error {
            code: ErrorCode::Internal,
            message: "The model's chat template does not work for this conversation. Start a new \
                      chat, or choose another model in the Library."
                .to_owned(),
            detail: None,
        },
        Engine::Tokenizer { .. } => Error {
            code: ErrorCode::Internal,
            message: "The model cannot read this text. Write the question in another way."
                .to_owned(),
            detail: None,
        },
        Engine::NotFinite { .. } => Error {
            code: ErrorCode::ModelDamaged,
            message:
                "The model computes numbers that are not finite, so that there is no answer. Its \
                      file is damaged, or it cannot take this text: verify it in the Library, or \
                      choose another one."
                    .to_owned(),
            detail: Some(chain(error)),
        },
        _ => internal(&chain(error)),
    }
}

/// `text` with a capital, and a full stop where nothing ends it.
pub(crate) fn sentence(text: &str) -> String {
    let end = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(end.chars()).collect()
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
            format!("No model was found at {}. {CHOOSE_ANOTHER}", path.display()),
        ),
        Gguf::Io { path, .. } => (
            ErrorCode::ModelMissing,
            format!(
                "The model at {} cannot be read. Check its permissions and its disk, then try \
                 again.",
                path.display()
            ),
        ),
        Gguf::Changed { path } => (
            ErrorCode::ModelDamaged,
            format!(
                "The model's file {} was changed or cut short while it was in use. The conversation \
                 is kept; ask again once the file is whole.",
                path.display()
            ),
        ),
        Gguf::Version { .. } | Gguf::UnknownTensorType { .. } => unsupported(),
        _ => damaged(),
    }
}

fn damaged() -> (ErrorCode, String) {
    let message = "The model file is damaged or incomplete. Verify it in the Library, or remove it \
                   there and download it again.";
    (ErrorCode::ModelDamaged, message.to_owned())
}

fn unsupported() -> (ErrorCode, String) {
    let message = "Lilims cannot run this model yet. Choose another one in the Library.";
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
    fn no_sentence_names_a_command_or_a_variable() {
        use lilims_gguf::Error as Gguf;
        let what = || "x".to_owned();
        let no_model =
            lilims_models::Error::BundledModelMissing { file: what(), looked_in: vec![] };
        let named = lilims_models::Error::NamedModelMissing { path: "a.gguf".into() };
        let of_engine = [
            io_error(io::ErrorKind::NotFound),
            Gguf::Magic { found: b"PK".to_vec() }.into(),
            Gguf::Version { version: 9 }.into(),
            lilims_engine::Error::Damaged { what: what() },
            lilims_engine::Error::Unsupported { what: what() },
            lilims_engine::Error::Template { what: what() },
            lilims_engine::Error::Tokenizer { what: what() },
        ];
        let of_engine = of_engine.iter().flat_map(|it| [not_loaded(it), not_answered(it)]);
        let others = [not_found(&no_model), not_found(&named), gone("a"), busy(), held()];
        for error in of_engine.chain(others) {
            for word in ["cargo", "xtask", "LILIMS_", "src/"] {
                assert!(!format!("{error:?}").contains(word), "{error:?}");
            }
        }
        assert_eq!(not_found(&no_model).code, ErrorCode::NoModel);
    }

    #[test]
    fn t11_t12_sentences_say_what_it_is() {
        let split = lilims_engine::Error::Split(lilims_gguf::Split { part: 2, count: 3 });
        let error = not_loaded(&split);
        assert_eq!(error.code, ErrorCode::ModelUnsupported);
        assert!(error.message.starts_with("This is part 2 of 3 of a split model"), "{error:?}");
        let large = lilims_engine::Error::TooLarge {
            context: 9,
            needed_bytes: 5_000_000_000,
            available_bytes: 1_000_000_000,
        };
        let message = not_loaded(&large).message;
        assert!(message.contains("5.0 GB") && message.contains("1.0 GB"), "{message}");
        let error = lilims_engine::Error::NotFinite { model: "m".into(), position: 7 };
        let error = not_answered(&error);
        assert!(error.message.contains("not finite"), "{error:?}");
        assert!(error.detail.is_some_and(|detail| detail.contains("token 7")));
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
