//! Each target reads its seeds and some mutations of them, which are the same in each run.

use lilims_fuzz::{CountingAllocator, Mutator, TARGETS, Target, watch_panics};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Runs the target, and fails with the first input that it does not survive.
fn smoke(name: &str) {
    watch_panics();
    let target = Target::named(name);
    let seeds = (target.seeds)();
    let mut mutator = Mutator::new(1);
    let mutations = (0..target.n_smoke).map(|_| mutator.next(&seeds, target.words));
    for (idx, input) in seeds.clone().into_iter().chain(mutations).enumerate() {
        if let Err(found) = target.check(&input) {
            panic!("{name}: input {idx}: {found}\n{}", input.escape_ascii());
        }
    }
}

macro_rules! smoke {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            smoke(stringify!($name));
        })*

        #[test]
        fn every_target_is_run() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

smoke!(
    gguf,
    model,
    tokenizer,
    template,
    safetensors,
    pickle,
    config,
    tokenizer_json,
    manifest,
    session,
    imports,
    markdown,
);
