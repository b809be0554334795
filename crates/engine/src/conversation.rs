//! A conversation with a model: messages in, an answer out, over a session that remembers.
//!
//! Each turn's prompt is made of all messages as in [`crate::prompt`]; answers that the session wrote
//! keep their tokens (`transcript.rs`). So a turn reads its new tokens only, and an edit reads from the
//! edit on. What stands before the first question (the system prompt) is pinned when the window slides.

mod parts;
mod transcript;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use self::parts::AnswerParts;
use self::transcript::Transcript;
use crate::generate::{Answer, Finish, GenerateOptions, Progress};
use crate::prompt::fit::Fit;
use crate::prompt::{self, Note};
use crate::session::{ContextUse, Overflow, Session};
use crate::{Error, Model};

/// What asks for a summary.
const SUMMARY_REQUEST: &str = "Summarise our conversation so far in a short paragraph. Keep names, \
    numbers, decisions and open questions. Write only the summary.";
/// What a summary stands after in the instructions.
const SUMMARY_INTRODUCTION: &str = "Summary of the conversation so far:";
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

/// A turn's prompt.
struct TurnPrompt {
    transcript: Transcript,
    /// What stands after the last message.
    tail: String,
    notes: Vec<Note>,
}

/// A conversation with one model.
pub struct Conversation {
    session: Session,
    transcript: Transcript,
    summary: Option<Summary>,
    n_sinks: Option<usize>,
    overflow: Overflow,
    /// Of the last prompt.
    notes: Vec<Note>,
}

impl Conversation {
    /// An empty conversation.
    ///
    /// # Errors
    /// As for [`Model::session`].
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
            notes: Vec::new(),
        }
    }

    /// How the last prompt differed from what the messages ask for.
    pub fn notes(&self) -> &[Note] {
        &self.notes
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
        self.notes.clear();
    }

    /// Answers the last of `messages`. What was said before may differ from what it was at the last
    /// turn: then it is read from there on.
    ///
    /// # Errors
    /// [`Error::Template`] when the template refuses the messages, [`Error::ContextFull`]
    /// under [`Overflow::Stop`], and those of [`Session::generate`].
    pub fn answer(
        &mut self,
        messages: &[Message],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<Answer, Error> {
        let model = self.session.model();
        let fit = Fit::of(model.tokenizer(), model.context(), messages);
        let (messages, left_out) = fit.messages(messages);
        let messages = &*messages;
        let turn = self.turn_prompt(messages, options, cancel, on_update);
        let TurnPrompt { transcript, tail, mut notes } = match turn {
            // Cancelling is no error.
            Err(Error::Cancelled) => return Ok(Answer::cancelled()),
            turn => turn?,
        };
        if left_out > 0 {
            notes.push(Note::TextLeftOut { bytes: left_out });
        }
        self.notes = notes;
        self.session.set_sinks(self.n_sinks.unwrap_or(transcript.n_before_question));
        let phase = self.phase(&transcript, messages);
        let mut parts = AnswerParts::new(self.session.model().reasoning_marks(), &tail);
        let answer =
            self.session.generate(&transcript.ids, options, cancel, &mut |text, progress| {
                if text.is_empty() && progress.tokens == 0 {
                    let (done, total) = (progress.read_tokens, progress.prefilled_tokens);
                    on_update(Update::Reading { phase, done, total });
                } else {
                    parts.push(text, progress, on_update);
                }
            })?;
        self.transcript = transcript;
        self.transcript.n_instructions = instructions(messages);
        self.transcript.push(&answer, messages.len() + 1);
        Ok(parts.finish(answer, on_update))
    }

    /// The prompt of a turn, once what has to leave was summarised.
    fn turn_prompt(
        &mut self,
        messages: &[Message],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<TurnPrompt, Error> {
        if self.overflow == Overflow::Summarise {
            self.summarise(messages, options, cancel, on_update)?;
        } else {
            self.summary = None;
        }
        self.prompt(&self.shown(messages), messages.len(), cancel)
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
            let prompt = self.prompt(&shown, messages.len(), cancel)?;
            if prompt.transcript.ids.len() <= context / 4 * 3 {
                return Ok(());
            }
            let covered = self.summary.as_ref().map_or(0, |summary| summary.of.len());
            let n_leaving = self.leaving(&rest[covered..], context / 2, cancel)?;
            if n_leaving == 0 {
                return Ok(());
            }
            let n_before = shown.len() - (rest.len() - covered);
            let request = Message::new(Role::User, SUMMARY_REQUEST);
            let asked: Vec<_> =
                shown[..n_before + n_leaving].iter().cloned().chain([request]).collect();
            let prompt = self.prompt(&asked, asked.len(), cancel)?;
            let options = GenerateOptions { max_tokens, ..options.clone() };
            let ids = &prompt.transcript.ids;
            let answer = self.session.generate(ids, &options, cancel, &mut |_, progress| {
                let phase = Phase::Summary;
                on_update(Update::Reading { phase, done: progress.tokens, total: max_tokens });
            })?;
            let mut parts = AnswerParts::new(self.session.model().reasoning_marks(), &prompt.tail);
            parts.push(&answer.text, &answer.progress, &mut |_| {});
            let answer = parts.finish(answer, &mut |_| {});
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
    fn leaving(
        &self,
        messages: &[Message],
        room: usize,
        cancel: &AtomicBool,
    ) -> Result<usize, Error> {
        let tokenizer = self.session.model().tokenizer();
        let sizes: Vec<usize> = messages
            .iter()
            .map(|message| {
                let ids = tokenizer.encode_until(&message.content, false, cancel)?;
                Ok(ids.len() + AROUND_MESSAGE)
            })
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

    /// Whether more has to be read again than the last answer, which templates may show differently.
    fn phase(&self, prompt: &Transcript, messages: &[Message]) -> Phase {
        // The last question that was answered, if any was.
        let Some(last) = messages.len().checked_sub(2) else { return Phase::Prompt };
        if last <= instructions(messages) {
            return Phase::Prompt;
        }
        let before = prompt.marks.iter().rfind(|mark| mark.messages <= last);
        let held = self.session.tokens();
        let shared = prompt.ids.iter().zip(held).take_while(|(a, b)| a == b).count();
        // The last token of an answer was drawn and not read.
        match before {
            Some(before) if shared + 1 < before.ids => Phase::Again,
            _ => Phase::Prompt,
        }
    }

    /// The prompt for `shown`; `n_messages` are there in all, those that a summary stands for included.
    fn prompt(
        &self,
        shown: &[Message],
        n_messages: usize,
        cancel: &AtomicBool,
    ) -> Result<TurnPrompt, Error> {
        let model = self.session.model();
        let values: Vec<_> = shown.iter().map(prompt::value).collect();
        let rendered = model.chat_format().render(&values, true, cancel)?;
        let (tail, notes) = (rendered.tail().to_owned(), rendered.notes.clone());
        let n_more = n_messages.saturating_sub(shown.len());
        let tokenizer = model.tokenizer();
        let transcript = Transcript::new(rendered, n_more, &self.transcript, tokenizer, cancel)?;
        Ok(TurnPrompt { transcript, tail, notes })
    }

    /// Writes what a later start needs to go on without reading the conversation again.
    ///
    /// # Errors
    /// As for [`Session::save`].
    pub fn save(&self, path: &std::path::Path) -> Result<(), Error> {
        let note = serde_json::to_vec(&(&self.transcript, &self.summary)).expect("plain data");
        self.session.save_with(path, &note)
    }

    /// The conversation that was saved at `path` with this model and settings.
    ///
    /// # Errors
    /// As for [`Session::load`].
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
