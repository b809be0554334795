//! The real app in its real window: questions, stopping, invalid models, and screenshots.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lilims_store::Store;
use lilims_tests::app_window::{AppWindow, Start, wait};
use lilims_tests::webdriver::ESCAPE;

const QUESTION: &str = "What is gravity?";
/// The start of SmolLM2's answer at temperature 0 with its chat template, as llama.cpp generates it
/// for the same file and prompt. Each token leads the second best by at least 1.7 nats, several
/// times the effect of rounding in implementations that quantise activations. (For "What is the
/// capital of France?" the first token leads by only 0.15: llama.cpp and `cpu` start with
/// "L'Étoile, la Marseillaise", f32 activations with "The capital of France is Paris".)
const ANSWER: &str = "Gravity is a fundamental concept in physics that describes";
/// Enough tokens for [`ANSWER`], and fast even on a busy machine.
const SHORT: u32 = 24;
/// Enough tokens for a paragraph.
const MEDIUM: u32 = 110;
/// More tokens than are generated before the test stops the answer.
const LONG: u32 = 2000;
/// A question that keeps the model busy for seconds.
const LONG_QUESTION: &str = "Write a very long story about a lighthouse keeper and the sea.";
/// The sizes of a desktop window and a phone.
const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];

/// The bundled model's file.
fn bundled_model() -> Result<PathBuf> {
    lilims_models::bundled_model(None).context("`cargo xtask test` downloads it")
}

#[test]
fn question_is_answered() -> Result<()> {
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
fn question_during_loading_is_answered() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.set_options(SHORT)?;
    let answer = window.ask_and_wait(QUESTION)?;
    ensure!(answer.starts_with(ANSWER), "the answer is {answer:?}");
    Ok(())
}

#[test]
fn answer_can_be_stopped_by_button_and_by_key() -> Result<()> {
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
        // The stopped answer does not grow while the next one is generated.
        let next = window.ask_and_wait(QUESTION)?;
        ensure!(!next.is_empty());
        let answers = window.answers()?;
        let kept = &answers[answers.len() - 2];
        ensure!(*kept == stopped, "{kept:?} was {stopped:?}");
    }
    Ok(())
}

#[test]
fn new_chat_clears_the_conversation_and_answers_can_be_regenerated() -> Result<()> {
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
    let new_answer = window.ask_and_wait(QUESTION)?;
    ensure!(new_answer.starts_with(ANSWER), "the answer is {new_answer:?}");
    Ok(())
}

#[test]
fn conversation_is_restored_at_the_next_start() -> Result<()> {
    let home = tempfile::tempdir()?;
    let start = Start { home: Some(home.path()), ..Start::default() };

    let window = AppWindow::open(start)?;
    window.wait_for_model("ready")?;
    window.set_options(SHORT)?;
    let answer = window.ask_and_wait(QUESTION)?;
    // The session is saved after a while without a question.
    let session = wait("the saved session", || Ok(saved_sessions(home.path()).pop()))?;
    drop(window);

    let window = AppWindow::open(start)?;
    window.wait("the answer of the last visit", || {
        Ok(window.answers()?.pop().filter(|shown| shown.text == answer))
    })?;
    window.wait_for_model("ready")?;
    let meter = window.text("context-meter")?.unwrap_or_default();
    ensure!(meter.contains("of 8,192"), "the meter shows {meter:?}");
    window.set_options(LONG)?;
    window.ask(LONG_QUESTION)?;
    let store = Store::open(home.path())?;
    wait("half an answer on disk", || {
        let messages = saved_messages(&store)?;
        let [.., question, answer] = &*messages else { return Ok(None) };
        let is_half = *question == LONG_QUESTION && answer.len() > 20;
        Ok((messages.len() == 4 && is_half).then_some(()))
    })?;
    window.kill_app()?;
    drop(window);

    // Neither the question nor the partial answer is lost.
    let window = AppWindow::open(start)?;
    let answers = window.wait("the answers of the last visit", || {
        Ok(Some(window.answers()?).filter(|answers| answers.len() == 2))
    })?;
    ensure!(answers[0].text == answer && answers[1].text.len() > 20, "{answers:?}");
    window.wait_for_model("ready")?;
    window.click("new-chat")?;
    window.wait("an empty page", || Ok(window.answers()?.is_empty().then_some(())))?;
    ensure!(session.exists() && store.conversation_heads()?.len() == 1, "the conversation stays");
    Ok(())
}

/// The texts of all conversations, in the order in which they were written.
fn saved_messages(store: &Store) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for conversation in store.conversations(false)? {
        for message in store.messages(&conversation.id)? {
            texts.push(message.parts.iter().map(|part| part.text.as_str()).collect());
        }
    }
    Ok(texts)
}

fn saved_sessions(home: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(home.join("conversations")).into_iter().flatten().flatten();
    files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|it| it == "session"))
        .collect()
}

#[test]
fn reading_a_long_question_shows_progress() -> Result<()> {
    let window = AppWindow::open(Start::default())?;
    window.wait_for_model("ready")?;
    window.set_options(SHORT)?;
    let long = "The keeper wrote down the names of all ships that passed the light. ".repeat(90);
    window.paste("composer-input", &long)?;
    window.send()?;
    window.wait_for("reading-progress")?;
    let script = "return document.querySelector('[role=progressbar][aria-valuenow]') !== null";
    ensure!(window.session().run(script, &[])? == true, "the progress ring has no value");
    let answer = window.wait_for_end()?;
    ensure!(answer.state == "done" && !window.exists("reading-progress")?, "{answer:?}");
    Ok(())
}

#[test]
fn sliding_window_is_shown_and_overflow_can_be_chosen() -> Result<()> {
    for (theme, is_dark) in [("light", false), ("dark", true)] {
        let window = AppWindow::open(Start { is_dark, context: Some(160), ..Start::default() })?;
        window.wait_for_model("ready")?;
        window.set_options(MEDIUM / 2)?;
        for _ in 0..4 {
            window.ask_and_wait(QUESTION)?;
        }
        ensure!(window.exists("window-line")?, "the start of the window is not shown");
        let meter = window.text("context-meter")?.unwrap_or_default();
        ensure!(meter.contains("160"), "the meter shows {meter:?}");
        save(&window, "window-line", theme)?;
        window.click("context-meter")?;
        window.wait_for("context-panel")?;
        save(&window, "context-panel", theme)?;
        choose(&window, "overflow-stop")?;
        window.ask(QUESTION)?;
        let refused = window.wait_for_end()?;
        ensure!(refused.state == "failed", "{refused:?}");
        let message = window.text("error-message")?.unwrap_or_default();
        ensure!(message.contains("Slide or Summarise"), "the message is {message:?}");

        window.click("context-meter")?;
        choose(&window, "overflow-summarise")?;
        window.click("retry")?;
        let answer = window.wait_for_end()?;
        ensure!(answer.state == "done", "{answer:?}");
        window.click("context-meter")?;
        window.wait_for("context-summary")?;
        save(&window, "context-summary", theme)?;
    }
    Ok(())
}

/// Clicks a choice in the context panel and closes the panel.
fn choose(window: &AppWindow, id: &str) -> Result<()> {
    window.wait_for(id)?;
    window.wait_for_stillness()?;
    window.click(id)?;
    window.click("context-panel-close")
}

#[test]
fn damaged_model_is_reported_and_can_be_replaced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.gguf");
    let whole = fs::read(bundled_model()?)?;
    fs::write(&model, &whole[..whole.len() / 2])?;
    recovers_from(&model, "damaged", || Ok(fs::write(&model, &whole)?))
}

#[test]
fn missing_model_is_reported_and_can_be_supplied() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model.gguf");
    recovers_from(&model, "No model was found", || {
        fs::copy(bundled_model()?, &model)?;
        Ok(())
    })
}

#[test]
fn a3_shrinking_model_file_is_reported_and_the_turn_is_kept() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("changing.gguf");
    fs::copy(bundled_model()?, &model)?;
    let window = AppWindow::open(Start { model: Some(&model), ..Start::default() })?;
    window.wait_for_model("ready")?;
    window.set_options(LONG)?;
    window.ask(LONG_QUESTION)?;
    window.wait("the first words", || {
        Ok(window.answers()?.pop().filter(|answer| answer.text.len() > 20))
    })?;
    fs::File::options().write(true).open(&model)?.set_len(4096)?;
    let failed = window.wait_for_end()?;
    ensure!(failed.state == "failed" && failed.text.len() > 20, "{failed:?}");
    let message = window.text("error-message")?.unwrap_or_default();
    ensure!(message.contains("changed"), "the message is {message:?}");
    // After the file is restored, the same question is answered.
    fs::copy(bundled_model()?, &model)?;
    window.set_options(SHORT)?;
    window.click("retry")?;
    let again = window.wait_for_end()?;
    ensure!(again.state == "done" && !again.text.is_empty(), "{again:?}");
    Ok(())
}

/// Opens the app with an invalid `model`, expects an error with `expected`, repairs the model and
/// loads it.
fn recovers_from(model: &Path, expected: &str, repair: impl FnOnce() -> Result<()>) -> Result<()> {
    let window = AppWindow::open(Start { model: Some(model), ..Start::default() })?;
    window.wait_for_model("failed")?;
    window.wait_for("error-message")?;
    let message = window.text("error-message")?.unwrap_or_default();
    ensure!(message.contains(expected), "the message is {message:?}");
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
fn screenshots_of_every_state_in_light_and_dark() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let missing = folder.path().join("model.gguf");
    for (theme, is_dark) in [("light", false), ("dark", true)] {
        let window = AppWindow::open(Start { is_dark, ..Start::default() })?;
        window.wait_for_model("ready")?;
        let scheme = window
            .session()
            .run("return matchMedia('(prefers-color-scheme: dark)').matches", &[])?;
        ensure!(scheme == is_dark, "the page does not use the {theme} theme");
        window.set_options(MEDIUM)?;
        save(&window, "empty", theme)?;
        window.ask_and_wait(QUESTION)?;
        save(&window, "conversation", theme)?;
        window.click("settings-toggle")?;
        window.wait_for("settings")?;
        save(&window, "settings", theme)?;
        drop(window);

        let window = AppWindow::open(Start { model: Some(&missing), is_dark, ..Start::default() })?;
        window.wait_for_model("failed")?;
        window.wait_for("error-message")?;
        save(&window, "error", theme)?;
    }
    Ok(())
}

fn save(window: &AppWindow, state: &str, theme: &str) -> Result<()> {
    SIZES.iter().try_for_each(|&size| window.save_screenshot(&format!("{state}-{theme}"), size))
}

/// The first number in `text`.
fn first_number(text: &str) -> Option<f64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let rest = &text[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}
