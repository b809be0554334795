//! A conversation with a model: turns a list of messages into an answer over a [`Session`].
//!
//! Each turn's prompt is made from all messages, as in [`crate::prompt`]; answers that the session
//! generated keep their tokens (`transcript.rs`). So a turn reads only its new tokens, and an edit
//! reads from the edited message on. The tokens before the first question (the system prompt) are
//! pinned when the window slides.

mod parts;
mod transcript;
mod update;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use self::parts::AnswerParts;
use self::transcript::Transcript;
pub use self::update::{Phase, Update};
use crate::constraint::AnswerStart;
use crate::generate::{Answer, Finish, GenerateOptions, Progress};
pub use crate::message::{Message, Role};
use crate::prompt::text_limit::TextLimit;
use crate::prompt::{self, Note};
use crate::session::{ContextUse, Overflow, Session};
use crate::{Error, Model};

/// The request for a summary.
const SUMMARY_REQUEST: &str = "Summarise our conversation so far in a short paragraph. Keep names, \
    numbers, decisions and open questions. Write only the summary.";
/// The heading of a summary in the instructions.
const SUMMARY_INTRODUCTION: &str = "Summary of the conversation so far:";
/// The longest summary in tokens, if the context is large.
const MAX_SUMMARY: usize = 256;
/// Approximate number of tokens that a template adds around a message.
const MESSAGE_OVERHEAD: usize = 8;

/// The part of a conversation that the model attends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Context usage, in tokens.
    pub context: ContextUse,
    /// Index of the first message that is wholly in the window; 0 if none has left it.
    pub first_message: usize,
    /// The summary of the messages that have left.
    pub summary: Option<String>,
}

/// A summary that replaces the first messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Summary {
    text: String,
    /// The messages that it replaces, without instructions.
    of: Vec<Message>,
}

impl Summary {
    /// Whether it replaces the first of `messages` (without instructions), with more after them.
    fn applies_to(&self, messages: &[Message]) -> bool {
        messages.len() > self.of.len() && messages.starts_with(&self.of)
    }
}

/// The prompt of a turn.
struct TurnPrompt {
    transcript: Transcript,
    /// The rendered text after the last message.
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
    /// The notes of the last prompt.
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

    /// The notes on how the last prompt differs from the messages.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Pins the first `n_sinks` tokens when the window slides, instead of the tokens before the
    /// first question.
    pub fn set_sinks(&mut self, n_sinks: usize) {
        self.n_sinks = Some(n_sinks);
    }

    /// Sets what happens when the conversation outgrows the context.
    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.overflow = overflow;
        self.session.set_overflow(overflow);
    }

    /// Lets `draft` draft the tokens of answers, as in [`Session::set_draft`].
    ///
    /// # Errors
    /// As for [`Session::set_draft`].
    pub fn set_draft(&mut self, draft: Option<&Arc<Model>>) -> Result<(), Error> {
        self.session.set_draft(draft)
    }

    /// The underlying session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The part of the conversation that the model attends to now.
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

    /// Clears everything but the settings.
    pub fn reset(&mut self) {
        self.session.reset();
        (self.transcript, self.summary) = (Transcript::default(), None);
        self.notes.clear();
    }

    /// Answers the last of `messages`, or continues it if it is an answer: then the text of the answer
    /// returned follows it. Earlier messages may differ from those of the last turn: then the prompt is
    /// read from the first difference on.
    ///
    /// # Errors
    /// [`Error::Template`] if the template rejects the messages, [`Error::ContextFull`] under
    /// [`Overflow::Stop`], and those of [`Session::generate`].
    pub fn answer(
        &mut self,
        messages: &[Message],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<Answer, Error> {
        let model = self.session.model();
        let limit = TextLimit::for_messages(model.tokenizer(), model.context(), messages);
        let (messages, n_omitted) = limit.messages(messages);
        let messages = &*messages;
        let turn = self.turn_prompt(messages, options, cancel, on_update);
        let TurnPrompt { transcript, tail, mut notes } = match turn {
            // Cancelling is not an error.
            Err(Error::Cancelled) => return Ok(Answer::cancelled()),
            turn => turn?,
        };
        if n_omitted > 0 {
            notes.push(Note::TextLeftOut { bytes: n_omitted });
        }
        self.notes = notes;
        self.session.set_sinks(self.n_sinks.unwrap_or(transcript.n_before_question));
        let phase = self.phase(&transcript, messages);
        let continues = answer_to_continue(messages).is_some();
        // What follows the beginning of an answer is text.
        let tags = self.session.model().reasoning_tags().filter(|_| !continues);
        let mut parts = AnswerParts::new(tags, &tail);
        let written = answer_to_continue(messages).map_or("", |answer| &answer.content);
        let start = AnswerStart::new(tags, &tail, written);
        let mut on_text = |text: &str, progress: &Progress| {
            if text.is_empty() && progress.tokens == 0 {
                let (done, total) = (progress.read_tokens, progress.prefilled_tokens);
                on_update(Update::Reading { phase, done, total });
            } else {
                parts.push(text, progress, on_update);
            }
        };
        let ids = &transcript.ids;
        let answer = self.session.generate_from(ids, &start, options, cancel, &mut on_text)?;
        self.transcript = transcript;
        self.transcript.n_instructions = n_instructions(messages);
        self.transcript.push(&answer, messages.len() + usize::from(!continues));
        Ok(parts.finish(answer, on_update))
    }

    /// The prompt of a turn; with [`Overflow::Summarise`], after the messages that must leave are
    /// summarised.
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
        self.prompt(&self.visible_messages(messages), messages.len(), cancel)
    }

    /// The messages as the model gets them: a summary replaces those that it covers.
    fn visible_messages(&self, messages: &[Message]) -> Vec<Message> {
        let n_instructions = n_instructions(messages);
        let rest = &messages[n_instructions..];
        let Some(summary) = self.summary.as_ref().filter(|summary| summary.applies_to(rest)) else {
            return messages.to_vec();
        };
        let mut system: Vec<&str> =
            messages[..n_instructions].iter().map(|message| message.content.as_str()).collect();
        let pinned = format!("{SUMMARY_INTRODUCTION}\n{}", summary.text);
        system.push(&pinned);
        let system = Message::new(Role::System, system.join("\n\n"));
        std::iter::once(system).chain(rest[summary.of.len()..].iter().cloned()).collect()
    }

    /// Summarises the first messages if all of them would take more than three quarters of the
    /// context, so that the rest takes half of it.
    fn summarise(
        &mut self,
        messages: &[Message],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<(), Error> {
        let n_instructions = n_instructions(messages);
        let rest = &messages[n_instructions..];
        self.summary.take_if(|summary| !summary.applies_to(rest));
        let context = self.session.model().context();
        let max_tokens = MAX_SUMMARY.min(context / 8);
        loop {
            let visible = self.visible_messages(messages);
            let prompt = self.prompt(&visible, messages.len(), cancel)?;
            if prompt.transcript.ids.len() <= context / 4 * 3 {
                return Ok(());
            }
            let covered = self.summary.as_ref().map_or(0, |summary| summary.of.len());
            let n_leaving = self.n_to_drop(&rest[covered..], context / 2, cancel)?;
            if n_leaving == 0 {
                return Ok(());
            }
            let n_before = visible.len() - (rest.len() - covered);
            let request = Message::new(Role::User, SUMMARY_REQUEST);
            let request_messages: Vec<_> =
                visible[..n_before + n_leaving].iter().cloned().chain([request]).collect();
            let prompt = self.prompt(&request_messages, request_messages.len(), cancel)?;
            let options = GenerateOptions { max_tokens, json_schema: None, ..options.clone() };
            let ids = &prompt.transcript.ids;
            let answer = self.session.generate(ids, &options, cancel, &mut |_, progress| {
                let phase = Phase::Summary;
                on_update(Update::Reading { phase, done: progress.tokens, total: max_tokens });
            })?;
            let mut parts = AnswerParts::new(self.session.model().reasoning_tags(), &prompt.tail);
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

    /// The number of `messages` to drop so that the rest takes `room` tokens, at most as many as
    /// one summary can cover. Questions are dropped with their answers; the last question stays.
    fn n_to_drop(
        &self,
        messages: &[Message],
        room: usize,
        cancel: &AtomicBool,
    ) -> Result<usize, Error> {
        let tokenizer = self.session.model().tokenizer();
        let sizes: Vec<usize> = messages
            .iter()
            .map(|message| {
                let ids = tokenizer.encode_cancellable(&message.content, false, cancel)?;
                Ok(ids.len() + MESSAGE_OVERHEAD)
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

    /// [`Phase::Reread`] if more must be read again than the last answer, which templates may
    /// render differently.
    fn phase(&self, prompt: &Transcript, messages: &[Message]) -> Phase {
        // The last answered question, if there is one.
        let Some(last) = messages.len().checked_sub(2) else { return Phase::Prompt };
        if last <= n_instructions(messages) {
            return Phase::Prompt;
        }
        let before = prompt.marks.iter().rfind(|mark| mark.messages <= last);
        let session_tokens = self.session.tokens();
        let shared = prompt.ids.iter().zip(session_tokens).take_while(|(a, b)| a == b).count();
        // The last token of an answer was sampled but not read.
        match before {
            Some(before) if shared + 1 < before.ids => Phase::Reread,
            _ => Phase::Prompt,
        }
    }

    /// The prompt for `visible`; `n_messages` counts all messages, including those that a summary
    /// replaces.
    fn prompt(
        &self,
        visible: &[Message],
        n_messages: usize,
        cancel: &AtomicBool,
    ) -> Result<TurnPrompt, Error> {
        let model = self.session.model();
        let continued = answer_to_continue(visible);
        let answered = &visible[..visible.len() - usize::from(continued.is_some())];
        let values: Vec<_> = answered.iter().map(prompt::value).collect();
        let mut rendered = model.chat_format().render(&values, true, cancel)?;
        if let Some(answer) = continued {
            rendered.begin_answer(answered.len(), answer, model.reasoning_tags());
        }
        let (tail, notes) = (rendered.tail().to_owned(), rendered.notes.clone());
        let n_more = n_messages.saturating_sub(visible.len());
        let tokenizer = model.tokenizer();
        let transcript = Transcript::new(rendered, n_more, &self.transcript, tokenizer, cancel)?;
        Ok(TurnPrompt { transcript, tail, notes })
    }

    /// Saves what is needed to continue without reading the conversation again.
    ///
    /// # Errors
    /// As for [`Session::save`].
    pub fn save(&self, path: &std::path::Path) -> Result<(), Error> {
        let note = serde_json::to_vec(&(&self.transcript, &self.summary)).expect("plain data");
        self.session.save_with(path, &note)
    }

    /// Loads the conversation that was saved at `path` with this model and settings.
    ///
    /// # Errors
    /// As for [`Session::load`].
    pub fn load(model: &Arc<Model>, path: &std::path::Path) -> Result<Self, Error> {
        let (session, note) = Session::load_with(model, path)?;
        let (transcript, summary): (Transcript, _) = serde_json::from_slice(&note)
            .map_err(|error| Error::Saved { what: format!("invalid transcript: {error}") })?;
        let fits = transcript.is_consistent();
        if !fits {
            return Err(Error::Saved { what: "inconsistent transcript".to_owned() });
        }
        Ok(Self { transcript, summary, ..Self::of(session) })
    }
}

/// The last message, if it is an answer.
fn answer_to_continue(messages: &[Message]) -> Option<&Message> {
    messages.last().filter(|last| last.role == Role::Assistant)
}

/// The summary without a last sentence that the token limit cut off.
fn whole_sentences(text: &str, finish: Finish) -> &str {
    match text.rfind(". ") {
        Some(end) if finish == Finish::MaxTokens => &text[..=end],
        _ => text,
    }
}

/// The number of system messages before the first question.
fn n_instructions(messages: &[Message]) -> usize {
    messages.iter().take_while(|message| message.role == Role::System).count()
}
