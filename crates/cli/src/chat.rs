//! `lilims chat`: a conversation in the terminal.
//!
//! What the person types goes to the model line by line. Prompts and figures go to standard error,
//! so that standard output holds the answers alone.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use lilims_engine::conversation::{Phase, Update};
use lilims_engine::prompt::Note;
use lilims_engine::{Conversation, Error, Finish, GenerateOptions, Message, Model, Progress, Role};
use lilims_models::ConversationFile;
use serde::{Deserialize, Serialize};

use crate::generate::{AnswerOutput, figures};
use crate::interrupt::Interrupt;
use crate::options::{self, AnswerOptions, ModelOptions};
use crate::output;
use crate::questions::Questions;

/// How often what there is of an answer is kept while it grows.
const KEEP_EVERY: Duration = Duration::from_secs(2);

/// Hold a conversation. Ctrl-C stops an answer; Ctrl-D or `/exit` ends the conversation, `/new`
/// begins another.
#[derive(Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    model: ModelOptions,
    /// Instructions that stand before the conversation.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// Each answer ends after this many tokens.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = options::tokens)]
    max_tokens: usize,
    /// Keep the conversation in FILE, and go on with the one that is there. FILE.session beside it saves
    /// reading it again.
    #[arg(long, value_name = "FILE")]
    session: Option<PathBuf>,
    #[command(flatten)]
    answer: AnswerOptions,
}

impl Chat {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let interrupt = Interrupt::for_conversation();
        let loaded = self.model.load(threads, self.answer.context)?;
        let model = &loaded.model;
        if model.chat_format().template()?.is_none() {
            bail!(
                "{} has no chat template, so it was not made for conversations: \
                 use `lilims generate`",
                model.name()
            );
        }
        let interactive = io::stdin().is_terminal();
        if interactive {
            let name = model.name();
            let megabytes = model.cache_bytes() as f64 / 1e6;
            output::note(&format!(
                "{name} on {}, up to {megabytes:.0} MB for {} tokens of context. \
                 /new begins again, /exit ends.",
                model.backend(),
                model.context()
            ));
        }
        let mut talk = Talk::open(&self, model, interactive)?;
        let questions = Questions::new(interrupt)?;
        loop {
            if interactive {
                output::ask("\n> ");
            }
            let Some(line) = questions.next()? else { break };
            interrupt.disarm();
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => break,
                "/new" => talk.begin_again()?,
                text => talk.ask(text, interrupt)?,
            }
        }
        talk.save_session();
        loaded.note_peak(talk.most_tokens);
        Ok(if interrupt.is_ending() { interrupt.exit_code() } else { ExitCode::SUCCESS })
    }
}

/// What `--session` keeps.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    messages: Vec<Message>,
}

/// The messages so far and what the model has read of them.
struct Talk {
    conversation: Conversation,
    options: GenerateOptions,
    kept: Kept,
    /// Instructions that a new conversation begins with.
    system: Option<Message>,
    file: Option<ConversationFile>,
    interactive: bool,
    /// The most tokens that were held at once.
    most_tokens: usize,
    /// Notes on the prompt of the last turn.
    told_notes: Vec<Note>,
}

impl Talk {
    fn open(chat: &Chat, model: &Arc<Model>, interactive: bool) -> Result<Self> {
        let file = chat.session.clone().map(ConversationFile::new);
        let kept = match &file {
            Some(file) => file.read().with_context(|| {
                format!("cannot read the conversation in {}", file.path().display())
            })?,
            None => None,
        };
        let system = chat.system.clone();
        let system = system.map(|content| Message::new(Role::System, content));
        let mut kept: Kept = kept.unwrap_or_default();
        if let Some(system) = &system {
            let n_instructions =
                kept.messages.iter().take_while(|message| message.role == Role::System).count();
            kept.messages.splice(..n_instructions, [system.clone()]);
        }
        let mut conversation = reopen(model, file.as_ref(), &kept)?;
        conversation.set_overflow(chat.answer.overflow());
        if let Some(n_sinks) = chat.answer.sinks {
            conversation.set_sinks(n_sinks);
        }
        let options = chat.answer.generate(chat.max_tokens);
        let (most_tokens, told_notes) = (0, Vec::new());
        Ok(Self { conversation, options, kept, system, file, interactive, most_tokens, told_notes })
    }

    fn begin_again(&mut self) -> Result<()> {
        self.conversation.reset();
        self.kept.messages = self.system.iter().cloned().collect();
        self.keep()
    }

    /// Asks `text` and shows the answer. The question is kept before, and what there is of the answer
    /// while it grows, so that neither is lost, however the program ends. A conversation that no longer
    /// fits goes on without the question.
    fn ask(&mut self, text: &str, interrupt: Interrupt) -> Result<()> {
        self.kept.messages.push(Message::new(Role::User, text));
        self.keep()?;
        let mut out = AnswerOutput::new(true);
        let mut told = None;
        let mut draft = Draft::new(&self.kept);
        let answer = interrupt.during(|cancel| {
            let Self { conversation, kept, options, interactive, file, .. } = self;
            conversation.answer(&kept.messages, options, cancel, &mut |update| match update {
                Update::Text(text, _) => {
                    draft.push(text, file.as_ref());
                    out.text(text, cancel);
                }
                Update::Reasoning(text, _) => out.reasoning(text),
                Update::Reading { phase, .. } if *interactive && told != Some(phase) => {
                    told = Some(phase);
                    tell(phase);
                }
                Update::Reading { .. } => {}
            })
        });
        let written = out.end();
        self.most_tokens = self.most_tokens.max(self.conversation.session().tokens().len());
        let answer = match answer {
            Err(error @ Error::ContextFull { .. }) => return self.take_back(error),
            Err(error) => {
                if draft.has_text() {
                    self.kept = draft.kept;
                    self.keep()?;
                }
                return Err(error.into());
            }
            Ok(answer) => answer,
        };
        let reasoning = answer.reasoning;
        self.kept
            .messages
            .push(Message { reasoning, ..Message::new(Role::Assistant, answer.text) });
        self.keep()?;
        written?;
        output::show_payload("\n")?;
        match answer.finish {
            Finish::Cancelled => output::note("[stopped]"),
            Finish::MaxTokens => output::note("[cut off at --max-tokens]"),
            Finish::ContextFull => output::note("[the context is full: /new begins again]"),
            Finish::EndOfTurn | Finish::StopText => {}
        }
        self.tell_notes(&answer.progress);
        if self.interactive {
            output::note(&figures(&answer.progress));
            self.tell_what_left();
        }
        // The same numbers for every answer would make the model repeat itself.
        self.options.sampling.seed = self.options.sampling.seed.wrapping_add(1);
        Ok(())
    }

    /// Takes back the question that the context has no room for.
    fn take_back(&mut self, error: Error) -> Result<()> {
        self.kept.messages.pop();
        self.keep()?;
        if !self.interactive {
            return Err(error.into());
        }
        output::note("The context is full: /new begins again, --overflow slide goes on.");
        Ok(())
    }

    /// Says how the prompt differs from the messages, where it did not at the last turn, and what of it
    /// was not read.
    fn tell_notes(&mut self, progress: &Progress) {
        let notes = self.conversation.notes();
        for note in notes.iter().filter(|note| !self.told_notes.contains(note)) {
            output::note(&format!("[{note}]"));
        }
        self.told_notes = notes.to_vec();
        if progress.unread_tokens > 0 && !self.interactive {
            let n = progress.unread_tokens;
            output::note(&format!("[{n} tokens do not fit the context and were not read]"));
        }
    }

    fn tell_what_left(&self) {
        let view = self.conversation.view();
        if view.context.left() > 0 {
            let (left, sinks) = (view.context.left(), view.context.sinks);
            output::note(&format!("[{left} tokens have left the window; the first {sinks} stay]"));
        }
    }

    /// Writes the messages down, if they are to be kept.
    fn keep(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write(&self.kept)
            .with_context(|| format!("cannot keep the conversation in {}", file.path().display()))
    }

    /// Saves what was read. Without it the conversation is read again next time, so that failing is
    /// worth no more than a note.
    fn save_session(&self) {
        let Some(file) = self.file.as_ref().filter(|_| self.kept.messages.len() > 1) else {
            return;
        };
        if let Err(error) = self.conversation.save(&file.session_path()) {
            output::note(&format!("lilims: the session was not saved: {error}"));
        }
    }
}

/// A conversation with what there is of the answer.
struct Draft {
    kept: Kept,
    /// When it was kept.
    at: Instant,
}

impl Draft {
    fn new(kept: &Kept) -> Self {
        let mut kept = kept.clone();
        kept.messages.push(Message::new(Role::Assistant, ""));
        Self { kept, at: Instant::now() }
    }

    /// Adds to the answer and keeps it now and then. What cannot be written now is tried again, and
    /// is an error at the end.
    fn push(&mut self, text: &str, file: Option<&ConversationFile>) {
        if let Some(answer) = self.kept.messages.last_mut() {
            answer.content.push_str(text);
        }
        if let Some(file) = file.filter(|_| self.at.elapsed() >= KEEP_EVERY) {
            let _ = file.write(&self.kept);
            self.at = Instant::now();
        }
    }

    fn has_text(&self) -> bool {
        self.kept.messages.last().is_some_and(|answer| !answer.content.is_empty())
    }
}

/// The conversation as it was saved, or an empty one, which reads all of it again.
fn reopen(
    model: &Arc<Model>,
    file: Option<&ConversationFile>,
    kept: &Kept,
) -> Result<Conversation, Error> {
    let path = file.map(ConversationFile::session_path);
    let Some(path) = path.filter(|path| path.exists() && !kept.messages.is_empty()) else {
        return Conversation::new(model);
    };
    Conversation::load(model, &path).or_else(|error| {
        output::note(&format!("[{error}; the conversation is read again]"));
        Conversation::new(model)
    })
}

fn tell(phase: Phase) {
    match phase {
        Phase::Prompt => {}
        Phase::Summary => output::note("[summarising what leaves the window]"),
        Phase::Reread => output::note("[reading the conversation again]"),
    }
}
