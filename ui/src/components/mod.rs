//! The parts of the page. Each takes data and callbacks; none asks the shell for anything.

mod composer;
mod conversation;
mod header;
mod icon;
mod message;
mod notices;
mod settings;

pub(crate) use composer::Composer;
pub(crate) use conversation::Conversation;
pub(crate) use header::{Header, LoadingBar};
pub(crate) use notices::{Empty, ErrorNotice, Outside};
pub(crate) use settings::Settings;
