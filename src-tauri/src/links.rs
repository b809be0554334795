//! Opens links of answers in the system's browser or mail program.
//!
//! An address comes from a model, so it is checked again here, whatever the page has let through.

use std::process::{Command, Stdio};

use lilims_ipc::Error;
use tauri::Url;

/// The program that opens addresses instead of the system's; tests set it.
const BROWSER_VARIABLE: &str = "LILIMS_BROWSER";
/// The longest address that is opened; some browsers reject longer ones.
const MAX_ADDRESS_BYTES: usize = 8_192;

/// Opens the address and returns without waiting for the program. Blocks for the time that starting a
/// program takes.
///
/// # Errors
/// If it is no http, https or mailto address, or no program can be started.
pub(crate) fn open(address: &str) -> Result<(), Error> {
    let url =
        allowed(address).ok_or_else(|| Error::internal("not an address of the web or of mail"))?;
    match std::env::var_os(BROWSER_VARIABLE).filter(|program| !program.is_empty()) {
        Some(program) => {
            let mut command = Command::new(program);
            command.arg(url.as_str()).stdin(Stdio::null()).stdout(Stdio::null());
            command.spawn().map(drop)
        }
        None => open::that_detached(url.as_str()),
    }
    .map_err(|error| Error::internal(error.to_string()))
}

/// The address in its normal form, which is ASCII; `None` if it may not be opened.
fn allowed(address: &str) -> Option<Url> {
    if address.len() > MAX_ADDRESS_BYTES || address.chars().any(char::is_control) {
        return None;
    }
    let url = Url::parse(address).ok()?;
    let is_allowed = match url.scheme() {
        "http" | "https" => url.has_host(),
        "mailto" => !url.path().is_empty(),
        _ => false,
    };
    is_allowed.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_and_of_mail_are_opened() {
        for address in
            ["https://a.example/b?c#d", "HTTP://a.example", "mailto:me@a.example?subject=b"]
        {
            assert!(allowed(address).is_some(), "{address}");
        }
        for address in [
            "",
            "a.example",
            "/etc/passwd",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "smb://a.example/b",
            "ms-settings:",
            "tauri://localhost",
            "mailto:",
            "https://",
            "https://a.example/\u{0}",
            "--help",
        ] {
            assert_eq!(allowed(address), None, "{address}");
        }
        assert_eq!(allowed(&format!("https://a.example/{}", "b".repeat(MAX_ADDRESS_BYTES))), None);
        let encoded = allowed("https://b\u{430}nk.example/\u{202e}x").unwrap();
        assert!(encoded.as_str().is_ascii(), "{encoded}");
    }
}
