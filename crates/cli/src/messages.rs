//! The command line's catalogue of messages: codes and facts of the application in English.

use lilims_core::library::{Pick, RepositoryFile};
use lilims_core::{Error, FileFault};
use lilims_ipc::{
    self as ipc, AttachmentNote, CacheShape, FitPart, FitPartKind, ForeignKind, ItemSkipReason,
    LibraryNote, MemorySource, Owner, Problem, StayReason, Suggestion, Unsuitable,
};
use lilims_terminal::output;

/// A cause of an error, as this program prints it.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    error.downcast_ref::<Error>().map_or_else(|| error.to_string(), self::error)
}

/// An error of the application, without its cause. Those that no command helps with say it themselves.
pub(crate) fn error(error: &Error) -> String {
    match error {
        Error::Problem(error) => problem(error),
        Error::UnknownModel { text, may_be_file, is_curated, similar } => {
            let context = if *may_be_file { "no file and no model has this name: " } else { "" };
            let what = if *is_curated {
                format!("{text} is not here yet: `lilims pull {text}` fetches it")
            } else if similar.is_empty() {
                format!(
                    "there is no model called `{text}` in the library: `lilims list` shows them"
                )
            } else {
                let similar = similar.join("` or `");
                format!("there is no model called `{text}` in the library; there is `{similar}`")
            };
            format!("{context}{what}")
        }
        Error::UnknownDownload(text) => format!(
            "`{text}` is no curated model and no repository: write owner/name; \
             `lilims search {text}` finds some"
        ),
        Error::NoSuchFile { repository, files, .. } if files.is_empty() => {
            format!("{repository} has no GGUF file")
        }
        Error::NoSuchFile { repository, pick, files, .. } => {
            let what = match pick {
                Pick::Usual => "Q4_K_M and no file that fits the memory".to_owned(),
                Pick::Quantisation(quantisation) => format!("file in {quantisation}"),
                Pick::File(file) => format!("file {file}"),
            };
            let file = |it: &RepositoryFile| {
                format!("\n  {:>9}  {}", output::disk_size(it.size_bytes), it.file)
            };
            let files: String = files.iter().map(file).collect();
            format!("{repository} has no {what}; it has:{files}")
        }
        Error::IsFolder(path) => {
            let path = path.display();
            format!("{path} is a folder: `lilims scan {path}` takes its models")
        }
        Error::Exists(path) => {
            format!("{} is there already: --force replaces it", path.display())
        }
        Error::UnknownConversation(id) => {
            format!("there is no conversation `{id}`: `lilims conversations list` shows them")
        }
        Error::Document { .. } => problem(&ipc::Error::from(error)),
        Error::NoChatTemplate(model) => format!(
            "{model} has no chat template, so it was not made for conversations: \
             use `lilims generate`"
        ),
        error => error.to_string(),
    }
}

/// What went wrong. Where the code says no more than the detail, the detail.
pub(crate) fn problem(error: &ipc::Error) -> String {
    let detail = || error.detail.clone().unwrap_or_else(|| "something went wrong".to_owned());
    match &error.problem {
        Problem::NoModel => "there is no model on this device".to_owned(),
        Problem::ModelMissing { path } => format!("there is no model at {path}"),
        Problem::ModelUnreadable { path } => format!("the model at {path} cannot be read"),
        Problem::ModelGone { name } => format!("{name} is no longer on this device"),
        Problem::ModelChanged { path } => {
            format!("{path} was changed or cut short while it was in use")
        }
        Problem::SplitModel { part, count } => {
            format!("this is part {part} of {count} of a split model, which Lilims cannot load")
        }
        Problem::MemoryTooSmall { context_tokens, needed_bytes, available_bytes } => format!(
            "a context of {context_tokens} tokens needs {} of memory, {} are available",
            output::size(*needed_bytes),
            output::size(*available_bytes)
        ),
        Problem::OutOfMemory => "the system refused memory for the model".to_owned(),
        Problem::LoadSuspended => "the last load of this model ended the program".to_owned(),
        Problem::ContextFull { needed_tokens, context_tokens } => {
            format!("the text needs {needed_tokens} tokens, the context holds {context_tokens}")
        }
        Problem::TemplateFailed => {
            "the model's chat template fails on this conversation".to_owned()
        }
        Problem::TokenizerFailed => "the model's tokenizer fails on this text".to_owned(),
        Problem::Sealed { by } => crate::privacy::sealed(*by),
        Problem::NotAnAccessToken => "this is not an access token".to_owned(),
        Problem::ConversationGone => "the conversation was deleted".to_owned(),
        Problem::ModelNotLoaded => "no model is loaded".to_owned(),
        Problem::SchemaInvalid { what } => format!("the JSON schema cannot be used: {what}"),
        Problem::AssistantGone => "the assistant was deleted".to_owned(),
        Problem::ConversationFolderGone => "the folder of conversations was removed".to_owned(),
        Problem::NotAnExport { file } => format!("{file} is not an export in a known format"),
        Problem::ExportTooLarge { file, limit_bytes } => {
            format!("{file} has more than {}", output::size(*limit_bytes))
        }
        Problem::ExportDamaged { file } => format!("{file} is damaged"),
        Problem::ExportNewer { file, found, known } => {
            format!("{file} has version {found} of the format, this program reads up to {known}")
        }
        Problem::Answering => "an answer is already being written".to_owned(),
        Problem::NoQuestion => "there is no question".to_owned(),
        Problem::HubUnreachable { host } => format!("{host} cannot be reached"),
        Problem::HubBusy { host, seconds: Some(seconds) } => {
            format!("{host} asks to wait {seconds} s")
        }
        Problem::HubBusy { host, seconds: None } => format!("{host} asks for fewer requests"),
        Problem::HubStatus { host, status } => format!("{host} answers with HTTP error {status}"),
        Problem::HubAddress { address } => format!("`{address}` is not an http(s) address"),
        Problem::TermsNotAccepted { repository, page, .. } => {
            format!("{repository} is gated: accept its terms at {page} first")
        }
        Problem::NotARepository { name } => {
            format!("`{name}` is not a repository: write owner/name")
        }
        Problem::HashMismatch { file } => {
            format!("{file} does not have the SHA-256 that its source states")
        }
        Problem::SourceChanged { file } => format!("{file} changed at its source"),
        Problem::DiskFull { needed_bytes, free_bytes } => format!(
            "the disk is too full: {} needed, {} free",
            output::disk_size(*needed_bytes),
            output::disk_size(*free_bytes)
        ),
        Problem::OverQuota { needed_bytes, quota_bytes, kept_bytes } => format!(
            "{} do not fit the quota of {}, of which {} stay",
            output::disk_size(*needed_bytes),
            output::disk_size(*quota_bytes),
            output::disk_size(*kept_bytes)
        ),
        Problem::PlanChanged => "the models to remove have changed".to_owned(),
        Problem::NoSuchModel { name } => format!("there is no model called `{name}`"),
        Problem::ModelInUse { name } => format!("{name} is loaded: unload it first"),
        Problem::NotOurs { name, owner } => {
            format!("{name} belongs to {}, Lilims only uses it in place", self::owner(owner))
        }
        Problem::NotAModel { file } => format!("{file} is not a usable GGUF file"),
        Problem::UnsuitableFile { file, why } => format!("{file} is {}", unsuitable(*why)),
        Problem::FileName { file } => format!("`{file}` is not a path that Lilims stores"),
        Problem::FileUnusable { path } => format!("cannot use {path}"),
        Problem::LibraryBusy => "other processes use the library".to_owned(),
        Problem::Converting { .. } => "another model is being converted".to_owned(),
        Problem::SourceOfConversion { title } => format!("{title} is being converted"),
        Problem::UnknownType { name } => format!("the type `{name}` is not known"),
        Problem::NoQuantiser { tensor_type } => {
            format!("parts of this model cannot be written as {tensor_type}")
        }
        Problem::CannotConvert { what } => format!("this model cannot be converted: {what}"),
        Problem::ConversionDiskFull => "the disk ran full during the conversion".to_owned(),
        Problem::NotMeasured => "the model is converted, but could not be measured".to_owned(),
        Problem::DocumentUnsupported { file, what } => {
            format!("{file} is {}, which Lilims cannot read", foreign(*what))
        }
        Problem::DocumentEncrypted { file } => format!("{file} needs a password"),
        Problem::DocumentWithoutText { file } => {
            format!("{file} has no text: it is empty, or its pages are images, as in a scan")
        }
        Problem::DocumentDamaged { file } => {
            format!("{file} is damaged, or is not what its name says")
        }
        Problem::DocumentTooLarge { file, limit_bytes } => {
            format!("{file} is larger than {}", output::size(*limit_bytes))
        }
        Problem::DocumentTextTooLong { file, limit_bytes } => {
            format!("the text of {file} is longer than {}", output::size(*limit_bytes))
        }
        Problem::DocumentTooSlow { file, seconds } => {
            format!("reading {file} takes longer than {seconds} s")
        }
        Problem::DocumentTooMuchMemory { file, limit_bytes } => {
            format!("reading {file} takes more than {} of memory", output::size(*limit_bytes))
        }
        Problem::NoAccess { .. }
        | Problem::AccessRefused { .. }
        | Problem::NotAHub { .. }
        | Problem::NotOnHub { .. }
        | Problem::ModelDamaged
        | Problem::ModelUnsupported
        | Problem::ModelNotStarted
        | Problem::NotFinite
        | Problem::OutsideLibrary { .. }
        | Problem::StoreDamaged
        | Problem::StoreNewer { .. }
        | Problem::StoreUnusable
        | Problem::ConversionFailed
        | Problem::TelemetryUnusable
        | Problem::Internal
        | Problem::Unknown => detail(),
    }
}

/// The error of the application in the causes of `error`.
fn of_application(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether the command was cancelled.
pub(crate) fn is_cancelled(error: &anyhow::Error) -> bool {
    of_application(error).is_some_and(Error::is_cancelled)
}

/// What to do about an error, where that is known.
pub(crate) fn advice_on(error: &anyhow::Error) -> Option<&'static str> {
    let error = of_application(error)?;
    if error.is_template() {
        return Some("`lilims generate --raw` takes the prompt without the chat template.");
    }
    match error.file_fault() {
        Some(FileFault::Missing) => {
            Some("Check the path; `--model` also takes the short name of a model.")
        }
        Some(FileFault::Forbidden) => Some("Check who may read the file."),
        Some(FileFault::NotGguf) => Some("Lilims runs GGUF files; get the model in that format."),
        Some(FileFault::Damaged) => {
            Some("Download the file again, and compare its size and SHA-256 with the source's.")
        }
        Some(FileFault::Incomplete) => {
            Some("The file is not a complete model; get one that was converted for llama.cpp.")
        }
        // Their sentences say it.
        None if matches!(error, Error::UnknownModel { .. } | Error::Ambiguous { .. }) => None,
        None => advice(&error.problem()),
    }
}

/// What to do about a problem, where that is known.
fn advice(problem: &Problem) -> Option<&'static str> {
    match problem {
        Problem::NoModel => {
            Some("`--model` names one; `lilims search` and `lilims pull` fetch one.")
        }
        Problem::DiskFull { .. } => Some(
            "Free some of the disk: `lilims rm NAME` removes a model, `lilims unpin NAME` lets one \
             leave.",
        ),
        Problem::OverQuota { .. } => Some(
            "`lilims quota SIZE` allows more; `lilims rm NAME` removes a model, `lilims unpin NAME` \
             lets one leave.",
        ),
        Problem::PlanChanged => Some("Run the command again to see the new list."),
        Problem::NoSuchModel { .. } => Some("`lilims list` shows the models here."),
        Problem::ModelInUse { .. } => Some("End the program that runs it, then try again."),
        Problem::NotARepository { .. } => Some("`lilims search TEXT` finds repositories."),
        Problem::NotOnHub { .. } => {
            Some("Check the spelling; a private repository needs an access token (`lilims token`).")
        }
        Problem::TermsNotAccepted { .. } => {
            Some("Then give Lilims an access token of that account: `lilims token`, or HF_TOKEN.")
        }
        Problem::NoAccess { .. } => {
            Some("`lilims search` marks gated models; others need no token.")
        }
        Problem::AccessRefused { .. } => {
            Some("Check the access token: HF_TOKEN, or the one that `lilims token` keeps.")
        }
        Problem::HubBusy { .. } => {
            Some("The hub wants fewer requests: wait a little; an access token is allowed more.")
        }
        Problem::HubUnreachable { .. } | Problem::NotAHub { .. } => {
            Some("The models that are here (`lilims list`) work without the network.")
        }
        Problem::HashMismatch { .. } | Problem::SourceChanged { .. } => {
            Some("Nothing of it was kept. Try again later, or take another repository.")
        }
        Problem::NotAnExport { .. } => Some(
            "Lilims imports its own exports and those of ChatGPT, Claude, Open WebUI, llama.cpp and \
             LM Studio, and messages as OpenAI's API takes them.",
        ),
        Problem::ExportDamaged { .. } => Some("Export or download the file again."),
        Problem::StoreNewer { .. } | Problem::ExportNewer { .. } => {
            Some("Use the newer version of Lilims.")
        }
        Problem::MemoryTooSmall { .. } | Problem::OutOfMemory => {
            Some("Take a smaller --context, or --kv-type q8_0.")
        }
        Problem::ContextFull { .. } => {
            Some("Shorten the text, raise --context, or let the window slide: --overflow slide.")
        }
        Problem::ModelUnsupported => {
            Some("`lilims inspect FILE` shows what the file holds; another model may run.")
        }
        _ => None,
    }
}

/// What an import left out, and how often.
pub(crate) fn skipped(reason: ItemSkipReason, count: u64) -> String {
    let (one, several) = match reason {
        ItemSkipReason::AlreadyHere => {
            ("1 conversation that is here already", "conversations that are here already")
        }
        ItemSkipReason::NotAConversation => {
            ("1 item that is not a conversation", "items that are not conversations")
        }
        ItemSkipReason::Empty => {
            ("1 conversation without messages", "conversations without messages")
        }
        ItemSkipReason::ConversationTooLarge => {
            ("1 conversation that is too large", "conversations that are too large")
        }
        ItemSkipReason::HiddenMessage => {
            ("1 message that the other program hides", "messages that the other program hides")
        }
        ItemSkipReason::TooMany => {
            ("1 message or part beyond the limit", "messages or parts beyond the limit")
        }
        ItemSkipReason::TooDeep => {
            ("1 value that is nested too deeply", "values that are nested too deeply")
        }
        ItemSkipReason::AttachmentContent => (
            "the content of 1 attachment, which is not in the file",
            "attachments’ content, which is not in the file",
        ),
        ItemSkipReason::Damaged => ("the damaged rest", "damaged parts"),
        ItemSkipReason::BeyondLimit => ("the rest beyond the limit", "parts beyond the limit"),
    };
    if count == 1 { one.to_owned() } else { format!("{count} {several}") }
}

/// Completes “it is …”.
pub(crate) fn unsuitable(why: Unsuitable) -> String {
    match why {
        Unsuitable::Part { part, count } => {
            format!("part {part} of {count} of a split model, which Lilims cannot join yet")
        }
        Unsuitable::Projector => {
            "a projector, the part of a model that reads pictures, not a model of its own"
                .to_owned()
        }
        Unsuitable::ImportanceMatrix => {
            "an importance matrix, data for quantising, not a model".to_owned()
        }
        Unsuitable::Adapter => {
            "an adapter (LoRA) for another model, which Lilims does not apply".to_owned()
        }
        Unsuitable::ControlVector => {
            "a control vector for another model, not a model of its own".to_owned()
        }
        Unsuitable::Vocabulary => "a vocabulary without weights, not a model".to_owned(),
    }
}

/// Completes “it is …”.
fn foreign(kind: ForeignKind) -> &'static str {
    match kind {
        ForeignKind::Image => "an image",
        ForeignKind::Audio => "a sound file",
        ForeignKind::Video => "a video",
        ForeignKind::Archive => "an archive",
        ForeignKind::Spreadsheet => "a spreadsheet",
        ForeignKind::Presentation => "a presentation",
        ForeignKind::OtherDocument => "a document in another format than .docx",
        ForeignKind::Book => "an e-book",
        ForeignKind::Program => "a program",
        ForeignKind::Binary => "not a text",
    }
}

/// What a document's reader guessed or left out.
pub(crate) fn attachment_note(note: &AttachmentNote) -> String {
    match note {
        AttachmentNote::GuessedEncoding { encoding } => {
            format!("the encoding was guessed: {encoding}")
        }
        AttachmentNote::InvalidBytes { n_places } => {
            format!("bytes that are not text were replaced ({n_places})")
        }
        AttachmentNote::InvisibleCharacters { n_chars } => {
            format!("invisible characters were removed ({n_chars})")
        }
        AttachmentNote::Images { n_images } => format!("images were left out ({n_images})"),
        AttachmentNote::PagesWithoutText { n_pages, n_all } => {
            format!("{n_pages} of {n_all} pages have no text")
        }
        AttachmentNote::DamagedPages { n_pages, n_all } => {
            format!("{n_pages} of {n_all} pages are damaged and were left out")
        }
        AttachmentNote::Unknown => "something was guessed or left out".to_owned(),
    }
}

fn owner(owner: &Owner) -> &str {
    match owner {
        Owner::Program(name) => name,
        Owner::Folder => "a folder of yours",
        Owner::Given => "you",
        Owner::App => "Lilims itself",
    }
}

/// Why a model stays, in a word.
pub(crate) fn stays(reason: StayReason) -> &'static str {
    match reason {
        StayReason::Pinned => "pinned",
        StayReason::Downloading => "downloading",
        StayReason::Loaded => "loaded",
        StayReason::Converted => "converted",
    }
}

/// The label of a summand of the memory, and its arithmetic.
pub(crate) fn fit_part(part: &FitPart, measured_ratio: Option<f64>) -> (&'static str, String) {
    let (label, how) = match &part.kind {
        FitPartKind::Weights { n_parameters, bits_per_weight } => {
            let millions = *n_parameters as f64 / 1e6;
            let how = format!("{millions:.0} million parameters × {bits_per_weight:.2} bits");
            return ("Weights", format!("{how}, mapped from the file"));
        }
        FitPartKind::ContextCache(shape) => ("Cache of the whole context", cache(shape)),
        FitPartKind::WindowCache(shape) => ("Cache of layers with a window", cache(shape)),
        FitPartKind::Scratch { chunk_tokens, n_workers } => {
            let workers =
                if *n_workers == 1 { "1 worker" } else { &format!("{n_workers} workers") };
            let how = format!("buffers for {chunk_tokens} tokens at once, and those of {workers}");
            ("Scratch", how)
        }
        FitPartKind::Vocabulary { n_tokens } => {
            let how = format!("tables and logits of a vocabulary of {} tokens", grouped(*n_tokens));
            ("Text", how)
        }
        FitPartKind::Program => ("Program", "without a model".to_owned()),
    };
    let measured = measured_ratio.map(|ratio| format!(" × {ratio:.2} as measured here"));
    (label, how + &measured.unwrap_or_default())
}

/// Such as `30 layers × 2 × 3 heads × 64 × (8,192 + 256) tokens × 2 bytes`.
fn cache(shape: &CacheShape) -> String {
    let CacheShape { n_layers, n_heads, head_size, tokens, extra_tokens, kv_type, .. } = shape;
    let plural = |n: u64| if n == 1 { "" } else { "s" };
    let bytes = match kv_type.as_str() {
        "q8_0" => "34/32".to_owned(),
        _ => shape.bytes_per_number.to_string(),
    };
    format!(
        "{n_layers} layer{} × 2 × {n_heads} head{} × {head_size} × ({} + {}) tokens × {bytes} bytes",
        plural(*n_layers),
        plural(*n_heads),
        grouped(*tokens),
        grouped(*extra_tokens),
    )
}

/// Where the memory for models comes from.
pub(crate) fn memory_source(source: MemorySource) -> String {
    let less = |what: &str, reserve_bytes: u64| {
        format!("{what}, less a reserve of {} MiB", reserve_bytes >> 20)
    };
    match source {
        MemorySource::Free { reserve_bytes } => less("free now", reserve_bytes),
        MemorySource::Container { reserve_bytes } => {
            less("free now in this container", reserve_bytes)
        }
        MemorySource::AppLimit { reserve_bytes } => {
            less("what this program may still take", reserve_bytes)
        }
        MemorySource::Metal => "what Metal recommends to use at most".to_owned(),
    }
}

/// A change that makes a model fit, without a full stop.
pub(crate) fn suggestion(suggestion: &Suggestion) -> String {
    let context = |tokens: u32| format!("a context of {} tokens", grouped(tokens.into()));
    match suggestion {
        Suggestion::Load { context_tokens, kv_type } => {
            let cache = kv_type.as_ref().map(|kv_type| format!("a {kv_type} cache"));
            let changes: Vec<_> = cache.into_iter().chain(context_tokens.map(context)).collect();
            format!("Use {}", changes.join(" and "))
        }
        Suggestion::Quantisation { bits_per_weight, context_tokens } => {
            let with = context_tokens.map(|tokens| format!(" with {}", context(tokens)));
            format!(
                "Take a smaller quantisation: about {bits_per_weight} bits per weight fit{}",
                with.unwrap_or_default()
            )
        }
        Suggestion::OtherModel => "This model is too large for this device".to_owned(),
    }
}

/// Prints what happened to the library without the user asking for it.
pub(crate) fn print_note(note: &LibraryNote) {
    let text = match note {
        LibraryNote::IndexDamaged { put_aside, from_copy_of_ms, n_models } => format!(
            "the database was damaged: it is {put_aside} now, and was {}",
            rebuilt(*from_copy_of_ms, *n_models)
        ),
        LibraryNote::IndexGone { from_copy_of_ms, n_models } => {
            format!("the database was gone: it was {}", rebuilt(*from_copy_of_ms, *n_models))
        }
        LibraryNote::TokenRefused { host } => format!(
            "{host} refuses the access token, so Lilims goes on without it: it may have expired \
             (HF_TOKEN, `lilims token`)"
        ),
    };
    output::note(&format!("lilims: {text}"));
}

fn rebuilt(from_copy_of_ms: Option<u64>, n_models: u64) -> String {
    let how = match from_copy_of_ms {
        Some(_) => "restored from the last good copy",
        None => "made again from the files",
    };
    let s = if n_models == 1 { "" } else { "s" };
    format!("{how}, with {n_models} model{s}")
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (8192, "8,192"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn parts_show_their_arithmetic() {
        let shape = CacheShape {
            n_layers: 5,
            n_heads: 1,
            head_size: 32,
            tokens: 512,
            extra_tokens: 2048,
            kv_type: "f16".into(),
            bytes_per_number: 2.0,
        };
        let part = FitPart { size_bytes: 1, kind: FitPartKind::WindowCache(shape) };
        let (_, how) = fit_part(&part, Some(1.2));
        let expected = "5 layers × 2 × 1 head × 32 × (512 + 2,048) tokens × 2 bytes";
        assert_eq!(how, format!("{expected} × 1.20 as measured here"));
    }

    #[test]
    fn suggestions_are_phrases() {
        let load = |context_tokens, kv_type: Option<&str>| {
            let kv_type = kv_type.map(str::to_owned);
            suggestion(&Suggestion::Load { context_tokens, kv_type })
        };
        assert_eq!(load(Some(6144), None), "Use a context of 6,144 tokens");
        assert_eq!(
            load(Some(3072), Some("q8_0")),
            "Use a q8_0 cache and a context of 3,072 tokens"
        );
        let smaller = Suggestion::Quantisation { bits_per_weight: 3.2, context_tokens: Some(2048) };
        assert_eq!(
            suggestion(&smaller),
            "Take a smaller quantisation: about 3.2 bits per weight fit with a context of 2,048 tokens"
        );
    }

    #[test]
    fn advice_is_found_below_the_context() {
        let error = Error::from(ipc::Error::from(Problem::PlanChanged));
        let error = anyhow::Error::new(error).context("cannot make room");
        assert_eq!(advice_on(&error), advice(&Problem::PlanChanged));
        assert!(advice_on(&error).is_some() && !is_cancelled(&error));
        assert_eq!(advice_on(&anyhow::Error::msg("other")), None);
    }

    #[test]
    fn a_code_without_facts_shows_its_detail() {
        let error = ipc::Error::new(Problem::Unknown, "as an older version wrote it");
        assert_eq!(problem(&error), "as an older version wrote it");
        let error = ipc::Error::from(Problem::DiskFull { needed_bytes: 5_000_000, free_bytes: 0 });
        assert!(problem(&error).contains("5.0 MB needed"));
        assert!(advice(&error.problem).is_some_and(|advice| advice.contains("lilims rm")));
    }
}
