//! The terminal, for programs that run in one: text that cannot steer it, signals that end a program,
//! questions line by line, sizes and times as people write them.
//!
//! Nothing here knows what the program does.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod answer;
pub mod interrupt;
pub mod output;
mod progress;
mod questions;
pub mod words;

pub use answer::AnswerOutput;
pub use output::Line;
pub use progress::Progress;
pub use questions::Questions;
