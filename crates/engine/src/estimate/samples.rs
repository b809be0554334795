//! Small model files and specifications for tests.

use lilims_gguf::{File, TensorType, Value, Writer};

use crate::{BackendKind, LoadOptions, ModelSpec};

/// Two threads, everything else default.
pub(crate) fn options() -> LoadOptions {
    LoadOptions { backend: BackendKind::Cpu, threads: Some(2), ..LoadOptions::default() }
}

/// A file of `family` with these metadata values and tensors, all zero.
pub(crate) fn file(family: &str, numbers: &[(&str, u32)], tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.str("general.architecture", family);
    for (key, value) in numbers {
        writer.value(&format!("{family}.{key}"), Value::U32(*value));
    }
    for norm in ["layer_norm_rms_epsilon", "layer_norm_epsilon"] {
        writer.value(&format!("{family}.attention.{norm}"), Value::F32(1e-5));
    }
    for (name, dims, ty) in tensors {
        let row_bytes = ty.size_bytes(dims[0]).unwrap();
        let n_bytes = row_bytes * dims[1..].iter().product::<u64>();
        writer.tensor(name, dims, *ty, vec![0; n_bytes as usize]);
    }
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    bytes
}

/// Name, dimensions and type of a tensor.
pub(crate) type Tensor<'a> = (&'a str, &'a [u64], TensorType);

/// Gemma 3 with six layers, of which the last attends to the whole context.
pub(crate) fn gemma3_file() -> File {
    let numbers = [
        ("block_count", 6),
        ("context_length", 32_768),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 32),
        ("attention.value_length", 32),
        ("attention.sliding_window", 512),
    ];
    let tensors: [Tensor<'_>; 3] = [
        ("token_embd.weight", &[64, 1000], TensorType::Q8_0),
        ("blk.0.attn_norm.weight", &[64], TensorType::F32),
        ("blk.0.attn_q.weight", &[64, 128], TensorType::Q4_0),
    ];
    File::from_bytes(file("gemma3", &numbers, &tensors)).unwrap()
}

pub(crate) fn gemma3() -> ModelSpec {
    ModelSpec::from_gguf(&gemma3_file()).unwrap()
}

/// GPT-2, with learned positions.
pub(crate) fn gpt2() -> ModelSpec {
    let numbers = [
        ("block_count", 2),
        ("context_length", 1024),
        ("embedding_length", 64),
        ("feed_forward_length", 256),
        ("attention.head_count", 2),
    ];
    let tensors: [Tensor<'_>; 1] = [("token_embd.weight", &[64, 1000], TensorType::F32)];
    ModelSpec::from_gguf(&File::from_bytes(file("gpt2", &numbers, &tensors)).unwrap()).unwrap()
}

/// The header of a Llama whose weights and cache dominate its memory.
pub(crate) fn large() -> File {
    let numbers = [
        ("block_count", 32),
        ("context_length", 8192),
        ("embedding_length", 4096),
        ("feed_forward_length", 14_336),
        ("attention.head_count", 32),
        ("attention.head_count_kv", 8),
    ];
    let tensors: [Tensor<'_>; 1] = [("token_embd.weight", &[4096, 1], TensorType::Q4_0)];
    let mut bytes = file("llama", &numbers, &tensors);
    // Change the one row of the embedding to 4 Gi weights, with a matching file size.
    let needle = [4096_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
    let at = bytes.windows(16).position(|window| window == needle).unwrap();
    let n_rows = 1_u64 << 20;
    bytes[at + 8..at + 16].copy_from_slice(&n_rows.to_le_bytes());
    let total_bytes = bytes.len() as u64 + n_rows * 4096 / 32 * 18;
    File::from_header(bytes, total_bytes).unwrap()
}
