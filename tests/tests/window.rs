//! The real app in its real window: asks, stops, meets bad models, and has its picture taken.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lilims_tests::app_window::{AppWindow, Start};
use lilims_tests::webdriver::ESCAPE;

const QUESTION: &str = "What is gravity?";
/// How SmolLM2 answers it at temperature 0, with its chat template: what llama.cpp writes for the
/// same file and prompt. Each of these tokens leads the next best by 1.7 nats or more, several times
/// what rounding shifts in any implementation that quantises activations. (At "What is the capital
/// of France?" the first token leads by 0.15; llama.cpp and `cpu` begin with "L'Étoile, la
/// Marseillaise", and f32 activations with "The capital of France is Paris".)
const ANSWER: &str = "Gravity is a fundamental concept in physics that describes";
/// Enough for [`ANSWER`], and soon done where other programs keep the machine busy.
const SHORT: u32 = 24;
/// Enough for a paragraph.
const MEDIUM: u32 = 110;
/// More than is written before the test stops it.
const LONG: u32 = 2000;
/// Keeps the model busy for seconds.
const LONG_QUESTION: &str = "Write a very long story about a lighthouse keeper and the sea.";
/// A desktop's window and a phone's.
const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];

/// The bundled model's file.
fn bundled_model() -> Result<PathBuf> {
    lilims_models::bundled_model(None).context("`cargo xtask test` fetches it")
}

#[test]
fn a_question_is_answered() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.wait_for_model("ready")?;
    let name = window.text("model-name")?.unwrap_or_default();
    ensure!(name == "SmolLM2 135M Instruct", "the model's name is {name:?}");
    window.set_options(SHORT)?;
    let answer = window.ask_and_wait(QUESTION)?;
    ensure!(answer.starts_with(ANSWER), "the answer is {answer:?}");
    let speed = window.text("tokens-per-second")?.unwrap_or_default();
    ensure!(first_number(&speed).is_some_and(|speed| speed > 0.0), "the speed is {speed:?}");
    let stats = window.text("answer-stats")?.unwrap_or_default();
    ensure!(stats.contains("tokens"), "the statistics are {stats:?}");
    Ok(())
}

#[test]
fn a_question_asked_while_the_model_loads_is_answered() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.set_options(SHORT)?;
    let answer = window.ask_and_wait(QUESTION)?;
    ensure!(answer.starts_with(ANSWER), "the answer is {answer:?}");
    Ok(())
}

#[test]
fn an_answer_can_be_stopped_by_button_and_by_key() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.wait_for_model("ready")?;
    let ways: [&dyn Fn() -> Result<()>; 2] =
        [&|| window.click("stop"), &|| window.type_into("composer-input", ESCAPE)];
    for stop in ways {
        window.set_options(LONG)?;
        window.ask(LONG_QUESTION)?;
        window.wait("the first words", || {
            Ok(window.answers()?.pop().filter(|answer| answer.text.len() > 20))
        })?;
        stop()?;
        let stopped = window.wait_for_end()?;
        ensure!(stopped.state == "stopped" && !stopped.text.is_empty(), "{stopped:?}");
        window.set_options(SHORT)?;
        // While the next answer is written, a stopped one would grow if it still could.
        let next = window.ask_and_wait(QUESTION)?;
        ensure!(!next.is_empty());
        let answers = window.answers()?;
        let kept = &answers[answers.len() - 2];
        ensure!(*kept == stopped, "{kept:?} was {stopped:?}");
    }
    Ok(())
}

#[test]
fn a_new_chat_forgets_and_an_answer_can_be_written_again() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.wait_for_model("ready")?;
    window.set_options(SHORT)?;
    window.ask_and_wait(QUESTION)?;
    window.click("regenerate")?;
    let again = window.wait_for_end()?;
    ensure!(again.state == "done" && again.text.starts_with(ANSWER), "{again:?}");
    ensure!(window.answers()?.len() == 1);
    window.click("new-chat")?;
    window.wait("an empty page", || Ok(window.answers()?.is_empty().then_some(())))?;
    let anew = window.ask_and_wait(QUESTION)?;
    ensure!(anew.starts_with(ANSWER), "the answer is {anew:?}");
    Ok(())
}

#[test]
fn a_damaged_model_is_told_and_can_be_replaced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.gguf");
    let whole = fs::read(bundled_model()?)?;
    fs::write(&model, &whole[..whole.len() / 2])?;
    recovers_from(&model, "damaged", || Ok(fs::write(&model, &whole)?))
}

#[test]
fn a_missing_model_is_told_and_can_be_supplied() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.gguf");
    recovers_from(&model, "No model was found", || {
        fs::copy(bundled_model()?, &model)?;
        Ok(())
    })
}

/// Opens the app with a bad `model`, wants to read `told`, has it repaired and loads it again.
fn recovers_from(model: &Path, told: &str, repair: impl FnOnce() -> Result<()>) -> Result<()> {
    let window = AppWindow::open(Start { model: Some(model), ..Start::default() })?;
    window.wait_for_model("failed")?;
    window.wait_for("error-message")?;
    let message = window.text("error-message")?.unwrap_or_default();
    ensure!(message.contains(told), "the message is {message:?}");
    window.click("retry-load")?;
    window.wait_for_model("failed")?;
    repair()?;
    window.wait_for("retry-load")?;
    window.click("retry-load")?;
    window.wait_for_model("ready")?;
    ensure!(!window.exists("error-message")?, "the error is still shown");
    window.set_options(SHORT)?;
    let answer = window.ask_and_wait(QUESTION)?;
    ensure!(answer.starts_with(ANSWER), "the answer is {answer:?}");
    Ok(())
}

#[test]
fn pictures_of_every_state_in_light_and_dark() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("model.gguf");
    for (theme, is_dark) in [("light", false), ("dark", true)] {
        let window = AppWindow::open(Start { is_dark, ..Start::default() })?;
        window.wait_for_model("ready")?;
        let scheme = window
            .session()
            .run("return matchMedia('(prefers-color-scheme: dark)').matches", &[])?;
        ensure!(scheme == is_dark, "the page does not see that the desktop is {theme}");
        window.set_options(MEDIUM)?;
        save(&window, "empty", theme)?;
        window.ask_and_wait(QUESTION)?;
        save(&window, "conversation", theme)?;
        window.click("settings-toggle")?;
        window.wait_for("settings")?;
        save(&window, "settings", theme)?;
        drop(window);

        let window = AppWindow::open(Start { model: Some(&missing), is_dark })?;
        window.wait_for_model("failed")?;
        window.wait_for("error-message")?;
        save(&window, "error", theme)?;
    }
    Ok(())
}

fn save(window: &AppWindow, state: &str, theme: &str) -> Result<()> {
    SIZES.iter().try_for_each(|&size| window.save_screenshot(&format!("{state}-{theme}"), size))
}

/// The first number that stands in `text`.
fn first_number(text: &str) -> Option<f64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let rest = &text[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}
