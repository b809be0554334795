//! The page of Lilims: a conversation with a model that runs on this device.
//!
//! [`components`] take data and callbacks; [`app`], [`conversations_page`], [`library_page`] and
//! [`desktop_page`] connect them with the [`state`] and with the shell, which only [`bridge`] can call. Every text is in [`text`].

#![expect(unreachable_pub, reason = "the component macro makes every component public")]

mod app;
mod attachments_page;
mod bridge;
mod commands_page;
mod components;
mod conversations_page;
mod desktop_page;
mod format;
mod library_page;
mod markdown;
mod outbox;
mod privacy_page;
mod prose_page;
mod settings_page;
mod state;
mod text;

use text::text;

fn main() {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        bridge::panicked(
            panic.location(),
            [text!(panic.title), text!(panic.text), text!(panic.reload)],
        );
    }));
    wasm_bindgen_futures::spawn_local(async {
        settings_page::apply_language(&bridge::stored("language").unwrap_or_default()).await;
        leptos::mount::mount_to_body(app::App);
    });
}
