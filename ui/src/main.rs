//! The page of Lilims: a conversation with a model that runs on this device.
//!
//! [`components`] draw from data and call back; [`app`] and [`library_page`] join them with the
//! [`state`] and with the shell, which [`bridge`] alone can reach.

#![expect(unreachable_pub, reason = "the component macro makes every component public")]

mod app;
mod bridge;
mod components;
mod format;
mod library_page;
mod markdown;
mod state;

fn main() {
    console_error_panic_hook::set_once();
    leptos::mount::mount_to_body(app::App);
}
