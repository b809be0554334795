//! Starts programs in their own process groups, so that they and their children are killed when the
//! test ends, even if it panics.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A program and its child processes, killed on drop.
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Child,
}

impl ProcessGroup {
    /// Starts `command` as the leader of a new process group.
    ///
    /// # Errors
    /// If the program cannot be started.
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
        // The leader has not been waited for, so no other process can have its id.
        let group = format!("-{}", self.leader.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.leader.wait();
    }
}

/// A virtual X screen.
#[derive(Debug)]
pub struct Screen {
    name: String,
    _server: ProcessGroup,
}

impl Screen {
    /// Starts Xvfb on a free display.
    ///
    /// # Errors
    /// If Xvfb is not installed or exits at once.
    pub fn start() -> Result<Self> {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1920x1200x24", "-nolisten", "tcp"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = ProcessGroup::start(&mut command)?;
        let output = server.leader.stdout.take().context("standard output is not piped")?;
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
