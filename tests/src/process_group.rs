//! Programs that a test starts. Whatever happens to the test, they end with it, and so do the
//! programs that they start in turn.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A program and all that it starts, killed when this is dropped.
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Child,
}

impl ProcessGroup {
    /// Starts `command` as the leader of a process group of its own.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let leader = command
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { leader })
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // The leader is not waited for yet, so its id cannot have passed to another process.
        let group = format!("-{}", self.leader.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.leader.wait();
    }
}

/// A screen that nobody sees.
#[derive(Debug)]
pub struct Screen {
    name: String,
    _server: ProcessGroup,
}

impl Screen {
    /// Starts Xvfb on a display that is free.
    ///
    /// # Errors
    /// When Xvfb is not installed or ends at once.
    pub fn start() -> Result<Self> {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1920x1200x24", "-nolisten", "tcp"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = ProcessGroup::start(&mut command)?;
        let output = server.leader.stdout.take().context("standard output is piped")?;
        let mut number = String::new();
        BufReader::new(output).read_line(&mut number)?;
        let number: u32 = number.trim().parse().context("Xvfb found no free display")?;
        Ok(Self { name: format!(":{number}"), _server: server })
    }

    /// The value for `DISPLAY`.
    pub fn name(&self) -> &str {
        &self.name
    }
}
