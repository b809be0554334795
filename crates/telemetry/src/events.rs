//! The events that are recorded, as `sentry` events. The scrubber decides what of them is kept.

use std::collections::BTreeMap;

use sentry::protocol::{Context, Event, Exception, Frame, Level, Stacktrace, Value};

use crate::location::CodeLocation;
use crate::{Figures, PageFailure, PageFailureKind};

/// The types of exceptions that are recorded; no others are sent.
pub(crate) const PANIC: &str = "panic";
pub(crate) const PAGE_PANIC: &str = "page panic";
pub(crate) const PAGE_EXCEPTION: &str = "page exception";
pub(crate) const EXCEPTION_TYPES: &[&str] = &[PANIC, PAGE_PANIC, PAGE_EXCEPTION];

/// The message of figures, which makes one group of all.
pub(crate) const FIGURES_MESSAGE: &str = "performance figures";
/// The context with the figures, and its fields.
pub(crate) const FIGURES: &str = "figures";
pub(crate) const FIGURE_NAMES: &[&str] =
    &["load_ms", "first_token_ms", "tokens_per_second", "peak_memory_bytes"];
/// The tag with the model's id.
pub(crate) const CATALOGUE_MODEL: &str = "catalogue_model";

/// A panic of this process.
pub(crate) fn panic(location: Option<&CodeLocation>, stack: Option<Stacktrace>) -> Event<'static> {
    failure(PANIC, Level::Fatal, location, stack)
}

/// A failure of the page.
pub(crate) fn page_failure(failed: &PageFailure) -> Event<'static> {
    let ty = match failed.kind {
        PageFailureKind::Panic => PAGE_PANIC,
        PageFailureKind::Exception => PAGE_EXCEPTION,
    };
    let location =
        failed.file.as_deref().and_then(|it| CodeLocation::of_source(it, failed.line.unwrap_or(0)));
    failure(ty, Level::Error, location.as_ref(), None)
}

fn failure(
    ty: &str,
    level: Level,
    location: Option<&CodeLocation>,
    stacktrace: Option<Stacktrace>,
) -> Event<'static> {
    let value = location.map(ToString::to_string);
    let exception = Exception { ty: ty.to_string(), value, stacktrace, ..Exception::default() };
    Event { level, exception: vec![exception].into(), ..Event::default() }
}

/// The figures of a model.
pub(crate) fn figures(figures: &Figures) -> Event<'static> {
    let Figures { load_ms, first_token_ms, tokens_per_second, peak_memory_bytes, catalogue_model } =
        figures;
    let values = [load_ms, first_token_ms, tokens_per_second, peak_memory_bytes];
    let named = FIGURE_NAMES.iter().zip(values);
    let fields: BTreeMap<String, Value> = named
        .filter_map(|(name, value)| Some((name.to_string(), Value::from((*value)?))))
        .collect();
    let model = catalogue_model.clone().unwrap_or_default();
    Event {
        level: Level::Info,
        message: Some(FIGURES_MESSAGE.to_string()),
        contexts: BTreeMap::from([(FIGURES.to_string(), Context::Other(fields))]),
        tags: BTreeMap::from([(CATALOGUE_MODEL.to_string(), model)]),
        ..Event::default()
    }
}

/// A stack for examples, the outermost function first.
pub(crate) fn example_stack() -> Stacktrace {
    let functions =
        ["std::thread::spawn", "lilims_core::ModelHost::run", "lilims_engine::Session::generate"];
    let frame = |name: &str| Frame { function: Some(name.to_string()), ..Frame::default() };
    Stacktrace { frames: functions.map(frame).to_vec(), ..Stacktrace::default() }
}
