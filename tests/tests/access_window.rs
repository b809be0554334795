//! Every page, menu and dialog is judged by axe-core in the real window, light and dark, at the sizes of a
//! desktop and a phone.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use lilims_store::{ConversationChange, NewMessage, Role, Store};
use lilims_tests::app_window::{AppWindow, SIZES, Start};

const QUESTION: &str = "Which metals melt first?";
const ANSWER: &str = "<think>Compare them.</think># Metals\n\n| Metal | °C |\n|---|---:|\n| Tin | 232 |\n\n\
    - [x] tin\n- [ ] lead[^1]\n\n```rust\nfn main() { let a: u32 = 232; println!(\"{a}\"); } // melts\n```\n\n\
    The energy is $E = mc^2$, see [this](https://example.org) and `code`.\n\n> A quote\n\n[^1]: A note.";

/// Writes conversations that have what a page can show.
fn fill(home: &Path) -> Result<()> {
    let store = Store::open(home)?;
    let folder = store.create_conversation_folder("Work")?;
    for n in 0..3 {
        let id = store.create_conversation(&ConversationChange::default())?;
        let question = store.add_message(&NewMessage::text(&id, None, Role::User, QUESTION))?;
        for version in 0..2 {
            let text = format!("{ANSWER}\n\nVersion {version}");
            store.add_message(&NewMessage::text(&id, Some(&question), Role::Assistant, &text))?;
        }
        if n == 0 {
            let into =
                ConversationChange { folder: Some(Some(folder.clone())), ..Default::default() };
            store.change_conversation(&id, &into)?;
        }
    }
    Ok(())
}

/// Puts axe-core into the page.
fn load_axe(window: &AppWindow) -> Result<()> {
    let folder = env::var("LILIMS_TEST_MODELS").context("`cargo xtask test` sets it")?;
    let axe = fs::read_to_string(Path::new(&folder).join("axe.min.js"))?;
    window.session().run(&axe, &[]).map(drop)
}

/// What axe-core finds serious or critical in what is shown, a line for each element. What is found must be
/// there again: a panel that has just come is transparent for a moment.
fn findings(window: &AppWindow) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for _ in 0..3 {
        window.wait_for_stillness()?;
        found = findings_now(window)?;
        if found.is_empty() {
            break;
        }
    }
    Ok(found)
}

fn findings_now(window: &AppWindow) -> Result<Vec<String>> {
    let script =
        "return axe.run(document, { resultTypes: ['violations'] }).then(it => it.violations
        .filter(it => it.impact === 'serious' || it.impact === 'critical')
        .flatMap(rule => rule.nodes.map(node =>
            `${rule.id}: ${node.html.slice(0, 160)} ${node.any[0]?.message ?? rule.help}`)))";
    let found = window.session().run(script, &[])?;
    let found = found.as_array().context("axe-core returned no list")?;
    Ok(found.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect())
}

/// What is shown, and what is pressed for it.
const STATES: [(&str, &[&str]); 14] = [
    ("conversation", &[]),
    ("message-menu", &["more"]),
    ("edited", &["edit"]),
    ("exact-prompt", &["#answer", "exact-prompt"]),
    ("branches", &["#branches"]),
    ("models", &["model-picker"]),
    ("context", &["context-meter"]),
    ("palette", &["#palette"]),
    ("settings", &["settings-toggle"]),
    ("assistants", &["settings-toggle", "scope-everywhere"]),
    ("library", &["library-toggle"]),
    ("discover", &["library-toggle", "library-tab-discover"]),
    ("sidebar-menu", &["sidebar-more"]),
    ("delete-all", &["sidebar-more", "delete-all"]),
];

fn show(window: &AppWindow, steps: &[&str]) -> Result<()> {
    for step in steps {
        match *step {
            "#answer" => {
                let script = "document.querySelector('.assistant [data-testid=more]').click()";
                window.session().run(script, &[])?;
            }
            "#palette" => window.press_keys("k", false)?,
            "#branches" => window.press_keys("m", false)?,
            step => window.click(step)?,
        }
    }
    Ok(())
}

fn axe_finds_nothing_serious(is_dark: bool) -> Result<()> {
    let home = tempfile::tempdir()?;
    fill(home.path())?;
    let window = AppWindow::open(Start { home: Some(home.path()), is_dark, ..Start::default() })?;
    window.wait_for_model("ready")?;
    let mut all = Vec::new();
    let theme = if is_dark { "dark" } else { "light" };
    for (width, height) in SIZES {
        window.session().resize(width, height)?;
        for (name, steps) in STATES {
            window.reload()?;
            window.wait("the answer", || Ok((window.answers()?.len() == 1).then_some(())))?;
            load_axe(&window)?;
            let is_in_sidebar = steps.first() == Some(&"sidebar-more");
            if is_in_sidebar && !window.exists("sidebar")? {
                window.click("sidebar-toggle")?;
            }
            show(&window, steps).with_context(|| name.to_owned())?;
            let found = findings(&window)?;
            window.save_screenshot(&format!("page-{name}-{theme}"), (width, height))?;
            all.extend(found.into_iter().map(|it| format!("{name} {width}: {it}")));
        }
    }
    ensure!(all.is_empty(), "{}", all.join("\n"));
    Ok(())
}

#[test]
fn light_pages_are_accessible() -> Result<()> {
    axe_finds_nothing_serious(false)
}

#[test]
fn dark_pages_are_accessible() -> Result<()> {
    axe_finds_nothing_serious(true)
}
