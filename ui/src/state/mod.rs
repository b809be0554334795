//! What the page knows, in signals: the conversation, the sampling options and the library.
//!
//! Nothing here draws or talks to the shell. Where the shell must be asked for something, a method
//! returns what to ask; the page passes it to the bridge. So all of it runs in tests on the host.

mod chat;
mod conversions;
mod library;
mod messages;
mod reading;
mod sampling;
mod shelf;

pub(crate) use chat::{Answer, AnswerState, Chat, Outgoing, Turn};
pub(crate) use conversions::{first_choice, offered_targets};
pub(crate) use library::{
    Action, Concern, ConvertView, Fetched, HubFile, LibraryState, Outcome, Tab,
};
pub(crate) use messages::{Part, Place};
pub(crate) use reading::Reading;
pub(crate) use sampling::{Field, restore, set};
pub(crate) use shelf::{held_name, here, is_moving, last_part, open_count, recent, under_way};
