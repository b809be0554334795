//! The errors of parsing and rendering. Messages follow those of jinja2 and Python.

use std::fmt;

/// Why a template does not parse or does not render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The source is not a valid template.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line, from 1.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// An operation for which Python or jinja2 raises an exception.
    #[error("line {line}: {what}")]
    Runtime {
        /// The class of that exception.
        class: &'static str,
        /// The line, from 1; 0 if unknown.
        line: u32,
        /// The exception's message.
        what: String,
    },
    /// The template called `raise_exception`.
    #[error("{message}")]
    Raised {
        /// Its argument.
        message: String,
    },
    /// The template exceeded a limit.
    #[error("{limit}")]
    LimitExceeded {
        /// The limit.
        limit: Limit,
    },
    /// The caller cancelled the rendering.
    #[error("cancelled")]
    Cancelled,
}

/// A limit that a template exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The source is longer than [`MAX_SOURCE_BYTES`](crate::MAX_SOURCE_BYTES).
    Source,
    /// Brackets, blocks, values or calls are nested too deeply.
    Nesting,
    /// The rendering takes too many steps.
    Steps,
    /// The rendering takes too much time.
    Time,
    /// The live values take too much memory, or one value is too large.
    Memory,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the template is too long",
            Self::Nesting => "the template is nested too deeply",
            Self::Steps | Self::Time => "the template runs too long",
            Self::Memory => "the template uses too much memory",
        })
    }
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

    /// Whether the template cannot recover from this error.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::LimitExceeded { .. } | Self::Cancelled)
    }

    /// Adds the line of the statement, unless the error already has a line.
    pub(crate) fn at(self, statement_line: u32) -> Self {
        match self {
            Self::Runtime { class, line: 0, what } => {
                Self::Runtime { class, line: statement_line, what }
            }
            other => other,
        }
    }
}

/// Maximum length of a message in bytes: it may quote values of the template.
const MAX_MESSAGE: usize = 400;

fn shorten(mut what: String) -> String {
    if what.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|end| what.is_char_boundary(*end));
        what.truncate(end.unwrap_or(0));
        what.push('…');
    }
    what
}
