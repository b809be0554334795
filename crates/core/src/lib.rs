//! The application without a face: the loaded model, the conversation, the library and conversions.
//!
//! The shell and the command line are its doors. [`App`] serves one that stays open: commands in,
//! events out. Programs that do one thing and end use [`library::LibraryHandle`],
//! [`library::BlockingHub`], [`LocalModel`], [`LocalChat`] and the modules. Nothing here knows a window,
//! a terminal or HTTP serving, and nothing here is a sentence for people: errors and facts leave typed,
//! and the doors have the sentences.

mod answer_stream;
mod app;
mod built_in_assistants;
mod chat;
mod conversations;
pub mod conversions;
mod database;
mod destination;
pub mod documents;
mod error;
mod exchange;
mod formula;
mod highlight;
pub mod inspect;
mod journal;
pub mod library;
mod local_chat;
mod local_model;
mod logits;
#[cfg(not(target_os = "ios"))]
pub mod measure;
mod model_host;
mod notifier;
#[cfg(test)]
mod parrot;
pub mod privacy;
mod problem;
mod settings;
#[cfg_attr(not(feature = "telemetry"), path = "telemetry_absent.rs")]
mod telemetry;
mod title;
mod token_count;
pub mod tokens;

pub use answer_stream::{AnswerStream, Ending};
pub use app::App;
pub use chat::{Chat, load_options};
pub use conversations::Question;
pub use destination::check_destination;
pub use error::{Error, FileFault, MessageFault};
pub use exchange::{
    ConversationArchive, FoundMessage, ListedConversation, ShownConversation, ShownMessage,
};
pub use lilims_engine::conversation::{Phase, Update};
pub use lilims_engine::prompt::Note;
pub use lilims_engine::sampler::random_seed;
pub use lilims_engine::{
    BackendKind, Finish, GenerateOptions, KvType, LoadOptions, Overflow, Progress, Sampling,
    max_threads,
};
pub use local_chat::{LocalChat, Turn};
pub use local_model::{AnswerOptions, LocalModel, OneAnswer, PromptRequest};
pub use model_host::{ChatBackend, Idle, Loaded, ModelHost, Target};
pub use token_count::CountTokens;
