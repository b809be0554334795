//! A small blocking WebDriver client: the commands that the tests need, over plain HTTP on this
//! machine.
//!
//! Specification: <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

/// The JSON key of element references.
const ELEMENT_KEY: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The timeout of a command, reached only if the window hangs.
const REPLY_LIMIT: Duration = Duration::from_secs(60);
/// Draws a pixel without colour for half a second: without a graphics card, a screenshot waits for the next
/// drawing, and a still page has none.
const KEEP_DRAWING: &str = "const pixel = document.createElement('i');
    pixel.style.cssText = 'position: fixed; right: 0; bottom: 0; width: 1px; height: 1px';
    document.documentElement.append(pixel);
    let n = 0;
    const timer = setInterval(() => {
        pixel.style.background = `rgb(0 0 0 / ${n++ % 2 / 1000})`;
        if (n > 50) { clearInterval(timer); pixel.remove(); }
    }, 10);";

/// The Backspace key, as the protocol encodes it.
pub const BACKSPACE: &str = "\u{E003}";
/// The End key.
pub const END: &str = "\u{E010}";
/// The Enter key.
pub const ENTER: &str = "\u{E007}";
/// The Escape key.
pub const ESCAPE: &str = "\u{E00C}";
/// The Home key.
pub const HOME: &str = "\u{E011}";

/// A WebDriver session with an open app.
#[derive(Debug)]
pub struct Session {
    port: u16,
    id: String,
}

/// An element of the page. It becomes stale when the page replaces it.
#[derive(Debug)]
pub struct Element(String);

impl Session {
    /// Opens `application` with `arguments` and the driver at `port`.
    ///
    /// # Errors
    /// If the app does not open.
    pub fn open(port: u16, application: &str, arguments: &[&str]) -> Result<Self> {
        let app = json!({ "application": application, "args": arguments });
        let options = json!({ "tauri:options": app });
        let body = json!({ "capabilities": { "alwaysMatch": options } });
        let value = request(port, "POST", "/session", Some(&body)).context("opening the app")?;
        let id = value["sessionId"].as_str().context("the driver returned no session")?;
        Ok(Self { port, id: id.to_owned() })
    }

    /// The first element that matches the CSS `selector`.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self, selector: &str) -> Result<Element> {
        let body = json!({ "using": "css selector", "value": selector });
        let value = self.post("element", &body).with_context(|| format!("finding {selector}"))?;
        let id = value[ELEMENT_KEY].as_str().context("the driver returned no element")?;
        Ok(Element(id.to_owned()))
    }

    /// Clicks the middle of `element`.
    ///
    /// # Errors
    /// If it is gone, hidden or covered.
    pub fn click(&self, element: &Element) -> Result<()> {
        self.post(&format!("element/{}/click", element.0), &json!({})).map(drop)
    }

    /// Focuses `element` and types `text`.
    ///
    /// # Errors
    /// If it is gone or does not accept keys.
    pub fn send_keys(&self, element: &Element, text: &str) -> Result<()> {
        self.post(&format!("element/{}/value", element.0), &json!({ "text": text })).map(drop)
    }

    /// Runs the function body `script` in the page and returns what it returns.
    ///
    /// # Errors
    /// If it throws.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Result<Value> {
        self.post("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// Sets the size of the window.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.post("window/rect", &json!({ "width": width, "height": height })).map(drop)
    }

    /// The visible part of the page as a PNG file.
    ///
    /// # Errors
    /// If the driver cannot take a screenshot.
    pub fn screenshot(&self) -> Result<Vec<u8>> {
        self.run(KEEP_DRAWING, &[])?;
        let value = request(self.port, "GET", &self.path("screenshot"), None)?;
        let text = value.as_str().context("the driver returned no screenshot")?;
        Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
    }

    /// Closes the window, which ends the app.
    ///
    /// # Errors
    /// If the driver does not respond.
    pub fn close(&self) -> Result<()> {
        request(self.port, "DELETE", &format!("/session/{}", self.id), None).map(drop)
    }

    fn post(&self, command: &str, body: &Value) -> Result<Value> {
        request(self.port, "POST", &self.path(command), Some(body))
    }

    fn path(&self, command: &str) -> String {
        format!("/session/{}/{command}", self.id)
    }
}

/// Whether a driver at `port` is ready for a session.
pub fn is_ready(port: u16) -> bool {
    request(port, "GET", "/status", None).is_ok()
}

/// Sends one command and returns the `value` of the reply.
///
/// Does not send `Connection: close`: tauri-driver forwards it to the native driver and then fails
/// on the closed connection.
fn request(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let (is_ok, body) =
        read_reply(&mut BufReader::new(stream)).with_context(|| format!("{method} {path}"))?;
    let reply: Value = serde_json::from_slice(&body)
        .with_context(|| format!("{path}: {}", String::from_utf8_lossy(&body)))?;
    let value = reply["value"].clone();
    if !is_ok {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        bail!("{path}: {} {}", text("error"), text("message"));
    }
    Ok(value)
}

/// Reads an HTTP reply: whether its status is a success, and its body. Requires `Content-Length`,
/// which both drivers send.
fn read_reply(reply: &mut impl BufRead) -> Result<(bool, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(reply.read_line(&mut head)? > 0, "the driver closed the connection");
    }
    let is_ok = head.split(' ').nth(1) == Some("200");
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .context("the reply has no length")?;
    let mut body = vec![0; length];
    reply.read_exact(&mut body)?;
    Ok((is_ok, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_is_read_up_to_its_length() {
        let mut reply = &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest"[..];
        assert_eq!(read_reply(&mut reply).unwrap(), (true, b"{}".to_vec()));
        let mut reply = &b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"[..];
        assert_eq!(read_reply(&mut reply).unwrap(), (false, Vec::new()));
        let mut cut = &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"[..];
        assert!(read_reply(&mut cut).is_err());
        assert!(read_reply(&mut &b""[..]).is_err());
    }
}
