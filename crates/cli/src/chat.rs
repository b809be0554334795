//! `lilims chat`: a conversation in the terminal.
//!
//! The person's lines go to the model one by one. Prompts and figures go to standard error, so that
//! standard output holds the answers alone.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lilims_core::{Finish, LocalChat, LocalModel, Phase, Turn, Update};
use lilims_terminal::{AnswerOutput, Questions, interrupt, output};

use crate::figures::figures;
use crate::options::{self, AnswerFlags, ModelOptions};

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
    answer: AnswerFlags,
}

impl Chat {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        let options = self.answer.to_options(self.max_tokens)?;
        let model = self.answer.load(&self.model, threads)?;
        let (mut chat, error) = LocalChat::open(&model, options, self.system, self.session)?;
        let is_interactive = io::stdin().is_terminal();
        if is_interactive {
            print_greeting(&model);
        }
        if let Some(error) = error {
            output::note(&format!("[{error}; the conversation is read again]"));
        }
        let questions = Questions::new()?;
        loop {
            if is_interactive {
                output::ask("\n> ");
            }
            let Some(line) = questions.next()? else { break };
            interrupt::disarm();
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => break,
                "/new" => chat.reset()?,
                text => ask(&mut chat, text, is_interactive)?,
            }
        }
        // Without the session the conversation is read again next time.
        if let Err(error) = chat.close() {
            output::note(&format!("lilims: the session was not saved: {error}"));
        }
        Ok(())
    }
}

fn print_greeting(model: &LocalModel) {
    let megabytes = model.cache_bytes() as f64 / 1e6;
    output::note(&format!(
        "{} on {}, up to {megabytes:.0} MB for {} tokens of context. /new begins again, /exit ends.",
        model.name(),
        model.backend(),
        model.context()
    ));
}

/// Asks `text` and prints the answer. A conversation that no longer fits continues without the question.
fn ask(chat: &mut LocalChat<'_>, text: &str, is_interactive: bool) -> Result<()> {
    let (mut out, mut shown) = (AnswerOutput::new(true), None);
    let turn = interrupt::during(|cancel| {
        chat.ask(text, cancel, &mut |update| match update {
            Update::Text(text, _) => out.text(text, cancel),
            Update::Reasoning(text, _) => out.reasoning(text),
            Update::Reading { phase, .. } if is_interactive && shown != Some(phase) => {
                shown = Some(phase);
                print_phase(phase);
            }
            Update::Reading { .. } => {}
        })
    });
    let written = out.end();
    let turn = match turn {
        Err(error) if is_interactive && error.is_context_full() => {
            output::note("The context is full: /new begins again, --overflow slide goes on.");
            return Ok(());
        }
        turn => turn?,
    };
    written?;
    output::show_payload("\n")?;
    print_notes(&turn, is_interactive);
    Ok(())
}

fn print_phase(phase: Phase) {
    match phase {
        Phase::Prompt => {}
        Phase::Summary => output::note("[summarising what leaves the window]"),
        Phase::Reread => output::note("[reading the conversation again]"),
    }
}

fn print_notes(turn: &Turn, is_interactive: bool) {
    let progress = &turn.answer.progress;
    match turn.answer.finish {
        Finish::Cancelled => output::note("[stopped]"),
        Finish::MaxTokens => output::note("[cut off at --max-tokens]"),
        Finish::ContextFull => output::note("[the context is full: /new begins again]"),
        Finish::EndOfTurn | Finish::StopText => {}
    }
    turn.new_notes.iter().for_each(|note| output::note(&format!("[{note}]")));
    if !is_interactive {
        if progress.unread_tokens > 0 {
            let n = progress.unread_tokens;
            output::note(&format!("[{n} tokens do not fit the context and were not read]"));
        }
        return;
    }
    output::note(&figures(progress));
    if turn.left_tokens > 0 {
        let Turn { left_tokens: left, sinks, .. } = turn;
        output::note(&format!("[{left} tokens have left the window; the first {sinks} stay]"));
    }
}
