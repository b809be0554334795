//! The model library in the real window: local models, a download, switching models, a load that
//! crashed the app, and unloading an idle model.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lilims_models::LoadAttempt;
use lilims_tests::app_window::{AppWindow, SIZES, Start};
use lilims_tests::hub_server::{Content, HubServer, Repo};
use lilims_tests::real_model;

const QUESTION: &str = "What is gravity?";
const SHORT: u32 = 12;
/// The bundled model's short name and title.
const BUNDLED: &str = "smollm2-135m-instruct-q4_1";
const BUNDLED_TITLE: &str = "SmolLM2 135M Instruct";
const GEMMA: &str = "gemma-3-270m-q4_k_m.gguf";

fn bundled_model() -> Result<PathBuf> {
    lilims_models::bundled_model(None).context("`cargo xtask test` downloads it")
}

/// A home folder in which LM Studio has the second model.
fn home_with_lm_studio() -> Result<tempfile::TempDir> {
    let home = tempfile::tempdir()?;
    let folder = home.path().join(".lmstudio/models/google/gemma-3-270m-GGUF");
    fs::create_dir_all(&folder)?;
    let model = real_model(GEMMA);
    std::os::unix::fs::symlink(fs::canonicalize(model)?, folder.join(GEMMA))?;
    Ok(home)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

fn open_library(window: &AppWindow) -> Result<()> {
    window.click("library-toggle")?;
    window.wait_for("library")?;
    window.wait_for_stillness()
}

fn save_screenshots(window: &AppWindow, state: &str, is_dark: bool) -> Result<()> {
    let theme = if is_dark { "dark" } else { "light" };
    let name = format!("library-{state}-{theme}");
    SIZES.iter().try_for_each(|&size| window.save_screenshot(&name, size))
}

#[test]
fn switching_to_a_model_of_another_program_keeps_the_conversation() -> Result<()> {
    let home = home_with_lm_studio()?;
    let variables = [("HOME", text(home.path()))];
    let window = AppWindow::open(Start { variables: &variables, ..Start::default() })?;
    window.wait_for_model("ready")?;
    window.set_options(SHORT)?;
    let answer = window.ask_and_wait(QUESTION)?;

    open_library(&window)?;
    window.wait_for_where("model-card", "data-name", BUNDLED)?;
    window.wait_for_where("model-card", "data-name", "gemma-3-270m-q4_k_m")?;
    window.wait_for("quota-bar")?;
    // The loaded model can be unloaded.
    window.wait_for("unload-model")?;
    save_screenshots(&window, "device", false)?;
    window.click("library-back")?;

    window.click("model-picker")?;
    window.click_where("model-picker-option", "data-name", "gemma-3-270m-q4_k_m")?;
    window.wait("the other model", || {
        let name = window.text("model-name")?.unwrap_or_default();
        Ok((name.to_lowercase().contains("gemma")).then_some(()))
    })?;
    window.wait_for_model("ready")?;
    let answers = window.answers()?;
    ensure!(answers.len() == 1 && answers[0].text == answer, "{answers:?}");

    window.click("model-picker")?;
    window.click_where("model-picker-option", "data-name", BUNDLED)?;
    window.wait("the first model again", || {
        let name = window.text("model-name")?.unwrap_or_default();
        Ok((name == BUNDLED_TITLE).then_some(()))
    })?;
    window.wait_for_model("ready")?;
    let second = window.ask_and_wait("Say more.")?;
    ensure!(!second.is_empty() && window.answers()?.len() == 2);
    Ok(())
}

#[test]
fn model_is_found_downloaded_used_and_removed() -> Result<()> {
    let server = HubServer::start();
    let model = bundled_model()?;
    let file = "SmolLM2-135M-Instruct.Q4_1.gguf";
    let mut repo = Repo::new("someone/SmolLM2-135M-GGUF")
        .with_file(file, Content::on_disk(&model)?)
        .with_licence("apache-2.0");
    repo.card = Some("# SmolLM2\n\nA small model. <script>alert(1)</script>".to_owned());
    server.add(repo);
    let endpoint = server.endpoint();
    let variables = [("HF_ENDPOINT", endpoint.as_str())];
    let window =
        AppWindow::open(Start { is_dark: true, variables: &variables, ..Start::default() })?;
    window.wait_for_model("ready")?;
    ensure!(
        server.requests().is_empty(),
        "the app sent a request to the hub before the user's action"
    );

    open_library(&window)?;
    window.click("library-tab-discover")?;
    window.type_into("discover-input", "smol")?;
    window.click("discover-search")?;
    window.click_where("found-repository", "data-repository", "someone/SmolLM2-135M-GGUF")?;
    window.wait_for_where("repository-file", "data-file", file)?;
    save_screenshots(&window, "repository", true)?;
    window.click("download-start")?;
    window.wait_for("plan-dialog")?;
    window.wait_for_stillness()?;
    save_screenshots(&window, "plan", true)?;
    window.click("plan-confirm")?;
    window.click("library-tab-downloads")?;
    window.wait_for_where("download-row", "data-state", "done")?;
    save_screenshots(&window, "downloads", true)?;

    window.click("library-tab-device")?;
    let name = format!("{BUNDLED}-2");
    window.wait_for_where("model-card", "data-name", &name)?;
    window.click(&format!("model-card][data-name='{name}'] [data-testid=model-use"))?;
    window.wait_for_model("ready")?;
    window.click("library-back")?;
    window.set_options(SHORT)?;
    ensure!(!window.ask_and_wait(QUESTION)?.is_empty());
    Ok(())
}

#[test]
fn crashed_load_is_explained_and_offered_with_safer_options() -> Result<()> {
    let home = tempfile::tempdir()?;
    let data = home.path().join("lilims");
    let attempt = LoadAttempt {
        name: BUNDLED.to_owned(),
        title: BUNDLED_TITLE.to_owned(),
        context_tokens: 8192,
        needed_bytes: 5_100_000_000,
        available_bytes: 3_900_000_000,
        // No process has this id.
        process: u32::MAX,
    };
    std::mem::forget(attempt.write_marker(&data)?);
    let window = AppWindow::open(Start { home: Some(&data), ..Start::default() })?;
    window.wait_for("held-notice")?;
    let notice = window.text("held-notice")?.unwrap_or_default();
    ensure!(notice.contains("5.1 GB") && notice.contains(BUNDLED_TITLE), "{notice:?}");
    window.wait_for("held-safer")?;
    for size in SIZES {
        window.save_screenshot("held-light", size)?;
    }
    window.click("held-safer")?;
    window.wait_for_model("ready")?;
    window.set_options(SHORT)?;
    ensure!(!window.ask_and_wait(QUESTION)?.is_empty());
    Ok(())
}

#[test]
fn idle_model_is_unloaded_and_the_next_question_loads_it() -> Result<()> {
    let variables = [("LILIMS_IDLE_SECONDS", "1")];
    let window = AppWindow::open(Start { variables: &variables, ..Start::default() })?;
    window.wait_for_model("unloaded")?;
    window.set_options(SHORT)?;
    ensure!(!window.ask_and_wait(QUESTION)?.is_empty());
    window.wait_for_model("unloaded")
}
