//! The log of a run: a line of JSON for its seed, for each action, and for what it came to.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::action::Action;

/// A log that is written.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    began: Instant,
    action_began: Instant,
}

impl Log {
    /// Begins the log of a run.
    pub(crate) fn create(path: &Path, seed: u64) -> Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        println!("the actions of seed {seed} are in {}", path.display());
        let mut log = Self { file, began: Instant::now(), action_began: Instant::now() };
        log.write(&json!({ "seed": seed }))?;
        Ok(log)
    }

    /// Notes an action before it is carried out.
    pub(crate) fn begin(&mut self, n: usize, action: &Action) -> Result<()> {
        self.action_began = Instant::now();
        let at_ms = self.began.elapsed().as_millis() as u64;
        self.write(&json!({ "n": n, "at_ms": at_ms, "action": action }))
    }

    /// Notes what the action came to.
    pub(crate) fn end(&mut self, outcome: &str) -> Result<()> {
        let took_ms = self.action_began.elapsed().as_millis() as u64;
        self.write(&json!({ "outcome": outcome, "took_ms": took_ms }))
    }

    /// Notes why the run failed.
    pub(crate) fn failed(&mut self, error: &anyhow::Error) -> Result<()> {
        self.write(&json!({ "failed": format!("{error:#}") }))
    }

    fn write(&mut self, line: &Value) -> Result<()> {
        Ok(writeln!(self.file, "{line}")?)
    }
}

/// The actions of a log.
pub(crate) fn actions(path: &Path) -> Result<Vec<Action>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut actions = Vec::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line)?;
        if let Some(action) = line.get_mut("action") {
            actions.push(serde_json::from_value(action.take())?);
        }
    }
    Ok(actions)
}
