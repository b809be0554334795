//! Checks that generating a token allocates nothing: all buffers exist before the first token.
//!
//! A separate test program, since it counts the allocations of all threads.

use std::alloc::System;

use lilims_engine::{BackendKind, LoadOptions, Model};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The number of warm-up tokens, after which all buffers have their final size.
const WARM_UP_TOKENS: u32 = 4;
/// The number of measured tokens, enough to cross the first split of the keys.
const MEASURED_TOKENS: u32 = 200;

#[test]
fn generating_a_token_allocates_nothing() {
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
    read(0..WARM_UP_TOKENS);
    let region = Region::new(ALLOCATOR);
    read(WARM_UP_TOKENS..WARM_UP_TOKENS + MEASURED_TOKENS);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}
