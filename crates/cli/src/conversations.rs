//! `lilims conversations`: lists, searches, shows, exports and imports the conversations of this user.
//!
//! Those of `lilims chat --session FILE` are in files of their own and not among them.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use lilims_core::{ConversationArchive, FoundMessage, ListedConversation, ShownConversation};
use lilims_ipc::{ExportFormat, ImportReport, SkippedItem};
use lilims_terminal::{interrupt, output, words};

use crate::messages;

/// The most messages that `search` prints where `--limit` says nothing else.
const DEFAULT_HITS: u32 = 20;
/// Lines of what an import left out; `--json` has all.
const MAX_SKIPPED_LINES: usize = 20;

#[derive(Subcommand)]
pub(crate) enum Conversations {
    /// List the conversations, the newest first.
    List(List),
    /// Find messages that have all of these words.
    Search(Search),
    /// Print a conversation: the branch that is shown.
    Show(Show),
    /// Write conversations to a file: all of them, or one.
    Export(Export),
    /// Take over conversations from exports of Lilims, ChatGPT, Claude, Open WebUI, llama.cpp and LM
    /// Studio, or from messages as OpenAI's API takes them.
    Import(Import),
}

#[derive(Args)]
pub(crate) struct List {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Search {
    /// The words; the last one may be the beginning of a word.
    #[arg(value_name = "TEXT", required = true, num_args = 1..)]
    text: Vec<String>,
    /// Print at most this many messages.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_HITS)]
    limit: u32,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The conversation, as `list` prints it.
    #[arg(value_name = "ID")]
    id: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Export {
    /// The conversation, as `list` prints it [default: all].
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// The file to write. It appears only when it is complete, and replaces one of this name.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Args)]
pub(crate) struct Import {
    /// The files: JSON, lines of JSON, or the ZIP archive of an export.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A format to export.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// Everything, with all branches; `import` reads it.
    #[default]
    Json,
    /// The branch that is shown, as Markdown.
    Markdown,
    /// The branch that is shown, as plain text.
    Text,
}

impl Conversations {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::List(command) => command.run(),
            Self::Search(command) => command.run(),
            Self::Show(command) => command.run(),
            Self::Export(command) => command.run(),
            Self::Import(command) => command.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<()> {
        let listed = ConversationArchive::open()?.list()?;
        if self.json {
            output::show_json(&listed)?;
        } else if listed.is_empty() {
            output::note("There are no conversations yet.");
        } else {
            let head = ["ID", "TITLE", "FOLDER", "LAST USED", ""].map(str::to_owned);
            let rows = std::iter::once(head).chain(listed.into_iter().map(cells));
            output::show(&output::table(rows))?;
        }
        Ok(())
    }
}

fn cells(listed: ListedConversation) -> [String; 5] {
    let notes = [(listed.is_pinned, "pinned"), (listed.is_archived, "archived")];
    let notes = notes.into_iter().filter_map(|(is_so, note)| is_so.then_some(note));
    [
        listed.id,
        title(listed.title.as_deref()).to_owned(),
        listed.folder.unwrap_or_default(),
        words::when(listed.updated_ms),
        notes.collect::<Vec<_>>().join(", "),
    ]
}

fn title(title: Option<&str>) -> &str {
    title.filter(|title| !title.trim().is_empty()).unwrap_or("(no title)")
}

impl Search {
    fn run(self) -> Result<()> {
        let found = ConversationArchive::open()?.search(&self.text.join(" "), self.limit)?;
        if self.json {
            output::show_json(&found)?;
        } else if found.is_empty() {
            output::note("No message has these words.");
        } else {
            let lines: String = found.iter().map(hit).collect();
            output::show(&lines)?;
        }
        Ok(())
    }
}

fn hit(found: &FoundMessage) -> String {
    let FoundMessage { conversation, title: name, created_ms, excerpt, .. } = found;
    let (name, excerpt) = (output::field(title(name.as_deref())), output::field(excerpt));
    format!("{conversation}  {name}, {}\n    {excerpt}\n", words::when(*created_ms))
}

impl Show {
    fn run(self) -> Result<()> {
        let shown = ConversationArchive::open()?.show(&self.id)?;
        output::show_result(self.json, &shown, || text(&shown))
    }
}

fn text(shown: &ShownConversation) -> String {
    let name = output::field(title(shown.conversation.title.as_deref()));
    let mut text = format!("{name}\n");
    for message in &shown.messages {
        let who = match message.role {
            "user" => "You",
            "assistant" => "Model",
            "system" => "Instructions",
            _ => "Tool",
        };
        let when = words::when(message.created_ms);
        // Writing to a string does not fail.
        let _ = match &message.model {
            Some(model) => writeln!(text, "\n{who} ({}), {when}:", output::field(model)),
            None => writeln!(text, "\n{who}, {when}:"),
        };
        for name in &message.attachments {
            let _ = writeln!(text, "[{}]", output::field(name));
        }
        if let Some(reasoning) = &message.reasoning {
            for line in reasoning.trim_end().lines() {
                let _ = writeln!(text, "> {line}");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "{}", message.content.trim_end());
    }
    text
}

impl Export {
    fn run(self) -> Result<()> {
        let format = match self.format {
            Format::Json => ExportFormat::Json,
            Format::Markdown => ExportFormat::Markdown,
            Format::Text => ExportFormat::Text,
        };
        let archive = ConversationArchive::open()?;
        let n_conversations = archive.export(self.id.as_deref(), None, format, &self.out)?;
        let (conversations, out) = (conversations(n_conversations), self.out.display());
        output::note(&format!("Wrote {conversations} to {out}."));
        Ok(())
    }
}

impl Import {
    fn run(self) -> Result<()> {
        let archive = ConversationArchive::open()?;
        let (mut report, mut failure) = (ImportReport::default(), None);
        for file in &self.files {
            match interrupt::during(|cancel| archive.import(file, cancel)) {
                Ok(taken) => report.add(taken),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        // What was taken of the files before stays, so it is reported also where one failed.
        if failure.is_none() || report != ImportReport::default() {
            output::show_result(self.json, &report, || imported(&report))?;
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn conversations(n: u64) -> String {
    if n == 1 { "1 conversation".to_owned() } else { format!("{n} conversations") }
}

fn imported(report: &ImportReport) -> String {
    let messages = match report.messages {
        1 => "1 message".to_owned(),
        n => format!("{n} messages"),
    };
    let mut text = format!("Imported {} with {messages}.\n", conversations(report.conversations));
    let n_hidden = report.skipped.len().saturating_sub(MAX_SKIPPED_LINES);
    let rows =
        report.skipped.iter().take(MAX_SKIPPED_LINES).map(|item| ("not taken", skipped(item)));
    text += &output::fields(rows);
    if n_hidden > 0 {
        let _ = writeln!(text, "{n_hidden} more lines: `--json` has all.");
    }
    text
}

fn skipped(item: &SkippedItem) -> String {
    let what = messages::skipped(item.reason, item.count);
    let file = output::field(&item.file);
    match &item.conversation {
        Some(title) => format!("{what} in “{}” ({file})", output::field(title)),
        None => format!("{what} ({file})"),
    }
}
