//! Reads a file: tells an archive from JSON, and makes conversations of the items in it.

use std::io::{self, Cursor, Read, Seek};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::conversation::Conversation;
use crate::error::{self, Error};
use crate::formats::{self, Format, Kind, kind_of};
use crate::json::{Budget, Json};
use crate::limits::Limits;
use crate::repair::{Allowance, Repair};
use crate::stream::{Items, Stop, read_values};
use crate::summary::{SkipReason, Skips, Summary};
use crate::tree::{Draft, Making, clipped, finish};
use crate::{archive, write};

/// How much of a file tells what it is.
const PREFIX_BYTES: u64 = 4096;

/// Reads the conversations of the file at `path` one by one; [`ControlFlow::Break`] ends the reading.
///
/// What states no time gets that of the file. Conversations that were handed over before a fault stay
/// with the caller: then the fault is a [`SkipReason::Damaged`] and no error.
///
/// # Errors
/// [`Error::File`] for what is not a regular file; [`Error::UnknownFormat`], [`Error::Damaged`] and
/// [`Error::Archive`] where nothing could be read; [`Error::TooLarge`], [`Error::TextTooLong`],
/// [`Error::TooManyEntries`]; [`Error::NewerVersion`]; [`Error::Io`].
pub fn read_file(
    path: &Path,
    limits: &Limits,
    on_conversation: &mut dyn FnMut(Format, Conversation) -> ControlFlow<()>,
) -> Result<Summary, Error> {
    let file = lilims_files::open(path)?;
    let metadata = file.metadata().map_err(Error::Io)?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.and_then(|since| u64::try_from(since.as_millis()).ok());
    let reading = Reading::new(limits, modified_ms.unwrap_or(0), on_conversation);
    reading.read(file, Some(metadata.len()))
}

/// As [`read_file`], for a file in memory; what states no time gets `fallback_ms`.
///
/// # Errors
/// As for [`read_file`].
pub fn read_bytes(
    bytes: &[u8],
    fallback_ms: u64,
    limits: &Limits,
    on_conversation: &mut dyn FnMut(Format, Conversation) -> ControlFlow<()>,
) -> Result<Summary, Error> {
    let reading = Reading::new(limits, fallback_ms, on_conversation);
    reading.read(Cursor::new(bytes), Some(bytes.len() as u64))
}

/// A file that is being read.
pub(crate) struct Reading<'a> {
    pub(crate) limits: &'a Limits,
    fallback_ms: u64,
    on_conversation: &'a mut dyn FnMut(Format, Conversation) -> ControlFlow<()>,
    formats: Vec<Format>,
    pub(crate) skips: Skips,
    /// Items of which it was known what they are.
    pub(crate) n_recognised: u64,
    n_unknown: u64,
    has_empty_list: bool,
    pub(crate) is_stopped: bool,
    newer_version: Option<u64>,
    /// Messages that stand by themselves and make one conversation.
    open: Option<Open>,
}

/// Messages that follow each other.
#[derive(Default)]
struct Open {
    /// The line of llama.cpp's page that began them.
    session: Option<Json>,
    messages: Vec<Json>,
    used: (usize, usize),
    n_too_many: u64,
}

impl<'a> Reading<'a> {
    fn new(
        limits: &'a Limits,
        fallback_ms: u64,
        on_conversation: &'a mut dyn FnMut(Format, Conversation) -> ControlFlow<()>,
    ) -> Self {
        Self {
            limits,
            fallback_ms,
            on_conversation,
            formats: Vec::new(),
            skips: Skips::new(limits.max_skipped),
            n_recognised: 0,
            n_unknown: 0,
            has_empty_list: false,
            is_stopped: false,
            newer_version: None,
            open: None,
        }
    }

    fn read(
        mut self,
        mut file: impl Read + Seek,
        size_bytes: Option<u64>,
    ) -> Result<Summary, Error> {
        let mut prefix = Vec::new();
        (&mut file).take(PREFIX_BYTES).read_to_end(&mut prefix).map_err(Error::Io)?;
        file.rewind().map_err(Error::Io)?;
        if archive::is_archive(&prefix) {
            archive::read(file, &mut self)?;
        } else if !may_be_json(&prefix) {
            return Err(Error::UnknownFormat);
        } else {
            let limit_bytes = self.limits.max_bytes;
            if size_bytes.is_some_and(|size| size > limit_bytes) {
                return Err(Error::TooLarge { limit_bytes });
            }
            self.read_json(file, &mut Allowance::new(limit_bytes))?;
            if self.n_recognised == 0 && !self.has_empty_list {
                return Err(Error::UnknownFormat);
            }
        }
        let Self { formats, skips, is_stopped, .. } = self;
        Ok(Summary { formats, skipped: skips.into_vec(), is_stopped })
    }

    /// Reads JSON. A fault is an error only where nothing before it was recognised.
    pub(crate) fn read_json(
        &mut self,
        reader: impl Read,
        allowance: &mut Allowance,
    ) -> Result<(), Error> {
        let n_before = self.n_recognised;
        let reader = Repair::new(reader, allowance, self.limits.max_string_bytes);
        let limits = self.limits;
        let result = read_values(reader, limits, self);
        if let Some(found) = self.newer_version.take() {
            return Err(Error::NewerVersion { found, known: write::VERSION });
        }
        if self.is_stopped || self.flush().is_err() {
            return Ok(());
        }
        let Err(error) = result.map_err(error::from_json) else { return Ok(()) };
        let reason = match &error {
            Error::Damaged { .. } => SkipReason::Damaged,
            Error::TooLarge { .. } | Error::TextTooLong { .. } => SkipReason::BeyondLimit,
            _ => return Err(error),
        };
        if self.n_recognised == n_before {
            return Err(error);
        }
        self.skips.add(reason, None, 1);
        Ok(())
    }

    /// Hands over the messages that were collected.
    fn flush(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Open { session, messages, n_too_many, .. } = open;
        let (format, draft) = match &session {
            Some(session) => (Format::LlamaCpp, formats::read_lines(session, &messages)),
            None => (Format::OpenAi, formats::read_messages(&messages)),
        };
        // The draft has copies of what it needs.
        drop(messages);
        self.skips.add(SkipReason::TooMany, draft.title.as_deref(), n_too_many);
        self.hand_over(format, draft)
    }

    fn hand_over(&mut self, format: Format, draft: Draft) -> Result<(), Stop> {
        if !self.formats.contains(&format) {
            self.formats.push(format);
        }
        let mut making = Making {
            limits: self.limits,
            skips: &mut self.skips,
            fallback_ms: self.fallback_ms,
            source: format.name(),
            is_own: format == Format::Lilims,
        };
        let Some(conversation) = finish(draft, &mut making) else { return Ok(()) };
        match (self.on_conversation)(format, conversation) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                self.is_stopped = true;
                Err(Stop)
            }
        }
    }

    fn collect(&mut self, message: Json, budget: &Budget) {
        let limits = self.limits;
        let open = self.open.get_or_insert_default();
        let (n_values, text_bytes) = budget.used(limits);
        let used = (open.used.0 + n_values, open.used.1 + text_bytes);
        let is_too_much = open.messages.len() >= limits.max_messages
            || used.0 > limits.max_values
            || used.1 > limits.max_text_bytes
            || budget.is_exceeded();
        if is_too_much {
            open.n_too_many += 1;
        } else {
            open.messages.push(message);
            open.used = used;
        }
    }
}

impl Items for Reading<'_> {
    fn item(&mut self, item: Json, budget: &Budget) -> Result<(), Stop> {
        let kind = kind_of(&item);
        if kind == Kind::Unknown {
            self.n_unknown += 1;
            let reason = match budget.is_exceeded() {
                true => SkipReason::ConversationTooLarge,
                false => SkipReason::NotAConversation,
            };
            self.skips.add(reason, None, 1);
            return Ok(());
        }
        self.n_recognised += 1;
        self.skips.add(SkipReason::TooDeep, None, budget.n_too_deep());
        match kind {
            Kind::Unknown => Ok(()),
            Kind::Message => {
                self.collect(item, budget);
                Ok(())
            }
            Kind::MessageLine => {
                // The line is only an envelope.
                let message = item.into_entry("message");
                self.collect(message, budget);
                Ok(())
            }
            Kind::SessionLine => {
                self.flush()?;
                self.open = Some(Open { session: Some(item), ..Open::default() });
                Ok(())
            }
            Kind::Conversation(_) if budget.is_exceeded() => {
                self.flush()?;
                let title = item.first_of(&["title", "name"]).as_text().map(clipped);
                self.skips.add(SkipReason::ConversationTooLarge, title.as_deref(), 1);
                Ok(())
            }
            Kind::Conversation(format) => {
                self.flush()?;
                let draft = formats::read(format, &item);
                drop(item);
                self.hand_over(format, draft)
            }
        }
    }

    fn end_list(&mut self) -> Result<(), Stop> {
        self.has_empty_list |= self.n_recognised + self.n_unknown == 0;
        self.flush()
    }

    fn newer_version(&mut self, version: u64) {
        self.newer_version = Some(version);
    }
}

/// Whether a file that begins so can be JSON of conversations.
fn may_be_json(prefix: &[u8]) -> bool {
    let prefix = prefix.strip_prefix(b"\xef\xbb\xbf").unwrap_or(prefix);
    let first = prefix.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}

/// Reads an entry of an archive into the same conversations as the others.
pub(crate) fn read_entry(
    reading: &mut Reading<'_>,
    entry: impl Read,
    allowance: &mut Allowance,
) -> Result<(), Error> {
    let skips = std::mem::replace(&mut reading.skips, Skips::new(reading.limits.max_skipped));
    let n_before = reading.n_recognised;
    let result = reading.read_json(entry, allowance);
    let own = std::mem::replace(&mut reading.skips, skips);
    // Archives have other JSON beside the conversations, which is not worth a line.
    if reading.n_recognised > n_before {
        reading.skips.append(own);
    }
    match result {
        // What does not unpack.
        Err(Error::Io(error)) if error.kind() != io::ErrorKind::Interrupted => {
            reading.skips.add(SkipReason::Damaged, None, 1);
            Ok(())
        }
        result => result,
    }
}
