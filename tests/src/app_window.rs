//! The real app in a real window on a screen that nobody sees, and what a user does there.
//!
//! Elements are found by their `data-testid`. Every wait is for a condition and has an end.

use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process_group::{ProcessGroup, Screen};
use crate::webdriver::{self, BACKSPACE, END, ENTER, HOME, Session};

/// How long a condition may take to come true: generous, since other programs may keep all
/// cores busy, and only ever spent by a test that fails.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(30);

/// Windows are opened one after the other: two models at once on a small machine would make
/// both slow.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How the app is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// `LILIMS_MODEL`; the tests' own without it, which `cargo xtask test` sets.
    pub model: Option<&'a Path>,
    /// Whether the desktop is dark.
    pub is_dark: bool,
    /// `LILIMS_CONTEXT`.
    pub context: Option<usize>,
    /// `LILIMS_HOME`, for what outlives the window; a folder of its own without it.
    pub home: Option<&'a Path>,
    /// Further variables.
    pub variables: &'a [(&'a str, &'a str)],
}

/// The app in its window. Dropping it ends everything that was started for it.
#[derive(Debug)]
pub struct AppWindow {
    session: Session,
    _driver: ProcessGroup,
    _screen: Screen,
    _home: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// An answer as the page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerView {
    /// `data-state`.
    pub state: String,
    /// The text as it is shown, Markdown rendered.
    pub text: String,
}

impl AppWindow {
    /// Opens the app.
    ///
    /// # Errors
    /// When `LILIMS_APP` does not name the app, or something that drives it is not installed.
    pub fn open(start: Start<'_>) -> Result<Self> {
        let app = app_program()?;
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = Screen::start()?;
        let home = tempfile::tempdir()?;
        let (port, native_port) = free_ports()?;
        let mut command = driver_command(port, native_port);
        set_environment(&mut command, start, &screen, home.path());
        let driver = ProcessGroup::start(&mut command).context("see `cargo xtask test`")?;
        wait("the driver", || Ok(webdriver::is_ready(port).then_some(())))?;
        let session = Session::open(port, &app)?;
        let window = Self { session, _driver: driver, _screen: screen, _home: home, _turn: turn };
        window.wait_for("model-status")?;
        Ok(window)
    }

    /// The driver's session, for what this type has no name for.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Waits until an element is there.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait_for(&self, id: &str) -> Result<()> {
        self.wait(id, || Ok(self.exists(id)?.then_some(())))
    }

    /// Waits until `condition` gives something.
    ///
    /// # Errors
    /// When it never does, with what the page shows then, or at its first error.
    pub fn wait<T>(&self, what: &str, condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait(what, condition).with_context(|| {
            let page = self.session.run("return document.body.innerText", &[]);
            format!("the page shows: {page:?}")
        })
    }

    /// Whether an element is there.
    ///
    /// # Errors
    /// When the window does not answer.
    pub fn exists(&self, id: &str) -> Result<bool> {
        self.matches(&selector(id))
    }

    fn matches(&self, selector: &str) -> Result<bool> {
        let script = "return document.querySelector(arguments[0]) !== null";
        Ok(self.session.run(script, &[json!(selector)])? == Value::Bool(true))
    }

    /// The text that the first element shows, if it is there.
    ///
    /// # Errors
    /// When the window does not answer.
    pub fn text(&self, id: &str) -> Result<Option<String>> {
        let text = self.session.run(
            "const it = document.querySelector(arguments[0]); return it ? it.innerText : null",
            &[json!(selector(id))],
        )?;
        Ok(text.as_str().map(str::to_owned))
    }

    /// Waits until the model's `data-state` is `state`.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn wait_for_model(&self, state: &str) -> Result<()> {
        let wanted = format!("[data-testid=model-status][data-state={state}]");
        self.wait(&format!("the model {state}"), || Ok(self.matches(&wanted)?.then_some(())))
    }

    /// Clicks an element as soon as that is possible: the page may be about to replace it.
    ///
    /// # Errors
    /// When it does not come or cannot be clicked.
    pub fn click(&self, id: &str) -> Result<()> {
        let click = || self.session.click(&self.session.find(&selector(id))?);
        self.wait(&format!("{id} to click on"), || Ok(click().ok()))
    }

    /// Clicks the element with `attribute` equal to `value`, as soon as it is there.
    ///
    /// # Errors
    /// When it does not come or cannot be clicked.
    pub fn click_where(&self, id: &str, attribute: &str, value: &str) -> Result<()> {
        let selector = format!("{}[{attribute}='{value}']", selector(id));
        let click = || self.session.click(&self.session.find(&selector)?);
        self.wait(&format!("{selector} to click on"), || Ok(click().ok()))
    }

    /// Waits until an element with `attribute` equal to `value` is there.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait_for_where(&self, id: &str, attribute: &str, value: &str) -> Result<()> {
        let selector = format!("{}[{attribute}='{value}']", selector(id));
        self.wait(&selector, || Ok(self.matches(&selector)?.then_some(())))
    }

    /// Types into an element.
    ///
    /// # Errors
    /// When it is not there or takes no keys.
    pub fn type_into(&self, id: &str, text: &str) -> Result<()> {
        self.session.send_keys(&self.session.find(&selector(id))?, text)
    }

    /// Puts `text` into a field at once, as pasting does; typing a long text takes long.
    ///
    /// # Errors
    /// When the window does not answer.
    pub fn paste(&self, id: &str, text: &str) -> Result<()> {
        let script = "const it = document.querySelector(arguments[0]); it.value = arguments[1];
            it.dispatchEvent(new Event('input', { bubbles: true }))";
        self.session.run(script, &[json!(selector(id)), json!(text)]).map(drop)
    }

    /// Sets temperature 0, which makes answers as good as repeatable, and how long they may be.
    ///
    /// # Errors
    /// When the settings do not open, change or close.
    pub fn set_options(&self, max_tokens: u32) -> Result<()> {
        self.click("settings-toggle")?;
        self.wait_for("temperature")?;
        // Home takes a slider to its least value.
        self.type_into("temperature", HOME)?;
        let digits_to_delete = self.value("max-tokens")?.to_string().len();
        let keys = format!("{}{}{max_tokens}", END, BACKSPACE.repeat(digits_to_delete));
        self.type_into("max-tokens", &keys)?;
        let set = (self.value("temperature")?, self.value("max-tokens")?);
        ensure!(set == (0.0, f64::from(max_tokens)), "the options are {set:?}");
        self.click("settings-close")
    }

    /// The number in a field.
    fn value(&self, id: &str) -> Result<f64> {
        let script = "return document.querySelector(arguments[0]).value";
        let value = self.session.run(script, &[json!(selector(id))])?;
        Ok(value.as_str().unwrap_or_default().parse()?)
    }

    /// Types a question and presses Enter; returns when the page shows it.
    ///
    /// # Errors
    /// When it does not appear.
    pub fn ask(&self, question: &str) -> Result<()> {
        self.type_into("composer-input", question)?;
        self.send()
    }

    /// Presses Enter in the message field; returns when the page shows the question.
    ///
    /// # Errors
    /// When it does not appear.
    pub fn send(&self) -> Result<()> {
        let before = self.answers()?.len();
        self.type_into("composer-input", ENTER)?;
        self.wait("the question", || Ok((self.answers()?.len() > before).then_some(())))
    }

    /// Asks, and waits until the answer is done.
    ///
    /// # Errors
    /// When it ends in another way or never.
    pub fn ask_and_wait(&self, question: &str) -> Result<String> {
        self.ask(question)?;
        let answer = self.wait_for_end()?;
        ensure!(answer.state == "done", "the answer is {answer:?}");
        Ok(answer.text)
    }

    /// Waits until the last answer has ended, in whatever way.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait_for_end(&self) -> Result<AnswerView> {
        self.wait("the end of the answer", || {
            let is_open = |answer: &AnswerView| matches!(&*answer.state, "waiting" | "streaming");
            Ok(self.answers()?.pop().filter(|answer| !is_open(answer)))
        })
    }

    /// All answers, oldest first.
    ///
    /// # Errors
    /// When the window does not answer.
    pub fn answers(&self) -> Result<Vec<AnswerView>> {
        let script = "return Array.from(document.querySelectorAll(
                '[data-testid=message][data-role=assistant]'), it => ({
                    state: it.dataset.state,
                    text: it.querySelector('[data-testid=answer-text]')?.innerText ?? '' }))";
        let answers = self.session.run(script, &[])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
        let answers = answers.as_array().context("the page gave no list")?;
        Ok(answers
            .iter()
            .map(|answer| AnswerView { state: text(&answer["state"]), text: text(&answer["text"]) })
            .collect())
    }

    /// Waits until nothing moves: a click on what moves may miss.
    ///
    /// # Errors
    /// When something never stops.
    pub fn wait_for_stillness(&self) -> Result<()> {
        self.wait("the end of all animations", || {
            let script = "return document.getAnimations().every(it => it.playState !== 'running')";
            Ok((self.session.run(script, &[])? == Value::Bool(true)).then_some(()))
        })
    }

    /// Gives the page this size and saves what it shows under `target/screenshots`.
    ///
    /// # Errors
    /// When the page does not take the size, or the picture has another one.
    pub fn save_screenshot(&self, name: &str, (width, height): (u32, u32)) -> Result<()> {
        self.session.resize(width, height)?;
        self.wait(&format!("the size {width}x{height}"), || {
            let size = self.session.run("return [innerWidth, innerHeight]", &[])?;
            Ok((size == json!([width, height])).then_some(()))
        })?;
        // After two frames everything is drawn at the new size.
        let frames =
            "return new Promise(it => requestAnimationFrame(() => requestAnimationFrame(it)))";
        self.session.run(frames, &[])?;
        self.wait_for_stillness()?;
        let png = self.session.screenshot()?;
        ensure!(
            png_size(&png) == Some((width, height)),
            "the picture is {:?}, not {width}x{height}",
            png_size(&png)
        );
        let folder = screenshot_folder()?;
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{name}-{width}x{height}.png")), png)?;
        Ok(())
    }
}

impl Drop for AppWindow {
    fn drop(&mut self) {
        // A window that hangs is killed with the driver's group.
        let _ = self.session.close();
    }
}

fn selector(id: &str) -> String {
    format!("[data-testid={id}]")
}

/// Waits until `condition` gives something.
///
/// # Errors
/// When it never does, or at its first error.
pub fn wait<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        thread::sleep(POLL);
    }
    bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
}

fn app_program() -> Result<String> {
    let app = env::var("LILIMS_APP").context(
        "LILIMS_APP does not name the app: run `cargo xtask test`, which builds it and sets this",
    )?;
    ensure!(Path::new(&app).is_file(), "{app} is missing: run `cargo xtask test` to build it");
    Ok(app)
}

/// Where screenshots go: beside the folder of the program that they show.
fn screenshot_folder() -> Result<PathBuf> {
    let app = PathBuf::from(app_program()?);
    let target = app.parent().and_then(Path::parent).context("the app lies in a build folder")?;
    Ok(target.join("screenshots"))
}

/// Two ports that were free a moment ago.
fn free_ports() -> Result<(u16, u16)> {
    let (first, second) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

/// `tauri-driver`, which `cargo xtask test` puts on `PATH`; it finds WebKitWebDriver there.
fn driver_command(port: u16, native_port: u16) -> Command {
    let mut command = Command::new("tauri-driver");
    command.args(["--port", &port.to_string(), "--native-port", &native_port.to_string()]);
    command
}

/// What the app is to see of the system. Nothing that it keeps outlives the test.
fn set_environment(command: &mut Command, start: Start<'_>, screen: &Screen, home: &Path) {
    command.env("DISPLAY", screen.name());
    command.env("LILIMS_HOME", start.home.unwrap_or(&home.join("lilims")));
    // Other programs' models on this machine are none of the tests'.
    command.env("HOME", home);
    command.env("XDG_DATA_HOME", home.join("data"));
    command.env("XDG_CACHE_HOME", home.join("cache"));
    command.env("GDK_BACKEND", "x11");
    command.env("GTK_THEME", if start.is_dark { "Adwaita:dark" } else { "Adwaita" });
    for name in
        ["WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "HF_TOKEN", "HF_HOME", "OLLAMA_MODELS"]
    {
        command.env_remove(name);
    }
    if let Some(context) = start.context {
        command.env("LILIMS_CONTEXT", context.to_string());
    }
    if let Some(model) = start.model {
        command.env("LILIMS_MODEL", model);
    }
    // Nothing leaves this machine, whatever a test does.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9");
    command.envs(start.variables.iter().copied());
    // What the drivers print helps nobody; a broken app tells more on the page.
    command.stdout(Stdio::null());
}

/// Width and height as the header of a PNG file states them.
fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?));
    (png.get(..8)? == b"\x89PNG\r\n\x1a\n").then_some((number(16)?, number(20)?))
}
