//! A conversation with a model: messages in, an answer out, over a session that remembers.
//!
//! Each turn's prompt is the template's rendering of all messages. Text that the session has read
//! already keeps the tokens that it had there, also the model's own, which tokenising its text might
//! split otherwise: so a turn reads its new tokens only, and an edit reads from the edit on. What stands
//! before the first question (the system prompt) is pinned when the window slides.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::generate::{Answer, Finish, GenerateOptions, Progress};
use crate::reasoning::{Piece, ReasoningSplitter};
use crate::session::{ContextUse, Overflow, Session};
use crate::{Error, Model};

/// What asks for a summary.
const SUMMARY_REQUEST: &str = "Summarise our conversation so far in a short paragraph. Keep names, \
    numbers, decisions and open questions. Write only the summary.";
/// What a summary stands after in the instructions.
const SUMMARY_INTRODUCTION: &str = "Summary of the conversation so far:";
/// A question that stands for any other, to see what comes before the first.
const ANY_QUESTION: &str = "?";
/// The longest summary, in tokens, where the context is large.
const MAX_SUMMARY: usize = 256;
/// Tokens that a template puts around a message, about.
const AROUND_MESSAGE: usize = 8;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand before the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// Its text.
    pub content: String,
    /// What the model wrote for itself before an answer, marks left out. It is given to the chat
    /// template as `reasoning_content`, and few templates send it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

impl Message {
    /// A message without reasoning.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), reasoning: None }
    }
}

/// What the model does before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reads what is new.
    Prompt,
    /// It writes the summary of what leaves the window.
    Summary,
    /// It reads again what had been read before.
    Again,
}

/// How far a turn is.
#[derive(Debug)]
pub enum Update<'a> {
    /// Nothing of the answer is there yet.
    Reading {
        /// What goes on.
        phase: Phase,
        /// Tokens done.
        done: usize,
        /// Tokens to do, at most.
        total: usize,
    },
    /// More of what the model writes for itself before the answer.
    Reasoning(&'a str, &'a Progress),
    /// More of the answer.
    Text(&'a str, &'a Progress),
}

/// What the model sees of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// In tokens.
    pub context: ContextUse,
    /// The first message that is wholly in the window; 0 where none has left it.
    pub first_message: usize,
    /// The summary of those that have left.
    pub summary: Option<String>,
}

/// What stands for the first messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Summary {
    text: String,
    /// The messages that it stands for; instructions are not among them.
    of: Vec<Message>,
}

impl Summary {
    /// Whether it stands for the first of `messages`, instructions left out, with more after them.
    fn begins(&self, messages: &[Message]) -> bool {
        messages.len() > self.of.len() && messages.starts_with(&self.of)
    }
}

/// What the session's tokens say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Transcript {
    text: String,
    ids: Vec<u32>,
    /// Where a message ends, in order.
    marks: Vec<Mark>,
    /// Instructions before the first question.
    n_instructions: usize,
}

/// A place where text and tokens are cut alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// Bytes of text before it.
    text: usize,
    /// Tokens before it.
    ids: usize,
    /// Messages that end before it.
    messages: usize,
    /// Bytes of white space after it that are among the tokens before: the end of an answer, which
    /// templates may trim.
    n_spaces: usize,
}

/// A conversation with one model.
pub struct Conversation {
    session: Session,
    transcript: Transcript,
    summary: Option<Summary>,
    n_sinks: Option<usize>,
    overflow: Overflow,
}

impl Conversation {
    /// An empty conversation.
    ///
    /// *Errors*: as for [`Model::session`].
    pub fn new(model: &Arc<Model>) -> Result<Self, Error> {
        Ok(Self::of(model.session()?))
    }

    fn of(session: Session) -> Self {
        Self {
            session,
            transcript: Transcript::default(),
            summary: None,
            n_sinks: None,
            overflow: Overflow::default(),
        }
    }

    /// Pins the first `n_sinks` tokens when the window slides, instead of what stands before the first
    /// question.
    pub fn set_sinks(&mut self, n_sinks: usize) {
        self.n_sinks = Some(n_sinks);
    }

    /// Says what happens when the conversation outgrows the context.
    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.overflow = overflow;
        self.session.set_overflow(overflow);
    }

    /// The session underneath.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the model sees now.
    pub fn view(&self) -> View {
        let context = self.session.context_use();
        let covered = self.summary.as_ref().map_or(0, |summary| summary.of.len());
        let marks = self.transcript.marks.iter();
        let in_window = marks.rev().take_while(|mark| mark.ids >= context.window_start).last();
        let first_message = match (context.left(), in_window) {
            (0, _) if covered == 0 => 0,
            (0, _) => self.transcript.n_instructions + covered,
            (_, mark) => mark.or(self.transcript.marks.last()).map_or(0, |mark| mark.messages),
        };
        let summary = self.summary.as_ref().map(|summary| summary.text.clone());
        View { context, first_message, summary }
    }

    /// Forgets everything but the settings.
    pub fn reset(&mut self) {
        self.session.reset();
        (self.transcript, self.summary) = (Transcript::default(), None);
    }

    /// Answers the last of `messages`. What was said before may differ from what it was at the last
    /// turn: then it is read from there on.
    ///
    /// *Errors*: [`Error::Template`] when the template refuses the messages, [`Error::ContextFull`]
    /// under [`Overflow::Stop`], and those of [`Session::generate`].
    pub fn answer(
        &mut self,
        messages: &[Message],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<Answer, Error> {
        if self.overflow == Overflow::Summarise {
            self.summarise(messages, options, cancel, on_update)?;
        } else {
            self.summary = None;
        }
        let shown = self.shown(messages);
        let prompt = self.prompt(&shown, messages.len())?;
        let n_sinks = match self.n_sinks {
            Some(n_sinks) => n_sinks,
            None => self.before_first_question(&shown, &prompt.ids)?,
        };
        self.session.set_sinks(n_sinks);
        let phase = self.phase(&prompt, messages.len());
        let mut parts = AnswerParts::new(self.session.model(), &prompt.text);
        let answer =
            self.session.generate(&prompt.ids, options, cancel, &mut |text, progress| {
                if text.is_empty() && progress.tokens == 0 {
                    let (done, total) = (progress.read_tokens, progress.prefilled_tokens);
                    on_update(Update::Reading { phase, done, total });
                } else {
                    parts.push(text, progress, on_update);
                }
            })?;
        self.transcript = Transcript { n_instructions: instructions(messages), ..prompt };
        self.transcript.push(&answer, messages.len() + 1);
        Ok(parts.finish(answer, on_update))
    }

    /// The messages that the model sees: a summary takes the place of those that it stands for.
    fn shown(&self, messages: &[Message]) -> Vec<Message> {
        let n_instructions = instructions(messages);
        let rest = &messages[n_instructions..];
        let Some(summary) = self.summary.as_ref().filter(|summary| summary.begins(rest)) else {
            return messages.to_vec();
        };
        let mut system: Vec<&str> =
            messages[..n_instructions].iter().map(|message| message.content.as_str()).collect();
        let pinned = format!("{SUMMARY_INTRODUCTION}\n{}", summary.text);
        system.push(&pinned);
        let system = Message::new(Role::System, system.join("\n\n"));
        std::iter::once(system).chain(rest[summary.of.len()..].iter().cloned()).collect()
    }

    /// Lets the model write a summary of the first messages, if all would take more than three quarters
    /// of the context: what remains takes half of it.
    fn summarise(
        &mut self,
        messages: &[Message],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<(), Error> {
        let n_instructions = instructions(messages);
        let rest = &messages[n_instructions..];
        self.summary.take_if(|summary| !summary.begins(rest));
        let context = self.session.model().context();
        let max_tokens = MAX_SUMMARY.min(context / 8);
        loop {
            let shown = self.shown(messages);
            if self.prompt(&shown, messages.len())?.ids.len() <= context / 4 * 3 {
                return Ok(());
            }
            let covered = self.summary.as_ref().map_or(0, |summary| summary.of.len());
            let n_leaving = self.leaving(&rest[covered..], context / 2)?;
            if n_leaving == 0 {
                return Ok(());
            }
            let n_before = shown.len() - (rest.len() - covered);
            let request = Message::new(Role::User, SUMMARY_REQUEST);
            let asked: Vec<_> =
                shown[..n_before + n_leaving].iter().cloned().chain([request]).collect();
            let prompt = self.prompt(&asked, asked.len())?;
            let options = GenerateOptions { max_tokens, ..options.clone() };
            let answer =
                self.session.generate(&prompt.ids, &options, cancel, &mut |_, progress| {
                    let phase = Phase::Summary;
                    on_update(Update::Reading { phase, done: progress.tokens, total: max_tokens });
                })?;
            if answer.finish == Finish::Cancelled || answer.text.trim().is_empty() {
                return Ok(());
            }
            let of = rest[..covered + n_leaving].to_vec();
            let text = whole_sentences(answer.text.trim(), answer.finish).to_owned();
            self.summary = Some(Summary { text, of });
        }
    }

    /// How many of `messages` have to leave so that the others take `room` tokens, and no more leave at
    /// once than a summary can be written of. Questions leave with their answers; the last one stays.
    fn leaving(&self, messages: &[Message], room: usize) -> Result<usize, Error> {
        let tokenizer = self.session.model().tokenizer();
        let sizes: Vec<usize> = messages
            .iter()
            .map(|message| Ok(tokenizer.encode(&message.content, false)?.len() + AROUND_MESSAGE))
            .collect::<Result<_, Error>>()?;
        let (mut remaining, mut leaving) = (sizes.iter().sum::<usize>(), 0);
        let mut n_leaving = 0;
        for (idx, size) in sizes.iter().enumerate().take(messages.len().saturating_sub(1)) {
            if remaining <= room || (n_leaving > 0 && leaving + size > room) {
                break;
            }
            (remaining, leaving) = (remaining - size, leaving + size);
            if messages[idx + 1].role == Role::User {
                n_leaving = idx + 1;
            }
        }
        Ok(n_leaving)
    }

    /// How many tokens stand before the first question.
    fn before_first_question(&self, shown: &[Message], ids: &[u32]) -> Result<usize, Error> {
        let any = Message::new(Role::User, ANY_QUESTION);
        let n_before = shown.iter().take_while(|message| message.role == Role::System).count();
        let probe: Vec<_> = shown[..n_before].iter().cloned().chain([any]).collect();
        let text = render(self.session.model(), &probe)?;
        let probe = self.session.model().tokenizer().encode_prompt(&text, true)?;
        Ok(ids.iter().zip(&probe).take_while(|(a, b)| a == b).count())
    }

    /// Whether anything before the last question has to be read again.
    fn phase(&self, prompt: &Transcript, n_messages: usize) -> Phase {
        let before = prompt.marks.iter().rfind(|mark| mark.messages < n_messages);
        let held = self.session.tokens();
        let shared = prompt.ids.iter().zip(held).take_while(|(a, b)| a == b).count();
        // The last token of an answer was drawn and not read.
        match before {
            Some(before) if shared + 1 < before.ids => Phase::Again,
            _ => Phase::Prompt,
        }
    }

    /// Text and tokens of `shown`, ready for the answer: as the session had them, as far as the text is
    /// the same. `n_messages` are there in all, those that a summary stands for included.
    fn prompt(&self, shown: &[Message], n_messages: usize) -> Result<Transcript, Error> {
        let text = render(self.session.model(), shown)?;
        let tokenizer = self.session.model().tokenizer();
        let mut prompt = self.transcript.common(&text);
        // What is new is cut after each answer, as if it had come turn by turn.
        let mut cuts = answers_end(&text, shown, n_messages - shown.len());
        cuts.retain(|cut| cut.0 > prompt.text.len());
        cuts.push((text.len(), n_messages));
        for (end, messages) in cuts {
            let part = &text[prompt.text.len()..end];
            if prompt.text.is_empty() {
                prompt.ids = tokenizer.encode_prompt(part, true)?;
            } else {
                prompt.ids.extend(tokenizer.encode_continuation(part, true)?);
            }
            prompt.text.push_str(part);
            let ids = prompt.ids.len();
            prompt.marks.push(Mark { text: end, ids, messages, n_spaces: 0 });
        }
        Ok(prompt)
    }

    /// Writes what a later start needs to go on without reading the conversation again.
    ///
    /// *Errors*: as for [`Session::save`].
    pub fn save(&self, path: &std::path::Path) -> Result<(), Error> {
        let note = serde_json::to_vec(&(&self.transcript, &self.summary)).expect("plain data");
        self.session.save_with(path, &note)
    }

    /// The conversation that was saved at `path` with this model and settings.
    ///
    /// *Errors*: as for [`Session::load`].
    pub fn load(model: &Arc<Model>, path: &std::path::Path) -> Result<Self, Error> {
        let (session, note) = Session::load_with(model, path)?;
        let (transcript, summary): (Transcript, _) = serde_json::from_slice(&note)
            .map_err(|error| Error::Saved { what: format!("its note: {error}") })?;
        let fits = transcript.is_consistent();
        if !fits {
            return Err(Error::Saved { what: "its note contradicts itself".to_owned() });
        }
        Ok(Self { transcript, summary, ..Self::of(session) })
    }
}

/// Reasoning and text of an answer, as they come.
struct AnswerParts {
    splitter: ReasoningSplitter,
    reasoning: String,
    text: String,
}

impl AnswerParts {
    /// The parts of an answer that goes on after `prompt`.
    fn new(model: &Model, prompt: &str) -> Self {
        let marks = model.reasoning_marks();
        let is_open = marks.is_some_and(|marks| marks.is_open(prompt));
        let splitter = ReasoningSplitter::new(marks, is_open);
        Self { splitter, reasoning: String::new(), text: String::new() }
    }

    fn push(&mut self, text: &str, progress: &Progress, on_update: &mut dyn FnMut(Update<'_>)) {
        let pieces = self.splitter.push(text);
        self.take(pieces, progress, on_update);
    }

    fn take(
        &mut self,
        pieces: Vec<Piece>,
        progress: &Progress,
        on_update: &mut dyn FnMut(Update<'_>),
    ) {
        for piece in pieces {
            match piece {
                Piece::Reasoning(text) => {
                    self.reasoning.push_str(&text);
                    on_update(Update::Reasoning(&text, progress));
                }
                Piece::Text(text) => {
                    self.text.push_str(&text);
                    on_update(Update::Text(&text, progress));
                }
            }
        }
    }

    /// `answer` with its reasoning apart.
    fn finish(mut self, answer: Answer, on_update: &mut dyn FnMut(Update<'_>)) -> Answer {
        let none = ReasoningSplitter::new(None, false);
        let rest = std::mem::replace(&mut self.splitter, none).finish();
        self.take(rest, &answer.progress, on_update);
        let reasoning = Some(self.reasoning).filter(|reasoning| !reasoning.is_empty());
        Answer { text: self.text, reasoning, ..answer }
    }
}

impl Transcript {
    /// The longest part up to a mark that `text` begins with.
    fn common(&self, text: &str) -> Self {
        let is_common = |mark: &Mark| text.get(..mark.text) == Some(&self.text[..mark.text]);
        let Some(last) = self.marks.iter().rposition(is_common) else { return Self::default() };
        let mark = self.marks[last];
        let with_spaces = text.get(..mark.text + mark.n_spaces);
        let keeps_spaces = with_spaces == self.text.get(..mark.text + mark.n_spaces);
        let end = if keeps_spaces { mark.text + mark.n_spaces } else { mark.text };
        Self {
            text: self.text[..end].to_owned(),
            ids: self.ids[..mark.ids].to_vec(),
            marks: self.marks[..=last].to_vec(),
            n_instructions: self.n_instructions,
        }
    }

    /// Adds an answer.
    fn push(&mut self, answer: &Answer, n_messages: usize) {
        let text = self.text.len() + answer.text.trim_end().len();
        self.text.push_str(&answer.text);
        self.ids.extend(&answer.tokens);
        let (ids, n_spaces) = (self.ids.len(), self.text.len() - text);
        self.marks.push(Mark { text, ids, messages: n_messages, n_spaces });
    }

    fn is_consistent(&self) -> bool {
        let places = self.marks.iter().map(|mark| (mark.text, mark.ids));
        places.is_sorted()
            && self.marks.iter().all(|mark| {
                let end = mark.text.checked_add(mark.n_spaces);
                let is_text = end.is_some_and(|end| self.text.get(mark.text..end).is_some());
                mark.ids <= self.ids.len() && is_text
            })
    }
}

/// A summary without the sentence that its limit of tokens cut off.
fn whole_sentences(text: &str, finish: Finish) -> &str {
    match text.rfind(". ") {
        Some(end) if finish == Finish::MaxTokens => &text[..=end],
        _ => text,
    }
}

/// How many instructions stand before the first question.
fn instructions(messages: &[Message]) -> usize {
    messages.iter().take_while(|message| message.role == Role::System).count()
}

/// Where each answer ends in `text`, and how many messages end there; `n_more` are not shown.
fn answers_end(text: &str, shown: &[Message], n_more: usize) -> Vec<(usize, usize)> {
    let mut end = 0;
    let mut ends = Vec::new();
    for (idx, message) in shown.iter().enumerate() {
        let content = message.content.trim();
        let Some(found) = text[end..].find(content) else { continue };
        end += found + content.len();
        if message.role == Role::Assistant && !content.is_empty() {
            ends.push((end, n_more + idx + 1));
        }
    }
    ends
}

/// The prompt for `messages`. Some templates take no instructions: then they stand before the first
/// question.
fn render(model: &Model, messages: &[Message]) -> Result<String, Error> {
    let Some(template) = model.chat_template() else { return Ok(plain(messages)) };
    let rendered = template.render(&values(messages), true);
    let n_instructions = instructions(messages);
    if rendered.is_ok() || n_instructions == 0 || n_instructions == messages.len() {
        return rendered;
    }
    let contents: Vec<&str> =
        messages[..=n_instructions].iter().map(|message| message.content.as_str()).collect();
    let mut folded = messages[n_instructions..].to_vec();
    folded[0].content = contents.join("\n\n");
    template.render(&values(&folded), true).or(rendered)
}

fn values(messages: &[Message]) -> Value {
    let values = messages.iter().map(
        |Message { role, content, .. }| json!({ "role": role_name(*role), "content": content }),
    );
    values.collect()
}

/// The form for models whose file has no chat template: each message on lines of its own after
/// its role, and the role of the answer last. Base models continue it as a dialogue, though they
/// were never taught to end their turn.
fn plain(messages: &[Message]) -> String {
    let lines = messages
        .iter()
        .map(|Message { role, content, .. }| format!("{}: {}\n", role_name(*role), content.trim()));
    lines.chain([format!("{}:", role_name(Role::Assistant))]).collect()
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: Role, content: &str) -> Message {
        Message::new(role, content)
    }

    #[test]
    fn without_a_template_roles_stand_before_the_messages() {
        let messages = [message(Role::System, "Be brief."), message(Role::User, "Where is Paris?")];
        assert_eq!(plain(&messages), "system: Be brief.\nuser: Where is Paris?\nassistant:");
    }

    #[test]
    fn text_is_cut_after_each_answer() {
        let shown = [
            message(Role::System, "Brief."),
            message(Role::User, "one"),
            message(Role::Assistant, " one \n"),
            message(Role::User, "two"),
        ];
        let text = plain(&shown);
        let ends = answers_end(&text, &shown, 2);
        assert_eq!(ends, [(text.find(" one\nuser: two").unwrap() + 4, 5)]);
    }

    #[test]
    fn a_transcript_is_shared_up_to_a_mark() {
        let mark = |text, ids, messages| Mark { text, ids, messages, n_spaces: 0 };
        let marks = vec![mark(3, 2, 1), mark(6, 4, 2)];
        let (text, ids) = ("abcdef".to_owned(), vec![1, 2, 3, 4]);
        let mut transcript = Transcript { text, ids, marks, n_instructions: 0 };
        assert!(transcript.is_consistent());
        assert_eq!(transcript.common("abcdefgh"), transcript);
        let half = transcript.common("abcxyz");
        assert_eq!((half.text.as_str(), &half.ids[..], half.marks.len()), ("abc", &[1, 2][..], 1));
        assert_eq!(transcript.common("ab"), Transcript::default());

        // The tokens of an answer hold its last spaces, whether its text has them or not.
        transcript.text.push_str("  ");
        transcript.marks[1].n_spaces = 2;
        assert_eq!(transcript.common("abcdef  gh").text, "abcdef  ");
        assert_eq!(transcript.common("abcdefgh").text, "abcdef");
        transcript.marks[1].n_spaces = usize::MAX;
        assert!(!transcript.is_consistent());
    }
}
