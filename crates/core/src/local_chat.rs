//! A conversation of one process with a loaded model, saved to a file of the user's choice.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lilims_engine::conversation::Update;
use lilims_engine::prompt::Note;
use lilims_engine::{Answer, Conversation, Message, Role};
use lilims_models::ConversationFile;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::local_model::{AnswerOptions, LocalModel};

/// A growing answer is saved at most this often.
const SAVE_INTERVAL: Duration = Duration::from_secs(2);

/// A conversation with a loaded model.
pub struct LocalChat<'a> {
    model: &'a LocalModel,
    conversation: Conversation,
    options: AnswerOptions,
    saved: Saved,
    /// Instructions that a new conversation begins with.
    system: Option<Message>,
    file: Option<ConversationFile>,
    /// The most tokens that the cache held.
    max_tokens: usize,
    /// Notes on the prompt of the last turn.
    notes: Vec<Note>,
}

/// The content of the file.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Saved {
    messages: Vec<Message>,
}

/// One turn of the conversation.
#[derive(Debug)]
pub struct Turn {
    /// The answer with its figures.
    pub answer: Answer,
    /// Notes on the prompt that did not hold for the turn before.
    pub new_notes: Vec<Note>,
    /// Tokens that have left the window, and those at its beginning that stay.
    pub left_tokens: usize,
    /// Tokens at the beginning that stay.
    pub sinks: usize,
}

impl<'a> LocalChat<'a> {
    /// Continues the conversation in `file`, or begins one; `system` replaces its instructions. Also
    /// returns why a saved session could not be used: then the conversation is read again.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`], [`Error::Conversation`], [`Error::Engine`].
    pub fn open(
        model: &'a LocalModel,
        options: AnswerOptions,
        system: Option<String>,
        file: Option<PathBuf>,
    ) -> Result<(Self, Option<Error>), Error> {
        if model.model.chat_format().template()?.is_none() {
            return Err(Error::NoChatTemplate(model.name().to_owned()));
        }
        let file = file.map(ConversationFile::new);
        let mut saved: Saved = match &file {
            Some(file) => file.read().map_err(|error| failed(file, false, error))?,
            None => None,
        }
        .unwrap_or_default();
        let system = system.map(|content| Message::new(Role::System, content));
        if let Some(system) = &system {
            let is_system = |message: &&Message| message.role == Role::System;
            let n_system = saved.messages.iter().take_while(is_system).count();
            saved.messages.splice(..n_system, [system.clone()]);
        }
        let (mut conversation, error) = reopen(model, file.as_ref(), &saved)?;
        conversation.set_draft(model.draft())?;
        options.configure(&mut conversation);
        let notes = Vec::new();
        let max_tokens = 0;
        let this = Self { model, conversation, options, saved, system, file, max_tokens, notes };
        Ok((this, error))
    }

    /// Begins a new conversation in place of this one.
    ///
    /// # Errors
    /// [`Error::Conversation`].
    pub fn reset(&mut self) -> Result<(), Error> {
        self.conversation.reset();
        self.saved.messages = self.system.iter().cloned().collect();
        self.save()
    }

    /// Asks `text`. The question is saved before it is answered, and the answer while it grows, so that
    /// neither is lost, however the process ends.
    ///
    /// # Errors
    /// [`Error::Conversation`], [`Error::Engine`]. A question that the context has no room for is taken
    /// back.
    pub fn ask(
        &mut self,
        text: &str,
        cancel: &AtomicBool,
        on_update: &mut dyn FnMut(Update<'_>),
    ) -> Result<Turn, Error> {
        self.saved.messages.push(Message::new(Role::User, text));
        self.save()?;
        let mut draft = Draft::new(&self.saved);
        let Self { conversation, saved, options, file, .. } = self;
        let mut grow = |update: Update<'_>| {
            if let Update::Text(text, _) = &update {
                draft.push(text, file.as_ref());
            }
            on_update(update);
        };
        let answer = conversation.answer(&saved.messages, &options.generate, cancel, &mut grow);
        self.max_tokens = self.max_tokens.max(self.conversation.session().tokens().len());
        let answer = match answer.map_err(Error::from) {
            Ok(answer) => answer,
            Err(error) => {
                if error.is_context_full() {
                    self.saved.messages.pop();
                    self.save()?;
                } else if draft.has_text() {
                    self.saved = draft.saved;
                    self.save()?;
                }
                return Err(error);
            }
        };
        let reasoning = answer.reasoning.clone();
        let message = Message { reasoning, ..Message::new(Role::Assistant, &answer.text) };
        self.saved.messages.push(message);
        self.save()?;
        // The same random numbers for every answer would make the model repeat itself.
        let seed = &mut self.options.generate.sampling.seed;
        *seed = seed.wrapping_add(1);
        let notes = self.conversation.notes().to_vec();
        let new_notes = notes.iter().filter(|note| !self.notes.contains(note)).copied().collect();
        self.notes = notes;
        let context = self.conversation.view().context;
        Ok(Turn { answer, new_notes, left_tokens: context.left(), sinks: context.sinks })
    }

    /// Saves the session beside the file, so that the next process need not read the conversation again,
    /// and records the memory that was used.
    ///
    /// # Errors
    /// Why the session was not saved.
    pub fn close(self) -> Result<(), Error> {
        self.model.note_peak(self.max_tokens);
        if let Some(file) = &self.file
            && self.saved.messages.len() > 1
        {
            self.conversation.save(&file.session_path())?;
        }
        Ok(())
    }

    fn save(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write(&self.saved).map_err(|error| failed(file, true, error))
    }
}

fn failed(file: &ConversationFile, is_write: bool, source: io::Error) -> Error {
    Error::Conversation { path: file.path().to_owned(), is_write, source }
}

/// The conversation as it was saved, or an empty one.
fn reopen(
    model: &LocalModel,
    file: Option<&ConversationFile>,
    saved: &Saved,
) -> Result<(Conversation, Option<Error>), Error> {
    let path = file.map(ConversationFile::session_path);
    let error = match path.filter(|path| path.exists() && !saved.messages.is_empty()) {
        Some(path) => match Conversation::load(&model.model, &path) {
            Ok(conversation) => return Ok((conversation, None)),
            Err(error) => Some(error.into()),
        },
        None => None,
    };
    Ok((Conversation::new(&model.model)?, error))
}

/// A conversation with an answer that grows.
struct Draft {
    saved: Saved,
    saved_at: Instant,
}

impl Draft {
    fn new(saved: &Saved) -> Self {
        let mut saved = saved.clone();
        saved.messages.push(Message::new(Role::Assistant, ""));
        Self { saved, saved_at: Instant::now() }
    }

    /// Adds to the answer, and saves it now and then. If that fails, it is tried again, and is an error
    /// at the end.
    fn push(&mut self, text: &str, file: Option<&ConversationFile>) {
        if let Some(answer) = self.saved.messages.last_mut() {
            answer.content.push_str(text);
        }
        if let Some(file) = file.filter(|_| self.saved_at.elapsed() >= SAVE_INTERVAL) {
            let _ = file.write(&self.saved);
            self.saved_at = Instant::now();
        }
    }

    fn has_text(&self) -> bool {
        self.saved.messages.last().is_some_and(|answer| !answer.content.is_empty())
    }
}
