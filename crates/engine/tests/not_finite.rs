//! NaN and infinity are detected by every reader of logits, wherever in the model they occur (T12).

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::quant::{self, Activations};
use lilims_engine::{
    BackendKind, Error, GenerateOptions, ImportanceMatrix, KvType, LoadOptions, Model, Sampling,
};
use lilims_gguf::TensorType;

mod tiny_model;
use tiny_model::{Plan, plan};

const PROMPT: [u32; 6] = [1, 261, 262, 263, 264, 265];
const BACKENDS: [BackendKind; 2] = [BackendKind::Cpu, BackendKind::Candle];
const KV_TYPES: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8_0];

fn load(plan: &Plan, backend: BackendKind, kv_type: KvType) -> Arc<Model> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plan.file()).unwrap();
    let options = LoadOptions { backend, kv_type, threads: Some(2), ..LoadOptions::default() };
    Model::load(file.path(), &options).unwrap()
}

fn options(temperature: f32) -> GenerateOptions {
    let sampling = Sampling { temperature, top_k: 40, top_p: 0.9, ..Sampling::default() };
    GenerateOptions { sampling, max_tokens: 5, ignore_eos: true, ..GenerateOptions::default() }
}

/// Quantises the matrices of the layers to Q8_0.
fn quantise(plan: &mut Plan) {
    for tensor in
        plan.tensors.iter_mut().filter(|it| it.dims.len() == 2 && it.name != "token_embd.weight")
    {
        let floats: Vec<f32> = tensor
            .bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let mut blocks = vec![0; floats.len() / 32 * 34];
        quant::quantize_q8_0(&floats, &mut blocks);
        (tensor.ty, tensor.bytes) = (TensorType::Q8_0, blocks);
    }
}

/// Asserts that `model` yields no token and no logits.
fn refuses(model: &Arc<Model>, what: &str) {
    let assert_not_finite = |error: Error| {
        let text = error.to_string();
        assert!(matches!(error, Error::NotFinite { .. }), "{what}: {text}");
        assert!(text.contains(model.name()) && text.contains("at token"), "{what}: {text}");
    };
    let session = || model.session().unwrap();
    assert_not_finite(session().logits(&PROMPT).err().unwrap_or_else(|| panic!("{what}: logits")));
    assert_not_finite(session().read_last(&PROMPT).map(drop).err().unwrap());
    assert_not_finite(session().exact_logits(&PROMPT[..1]).err().unwrap());
    for temperature in [0.0, 0.8] {
        let mut session = session();
        let cancel = AtomicBool::new(false);
        for _ in 0..2 {
            let mut text = String::new();
            let answer =
                session.generate(&PROMPT, &options(temperature), &cancel, &mut |part, _| {
                    text.push_str(part);
                });
            assert_not_finite(answer.err().unwrap());
            assert_eq!(text, "", "{what}");
        }
    }
}

#[test]
fn t12_detects_non_finite_weights_anywhere() {
    for family in ["llama", "gpt2", "gemma3"] {
        let whole = plan(family);
        for (idx, tensor) in whole.tensors.iter().enumerate() {
            // Only the embedding rows of the prompt are read.
            let at = match tensor.name.as_str() {
                "token_embd.weight" => PROMPT[0] as usize * tensor.dims[0] as usize + 3,
                _ => 3,
            };
            for value in [f32::NAN, f32::INFINITY] {
                // An infinite weight of the head may make a logit −∞, which only rules a token out.
                if value.is_infinite() && !tensor.name.contains("norm") {
                    continue;
                }
                let mut damaged = whole.clone();
                damaged.tensors[idx].set(at, value);
                for backend in BACKENDS {
                    let what = format!("{family} {} {value} {backend:?}", tensor.name);
                    refuses(&load(&damaged, backend, KvType::F16), &what);
                }
            }
        }
    }
}

#[test]
fn t12_quantised_products_and_caches_propagate_nan() {
    for name in ["attn_norm", "ffn_norm", "attn_q", "attn_k", "attn_v", "ffn_up", "ffn_down"] {
        for kv_type in KV_TYPES {
            let mut damaged = plan("llama");
            if name.ends_with("norm") {
                quantise(&mut damaged);
            }
            damaged.tensor(&format!("blk.0.{name}.weight")).set(3, f32::NAN);
            refuses(&load(&damaged, BackendKind::Cpu, kv_type), &format!("{name} {kv_type:?}"));
        }
    }
    let mut damaged = plan("llama");
    quantise(&mut damaged);
    let blocks = &mut damaged.tensor("blk.1.ffn_down.weight").bytes;
    blocks[..2].copy_from_slice(&[0xff, 0x7f]);
    refuses(&load(&damaged, BackendKind::Cpu, KvType::F16), "the scale of a block");
    refuses(&load(&damaged, BackendKind::Candle, KvType::F16), "the scale of a block, candle");
}

#[test]
fn t12_huge_keys_and_values_are_clamped() {
    for name in ["attn_k", "attn_v"] {
        let mut huge = plan("llama");
        huge.tensor(&format!("blk.0.{name}.weight")).scale(1e7);
        for backend in BACKENDS {
            for kv_type in [KvType::F16, KvType::Q8_0] {
                let mut session = load(&huge, backend, kv_type).session().unwrap();
                let logits = session.logits(&PROMPT);
                assert!(logits.is_ok(), "{name} {backend:?} {kv_type:?}: {:?}", logits.err());
                let is_reported = backend == BackendKind::Cpu;
                assert_eq!(session.has_clamped_kv(), is_reported, "{name} {kv_type:?}");
            }
            let mut session = load(&huge, backend, KvType::F32).session().unwrap();
            session.logits(&PROMPT).unwrap();
            assert!(!session.has_clamped_kv());
        }
    }
    let mut session = load(&plan("llama"), BackendKind::Cpu, KvType::F16).session().unwrap();
    session.logits(&PROMPT).unwrap();
    assert!(!session.has_clamped_kv());
}

#[test]
fn t12_observing_non_finite_activations_fails() {
    for backend in BACKENDS {
        let mut damaged = plan("llama");
        damaged.tensor("blk.1.ffn_norm.weight").set(0, f32::NAN);
        let model = load(&damaged, backend, KvType::F16);
        let mut importance = ImportanceMatrix::new(model.spec());
        let observed = model.session().unwrap().observe(&PROMPT, &mut importance);
        assert!(matches!(observed, Err(Error::NotFinite { .. })));
    }
}

#[test]
fn t12_quantised_activations_propagate_non_finite_values() {
    for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![0.5; 64];
        x[40] = fault;
        let mut activations = Activations::new(1, 64);
        activations.quantize(&x);
        let mut back = vec![0.0; 64];
        activations.row(0).dequantize(&mut back);
        assert!(back[..32].iter().all(|value| value.is_finite()));
        assert!(back[32..].iter().all(|value| value.is_nan()));
    }
}
