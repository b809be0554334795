//! What the machine does to the app: a small disk that fills up, little memory, and sleep.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// The size of the disk with the app's data: room for a few models.
const DISK: &str = "size=640m";
/// Where version 1 of control groups has memory.
const MEMORY_V1: &str = "/sys/fs/cgroup/memory";
/// Where version 2 is.
const UNIFIED: &str = "/sys/fs/cgroup";

/// A small disk in memory. It is gone on drop.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk at `folder`; `None` where that is not permitted.
    pub(crate) fn mount(folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder);
        let status = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|it| it.success()).then(|| Self { folder: folder.to_owned() })
    }

    /// Fills the disk to the last byte until the result is dropped.
    pub(crate) fn fill(&self) -> Result<Filler> {
        let filler = Filler(self.folder.join("filler"));
        let mut file = File::create(&filler.0)?;
        for size_bytes in [1 << 20, 1 << 12, 1] {
            let block = vec![0; size_bytes];
            while file.write_all(&block).is_ok() {}
        }
        Ok(filler)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

/// What fills a disk.
#[derive(Debug)]
pub(crate) struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A control group whose memory can be limited. It is removed on drop, once its processes have ended.
#[derive(Debug)]
pub(crate) struct MemoryGroup {
    folder: PathBuf,
    limit_file: &'static str,
    usage_file: &'static str,
    no_limit: &'static str,
}

impl MemoryGroup {
    /// Creates a group; `None` where that is not permitted.
    pub(crate) fn create() -> Option<Self> {
        let name = format!("lilims-chaos-{}", std::process::id());
        let v1 = Self {
            folder: Path::new(MEMORY_V1).join(&name),
            limit_file: "memory.limit_in_bytes",
            usage_file: "memory.usage_in_bytes",
            no_limit: "-1",
        };
        let v2 = Self {
            folder: Path::new(UNIFIED).join(&name),
            limit_file: "memory.max",
            usage_file: "memory.current",
            no_limit: "max",
        };
        [v1, v2].into_iter().find(|group| {
            let is_there = group.folder.parent().is_some_and(Path::is_dir);
            is_there && fs::create_dir(&group.folder).is_ok() && group.set_limit(None).is_ok()
        })
    }

    /// Moves a process to the group.
    pub(crate) fn add(&self, pid: u32) -> Result<()> {
        Ok(fs::write(self.folder.join("cgroup.procs"), pid.to_string())?)
    }

    /// Limits the memory to what cannot be given back, and `headroom` bytes.
    pub(crate) fn press(&self, headroom: u64) -> Result<u64> {
        let usage: u64 = fs::read_to_string(self.folder.join(self.usage_file))?.trim().parse()?;
        let stat = fs::read_to_string(self.folder.join("memory.stat"))?;
        let field = |name: &str| -> u64 {
            let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let spare = field("inactive_file") + field("active_file");
        let limit = usage.saturating_sub(spare) + headroom;
        self.set_limit(Some(limit))?;
        Ok(limit)
    }

    /// Lifts the limit.
    pub(crate) fn release(&self) -> Result<()> {
        self.set_limit(None)
    }

    fn set_limit(&self, limit: Option<u64>) -> Result<()> {
        let text = limit.map_or_else(|| self.no_limit.to_owned(), |limit| limit.to_string());
        fs::write(self.folder.join(self.limit_file), text).context("limiting memory")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Stops processes for a while.
pub(crate) fn sleep(pids: &[u32], length: Duration) -> Result<()> {
    signal("-STOP", pids)?;
    thread::sleep(length);
    signal("-CONT", pids)
}

fn signal(signal: &str, pids: &[u32]) -> Result<()> {
    let pids = pids.iter().map(u32::to_string);
    ensure!(Command::new("kill").arg(signal).args(pids).status()?.success(), "kill {signal}");
    Ok(())
}

/// Whether a process runs.
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}
