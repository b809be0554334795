//! The engine against its oracles: transformers' logits on tiny checkpoints, llama.cpp's texts
//! and perplexities on real models, and its own two backends against each other.

mod checkpoint;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_engine::{BackendKind, Finish, GenerateOptions, KvType, LoadOptions, Model};
use lilims_gguf::TensorType;

/// Rounding of f32 sums in another order.
const F32_TOLERANCE: f64 = 1e-4;
/// Weights and cache rounded to f16.
const F16_TOLERANCE: f64 = 5e-3;
/// The families of the checkpoints that the engine runs: folder and `general.architecture`.
const CHECKPOINTS: [(&str, &str); 7] = [
    ("llama", "llama"),
    ("mistral", "llama"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
    ("gemma", "gemma"),
    ("gemma2", "gemma2"),
    ("gemma3", "gemma3"),
];
const BACKENDS: [BackendKind; 2] = [BackendKind::Cpu, BackendKind::Candle];

fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut b.iter().map(|&b| f64::from(b)))
}

fn load(path: &Path, backend: BackendKind, kv_type: KvType) -> Arc<Model> {
    let options = LoadOptions { backend, kv_type, threads: Some(2), context: None };
    Model::load(path, &options).unwrap()
}

fn greedy(model: &Arc<Model>, prompt: &[u32], max_tokens: usize) -> Vec<u32> {
    let options = GenerateOptions { max_tokens, ignore_eos: true, ..GenerateOptions::default() };
    let mut session = model.session().unwrap();
    let cancel = AtomicBool::new(false);
    session.generate(prompt, &options, &cancel, &mut |_, _| {}).unwrap().tokens
}

#[test]
fn tiny_checkpoints_reproduce_transformers() {
    let Some(fixtures) = checkpoint::fixtures() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, family) in CHECKPOINTS {
        let source = fixtures.join("checkpoints").join(name);
        let expected = checkpoint::expected(&source);
        for (matrix_type, kv_type, tolerance) in [
            (TensorType::F32, KvType::F32, F32_TOLERANCE),
            (TensorType::F16, KvType::F16, F16_TOLERANCE),
        ] {
            let path = folder.path().join(format!("{name}-{matrix_type}.gguf"));
            checkpoint::convert(&source, family, matrix_type, &path);
            for backend in BACKENDS {
                let model = load(&path, backend, kv_type);
                let logits = model.session().unwrap().logits(&expected.ids).unwrap();
                let error = relative_error(&logits, &expected.logits);
                println!("{name} {matrix_type} {backend:?}: relative error {error:.2e}");
                assert!(error <= tolerance, "{name} {matrix_type} {backend:?}: {error:.2e}");
                if matrix_type == TensorType::F32 {
                    let ids = greedy(&model, &expected.ids, expected.greedy.len());
                    assert_eq!(ids, expected.greedy, "{name} {backend:?}");
                }
            }
        }
    }
}
