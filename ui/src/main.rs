//! The page of Lilims: a conversation with a model that runs on this device.
//!
//! [`components`] take data and callbacks; [`app`], [`conversations_page`] and [`library_page`] connect them with the
//! [`state`] and with the shell, which only [`bridge`] can call. Every text is in [`text`].

#![expect(unreachable_pub, reason = "the component macro makes every component public")]

mod app;
mod attachments_page;
mod bridge;
mod components;
mod conversations_page;
mod format;
mod library_page;
mod markdown;
mod outbox;
mod prose_page;
mod state;
mod text;

fn main() {
    console_error_panic_hook::set_once();
    bridge::set_language(text::choose_language(&bridge::preferred_languages()));
    leptos::mount::mount_to_body(app::App);
}
