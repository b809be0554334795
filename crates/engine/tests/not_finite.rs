//! What is no number is found by every reader of logits, wherever in the model it begins (T12).

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::quant::{self, Activations};
use lilims_engine::{
    BackendKind, Error, GenerateOptions, InputSquares, KvType, LoadOptions, Model, Sampling,
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

/// Turns the matrices of the layers into blocks.
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

/// Asserts that `model` gives out no token and no figure.
fn refuses(model: &Arc<Model>, what: &str) {
    let is_named = |error: Error| {
        let text = error.to_string();
        assert!(matches!(error, Error::NotFinite { .. }), "{what}: {text}");
        assert!(text.contains(model.name()) && text.contains("at token"), "{what}: {text}");
    };
    let session = || model.session().unwrap();
    is_named(session().logits(&PROMPT).err().unwrap_or_else(|| panic!("{what}: logits")));
    is_named(session().read_last(&PROMPT).map(drop).err().unwrap());
    is_named(session().exact_logits(&PROMPT[..1]).err().unwrap());
    for temperature in [0.0, 0.8] {
        let mut session = session();
        let cancel = AtomicBool::new(false);
        for _ in 0..2 {
            let mut text = String::new();
            let answer =
                session.generate(&PROMPT, &options(temperature), &cancel, &mut |part, _| {
                    text.push_str(part);
                });
            is_named(answer.err().unwrap());
            assert_eq!(text, "", "{what}");
        }
    }
}

#[test]
fn t12_weights_that_are_no_numbers_are_found_wherever_they_are() {
    for family in ["llama", "gpt2", "gemma3"] {
        let whole = plan(family);
        for (idx, tensor) in whole.tensors.iter().enumerate() {
            // Of the embeddings only the rows that the prompt reads count.
            let at = match tensor.name.as_str() {
                "token_embd.weight" => PROMPT[0] as usize * tensor.dims[0] as usize + 3,
                _ => 3,
            };
            for value in [f32::NAN, f32::INFINITY] {
                // An infinite weight of the head may make a logit -∞, which only rules a token out.
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
fn t12_no_quantised_product_and_no_cache_hides_what_is_no_number() {
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
fn t12_huge_keys_and_values_are_cut_not_infinite() {
    for name in ["attn_k", "attn_v"] {
        let mut huge = plan("llama");
        huge.tensor(&format!("blk.0.{name}.weight")).scale(1e7);
        for backend in BACKENDS {
            for kv_type in [KvType::F16, KvType::Q8_0] {
                let mut session = load(&huge, backend, kv_type).session().unwrap();
                let logits = session.logits(&PROMPT);
                assert!(logits.is_ok(), "{name} {backend:?} {kv_type:?}: {:?}", logits.err());
                let is_told = backend == BackendKind::Cpu;
                assert_eq!(session.has_cut_keys_or_values(), is_told, "{name} {kv_type:?}");
            }
            let mut session = load(&huge, backend, KvType::F32).session().unwrap();
            session.logits(&PROMPT).unwrap();
            assert!(!session.has_cut_keys_or_values());
        }
    }
    let mut session = load(&plan("llama"), BackendKind::Cpu, KvType::F16).session().unwrap();
    session.logits(&PROMPT).unwrap();
    assert!(!session.has_cut_keys_or_values());
}

#[test]
fn t12_observing_what_is_no_number_is_an_error() {
    for backend in BACKENDS {
        let mut damaged = plan("llama");
        damaged.tensor("blk.1.ffn_norm.weight").set(0, f32::NAN);
        let model = load(&damaged, backend, KvType::F16);
        let mut squares = InputSquares::new(model.spec());
        let observed = model.session().unwrap().observe(&PROMPT, &mut squares);
        assert!(matches!(observed, Err(Error::NotFinite { .. })));
    }
}

#[test]
fn t12_quantised_activations_keep_what_is_no_number() {
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
