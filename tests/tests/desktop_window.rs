//! The app on a desktop: a second start, links, files that are opened with it, the window's place.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use lilims_store::{ConversationChange, ConversationId, NewMessage, Role, Store};
use lilims_tests::app_window::{AppWindow, Start, wait};
use lilims_tests::webdriver::ESCAPE;
use serde_json::{Value, json};

/// What a link puts into the message field, and the link.
const TEXT: &str = "Why is the sky blue?\nBriefly & \"well\".";
const LINK: &str = "lilims://ask?text=Why%20is+the%20sky%20blue%3F%0ABriefly%20%26%20%22well%22.";

fn start(home: &Path) -> Start<'_> {
    Start { home: Some(home), ..Start::default() }
}

/// Waits until `text` is typed and not sent.
fn wait_for_draft(window: &AppWindow, text: &str) -> Result<()> {
    window.wait("the draft", || Ok((window.draft()? == text).then_some(())))
}

/// Fails if anything was said in a conversation.
fn ensure_nothing_was_sent(window: &AppWindow, home: &Path) -> Result<()> {
    ensure!(window.answers()?.is_empty(), "there is an answer");
    let store = Store::open(home)?;
    for conversation in store.conversations(false)? {
        ensure!(store.messages(&conversation.id)?.is_empty(), "a message was stored");
    }
    Ok(())
}

/// A conversation with one question, which is its title, and one answer.
fn add(home: &Path, question: &str, answer: &str) -> Result<ConversationId> {
    let store = Store::open(home)?;
    let title = Some(Some(question.to_owned()));
    let id = store.create_conversation(&ConversationChange { title, ..Default::default() })?;
    let question = store.add_message(&NewMessage::text(&id, None, Role::User, question))?;
    store.add_message(&NewMessage::text(&id, Some(&question), Role::Assistant, answer))?;
    Ok(id)
}

#[test]
fn a_second_start_passes_its_link_and_ends() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = AppWindow::open(start(home.path()))?;
    window.wait_for("composer-input")?;
    ensure!(window.start_again(&[])?.success());
    ensure!(window.start_again(&[LINK])?.success());
    wait_for_draft(&window, TEXT)?;
    ensure_nothing_was_sent(&window, home.path())?;
    // What was typed stays with its conversation, and a link that is none of ours changes nothing.
    ensure!(window.start_again(&["lilims://ask?text=%zz"])?.success());
    ensure!(window.start_again(&["lilims://delete-all"])?.success());
    ensure!(window.draft()? == TEXT);
    ensure_nothing_was_sent(&window, home.path())
}

#[test]
fn a_link_of_the_first_start_waits_for_the_page() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = AppWindow::open(Start { arguments: &[LINK], ..start(home.path()) })?;
    wait_for_draft(&window, TEXT)?;
    ensure_nothing_was_sent(&window, home.path())
}

#[test]
fn a_link_to_a_conversation_shows_it() -> Result<()> {
    let home = tempfile::tempdir()?;
    let first = add(home.path(), "first question", "first answer")?;
    add(home.path(), "second question", "second answer")?;
    let window = AppWindow::open(start(home.path()))?;
    let shows = |answer: &str| {
        window.wait(answer, || Ok(window.answers()?.pop().filter(|it| it.text == answer).map(drop)))
    };
    shows("second answer")?;
    ensure!(window.start_again(&[&format!("lilims://conversation/{}", first.as_str())])?.success());
    shows("first answer")
}

#[test]
fn an_opened_model_is_offered_and_imported_only_on_request() -> Result<()> {
    let home = tempfile::tempdir()?;
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("opened \u{202e}model.gguf");
    fs::copy(lilims_models::bundled_model(None)?, &model)?;
    let path = model.to_str().unwrap_or_default();
    let window = AppWindow::open(start(home.path()))?;
    window.wait_for("composer-input")?;
    let count = || Ok::<_, anyhow::Error>(imported(home.path()));
    ensure!(window.start_again(&[path])?.success());
    window.wait_for("offered-files")?;
    let shown = window.text("offered-files")?.unwrap_or_default();
    ensure!(shown.contains("model.gguf") && !shown.contains('\u{202e}'), "it shows {shown:?}");
    window.type_into("offered-files", ESCAPE)?;
    window.wait("no offer", || Ok((!window.exists("offered-files")?).then_some(())))?;
    ensure!(count()? == 0, "the file was imported by itself");
    ensure!(window.start_again(&[path])?.success());
    window.click("offered-import")?;
    wait("the copy in the library", || Ok((count()? == 1).then_some(())))
}

/// The number of models in the library's folder.
fn imported(home: &Path) -> usize {
    fn count(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .map(|path| match path.is_dir() {
                true => count(&path),
                false => usize::from(path.extension().is_some_and(|it| it == "gguf")),
            })
            .sum()
    }
    count(&home.join("models"))
}

#[test]
fn the_window_has_its_size_again() -> Result<()> {
    let home = tempfile::tempdir()?;
    let size = (940, 710);
    let window = AppWindow::open(start(home.path()))?;
    window.session().resize(940, 710)?;
    window.wait("the size", || Ok((window.size()? == size).then_some(())))?;
    wait("the size in the file", || {
        let place = fs::read(home.path().join("window.json")).unwrap_or_default();
        let place: Value = serde_json::from_slice(&place).unwrap_or_default();
        Ok((place["width"] == 940 && place["height"] == 710).then_some(()))
    })?;
    drop(window);
    let window = AppWindow::open(start(home.path()))?;
    ensure!(window.size()? == size, "the size is {:?}", window.size()?);
    drop(window);
    // A place that no display has, and a size that none has: the window is on the screen.
    let place =
        json!({ "x": -9000, "y": 9000, "width": 90000, "height": 90000, "is_maximized": false });
    fs::write(home.path().join("window.json"), place.to_string())?;
    let window = AppWindow::open(start(home.path()))?;
    let (width, height) = window.size()?;
    ensure!(width <= 1920 && height <= 1200, "the size is {width}x{height}");
    Ok(())
}

#[test]
fn the_window_has_the_title_of_its_conversation() -> Result<()> {
    let home = tempfile::tempdir()?;
    add(home.path(), "A titled question", "an answer")?;
    let window = AppWindow::open(start(home.path()))?;
    window.wait("the title", || {
        let title = window.session().run("return document.title", &[])?;
        Ok((title == "A titled question").then_some(()))
    })
}

#[test]
fn settings_of_the_desktop_are_kept() -> Result<()> {
    let home = tempfile::tempdir()?;
    let checked = |window: &AppWindow, id: &str| {
        let script = "return document.querySelector(arguments[0]).checked";
        window.session().run(script, &[json!(format!("[data-testid={id}]"))])
    };
    let window = AppWindow::open(start(home.path()))?;
    window.click("settings-toggle")?;
    window.wait_for("desktop-quick-ask")?;
    ensure!(checked(&window, "desktop-quick-ask")? == false, "quick ask is on by itself");
    window.click("desktop-notify")?;
    window.click("settings-close")?;
    drop(window);
    let window = AppWindow::open(start(home.path()))?;
    window.click("settings-toggle")?;
    window.wait_for("desktop-notify")?;
    ensure!(checked(&window, "desktop-notify")? == false, "the setting was lost");
    ensure!(checked(&window, "desktop-tray")? == true);
    Ok(())
}
