//! What left this device, in the real window: the sign, the log, the seal, telemetry.

#![cfg(target_os = "linux")]

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
