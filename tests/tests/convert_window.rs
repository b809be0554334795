//! Converts a model in the real window: choosing a type, progress, figures, cancelling, and a quota
//! that is too small.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lilims_convert::Manifest;
use lilims_hub::Library;
use lilims_tests::app_window::{AppWindow, Start};

const QUESTION: &str = "What is gravity?";
const SHORT: u32 = 12;
/// The bundled model's name in the library, and that of the converted one.
const BUNDLED: &str = "smollm2-135m-instruct-q4_1";
const CONVERTED: &str = "smollm2-135m-instruct-q4_0";
const CONVERTED_FILE: &str = "models/converted/smollm2-135m-instruct-Q4_0.gguf";
/// The sizes of a desktop's window and a phone's.
const SIZES: [(u32, u32); 2] = [(1280, 800), (390, 844)];
/// How many of the window's timeouts a conversion may take, since evaluating is slow on a busy
/// machine.
const MAX_TIMEOUTS: usize = 6;

/// Opens the app with its data in `home`, and the library in it.
fn open_library(home: &Path, is_dark: bool) -> Result<AppWindow> {
    let window = AppWindow::open(Start { home: Some(home), is_dark, ..Start::default() })?;
    window.wait_for_model("ready")?;
    window.click("library-toggle")?;
    window.wait_for_where("model-card", "data-name", BUNDLED)?;
    Ok(window)
}

/// Opens the conversion dialog of the bundled model and chooses a type.
fn choose(window: &AppWindow, target: &str) -> Result<()> {
    window.click(&format!("model-card][data-name='{BUNDLED}'] [data-testid=model-convert"))?;
    window.wait_for("convert-start")?;
    window.click("convert-more")?;
    window.wait_for_where("convert-type", "data-name", target)?;
    window.click_where("convert-type", "data-name", target)?;
    window.wait("the chosen type", || {
        let label = window.text("convert-start")?.unwrap_or_default();
        Ok(label.contains(target).then_some(()))
    })
}

/// Removes a model once the app, which is shutting down, has released it.
fn remove(library: &Library, name: &str) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match library.remove(name) {
            Err(lilims_hub::Error::InUse { .. }) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(50));
            }
            removed => return Ok(removed.map(drop)?),
        }
    }
}

/// Waits until the conversion in the dialog has this state.
fn wait_for_end(window: &AppWindow, state: &str) -> Result<()> {
    let mut waited = window.wait_for_where("conversion", "data-state", state);
    for _ in 1..MAX_TIMEOUTS {
        if waited.is_ok() {
            break;
        }
        waited = window.wait_for_where("conversion", "data-state", state);
    }
    waited
}

fn save_screenshots(window: &AppWindow, state: &str, is_dark: bool) -> Result<()> {
    let theme = if is_dark { "dark" } else { "light" };
    let name = format!("convert-{state}-{theme}");
    SIZES.iter().try_for_each(|&size| window.save_screenshot(&name, size))?;
    window.session().resize(SIZES[0].0, SIZES[0].1)
}

/// Lists the files in the folder of converted models.
fn converted_files(home: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(home.join("models/converted")).into_iter().flatten().flatten();
    files.map(|file| file.path()).collect()
}

#[test]
fn a_model_is_converted_evaluated_used_and_removed() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = open_library(home.path(), false)?;
    choose(&window, "Q4_0")?;
    ensure!(window.text("convert-room")?.unwrap_or_default().contains("There is room"));
    window.wait_for("convert-caution")?;
    save_screenshots(&window, "choice", false)?;
    window.click("convert-start")?;
    window.wait_for_where("conversion", "data-state", "running")?;
    save_screenshots(&window, "progress", false)?;

    // The conversion continues while the dialog is hidden, and can be shown again.
    window.click("convert-hide")?;
    window.wait_for("card-conversion")?;
    window.wait_for_stillness()?;
    save_screenshots(&window, "card", false)?;
    window.click("library-tab-downloads")?;
    window.wait_for("conversion-row")?;
    window.click("conversion-show")?;
    wait_for_end(&window, "done")?;
    let figures = window.text("convert-dialog] [data-testid=figures")?.context("the figures")?;
    ensure!(figures.contains("Perplexity") && figures.contains("KL divergence"), "{figures}");
    save_screenshots(&window, "result", false)?;
    let file = home.path().join(CONVERTED_FILE);
    let manifest = Manifest::read(&Manifest::path_of(&file))?;
    let evaluation = manifest.evaluation.context("it was evaluated")?;
    ensure!(figures.contains(&format!("{:.2}", evaluation.perplexity_after)), "{figures}");
    ensure!(figures.contains(&format!("{:.1}%", evaluation.same_top * 100.0)), "{figures}");

    window.click("convert-use")?;
    window.click("library-tab-device")?;
    let card = format!("model-card][data-name='{CONVERTED}']");
    window.wait_for_where("model-card", "data-name", CONVERTED)?;
    window.wait_for(&format!("{card} [data-testid=unload-model"))?;
    window.wait_for_model("ready")?;
    window.session().click(&window.session().find(&format!("[data-testid={card} summary"))?)?;
    window.wait_for(&format!("{card} [data-testid=figures"))?;
    save_screenshots(&window, "details", false)?;
    window.click("library-back")?;
    window.set_options(SHORT)?;
    ensure!(!window.ask_and_wait(QUESTION)?.is_empty());
    drop(window);

    let library = Library::open_in(home.path())?;
    let entry = library.entry(CONVERTED)?;
    ensure!(entry.owner.is_none() && entry.sha256 == Some(manifest.result.sha256));
    remove(&library, CONVERTED)?;
    ensure!(converted_files(home.path()).is_empty(), "the manifest is removed with the model");
    Ok(())
}

#[test]
fn cancelling_a_conversion_leaves_no_files_and_cancelling_figures_keeps_the_model() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = open_library(home.path(), true)?;
    choose(&window, "Q4_0")?;
    window.click("convert-weigh")?;
    save_screenshots(&window, "choice", true)?;
    window.click("convert-start")?;
    window.wait_for_where("conversion", "data-state", "running")?;
    save_screenshots(&window, "calibrating", true)?;
    window.click("convert-cancel-running")?;
    wait_for_end(&window, "cancelled")?;
    save_screenshots(&window, "cancelled", true)?;
    window.click("convert-close")?;
    ensure!(converted_files(home.path()).is_empty(), "{:?}", converted_files(home.path()));
    ensure!(!window.exists(&format!("model-card][data-name='{CONVERTED}'"))?);

    choose(&window, "Q4_0")?;
    window.click("convert-start")?;
    window.wait("measuring", || {
        let label = window.text("convert-cancel-running")?.unwrap_or_default();
        Ok((label == "Skip measuring").then_some(()))
    })?;
    window.click("convert-cancel-running")?;
    wait_for_end(&window, "done")?;
    let figures = window.text("convert-dialog] [data-testid=figures")?.unwrap_or_default();
    ensure!(figures.contains("Not measured"), "{figures}");
    save_screenshots(&window, "unmeasured", true)?;
    window.click("convert-close")?;
    window.wait_for_where("model-card", "data-name", CONVERTED)?;
    ensure!(home.path().join(CONVERTED_FILE).is_file());
    Ok(())
}

#[test]
fn a_quota_that_is_too_small_is_shown_before_converting() -> Result<()> {
    let home = tempfile::tempdir()?;
    Library::open_in(home.path())?.set_quota(Some(1_000_000))?;
    let window = open_library(home.path(), true)?;
    choose(&window, "Q4_0")?;
    window.wait("the refusal", || {
        let error = window.text("library-error")?.unwrap_or_default();
        Ok((error.contains("quota") && error.contains("1.0 MB")).then_some(()))
    })?;
    let is_disabled = "return document.querySelector('[data-testid=convert-start]').disabled";
    ensure!(window.session().run(is_disabled, &[])? == serde_json::Value::Bool(true));
    save_screenshots(&window, "quota", true)?;
    ensure!(converted_files(home.path()).is_empty());
    Ok(())
}
