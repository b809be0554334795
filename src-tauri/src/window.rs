//! The windows. They show the app's own page and refuse to go anywhere else.

use tauri::webview::{NewWindowResponse, WebviewWindowBuilder};
use tauri::{App, Config, Manager, Url, Wry};

#[cfg(desktop)]
use crate::words;

/// The longest title of a window, in characters.
#[cfg(desktop)]
const MAX_TITLE_CHARS: usize = 120;

/// Whether the page comes from the host `tauri.localhost` here.
const OWN_HOST: bool = cfg!(any(windows, target_os = "android"));

/// Opens the main window, which `tauri.conf.json` describes.
pub(crate) fn open(app: &App) -> tauri::Result<()> {
    let config = app.config();
    let description = config.app.windows.first().ok_or(tauri::Error::WindowNotFound)?;
    let builder = confined(WebviewWindowBuilder::from_config(app, description)?, config);
    #[cfg(target_os = "linux")]
    stop_caret_blinking();
    #[cfg(desktop)]
    {
        let builder = builder.visible(false).on_document_title_changed(|window, title| {
            // The title only helps to find the window.
            let _ = window.set_title(&title_of(&title, MAX_TITLE_CHARS));
        });
        let window = builder.build()?;
        crate::desktop::place(app.handle(), &window);
        window.show()
    }
    #[cfg(mobile)]
    builder.build().map(drop)
}

/// Keeps a window on the app's own page, and what the page stores in its folder.
pub(crate) fn confined<'a, M: Manager<Wry>>(
    builder: WebviewWindowBuilder<'a, Wry, M>,
    config: &Config,
) -> WebviewWindowBuilder<'a, Wry, M> {
    let dev_url = config.build.dev_url.clone().filter(|_| tauri::is_dev());
    let builder = builder
        .on_navigation(move |url| is_own_page(url, dev_url.as_ref()))
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_download(|_, _| false);
    with_data_directory(builder)
}

/// A title for the system, of a conversation or of the page: one line of bounded length, without
/// characters that reorder others.
#[cfg(desktop)]
pub(crate) fn title_of(text: &str, max_chars: usize) -> String {
    let is_shown = |c: &char| {
        !matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
            && !matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    let spaced = text.chars().filter(is_shown).map(|c| if c.is_control() { ' ' } else { c });
    let title: String = spaced.take(max_chars).collect();
    let title = title.trim();
    if title.is_empty() { words::APP.to_owned() } else { title.to_owned() }
}

/// Makes carets steady: each blink would wake the processes of WebKitGTK for 20 more frames.
///
/// With `gtk-cursor-blink` off, WebKitGTK 2.50 draws 60 frames a second, so blinking stays on with
/// the longest interval.
#[cfg(target_os = "linux")]
fn stop_caret_blinking() {
    use gtk::prelude::GtkSettingsExt;

    if let Some(settings) = gtk::Settings::default() {
        settings.set_gtk_cursor_blink(true);
        settings.set_gtk_cursor_blink_time(i32::MAX);
    }
}

/// Keeps what the page stores under `LILIMS_HOME` where that is set, as all other data. Elsewhere
/// the system's own place is right. Apple's web view cannot be told.
fn with_data_directory<M: Manager<Wry>>(
    builder: WebviewWindowBuilder<'_, Wry, M>,
) -> WebviewWindowBuilder<'_, Wry, M> {
    match std::env::var_os("LILIMS_HOME").filter(|home| !home.is_empty()) {
        Some(home) => builder.data_directory(std::path::Path::new(&home).join("webview")),
        None => builder,
    }
}

/// Whether `url` is the app's own page: `tauri://localhost`, on Windows and Android
/// `http(s)://tauri.localhost`, in development the server at `dev_url`. Elsewhere, a program on this
/// machine could answer for that host.
fn is_own_page(url: &Url, dev_url: Option<&Url>) -> bool {
    match url.scheme() {
        "tauri" => url.host_str() == Some("localhost"),
        "http" | "https" => {
            (OWN_HOST && url.host_str() == Some("tauri.localhost") && url.port().is_none())
                || dev_url.is_some_and(|dev_url| dev_url.origin() == url.origin())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(desktop)]
    #[test]
    fn titles_are_one_short_line() {
        assert_eq!(title_of("Why?\u{202e}\n<b>x", 99), "Why? <b>x");
        assert_eq!(title_of(" \u{200b}\n", 99), "Lilims");
        assert_eq!(title_of(&"é".repeat(300), 80).chars().count(), 80);
    }

    #[test]
    fn only_the_own_page_may_be_shown() {
        let dev_url = Url::parse("http://localhost:1420").unwrap();
        let is_own = |url: &str, dev: Option<&Url>| is_own_page(&Url::parse(url).unwrap(), dev);
        assert!(is_own("tauri://localhost/index.html", None));
        assert_eq!(is_own("http://tauri.localhost/", None), OWN_HOST);
        assert!(!is_own("http://tauri.localhost:8080/", None));
        assert!(is_own("http://localhost:1420/chat", Some(&dev_url)));
        for url in [
            "http://localhost:1420/",
            "https://example.org/",
            "https://tauri.localhost.example.org/",
            "tauri://example.org/",
            "file:///etc/passwd",
            "data:text/html,hello",
            "javascript:alert(1)",
        ] {
            assert!(!is_own(url, None), "{url}");
        }
        assert!(!is_own("http://localhost:1421/", Some(&dev_url)));
    }
}
