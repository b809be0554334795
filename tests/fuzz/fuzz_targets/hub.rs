//! Fuzzes the target `hub` of `lilims-fuzz`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: lilims_fuzz::CountingAllocator = lilims_fuzz::CountingAllocator;

fuzz_target!(init: lilims_fuzz::prepare("hub"), |input: &[u8]| lilims_fuzz::fuzz("hub", input));
