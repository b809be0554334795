//! Runs tests in a child process with limited memory.

use std::process::Command;

/// Environment variable that marks a child process.
const IN_CHILD: &str = "LILIMS_TEST_CHILD";

/// Whether the calling test should run its body. In the parent process, runs the test in a child
/// that may map `max_kib` (where that can be limited), asserts that it passed and returns false; in
/// the child, returns true.
pub(crate) fn is_child(test: &str, max_kib: u64) -> bool {
    if std::env::var_os(IN_CHILD).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("a running program has a file");
    let mut command = if cfg!(target_os = "linux") {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -v {max_kib}; exec \"$@\"");
        shell.args(["-c", &script, "sh"]).arg(program);
        shell
    } else {
        Command::new(program)
    };
    let output = command.args(["--exact", test, "--test-threads", "1"]).env(IN_CHILD, "1").output();
    let output = output.expect("the child starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
    false
}
