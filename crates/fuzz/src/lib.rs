//! What reads bytes that others chose, as functions that a fuzzer or a test calls.
//!
//! Each [`Target`] gives its input to one reader of the product, as the product does, and uses what comes
//! out. [`Target::check`] runs it and finds what must not happen: a panic, also one that was caught; more
//! memory than the target's [`Bound`]; more time than [`MAX_TIME`]. The wrappers for cargo-fuzz are in
//! `tests/fuzz`; `tests/smoke.rs` runs each target on its seeds and on some mutations of them.

mod allocations;
mod bytes;
mod checkpoint;
mod commands;
mod corpus;
mod documents;
mod hub;
mod imports;
mod markdown_target;
mod model;
mod mutate;
mod panics;
mod scratch;
mod session;
mod template;
mod tiny_model;

// The page is a program for WebAssembly, not a library. Its Markdown needs nothing of it but five texts.
#[allow(dead_code, unused_imports, reason = "the page uses all of it")]
#[path = "../../../ui/src/markdown/mod.rs"]
mod markdown;
mod text;

use std::time::{Duration, Instant};

pub use allocations::CountingAllocator;
pub use corpus::prepare;
pub use mutate::Mutator;

/// The longest time that an input may take.
pub const MAX_TIME: Duration = Duration::from_secs(5);

/// The most memory that an input may take at once, in addition to what was there before it.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Bytes for any input: the stated caches and buffers of what reads it.
    pub base_bytes: usize,
    /// Further bytes for each byte of the input.
    pub per_byte: usize,
}

/// A reader of foreign bytes.
pub struct Target {
    /// Its name, which is also that of the program that fuzzes it.
    pub name: &'static str,
    /// Reads the input and uses what comes out. An error is a good end.
    pub run: fn(&[u8]),
    /// Inputs from which mutations begin.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What a mutation inserts: keys, tags, opcodes.
    pub words: &'static [&'static str],
    /// How much memory an input may take.
    pub bound: Bound,
    /// How many mutations the smoke test runs.
    pub n_smoke: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    bytes::GGUF,
    model::MODEL,
    model::TOKENIZER,
    template::TEMPLATE,
    checkpoint::SAFETENSORS,
    checkpoint::PICKLE,
    checkpoint::CONFIG,
    checkpoint::TOKENIZER_JSON,
    checkpoint::MANIFEST,
    session::SESSION,
    imports::IMPORTS,
    markdown_target::MARKDOWN,
    commands::COMMANDS,
    documents::DOCUMENTS,
    hub::HUB,
];

impl Target {
    /// The target of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> &'static Self {
        TARGETS.iter().find(|target| target.name == name).expect("a target has this name")
    }

    /// Runs the target on `input`.
    ///
    /// # Errors
    /// What went wrong: a panic, too much memory, too much time.
    pub fn check(&self, input: &[u8]) -> Result<(), String> {
        let start = Instant::now();
        let (panicked, peak_bytes) =
            allocations::peak_bytes(|| panics::catch(|| (self.run)(input)));
        let elapsed = start.elapsed();
        if let Some(message) = panicked {
            return Err(message);
        }
        let Bound { base_bytes, per_byte } = self.bound;
        let limit_bytes = base_bytes + per_byte * input.len();
        if peak_bytes > limit_bytes {
            let len = input.len();
            return Err(format!(
                "{len} bytes took {peak_bytes} of memory, more than {limit_bytes}"
            ));
        }
        if elapsed > MAX_TIME {
            return Err(format!("took {} ms", elapsed.as_millis()));
        }
        Ok(())
    }
}

/// Runs the target of this name, for a fuzzer.
///
/// # Panics
/// If something went wrong, which ends the fuzzer with a report.
pub fn fuzz(name: &str, input: &[u8]) {
    let found = Target::named(name).check(input);
    assert!(found.is_ok(), "{name}: {found:?}");
}
