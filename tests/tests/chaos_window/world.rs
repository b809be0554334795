//! The running app, what is known of it, and what every action needs: starting and ending the app,
//! calling commands, reading the page, and comparing it with the ledger.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lilims_ipc::{Command, Reply, wire};
use lilims_tests::app_window::{AppWindow, Start};
use lilims_tests::hub_server::HubServer;
use lilims_tests::real_model;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::checks::{self, Sample};
use crate::ledger::{Allowed, Ledger};
use crate::machine::{self, MemoryGroup, SmallDisk};

/// Enough tokens for an answer that can be stopped or killed in its middle.
const MAX_TOKENS: u32 = 60;
/// A context that conversations outgrow, so that a process soon has all memory that it takes.
const CONTEXT: usize = 512;
/// The second model, which LM Studio has.
const GEMMA: &str = "gemma-3-270m-q4_k_m.gguf";
/// The short name of the bundled model.
pub(crate) const BUNDLED: &str = "smollm2-135m-instruct-q4_1";

/// Notes what the page reports: the message of a panic, errors and rejected promises. A browser reports
/// as an error, too, that it tells observers of a size in the next frame; nothing is lost by that.
const LISTEN: &str = "
    if (!window.lilimsErrors) {
        window.lilimsErrors = [];
        const log = console.error;
        console.error = (...all) => { lilimsErrors.push(all.join(' ')); log.apply(console, all) };
        addEventListener('error', it => {
            if (!it.message.startsWith('ResizeObserver loop')) {
                lilimsErrors.push(`${it.message} ${it.filename}`);
            }
        });
        addEventListener('unhandledrejection', it => lilimsErrors.push(`rejected: ${it.reason}`));
    }";
/// Begins a call; its reply is asked for later, since a script may not take long.
const CALL: &str = "
    const key = String(Math.random());
    window.lilimsReplies ??= {};
    window.__TAURI__.core.invoke('call', new Uint8Array(arguments[0])).then(
        it => { lilimsReplies[key] = Array.from(new Uint8Array(it)) },
        error => { lilimsReplies[key] = String(error) });
    return key";
const TAKE_REPLY: &str = "
    const reply = window.lilimsReplies[arguments[0]] ?? null;
    delete window.lilimsReplies[arguments[0]];
    return reply";
const SHOWN: &str = "
    return Array.from(document.querySelectorAll('[data-testid=message]'), it => ({
        id: it.dataset.id ?? null,
        isQuestion: it.dataset.role === 'user',
        state: it.dataset.state,
        text: (it.querySelector('.bubble, [data-testid=answer-text]')?.innerText ?? '').trim() }))";

/// A message as the page shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// `None` while it is not known to be stored.
    pub(crate) id: Option<String>,
    pub(crate) is_question: bool,
    pub(crate) state: String,
    pub(crate) text: String,
}

/// A reply with an error in it, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(pub(crate) String);

/// The place of an error that is not read.
#[derive(Debug, serde::Deserialize)]
enum NoError {}

/// The app and what is expected of it.
pub(crate) struct World {
    window: Option<AppWindow>,
    /// When the app was started.
    started: Instant,
    /// The measurements of the running process.
    pub(crate) samples: Vec<Sample>,
    pub(crate) ledger: Ledger,
    pub(crate) hub: HubServer,
    /// `None` where no small disk can be mounted.
    pub(crate) disk: Option<SmallDisk>,
    /// `None` where memory cannot be limited.
    pub(crate) memory: Option<MemoryGroup>,
    /// `HOME`, with the data of the app and a model of another program.
    pub(crate) home: TempDir,
    /// The number of the action.
    pub(crate) n: usize,
}

impl World {
    /// Starts the app with no data.
    pub(crate) fn start() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let folder = home.path().join(".lmstudio/models/google/gemma-3-270m-GGUF");
        fs::create_dir_all(&folder)?;
        std::os::unix::fs::symlink(fs::canonicalize(real_model(GEMMA))?, folder.join(GEMMA))?;
        let data = home.path().join("lilims");
        fs::create_dir(&data)?;
        let mut world = Self {
            window: None,
            started: Instant::now(),
            samples: Vec::new(),
            ledger: Ledger::default(),
            hub: HubServer::start(),
            disk: SmallDisk::mount(&data),
            memory: MemoryGroup::create(),
            home,
            n: 0,
        };
        world.open()?;
        world.window()?.set_options(MAX_TOKENS)?;
        Ok(world)
    }

    /// The app's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("lilims")
    }

    /// A folder for files that are imported.
    pub(crate) fn files(&self) -> &Path {
        self.home.path()
    }

    fn stderr(&self) -> PathBuf {
        self.home.path().join("stderr")
    }

    /// The window of the app.
    pub(crate) fn window(&self) -> Result<&AppWindow> {
        self.window.as_ref().context("the app was ended")
    }

    /// Opens the app, and waits until it has a model.
    pub(crate) fn open(&mut self) -> Result<()> {
        let (data, stderr, endpoint) = (self.data(), self.stderr(), self.hub.endpoint());
        let home = self.home.path().to_string_lossy().into_owned();
        let variables = [("HOME", &*home), ("HF_ENDPOINT", &*endpoint), ("RUST_BACKTRACE", "1")];
        let window = AppWindow::open(Start {
            home: Some(&data),
            stderr: Some(&stderr),
            context: Some(CONTEXT),
            variables: &variables,
            ..Start::default()
        })?;
        self.started = Instant::now();
        self.samples.clear();
        window.session().run(LISTEN, &[])?;
        if let Some(group) = &self.memory {
            group.add(window.app_process()?)?;
        }
        self.window = Some(window);
        self.wait_for_model()
    }

    /// Kills the app with `SIGKILL`, and checks what it has left.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.window()?.kill_app()?;
        self.after_end()
    }

    /// Ends what is left of a process that has ended, checks its data, and starts the app again.
    pub(crate) fn after_end(&mut self) -> Result<()> {
        self.close();
        checks::check_left_database(&self.data())?;
        self.open()?;
        checks::check_database(&self.data())
    }

    /// Closes the app as users do, and starts it again.
    pub(crate) fn restart(&mut self) -> Result<String> {
        self.compare(&Allowed::default())?;
        self.after_end()?;
        self.compare(&Allowed::default())?;
        Ok(String::new())
    }

    /// Lets the app and its page sleep for a while.
    pub(crate) fn sleep(&self, length: Duration) -> Result<String> {
        let window = self.window()?;
        machine::sleep(&[window.app_process()?, window.page_process()?], length)?;
        Ok(String::new())
    }

    /// Closes the window.
    pub(crate) fn close(&mut self) {
        self.window = None;
    }

    /// Executes a command as the page does.
    pub(crate) fn call(&self, command: &Command) -> Result<Result<Reply, Refusal>> {
        let window = self.window()?;
        let key = window.session().run(CALL, &[json!(wire::encode(command))])?;
        let reply = window.wait(&format!("the reply to {command:?}"), || {
            let reply = window.session().run(TAKE_REPLY, std::slice::from_ref(&key))?;
            Ok((!reply.is_null()).then_some(reply))
        })?;
        let bytes: Vec<u8> = serde_json::from_value(reply.clone())
            .with_context(|| format!("{command:?}: {reply}"))?;
        match wire::decode::<Result<Reply, NoError>>(&bytes) {
            Ok(Ok(reply)) => Ok(Ok(reply)),
            // Outside the page, errors are read from JSON alone.
            _ => Ok(Err(Refusal(String::from_utf8_lossy(&bytes).into_owned()))),
        }
    }

    /// Executes a command that must succeed.
    pub(crate) fn must(&self, command: &Command) -> Result<Reply> {
        self.call(command)?.map_err(|refusal| anyhow::anyhow!("{command:?}: {refusal:?}"))
    }

    /// The messages that the page shows.
    pub(crate) fn shown(&self) -> Result<Vec<Shown>> {
        let shown = self.window()?.session().run(SHOWN, &[])?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let shown = shown.as_array().context("the page returned no list")?.iter();
        Ok(shown
            .map(|it| Shown {
                id: text(&it["id"]),
                is_question: it["isQuestion"] == true,
                state: text(&it["state"]).unwrap_or_default(),
                text: text(&it["text"]).unwrap_or_default(),
            })
            .collect())
    }

    /// Presses the element at `index`, counted around, of those that match and are not disabled. Returns
    /// whether there is one.
    pub(crate) fn press(&self, selector: &str, index: u64) -> Result<bool> {
        let script = "const all = Array.from(document.querySelectorAll(arguments[0]))
                .filter(it => !it.disabled && it.getAttribute('aria-disabled') !== 'true');
            all[arguments[1] % all.length]?.click();
            return all.length > 0";
        // JavaScript has no larger whole numbers.
        let index = index % (1 << 32);
        Ok(self.window()?.session().run(script, &[json!(selector), json!(index)])? == true)
    }

    /// Presses an element as soon as it is there.
    pub(crate) fn press_soon(&self, id: &str) -> Result<()> {
        let selector = format!("[data-testid={id}]");
        self.window()?.wait(id, || Ok(self.press(&selector, 0)?.then_some(())))
    }

    /// An attribute of each matching element.
    pub(crate) fn attributes(&self, selector: &str, name: &str) -> Result<Vec<String>> {
        let script = "return Array.from(document.querySelectorAll(arguments[0]),
            it => it.getAttribute(arguments[1]) ?? '')";
        let values = self.window()?.session().run(script, &[json!(selector), json!(name)])?;
        Ok(serde_json::from_value(values)?)
    }

    /// Whether an answer is being written, in any conversation.
    pub(crate) fn is_busy(&self) -> Result<bool> {
        let is_writing = || {
            let stored = checks::stored_messages(&self.data())?;
            anyhow::Ok(stored.iter().any(|it| it.is_writing))
        };
        Ok(self.window()?.exists("stop")? || is_writing()?)
    }

    /// Waits until no answer is being written.
    pub(crate) fn wait_for_end(&self) -> Result<()> {
        self.window()?.wait("the end of all answers", || Ok((!self.is_busy()?).then_some(())))
    }

    /// Waits until a question can be asked; loads the model where that failed.
    pub(crate) fn wait_for_model(&self) -> Result<()> {
        let window = self.window()?;
        window.wait("a model", || {
            let state = self.attributes("[data-testid=model-status]", "data-state")?;
            match state.first().map(String::as_str) {
                Some("ready" | "unloaded") => return Ok(Some(())),
                Some("loading") => {}
                _ => self.load_bundled()?,
            }
            thread::sleep(Duration::from_millis(200));
            Ok(None)
        })
    }

    /// Loads the bundled model.
    pub(crate) fn load_bundled(&self) -> Result<()> {
        let name = BUNDLED.to_owned();
        let load = Command::UseModel { name, context_tokens: None, conversation: None };
        // It is not known before the library was read.
        let _ = self.call(&load)?;
        Ok(())
    }

    /// Compares the database with what is known.
    pub(crate) fn compare(&mut self, allowed: &Allowed) -> Result<()> {
        let stored = checks::stored_messages(&self.data())?;
        self.ledger.compare(&stored, allowed)
    }

    /// Checks what must hold after every action.
    pub(crate) fn check(&mut self) -> Result<()> {
        checks::check_output(&self.stderr())?;
        self.compare(&Allowed::default())?;
        let errors = self.window()?.session().run("return window.lilimsErrors.splice(0)", &[])?;
        ensure!(errors == json!([]), "the page reports {errors}");
        self.check_page()
    }

    /// Checks that the page shows each message once and as it was asked.
    fn check_page(&self) -> Result<()> {
        let shown = self.shown()?;
        for (at, message) in shown.iter().enumerate() {
            let Some(id) = &message.id else { continue };
            let is_twice = shown[..at].iter().any(|it| it.id.as_ref() == Some(id));
            ensure!(!is_twice, "the page shows {message:?} twice");
            let known = self.ledger.messages().find(|it| it.id == *id);
            let is_same = known.is_none_or(|it| !it.is_question || it.text == message.text);
            // A question that is edited has a field in place of its text.
            ensure!(is_same || message.text.is_empty(), "the page shows {message:?} for {known:?}");
        }
        Ok(())
    }

    /// Measures the running process.
    pub(crate) fn measure(&mut self) -> Result<String> {
        let window = self.window()?;
        let take = || Sample::take(window.app_process()?, window.page_process()?, self.started);
        let mut before = take()?;
        let sample = window.wait("rest", || {
            thread::sleep(Duration::from_millis(500));
            let now = take()?;
            let is_still = now.handles == before.handles && now.app == before.app;
            before = now.clone();
            Ok(is_still.then_some(now))
        })?;
        let line = sample.line();
        self.samples.push(sample);
        checks::check_samples(&self.samples)?;
        Ok(line)
    }

    /// What the app wrote to standard error, from the end.
    pub(crate) fn output(&self) -> String {
        let text = fs::read(self.stderr()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}
