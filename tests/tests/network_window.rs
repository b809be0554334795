//! Nothing leaves the device unasked: proved from outside the processes, by their system calls and by a
//! proxy that records, in a network of their own without a way out.

#![cfg(target_os = "linux")]

use std::env;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lilims_tests::app_window::{AppWindow, SIZES, Start, app_program};
use lilims_tests::{program, real_model, skip};
use serde_json::json;
use tempfile::TempDir;

/// Set in the process that has a network of its own.
const INSIDE: &str = "LILIMS_TEST_ALONE";
/// Repeats the use of the app for so many minutes; once without it.
const MINUTES: &str = "LILIMS_NETWORK_MINUTES";
/// As users have it: tests elsewhere name a hub of their own.
const HUB: (&str, &str) = ("HF_ENDPOINT", "https://huggingface.co");
/// The variables that name a proxy.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"];
const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Runs `work` in a network namespace that has a loopback device alone: this test again, in a process of
/// its own.
fn alone(test: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if env::var_os(INSIDE).is_some() {
        return work();
    }
    let has_namespaces = Command::new("unshare").args(["-rn", "true"]).status();
    if !has_namespaces.is_ok_and(|status| status.success()) {
        skip("this system gives no network namespace");
        return Ok(());
    }
    let script = "ip link set lo up && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", script]).arg(env::current_exe()?);
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    ensure!(command.status()?.success(), "{test} failed in a network of its own");
    Ok(())
}

/// Notes which network addresses programs connect or send to, and what reaches their proxy.
struct Watch {
    folder: TempDir,
    proxy: String,
    n_proxied: Arc<AtomicUsize>,
}

impl Watch {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = format!("http://{}", listener.local_addr()?);
        let n_proxied = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&n_proxied);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                // It answers nothing; the client gives up when the connection ends.
                let _ = (&client).read(&mut [0; 512]);
            }
        });
        Ok(Self { folder: tempfile::tempdir()?, proxy, n_proxied })
    }

    /// A script that runs `program` with all that it starts under `strace`.
    fn traced(&self, program: &Path) -> Result<PathBuf> {
        let script = self.folder.path().join(program.file_name().context("no program")?);
        let calls = "trace=connect,sendto,sendmsg,sendmmsg";
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (log, driver, program) = (path("calls"), path("driver"), program.display());
        // Not in the environment of the test: the driver, too, would use the proxy.
        let variables: String =
            PROXIES.map(|name| format!("export {name}={}\n", self.proxy)).concat();
        // The window connects to the driver itself.
        let of_driver = "$WEBKIT_INSPECTOR_SERVER";
        let note = format!("[ -z \"{of_driver}\" ] || echo \"{of_driver}\" >> {driver}");
        let variables = format!("{variables}export no_proxy=127.0.0.1\n");
        let trace = format!("strace -f -qq --seccomp-bpf -e {calls} -o {log}.$$");
        let text = format!("#!/bin/sh\n{variables}{note}\nexec {trace} {program} \"$@\"\n");
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    /// The calls so far that reach for a network, each as a line of `strace`.
    fn network_calls(&self) -> Result<Vec<String>> {
        let mut calls = Vec::new();
        let drivers = self.driver_ports()?;
        for file in fs::read_dir(self.folder.path())?.flatten() {
            if file.file_name().to_string_lossy().starts_with("calls") {
                let text = fs::read_to_string(file.path())?;
                let is_driver = |it: &str| drivers.iter().any(|port| it.contains(port));
                let calls_out = text.lines().filter(|it| it.contains("AF_INET") && !is_driver(it));
                calls.extend(calls_out.map(str::to_owned));
            }
        }
        Ok(calls)
    }

    /// How `strace` writes the ports at which drivers of this test waited for their windows, which they
    /// asked to connect there.
    fn driver_ports(&self) -> Result<Vec<String>> {
        let notes = fs::read_to_string(self.folder.path().join("driver")).unwrap_or_default();
        let port = |note: &str| {
            let port = note.strip_prefix("127.0.0.1:").context("the driver is elsewhere")?;
            Ok(format!("sin_port=htons({port}), sin_addr=inet_addr(\"127.0.0.1\")"))
        };
        notes.lines().map(port).collect()
    }

    /// How many files of `strace` there are: one for each program that was run.
    fn n_programs(&self) -> Result<usize> {
        let files = fs::read_dir(self.folder.path())?.flatten();
        Ok(files.filter(|it| it.file_name().to_string_lossy().starts_with("calls")).count())
    }

    fn check_silent(&self, after: &str) -> Result<()> {
        let calls = self.network_calls()?;
        ensure!(calls.is_empty(), "after {after}: {calls:#?}");
        let n_proxied = self.n_proxied.load(Ordering::SeqCst);
        ensure!(n_proxied == 0, "after {after}: {n_proxied} connections to the proxy");
        Ok(())
    }

    /// A command of the program `lilims` in `home`, under watch.
    fn lilims(&self, home: &Path, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.traced(program())?);
        command.args(arguments).env("LILIMS_HOME", home).env("HOME", home).env(HUB.0, HUB.1);
        command.env_remove("HF_TOKEN").stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }
}

#[test]
fn nothing_leaves_the_device_unasked() -> Result<()> {
    alone("nothing_leaves_the_device_unasked", || {
        let watch = Watch::start()?;
        let home = tempfile::tempdir()?;
        let app = watch.traced(Path::new(&app_program()?))?;
        let variables = [HUB];
        let minutes: u64 = env::var(MINUTES).ok().and_then(|it| it.parse().ok()).unwrap_or(0);
        let (began, wanted) = (Instant::now(), Duration::from_secs(60 * minutes));
        let mut n_rounds = 0;
        while n_rounds == 0 || began.elapsed() < wanted {
            let model = real_model(MODEL);
            let start = Start {
                program: Some(&app),
                home: Some(home.path()),
                model: Some(&model),
                variables: &variables,
                ..Start::default()
            };
            use_the_app(&watch, start, n_rounds == 0)?;
            use_the_command_line(&watch, home.path())?;
            n_rounds += 1;
        }
        ensure!(watch.n_programs()? >= 6, "only {} programs were watched", watch.n_programs()?);
        println!("{n_rounds} rounds in {} s: no connection", began.elapsed().as_secs());
        a_search_is_seen_and_logged(&watch, home.path())
    })
}

/// Start, chat with links, library, settings, conversion.
fn use_the_app(watch: &Watch, start: Start<'_>, is_first: bool) -> Result<()> {
    let window = AppWindow::open(start)?;
    window.wait_for_model("ready")?;
    if is_first {
        window.set_options(24)?;
    }
    watch.check_silent("the start")?;
    window.ask_and_wait(
        "Repeat: [a](https://example.com) ![b](https://example.com/b.png) www.example.com",
    )?;
    window.ask_and_wait("What is gravity?")?;
    watch.check_silent("two answers")?;
    window.click("library-toggle")?;
    window.wait_for("model-card")?;
    window.click("library-back")?;
    watch.check_silent("the library")?;
    window.click("privacy-sign")?;
    window.wait("the state", || {
        let state = window.text("privacy-state")?.unwrap_or_default();
        Ok((state == "Nothing has left this device").then_some(()))
    })?;
    if is_first {
        for size in SIZES {
            window.save_screenshot("privacy-empty-light", size)?;
        }
    }
    window.click("settings-close")?;
    // The driver's own process ends the app; its goodbye may not reach out either.
    drop(window);
    watch.check_silent("the end of the app")
}

fn use_the_command_line(watch: &Watch, home: &Path) -> Result<()> {
    let model = real_model(MODEL);
    let model = model.to_str().context("the path is not UTF-8")?;
    let out = home.join("converted.gguf");
    let out = out.to_str().context("the path is not UTF-8")?;
    let measured = ["--prompt-tokens", "16", "--generate-tokens", "4", "--repeat", "1"];
    for arguments in [
        &["list"][..],
        &["inspect", model],
        &["generate", "--model", model, "--max-tokens", "8", "--prompt", "Hello"],
        &[&["bench", "--model", model][..], &measured].concat(),
        &["convert", model, "--out", out, "--type", "Q8_0", "--force"],
        &["conversations", "list"],
        &["privacy", "log"],
    ] {
        let status = watch.lilims(home, arguments)?.status()?;
        ensure!(status.success(), "{arguments:?}: {status}");
        watch.check_silent(&format!("{arguments:?}"))?;
    }
    // Sealed, what is asked for makes no connection either.
    for arguments in [&["--sealed", "search", "x"][..], &["pull", "--sealed", "a/b"]] {
        let output = watch.lilims(home, arguments)?.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && stderr.contains("sealed"), "{stderr}");
        watch.check_silent(&format!("{arguments:?}"))?;
    }
    Ok(())
}

/// The proof of the proof: a search is a connection, seen from outside and logged inside.
fn a_search_is_seen_and_logged(watch: &Watch, home: &Path) -> Result<()> {
    let status = watch.lilims(home, &["search", "x"])?.stderr(Stdio::null()).status()?;
    ensure!(!status.success(), "there is no way out");
    ensure!(!watch.network_calls()?.is_empty(), "strace has not seen the search");
    ensure!(watch.n_proxied.load(Ordering::SeqCst) > 0, "the search has not used the proxy");
    let mut log = Command::new(program());
    log.args(["privacy", "log", "--json"]).env("LILIMS_HOME", home);
    let log: serde_json::Value = serde_json::from_slice(&log.output()?.stdout)?;
    let row = &log["rows"][0];
    ensure!(
        row["host"] == "huggingface.co"
            && row["purpose"] == "search"
            && row["asker"] == "command-line",
        "{log}"
    );
    ensure!(row["sent_bytes"].as_u64() > Some(0) && log["n_logged"] == json!(1), "{log}");
    Ok(())
}
