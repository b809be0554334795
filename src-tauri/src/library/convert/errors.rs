//! What went wrong with a conversion, in words that a user can act on.

use std::io;

use lilims_convert::Error as Convert;
use lilims_ipc::{Conversion, Error, ErrorCode};

use crate::errors::chain;

/// One runs already.
pub(super) fn busy(conversion: &Conversion) -> Error {
    let (title, target) = (&conversion.title, &conversion.request.target);
    Error {
        code: ErrorCode::Busy,
        message: format!(
            "{title} is being converted to {target}. One model is converted at a time: wait until it \
             is done, or cancel it."
        ),
        detail: None,
    }
}

/// The type is none that Lilims offers.
pub(super) fn not_there(target: &str) -> Error {
    Error {
        code: ErrorCode::NotFound,
        message: format!("Lilims does not know the type {target}. Choose one of the list."),
        detail: None,
    }
}

/// A model that is the source of a conversion shall be removed.
pub(super) fn is_source(title: &str) -> Error {
    Error {
        code: ErrorCode::Busy,
        message: format!(
            "{title} is being converted. Wait until that is done, or cancel it, then remove the model."
        ),
        detail: None,
    }
}

/// The conversion broke off.
pub(super) fn of(error: &Convert) -> Error {
    let (code, message) = match error {
        Convert::Io { source, .. } if is_full(source) => (
            ErrorCode::NoRoom,
            "The disk ran full while the model was converted. Remove models or other files, then try \
             again. Nothing was left behind."
                .to_owned(),
        ),
        Convert::Io { path, .. } => (
            ErrorCode::Internal,
            format!(
                "{} cannot be read or written. Check the disk and its permissions, then try again.",
                path.display()
            ),
        ),
        Convert::Gguf(_) | Convert::Damaged { .. } => (
            ErrorCode::ModelDamaged,
            "The model's file is damaged or incomplete. Verify it, then try again.".to_owned(),
        ),
        Convert::Run(error) => return crate::errors::not_loaded(error),
        Convert::Measure(_) => (
            ErrorCode::Internal,
            "The model is converted and in the library, but it could not be measured.".to_owned(),
        ),
        Convert::Unsupported { what } => {
            (ErrorCode::ModelUnsupported, format!("Lilims cannot convert this model: {what}."))
        }
        Convert::NoQuantiser { tensor_type, .. } => (
            ErrorCode::ModelUnsupported,
            format!(
                "Lilims cannot write parts of this model as {tensor_type}. Choose another type."
            ),
        ),
        error => (
            ErrorCode::Internal,
            format!("The model could not be converted: {error}. Nothing was left behind."),
        ),
    };
    Error { code, message, detail: Some(chain(error)) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_type_that_does_not_work_say_what_to_do() {
        let io = |kind: io::ErrorKind| Convert::Io { path: "x.gguf".into(), source: kind.into() };
        assert_eq!(of(&io(io::ErrorKind::StorageFull)).code, ErrorCode::NoRoom);
        let denied = of(&io(io::ErrorKind::PermissionDenied));
        assert!(denied.message.contains("x.gguf") && denied.message.contains("permissions"));
        let what = || "a model in several files".to_owned();
        let error = of(&Convert::Unsupported { what: what() });
        assert!(error.message.contains(&what()), "{}", error.message);
    }
}
