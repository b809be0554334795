//! The allow-list: what of an event is sent.
//!
//! [`Scrubber::scrub`] builds a new event. Of the event that it is given it takes over: the id, the hour,
//! the level, the last exception if its type is one of ours (its place in our sources, and plain names of
//! known functions), and figures with two significant digits. Release, environment, operating system,
//! device and identifier are the scrubber's own. An event that is neither a failure nor figures of ours
//! is not sent at all.
//!
//! Every struct of an event is taken apart field by field, so that a field which a new version of
//! `sentry` adds does not compile until somebody has decided about it.
//!
//! **Not sent, and why.** The exact time: with the version and device it could tell which installation
//! was in use when. Addresses of instructions: they say nothing without a list of loaded libraries, which
//! holds paths; names of functions are in our programs. Lines of frames: released programs have none.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sentry::protocol::{
    Context, DebugMeta, Event, Exception, Frame, OsContext, Stacktrace, Value, Values,
};
use sentry::types::Uuid;

use crate::crates::is_ours;
use crate::events::{CATALOGUE_MODEL, EXCEPTION_TYPES, FIGURE_NAMES, FIGURES, FIGURES_MESSAGE};
use crate::figures::round;
use crate::function_name::{crate_of, plain_path};
use crate::location::CodeLocation;
use crate::{DeviceClass, Options};

/// What a model that is not in the catalogue is called.
const OTHER_MODEL: &str = "other";
/// The most frames of a stack, those next to the failure.
const MAX_FRAMES: usize = 64;
const SECONDS_PER_HOUR: u64 = 3600;
/// The end of the year 9999, the last that dates are written for.
const LAST_SECOND: u64 = 253_402_300_799;

/// Builds events that may be sent from any event.
#[derive(Clone, Debug)]
pub(crate) struct Scrubber {
    release: String,
    environment: &'static str,
    allowed_models: Vec<String>,
    device: DeviceClass,
    install_id: Uuid,
}

/// What an event reports.
enum Content {
    Failure(Box<Exception>),
    Figures { values: BTreeMap<String, Value>, model: String },
}

impl Scrubber {
    /// A scrubber whose events have the identifier `install_id`.
    pub(crate) fn new(options: &Options, install_id: Uuid) -> Self {
        Self {
            release: format!("lilims@{}", options.version),
            environment: options.environment,
            allowed_models: options.allowed_models.clone(),
            device: options.device.clone(),
            install_id,
        }
    }

    /// What of the event may be sent; `None` if it is not an event of ours.
    pub(crate) fn scrub(&self, event: Event<'static>) -> Option<Event<'static>> {
        let Event {
            event_id,
            level,
            timestamp,
            exception,
            message,
            contexts,
            tags,
            fingerprint: _,
            culprit: _,
            transaction: _,
            logentry: _,
            logger: _,
            modules: _,
            platform: _,
            server_name: _,
            release: _,
            dist: _,
            environment: _,
            user: _,
            request: _,
            breadcrumbs: _,
            stacktrace: _,
            template: _,
            threads: _,
            extra: _,
            debug_meta: _,
            sdk: _,
        } = event;
        let content = match failure(exception) {
            Some(exception) => Content::Failure(Box::new(exception)),
            None => self.figures(message.as_deref(), &contexts, &tags)?,
        };
        Some(self.build(event_id, level, timestamp, content))
    }

    fn figures(
        &self,
        message: Option<&str>,
        contexts: &BTreeMap<String, Context>,
        tags: &BTreeMap<String, String>,
    ) -> Option<Content> {
        if message != Some(FIGURES_MESSAGE) {
            return None;
        }
        let Context::Other(given) = contexts.get(FIGURES)? else { return None };
        let value = |name: &&str| {
            let rounded = round(given.get(*name)?.as_f64()?)?;
            Some(((*name).to_string(), Value::from(rounded)))
        };
        let model = tags.get(CATALOGUE_MODEL).filter(|it| self.allowed_models.contains(it));
        Some(Content::Figures {
            values: FIGURE_NAMES.iter().filter_map(value).collect(),
            model: model.map_or(OTHER_MODEL, String::as_str).to_string(),
        })
    }

    fn build(
        &self,
        event_id: Uuid,
        level: sentry::Level,
        timestamp: SystemTime,
        content: Content,
    ) -> Event<'static> {
        let mut contexts = self.contexts();
        let mut tags = BTreeMap::from([("install_id".to_string(), self.install_id.to_string())]);
        let mut exception = Values::new();
        let mut message = None;
        match content {
            Content::Failure(failed) => exception.values.push(*failed),
            Content::Figures { values, model } => {
                contexts.insert(FIGURES.to_string(), Context::Other(values));
                tags.insert(CATALOGUE_MODEL.to_string(), model);
                message = Some(FIGURES_MESSAGE.to_string());
            }
        }
        Event {
            event_id,
            level,
            timestamp: hour_of(timestamp),
            exception,
            message,
            contexts,
            tags,
            platform: Cow::Borrowed("native"),
            release: Some(Cow::Owned(self.release.clone())),
            environment: Some(Cow::Borrowed(self.environment)),
            fingerprint: Cow::Borrowed(&[Cow::Borrowed("{{ default }}")]),
            culprit: None,
            transaction: None,
            logentry: None,
            logger: None,
            modules: BTreeMap::new(),
            server_name: None,
            dist: None,
            user: None,
            request: None,
            breadcrumbs: Values::new(),
            stacktrace: None,
            template: None,
            threads: Values::new(),
            extra: BTreeMap::new(),
            debug_meta: Cow::Owned(DebugMeta::default()),
            sdk: None,
        }
    }

    fn contexts(&self) -> BTreeMap<String, Context> {
        let DeviceClass { os_name, os_version, arch, instruction_set, cores, memory } =
            &self.device;
        let os = OsContext {
            name: Some((*os_name).to_string()),
            version: os_version.clone(),
            build: None,
            kernel_version: None,
            rooted: None,
            other: BTreeMap::new(),
        };
        let fields = [
            ("arch", *arch),
            ("instruction_set", *instruction_set),
            ("cores", *cores),
            ("memory", *memory),
        ];
        let class = fields.map(|(name, value)| (name.to_string(), Value::from(value)));
        BTreeMap::from([
            ("os".to_string(), Context::Os(Box::new(os))),
            ("device_class".to_string(), Context::Other(BTreeMap::from(class))),
        ])
    }
}

/// What of the last exception may be sent; `None` if it is not one of ours.
fn failure(exceptions: Values<Exception>) -> Option<Exception> {
    let last = exceptions.values.into_iter().next_back()?;
    let Exception {
        ty,
        value,
        stacktrace,
        module: _,
        raw_stacktrace: _,
        thread_id: _,
        mechanism: _,
    } = last;
    let ty = EXCEPTION_TYPES.iter().find(|known| **known == ty)?;
    Some(Exception {
        ty: (*ty).to_string(),
        value: value.and_then(|it| CodeLocation::parse(&it)).map(|it| it.to_string()),
        stacktrace: stacktrace.and_then(scrub_stack),
        module: None,
        raw_stacktrace: None,
        thread_id: None,
        mechanism: None,
    })
}

fn scrub_stack(stack: Stacktrace) -> Option<Stacktrace> {
    let Stacktrace { frames, frames_omitted: _, registers: _ } = stack;
    // The failure is at the end.
    let mut kept: Vec<Frame> =
        frames.into_iter().rev().filter_map(scrub_frame).take(MAX_FRAMES).collect();
    kept.reverse();
    (!kept.is_empty()).then(|| Stacktrace {
        frames: kept,
        frames_omitted: None,
        registers: BTreeMap::new(),
    })
}

fn scrub_frame(frame: Frame) -> Option<Frame> {
    let Frame {
        function,
        symbol: _,
        module: _,
        package: _,
        filename: _,
        abs_path: _,
        lineno: _,
        colno: _,
        pre_context: _,
        context_line: _,
        post_context: _,
        in_app: _,
        vars: _,
        image_addr: _,
        instruction_addr: _,
        symbol_addr: _,
        addr_mode: _,
    } = frame;
    let path = plain_path(&function?)?;
    Some(Frame {
        in_app: Some(is_ours(crate_of(&path))),
        function: Some(path),
        symbol: None,
        module: None,
        package: None,
        filename: None,
        abs_path: None,
        lineno: None,
        colno: None,
        pre_context: Vec::new(),
        context_line: None,
        post_context: Vec::new(),
        vars: BTreeMap::new(),
        image_addr: None,
        instruction_addr: None,
        symbol_addr: None,
        addr_mode: None,
    })
}

/// The beginning of the hour.
fn hour_of(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST_SECOND);
    UNIX_EPOCH + Duration::from_secs(seconds / SECONDS_PER_HOUR * SECONDS_PER_HOUR)
}
