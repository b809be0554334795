//! Models of a few kilobytes in three families, whose metadata and tensors a test can change.

#![allow(dead_code, reason = "each test program uses a part")]

use lilims_gguf::{TensorType, Value, Writer};

pub(crate) const N_VOCAB: u64 = 280;
const D_MODEL: u64 = 64;
const D_FF: u64 = 96;
const N_HEADS: u64 = 2;
const N_LAYERS: u64 = 2;
pub(crate) const CONTEXT: u64 = 64;

/// The content of a model file.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) metadata: Vec<(String, Value<'static>)>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) texts: Vec<String>,
}

/// A tensor, in f32 unless its bytes say otherwise.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dims: Vec<u64>,
    pub(crate) ty: TensorType,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    fn new(name: String, dims: &[u64], value: impl Fn(u64) -> f32) -> Self {
        let n_values = dims.iter().product::<u64>();
        let bytes = (0..n_values).flat_map(|idx| value(idx).to_le_bytes()).collect();
        Self { name, dims: dims.to_vec(), ty: TensorType::F32, bytes }
    }

    /// Sets a value.
    pub(crate) fn set(&mut self, idx: usize, value: f32) {
        self.bytes[4 * idx..][..4].copy_from_slice(&value.to_le_bytes());
    }

    /// Multiplies all values by `factor`.
    pub(crate) fn scale(&mut self, factor: f32) {
        for bytes in self.bytes.as_chunks_mut::<4>().0 {
            *bytes = (f32::from_le_bytes(*bytes) * factor).to_le_bytes();
        }
    }
}

/// A model of a family: `llama`, `gpt2` or `gemma3`.
pub(crate) fn plan(family: &str) -> Plan {
    let mut metadata = vec![("general.architecture".to_owned(), text(family))];
    let mut number = |key: &str, value| metadata.push((format!("{family}.{key}"), value));
    for (key, value) in [
        ("context_length", CONTEXT),
        ("embedding_length", D_MODEL),
        ("feed_forward_length", D_FF),
        ("block_count", N_LAYERS),
        ("attention.head_count", N_HEADS),
    ] {
        number(key, Value::U32(value as u32));
    }
    let is_gpt2 = family == "gpt2";
    let eps = if is_gpt2 { "layer_norm_epsilon" } else { "layer_norm_rms_epsilon" };
    number(&format!("attention.{eps}"), Value::F32(1e-5));
    if !is_gpt2 {
        number("attention.head_count_kv", Value::U32(1));
        number("attention.key_length", Value::U32(32));
        number("attention.value_length", Value::U32(32));
        number("rope.dimension_count", Value::U32(32));
        number("rope.freq_base", Value::F32(10_000.0));
    }
    if family == "gemma3" {
        number("attention.sliding_window", Value::U32(16));
        number("attention.sliding_window_pattern", Value::U32(2));
        number("rope.freq_base_swa", Value::F32(10_000.0));
    }
    for (key, id) in [("bos", 1), ("eos", 2), ("unknown", 0)] {
        metadata.push((format!("tokenizer.ggml.{key}_token_id"), Value::U32(id)));
    }
    metadata.push(("tokenizer.ggml.model".to_owned(), text("llama")));
    Plan { metadata, tensors: tensors(family), texts: texts() }
}

fn text(text: &str) -> Value<'static> {
    Value::String(text.to_owned().leak().as_bytes())
}

fn texts() -> Vec<String> {
    let first = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let pieces = (0u8..21).map(|n| char::from(b'a' + n).to_string());
    first.into_iter().chain(bytes).chain(pieces).collect()
}

fn tensors(family: &str) -> Vec<Tensor> {
    let is_gpt2 = family == "gpt2";
    let kv_dim = if is_gpt2 { D_MODEL } else { 32 };
    let mut tensors = Vec::new();
    // Arbitrary values, neither large nor equal.
    let mut matrix = |name: String, dims: &[u64]| {
        let seed = name.bytes().map(u64::from).sum::<u64>();
        let value = move |idx| ((idx * 7 + seed) % 97) as f32 / 97.0 - 0.5;
        tensors.push(Tensor::new(name, dims, value));
    };
    matrix("token_embd.weight".to_owned(), &[D_MODEL, N_VOCAB]);
    matrix("output.weight".to_owned(), &[D_MODEL, N_VOCAB]);
    if is_gpt2 {
        matrix("position_embd.weight".to_owned(), &[D_MODEL, CONTEXT]);
    }
    for layer in 0..N_LAYERS {
        let mut matrix = |name: &str, dims: &[u64]| matrix(format!("blk.{layer}.{name}"), dims);
        if is_gpt2 {
            matrix("attn_qkv.weight", &[D_MODEL, 3 * D_MODEL]);
        } else {
            matrix("attn_q.weight", &[D_MODEL, D_MODEL]);
            matrix("attn_k.weight", &[D_MODEL, kv_dim]);
            matrix("attn_v.weight", &[D_MODEL, kv_dim]);
            matrix("ffn_gate.weight", &[D_MODEL, D_FF]);
        }
        matrix("attn_output.weight", &[D_MODEL, D_MODEL]);
        matrix("ffn_up.weight", &[D_MODEL, D_FF]);
        matrix("ffn_down.weight", &[D_FF, D_MODEL]);
    }
    let mut norm = |name: String, len: u64| {
        tensors.push(Tensor::new(format!("{name}.weight"), &[len], |_| 1.0));
        if is_gpt2 {
            tensors.push(Tensor::new(format!("{name}.bias"), &[len], |_| 0.0));
        }
    };
    norm("output_norm".to_owned(), D_MODEL);
    for layer in 0..N_LAYERS {
        norm(format!("blk.{layer}.attn_norm"), D_MODEL);
        norm(format!("blk.{layer}.ffn_norm"), D_MODEL);
        if family == "gemma3" {
            norm(format!("blk.{layer}.post_attention_norm"), D_MODEL);
            norm(format!("blk.{layer}.post_ffw_norm"), D_MODEL);
            norm(format!("blk.{layer}.attn_q_norm"), 32);
            norm(format!("blk.{layer}.attn_k_norm"), 32);
        }
    }
    tensors
}

impl Plan {
    /// Sets a metadata value, or removes the key.
    pub(crate) fn set(&mut self, key: &str, value: Option<Value<'static>>) {
        self.metadata.retain(|(other, _)| other != key);
        self.metadata.extend(value.map(|value| (key.to_owned(), value)));
    }

    /// The tensor with this name.
    pub(crate) fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors
            .iter_mut()
            .find(|tensor| tensor.name == name)
            .expect("the model has the tensor")
    }

    /// A writer with the metadata and the vocabulary.
    pub(crate) fn head(&self) -> Writer {
        let mut writer = Writer::default();
        for (key, value) in &self.metadata {
            writer.value(key, *value);
        }
        let texts = self.texts.iter().map(|text| Value::String(text.as_bytes()));
        let kinds = (0..self.texts.len()).map(|id| match id {
            0 => Value::I32(2),
            1 | 2 => Value::I32(3),
            3..259 => Value::I32(6),
            _ => Value::I32(1),
        });
        writer.array("tokenizer.ggml.tokens", texts);
        writer.array("tokenizer.ggml.token_type", kinds);
        writer
    }

    /// The bytes of the file with this head.
    pub(crate) fn file_with(&self, mut writer: Writer) -> Vec<u8> {
        for Tensor { name, dims, ty, bytes } in &self.tensors {
            writer.tensor(name, dims, *ty, bytes.clone());
        }
        let mut bytes = Vec::new();
        writer.write(&mut bytes).expect("writing to memory succeeds");
        bytes
    }

    /// The bytes of the file.
    pub(crate) fn file(&self) -> Vec<u8> {
        self.file_with(self.head())
    }
}
