//! Tiny checkpoints of `shared/fixtures` as GGUF files, for checking the engine against
//! transformers. Only what those checkpoints need; `lilims-convert` will do this in earnest.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use lilims_gguf::{TensorType, Value, Writer};
use safetensors::SafeTensors;
use serde_json::Value as Json;

/// Families with norms before and after attention and feed-forward.
const SANDWICH_FAMILIES: [&str; 2] = ["gemma2", "gemma3"];

/// GPT-2's linear layers: checkpoints hold them as `[in, out]`, transposed to all others.
const TRANSPOSED: [&str; 4] = ["attn_qkv", "attn_output", "ffn_up", "ffn_down"];

/// A checkpoint's expected results, as transformers computed them.
pub(crate) struct Expected {
    /// The text's tokens.
    pub(crate) ids: Vec<u32>,
    /// Logits of each. `[ids][n_vocab]`
    pub(crate) logits: Vec<f32>,
    /// What greedy decoding adds.
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

/// Writes the checkpoint in `folder` as GGUF, matrices as `matrix_type` (F32, F16 or Q8_0).
pub(crate) fn convert(folder: &Path, family: &str, matrix_type: TensorType, out: &Path) {
    let config = read_json(&folder.join("config.json"));
    let mut writer = Writer::default();
    write_metadata(&mut writer, &config, family);
    write_tokenizer(&mut writer, &read_json(&folder.join("tokenizer.json")), &config);
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let is_gemma = family.starts_with("gemma");
    for (name, tensor) in tensors.tensors() {
        let mut values: Vec<f32> = tensor
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let mut dims: Vec<u64> = tensor.shape().iter().rev().map(|&dim| dim as u64).collect();
        let name = gguf_name(&name, family);
        if is_gemma && name.ends_with("norm.weight") {
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        if family == "gpt2" && dims.len() == 2 && TRANSPOSED.iter().any(|stem| name.contains(stem))
        {
            values = transpose(&values, dims[0] as usize);
            dims.reverse();
        }
        if ["llama", "mistral"].contains(&family)
            && (name.contains("attn_q.") || name.contains("attn_k."))
        {
            let head_dim = config["head_dim"].as_u64().unwrap() as usize;
            values = interleave_halves(&values, head_dim, dims[0] as usize);
        }
        let (tensor_type, data) =
            encode(&values, if dims.len() > 1 { matrix_type } else { TensorType::F32 });
        writer.tensor(&name, &dims, tensor_type, data);
    }
    writer.write(fs::File::create(out).unwrap()).unwrap();
}

fn encode(values: &[f32], tensor_type: TensorType) -> (TensorType, Vec<u8>) {
    let data = match tensor_type {
        TensorType::F16 => {
            values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
        }
        TensorType::Q8_0 => values.as_chunks::<32>().0.iter().flat_map(q8_0).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    (tensor_type, data)
}

/// A block: its scale and 32 integers.
fn q8_0(values: &[f32; 32]) -> Vec<u8> {
    let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let scale = half::f16::from_f32(largest / 127.0);
    let integer = |value: &f32| (value / scale.to_f32()).round() as i8 as u8;
    scale.to_le_bytes().into_iter().chain(values.iter().map(integer)).collect()
}

/// Columns as rows.
fn transpose(values: &[f32], n_cols: usize) -> Vec<f32> {
    let column = |i: usize| values.iter().skip(i).step_by(n_cols).copied();
    (0..n_cols).flat_map(column).collect()
}

/// Llama files rotate neighbours where checkpoints rotate halves: rows i and i + n/2 of a head
/// become rows 2i and 2i + 1.
fn interleave_halves(values: &[f32], head_dim: usize, n_cols: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = values.chunks_exact(n_cols).collect();
    let half = head_dim / 2;
    rows.chunks_exact(head_dim)
        .flat_map(|head| (0..half).flat_map(move |i| [head[i], head[i + half]]))
        .flatten()
        .copied()
        .collect()
}

fn gguf_name(name: &str, family: &str) -> String {
    let has_post_norms = SANDWICH_FAMILIES.contains(&family);
    let name = name.trim_start_matches("model.").trim_start_matches("transformer.");
    let mut parts = name.splitn(3, '.');
    let (Some("layers" | "h"), Some(layer), Some(rest)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return match name {
            "embed_tokens.weight" | "wte.weight" => "token_embd.weight".to_owned(),
            "wpe.weight" => "position_embd.weight".to_owned(),
            "norm.weight" | "ln_f.weight" => "output_norm.weight".to_owned(),
            "ln_f.bias" => "output_norm.bias".to_owned(),
            "lm_head.weight" => "output.weight".to_owned(),
            other => panic!("unknown tensor {other}"),
        };
    };
    let (stem, suffix) = rest.rsplit_once('.').unwrap();
    let stem = match stem {
        "input_layernorm" | "ln_1" => "attn_norm",
        "attn.c_attn" => "attn_qkv",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" | "attn.c_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" | "mlp.c_fc" => "ffn_up",
        "mlp.down_proj" | "mlp.c_proj" => "ffn_down",
        "post_attention_layernorm" if has_post_norms => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" | "ln_2" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        other => panic!("unknown tensor {other}"),
    };
    format!("blk.{layer}.{stem}.{suffix}")
}

fn write_metadata(writer: &mut Writer, config: &Json, family: &str) {
    writer.str("general.architecture", family).str("general.name", family);
    let mut put = |key: &str, value: Value<'_>| {
        writer.value(&format!("{family}.{key}"), value);
    };
    let int = |key: &str| config[key].as_u64().map(|value| Value::U32(value as u32));
    let sizes = [
        ("context_length", "max_position_embeddings"),
        ("context_length", "n_positions"),
        ("embedding_length", "hidden_size"),
        ("embedding_length", "n_embd"),
        ("block_count", "num_hidden_layers"),
        ("block_count", "n_layer"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count", "n_head"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("attention.key_length", "head_dim"),
        ("attention.value_length", "head_dim"),
        ("attention.sliding_window", "sliding_window"),
    ];
    for (key, name) in sizes {
        if let Some(value) = int(name) {
            put(key, value);
        }
    }
    if family == "gpt2" {
        // `n_inner` is null, which means four times the model's width.
        put("feed_forward_length", Value::U32(4 * config["n_embd"].as_u64().unwrap() as u32));
        let eps = config["layer_norm_epsilon"].as_f64().unwrap() as f32;
        put("attention.layer_norm_epsilon", Value::F32(eps));
        return;
    }
    let eps = config["rms_norm_eps"].as_f64().unwrap() as f32;
    put("attention.layer_norm_rms_epsilon", Value::F32(eps));
    let rope = &config["rope_parameters"];
    let base = rope["full_attention"]["rope_theta"].as_f64().or(rope["rope_theta"].as_f64());
    put("rope.freq_base", Value::F32(base.unwrap() as f32));
    for (key, name) in [
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ] {
        if let Some(cap) = config[name].as_f64() {
            put(key, Value::F32(cap as f32));
        }
    }
}

fn write_tokenizer(writer: &mut Writer, tokenizer: &Json, config: &Json) {
    let n_vocab = config["vocab_size"].as_u64().unwrap() as usize;
    let vocab: HashMap<String, usize> =
        serde_json::from_value(tokenizer["model"]["vocab"].clone()).unwrap();
    let mut tokens: Vec<String> = (0..n_vocab).map(|id| format!("<unused{id}>")).collect();
    vocab.into_iter().for_each(|(token, id)| tokens[id] = token);
    let mut types = vec![1; n_vocab];
    for added in tokenizer["added_tokens"].as_array().unwrap() {
        let id = added["id"].as_u64().unwrap() as usize;
        tokens[id] = added["content"].as_str().unwrap().to_owned();
        types[id] = 3;
    }
    let merges: Vec<String> = tokenizer["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|merge| match merge.as_array() {
            Some(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
            None => merge.as_str().unwrap().to_owned(),
        })
        .collect();
    let text = |text: &String| text.clone().into_bytes();
    let (tokens, merges): (Vec<_>, Vec<_>) =
        (tokens.iter().map(text).collect(), merges.iter().map(text).collect());
    writer
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "gpt-2")
        .array("tokenizer.ggml.tokens", tokens.iter().map(|token| Value::String(token)))
        .array("tokenizer.ggml.token_type", types.iter().map(|&kind| Value::I32(kind)))
        .array("tokenizer.ggml.merges", merges.iter().map(|merge| Value::String(merge)))
        .value("tokenizer.ggml.eos_token_id", Value::U32(0));
}
