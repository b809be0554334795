//! Generating allocates nothing in the engine: every buffer is there before the first token.
//!
//! A program of its own, since it counts the allocations of all threads.

use std::alloc::System;

use lilims_engine::{BackendKind, LoadOptions, Model};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Tokens that are read before: each kind of buffer has its size then.
const BEFORE: u32 = 4;
/// Tokens that are counted, across the first split of the keys.
const COUNTED: u32 = 200;

#[test]
fn a_generated_token_allocates_nothing() {
    let path = lilims_tests::real_model("SmolLM2-135M-Instruct.Q4_1.gguf");
    let options = LoadOptions {
        backend: BackendKind::Cpu,
        threads: Some(2),
        context: Some(512),
        ..LoadOptions::default()
    };
    let model = Model::load(&path, &options).expect("the model loads");
    let mut session = model.session().expect("workers start");
    let mut read = |ids: std::ops::Range<u32>| {
        for id in ids {
            session.read_last(&[1000 + id]).expect("the context has room");
        }
    };
    read(0..BEFORE);
    let region = Region::new(ALLOCATOR);
    read(BEFORE..BEFORE + COUNTED);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}
