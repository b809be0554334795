//! Seeded random actions against the real app in its real window, with a real model, database and
//! files and a loopback hub: nothing that the app acknowledged is lost, it does not panic, and neither
//! memory nor handles grow.
//!
//! | variable | value |
//! | --- | --- |
//! | `LILIMS_CHAOS_SEED` | the seed; by default a fixed one |
//! | `LILIMS_CHAOS_MINUTES` | how long to go on; by default a fixed number of actions |
//! | `LILIMS_CHAOS_LOG` | the file for the log of actions; by default one in the folder of temporary files |
//! | `LILIMS_CHAOS_REPLAY` | a log whose actions are carried out again |

#![cfg(target_os = "linux")]

mod action;
mod checks;
mod conversations;
mod ledger;
mod log;
mod machine;
mod models;
mod world;

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::action::{Action, Generator};
use crate::log::Log;
use crate::world::World;

const SEED: u64 = 20;
/// How many actions take about three minutes. The first ones are one of each kind.
const N_ACTIONS: usize = 160;
/// The part of a run after which the process is left alive, so that its memory can be compared.
const STEADY: f64 = 0.35;
/// The part of a run after which it is killed again.
const ROUGH_AGAIN: f64 = 0.92;

/// Where actions come from.
enum Source {
    Generated { generator: Generator, length: Option<Duration> },
    Replayed(Vec<Action>),
}

impl Source {
    /// The action with number `n`, counted from 0, so long after the beginning.
    fn next(&mut self, n: usize, elapsed: Duration) -> Option<Action> {
        match self {
            Self::Replayed(actions) => actions.get(n).cloned(),
            Self::Generated { generator, length } => {
                let progress = match length {
                    Some(length) => elapsed.as_secs_f64() / length.as_secs_f64(),
                    None => n as f64 / N_ACTIONS as f64,
                };
                // One of each kind comes first in a short run.
                let begins = if length.is_some() { STEADY } else { 0.65 };
                let is_steady = (begins..ROUGH_AGAIN).contains(&progress);
                (progress < 1.0).then(|| generator.next(is_steady))
            }
        }
    }
}

#[test]
fn nothing_is_lost_in_chaos() -> Result<()> {
    let number = |name: &str| -> Result<Option<u64>> {
        let value = env::var(name).ok();
        value.map(|it| it.parse().with_context(|| format!("{name}={it}"))).transpose()
    };
    let seed = number("LILIMS_CHAOS_SEED")?.unwrap_or(SEED);
    let length = number("LILIMS_CHAOS_MINUTES")?.map(|minutes| Duration::from_secs(60 * minutes));
    let path = env::var_os("LILIMS_CHAOS_LOG").map(PathBuf::from);
    let path = path.unwrap_or_else(|| env::temp_dir().join(format!("lilims-chaos-{seed}.jsonl")));
    let source = match env::var_os("LILIMS_CHAOS_REPLAY") {
        Some(replayed) => Source::Replayed(log::actions(&PathBuf::from(replayed))?),
        None => Source::Generated { generator: Generator::new(seed), length },
    };
    let mut log = Log::create(&path, seed)?;
    let mut world = World::start()?;
    let done = run(&mut world, source, &mut log).with_context(|| {
        let replay = format!("cargo xtask chaos --replay {}", path.display());
        format!(
            "carry out the same actions again with `{replay}`\nthe app wrote:\n{}",
            world.output()
        )
    });
    if let Err(error) = &done {
        log.failed(error)?;
    }
    done
}

fn run(world: &mut World, mut source: Source, log: &mut Log) -> Result<()> {
    let began = Instant::now();
    while let Some(action) = source.next(world.n, began.elapsed()) {
        log.begin(world.n, &action)?;
        let outcome = carry_out(world, &action);
        let checked = outcome.and_then(|outcome| world.check().map(|()| outcome));
        let outcome = checked.with_context(|| format!("action {}: {action:?}", world.n))?;
        log.end(&outcome)?;
        world.n += 1;
    }
    let outcome = finish(world).context("at the end")?;
    log.end(&outcome)
}

fn carry_out(world: &mut World, action: &Action) -> Result<String> {
    match *action {
        Action::Ask { index } => world.ask(index),
        Action::Stop => world.stop(),
        Action::WaitForEnd => world.wait_for_end().map(|()| String::new()),
        Action::Edit { index } => world.edit(index),
        Action::Again { index } => world.again(index),
        Action::Continue => world.go_on(),
        Action::Version { index } => world.show_version(index),
        Action::Fork { index } => world.fork(index),
        Action::DeleteMessage { index, undo } => world.delete_message(index, undo),
        Action::DeleteConversation { index, undo } => world.delete_conversation(index, undo),
        Action::Open { index } => world.open_conversation(index),
        Action::NewChat => world.new_chat(),
        Action::Search { index } => world.search(index),
        Action::SwitchModel { index } => world.switch_model(index),
        Action::Unload => world.unload(),
        Action::Download { seed } => world.download(seed),
        Action::CancelDownload { index } => world.cancel_download(index),
        Action::PauseDownload { index } => world.pause_download(index),
        Action::Convert { index } => world.convert(index),
        Action::CancelConversion => world.cancel_conversion(),
        Action::ImportConversations { count } => world.import_conversations(count),
        Action::ImportModel { seed } => world.import_model(seed),
        Action::RemoveModel { index } => world.remove_model(index),
        Action::Resize { width, height } => {
            world.window()?.session().resize(width, height).map(|()| String::new())
        }
        Action::Sleep { ms } => world.sleep(Duration::from_millis(ms)),
        Action::Kill { after_ms, asks } => world.kill_after(Duration::from_millis(after_ms), asks),
        Action::Restart => world.restart(),
        Action::FullDisk { hold_ms, asks_first } => {
            world.fill_disk(Duration::from_millis(hold_ms), asks_first)
        }
        Action::MemoryPressure { headroom_mb, hold_ms } => {
            world.press_memory(headroom_mb << 20, Duration::from_millis(hold_ms))
        }
        Action::Measure => world.rest_and_measure(),
    }
}

/// Brings the app to rest, starts it once more, and compares everything.
fn finish(world: &mut World) -> Result<String> {
    let measured = world.rest_and_measure()?;
    world.check()?;
    world.restart()?;
    world.check()?;
    Ok(format!("{measured}; {} messages are there", world.ledger.len()))
}
