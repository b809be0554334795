//! `lilims chat`: a conversation in the terminal.
//!
//! What the person types goes to the model line by line. Prompts and figures go to standard error,
//! so that standard output holds the answers alone.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use clap::Args;
use lilims_engine::{ChatTemplate, Error, Finish, GenerateOptions, Model, Session};
use serde_json::{Value, json};

use crate::generate::figures;
use crate::interrupt::Interrupt;
use crate::options::{AnswerOptions, ModelOptions};
use crate::output;

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
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_tokens: usize,
    #[command(flatten)]
    answer: AnswerOptions,
}

impl Chat {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        let interrupt = Interrupt::for_conversation()?;
        let model = self.model.load(threads, self.answer.context)?;
        let Some(template) = model.chat_template() else {
            bail!(
                "{} has no chat template, so it was not made for conversations: \
                 use `lilims generate`",
                output::printable(model.name())
            );
        };
        let interactive = io::stdin().is_terminal();
        if interactive {
            let name = output::printable(model.name());
            output::note(&format!("{name} on {}. /new begins again, /exit ends.", model.backend()));
        }
        let mut conversation = Conversation::new(&self, &model, template)?;
        while let Some(line) = read_line(interactive)? {
            interrupt.disarm();
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => break,
                "/new" => conversation = Conversation::new(&self, &model, template)?,
                text => conversation.ask(text, &interrupt, interactive)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The messages so far and the session that has read them.
struct Conversation<'a> {
    model: &'a Arc<Model>,
    template: &'a ChatTemplate,
    options: GenerateOptions,
    session: Session,
    messages: Vec<Value>,
}

impl<'a> Conversation<'a> {
    fn new(chat: &Chat, model: &'a Arc<Model>, template: &'a ChatTemplate) -> Result<Self> {
        let system = chat.system.iter().map(|text| json!({ "role": "system", "content": text }));
        Ok(Self {
            model,
            template,
            options: GenerateOptions {
                sampling: chat.answer.sampling(),
                max_tokens: chat.max_tokens,
                stop: chat.answer.stop.clone(),
                ignore_eos: false,
            },
            session: model.session()?,
            messages: system.collect(),
        })
    }

    /// Asks `text` and shows the answer. A conversation that no longer fits goes on without the
    /// question.
    fn ask(&mut self, text: &str, interrupt: &Interrupt, interactive: bool) -> Result<()> {
        self.messages.push(json!({ "role": "user", "content": text }));
        let prompt = self.template.render(&Value::Array(self.messages.clone()), true)?;
        let ids = self.model.tokenizer().encode_prompt(&prompt, true)?;
        let mut written = Ok(());
        let answer = interrupt.during(|cancel| {
            self.session.generate(&ids, &self.options, cancel, &mut |text, _| {
                if written.is_ok() {
                    written = output::show(text);
                    cancel.fetch_or(written.is_err(), Ordering::SeqCst);
                }
            })
        });
        written?;
        let answer = match answer {
            Err(Error::ContextFull { .. }) if interactive => {
                self.messages.pop();
                output::note("The conversation no longer fits the model: /new begins another.");
                return Ok(());
            }
            answer => answer?,
        };
        output::show("\n")?;
        match answer.finish {
            Finish::Cancelled => output::note("[stopped]"),
            Finish::MaxTokens => output::note("[cut off at --max-tokens]"),
            Finish::ContextFull => output::note("[the context is full: /new begins another]"),
            Finish::EndOfTurn | Finish::StopText => {}
        }
        if interactive {
            output::note(&figures(&answer.progress));
        }
        self.messages.push(json!({ "role": "assistant", "content": answer.text }));
        // The same numbers for every answer would make the model repeat itself.
        self.options.sampling.seed = self.options.sampling.seed.wrapping_add(1);
        Ok(())
    }
}

/// The next line, or `None` at the end of input.
fn read_line(interactive: bool) -> Result<Option<String>> {
    if interactive {
        let mut stderr = io::stderr();
        let _ = write!(stderr, "\n> ").and_then(|()| stderr.flush());
    }
    let mut line = String::new();
    let bytes = io::stdin().lock().read_line(&mut line).context("cannot read the question")?;
    Ok((bytes > 0).then_some(line))
}
