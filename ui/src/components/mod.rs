//! The components of the page. Each takes data and callbacks; none calls the shell.

mod composer;
mod context_meter;
mod context_panel;
mod conversation;
mod copy_menu;
mod first_model;
mod header;
mod icon;
mod library;
mod message;
mod model_picker;
mod notices;
mod panel;
mod prose;
mod reading;
mod reasoning;
mod settings;
mod suspended_load;
mod tooltip;
mod untrusted;
mod window_line;

pub(crate) use composer::Composer;
pub(crate) use context_meter::ContextMeter;
pub(crate) use context_panel::ContextPanel;
pub(crate) use conversation::Conversation;
pub(crate) use first_model::FirstModelOffer;
pub(crate) use header::{Header, LoadingBar};
pub(crate) use library::LibraryView;
pub(crate) use model_picker::ModelPicker;
pub(crate) use notices::{Empty, ErrorNotice, Outside};
pub(crate) use prose::{Code, Drawings, ProseLayer, ProseServices};
pub(crate) use settings::Settings;
pub(crate) use suspended_load::SuspendedLoadNotice;
