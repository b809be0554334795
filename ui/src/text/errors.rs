//! The sentence for each [`Problem`]: what happened, what was kept, and one next step.
//!
//! Technical details are not part of the sentence; components show [`Error::detail`] folded away.

use lilims_ipc::{Error, ForeignKind, Owner, Problem, SealedBy, TokenProblem};

use super::facts::unsuitable;
use super::text;
use crate::format::{bytes, count, tokens, visible_name};

/// Below this, a wait is given in seconds.
const MINUTES_FROM_SECONDS: u64 = 120;

/// The sentence for an error.
pub(crate) fn error(error: &Error) -> String {
    problem(&error.problem)
}

/// The sentence for a problem. Names and addresses may be untrusted: they are bounded here, and
/// components show the sentence as untrusted text.
fn problem(problem: &Problem) -> String {
    let name = |name: &str| visible_name(name);
    match problem {
        Problem::NoModel => text!(error.no_model).into(),
        Problem::ModelMissing { path } => text!(error.model_missing, path = name(path)),
        Problem::ModelUnreadable { path } => text!(error.model_unreadable, path = name(path)),
        Problem::ModelGone { name: model } => text!(error.model_gone, name = name(model)),
        Problem::ModelDamaged => text!(error.model_damaged).into(),
        Problem::ModelChanged { path } => text!(error.model_changed, path = name(path)),
        Problem::ModelUnsupported => text!(error.model_unsupported).into(),
        Problem::SplitModel { part, count } => {
            text!(error.split_model, part = *part, total = *count)
        }
        Problem::MemoryTooSmall { context_tokens, needed_bytes, available_bytes } => text!(
            error.memory_too_small,
            context = tokens(*context_tokens),
            needed = bytes(*needed_bytes),
            available = bytes(*available_bytes)
        ),
        Problem::OutOfMemory => text!(error.out_of_memory).into(),
        Problem::ModelNotStarted => text!(error.model_not_started).into(),
        Problem::NotFinite => text!(error.not_finite).into(),
        Problem::LoadSuspended => text!(error.load_suspended).into(),
        Problem::ContextFull { needed_tokens, context_tokens } => text!(
            error.context_full,
            needed = count(*needed_tokens),
            context = count(*context_tokens)
        ),
        Problem::TemplateFailed => text!(error.template_failed).into(),
        Problem::TokenizerFailed => text!(error.tokenizer_failed).into(),
        Problem::Sealed { by } => match by {
            SealedBy::Build => text!(error.sealed_build),
            SealedBy::Start => text!(error.sealed_start),
            SealedBy::Setting => text!(error.sealed_setting),
        }
        .into(),
        Problem::TelemetryUnusable => text!(error.telemetry_unusable).into(),
        Problem::NotAnAccessToken => text!(error.not_an_access_token).into(),
        Problem::ConversationGone => text!(error.conversation_gone).into(),
        Problem::ModelNotLoaded => text!(error.model_not_loaded).into(),
        Problem::SchemaInvalid { what } => text!(error.schema_invalid, what = name(what)),
        Problem::AssistantGone => text!(error.assistant_gone).into(),
        Problem::ConversationFolderGone => text!(error.conversation_folder_gone).into(),
        Problem::NotAnExport { file } => text!(error.not_an_export, file = name(file)),
        Problem::ExportTooLarge { file, limit_bytes } => {
            text!(error.export_too_large, file = name(file), limit = bytes(*limit_bytes))
        }
        Problem::ExportDamaged { file } => text!(error.export_damaged, file = name(file)),
        Problem::ExportNewer { file, found, known } => {
            text!(error.export_newer, file = name(file), found = *found, known = *known)
        }
        Problem::Answering => text!(error.answering).into(),
        Problem::NoQuestion => text!(error.no_question).into(),
        Problem::HubUnreachable { host } => text!(error.hub_unreachable, host = name(host)),
        Problem::NotAHub { host } => text!(error.not_a_hub, host = name(host)),
        Problem::HubBusy { host, seconds } => hub_busy(name(host), *seconds),
        Problem::HubStatus { host, status } => {
            text!(error.hub_status, host = name(host), status = *status)
        }
        Problem::HubAddress { address } => text!(error.hub_address, address = name(address)),
        Problem::TermsNotAccepted { repository, page, token } => {
            let (repository, page) = (name(repository), name(page));
            with_token(text!(error.terms_not_accepted, repository, page), *token)
        }
        Problem::NoAccess { repository, page, reason, token } => {
            let (repository, page) = (name(repository), name(page));
            let sentence = match without_stop(reason) {
                None => text!(error.no_access, repository, page),
                Some(reason) => text!(error.no_access_because, repository, page, reason),
            };
            with_token(sentence, *token)
        }
        Problem::AccessRefused { host, reason, token } => {
            let sentence = match without_stop(reason) {
                None => text!(error.access_refused, host = name(host)),
                Some(reason) => text!(error.access_refused_because, host = name(host), reason),
            };
            with_token(sentence, *token)
        }
        Problem::NotOnHub { what, host } => {
            text!(error.not_on_hub, host = name(host), what = name(what))
        }
        Problem::NotARepository { name: text } => text!(error.not_a_repository, name = name(text)),
        Problem::HashMismatch { file } => text!(error.hash_mismatch, file = name(file)),
        Problem::SourceChanged { file } => text!(error.source_changed, file = name(file)),
        Problem::DiskFull { needed_bytes, free_bytes } => {
            text!(error.disk_full, needed = bytes(*needed_bytes), free = bytes(*free_bytes))
        }
        Problem::OverQuota { needed_bytes, quota_bytes, kept_bytes } => text!(
            error.over_quota,
            needed = bytes(*needed_bytes),
            quota = bytes(*quota_bytes),
            kept = bytes(*kept_bytes)
        ),
        Problem::PlanChanged => text!(error.plan_changed).into(),
        Problem::NoSuchModel { name: model } => text!(error.no_such_model, name = name(model)),
        Problem::ModelInUse { name: model } => text!(error.model_in_use, name = name(model)),
        Problem::NotOurs { name: model, owner } => not_ours(name(model), owner),
        Problem::NotAModel { file } => text!(error.not_a_model, file = name(file)),
        Problem::UnsuitableFile { file, why } => {
            text!(error.unsuitable_file, file = name(file), what = unsuitable(*why))
        }
        Problem::FileName { file } => text!(error.file_name, file = name(file)),
        Problem::OutsideLibrary { path } => text!(error.outside_library, path = name(path)),
        Problem::FileUnusable { path } => text!(error.file_unusable, path = name(path)),
        Problem::LibraryBusy => text!(error.library_busy).into(),
        Problem::StoreDamaged => text!(error.store_damaged).into(),
        Problem::StoreNewer { found, known } => {
            text!(error.store_newer, found = *found, known = *known)
        }
        Problem::StoreUnusable => text!(error.store_unusable).into(),
        Problem::Converting { title: Some(title), target: Some(target) } => {
            text!(error.converting_named, title = name(title), target = name(target))
        }
        Problem::Converting { .. } => text!(error.converting).into(),
        Problem::SourceOfConversion { title } => {
            text!(error.source_of_conversion, title = name(title))
        }
        Problem::UnknownType { name: target } => text!(error.unknown_type, name = name(target)),
        Problem::NoQuantiser { tensor_type } => {
            text!(error.no_quantiser, tensor_type = name(tensor_type))
        }
        Problem::CannotConvert { what } => text!(error.cannot_convert, what = name(what)),
        Problem::ConversionDiskFull => text!(error.conversion_disk_full).into(),
        Problem::ConversionFailed => text!(error.conversion_failed).into(),
        Problem::NotMeasured => text!(error.not_measured).into(),
        Problem::DocumentUnsupported { file, what } => document_unsupported(name(file), *what),
        Problem::DocumentEncrypted { file } => text!(error.document_encrypted, file = name(file)),
        Problem::DocumentWithoutText { file } => {
            text!(error.document_without_text, file = name(file))
        }
        Problem::DocumentDamaged { file } => text!(error.document_damaged, file = name(file)),
        Problem::DocumentTooLarge { file, limit_bytes } => {
            text!(error.document_too_large, file = name(file), limit = bytes(*limit_bytes))
        }
        Problem::DocumentTextTooLong { file, limit_bytes } => {
            text!(error.document_text_too_long, file = name(file), limit = bytes(*limit_bytes))
        }
        Problem::DocumentTooSlow { file, seconds } => {
            text!(error.document_too_slow, file = name(file), seconds = *seconds)
        }
        Problem::DocumentTooMuchMemory { file, limit_bytes } => {
            text!(error.document_too_much_memory, file = name(file), limit = bytes(*limit_bytes))
        }
        Problem::Internal => text!(error.internal).into(),
        Problem::Unknown => text!(error.unknown).into(),
    }
}

/// Why a download is tried again, in one short sentence.
pub(crate) fn retry_reason(error: &Error) -> String {
    match &error.problem {
        Problem::HubUnreachable { host } => {
            text!(retry.hub_unreachable, host = visible_name(host))
        }
        Problem::NotAHub { host } => text!(retry.not_a_hub, host = visible_name(host)),
        Problem::HubBusy { host, .. } => text!(retry.hub_busy, host = visible_name(host)),
        Problem::HubStatus { host, status } => {
            text!(retry.hub_status, host = visible_name(host), status = *status)
        }
        _ => text!(retry.interrupted).into(),
    }
}

fn hub_busy(host: String, seconds: Option<u64>) -> String {
    match seconds {
        None | Some(0) => text!(error.hub_busy, host),
        Some(seconds) if seconds < MINUTES_FROM_SECONDS => {
            text!(error.hub_busy_for_seconds, host, seconds)
        }
        Some(seconds) => text!(error.hub_busy_for_minutes, host, minutes = seconds.div_ceil(60)),
    }
}

fn not_ours(name: String, owner: &Owner) -> String {
    match owner {
        Owner::Program(program) => {
            text!(error.not_ours_program, name, program = visible_name(program))
        }
        Owner::Folder => text!(error.not_ours_folder, name),
        Owner::Given => text!(error.not_ours_given, name),
        Owner::App => text!(error.not_ours_app, name),
    }
}

fn document_unsupported(file: String, what: ForeignKind) -> String {
    match what {
        ForeignKind::Image => text!(error.document_image, file),
        ForeignKind::Audio => text!(error.document_audio, file),
        ForeignKind::Video => text!(error.document_video, file),
        ForeignKind::Archive => text!(error.document_archive, file),
        ForeignKind::Spreadsheet => text!(error.document_spreadsheet, file),
        ForeignKind::Presentation => text!(error.document_presentation, file),
        ForeignKind::OtherDocument => text!(error.document_foreign, file),
        ForeignKind::Book => text!(error.document_book, file),
        ForeignKind::Program => text!(error.document_program, file),
        ForeignKind::Binary => text!(error.document_binary, file),
    }
}

/// The reason that a hub gives, without its full stop; `None` if it gives none.
/// A sentence, followed by what is wrong with the access token.
fn with_token(sentence: String, token: Option<TokenProblem>) -> String {
    match token {
        Some(TokenProblem::Rejected) => format!("{sentence} {}", text!(error.token_rejected)),
        Some(TokenProblem::NotSent) => format!("{sentence} {}", text!(error.token_not_sent)),
        None => sentence,
    }
}

fn without_stop(reason: &str) -> Option<String> {
    let reason = reason.trim().trim_end_matches('.');
    (!reason.is_empty()).then(|| visible_name(reason))
}

#[cfg(test)]
mod tests {
    use lilims_ipc::Unsuitable;

    use super::*;

    #[test]
    fn errors_carry_their_facts() {
        let sentence = |problem: Problem| error(&problem.into());
        assert_eq!(
            sentence(Problem::DiskFull { needed_bytes: 5_000_000_000, free_bytes: 3_000_000 }),
            "The disk is too full: 5.0 GB are needed, 3.0 MB are free. Nothing was removed. Remove \
             models or other files, then try again."
        );
        let host = || "hub.example".to_owned();
        let busy = |seconds| sentence(Problem::HubBusy { host: host(), seconds });
        assert!(busy(None).ends_with("Try again in a few minutes."));
        assert!(busy(Some(90)).ends_with("Try again in 90 s."));
        assert!(busy(Some(121)).ends_with("Try again in 3 min."));
        let refused = |reason: &str| {
            sentence(Problem::AccessRefused { host: host(), reason: reason.into(), token: None })
        };
        assert!(refused("").starts_with("hub.example refuses access. "));
        assert!(refused("Bad token.").starts_with("hub.example refuses access: Bad token. "));
        let why = Unsuitable::Part { part: 2, count: 3 };
        assert!(
            sentence(Problem::UnsuitableFile { file: "a.gguf".into(), why })
                .starts_with("a.gguf is not a complete model: part 2 of 3 of a split model. ")
        );
    }

    #[test]
    fn a9_untrusted_names_in_sentences_are_bounded() {
        let name = format!("\u{202e}{}", "x".repeat(70_000));
        let sentence = error(&Problem::NoSuchModel { name }.into());
        assert!(sentence.chars().count() < 400 && !sentence.contains('\u{202e}'), "{sentence}");
    }
}
