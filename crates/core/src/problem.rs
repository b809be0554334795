//! What an error of the engine, of a conversion, of an import or of the model's location is to a person:
//! its code with the facts.
//!
//! The detail carries paths and figures, never text of a conversation. Errors of the tokenizer and of
//! the template may quote the text that they fail on, so while answering they carry no detail.

use std::io;
use std::path::Path;

use lilims_convert::Error as Convert;
use lilims_documents::{Error as Document, Foreign};
use lilims_engine::Error as Engine;
use lilims_gguf::Error as Gguf;
use lilims_interchange::Error as Exchange;
use lilims_ipc::{Error, ForeignKind, Problem};

/// There is no model to start with.
pub(crate) fn not_found(error: &lilims_models::Error) -> Error {
    let problem = match error {
        lilims_models::Error::NamedModelMissing { path } => {
            Problem::ModelMissing { path: path.display().to_string() }
        }
        _ => Problem::NoModel,
    };
    Error::caused_by(problem, error)
}

/// The model file could not be loaded.
pub(crate) fn not_loaded(error: &Engine) -> Error {
    let problem = match error {
        Engine::Gguf(error) => not_read(error),
        Engine::Damaged { .. } | Engine::Tokenizer { .. } => Problem::ModelDamaged,
        Engine::Unsupported { .. } | Engine::Template { .. } | Engine::Decode(_) => {
            Problem::ModelUnsupported
        }
        Engine::Split(split) => Problem::SplitModel { part: split.part, count: split.count },
        Engine::TooLarge { context, needed_bytes, available_bytes } => Problem::MemoryTooSmall {
            context_tokens: *context as u64,
            needed_bytes: *needed_bytes,
            available_bytes: *available_bytes,
        },
        Engine::OutOfMemory { .. } => Problem::OutOfMemory,
        _ => Problem::ModelNotStarted,
    };
    Error::caused_by(problem, error)
}

/// An answer broke off.
pub(crate) fn not_answered(error: &Engine) -> Error {
    let problem = match error {
        Engine::ContextFull { needed, context } => {
            Problem::ContextFull { needed_tokens: *needed as u64, context_tokens: *context as u64 }
        }
        Engine::Schema { what } => Problem::SchemaInvalid { what: what.clone() },
        Engine::Gguf(error @ Gguf::Changed { .. }) => not_read(error),
        Engine::Template { .. } => return Problem::TemplateFailed.into(),
        Engine::Tokenizer { .. } => return Problem::TokenizerFailed.into(),
        Engine::NotFinite { .. } => Problem::NotFinite,
        Engine::TooLarge { .. } | Engine::OutOfMemory { .. } => return not_loaded(error),
        _ => Problem::Internal,
    };
    Error::caused_by(problem, error)
}

/// A model could not be loaded or run.
pub(crate) fn not_run(error: &Engine) -> Error {
    let answering = not_answered(error);
    if answering.problem == Problem::Internal { not_loaded(error) } else { answering }
}

/// A conversion failed.
pub(crate) fn not_converted(error: &Convert) -> Error {
    let problem = match error {
        Convert::Io { source, .. } if is_full(source) => Problem::ConversionDiskFull,
        Convert::Io { path, .. } => Problem::FileUnusable { path: path.display().to_string() },
        Convert::Gguf(_) | Convert::Damaged { .. } => Problem::ModelDamaged,
        Convert::Run(error) => return not_loaded(error),
        Convert::Measure(_) => Problem::NotMeasured,
        Convert::Unsupported { what } => Problem::CannotConvert { what: what.clone() },
        Convert::NoQuantiser { tensor_type, .. } => {
            Problem::NoQuantiser { tensor_type: tensor_type.to_string() }
        }
        Convert::UnknownType { name, .. } => Problem::UnknownType { name: name.clone() },
        _ => Problem::ConversionFailed,
    };
    Error::caused_by(problem, error)
}

/// An export of conversations could not be read.
pub(crate) fn not_imported(path: &Path, error: &Exchange) -> Problem {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let file = name.to_string_lossy().into_owned();
    match error {
        Exchange::UnknownFormat => Problem::NotAnExport { file },
        Exchange::TooLarge { limit_bytes } | Exchange::TextTooLong { limit_bytes } => {
            Problem::ExportTooLarge { file, limit_bytes: *limit_bytes }
        }
        Exchange::Damaged { .. } | Exchange::Archive(_) | Exchange::TooManyEntries { .. } => {
            Problem::ExportDamaged { file }
        }
        Exchange::NewerVersion { found, known } => {
            Problem::ExportNewer { file, found: *found, known: *known }
        }
        _ => Problem::FileUnusable { path: path.display().to_string() },
    }
}

pub(crate) fn not_read(error: &Gguf) -> Problem {
    match error {
        Gguf::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            Problem::ModelMissing { path: path.display().to_string() }
        }
        Gguf::Io { path, .. } => Problem::ModelUnreadable { path: path.display().to_string() },
        Gguf::Changed { path } => Problem::ModelChanged { path: path.display().to_string() },
        Gguf::Version { .. } | Gguf::UnknownTensorType { .. } => Problem::ModelUnsupported,
        _ => Problem::ModelDamaged,
    }
}

/// A document has no text for us.
pub(crate) fn not_a_document(name: &str, error: &lilims_documents::Error) -> Problem {
    let file = name.to_owned();
    match error {
        Document::File(error) => Problem::FileUnusable { path: error.path().display().to_string() },
        Document::Unsupported { what } => {
            Problem::DocumentUnsupported { file, what: foreign(*what) }
        }
        Document::Encrypted => Problem::DocumentEncrypted { file },
        Document::NoText => Problem::DocumentWithoutText { file },
        Document::Damaged { .. } => Problem::DocumentDamaged { file },
        Document::TooLarge { limit_bytes } => {
            Problem::DocumentTooLarge { file, limit_bytes: *limit_bytes }
        }
        Document::TextTooLong { limit_bytes } => {
            Problem::DocumentTextTooLong { file, limit_bytes: *limit_bytes as u64 }
        }
        Document::TookTooLong { limit } => {
            Problem::DocumentTooSlow { file, seconds: limit.as_secs() }
        }
        Document::TooMuchMemory { limit_bytes } => {
            Problem::DocumentTooMuchMemory { file, limit_bytes: *limit_bytes }
        }
        _ => Problem::Internal,
    }
}

fn foreign(what: Foreign) -> ForeignKind {
    match what {
        Foreign::Image => ForeignKind::Image,
        Foreign::Audio => ForeignKind::Audio,
        Foreign::Video => ForeignKind::Video,
        Foreign::Archive => ForeignKind::Archive,
        Foreign::Spreadsheet => ForeignKind::Spreadsheet,
        Foreign::Presentation => ForeignKind::Presentation,
        Foreign::OtherDocument => ForeignKind::OtherDocument,
        Foreign::Book => ForeignKind::Book,
        Foreign::Program => ForeignKind::Program,
        Foreign::Binary => ForeignKind::Binary,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn io_error(kind: io::ErrorKind) -> Engine {
        Gguf::Io { path: PathBuf::from("somewhere/model.gguf"), source: kind.into() }.into()
    }

    #[test]
    fn each_way_to_fail_loading_has_its_code() {
        let path = || "somewhere/model.gguf".to_owned();
        let truncated = Gguf::Truncated { what: "a tensor", offset: 9, needed: 8, left: 7 };
        let split = lilims_gguf::Split { part: 2, count: 3 };
        let large = Engine::TooLarge { context: 9, needed_bytes: 5, available_bytes: 1 };
        for (error, problem) in [
            (io_error(io::ErrorKind::NotFound), Problem::ModelMissing { path: path() }),
            (io_error(io::ErrorKind::PermissionDenied), Problem::ModelUnreadable { path: path() }),
            (truncated.into(), Problem::ModelDamaged),
            (Gguf::Magic { found: b"PK".to_vec() }.into(), Problem::ModelDamaged),
            (Gguf::Version { version: 9 }.into(), Problem::ModelUnsupported),
            (Engine::Damaged { what: "shape".into() }, Problem::ModelDamaged),
            (Engine::Unsupported { what: "family x".into() }, Problem::ModelUnsupported),
            (Engine::Split(split), Problem::SplitModel { part: 2, count: 3 }),
            (
                large,
                Problem::MemoryTooSmall { context_tokens: 9, needed_bytes: 5, available_bytes: 1 },
            ),
        ] {
            assert_eq!(not_loaded(&error).problem, problem, "{error}");
        }
    }

    #[test]
    fn the_detail_names_the_file_and_the_cause() {
        let detail = not_loaded(&io_error(io::ErrorKind::PermissionDenied)).detail.unwrap();
        assert!(detail.contains("model.gguf") && detail.contains("permission"), "{detail}");
        let error = Engine::NotFinite { model: "m".into(), position: 7 };
        let error = not_answered(&error);
        assert_eq!(error.problem, Problem::NotFinite);
        assert!(error.detail.is_some_and(|detail| detail.contains("token 7")));
    }

    #[test]
    fn errors_while_answering_do_not_quote_the_conversation() {
        let what = || "secret".to_owned();
        for error in [Engine::Template { what: what() }, Engine::Tokenizer { what: what() }] {
            let error = not_answered(&error);
            assert!(!format!("{error:?}").contains("secret"));
        }
    }

    #[test]
    fn a_full_disk_and_a_model_that_cannot_be_converted_have_their_codes() {
        let io = |kind: io::ErrorKind| Convert::Io { path: "x.gguf".into(), source: kind.into() };
        let problem = |error: &Convert| not_converted(error).problem;
        assert_eq!(problem(&io(io::ErrorKind::StorageFull)), Problem::ConversionDiskFull);
        let denied = problem(&io(io::ErrorKind::PermissionDenied));
        assert_eq!(denied, Problem::FileUnusable { path: "x.gguf".into() });
        let what = || "a model in several files".to_owned();
        let refused = problem(&Convert::Unsupported { what: what() });
        assert_eq!(refused, Problem::CannotConvert { what: what() });
    }
}
