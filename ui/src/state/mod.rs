//! The state of the page in signals: the conversation, the settings and the library.
//!
//! Nothing here draws or calls the shell. Where a command is needed, a method returns the request and
//! the page passes it to the bridge, so that everything here runs in native tests.

mod actions;
mod answer;
pub(crate) mod appearance;
mod attachments;
mod chat;
mod conversions;
mod drawn;
mod first_model;
mod graphemes;
mod library;
mod library_queries;
mod messages;
pub(crate) mod palette;
mod reading;
mod sentences;
pub(crate) mod settings;
mod sidebar;
mod think;
mod undo;

pub(crate) use actions::{Action, Concern, HubFile};
pub(crate) use answer::{Answer, AnswerState, Growing};
pub(crate) use attachments::{DraftAttachments, is_long_paste, split_dropped};
pub(crate) use chat::{Chat, Outgoing};
pub(crate) use conversions::{first_choice, offered_targets};
pub(crate) use drawn::Drawn;
pub(crate) use first_model::{FirstStep, first_model, next_step};
pub(crate) use library::{ConvertView, Fetched, LibraryState, Tab};
pub(crate) use library_queries::{
    count_open, file_name, is_active, local_model, open_download, pickable_models, suspended_model,
};
pub(crate) use messages::{Body, Entry};
pub(crate) use reading::Reading;
pub(crate) use sidebar::{Row, Sidebar};
pub(crate) use undo::{Deleted, Undo};
