//! Drives the real app in a real window on a virtual screen, as a user would.
//!
//! Elements are found by `data-testid`. Every wait is for a condition, with a timeout.

use std::env;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process_group::{ProcessGroup, Screen};
use crate::webdriver::{self, BACKSPACE, END, ENTER, Session};

/// The timeout of a wait: generous, since other programs may keep all cores busy, and used up only
/// by failing tests.
const TIMEOUT: Duration = Duration::from_secs(90);
/// The sizes of a desktop window and a phone.
pub const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];
/// Clock ticks a second in `/proc`.
const TICKS: f64 = 100.0;
/// The polling interval of a wait.
const POLL: Duration = Duration::from_millis(30);

/// Allows one window at a time: two models at once would be slow on a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Options for starting the app.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// `LILIMS_MODEL`; by default the value that `cargo xtask test` sets.
    pub model: Option<&'a Path>,
    /// Whether the desktop theme is dark.
    pub is_dark: bool,
    /// `LILIMS_CONTEXT`.
    pub context: Option<usize>,
    /// `LILIMS_HOME`, for data that outlives the window; by default a temporary folder.
    pub home: Option<&'a Path>,
    /// The program, started without `LILIMS_MODEL` as users do; by default `LILIMS_APP`.
    pub program: Option<&'a Path>,
    /// The arguments of the program, as the system passes files and addresses.
    pub arguments: &'a [&'a str],
    /// A file that gets the standard error of the app and the driver at its end.
    pub stderr: Option<&'a Path>,
    /// Further environment variables.
    pub variables: &'a [(&'a str, &'a str)],
}

/// The app in its window. Dropping it kills all processes that were started for it.
#[derive(Debug)]
pub struct AppWindow {
    session: Session,
    _driver: ProcessGroup,
    screen: Screen,
    program: PathBuf,
    /// `LILIMS_HOME`.
    data: PathBuf,
    _home: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// An answer as the page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerView {
    /// `data-state`.
    pub state: String,
    /// The visible text, with Markdown rendered.
    pub text: String,
}

impl AppWindow {
    /// Opens the app.
    ///
    /// # Errors
    /// If `LILIMS_APP` does not name the app, or a driver is not installed.
    pub fn open(start: Start<'_>) -> Result<Self> {
        let window = Self::start(start)?;
        window.wait_for("model-status")?;
        Ok(window)
    }

    /// Starts a program with a window, and returns when the driver has it.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn start(start: Start<'_>) -> Result<Self> {
        let app = match start.program {
            Some(program) => program.to_str().context("the path is not UTF-8")?.to_owned(),
            None => app_program()?,
        };
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = Screen::start()?;
        let home = tempfile::tempdir()?;
        let (port, native_port) = free_ports()?;
        let mut command = driver_command(port, native_port);
        set_environment(&mut command, start, &screen, home.path());
        if let Some(path) = start.stderr {
            command.stderr(File::options().create(true).append(true).open(path)?);
        }
        let driver = ProcessGroup::start(&mut command).context("see `cargo xtask test`")?;
        wait("the driver", || Ok(webdriver::is_ready(port).then_some(())))?;
        let session = Session::open(port, &app, start.arguments)?;
        let data = start.home.map_or_else(|| home.path().join("lilims"), Path::to_owned);
        let program = PathBuf::from(app);
        Ok(Self { session, _driver: driver, screen, program, data, _home: home, _turn: turn })
    }

    /// The WebDriver session, for actions without a method here.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Waits until an element exists.
    ///
    /// # Errors
    /// If it does not appear.
    pub fn wait_for(&self, id: &str) -> Result<()> {
        self.wait(id, || Ok(self.exists(id)?.then_some(())))
    }

    /// Waits until `condition` returns a value.
    ///
    /// # Errors
    /// At the timeout or the first error of `condition`, with the text of the page.
    pub fn wait<T>(&self, what: &str, condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait(what, condition).with_context(|| {
            let page = self.session.run("return document.body.innerText", &[]);
            format!("the page shows: {page:?}")
        })
    }

    /// Whether an element exists.
    ///
    /// # Errors
    /// If the window does not respond.
    pub fn exists(&self, id: &str) -> Result<bool> {
        self.matches(&selector(id))
    }

    fn matches(&self, selector: &str) -> Result<bool> {
        let script = "return document.querySelector(arguments[0]) !== null";
        Ok(self.session.run(script, &[json!(selector)])? == Value::Bool(true))
    }

    /// The visible text of the first matching element, if there is one.
    ///
    /// # Errors
    /// If the window does not respond.
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
    /// If it does not reach that state.
    pub fn wait_for_model(&self, state: &str) -> Result<()> {
        let wanted = format!("[data-testid=model-status][data-state={state}]");
        self.wait(&format!("the model {state}"), || Ok(self.matches(&wanted)?.then_some(())))
    }

    /// Waits until the model is ready, after a kill: one that came before the first word of an answer
    /// leaves the model unloaded, and the user loads it again.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn wait_for_model_after_kill(&self) -> Result<()> {
        self.wait("the model", || {
            let is_held = self.exists("held-retry")?;
            let is_ready = self.matches("[data-testid=model-status][data-state=ready]")?;
            Ok((is_held || is_ready).then_some(()))
        })?;
        if self.exists("held-retry")? {
            self.click("held-retry")?;
        }
        self.wait_for_model("ready")
    }

    /// Clicks an element as soon as possible; retries if the page replaces it.
    ///
    /// # Errors
    /// If it does not appear or cannot be clicked.
    pub fn click(&self, id: &str) -> Result<()> {
        self.click_on(&selector(id))
    }

    /// Clicks the element with `attribute` equal to `value`, as soon as it exists.
    ///
    /// # Errors
    /// If it does not appear or cannot be clicked.
    pub fn click_where(&self, id: &str, attribute: &str, value: &str) -> Result<()> {
        let selector = format!("{}[{attribute}='{value}']", selector(id));
        self.click_on(&selector)
    }

    /// Clicks the element that a CSS selector finds until the page has got a click on it: while all
    /// cores are busy, the driver now and then loses one.
    fn click_on(&self, selector: &str) -> Result<()> {
        let listen = "const selector = arguments[0];
            window.lilimsClicked = false;
            const note = event => { window.lilimsClicked = event.target.closest(selector) !== null };
            window.addEventListener('click', note, { capture: true, once: true })";
        let click = || {
            let element = self.session.find(selector)?;
            self.session.run(listen, &[json!(selector)])?;
            self.session.click(&element)?;
            let is_clicked = self.session.run("return window.lilimsClicked", &[])? == true;
            ensure!(is_clicked, "the click was lost");
            anyhow::Ok(())
        };
        self.wait(&format!("{selector} to click on"), || Ok(click().ok()))
    }

    /// Waits until an element with `attribute` equal to `value` exists.
    ///
    /// # Errors
    /// If it does not appear.
    pub fn wait_for_where(&self, id: &str, attribute: &str, value: &str) -> Result<()> {
        let selector = format!("{}[{attribute}='{value}']", selector(id));
        self.wait(&selector, || Ok(self.matches(&selector)?.then_some(())))
    }

    /// Types into an element.
    ///
    /// # Errors
    /// If it does not exist or does not accept keys.
    pub fn type_into(&self, id: &str, text: &str) -> Result<()> {
        self.session.send_keys(&self.session.find(&selector(id))?, text)
    }

    /// Sets a field's value at once, as pasting does; typing a long text would be slow.
    ///
    /// # Errors
    /// If the window does not respond.
    pub fn paste(&self, id: &str, text: &str) -> Result<()> {
        let script = "const it = document.querySelector(arguments[0]); it.value = arguments[1];
            it.dispatchEvent(new Event('input', { bubbles: true }))";
        self.session.run(script, &[json!(selector(id)), json!(text)]).map(drop)
    }

    /// Sets temperature 0, for nearly reproducible answers, and their maximum length.
    ///
    /// # Errors
    /// If the settings do not open, change or close.
    pub fn set_options(&self, max_tokens: u32) -> Result<()> {
        self.click("settings-toggle")?;
        self.click("scope-everywhere")?;
        self.set_number("temperature", 0)?;
        self.set_number("max-tokens", max_tokens)?;
        self.click("settings-close")
    }

    /// Types a number into a field of the settings, and waits until it is stored.
    ///
    /// # Errors
    /// If it does not appear as the level's own value.
    pub fn set_number(&self, id: &str, number: u32) -> Result<()> {
        self.wait_for(id)?;
        let n_digits = self.value(id)?.to_string().len();
        let keys = format!("{END}{}{number}{ENTER}", BACKSPACE.repeat(n_digits));
        self.type_into(id, &keys)?;
        let script = "return document.querySelector(arguments[0]).classList.contains('own')";
        let row = json!(selector(&format!("setting-row-{id}")));
        wait("the setting", || {
            let is_own = self.session.run(script, std::slice::from_ref(&row))? == true;
            Ok((is_own && self.value(id)? == f64::from(number)).then_some(()))
        })
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
    /// If it does not appear.
    pub fn ask(&self, question: &str) -> Result<()> {
        self.type_into("composer-input", question)?;
        self.send()
    }

    /// Presses Enter in the message field; returns when the page shows the question.
    ///
    /// # Errors
    /// If it does not appear.
    pub fn send(&self) -> Result<()> {
        let before = self.answers()?.len();
        self.type_into("composer-input", ENTER)?;
        self.wait("the question", || Ok((self.answers()?.len() > before).then_some(())))
    }

    /// Asks, and waits until the answer is done.
    ///
    /// # Errors
    /// If it ends in another way or not at all.
    pub fn ask_and_wait(&self, question: &str) -> Result<String> {
        self.ask(question)?;
        let answer = self.wait_for_end()?;
        ensure!(answer.state == "done", "the answer is {answer:?}");
        Ok(answer.text)
    }

    /// Waits until the last answer has ended, in any state.
    ///
    /// # Errors
    /// If it does not end.
    pub fn wait_for_end(&self) -> Result<AnswerView> {
        self.wait("the end of the answer", || {
            let is_open = |answer: &AnswerView| matches!(&*answer.state, "waiting" | "streaming");
            Ok(self.answers()?.pop().filter(|answer| !is_open(answer)))
        })
    }

    /// All answers, oldest first.
    ///
    /// # Errors
    /// If the window does not respond.
    pub fn answers(&self) -> Result<Vec<AnswerView>> {
        let script = "return Array.from(document.querySelectorAll(
                '[data-testid=message][data-role=assistant]'), it => ({
                    state: it.dataset.state,
                    text: it.querySelector('[data-testid=answer-text]')?.innerText ?? '' }))";
        let answers = self.session.run(script, &[])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
        let answers = answers.as_array().context("the page returned no list")?;
        Ok(answers
            .iter()
            .map(|answer| AnswerView { state: text(&answer["state"]), text: text(&answer["text"]) })
            .collect())
    }

    /// Waits until no animation runs: a click on a moving element may miss.
    ///
    /// # Errors
    /// If an animation does not end.
    pub fn wait_for_stillness(&self) -> Result<()> {
        // After two frames the page is drawn, and animations have begun.
        let frames =
            "return new Promise(it => requestAnimationFrame(() => requestAnimationFrame(it)))";
        self.session.run(frames, &[])?;
        self.wait("the end of all animations", || {
            let script = "return document.getAnimations().every(it => it.playState !== 'running')";
            Ok((self.session.run(script, &[])? == Value::Bool(true)).then_some(()))
        })
    }

    /// Kills the app as the system does when memory runs out: with `SIGKILL`, without warning.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_app(&self) -> Result<()> {
        let pid = self.app_process()?;
        ensure!(Command::new("kill").args(["-9", &pid.to_string()]).status()?.success());
        Ok(())
    }

    /// When the process of the app was started, in milliseconds since 1970, to 10 ms.
    ///
    /// # Errors
    /// If it does not run.
    pub fn started_ms(&self) -> Result<f64> {
        let started = Duration::from_secs_f64(stat_field(self.app_process()?, 21)? / TICKS);
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let uptime: f64 = uptime.split(' ').next().context("no uptime")?.parse()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        Ok((now - uptime + started.as_secs_f64()) * 1000.0)
    }

    /// The processor time that the process of the page has used.
    ///
    /// # Errors
    /// If it does not run.
    pub fn page_cpu(&self) -> Result<Duration> {
        let pid = self.page_process()?;
        Ok(Duration::from_secs_f64((stat_field(pid, 13)? + stat_field(pid, 14)?) / TICKS))
    }

    /// The process of the page.
    ///
    /// # Errors
    /// If it does not run.
    pub fn page_process(&self) -> Result<u32> {
        self.process(|program| program.ends_with("WebKitWebProcess"))
    }

    /// The process of the app.
    ///
    /// # Errors
    /// If it does not run.
    pub fn app_process(&self) -> Result<u32> {
        let program = std::fs::canonicalize(&self.program)?;
        self.process(|it| std::fs::canonicalize(it).is_ok_and(|it| it == program))
    }

    /// The process of this window whose program is the wanted one.
    fn process(&self, is_wanted: impl Fn(&Path) -> bool) -> Result<u32> {
        let wanted = format!("LILIMS_HOME={}", self.data.display());
        for process in std::fs::read_dir("/proc")?.flatten() {
            let path = process.path();
            let environment = std::fs::read(path.join("environ")).unwrap_or_default();
            let is_of_home = environment.split(|&byte| byte == 0).any(|it| it == wanted.as_bytes());
            if is_of_home && std::fs::read_link(path.join("exe")).is_ok_and(|it| is_wanted(&it)) {
                return Ok(process.file_name().to_string_lossy().parse()?);
            }
        }
        bail!("no such program runs in {}", self.data.display())
    }

    /// Starts the program once more with `arguments`, for the same data and on the same screen, and
    /// returns how it ended.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub fn start_again(&self, arguments: &[&str]) -> Result<ExitStatus> {
        let mut command = Command::new(&self.program);
        let start = Start { home: Some(&self.data), ..Start::default() };
        set_environment(&mut command, start, &self.screen, self._home.path());
        let mut second = command.args(arguments).stdin(Stdio::null()).spawn()?;
        let ended = wait("the end of the second start", || Ok(second.try_wait()?));
        if ended.is_err() {
            let _ = second.kill();
            let _ = second.wait();
        }
        ended
    }

    /// What is typed and not sent.
    ///
    /// # Errors
    /// If the window does not respond.
    pub fn draft(&self) -> Result<String> {
        let script = "return document.querySelector(arguments[0]).value";
        let value = self.session.run(script, &[json!(selector("composer-input"))])?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// The size of the page.
    ///
    /// # Errors
    /// If the window does not respond.
    pub fn size(&self) -> Result<(u64, u64)> {
        let size = self.session.run("return [innerWidth, innerHeight]", &[])?;
        let [width, height] = [0, 1].map(|index| size[index].as_u64());
        width.zip(height).context("the page has no size")
    }

    /// Loads the page again, and waits until it is another one.
    ///
    /// # Errors
    /// If it does not come.
    pub fn reload(&self) -> Result<()> {
        self.session.run("window.isOld = true; setTimeout(() => location.reload())", &[])?;
        self.wait("the page again", || {
            // Fails while the page changes.
            let is_new = self.session.run("return !window.isOld", &[]);
            Ok(is_new.is_ok_and(|is_new| is_new == true).then_some(()))
        })
    }

    /// Presses a key with Ctrl, or `?`, where the focus is.
    ///
    /// # Errors
    /// If the page does not respond.
    pub fn press_keys(&self, key: &str, shift: bool) -> Result<()> {
        let script = "(document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent('keydown',
            { key: arguments[0], ctrlKey: arguments[0] !== '?', shiftKey: arguments[1], bubbles: true }))";
        self.session.run(script, &[json!(key), json!(shift)]).map(drop)
    }

    /// Resizes the page and saves a screenshot in `target/screenshots`.
    ///
    /// # Errors
    /// If the page does not get this size, or the screenshot has another size.
    pub fn save_screenshot(&self, name: &str, (width, height): (u32, u32)) -> Result<()> {
        self.session.resize(width, height)?;
        self.wait(&format!("the size {width}x{height}"), || {
            let size = self.session.run("return [innerWidth, innerHeight]", &[])?;
            Ok((size == json!([width, height])).then_some(()))
        })?;
        self.wait_for_stillness()?;
        let png = self.session.screenshot()?;
        ensure!(
            png_size(&png) == Some((width, height)),
            "the screenshot is {:?}, not {width}x{height}",
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
        // A window that hangs is killed with the driver's process group.
        let _ = self.session.close();
    }
}

/// A number of `/proc/PID/stat`, counted from 0.
fn stat_field(pid: u32, index: usize) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may contain spaces.
    let (_, after_name) = stat.rsplit_once(')').context("not a process")?;
    let field = after_name.split_whitespace().nth(index - 2).context("too few fields")?;
    Ok(field.parse()?)
}

fn selector(id: &str) -> String {
    format!("[data-testid={id}]")
}

/// Waits until `condition` returns a value.
///
/// # Errors
/// At the timeout or the first error of `condition`.
pub fn wait<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    while start.elapsed() < TIMEOUT {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        thread::sleep(POLL);
    }
    bail!("timeout after {} s waiting for {what}", TIMEOUT.as_secs());
}

/// The app that `cargo xtask test` has built.
///
/// # Errors
/// If it does not exist.
pub fn app_program() -> Result<String> {
    let app = env::var("LILIMS_APP").context(
        "LILIMS_APP does not name the app: run `cargo xtask test`, which builds it and sets this",
    )?;
    ensure!(Path::new(&app).is_file(), "{app} is missing: run `cargo xtask test` to build it");
    Ok(app)
}

/// The folder for screenshots, beside the program's folder.
fn screenshot_folder() -> Result<PathBuf> {
    let app = PathBuf::from(app_program()?);
    let target = app.parent().and_then(Path::parent).context("the app is not in a build folder")?;
    Ok(target.join("screenshots"))
}

/// Two ports that were just free.
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

/// Sets the app's environment. Its data does not outlive the test, unless `start.home` says so.
fn set_environment(command: &mut Command, start: Start<'_>, screen: &Screen, home: &Path) {
    command.env("DISPLAY", screen.name());
    command.env("LILIMS_HOME", start.home.unwrap_or(&home.join("lilims")));
    // Hides models of other programs on this machine.
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
    if start.program.is_some() {
        command.env_remove("LILIMS_MODEL");
    }
    if let Some(model) = start.model {
        command.env("LILIMS_MODEL", model);
    }
    // No test connects to another machine.
    command.env("HF_ENDPOINT", "http://127.0.0.1:9");
    command.envs(start.variables.iter().copied());
    // The drivers' output is not useful; errors of the app are on its page.
    command.stdout(Stdio::null());
}

/// Width and height from the header of a PNG file.
fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?));
    (png.get(..8)? == b"\x89PNG\r\n\x1a\n").then_some((number(16)?, number(20)?))
}
