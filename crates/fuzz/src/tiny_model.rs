//! Model files of a few kilobytes, from which mutations begin.

use lilims_gguf::{TensorType, Value, Writer};

const N_VOCAB: u64 = 40;
const D_MODEL: u64 = 32;
const N_HEADS: u64 = 2;
const CONTEXT: u64 = 32;

/// A model of a family (`llama`, `gpt2`, `gemma3`) whose matrices have this type. Its values are not random:
/// equal bytes make small files that a fuzzer keeps.
pub(crate) fn file(family: &str, matrix_type: TensorType) -> Vec<u8> {
    let mut writer = Writer::default();
    let is_gpt2 = family == "gpt2";
    writer.str("general.architecture", family);
    let mut number = |key: &str, value: Value<'_>| {
        writer.value(&format!("{family}.{key}"), value);
    };
    for (key, value) in [
        ("context_length", CONTEXT),
        ("embedding_length", D_MODEL),
        ("feed_forward_length", D_MODEL),
        ("block_count", 1),
        ("attention.head_count", N_HEADS),
    ] {
        number(key, Value::U32(value as u32));
    }
    let eps = if is_gpt2 { "layer_norm_epsilon" } else { "layer_norm_rms_epsilon" };
    number(&format!("attention.{eps}"), Value::F32(1e-5));
    if !is_gpt2 {
        for (key, value) in [
            ("attention.head_count_kv", 1),
            ("attention.key_length", 16),
            ("attention.value_length", 16),
            ("rope.dimension_count", 16),
        ] {
            number(key, Value::U32(value));
        }
        number("rope.freq_base", Value::F32(10_000.0));
    }
    if family == "gemma3" {
        number("attention.sliding_window", Value::U32(8));
        number("attention.sliding_window_pattern", Value::U32(2));
        number("rope.freq_base_swa", Value::F32(10_000.0));
    }
    vocabulary(&mut writer, if is_gpt2 { Kind::ByteLevel } else { Kind::SentencePiece });
    writer.str("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}");
    tensors(&mut writer, family, matrix_type);
    bytes(&writer)
}

fn tensors(writer: &mut Writer, family: &str, matrix_type: TensorType) {
    let is_gpt2 = family == "gpt2";
    let mut matrix = |name: &str, dims: &[u64]| {
        let n_values = dims.iter().product();
        let size = matrix_type.size_bytes(n_values).expect("whole blocks");
        // The middle of a float's exponent, and scales of blocks that are not large.
        let data = (0..size).map(|at| if at % 2 == 0 { (at % 61) as u8 } else { 0x2c });
        writer.tensor(name, dims, matrix_type, data.collect());
    };
    matrix("token_embd.weight", &[D_MODEL, N_VOCAB]);
    if is_gpt2 {
        matrix("position_embd.weight", &[D_MODEL, CONTEXT]);
        matrix("blk.0.attn_qkv.weight", &[D_MODEL, 3 * D_MODEL]);
    } else {
        matrix("blk.0.attn_q.weight", &[D_MODEL, D_MODEL]);
        matrix("blk.0.attn_k.weight", &[D_MODEL, D_MODEL / 2]);
        matrix("blk.0.attn_v.weight", &[D_MODEL, D_MODEL / 2]);
        matrix("blk.0.ffn_gate.weight", &[D_MODEL, D_MODEL]);
    }
    matrix("blk.0.attn_output.weight", &[D_MODEL, D_MODEL]);
    matrix("blk.0.ffn_up.weight", &[D_MODEL, D_MODEL]);
    matrix("blk.0.ffn_down.weight", &[D_MODEL, D_MODEL]);
    let mut norm = |name: &str, len: u64| {
        let ones = std::iter::repeat_n(1f32.to_le_bytes(), len as usize).flatten().collect();
        writer.tensor(&format!("{name}.weight"), &[len], TensorType::F32, ones);
        if is_gpt2 {
            let zeros = vec![0; 4 * len as usize];
            writer.tensor(&format!("{name}.bias"), &[len], TensorType::F32, zeros);
        }
    };
    norm("output_norm", D_MODEL);
    norm("blk.0.attn_norm", D_MODEL);
    norm("blk.0.ffn_norm", D_MODEL);
    if family == "gemma3" {
        norm("blk.0.post_attention_norm", D_MODEL);
        norm("blk.0.post_ffw_norm", D_MODEL);
        norm("blk.0.attn_q_norm", D_MODEL / 2);
        norm("blk.0.attn_k_norm", D_MODEL / 2);
    }
}

/// A kind of vocabulary.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    SentencePiece,
    ByteLevel,
    Gemma4,
}

/// The metadata of a vocabulary of [`N_VOCAB`] tokens.
fn vocabulary(writer: &mut Writer, kind: Kind) {
    for (key, id) in [("bos", 1), ("eos", 2), ("unknown", 0)] {
        writer.value(&format!("tokenizer.ggml.{key}_token_id"), Value::U32(id));
    }
    let (model, space) = match kind {
        Kind::SentencePiece => ("llama", "\u{2581}"),
        Kind::ByteLevel => ("gpt2", "\u{120}"),
        Kind::Gemma4 => ("gemma4", "\u{2581}"),
    };
    writer.str("tokenizer.ggml.model", model);
    if kind != Kind::SentencePiece {
        writer.str("tokenizer.ggml.pre", if kind == Kind::ByteLevel { "qwen2" } else { "gemma4" });
    }
    let mut texts: Vec<String> =
        ["<unk>", "<s>", "</s>", "<0x0A>", "<0xC3>", space].map(str::to_owned).into();
    texts.extend(('a'..='z').map(String::from));
    texts.extend(["th", "he", "the", "in", "an", "er", "<|im_end|>"].map(str::to_owned));
    texts.push(format!("{space}the"));
    let kinds = (0..texts.len()).map(|id| match id {
        0 => Value::I32(2),
        1 | 2 | 38 => Value::I32(3),
        3 | 4 => Value::I32(6),
        _ => Value::I32(1),
    });
    assert_eq!(texts.len() as u64, N_VOCAB, "each row of the embedding has a text");
    writer.array("tokenizer.ggml.tokens", texts.iter().map(|text| Value::String(text.as_bytes())));
    writer.array("tokenizer.ggml.token_type", kinds);
    if kind == Kind::SentencePiece {
        writer.array("tokenizer.ggml.scores", (0..N_VOCAB).map(|id| Value::F32(-(id as f32))));
    } else {
        let joined = format!("{space} the");
        let merges = ["t h", "h e", "th e", "i n", "a n", "e r", &joined];
        writer.array("tokenizer.ggml.merges", merges.map(|text| Value::String(text.as_bytes())));
    }
}

/// A file with a vocabulary and nothing else.
pub(crate) fn vocabulary_file(kind: Kind) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama");
    vocabulary(&mut writer, kind);
    if kind == Kind::Gemma4 {
        writer.array(
            "lilims.tokenizer.normalizers",
            [Value::String(b"nfkc"), Value::String(b"lowercase")],
        );
        writer.array("lilims.tokenizer.eos_token_ids", [Value::U32(2), Value::U32(38)]);
        writer.array("lilims.tokenizer.rstrip_token_ids", [Value::U32(38)]);
        writer.array("lilims.tokenizer.splits_text_token_ids", [Value::U32(5)]);
        writer.value("tokenizer.ggml.add_space_prefix", Value::Bool(true));
    }
    bytes(&writer)
}

fn bytes(writer: &Writer) -> Vec<u8> {
    let mut bytes = Vec::new();
    writer.write(&mut bytes).expect("writing to memory succeeds");
    bytes
}
