//! `cargo xtask`: sets up, builds, runs, tests and tidies Lilims on a developer's machine and in CI.
//!
//! Owns the order of the steps and the reports of what each did and how long it took. It holds no
//! part of the product: nothing here is linked into the app or the command line.

mod app;
mod apple;
mod bench;
mod dev;
mod emulation;
mod page;
mod places;
mod process;
mod report;
mod setup;
mod stand_in;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::places::Places;

const USAGE: &str = "\
usage: cargo xtask <command>

  app [--no-open]   set up, build the release app and open it
  test              set up and run every check and every test, the real window included
  dev               the app from source, the page reloading on change
  bench --peer llama.cpp [--quick] [--only TEXT]
                    compare with llama.cpp and rewrite docs/benchmarks.md; --quick: 3 runs
                    instead of 5; --only: the rows whose names hold TEXT, the document kept
  check-apple       type-check all crates for macOS and iOS
  tidy              check the rules of the house (also one of the tests)
  setup [--test]    install or name what is missing; --test: also what only the tests need
  page [--serve]    build the page into ui/dist; --serve: serve it for `dev` instead

LILIMS_LLAMA_CPP names a folder with llama.cpp's programs, which spares building them.
LILIMS_CACHE names the folder for tools and downloaded models (default: the system's cache folder).";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let child = stand_in::run_as_program(&arguments);
    if let Some(code) = child.or_else(|| bench::child::run_as_child(&arguments)) {
        return code;
    }
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command that the words name.
fn run(words: &[&str]) -> Result<ExitCode> {
    let places = Places::find()?;
    match words {
        ["app"] => app::build_and_open(&places)?,
        ["app", "--no-open"] => drop(app::build(&places)?),
        ["test"] => return Ok(test::run(&places)),
        ["dev"] => dev::run(&places)?,
        ["bench", words @ ..] => bench::run(&places, words)?,
        ["check-apple"] => apple::check(&places)?,
        ["tidy"] => tidy::run(&places)?,
        ["setup"] => drop(setup::for_app(&places)?),
        ["setup", "--test"] => drop(setup::for_tests(&places)?),
        ["page"] => page::build(&places, &setup::for_page(&places)?)?,
        ["page", "--serve"] => page::serve(&places, &setup::for_page(&places)?)?,
        [] | ["help" | "--help" | "-h"] => println!("{USAGE}"),
        other => bail!("unknown command `{}`\n\n{USAGE}", other.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}
