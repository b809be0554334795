//! Child processes: this test binary runs again with a job from an environment variable, for tests
//! that set environment variables or kill the process.

use std::env;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lilims_hub::{Client, Downloader, Library, Outcome};

use super::*;

/// The variable with the child's job.
const JOB: &str = "LILIMS_TEST_JOB";
const ROOT: &str = "LILIMS_TEST_ROOT";
const ENDPOINT: &str = "HF_ENDPOINT";

/// A command that runs this binary as a child with a job for the library at `root`. Its results are
/// on standard output, after the output of the test harness.
pub(crate) fn command(job: &str, root: &Path, endpoint: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child::does_its_job", "--nocapture", "--test-threads=1"]);
    command.env(JOB, job).env(ROOT, root).env(ENDPOINT, endpoint);
    for name in ["HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.env_remove("no_proxy");
    command
}

/// Runs a child and returns its standard output.
///
/// # Panics
/// If it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stdout}\n{stderr}", output.status);
    stdout
}

/// The value of the line `name=value` in a child's output.
pub(crate) fn value_of<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("the child did not print {name}: {text}"))
}

/// Runs the job of a child process; does nothing in the parent.
#[test]
fn does_its_job() {
    let Ok(job) = env::var(JOB) else { return };
    // The test harness has not ended its line.
    println!();
    let root = env::var(ROOT).unwrap();
    let library = Arc::new(Library::open(Path::new(&root)).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match job.as_str() {
        "pull" => runtime.block_on(pull(&library)),
        "full disk" => runtime.block_on(room::fill_disk(&library)),
        "hold" => {
            let name = env::var("LILIMS_TEST_MODEL").unwrap();
            let _held = library.use_model(&name).unwrap();
            println!("held={name}");
            std::io::stdout().flush().unwrap();
            // Waits until the parent closes standard input.
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            // The parent no longer reads the output.
            std::process::exit(0);
        }
        "import" => {
            let file = env::var("LILIMS_TEST_FILE").unwrap();
            let entry = library.import(Path::new(&file)).unwrap();
            println!("path={}", entry.path.display());
        }
        "nothing" => {
            Client::from_env(library, ConnectionAsker::Other).unwrap();
        }
        other => panic!("unknown job {other}"),
    }
    if let Some(peak) = memory::peak_kb() {
        println!("peak_kb={peak}");
    }
}

async fn pull(library: &Arc<Library>) {
    let client = Client::new(library.clone(), &env::var(ENDPOINT).unwrap(), TIMEOUTS).unwrap();
    let id = library.enqueue(&source()).unwrap();
    let outcome = Downloader::new(client).run_until_done(id, |_| ()).await.unwrap();
    match outcome {
        Outcome::Done(entry) => println!("done={}", entry.name),
        other => println!("failed={}", failure(other)),
    }
}
