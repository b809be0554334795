//! GGUF files: their header, all metadata, the bytes of all tensors.

use lilims_gguf::{File, TensorType, Value, next_header_bytes};

use crate::{Bound, Target, tiny_model};

/// Reads the file whole, and its header from a prefix as downloads do.
pub(crate) const GGUF: Target = Target {
    name: "gguf",
    run: read,
    seeds: || {
        let mut seeds = vec![tiny_model::file("llama", TensorType::Q4_0)];
        seeds.push(tiny_model::vocabulary_file(tiny_model::Kind::ByteLevel));
        seeds.push(tiny_model::vocabulary_file(tiny_model::Kind::Gemma4));
        seeds
    },
    words: KEYS,
    // The two copies of the input that are made here, and the index of keys and tensors.
    bound: Bound { base_bytes: 64 << 10, per_byte: 34 },
    n_smoke: 20_000,
};

/// Keys, and types of values, tensors and architectures.
pub(crate) const KEYS: &[&str] = &[
    "GGUF\x03\0\0\0",
    "general.alignment",
    "general.architecture",
    "general.sampling.temp",
    "split.count",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.chat_template",
    "attention.sliding_window",
    "rope.scaling.type",
    "rope.scaling.factor",
    "gemma2",
    "phi3",
    "qwen3",
    "llama-bpe",
    "\x08\0\0\0",
    "\x09\0\0\0",
];

fn read(input: &[u8]) {
    if let Ok(file) = File::from_bytes(input.to_vec()) {
        for (_, value) in file.metadata().iter() {
            visit(value);
        }
        for tensor in file.tensors() {
            if let Ok(data) = file.data(tensor) {
                assert_eq!(data.len() as u64, tensor.size_bytes);
            }
        }
    }
    let total_bytes = input.len() as u64;
    let mut held = total_bytes.min(24);
    while let Err(error) = File::from_header(input[..held as usize].to_vec(), total_bytes) {
        let Some(next) = next_header_bytes(&error, held, total_bytes) else { break };
        assert!(held < next && next <= total_bytes, "{held} {next}");
        held = next;
    }
}

fn visit(value: Value<'_>) {
    if let Value::Array(array) = value {
        assert_eq!(array.iter().count(), array.len());
        array.iter().for_each(visit);
    }
}
