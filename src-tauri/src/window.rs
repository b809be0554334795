//! The one window. It shows the app's own page and refuses to go anywhere else.

use tauri::webview::{NewWindowResponse, WebviewWindowBuilder};
use tauri::{App, Url};

/// Opens the window that `tauri.conf.json` describes.
pub(crate) fn open(app: &App) -> tauri::Result<()> {
    let config = app.config();
    let description = config.app.windows.first().ok_or(tauri::Error::WindowNotFound)?;
    let dev_url = config.build.dev_url.clone().filter(|_| tauri::is_dev());
    let builder = WebviewWindowBuilder::from_config(app, description)?
        .on_navigation(move |url| is_own_page(url, dev_url.as_ref()))
        .on_new_window(|_, _| NewWindowResponse::Deny);
    #[cfg(target_os = "linux")]
    stop_caret_blinking();
    with_data_directory(builder).build()?;
    Ok(())
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

type Builder<'a> = WebviewWindowBuilder<'a, tauri::Wry, App>;

/// Keeps what the page stores under `LILIMS_HOME` where that is set, as all other data. Elsewhere
/// the system's own place is right. Apple's web view cannot be told.
fn with_data_directory(builder: Builder<'_>) -> Builder<'_> {
    match std::env::var_os("LILIMS_HOME").filter(|home| !home.is_empty()) {
        Some(home) => builder.data_directory(std::path::Path::new(&home).join("webview")),
        None => builder,
    }
}

/// Whether `url` is the app's own page: `tauri://localhost`, on Windows and Android
/// `http(s)://tauri.localhost`, in development the server at `dev_url`.
fn is_own_page(url: &Url, dev_url: Option<&Url>) -> bool {
    match url.scheme() {
        "tauri" => url.host_str() == Some("localhost"),
        "http" | "https" => {
            url.host_str() == Some("tauri.localhost")
                || dev_url.is_some_and(|dev_url| dev_url.origin() == url.origin())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_page_may_be_shown() {
        let dev_url = Url::parse("http://localhost:1420").unwrap();
        let is_own = |url: &str, dev: Option<&Url>| is_own_page(&Url::parse(url).unwrap(), dev);
        assert!(is_own("tauri://localhost/index.html", None));
        assert!(is_own("http://tauri.localhost/", None));
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
