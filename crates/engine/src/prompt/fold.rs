//! Rewrites messages that a template cannot express: prepends instructions to the question that
//! follows, and merges consecutive messages of one role.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::note::Note;
use super::probe::{TemplateCapabilities, is_rendered};
use super::rendered::{MessageSpan, Rendered};
use crate::text::Rendering;
use crate::{ChatTemplate, Error};

/// No further attempt starts after this time: a rendering takes milliseconds, but a hostile
/// template as long as its limit.
const MAX_TIME: Duration = Duration::from_secs(1);

/// The separator between merged messages.
const SEPARATOR: &str = "\n\n";

/// How to rewrite the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct FoldPlan {
    /// Prepend instructions to the question that follows.
    folds_instructions: bool,
    /// Merge consecutive messages of one role.
    merges_roles: bool,
}

/// Rewritten messages, and the given messages that each is made of.
#[derive(Debug)]
struct Folded {
    values: Vec<Value>,
    /// For each value: the indices of the given messages in it, and the offsets of their contents.
    parts: Vec<Vec<(usize, usize)>>,
    has_folded_instructions: bool,
    has_merged_roles: bool,
}

/// Renders `messages` unchanged if the template can express them, else rewritten.
///
/// # Errors
/// [`Error::Template`] with the error for the unchanged messages, [`Error::Cancelled`].
pub(super) fn render(
    template: &ChatTemplate,
    capabilities: TemplateCapabilities,
    messages: &[Value],
    adds_prompt: bool,
    cancel: &AtomicBool,
) -> Result<Rendered, Error> {
    let start = Instant::now();
    let has_time = || start.elapsed() < MAX_TIME;
    let plan = FoldPlan {
        folds_instructions: !capabilities.supports_system_role,
        merges_roles: !capabilities.supports_repeated_roles,
    };
    let try_plan = |plan: FoldPlan| -> Result<(Folded, Rendering), Error> {
        let folded = Folded::new(messages, plan);
        let values = Value::from(folded.values.as_slice());
        let rendering = template.render_marked(&values, adds_prompt, cancel)?;
        Ok((folded, rendering))
    };
    let others = [(false, true), (true, false), (true, true)];
    let others = others.map(|(folds_instructions, merges_roles)| FoldPlan {
        folds_instructions: folds_instructions || plan.folds_instructions,
        merges_roles: merges_roles || plan.merges_roles,
    });
    let (folded, rendering) = match try_plan(plan) {
        // All instructions must be present only if an answer follows: some templates render them
        // with the last question only.
        Ok(done) if adds_prompt && n_omitted(&done) > 0 => {
            let omitted = n_omitted(&done);
            let mut best = done;
            for plan in others.into_iter().take_while(|_| has_time()) {
                match try_plan(plan) {
                    Ok(other) if n_omitted(&other) < omitted.min(n_omitted(&best)) => best = other,
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    _ => {}
                }
            }
            best
        }
        Ok(done) => done,
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error) => {
            let mut done = None;
            for plan in others.into_iter().take_while(|_| has_time()) {
                match try_plan(plan) {
                    Ok(other) => done = Some(other),
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(_) => continue,
                }
                break;
            }
            done.ok_or(error)?
        }
    };
    let mut rendered = folded.locate(messages, rendering);
    rendered.notes = notes(&folded, messages, &rendered.spans);
    if adds_prompt && !capabilities.adds_generation_prompt {
        rendered.notes.push(Note::NoGenerationPrompt);
    }
    if has_time() {
        rendered.notes.extend(reasoning(template, &folded, &rendered.text, adds_prompt, cancel)?);
    }
    Ok(rendered)
}

/// The number of messages with text that the template has omitted.
fn n_omitted((folded, rendering): &(Folded, Rendering)) -> usize {
    let values = folded.values.iter().enumerate();
    values.filter(|(idx, value)| !is_blank(value) && !is_rendered(rendering, *idx)).count()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn role(value: &Value) -> &str {
    text(value, "role").unwrap_or_default()
}

fn is_blank(value: &Value) -> bool {
    text(value, "content").is_none_or(|content| content.trim().is_empty())
}

fn notes(folded: &Folded, messages: &[Value], spans: &[MessageSpan]) -> Vec<Note> {
    let mut notes = Vec::new();
    if folded.has_folded_instructions {
        notes.push(Note::InstructionsInQuestion);
    }
    if folded.has_merged_roles {
        notes.push(Note::RolesJoined);
    }
    let is_omitted = |(idx, value): &(usize, &Value)| {
        !is_blank(value) && !spans.iter().any(|span| span.message == *idx)
    };
    let omitted = messages.iter().enumerate().filter(is_omitted);
    let (instructions, others): (Vec<_>, Vec<_>) =
        omitted.partition(|(_, value)| role(value) == "system");
    if !instructions.is_empty() {
        notes.push(Note::InstructionsLeftOut);
    }
    if !others.is_empty() {
        notes.push(Note::MessagesLeftOut { count: others.len() });
    }
    notes
}

/// Whether the template renders reasoning, found by rendering without it.
fn reasoning(
    template: &ChatTemplate,
    folded: &Folded,
    text: &str,
    adds_prompt: bool,
    cancel: &AtomicBool,
) -> Result<Option<Note>, Error> {
    const KEY: &str = "reasoning_content";
    let has_reasoning =
        |value: &Value| value.get(KEY).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let mut values = folded.values.clone();
    // Templates keep the reasoning of the last answer, if any.
    let Some(last) = values.iter_mut().rfind(|value| has_reasoning(value)) else {
        return Ok(None);
    };
    if let Value::Object(fields) = last {
        fields.remove(KEY);
    }
    match template.render_marked(&Value::from(values), adds_prompt, cancel) {
        Ok(without) if without.text == text => Ok(Some(Note::ReasoningLeftOut)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        _ => Ok(Some(Note::ReasoningKept)),
    }
}

impl Folded {
    fn new(messages: &[Value], plan: FoldPlan) -> Self {
        let mut folded = Self {
            values: Vec::new(),
            parts: Vec::new(),
            has_folded_instructions: false,
            has_merged_roles: false,
        };
        // Whether the last value is instructions that are waiting for their question.
        let mut awaits_question = false;
        for (idx, message) in messages.iter().enumerate() {
            let is_instruction =
                plan.folds_instructions && role(message) == "system" && is_plain(message);
            let mut message = message.clone();
            if is_instruction {
                message["role"] = Value::from("user");
                folded.has_folded_instructions = true;
            }
            let is_same = folded.values.last().is_some_and(|last| {
                role(last) == role(&message) && is_plain(last) && is_plain(&message)
            });
            if is_same && (awaits_question || is_instruction || plan.merges_roles) {
                folded.has_merged_roles |= !awaits_question && !is_instruction;
                folded.merge(idx, &message);
            } else {
                folded.values.push(message);
                folded.parts.push(vec![(idx, 0)]);
            }
            awaits_question = is_instruction;
        }
        folded
    }

    /// Merges a message into the last value.
    fn merge(&mut self, idx: usize, message: &Value) {
        let (Some(value), Some(parts)) = (self.values.last_mut(), self.parts.last_mut()) else {
            return;
        };
        for key in ["content", "reasoning_content"] {
            let (old, new) = (text(value, key), text(message, key));
            let merged = match (old, new) {
                (Some(old), Some(new)) if key == "content" || !old.is_empty() => {
                    format!("{old}{SEPARATOR}{new}")
                }
                (None | Some(_), Some(new)) => new.to_owned(),
                (_, None) => continue,
            };
            value[key] = Value::from(merged);
        }
        let len = text(message, "content").map_or(0, str::len);
        let merged = text(value, "content").map_or(0, str::len);
        parts.push((idx, merged - len));
    }

    /// The rendering with the spans of the given messages.
    fn locate(&self, messages: &[Value], rendering: Rendering) -> Rendered {
        let Rendering { text, contents } = rendering;
        let mut spans = Vec::new();
        for (idx, parts) in self.parts.iter().enumerate() {
            let content_spans: Vec<&Range<usize>> = contents
                .iter()
                .filter(|span| span.message == idx && !span.range.is_empty())
                .map(|span| &span.range)
                .collect();
            let (Some(first), Some(last)) = (content_spans.first(), content_spans.last()) else {
                continue;
            };
            let content = self::text(&self.values[idx], "content").unwrap_or_default();
            let locate = |at: usize| match content_spans[..] {
                [span] => locate_in(&text, span, content, at),
                _ => None,
            };
            for (part, &(message, start)) in parts.iter().enumerate() {
                let is_blank = is_blank(&messages[message]);
                let start = if part == 0 { Some(first.start) } else { locate(start) };
                let end = match parts.get(part + 1) {
                    Some(&(_, next)) => locate(next - SEPARATOR.len()),
                    None => Some(last.end),
                };
                // A message whose boundary within the value is unknown ends with the value.
                let (start, end) = (start.unwrap_or(first.start), end.unwrap_or(last.end));
                if start < end && !is_blank {
                    spans.push(MessageSpan { message, range: start..end });
                }
            }
        }
        spans.sort_by_key(|span| span.message);
        let question_start = spans.iter().find(|span| role(&messages[span.message]) == "user");
        let question_start = question_start.map_or(0, |span| span.range.start);
        let mut contents: Vec<Range<usize>> =
            contents.into_iter().map(|span| span.range).filter(|range| !range.is_empty()).collect();
        contents.sort_by_key(|range| range.start);
        Rendered { text, contents, spans, question_start, notes: Vec::new() }
    }
}

/// Whether the message has only plain text, so that it can be merged with another.
fn is_plain(value: &Value) -> bool {
    const KEYS: [&str; 3] = ["role", "content", "reasoning_content"];
    let fields = value.as_object();
    text(value, "content").is_some()
        && fields.is_some_and(|fields| fields.keys().all(|key| KEYS.contains(&key.as_str())))
}

/// Offset in the rendering of byte `at` of `content`, if `span` renders the content unchanged apart
/// from trimmed white space.
fn locate_in(text: &str, span: &Range<usize>, content: &str, at: usize) -> Option<usize> {
    let rendered = text.get(span.clone())?;
    let skipped = [0, content.len() - content.trim_start().len()];
    let skipped = skipped.into_iter().find(|&skipped| content[skipped..].starts_with(rendered))?;
    Some((span.start + at.saturating_sub(skipped)).min(span.end))
}
