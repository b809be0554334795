//! `cargo xtask`: sets up, builds, runs, tests and checks Lilims on a developer's machine and in
//! CI.
//!
//! Owns the order of the steps and reports the result and duration of each. Nothing here is linked
//! into the app or the command line.

mod accuracy;
mod app;
mod apple;
mod audit;
mod bench;
mod chaos;
mod dev;
mod document;
mod emulation;
mod page;
mod paths;
mod process;
mod report;
mod reproduce;
mod sbom;
mod setup;
mod stand_in;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::paths::Paths;

const USAGE: &str = "\
usage: cargo xtask <command>

  app [--no-open]   set up, build the release app and open it
  test              set up and run every check and every test, the real window included
  dev               the app from source, the page reloading on change
  bench --peer llama.cpp | --against REVISION [--quick] [--only TEXT] [--isa avx2]
                    compare with llama.cpp and rewrite docs/benchmarks.md, or with an older
                    Lilims; --quick: 5 runs of each and not up to 15; --only: run rows whose name
                    contains TEXT, keep the document; --isa avx2: also where there is AVX-512
  bench --ui        measure how the page feels in the real window and rewrite docs/benchmarks.md
  accuracy [checkpoints] [peer] [types] [--only TEXT] [--chunks N]
                    compare results and quantisation errors with llama.cpp's and rewrite
                    docs/benchmarks.md; without a name: all three
  chaos [--seed N] [--minutes N] [--log FILE] | --replay LOG
                    random actions against the real app, an hour by default, or those of a log
  check-apple       type-check all crates for macOS and iOS
  audit             check licences, origins and known vulnerabilities of all packages
  sbom              write the software bill of materials, target/sbom/lilims.cdx.json
  reproduce         build the program lilims twice, in different folders, and compare
  tidy              check the project rules (also one of the tests)
  setup [--test]    install or list missing requirements; --test: also those of the tests
  page [--serve]    build the page into ui/dist; --serve: serve it for `dev` instead

LILIMS_LLAMA_CPP names a folder with llama.cpp's programs; without it they are built.
LILIMS_ADVISORY_DB names a git repository with RustSec's advisories, for `audit` without a network.
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

/// Runs the command on the command line.
fn run(words: &[&str]) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match words {
        ["app"] => app::build_and_open(&paths)?,
        ["app", "--no-open"] => drop(app::build(&paths)?),
        ["test"] => return Ok(test::run(&paths)),
        ["dev"] => dev::run(&paths)?,
        ["bench", words @ ..] => bench::run(&paths, words)?,
        ["accuracy", words @ ..] => accuracy::run(&paths, words)?,
        ["chaos", words @ ..] => chaos::run(&paths, words)?,
        ["check-apple"] => apple::check(&paths)?,
        ["audit"] => audit::run(&paths)?,
        ["reproduce"] => reproduce::run(&paths)?,
        ["sbom"] => sbom::run(&paths)?,
        ["tidy"] => tidy::run(&paths)?,
        ["setup"] => drop(setup::for_app(&paths)?),
        ["setup", "--test"] => drop(setup::for_tests(&paths)?),
        ["page"] => page::build(&paths, &setup::for_page(&paths)?)?,
        ["page", "--serve"] => page::serve(&paths, &setup::for_page(&paths)?)?,
        [] | ["help" | "--help" | "-h"] => println!("{USAGE}"),
        other => bail!("unknown command `{}`\n\n{USAGE}", other.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}
