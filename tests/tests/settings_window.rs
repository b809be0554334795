//! Settings, assistants, the exact prompt, the palette and the languages in the real window.

#![cfg(target_os = "linux")]

use anyhow::{Result, ensure};
use lilims_tests::app_window::{AppWindow, Start};
use lilims_tests::webdriver::ENTER;
use serde_json::{Value, json};

const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];
/// Enough tokens for an answer that a test only needs to exist.
const SHORT: u32 = 12;

fn open(start: Start<'_>) -> Result<AppWindow> {
    let window = AppWindow::open(start)?;
    window.wait_for_model("ready")?;
    let (width, height) = SIZES[0];
    window.session().resize(width, height)?;
    let size = json!([width, height]);
    window.wait("the size", || {
        let shown = window.session().run("return [innerWidth, innerHeight]", &[])?;
        Ok((shown == size).then_some(()))
    })?;
    window.wait_for_stillness()?;
    Ok(window)
}

fn root(window: &AppWindow, attribute: &str) -> Result<Value> {
    let script = "return document.documentElement.getAttribute(arguments[0])";
    window.session().run(script, &[json!(attribute)])
}

/// Chooses an option of a select element, as a user does.
fn choose(window: &AppWindow, id: &str, value: &str) -> Result<()> {
    window.wait_for(id)?;
    let script = "const it = document.querySelector(`[data-testid=${arguments[0]}]`);
        it.value = arguments[1]; it.dispatchEvent(new Event('change', { bubbles: true }))";
    window.session().run(script, &[json!(id), json!(value)]).map(drop)
}

fn has_text(window: &AppWindow, id: &str, text: &str) -> Result<()> {
    window
        .wait(text, || Ok(window.text(id)?.is_some_and(|shown| shown.contains(text)).then_some(())))
}

#[test]
fn an_assistant_is_chosen_and_the_exact_prompt_shows_its_instructions() -> Result<()> {
    let window = open(Start::default())?;
    let _: Value = window.session().run("document.querySelector('.app').isFirst = true", &[])?;
    window.set_options(SHORT)?;
    window.click("assistant-picker")?;
    window.wait_for("menu")?;
    window.save_screenshot("assistants-light", SIZES[0])?;
    let script = "const items = [...document.querySelectorAll('[data-testid=assistant-choice]')];
        items.find(it => it.innerText.includes('Tutor')).click()";
    let _: Value = window.session().run(script, &[])?;
    has_text(&window, "assistant-picker", "Tutor")?;
    window.ask_and_wait("What is a prime number?")?;
    window.press_keys("P", true)?;
    window.wait_for("prompt-view")?;
    has_text(&window, "prompt-text", "You are a patient tutor")?;
    has_text(&window, "prompt-text", "What is a prime number?")?;
    window.save_screenshot("prompt-light", SIZES[0])?;
    window.click("prompt-tokens")?;
    let n_tokens = "return document.querySelectorAll('.prompt-text .tokens > span').length";
    window.wait("the tokens", || {
        Ok((window.session().run(n_tokens, &[])?.as_u64() > Some(50)).then_some(()))
    })?;
    window.save_screenshot("prompt-tokens-light", SIZES[0])?;
    window.save_screenshot("prompt-tokens-light", SIZES[1])?;
    ensure!(!window.exists("prompt-differs")?, "the prompt is not what was read");
    window.click("prompt-view-close")?;
    window.ask_and_wait("And is one of them even?")?;
    window.press_keys("P", true)?;
    has_text(&window, "prompt-text", "is one of them even?")?;
    ensure!(!window.exists("prompt-differs")?, "the second prompt is not what was read");
    window.click("prompt-view-close")?;
    let more = "document.querySelector('.message.last [data-testid=more]').click()";
    let _: Value = window.session().run(more, &[])?;
    window.click("continue")?;
    window.wait_for_end()?;
    window.press_keys("P", true)?;
    window.wait_for("prompt-differs")?;
    window.click("prompt-view-close")?;
    let is_first = "return document.querySelector('.app').isFirst === true";
    ensure!(window.session().run(is_first, &[])? == true, "the whole page was drawn again");
    Ok(())
}

#[test]
fn settings_belong_to_their_conversation_and_are_reset_alone() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = open(Start { home: Some(home.path()), ..Start::default() })?;
    window.set_options(SHORT)?;
    window.click("settings-toggle")?;
    window.set_number("top-k", 7)?;
    window.type_into("preset-name", "Narrow")?;
    window.click("preset-save")?;
    window.wait_for("preset-use")?;
    window.type_into("settings-search", "penalty")?;
    window.wait("the rows that were found", || {
        Ok((window.exists("presence-penalty")? && !window.exists("top-k")?).then_some(()))
    })?;
    let clear = "const it = document.querySelector('[data-testid=settings-search]');
        it.value = ''; it.dispatchEvent(new Event('input', { bubbles: true }))";
    let _: Value = window.session().run(clear, &[])?;
    window.wait_for("top-k")?;
    window.click("top-k-reset")?;
    has_text(&window, "setting-row-top-k", "Default: 40")?;
    window.click("preset-use")?;
    let value = "return document.querySelector('[data-testid=top-k]').value";
    window.wait("the preset", || Ok((window.session().run(value, &[])? == "7").then_some(())))?;
    window.click("settings-close")?;
    window.ask_and_wait("Say one word.")?;
    window.click("new-chat")?;
    window.wait("the new conversation", || Ok(window.answers()?.is_empty().then_some(())))?;
    window.click("settings-toggle")?;
    has_text(&window, "setting-row-top-k", "Default: 40")?;
    window.wait("its own value", || Ok((window.session().run(value, &[])? == "40").then_some(())))
}

#[test]
fn the_palette_opens_finds_and_runs() -> Result<()> {
    let window = open(Start::default())?;
    window.press_keys("k", false)?;
    window.wait_for("palette-input")?;
    window.save_screenshot("palette-light", SIZES[0])?;
    window.save_screenshot("palette-light", SIZES[1])?;
    window.type_into("palette-input", "libr")?;
    window.wait("one entry", || {
        let script = "return document.querySelectorAll('[data-testid=palette-entry]').length";
        Ok((window.session().run(script, &[])? == 1).then_some(()))
    })?;
    window.type_into("palette-input", ENTER)?;
    window.wait_for("library")?;
    ensure!(!window.exists("palette")?, "the palette is still open");
    window.press_keys(",", false)?;
    window.wait_for("settings")?;
    ensure!(!window.exists("library")?, "two pages are open");
    window.session().run("document.activeElement.blur()", &[])?;
    window.press_keys("?", false)?;
    window.wait_for("palette")
}

/// The web view writes its storage a moment after a change; what follows the first changes takes longer.
#[test]
fn languages_theme_and_text_size_change_at_once_and_are_kept() -> Result<()> {
    let home = tempfile::tempdir()?;
    let start = Start { home: Some(home.path()), ..Start::default() };
    let window = open(start)?;
    window.set_options(SHORT)?;
    window.ask_and_wait("Name a river.")?;
    window.click("settings-toggle")?;
    choose(&window, "theme", "dark")?;
    choose(&window, "text-size", "130")?;
    let paper = "return getComputedStyle(document.body).backgroundColor";
    window.wait("the dark theme", || {
        Ok((window.session().run(paper, &[])? == "rgb(19, 21, 20)").then_some(()))
    })?;
    let size = "return parseFloat(getComputedStyle(document.documentElement).fontSize)";
    window.wait("the text size", || {
        let size = window.session().run(size, &[])?;
        Ok(size.as_f64().is_some_and(|size| size > 20.0).then_some(()))
    })?;
    for (language, title, dir) in [("de", "Einstellungen", "ltr"), ("ar", "الإعدادات", "rtl")]
    {
        choose(&window, "language", language)?;
        window.wait(title, || {
            let script = "return document.querySelector('#settings-title')?.innerText";
            Ok((window.session().run(script, &[])? == title).then_some(()))
        })?;
        ensure!(root(&window, "lang")? == language && root(&window, "dir")? == dir, "{language}");
        window.save_screenshot(&format!("settings-{language}"), SIZES[0])?;
        window.save_screenshot(&format!("settings-{language}"), SIZES[1])?;
        window.session().resize(SIZES[0].0, SIZES[0].1)?;
        window.click("settings-close")?;
        ensure!(window.answers()?.len() == 1, "the conversation stays");
        window.save_screenshot(&format!("conversation-{language}"), SIZES[0])?;
        window.click("settings-toggle")?;
    }
    window.session().close()?;
    drop(window);
    let window = open(start)?;
    ensure!(root(&window, "lang")? == "ar", "the language is kept");
    ensure!(window.session().run(paper, &[])? == "rgb(19, 21, 20)", "the theme is kept");
    Ok(())
}
