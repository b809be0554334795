//! Why a template does not parse or does not render.

use crate::limits::Bound;

/// Why a template does not parse or does not render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source is no template.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line, from 1.
        line: u32,
        /// What is wrong there.
        what: String,
    },
    /// The template did something that Python or jinja2 refuses.
    #[error("line {line}: {what}")]
    Runtime {
        /// The exception that jinja2 would raise.
        class: &'static str,
        /// The line, from 1; 0 where none is known.
        line: u32,
        /// What it did.
        what: String,
    },
    /// The template called `raise_exception`.
    #[error("{sentence}")]
    Raised {
        /// Its own sentence.
        sentence: String,
    },
    /// The template takes more than it may.
    #[error("{bound}")]
    Limit {
        /// The bound that it reached.
        bound: Bound,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    pub(crate) fn syntax(line: u32, what: impl Into<String>) -> Self {
        Self::Syntax { line, what: what.into() }
    }

    pub(crate) fn runtime(class: &'static str, what: impl Into<String>) -> Self {
        Self::Runtime { class, line: 0, what: shorten(what.into()) }
    }

    pub(crate) fn type_error(what: impl Into<String>) -> Self {
        Self::runtime("TypeError", what)
    }

    pub(crate) fn value_error(what: impl Into<String>) -> Self {
        Self::runtime("ValueError", what)
    }

    pub(crate) fn undefined(what: impl Into<String>) -> Self {
        Self::runtime("UndefinedError", what)
    }

    pub(crate) fn overflow(what: impl Into<String>) -> Self {
        Self::runtime("OverflowError", what)
    }

    /// Whether this ends the rendering whatever the template does.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Limit { .. } | Self::Cancelled)
    }

    /// The error with the line of the statement where it happened, unless it has one.
    pub(crate) fn at(self, statement_line: u32) -> Self {
        match self {
            Self::Runtime { class, line: 0, what } => {
                Self::Runtime { class, line: statement_line, what }
            }
            other => other,
        }
    }
}

/// Longest message, in bytes: it may quote what the template made.
const MAX_MESSAGE: usize = 400;

fn shorten(mut what: String) -> String {
    if what.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|end| what.is_char_boundary(*end));
        what.truncate(end.unwrap_or(0));
        what.push('…');
    }
    what
}
