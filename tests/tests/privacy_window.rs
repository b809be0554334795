//! What left this device, in the real window: the sign, the log, the seal, telemetry.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lilims_tests::app_window::{AppWindow, SIZES, Start};
use lilims_tests::hub_server::{Content, GgufSummary, HubServer, Repo};
use lilims_tests::lilims;
use serde_json::Value;

const ID: &str = "owner/small-chat";

fn hub() -> HubServer {
    let hub = HubServer::start();
    let mut repo = Repo::new(ID).with_licence("mit").with_file("m.gguf", Content::held("x"));
    repo.gguf =
        Some(GgufSummary { total: 1 << 20, architecture: "llama".into(), context_length: 2048 });
    hub.add(repo);
    hub
}

fn search(window: &AppWindow) -> Result<()> {
    window.click("library-toggle")?;
    window.click("library-tab-discover")?;
    window.type_into("discover-input", "small")?;
    window.click("discover-search")
}

fn sign(window: &AppWindow) -> Result<String> {
    let script = "return document.querySelector('[data-testid=privacy-sign]')?.ariaLabel ?? ''";
    Ok(window.session().run(script, &[])?.as_str().unwrap_or_default().to_owned())
}

fn wait_for_sign(window: &AppWindow, text: &str) -> Result<()> {
    window.wait(text, || Ok(sign(window)?.starts_with(text).then_some(())))
}

fn rows(window: &AppWindow) -> Result<Vec<String>> {
    let script = "return [...document.querySelectorAll('[data-testid=connections] > li')].map(it => it.innerText)";
    let rows = window.session().run(script, &[])?;
    let rows = rows.as_array().context("no rows")?.iter();
    Ok(rows.filter_map(Value::as_str).map(str::to_owned).collect())
}

#[test]
fn what_left_is_shown_found_and_cleared_and_a_sealed_app_asks_nothing() -> Result<()> {
    let (hub, home) = (hub(), tempfile::tempdir()?);
    let endpoint = hub.endpoint();
    let host = endpoint.trim_start_matches("http://");
    let variables = [("HF_ENDPOINT", endpoint.as_str())];
    for is_dark in [false, true] {
        let start =
            Start { home: Some(home.path()), is_dark, variables: &variables, ..Start::default() };
        let window = AppWindow::open(start)?;
        let theme = if is_dark { "dark" } else { "light" };
        if is_dark {
            // Sealed by the first window; it stays so.
            wait_for_sign(&window, "Sealed")?;
            window.click("privacy-sign")?;
            let script =
                "return document.getElementById('privacy')?.getBoundingClientRect().top ?? 9999";
            window.wait("privacy in sight", || {
                let top = window.session().run(script, &[])?;
                Ok(top.as_f64().is_some_and(|top| top < 400.0).then_some(()))
            })?;
            for size in SIZES {
                window.session().run("document.getElementById('privacy').scrollIntoView()", &[])?;
                window.save_screenshot("privacy-sealed-dark", size)?;
            }
            continue;
        }
        wait_for_sign(&window, "Nothing has left this device")?;
        search(&window)?;
        window.wait_for("found-repository")?;
        window.click("library-back")?;
        wait_for_sign(&window, "Nothing has left since")?;
        window.click("privacy-sign")?;
        window.wait("the search in the log", || {
            let rows = rows(&window)?;
            let is_it =
                |row: &String| row.contains(host) && row.contains("Search") && row.contains("200");
            Ok(rows.iter().any(is_it).then_some(()))
        })?;
        window.wait_for_stillness()?;
        for size in SIZES {
            window.session().run("document.getElementById('privacy').scrollIntoView()", &[])?;
            window.save_screenshot(&format!("privacy-log-{theme}"), size)?;
        }
        window.paste("log-filter", "no such host")?;
        window.wait("nothing found", || Ok(rows(&window)?.is_empty().then_some(())))?;
        window.paste("log-filter", "")?;
        window.wait("all rows", || Ok((!rows(&window)?.is_empty()).then_some(())))?;
        window.click("log-clear")?;
        window.wait("an empty log", || Ok(rows(&window)?.is_empty().then_some(())))?;
        let state = window.text("privacy-state")?.unwrap_or_default();
        ensure!(state.starts_with("Nothing has left since"), "after clearing: {state:?}");

        window.click("seal")?;
        wait_for_sign(&window, "Sealed")?;
        window.click("settings-close")?;
        let n_requests = hub.requests().len();
        search(&window)?;
        window.wait("the sentence", || {
            let page = window.session().run("return document.body.innerText", &[])?;
            let is_said = page.as_str().unwrap_or_default().contains("Lilims is sealed");
            Ok(is_said.then_some(()))
        })?;
        window.save_screenshot("sealed-search-light", SIZES[0])?;
        ensure!(hub.requests().len() == n_requests, "a sealed app has asked the hub");

        // The seal holds for the command line, too, and opens there.
        let run = |arguments: &[&str]| {
            let mut command = lilims(arguments);
            command.env("LILIMS_HOME", home.path()).env("HF_ENDPOINT", &endpoint).output()
        };
        let refused = run(&["search", "small"])?;
        ensure!(String::from_utf8_lossy(&refused.stderr).contains("sealed"), "{refused:?}");
        ensure!(run(&["privacy", "unseal"])?.status.success());
        ensure!(run(&["search", "small"])?.status.success());
        ensure!(run(&["privacy", "seal"])?.status.success());
    }
    Ok(())
}

/// A server of Sentry's protocol on this machine: takes envelopes and answers each with an id.
fn sentry() -> Result<(String, Receiver<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let dsn = format!("http://key@{}/7", listener.local_addr()?);
    let (envelopes, received) = channel();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if let Ok(request) = take_envelope(client) {
                let _ = envelopes.send(request);
            }
        }
    });
    Ok((dsn, received))
}

/// Reads a request, answers it, and returns it with its head.
fn take_envelope(mut client: TcpStream) -> Result<String> {
    let (mut request, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let n_bytes = client.read(&mut buffer)?;
        request.push_str(std::str::from_utf8(&buffer[..n_bytes])?);
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|it| it.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) || n_bytes == 0 {
            break;
        }
    }
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    client.write_all(answer.as_bytes())?;
    Ok(request)
}

#[test]
fn telemetry_is_off_shows_what_it_sends_sends_that_and_leaves_nothing() -> Result<()> {
    let (dsn, envelopes) = sentry()?;
    let home = tempfile::tempdir()?;
    let variables = [("LILIMS_SENTRY_DSN", dsn.as_str())];
    let start = Start { home: Some(home.path()), variables: &variables, ..Start::default() };
    let window = AppWindow::open(start)?;
    window.wait_for_model("ready")?;
    window.set_options(16)?;
    let secret = "Zanzibar";
    let answer = window.ask_and_wait(&format!("Say {secret}."))?;
    let folder = home.path().join("telemetry");
    window.click("privacy-sign")?;
    window.wait_for("telemetry")?;
    let is_on = "return document.getElementById('telemetry').checked";
    ensure!(window.session().run(is_on, &[])? == false && !folder.exists(), "it is on");
    window.click("telemetry-show")?;
    window.wait_for("telemetry-preview")?;
    let example = window.text("telemetry-preview")?.unwrap_or_default();
    ensure!(example.contains("panic") && example.contains("tokens_per_second"), "{example}");
    for size in SIZES {
        window.session().run("document.getElementById('telemetry').scrollIntoView()", &[])?;
        window.save_screenshot("telemetry-light", size)?;
    }
    ensure!(!folder.exists(), "the example left a file");
    ensure!(envelopes.try_recv().is_err(), "something was sent while it was off");

    window.click("telemetry-show")?;
    window.click("telemetry")?;
    window.wait("the folder", || Ok(folder.exists().then_some(())))?;
    window.click("settings-close")?;
    window.ask_and_wait(&format!("Say {secret} again."))?;
    let sent = envelopes.recv_timeout(Duration::from_secs(60)).context("the figures")?;
    ensure!(
        sent.starts_with("POST /api/7/envelope/") && sent.contains("tokens_per_second"),
        "{sent}"
    );
    ensure!(sent.contains("smollm2"), "a model of the catalogue has its id: {sent}");
    let user = std::env::var("USER").unwrap_or_else(|_| "no such user".to_owned());
    for never in [secret, answer.trim(), &home.path().display().to_string(), "/root", &user] {
        ensure!(never.is_empty() || !sent.contains(never), "{never} was sent: {sent}");
    }
    window.click("privacy-sign")?;
    window.wait("the connection in the log", || {
        let is_it = |row: &String| row.contains("Telemetry") && row.contains("200");
        Ok(rows(&window)?.iter().any(is_it).then_some(()))
    })?;

    window.click("telemetry")?;
    window.wait("nothing left", || Ok((!folder.exists()).then_some(())))?;
    window.click("settings-close")?;
    window.ask_and_wait("And now?")?;
    ensure!(envelopes.try_recv().is_err() && !folder.exists(), "something was kept or sent");
    Ok(())
}
