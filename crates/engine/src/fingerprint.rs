//! The fingerprint of a model and its settings. A saved session carries it and loads only if it
//! matches.

use sha2::{Digest, Sha256};

/// Number and size of the weight samples in the fingerprint. Hashing all weights would take longer
/// than reading a short conversation again.
const SAMPLES: usize = 64;
const SAMPLE_BYTES: usize = 4096;

/// SHA-256 in hexadecimal of everything that a saved session depends on: size of the file, metadata
/// with the chat template, samples of the weights, and cache settings.
pub(crate) fn fingerprint(file: &lilims_gguf::File, settings: &str) -> String {
    let bytes = file.as_bytes();
    let offset = |data: &[u8]| data.as_ptr().addr() - bytes.as_ptr().addr();
    let data = file.tensors().iter().filter_map(|tensor| file.data(tensor).ok());
    let (metadata, weights) = bytes.split_at(data.map(offset).min().unwrap_or(bytes.len()));
    let mut hash = Sha256::new();
    hash.update(format!("{settings}\n{}\n", bytes.len()));
    hash.update(metadata);
    for sample in 0..SAMPLES {
        let start = weights.len() / SAMPLES * sample;
        hash.update(&weights[start..weights.len().min(start + SAMPLE_BYTES)]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
