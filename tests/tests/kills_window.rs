//! The app is killed at random moments, as it is when memory or power runs out: at most the last second is
//! lost of what was typed and of what the model wrote.

#![cfg(target_os = "linux")]

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lilims_store::Store;
use lilims_tests::app_window::{AppWindow, Start};

/// How often the app is killed.
const KILLS: usize = 50;
/// What may be lost.
const LOSS: Duration = Duration::from_secs(1);
/// The latest moment of a kill after a question.
const LATEST_MS: u64 = 2500;
/// More tokens than a model writes until then.
const LONG: u32 = 600;
const QUESTION: &str = "Tell a long story about an old lighthouse";
const WORDS: &str =
    "and tell me what the keeper wrote into his book on every evening of that winter";

/// What the user had typed and seen at a moment.
#[derive(Clone, Debug, Default)]
struct Seen {
    draft: String,
    answer: String,
}

/// Asks a question and types the next one until the app is killed. Returns what must be there after it.
fn kill_at_a_random_moment(window: &AppWindow, round: usize) -> Result<Option<Seen>> {
    window.click("sidebar-new")?;
    window.wait("an empty conversation", || {
        Ok((window.answers()?.is_empty() && window.draft()?.is_empty()).then_some(()))
    })?;
    let after = Duration::from_millis(RandomState::new().hash_one(round) % LATEST_MS);
    window.ask(&format!("{QUESTION} {round}."))?;
    let asked = Instant::now();
    let mut seen = vec![(asked, Seen::default())];
    let mut words = WORDS.split(' ').cycle();
    let mut draft = String::new();
    while asked.elapsed() < after {
        draft.push_str(words.next().unwrap_or_default());
        draft.push(' ');
        window.paste("composer-input", &draft)?;
        let answer = window.answers()?.pop().context("no answer is shown")?.text;
        seen.push((Instant::now(), Seen { draft: draft.clone(), answer }));
    }
    let killed = Instant::now();
    window.kill_app()?;
    let kept = seen.into_iter().rev().find(|(at, _)| killed - *at >= LOSS);
    Ok(kept.map(|(_, seen)| seen))
}

/// The letters of a text: what Markdown and its rendering have in common.
fn letters(text: &str) -> String {
    text.chars().filter(|it| it.is_alphabetic()).collect()
}

/// Checks that the page shows what was seen before the kill.
fn check(window: &AppWindow, round: usize, seen: &Seen) -> Result<()> {
    let answer = window.wait("the conversation of before the kill", || {
        let question = window.session().run(
            "return document.querySelector('[data-role=user] .bubble')?.innerText ?? ''",
            &[],
        )?;
        let is_shown = question == format!("{QUESTION} {round}.");
        Ok(window.answers()?.pop().filter(|_| is_shown))
    })?;
    ensure!(
        letters(&answer.text).starts_with(&letters(&seen.answer)),
        "the answer was {:?} a second before, and is {:?}",
        seen.answer,
        answer.text
    );
    let draft = window.draft()?;
    ensure!(draft.starts_with(&seen.draft), "the draft was {:?}, and is {draft:?}", seen.draft);
    Ok(())
}

fn n_conversations(home: &Path) -> Result<usize> {
    Ok(Store::open(home)?.conversation_heads()?.len())
}

#[test]
fn fifty_kills_lose_no_more_than_a_second() -> Result<()> {
    let home = tempfile::tempdir()?;
    let start = Start { home: Some(home.path()), ..Start::default() };
    let window = AppWindow::open(start)?;
    window.set_options(LONG)?;
    drop(window);
    let mut before = None;
    let mut n_kept = 0;
    for round in 0..=KILLS {
        let window = AppWindow::open(start)?;
        if let Some(seen) = before {
            check(&window, round - 1, &seen).with_context(|| format!("kill {round}: {seen:?}"))?;
            n_kept += 1;
        }
        if round == KILLS {
            break;
        }
        window.wait_for_model_after_kill()?;
        before = kill_at_a_random_moment(&window, round)?;
        drop(window);
        let n_stored = n_conversations(home.path())?;
        ensure!(n_stored >= n_kept, "{n_stored} of {n_kept} conversations are left");
    }
    ensure!(n_kept > KILLS / 4, "only {n_kept} kills came after a second");
    Ok(())
}
