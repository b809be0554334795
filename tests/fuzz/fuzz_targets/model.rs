//! Fuzzes the target `model` of `lilims-fuzz`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: lilims_fuzz::CountingAllocator = lilims_fuzz::CountingAllocator;

fuzz_target!(init: lilims_fuzz::prepare("model"), |input: &[u8]| lilims_fuzz::fuzz("model", input));
