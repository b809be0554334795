//! Each target reads its seeds and some mutations of them, which are the same in each run.

use std::env;
use std::process::Command;

use lilims_fuzz::{CountingAllocator, Mutator, TARGETS, Target, prepare};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Set in the process that carries out commands.
const CHILD: &str = "LILIMS_FUZZ_CHILD";

/// Runs the target, and fails with the first input that it does not survive.
fn smoke(name: &str) {
    prepare(name);
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

/// Runs a target in a process of its own, whose data folder and home are temporary.
fn smoke_with_a_home(name: &str) {
    if env::var_os(CHILD).is_some() {
        smoke(name);
        return;
    }
    let home = tempfile::Builder::new().prefix("lilims-fuzz-").tempdir().expect("a folder");
    let mut child = Command::new(env::current_exe().expect("a test has a program"));
    child.args(["--exact", "--nocapture", name]).env(CHILD, "1").env_remove("LILIMS_MODEL");
    child.env("HOME", home.path()).env("LILIMS_HOME", home.path().join("lilims-fuzz-data"));
    let output = child.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
}

macro_rules! smoke {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            match stringify!($name) {
                "commands" => smoke_with_a_home("commands"),
                name => smoke(name),
            }
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
    commands,
    documents,
    hub,
);
