//! `lilims tokenize`: texts to token ids.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lilims_core::tokens::tokenize;
use lilims_terminal::output;

use crate::options;

#[derive(Args)]
pub(crate) struct Tokenize {
    /// A GGUF file, of which one with only a vocabulary is enough, or a model that `lilims list` shows
    /// [default: the bundled model].
    #[arg(long, value_name = "FILE | NAME")]
    model: Option<PathBuf>,
    /// The text; nothing and no --file reads what is piped in.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "file")]
    text: Option<String>,
    /// The file that holds the text, in UTF-8.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Split the input here into several texts. `\n`, `\r`, `\t`, `\0` and `\\` are understood. A
    /// separator at the very end has no text after it.
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    separator: Option<String>,
    /// Take texts such as `<|im_end|>` for the control tokens that they name.
    #[arg(long)]
    special: bool,
}

impl Tokenize {
    pub(crate) fn run(self) -> Result<()> {
        let input = self.input()?;
        let model = options::model_path(self.model.as_deref())?;
        let texts = split(&input, self.separator.as_deref());
        let mut out = String::new();
        for ids in tokenize(&model, &texts, self.special)? {
            for (idx, id) in ids.iter().enumerate() {
                let blank = if idx == 0 { "" } else { " " };
                write!(out, "{blank}{id}")?;
            }
            out.push('\n');
        }
        Ok(output::show(&out)?)
    }

    fn input(&self) -> Result<String> {
        if let Some(text) = &self.text {
            return Ok(text.clone());
        }
        if let Some(path) = &self.file {
            return Ok(lilims_files::read_to_string(path, options::MAX_TEXT_BYTES)?);
        }
        options::refuse_terminal_input(
            "no text: give one with --text TEXT, --file FILE or through a pipe",
        );
        Ok(lilims_files::read_stdin_to_string(options::MAX_TEXT_BYTES)?)
    }
}

/// The texts of `input` between separators.
fn split<'a>(input: &'a str, separator: Option<&str>) -> Vec<&'a str> {
    let separator = separator.map(unescape).filter(|separator| !separator.is_empty());
    let Some(separator) = separator else { return vec![input] };
    let mut texts: Vec<_> = input.split(separator.as_str()).collect();
    if texts.len() > 1 && texts.last().is_some_and(|last| last.is_empty()) {
        texts.pop();
    }
    texts
}

/// `text` with escapes replaced by what they stand for; an unknown escape stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('0') => out.push('\0'),
            Some('\\') => out.push('\\'),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_their_characters() {
        assert_eq!(unescape(r"\n__t__\n"), "\n__t__\n");
        assert_eq!(unescape(r"a\\n\t\q\"), "a\\n\t\\q\\");
    }

    #[test]
    fn a_separator_at_the_end_opens_no_text() {
        assert_eq!(split("a\n--\n\n--\nb\n--\n", Some(r"\n--\n")), ["a", "", "b"]);
        assert_eq!(split("a--", None), ["a--"]);
        assert_eq!(split("a", Some("")), ["a"]);
        assert_eq!(split("", Some("--")), [""]);
    }
}
