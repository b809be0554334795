//! Fuzzes the target `documents` of `lilims-fuzz`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: lilims_fuzz::CountingAllocator = lilims_fuzz::CountingAllocator;

fuzz_target!(init: lilims_fuzz::prepare("documents"), |input: &[u8]| lilims_fuzz::fuzz("documents", input));
