//! The parts of the page. Each takes data and callbacks; none asks the shell for anything.

mod composer;
mod context_meter;
mod context_panel;
mod conversation;
mod header;
mod held;
mod icon;
mod library;
mod message;
mod model_picker;
mod notices;
mod panel;
mod prose_clicks;
mod reading;
mod settings;
mod tooltip;
mod window_line;

pub(crate) use composer::Composer;
pub(crate) use context_meter::ContextMeter;
pub(crate) use context_panel::ContextPanel;
pub(crate) use conversation::Conversation;
pub(crate) use header::{Header, LoadingBar};
pub(crate) use held::HeldNotice;
pub(crate) use library::LibraryView;
pub(crate) use model_picker::ModelPicker;
pub(crate) use notices::{Empty, ErrorNotice, Outside};
pub(crate) use settings::Settings;
