//! Measures how the page feels in the real window: `cargo xtask bench --ui` starts it with the release app.
//!
//! Each figure is printed as a row of a Markdown table with what it should be. Windows are on a virtual
//! screen, drawn without a graphics card: figures with a real one are better.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lilims_gguf::{File as Gguf, Value, Writer};
use lilims_store::{ConversationChange, NewMessage, Role, Store};
use lilims_tests::app_window::{AppWindow, Start, app_program, wait};
use serde_json::Value as Json;

/// How often a start, an opening or a search is measured; the median counts.
const ROUNDS: usize = 5;
/// The layers that are left of the model that must write 500 tokens a second.
const FAST_LAYERS: u64 = 3;
/// Measures some figures and prints their rows.
type Measure = fn() -> Result<()>;

const QUESTION: &str = "Write a long story about a lighthouse.";

fn main() -> Result<()> {
    let machine = lilims_bench::Machine::here();
    let (cpu, cores, isa) = (machine.cpu, machine.cores, machine.isa);
    println!("{cpu}, {cores} cores ({isa}), a virtual screen:\n");
    println!("| Figure | Measured | Wanted |\n|---|---:|---:|");
    let figures: [(&str, Measure); 6] = [
        ("size", page_size),
        ("start", first_paint),
        ("long", long_conversation),
        ("many", many_conversations),
        ("stream", streaming),
        ("input", input_while_writing),
    ];
    // Names of figures choose them; without one, all are measured.
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    for (name, measure) in figures {
        if chosen.is_empty() || chosen.iter().any(|it| it == name) {
            measure().context(name)?;
        }
    }
    Ok(())
}

fn row(figure: &str, measured: &str, wanted: &str) {
    println!("| {figure} | {measured} | {wanted} |");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which this share of the values is.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

fn page_size() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/dist");
    let wasm = fs::read(folder.join("lilims-ui_bg.wasm"))?;
    let mut compressed = Vec::new();
    let parameters =
        brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, ..Default::default() };
    brotli::BrotliCompress(&mut &*wasm, &mut compressed, &parameters)?;
    row("WebAssembly as brotli", &format!("{:.1} KB", compressed.len() as f64 / 1e3), "≤ 500 KB");
    Ok(())
}

/// From the start of the process to the first paint with content, against a Tauri window with a word.
fn first_paint() -> Result<()> {
    let bare =
        PathBuf::from(std::env::var("LILIMS_BARE").context("`cargo xtask bench --ui` sets it")?);
    let app = PathBuf::from(app_program()?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(paint_ms(&app)?);
        theirs.push(paint_ms(&bare)?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let measured = format!("{ours:.0} ms, {:.2} × {theirs:.0} ms", ours / theirs);
    row("First paint against a bare Tauri window", &measured, "≤ 1.3 ×");
    Ok(())
}

fn paint_ms(program: &Path) -> Result<f64> {
    let window = AppWindow::start(Start { program: Some(program), ..Start::default() })?;
    let painted = wait("the first paint", || {
        let script = "const paint = performance.getEntriesByName('first-contentful-paint')[0];
            return paint ? performance.timeOrigin + paint.startTime : null";
        Ok(window.session().run(script, &[])?.as_f64())
    })?;
    Ok(painted - window.started_ms()?)
}

/// Adds a conversation of this many messages.
fn add(store: &Store, title: &str, n_messages: usize) -> Result<String> {
    let id = store.create_conversation(&ConversationChange::default())?;
    let mut parent = None;
    for n in 0..n_messages {
        let (role, text) = if n % 2 == 0 {
            (Role::User, format!("{title}, question {n}?"))
        } else {
            (
                Role::Assistant,
                format!("**Answer {n}** with `code`, a list:\n\n- one\n- two\n\nand a sentence."),
            )
        };
        parent = Some(store.add_message(&NewMessage::text(&id, parent.as_ref(), role, &text))?);
    }
    Ok(id.to_string())
}

/// A data folder with what `fill` puts there, and the app on it.
fn app_with(home: &Path, fill: impl FnOnce(&Store) -> Result<()>) -> Result<AppWindow> {
    let store = Store::open(home)?;
    fill(&store)?;
    drop(store);
    let window = AppWindow::open(Start { home: Some(home), ..Start::default() })?;
    window.session().resize(1280, 800)?;
    window.wait_for_model("ready")?;
    Ok(window)
}

/// Runs `act` in the page, and returns the milliseconds until `is_done` holds and is painted.
fn time_in_page(window: &AppWindow, act: &str, is_done: &str) -> Result<f64> {
    let script = format!(
        "return new Promise(finish => {{
            const begun = performance.now();
            const painted = () => requestAnimationFrame(() => setTimeout(() =>
                finish(performance.now() - begun)));
            const check = () => {is_done} ? painted() : setTimeout(check, 1);
            {act};
            check();
        }})"
    );
    window.session().run(&script, &[])?.as_f64().context("the page returned no time")
}

fn long_conversation() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = app_with(home.path(), |store| {
        add(store, "Long", 2000)?;
        add(store, "Short", 2).map(drop)
    })?;
    let mut times = Vec::new();
    let open = |title: &str, last: &str| {
        let act = format!(
            "Array.from(document.querySelectorAll('[data-testid=conversation-row] .row-main'))
                .find(it => it.innerText.includes('{title}')).click()"
        );
        let is_done = format!(
            "Array.from(document.querySelectorAll('[data-testid=message]')).at(-1)
                ?.textContent.includes('{last}')"
        );
        time_in_page(&window, &act, &is_done)
    };
    for _ in 0..ROUNDS {
        open("Short", "Answer 1 with")?;
        times.push(open("Long", "Answer 1999 with")?);
    }
    row(
        "Opening a conversation of 2,000 messages",
        &format!("{:.0} ms", median(times)),
        "< 200 ms",
    );
    Ok(())
}

fn many_conversations() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = app_with(home.path(), |store| {
        (0..5000).try_for_each(|n| add(store, &format!("Topic {n}"), 2).map(drop))
    })?;
    let (mut lists, mut searches) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let toggle = "document.querySelector('[data-testid=sidebar-toggle]').click()";
        time_in_page(&window, toggle, "!document.querySelector('[data-testid=sidebar]')")?;
        let is_listed = "document.querySelector('[data-testid=conversation-row]')";
        lists.push(time_in_page(&window, toggle, is_listed)?);
        let word = 1000 + round;
        let act = format!(
            "const field = document.querySelector('[data-testid=sidebar-search]');
            field.value = 'question {word}'.slice(9); field.dispatchEvent(new Event('input', {{ bubbles: true }}))"
        );
        let is_found = format!(
            "document.querySelector('[data-testid=found-message]')?.innerText.includes('{word}')"
        );
        searches.push(time_in_page(&window, &act, &is_found)?);
        let clear = "const field = document.querySelector('[data-testid=sidebar-search]');
            field.value = ''; field.dispatchEvent(new Event('input', { bubbles: true }))";
        time_in_page(&window, clear, is_listed)?;
    }
    row("Listing 5,000 conversations", &format!("{:.0} ms", median(lists)), "< 50 ms");
    row("Searching 5,000 conversations", &format!("{:.0} ms", median(searches)), "< 50 ms");
    Ok(())
}

/// The model with its first layers alone: it writes nonsense, as fast as a page must show it.
fn fast_model(folder: &Path) -> Result<PathBuf> {
    let model = Gguf::open(Path::new(&std::env::var("LILIMS_MODEL")?))?;
    let mut writer = Writer::default();
    for (key, value) in model.metadata().iter() {
        let is_count = key == "llama.block_count";
        writer.value(key, if is_count { Value::U32(FAST_LAYERS as u32) } else { value });
    }
    for tensor in model.tensors() {
        let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
        if layer.is_none_or(|layer| layer.parse().is_ok_and(|layer: u64| layer < FAST_LAYERS)) {
            let data = model.data(tensor)?.to_vec();
            writer.tensor(&tensor.name, &tensor.dims, tensor.tensor_type, data);
        }
    }
    let path = folder.join("fast.gguf");
    writer.write(BufWriter::new(File::create(&path)?))?;
    Ok(path)
}

/// Begins to note the time of each frame in the page.
const NOTE_FRAMES: &str = "window.frames_ = []; window.isNoting = true;
    const note = time => { window.frames_.push(time); if (window.isNoting) requestAnimationFrame(note) };
    requestAnimationFrame(note)";

fn streaming() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = fast_model(folder.path())?;
    let window = AppWindow::open(Start { model: Some(&model), ..Start::default() })?;
    window.session().resize(1280, 800)?;
    window.wait_for_model("ready")?;
    window.set_options(6000)?;
    window.ask(QUESTION)?;
    wait("a paragraph", || Ok(window.answers()?.pop().filter(|it| it.text.len() > 2000)))?;
    let (before, cpu_before) = (Instant::now(), window.page_cpu()?);
    window.session().run(NOTE_FRAMES, &[])?;
    std::thread::sleep(Duration::from_secs(4));
    let frames = window.session().run("window.isNoting = false; return window.frames_", &[])?;
    let share = (window.page_cpu()? - cpu_before).as_secs_f64() / before.elapsed().as_secs_f64();
    let speed = window.text("tokens-per-second")?.unwrap_or_default();
    let is_open = window.answers()?.pop().is_some_and(|it| it.state == "streaming");
    ensure!(is_open, "the answer ended before it was measured");
    let times: Vec<f64> =
        frames.as_array().into_iter().flatten().filter_map(Json::as_f64).collect();
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let rate = 1000.0 * gaps.len() as f64 / gaps.iter().sum::<f64>();
    let late = quantile(gaps, 0.99);
    row(
        &format!("Frames while an answer streams at {speed}"),
        &format!("{rate:.0} a second, 99% within {late:.0} ms"),
        "60 a second",
    );
    row(
        "Processor time of the page meanwhile",
        &format!("{:.0}% of a core", share * 100.0),
        "< 50%",
    );
    window.click("stop")?;
    Ok(())
}

/// How long a key that is typed while the model writes takes until it is painted.
fn input_while_writing() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.session().resize(1280, 800)?;
    window.wait_for_model("ready")?;
    window.set_options(1500)?;
    window.ask(QUESTION)?;
    wait("a paragraph", || Ok(window.answers()?.pop().filter(|it| it.text.len() > 100)))?;
    let script = "return new Promise(finish => {
        const field = document.querySelector('[data-testid=composer-input]');
        const delays = [];
        let due = performance.now() + 50;
        const press = () => {
            field.value += 'a';
            field.dispatchEvent(new Event('input', { bubbles: true }));
            const pressed = due;
            requestAnimationFrame(() => setTimeout(() => {
                delays.push(performance.now() - pressed);
                due = performance.now() + 50 * Math.random() + 20;
                if (delays.length < 60) setTimeout(press, due - performance.now()); else finish(delays);
            }));
        };
        setTimeout(press, 50);
    })";
    let delays = window.session().run(script, &[])?;
    let delays: Vec<f64> =
        delays.as_array().into_iter().flatten().filter_map(Json::as_f64).collect();
    let speed = window.text("tokens-per-second")?.unwrap_or_default();
    let measured =
        format!("{:.0} ms, 95% within {:.0} ms", median(delays.clone()), quantile(delays, 0.95));
    row(&format!("A key typed while the model writes at {speed}"), &measured, "≤ 50 ms");
    window.click("stop")?;
    Ok(())
}
