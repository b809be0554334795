//! Sentences for facts that are not errors: notes, reports, reasons, and the parts of an estimate.

use lilims_ipc::{
    AttachmentNote, Attempt, CacheShape, Caution, DraftRefusal, Fit, FitPart, FitPartKind,
    ImportFailure, ItemSkipReason, LibraryNote, MemorySource, Owner, PromptNote, Report,
    SkipReason, SkippedFile, StayReason, Suggestion, UnloadReason, Unsuitable,
};

use super::errors::error;
use super::text;
use crate::format::{bits_per_weight, bytes, count, decimal, number, tokens, visible_name};

/// Below this, an idle time is given in seconds.
const MINUTES_FROM_SECONDS: u64 = 120;

/// How a prompt differs from the messages.
pub(crate) fn prompt_note(note: PromptNote) -> String {
    match note {
        PromptNote::NoTemplate => text!(prompt_note.no_template).into(),
        PromptNote::InstructionsInQuestion => text!(prompt_note.instructions_in_question).into(),
        PromptNote::InstructionsLeftOut => text!(prompt_note.instructions_left_out).into(),
        PromptNote::RolesJoined => text!(prompt_note.roles_joined).into(),
        PromptNote::ReasoningKept => text!(prompt_note.reasoning_kept).into(),
        PromptNote::ReasoningLeftOut => text!(prompt_note.reasoning_left_out).into(),
        PromptNote::MessagesLeftOut { count } => text!(prompt_note.messages_left_out, count),
        PromptNote::NoGenerationPrompt => text!(prompt_note.no_generation_prompt).into(),
        PromptNote::TextLeftOut { size_bytes } => {
            text!(prompt_note.text_left_out, size = bytes(size_bytes))
        }
        PromptNote::DraftNotUsed { why } => draft_refusal(why).into(),
    }
}

/// Why the draft model is not used.
fn draft_refusal(why: DraftRefusal) -> &'static str {
    match why {
        DraftRefusal::Missing => text!(prompt_note.draft_missing),
        DraftRefusal::NotLoaded => text!(prompt_note.draft_not_loaded),
        DraftRefusal::OtherVocabulary => text!(prompt_note.draft_vocabulary),
        DraftRefusal::Backend => text!(prompt_note.draft_backend),
    }
}

/// What was guessed or left out when a document was read, as a sentence.
pub(crate) fn attachment_note(note: &AttachmentNote) -> Option<String> {
    let number = |n: &u64| count(*n);
    Some(match note {
        AttachmentNote::GuessedEncoding { encoding } => {
            text!(attachment.guessed_encoding, encoding = encoding.clone())
        }
        AttachmentNote::InvalidBytes { n_places } => {
            text!(attachment.invalid_bytes, number = number(n_places))
        }
        AttachmentNote::InvisibleCharacters { n_chars } => {
            text!(attachment.invisible_characters, number = number(n_chars))
        }
        AttachmentNote::Images { n_images } => {
            text!(attachment.images, number = number(n_images))
        }
        AttachmentNote::PagesWithoutText { n_pages, n_all } => {
            text!(attachment.pages_without_text, number = number(n_pages), all = number(n_all))
        }
        AttachmentNote::DamagedPages { n_pages, n_all } => {
            text!(attachment.damaged_pages, number = number(n_pages), all = number(n_all))
        }
        AttachmentNote::Unknown => return None,
    })
}

/// Why the model was unloaded, as the line under its name.
pub(crate) fn unload_reason(reason: UnloadReason) -> String {
    match reason {
        UnloadReason::Requested => text!(header.unloaded_on_request).into(),
        UnloadReason::Idle { seconds } if seconds < MINUTES_FROM_SECONDS => {
            text!(header.unloaded_after_seconds, seconds)
        }
        UnloadReason::Idle { seconds } => {
            text!(header.unloaded_after_minutes, minutes = seconds / 60)
        }
        UnloadReason::MemoryShort => text!(header.unloaded_memory_short).into(),
        UnloadReason::FileChanged => text!(header.unloaded_file_changed).into(),
        UnloadReason::Failed => text!(header.unloaded_failed).into(),
    }
}

/// Why a model is not loaded again.
pub(crate) fn attempt(attempt: &Attempt) -> String {
    let name = visible_name(&attempt.name);
    if attempt.needed_bytes > attempt.available_bytes {
        text!(suspended_load.out_of_memory, name)
    } else {
        text!(suspended_load.other_cause, name)
    }
}

/// Something that happened to the library.
pub(crate) fn library_note(note: &LibraryNote) -> String {
    match note {
        LibraryNote::IndexDamaged { put_aside, from_copy_of_ms, n_models } => {
            let (count, put_aside) = (*n_models, visible_name(put_aside));
            match from_copy_of_ms {
                Some(_) => text!(library_note.damaged_restored, count, put_aside),
                None => text!(library_note.index_damaged, count, put_aside),
            }
        }
        LibraryNote::IndexGone { from_copy_of_ms: Some(_), n_models } => {
            text!(library_note.gone_restored, count = *n_models)
        }
        LibraryNote::IndexGone { n_models, .. } => {
            text!(library_note.index_gone, count = *n_models)
        }
        LibraryNote::TokenRefused { host } => {
            text!(library_note.token_refused, host = visible_name(host))
        }
    }
}

/// Who keeps a file that is not in the library's folder.
pub(crate) fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Program(program) => visible_name(program),
        Owner::Folder => text!(owner.folder).into(),
        Owner::Given => text!(owner.given).into(),
        Owner::App => text!(owner.app).into(),
    }
}

/// Why a model is not removed to make space.
pub(crate) fn stay_reason(reason: StayReason) -> &'static str {
    match reason {
        StayReason::Pinned => text!(stays.pinned),
        StayReason::Downloading => text!(stays.downloading),
        StayReason::Loaded => text!(stays.loaded),
        StayReason::Converted => text!(stays.converted),
    }
}

/// What a GGUF file is that is not a complete model.
pub(crate) fn unsuitable(what: Unsuitable) -> String {
    match what {
        Unsuitable::Part { part, count } => text!(unsuitable.part, part, total = count),
        Unsuitable::Projector => text!(unsuitable.projector).into(),
        Unsuitable::ImportanceMatrix => text!(unsuitable.importance_matrix).into(),
        Unsuitable::Adapter => text!(unsuitable.adapter).into(),
        Unsuitable::ControlVector => text!(unsuitable.control_vector).into(),
        Unsuitable::Vocabulary => text!(unsuitable.vocabulary).into(),
    }
}

/// The result of a verification, an import or a search for models.
pub(crate) fn report(report: &Report) -> String {
    match report {
        Report::Verified { name } => text!(report.verified, name = visible_name(name)),
        Report::Repairing { name } => text!(report.repairing, name = visible_name(name)),
        Report::Damaged { name } => text!(report.damaged, name = visible_name(name)),
        Report::Imported { names, failures } => {
            let imported = (!names.is_empty()).then(|| text!(report.imported, names = list(names)));
            sentences(imported.into_iter().chain(failures.iter().map(import_failure)))
        }
        Report::Scanned { added, n_known, gone, skipped, n_more_skipped } => {
            let found = match (&**added, *n_known) {
                ([], 0) => text!(report.none_found).into(),
                ([], known) => text!(report.nothing_new, count = known),
                ([name], _) => text!(report.found_named, name = visible_name(name)),
                (names, _) => text!(report.found, count = names.len()),
            };
            let gone = (!gone.is_empty()).then(|| text!(report.gone, names = list(gone)));
            let more =
                (*n_more_skipped > 0).then(|| text!(report.more_left_out, count = *n_more_skipped));
            let skipped = skipped.iter().map(skipped_file);
            sentences([found].into_iter().chain(gone).chain(skipped).chain(more))
        }
    }
}

fn import_failure(failure: &ImportFailure) -> String {
    let file = visible_name(&failure.file);
    text!(report.not_imported, file, why = error(&failure.error))
}

fn skipped_file(skipped: &SkippedFile) -> String {
    let why = match &skipped.reason {
        SkipReason::Unsuitable { why } => unsuitable(*why),
        SkipReason::TooManyFiles { limit } => {
            text!(left_out.too_many_files, limit = count(*limit))
        }
        SkipReason::Missing => text!(left_out.missing).into(),
        SkipReason::NotGguf => text!(left_out.not_gguf).into(),
        SkipReason::TooDeep { limit } => text!(left_out.too_deep, limit = count(*limit)),
        SkipReason::Manifest { what } => text!(left_out.manifest, what = visible_name(what)),
        SkipReason::Split => text!(left_out.split).into(),
        SkipReason::NeedsAdapter => text!(left_out.needs_adapter).into(),
        SkipReason::WrongSize => text!(left_out.wrong_size).into(),
        SkipReason::Unusable { what } => visible_name(what),
    };
    text!(report.left_out, file = visible_name(&skipped.file), why)
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| visible_name(name)).collect();
    names.join(text!(list_separator))
}

fn sentences(sentences: impl Iterator<Item = String>) -> String {
    sentences.collect::<Vec<_>>().join(" ")
}

/// Why a model gains nothing by a type, or less than it seems.
pub(crate) fn caution(caution: Caution, target: &str) -> String {
    let target = target.to_owned();
    match caution {
        Caution::SameType => text!(caution.same_type, target),
        Caution::Larger { bits_per_weight: bits } => {
            text!(caution.larger, bits = bits_per_weight(bits.round()))
        }
        Caution::AlreadyQuantised { bits_per_weight: bits } => {
            text!(caution.already_quantised, bits = bits_per_weight(bits.round()), target)
        }
    }
}

/// What a type is good for; empty for an unknown type.
pub(crate) fn good_for(target: &str) -> &'static str {
    match target {
        "F32" => text!(good_for.f32),
        "F16" => text!(good_for.f16),
        "BF16" => text!(good_for.bf16),
        "Q8_0" => text!(good_for.q8_0),
        "Q6_K" => text!(good_for.q6_k),
        "Q5_1" => text!(good_for.q5_1),
        "Q5_K_M" => text!(good_for.q5_k_m),
        "Q5_K_S" => text!(good_for.q5_k_s),
        "Q5_0" => text!(good_for.q5_0),
        "Q4_1" => text!(good_for.q4_1),
        "Q4_K_M" => text!(good_for.q4_k_m),
        "Q4_K_S" => text!(good_for.q4_k_s),
        "IQ4_NL" => text!(good_for.iq4_nl),
        "Q4_0" => text!(good_for.q4_0),
        "Q3_K_L" => text!(good_for.q3_k_l),
        "Q3_K_M" => text!(good_for.q3_k_m),
        "Q3_K_S" => text!(good_for.q3_k_s),
        "Q2_K" => text!(good_for.q2_k),
        _ => "",
    }
}

/// How much memory may be used, and why.
pub(crate) fn memory_source(source: MemorySource, available_bytes: u64) -> String {
    let available = bytes(available_bytes);
    match source {
        MemorySource::Free { reserve_bytes } => {
            text!(fit.free_now, available, reserve = bytes(reserve_bytes))
        }
        MemorySource::Container { reserve_bytes } => {
            text!(fit.free_in_container, available, reserve = bytes(reserve_bytes))
        }
        MemorySource::AppLimit { reserve_bytes } => {
            text!(fit.app_limit, available, reserve = bytes(reserve_bytes))
        }
        MemorySource::Metal => text!(fit.metal, available),
    }
}

/// The smallest change that makes a model fit; `None` if it fits unchanged.
pub(crate) fn suggestion(suggestion: &Suggestion) -> Option<String> {
    let context = |n_tokens: &u32| tokens(u64::from(*n_tokens));
    let text = match suggestion {
        Suggestion::Load { context_tokens: None, kv_type: None } => return None,
        Suggestion::Load { context_tokens: Some(n), kv_type: None } => {
            text!(fit.use_context, context = context(n))
        }
        Suggestion::Load { context_tokens: None, kv_type: Some(kv_type) } => {
            text!(fit.use_cache, kv_type = kv_type.clone())
        }
        Suggestion::Load { context_tokens: Some(n), kv_type: Some(kv_type) } => {
            text!(fit.use_both, kv_type = kv_type.clone(), context = context(n))
        }
        Suggestion::Quantisation { bits_per_weight: bits, context_tokens } => {
            let bits = bits_per_weight(*bits as f32);
            match context_tokens {
                None => text!(fit.smaller_quantisation, bits),
                Some(n) => {
                    text!(fit.smaller_quantisation_and_context, bits, context = context(n))
                }
            }
        }
        Suggestion::OtherModel => text!(fit.other_model).into(),
    };
    Some(text)
}

/// The label of a part of an estimate, and how its size is computed.
pub(crate) fn fit_part(part: &FitPart, fit: &Fit) -> (&'static str, String) {
    let (label, how) = match &part.kind {
        FitPartKind::Weights { n_parameters, bits_per_weight } => {
            let millions = decimal(*n_parameters as f64 / 1e6, 0);
            let how = text!(fit.weights_how, millions, bits = decimal(*bits_per_weight, 2));
            // The weights are exact: a measured run does not correct them.
            return (text!(fit.weights), how);
        }
        FitPartKind::ContextCache(shape) => (text!(fit.context_cache), cache(shape)),
        FitPartKind::WindowCache(shape) => (text!(fit.window_cache), cache(shape)),
        FitPartKind::Scratch { chunk_tokens, n_workers } => {
            let workers = text!(fit.workers, count = *n_workers);
            (text!(fit.scratch), text!(fit.scratch_how, chunk = count(*chunk_tokens), workers))
        }
        FitPartKind::Vocabulary { n_tokens } => {
            (text!(fit.vocabulary), text!(fit.vocabulary_how, tokens = tokens(*n_tokens)))
        }
        FitPartKind::Program => (text!(fit.program), text!(fit.program_how).into()),
    };
    match fit.measured_ratio {
        None => (label, how),
        Some(ratio) => (label, text!(fit.measured_how, how, ratio = decimal(ratio, 2))),
    }
}

/// The size of a cache: `30 layers × 2 × 3 heads × 64 × (8,192 + 256) tokens × 2 bytes`.
fn cache(shape: &CacheShape) -> String {
    let number_bytes = number::fixed(shape.bytes_per_number, 4);
    let digits = number_bytes.trim_end_matches('0').rsplit('.').next().map_or(0, str::len);
    text!(
        fit.cache_how,
        layers = text!(fit.layers, count = shape.n_layers),
        heads = text!(fit.heads, count = shape.n_heads),
        size = count(shape.head_size),
        tokens = count(shape.tokens),
        extra = count(shape.extra_tokens),
        bytes = decimal(shape.bytes_per_number, digits)
    )
}

/// Why an import left something out.
pub(crate) fn skip_reason(reason: ItemSkipReason) -> &'static str {
    match reason {
        ItemSkipReason::AlreadyHere => text!(import.already_here),
        ItemSkipReason::NotAConversation => text!(import.not_a_conversation),
        ItemSkipReason::Empty => text!(import.empty),
        ItemSkipReason::ConversationTooLarge => text!(import.conversation_too_large),
        ItemSkipReason::HiddenMessage => text!(import.hidden_message),
        ItemSkipReason::TooMany => text!(import.too_many),
        ItemSkipReason::TooDeep => text!(import.too_deep),
        ItemSkipReason::AttachmentContent => text!(import.attachment_content),
        ItemSkipReason::Damaged => text!(import.damaged),
        ItemSkipReason::BeyondLimit => text!(import.beyond_limit),
    }
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{Problem, Verdict};

    use super::*;

    #[test]
    fn notes_have_plural_forms() {
        let note = |count| prompt_note(PromptNote::MessagesLeftOut { count });
        assert_eq!(note(1), "The chat template leaves 1 message out.");
        assert_eq!(note(2), "The chat template leaves 2 messages out.");
    }

    #[test]
    fn idle_time_is_in_seconds_or_minutes() {
        let idle = |seconds| unload_reason(UnloadReason::Idle { seconds });
        assert_eq!(idle(30), "Unloaded after 30 s without a question");
        assert_eq!(idle(600), "Unloaded after 10 min without a question");
    }

    #[test]
    fn reports_list_every_result() {
        let scanned = Report::Scanned {
            added: vec!["a".into(), "b".into()],
            n_known: 1,
            gone: vec!["c".into(), "d".into()],
            skipped: vec![SkippedFile {
                file: "e.gguf".into(),
                reason: SkipReason::Unsuitable { why: Unsuitable::Projector },
            }],
            n_more_skipped: 1,
        };
        assert_eq!(
            report(&scanned),
            "Found 2 models. No longer there: c, d. Left out: e.gguf (the image or sound part of a \
             model). 1 more was left out."
        );
        let imported = Report::Imported {
            names: vec!["a".into()],
            failures: vec![ImportFailure {
                file: "b.bin".into(),
                error: Problem::NotAModel { file: "b.bin".into() }.into(),
            }],
        };
        assert_eq!(
            report(&imported),
            "Imported a. b.bin was not imported: b.bin is not a GGUF model, or it is damaged. The \
             file is unchanged. Choose another file."
        );
    }

    #[test]
    fn estimates_show_their_factors() {
        let shape = CacheShape {
            n_layers: 30,
            n_heads: 1,
            head_size: 64,
            tokens: 8192,
            extra_tokens: 256,
            kv_type: "q8_0".into(),
            bytes_per_number: 1.0625,
        };
        let part = FitPart { size_bytes: 1, kind: FitPartKind::ContextCache(shape) };
        let fit = Fit {
            verdict: Verdict::Fits,
            context_tokens: 8192,
            needed_bytes: 1,
            available_bytes: 2,
            parts: vec![part.clone()],
            available_from: MemorySource::Metal,
            suggestion: None,
            tokens_per_second: None,
            measured_ratio: Some(1.1),
            measured_runs: 1,
        };
        assert_eq!(
            fit_part(&part, &fit),
            (
                "Cache of the whole context",
                "30 layers × 2 × 1 head × 64 × (8,192 + 256) tokens × 1.0625 bytes × 1.10 as \
                 measured here"
                    .to_owned()
            )
        );
        let both = Suggestion::Load { context_tokens: Some(4096), kv_type: Some("q8_0".into()) };
        assert_eq!(
            suggestion(&both).as_deref(),
            Some("Use a q8_0 cache and a context of 4,096 tokens")
        );
    }
}
