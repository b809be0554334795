//! What the page knows, in signals: the conversation and the sampling options.
//!
//! Nothing here draws or talks to the shell. Where the shell must be asked for something, a method
//! returns what to ask; the page passes it to the bridge. So all of it runs in tests on the host.

mod chat;
mod messages;
mod reading;
mod sampling;

pub(crate) use chat::{Answer, AnswerState, Chat, Outgoing, Turn};
pub(crate) use messages::{Part, Place};
pub(crate) use reading::Reading;
pub(crate) use sampling::{Field, restore, set};
