//! Writes messages differently where a template cannot express them: instructions into the question
//! that follows, messages of one role in a row as one.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::probe::{Abilities, is_shown};
use super::{Note, Place, Rendered};
use crate::text::Rendering;
use crate::{ChatTemplate, Error};

/// After this, nothing else is tried: a rendering takes milliseconds, and a hostile template as long as
/// it may.
const MAX_TIME: Duration = Duration::from_secs(1);

/// What stands between messages that are joined.
const BETWEEN: &str = "\n\n";

/// How messages are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Plan {
    /// Instructions become part of the question that follows.
    folds: bool,
    /// Messages of one role in a row become one.
    joins: bool,
}

/// Messages as the template gets them, and which of the given ones each is made of.
#[derive(Debug)]
struct Folded {
    values: Vec<Value>,
    /// For each value: the given messages in it, and where their contents begin in its content.
    parts: Vec<Vec<(usize, usize)>>,
    has_folded: bool,
    has_joined: bool,
}

/// Renders `messages` as they are, if the template can express them, else folded.
///
/// # Errors
/// [`Error::Template`] with what the template says of the messages as they are,
/// [`Error::Cancelled`].
pub(super) fn render(
    template: &ChatTemplate,
    abilities: Abilities,
    messages: &[Value],
    adds_prompt: bool,
    cancel: &AtomicBool,
) -> Result<Rendered, Error> {
    let start = Instant::now();
    let has_time = || start.elapsed() < MAX_TIME;
    let plan = Plan { folds: !abilities.takes_instructions, joins: !abilities.takes_equal_roles };
    let attempt = |plan: Plan| -> Result<(Folded, Rendering), Error> {
        let folded = Folded::new(messages, plan);
        let values = Value::from(folded.values.as_slice());
        let rendering = template.render_marked(&values, adds_prompt, cancel)?;
        Ok((folded, rendering))
    };
    let others = [(false, true), (true, false), (true, true)];
    let others = others
        .map(|(folds, joins)| Plan { folds: folds || plan.folds, joins: joins || plan.joins });
    let (folded, rendering) = match attempt(plan) {
        // Only where an answer is to come do all instructions have to be there: some templates show
        // them with the last question alone.
        Ok(made) if adds_prompt && n_hidden(&made) > 0 => {
            let hidden = n_hidden(&made);
            let mut best = made;
            for plan in others.into_iter().take_while(|_| has_time()) {
                match attempt(plan) {
                    Ok(other) if n_hidden(&other) < hidden.min(n_hidden(&best)) => best = other,
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    _ => {}
                }
            }
            best
        }
        Ok(made) => made,
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error) => {
            let mut made = None;
            for plan in others.into_iter().take_while(|_| has_time()) {
                match attempt(plan) {
                    Ok(other) => made = Some(other),
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(_) => continue,
                }
                break;
            }
            made.ok_or(error)?
        }
    };
    let mut rendered = folded.place(messages, rendering);
    rendered.notes = notes(&folded, messages, &rendered.places);
    if adds_prompt && !abilities.adds_generation_prompt {
        rendered.notes.push(Note::NoGenerationPrompt);
    }
    if has_time() {
        rendered.notes.extend(reasoning(template, &folded, &rendered.text, adds_prompt, cancel)?);
    }
    Ok(rendered)
}

/// How many messages with a text the template has not shown.
fn n_hidden((folded, rendering): &(Folded, Rendering)) -> usize {
    let values = folded.values.iter().enumerate();
    values.filter(|(idx, value)| !is_blank(value) && !is_shown(rendering, *idx)).count()
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

fn notes(folded: &Folded, messages: &[Value], places: &[Place]) -> Vec<Note> {
    let mut notes = Vec::new();
    if folded.has_folded {
        notes.push(Note::InstructionsInQuestion);
    }
    if folded.has_joined {
        notes.push(Note::RolesJoined);
    }
    let is_hidden = |(idx, value): &(usize, &Value)| {
        !is_blank(value) && !places.iter().any(|place| place.message == *idx)
    };
    let hidden = messages.iter().enumerate().filter(is_hidden);
    let (instructions, others): (Vec<_>, Vec<_>) =
        hidden.partition(|(_, value)| role(value) == "system");
    if !instructions.is_empty() {
        notes.push(Note::InstructionsLeftOut);
    }
    if !others.is_empty() {
        notes.push(Note::MessagesLeftOut { count: others.len() });
    }
    notes
}

/// What became of reasoning, by what the template writes without it.
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
    // The reasoning of the last answer is the one that templates keep, if any.
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
    fn new(messages: &[Value], plan: Plan) -> Self {
        let mut folded =
            Self { values: Vec::new(), parts: Vec::new(), has_folded: false, has_joined: false };
        // Whether the last value is instructions that wait for their question.
        let mut waits = false;
        for (idx, message) in messages.iter().enumerate() {
            let is_instruction = plan.folds && role(message) == "system" && is_plain(message);
            let mut message = message.clone();
            if is_instruction {
                message["role"] = Value::from("user");
                folded.has_folded = true;
            }
            let is_same = folded.values.last().is_some_and(|last| {
                role(last) == role(&message) && is_plain(last) && is_plain(&message)
            });
            if is_same && (waits || is_instruction || plan.joins) {
                folded.has_joined |= !waits && !is_instruction;
                folded.join(idx, &message);
            } else {
                folded.values.push(message);
                folded.parts.push(vec![(idx, 0)]);
            }
            waits = is_instruction;
        }
        folded
    }

    /// Adds a message to the last value.
    fn join(&mut self, idx: usize, message: &Value) {
        let (Some(value), Some(parts)) = (self.values.last_mut(), self.parts.last_mut()) else {
            return;
        };
        for key in ["content", "reasoning_content"] {
            let (old, new) = (text(value, key), text(message, key));
            let joined = match (old, new) {
                (Some(old), Some(new)) if key == "content" || !old.is_empty() => {
                    format!("{old}{BETWEEN}{new}")
                }
                (None | Some(_), Some(new)) => new.to_owned(),
                (_, None) => continue,
            };
            value[key] = Value::from(joined);
        }
        let len = text(message, "content").map_or(0, str::len);
        let joined = text(value, "content").map_or(0, str::len);
        parts.push((idx, joined - len));
    }

    /// The rendering with the places of the given messages.
    fn place(&self, messages: &[Value], rendering: Rendering) -> Rendered {
        let Rendering { text, contents } = rendering;
        let mut places = Vec::new();
        for (idx, parts) in self.parts.iter().enumerate() {
            let spans: Vec<&Range<usize>> = contents
                .iter()
                .filter(|span| span.message == idx && !span.range.is_empty())
                .map(|span| &span.range)
                .collect();
            let (Some(first), Some(last)) = (spans.first(), spans.last()) else { continue };
            let content = self::text(&self.values[idx], "content").unwrap_or_default();
            let place = |at: usize| match spans[..] {
                [span] => place_in(&text, span, content, at),
                _ => None,
            };
            for (part, &(message, start)) in parts.iter().enumerate() {
                let is_blank = is_blank(&messages[message]);
                let start = if part == 0 { Some(first.start) } else { place(start) };
                let end = match parts.get(part + 1) {
                    Some(&(_, next)) => place(next - BETWEEN.len()),
                    None => Some(last.end),
                };
                // A message whose border within the value is not known ends with the value.
                let (start, end) = (start.unwrap_or(first.start), end.unwrap_or(last.end));
                if start < end && !is_blank {
                    places.push(Place { message, range: start..end });
                }
            }
        }
        places.sort_by_key(|place| place.message);
        let question = places.iter().find(|place| role(&messages[place.message]) == "user");
        let question = question.map_or(0, |place| place.range.start);
        let mut contents: Vec<Range<usize>> =
            contents.into_iter().map(|span| span.range).filter(|range| !range.is_empty()).collect();
        contents.sort_by_key(|range| range.start);
        Rendered { text, contents, places, question, notes: Vec::new() }
    }
}

/// Whether the message is nothing but its text, so that it can be joined with another.
fn is_plain(value: &Value) -> bool {
    const KEYS: [&str; 3] = ["role", "content", "reasoning_content"];
    let fields = value.as_object();
    text(value, "content").is_some()
        && fields.is_some_and(|fields| fields.keys().all(|key| KEYS.contains(&key.as_str())))
}

/// Where the byte `at` of `content` stands in the rendering, if `span` shows the content as it is,
/// apart from white space at its ends.
fn place_in(text: &str, span: &Range<usize>, content: &str, at: usize) -> Option<usize> {
    let shown = text.get(span.clone())?;
    let skipped = [0, content.len() - content.trim_start().len()];
    let skipped = skipped.into_iter().find(|&skipped| content[skipped..].starts_with(shown))?;
    Some((span.start + at.saturating_sub(skipped)).min(span.end))
}
