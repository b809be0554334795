//! The crates whose functions and files may be named in a report.

/// Our crates: the folder of their sources, and the name of the library or program.
pub(crate) const OURS: &[(&str, &str)] = &[
    ("crates/bench/src/", "lilims_bench"),
    ("crates/cli/src/", "lilims"),
    ("crates/convert/src/", "lilims_convert"),
    ("crates/core/src/", "lilims_core"),
    ("crates/documents/src/", "lilims_documents"),
    ("crates/engine/src/", "lilims_engine"),
    ("crates/files/src/", "lilims_files"),
    ("crates/fuzz/src/", "lilims_fuzz"),
    ("crates/gguf/src/", "lilims_gguf"),
    ("crates/hub/src/", "lilims_hub"),
    ("crates/interchange/src/", "lilims_interchange"),
    ("crates/ipc/src/", "lilims_ipc"),
    ("crates/jinja/src/", "lilims_jinja"),
    ("crates/quant/src/", "lilims_quant"),
    ("crates/store/src/", "lilims_store"),
    ("crates/telemetry/src/", "lilims_telemetry"),
    ("crates/terminal/src/", "lilims_terminal"),
    ("models/src/", "lilims_models"),
    ("src-tauri/src/", "lilims_app"),
    ("ui/src/", "lilims_ui"),
];

/// Other crates whose functions tell where a panic came from.
const WELL_KNOWN: &[&str] = &[
    "alloc",
    "candle_core",
    "core",
    "futures_util",
    "html5ever",
    "hyper",
    "llguidance",
    "parking_lot",
    "parking_lot_core",
    "pdf_oxide",
    "pulldown_cmark",
    "pulldown_latex",
    "quick_xml",
    "reqwest",
    "rusqlite",
    "serde",
    "serde_json",
    "std",
    "syntect",
    "tao",
    "tauri",
    "tauri_runtime_wry",
    "tokenizers",
    "tokio",
    "tracing",
    "tracing_core",
    "wry",
    "zip",
];

/// Whether `name` is the name of a crate of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|(_, ours)| *ours == name)
}

/// Whether functions of the crate `name` may be named.
pub(crate) fn is_known(name: &str) -> bool {
    is_ours(name) || WELL_KNOWN.contains(&name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_crate_of_the_workspace_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for entry in std::fs::read_dir(root.join("crates")).unwrap() {
            let folder = format!("crates/{}/src/", entry.unwrap().file_name().to_str().unwrap());
            if root.join(&folder).is_dir() {
                assert!(OURS.iter().any(|(it, _)| *it == folder), "{folder} is not listed");
            }
        }
        for (folder, _) in OURS {
            assert!(root.join(folder).is_dir(), "{folder} does not exist");
        }
    }
}
