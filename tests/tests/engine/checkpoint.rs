//! Tiny checkpoints of `shared/fixtures` as GGUF files, for checking the engine against
//! transformers.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use lilims_convert::{Mix, Options};
use serde_json::Value as Json;

/// A checkpoint's expected results, computed by transformers.
pub(crate) struct Expected {
    /// The tokens of the text.
    pub(crate) ids: Vec<u32>,
    /// The logits of each token: `[ids][n_vocab]`.
    pub(crate) logits: Vec<f32>,
    /// The tokens that greedy decoding appends.
    pub(crate) greedy: Vec<u32>,
}

/// Reads a checkpoint's `expected.json`.
pub(crate) fn expected(folder: &Path) -> Expected {
    let json: Json = read_json(&folder.join("expected.json"));
    let ids = |key: &str| -> Vec<u32> { serde_json::from_value(json[key].clone()).unwrap() };
    let rows: Vec<Vec<f32>> = serde_json::from_value(json["logits"].clone()).unwrap();
    Expected { ids: ids("input_ids"), logits: rows.concat(), greedy: ids("greedy") }
}

fn read_json(path: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Converts the checkpoint in `folder`, with matrices of type `mix`.
pub(crate) fn convert(folder: &Path, mix: Mix, out: &Path) {
    let (options, cancel) = (Options::new(mix), AtomicBool::new(false));
    lilims_convert::convert(folder, out, &options, &cancel, &mut |_| {}).unwrap();
}
