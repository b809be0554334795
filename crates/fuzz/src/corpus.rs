//! What a fuzzer begins with: a target's seeds as files, and its words as a dictionary.

use std::env;
use std::path::PathBuf;

use crate::{Target, panics, scratch};

/// The folder of all corpora.
const FOLDER: &str = "LILIMS_FUZZ_CORPUS";

/// Prepares a process for the target of this name: notes panics, and writes its seeds to `NAME` and its words
/// to `NAME.dict` in the folder that `LILIMS_FUZZ_CORPUS` names, if it is set.
///
/// # Panics
/// If the files cannot be written.
pub fn prepare(name: &str) {
    // Reading a PDF starts this program again.
    lilims_documents::child::run_if_requested();
    panics::watch();
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let target = Target::named(name);
    for (idx, seed) in (target.seeds)().iter().enumerate() {
        scratch::write(&folder.join(name).join(format!("seed-{idx}")), seed);
    }
    let words = target.words.iter().map(|word| {
        let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"\n")
    });
    scratch::write(&folder.join(format!("{name}.dict")), words.collect::<String>().as_bytes());
}
