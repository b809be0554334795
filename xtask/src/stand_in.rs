//! Stand-ins for Apple's C compiler and archiver, to type-check for Apple's systems on others:
//! xtask acts as one of them when it is started through a link named `cc` or `ar`.
//!
//! They create empty files, which is enough since nothing is linked.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Acts as `cc` or `ar` if the program's name says so; `None` otherwise.
pub(crate) fn run_as_program(arguments: &[OsString]) -> Option<ExitCode> {
    let name = Path::new(arguments.first()?).file_stem()?.to_str()?;
    let rest = &arguments[1..];
    let outcome = match name {
        "cc" => cc(rest),
        "ar" => ar(rest),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask standing in for {name}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Creates the link `folder/name` to this program and returns its path.
///
/// # Errors
/// If the link cannot be created.
pub(crate) fn install(folder: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let link = folder.join(name);
    let program = std::env::current_exe()?;
    if fs::symlink_metadata(&link).is_ok() {
        fs::remove_file(&link)?;
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(&program, &link)
        .with_context(|| format!("linking {}", link.display()))?;
    #[cfg(not(unix))]
    fs::copy(&program, &link).with_context(|| format!("copying to {}", link.display()))?;
    Ok(link)
}

/// Identifies itself as clang and creates an empty object file.
fn cc(arguments: &[OsString]) -> io::Result<()> {
    if arguments.iter().any(|word| word == "-E") {
        // The cc crate preprocesses a probe and looks for this word to detect the compiler family.
        println!("clang");
    }
    match output_argument(arguments) {
        // Written in place, as compilers do.
        Some(output) => fs::write(output, ""),
        None => Ok(()),
    }
}

/// Creates an empty archive.
fn ar(arguments: &[OsString]) -> io::Result<()> {
    let archive =
        arguments.iter().find(|word| Path::new(word).extension() == Some(OsStr::new("a")));
    match archive {
        Some(archive) => fs::write(archive, "!<arch>\n"),
        None => Ok(()),
    }
}

/// The argument after `-o`.
fn output_argument(arguments: &[OsString]) -> Option<PathBuf> {
    let flag = arguments.iter().position(|word| word == "-o")?;
    arguments.get(flag + 1).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn other_program_names_are_ignored() {
        assert!(run_as_program(&words(&["/somewhere/target/debug/xtask", "test"])).is_none());
    }

    #[test]
    fn cc_and_ar_create_their_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let object = folder.path().join("a.o");
        let archive = folder.path().join("liba.a");
        cc(&words(&["-c", "a.c", "-o", &object.display().to_string()])).expect("cc");
        ar(&words(&["cq", &archive.display().to_string()])).expect("ar");
        assert_eq!(fs::read(&object).expect("reading"), b"");
        assert_eq!(fs::read(&archive).expect("reading"), b"!<arch>\n");
    }
}
