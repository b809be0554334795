//! llama.cpp: fetched once in the source package of llama-cpp-python, which carries it, and built.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::app::program_name;
use crate::places::Places;
use crate::process;
use crate::report::{note, step};
use crate::setup::{self, model};

/// The package, its file's hash and where llama.cpp lies in it.
const REQUIREMENT: &str = "llama-cpp-python==0.3.36";
const ARCHIVE: &str = "llama_cpp_python-0.3.36.tar.gz";
const ARCHIVE_SHA256: &str = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e";
const SOURCE: &str = "llama_cpp_python-0.3.36/vendor/llama.cpp";

/// Names a folder with programs that are built already.
const VARIABLE: &str = "LILIMS_LLAMA_CPP";

/// The programs that are used.
const PROGRAMS: [&str; 3] = ["llama-bench", "llama-completion", "llama-quantize"];

const CMAKE_OPTIONS: [&str; 6] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
];

/// How long the package may take to arrive; pip also looks at how it would be built.
const FETCH_LIMIT: Duration = Duration::from_secs(15 * 60);

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

    /// The path of one of its programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(program_name(name))
    }

    /// What `llama-bench` says of its version, such as `0.5.0-dev (build 1, commit 0c1e570)`.
    pub(crate) fn version(&self) -> Result<String> {
        let mut command = Command::new(self.program(PROGRAMS[0]));
        let output = command.arg("--version").stdin(Stdio::null()).output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let version = said.lines().find_map(|line| line.strip_prefix("version: "));
        Ok(version.context("llama-bench tells no version")?.trim().to_string())
    }

    fn missing(&self) -> Option<&'static str> {
        PROGRAMS.into_iter().find(|name| !self.program(name).is_file())
    }
}

/// Finds llama.cpp's programs, or fetches and builds them.
///
/// # Errors
/// When a tool is missing that may not be installed from here, or the package cannot be fetched or
/// built.
pub(crate) fn ensure(places: &Places) -> Result<Peer> {
    if let Some(folder) = env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        let peer = Peer::in_folder(std::path::absolute(folder)?);
        if let Some(name) = peer.missing() {
            bail!("{VARIABLE} names {}, where there is no {name}", peer.folder.display());
        }
        return Ok(peer);
    }
    let folder = places.cache.join("llama.cpp");
    let build_folder = folder.join("build");
    let peer = Peer::in_folder(build_folder.join("bin"));
    // Written last, and names what it was built from.
    let stamp = folder.join("built");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == ARCHIVE_SHA256)
        && peer.missing().is_none()
    {
        note(&format!("llama.cpp in {}", peer.folder.display()));
        return Ok(peer);
    }
    setup::for_peer()?;
    fs::create_dir_all(&folder)?;
    let source = step("fetching llama.cpp (77 MB)", || fetch(&folder))?;
    step("building llama.cpp (about ten minutes on two cores, once)", || {
        configure(&source, &build_folder)?;
        process::run(Command::new("ninja").arg("-C").arg(&build_folder).args(PROGRAMS))
    })?;
    fs::write(&stamp, ARCHIVE_SHA256)?;
    Ok(peer)
}

/// Fetches and unpacks the package where that was not done; returns llama.cpp's folder.
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
    ensure!(partial.join(SOURCE).is_dir(), "{ARCHIVE} holds no {SOURCE}");
    fs::rename(&partial, &unpacked)?;
    fs::remove_file(&archive)?;
    Ok(unpacked.join(SOURCE))
}

fn configure(source: &Path, build_folder: &Path) -> Result<()> {
    let mut cmake = Command::new("cmake");
    cmake.arg("-S").arg(source).arg("-B").arg(build_folder).args(["-G", "Ninja"]);
    // Some hundred lines about what was found, of interest only where it fails.
    let log = build_folder.with_file_name("configure.log");
    cmake.args(CMAKE_OPTIONS).stdout(File::create(&log)?);
    process::run(&mut cmake).with_context(|| format!("see {}", log.display()))
}

/// The models in other types, made with the peer's own program by way of F16: each with its type.
///
/// # Errors
/// When the program fails.
pub(crate) fn requantise(
    places: &Places,
    peer: &Peer,
    model: &Path,
    types: &[&'static str],
) -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = places.cache.join("llama.cpp").join("models");
    fs::create_dir_all(&folder)?;
    let file = |name: &str| folder.join(format!("SmolLM2-135M-Instruct.{name}.gguf"));
    let f16 = file("F16");
    if !f16.is_file() {
        quantise(peer, model, &f16, "F16")?;
    }
    types
        .iter()
        .map(|&name| {
            if !file(name).is_file() {
                quantise(peer, &f16, &file(name), name)?;
            }
            Ok((name, file(name)))
        })
        .collect()
}

/// Writes `target` under another name first: what bears the name is whole.
fn quantise(peer: &Peer, source: &Path, target: &Path, type_name: &str) -> Result<()> {
    let partial = target.with_extension("partial");
    step(&format!("SmolLM2 in {type_name}"), || {
        let mut command = Command::new(peer.program("llama-quantize"));
        command.arg("--allow-requantize").args([source, &partial]).arg(type_name);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        process::run(&mut command)
    })?;
    Ok(fs::rename(&partial, target)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let peer = Peer::in_folder(folder.path().to_path_buf());
        assert_eq!(peer.missing(), Some("llama-bench"));
        for name in PROGRAMS {
            fs::write(peer.program(name), "").expect("writing");
        }
        assert_eq!(peer.missing(), None);
    }
}
