//! The application without a face: the loaded model, the conversation, the library and conversions.
//!
//! The shell, the command line and the server are its doors. Nothing here knows a window, a terminal
//! or HTTP serving, and nothing here is a sentence for people: errors and facts leave as the codes of
//! `lilims-ipc`, and the doors have the sentences.

mod answer_stream;
mod app;
mod chat;
mod conversations;
pub mod conversions;
mod database;
mod journal;
pub mod library;
mod model_host;
mod notifier;
#[cfg(test)]
mod parrot;
pub mod problem;

pub use answer_stream::{AnswerStream, Ending};
pub use app::App;
pub use chat::{Chat, load_options};
pub use conversations::Question;
pub use model_host::{ChatBackend, Idle, Loaded, ModelHost, Target};
