//! What tests across crates share: the real window, driven as a user would.

#[cfg(target_os = "linux")]
pub mod app_window;
#[cfg(target_os = "linux")]
pub mod process_group;
#[cfg(target_os = "linux")]
pub mod webdriver;
