//! Files of a checkpoint: one of them is the input, the others are valid, and the folder is converted.

use std::io::{Cursor, Write};
use std::sync::atomic::AtomicBool;

use lilims_convert::{Manifest, Mix, Options, convert, expected_sizes};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value as Json, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::scratch::Scratch;
use crate::{Bound, Target};

/// What a conversion takes by itself: its buffers for encoding, and the `tokenizers` crate's tables and
/// compiled patterns for the comparison.
const CONVERSION: Bound = Bound { base_bytes: 32 << 20, per_byte: 100 };

/// `model.safetensors`.
pub(crate) const SAFETENSORS: Target = Target {
    name: "safetensors",
    run: |input| convert_with("model.safetensors", input),
    seeds: || {
        vec![
            safetensors(),
            safetensors::serialize([("w", view(&[2], &[0; 4]))], None).unwrap_or_default(),
        ]
    },
    words: &[
        "\"dtype\":\"F32\"",
        "\"BF16\"",
        "\"F16\"",
        "\"F8_E4M3\"",
        "\"shape\":[",
        "\"data_offsets\":[0,",
        "__metadata__",
        "model.layers.0.mlp.up_proj.weight",
        "lm_head.weight",
        "vision_tower.x",
        "model.embed_tokens.weight",
        ".weight_scale",
        "18446744073709551615",
        "\\u0000",
        "{",
        "}",
        "[",
        "]",
    ],
    bound: CONVERSION,
    n_smoke: 1500,
};

/// `pytorch_model.bin`.
pub(crate) const PICKLE: Target = Target {
    name: "pickle",
    run: |input| convert_with("pytorch_model.bin", input),
    seeds: || {
        let whole = pickle(&tensors());
        vec![
            archive(&whole, &tensors()),
            archive(&whole[..200], &[]),
            archive(&pickle(&tensors()[..2]), &[]),
        ]
    },
    words: &[
        "PK\x01\x02",
        "PK\x03\x04",
        "PK\x05\x06",
        "PK\x06\x06",
        "PK\x06\x07",
        "data.pkl",
        "model/data/0",
        "ctorch._utils\n_rebuild_tensor_v2\n",
        "ctorch._utils\n_rebuild_parameter\n",
        "ctorch._tensor\n_rebuild_from_type_v2\n",
        "ctorch\nHalfStorage\n",
        "ctorch\nLongStorage\n",
        "ccollections\nOrderedDict\n",
        "cposix\nsystem\n",
        "(t",
        "tQ",
        "R",
        "u",
        "s",
        "}",
        ")",
        "q\x01",
        "h\x01",
        "r\x7f\x7f\x7f\x7f",
        "j\x7f\x7f\x7f\x7f",
        "K\x01",
        "J\x7f\x7f\x7f\x7f",
        "0",
        ".",
    ],
    bound: CONVERSION,
    n_smoke: 1500,
};

/// `config.json`.
pub(crate) const CONFIG: Target = Target {
    name: "config",
    run: |input| convert_with("config.json", input),
    seeds: || {
        let mut seeds = vec![config().to_string().into_bytes()];
        for (model_type, class, more) in [
            (
                "gpt2",
                "GPT2LMHeadModel",
                json!({"n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 32}),
            ),
            (
                "gemma3_text",
                "Gemma3ForCausalLM",
                json!({"sliding_window": 8, "layer_types": ["full_attention"],
                "query_pre_attn_scalar": 4, "rope_local_base_freq": 10000.0}),
            ),
            (
                "qwen2",
                "Qwen2ForCausalLM",
                json!({"use_sliding_window": true, "max_window_layers": 0,
                "sliding_window": 16}),
            ),
            (
                "phi3",
                "Phi3ForCausalLM",
                json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.5],
                "long_factor": [2.0, 3.0]}, "original_max_position_embeddings": 16}),
            ),
            (
                "llama",
                "LlamaForCausalLM",
                json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
                "quantization_config": {"quant_method": "awq", "bits": 4}}),
            ),
        ] {
            let mut seed = config();
            seed["model_type"] = json!(model_type);
            seed["architectures"] = json!([class]);
            for (key, value) in more.as_object().into_iter().flatten() {
                seed[key] = value.clone();
            }
            seeds.push(seed.to_string().into_bytes());
        }
        seeds
    },
    words: &[
        "\"num_hidden_layers\":1024",
        "\"hidden_size\":16777216",
        "\"text_config\":{",
        "\"vision_config\":{}",
        "\"rope_parameters\":{",
        "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":",
        "\"linear\"",
        "\"longrope\"",
        "\"layer_types\":[\"sliding_attention\"]",
        "\"partial_rotary_factor\":0.5",
        "\"eos_token_id\":[1,2]",
        "\"final_logit_softcapping\":30.0",
        "null",
        "true",
        "1e308",
        "-1",
        "[",
        "]",
        "{",
        "}",
        "\"gemma2\"",
        "\"mistral\"",
        "\"phi\"",
        "\"qwen3\"",
        "\"torch_dtype\":\"bfloat16\"",
    ],
    bound: CONVERSION,
    n_smoke: 3000,
};

/// `tokenizer.json`, also as the `tokenizers` crate reads it.
pub(crate) const TOKENIZER_JSON: Target = Target {
    name: "tokenizer_json",
    run: |input| convert_with("tokenizer.json", input),
    seeds: || {
        let mut sentencepiece = tokenizer();
        sentencepiece["normalizer"] = json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
        sentencepiece["pre_tokenizer"] = Json::Null;
        sentencepiece["model"]["byte_fallback"] = json!(true);
        sentencepiece["model"]["fuse_unk"] = json!(true);
        let mut split = tokenizer();
        split["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}| ?\\p{L}+|\\s+(?!\\S)|\\s+"},
             "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
        [tokenizer(), sentencepiece, split].map(|json| json.to_string().into_bytes()).into()
    },
    words: &[
        "\"type\":\"NFC\"",
        "\"type\":\"Lowercase\"",
        "\"type\":\"Replace\"",
        "\"Regex\":\"(a*)*b\"",
        "\"Regex\":\"\\\\p{L}{1,1000}\"",
        "\"type\":\"Digits\"",
        "\"type\":\"Metaspace\"",
        "\"type\":\"Unigram\"",
        "\"type\":\"WordPiece\"",
        "\"ignore_merges\":true",
        "\"merges\":[[\"t\",\"h\"]]",
        "\"th e\"",
        "\"id\":4294967295",
        "\"normalized\":true",
        "\"single_word\":true",
        "\"rstrip\":true",
        "\"lstrip\":true",
        "\"special\":false",
        "\"post_processor\":{\"type\":\"TemplateProcessing\"",
        "\"dropout\":0.5",
        "null",
        "[",
        "]",
        "{",
        "}",
        "\"truncation\":{\"max_length\":1}",
    ],
    // The patterns of a tokenizer are compiled, each up to the limit of the crate that does it.
    bound: Bound { base_bytes: 96 << 20, per_byte: 200 },
    n_smoke: 400,
};

/// The manifest of a conversion.
pub(crate) const MANIFEST: Target = Target {
    name: "manifest",
    run: |input| {
        let folder = Scratch::new();
        let path = folder.write("m.lilims.json", input);
        if let Ok(manifest) = Manifest::read(&path) {
            let again = folder.write("n.lilims.json", manifest.to_json().as_bytes());
            let again = Manifest::read(&again).map(|again| again.to_json());
            assert_eq!(
                again.ok(),
                Some(manifest.to_json()),
                "a manifest is read as it was written"
            );
        }
    },
    seeds: || {
        let hash = json!({"name": "m.gguf", "size_bytes": 7, "sha256": "ab".repeat(32)});
        let manifest = json!({
            "format_version": 1, "version": "1.0.0", "name": "m", "family": "llama", "license": "MIT",
            "context": 32, "source": {"origin": "a/b", "revision": "main", "files": [hash]}, "result": hash,
            "conversion": {"tool": "lilims-convert 0.1.0", "mix": "Q8_0", "tensor_types": ["a=F16"],
                "calibration": {"text": "t.txt", "sha256": "cd".repeat(32)}, "notes": ["n"]},
            "tensors": [{"name": "output.weight", "type": "F16"}],
            "evaluation": {"text": "e.txt", "tokens": 512, "perplexity_before": 1.5, "perplexity_after": 1.6,
                "mean_kl": 0.01, "p99_kl": 0.1, "same_top": 0.9},
        });
        vec![manifest.to_string().into_bytes()]
    },
    words: &[
        "null",
        "1e999",
        "-1",
        "[",
        "]",
        "{",
        "}",
        "\"evaluation\"",
        "\"calibration\"",
        "\"\\u0000\"",
    ],
    bound: Bound { base_bytes: 64 << 10, per_byte: 60 },
    n_smoke: 10_000,
};

/// Converts the folder in which the file `name` is the input.
fn convert_with(name: &str, input: &[u8]) {
    let folder = Scratch::new();
    folder.write(name, input);
    for (other, content) in
        [("config.json", config().to_string()), ("tokenizer.json", tokenizer().to_string())]
    {
        if other != name {
            folder.write(other, content.as_bytes());
        }
    }
    if !matches!(name, "model.safetensors" | "pytorch_model.bin") {
        folder.write("model.safetensors", &safetensors());
    }
    let options = Options { threads: 1, ..Options::new(Mix::F16) };
    // Converting compares tokenizers on some hundred texts, which takes a hundred times as long as reading.
    let is_converted = crc32fast::hash(input).is_multiple_of(16) || name == "tokenizer.json";
    if expected_sizes(folder.path(), &options, false).is_ok() && is_converted {
        let out = folder.path().join("out.gguf");
        let cancel = AtomicBool::new(false);
        let _ = convert(folder.path(), &out, &options, &cancel, &mut |_| {});
    }
}

const N_VOCAB: usize = 262;
const D_MODEL: usize = 8;

fn config() -> Json {
    json!({
        "architectures": ["LlamaForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "head_dim": 4,
        "hidden_act": "silu", "hidden_size": D_MODEL, "intermediate_size": 8, "max_position_embeddings": 32,
        "model_type": "llama", "num_attention_heads": 2, "num_hidden_layers": 1, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "vocab_size": N_VOCAB,
    })
}

/// The tensors of [`config`]: names and shapes.
fn tensors() -> Vec<(&'static str, Vec<usize>)> {
    let d = D_MODEL;
    vec![
        ("model.norm.weight", vec![d]),
        ("model.embed_tokens.weight", vec![N_VOCAB, d]),
        ("model.layers.0.input_layernorm.weight", vec![d]),
        ("model.layers.0.post_attention_layernorm.weight", vec![d]),
        ("model.layers.0.self_attn.q_proj.weight", vec![d, d]),
        ("model.layers.0.self_attn.k_proj.weight", vec![d / 2, d]),
        ("model.layers.0.self_attn.v_proj.weight", vec![d / 2, d]),
        ("model.layers.0.self_attn.o_proj.weight", vec![d, d]),
        ("model.layers.0.mlp.gate_proj.weight", vec![d, d]),
        ("model.layers.0.mlp.up_proj.weight", vec![d, d]),
        ("model.layers.0.mlp.down_proj.weight", vec![d, d]),
    ]
}

fn view<'a>(shape: &[usize], data: &'a [u8]) -> TensorView<'a> {
    TensorView::new(Dtype::F16, shape.to_vec(), data).expect("the data has the shape's size")
}

fn safetensors() -> Vec<u8> {
    let tensors: Vec<_> = tensors()
        .into_iter()
        .map(|(name, shape)| (name, vec![0x2c; 2 * shape.iter().product::<usize>()], shape))
        .collect();
    let views = tensors.iter().map(|(name, data, shape)| (*name, view(shape, data)));
    safetensors::serialize(views, None).expect("the tensors are valid")
}

/// A pickle of a dictionary of tensors, as `torch.save` writes it.
fn pickle(tensors: &[(&str, Vec<usize>)]) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.bytes());
    }
    fn number(out: &mut Vec<u8>, number: usize) {
        out.push(b'J');
        out.extend((number as u32).to_le_bytes());
    }
    fn sizes(out: &mut Vec<u8>, sizes: &[usize]) {
        out.push(b'(');
        sizes.iter().for_each(|&size| number(out, size));
        out.push(b't');
    }
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (idx, (name, shape)) in tensors.iter().enumerate() {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nHalfStorage\n");
        text(&mut out, &idx.to_string());
        text(&mut out, "cpu");
        number(&mut out, shape.iter().product());
        out.extend(b"tQK\0");
        sizes(&mut out, shape);
        let strides = (0..shape.len()).map(|at| shape[at + 1..].iter().product());
        sizes(&mut out, &strides.collect::<Vec<usize>>());
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

fn archive(pickle: &[u8], tensors: &[(&str, Vec<usize>)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut add = |name: &str, content: &[u8]| {
        archive.start_file(name, stored).expect("memory takes a file");
        archive.write_all(content).expect("memory takes bytes");
    };
    add("model/data.pkl", pickle);
    for (idx, (_, shape)) in tensors.iter().enumerate() {
        add(&format!("model/data/{idx}"), &vec![0x2c; 2 * shape.iter().product::<usize>()]);
    }
    archive.finish().expect("memory takes an archive").into_inner()
}

/// A byte-level vocabulary of all bytes.
fn tokenizer() -> Json {
    let mut vocab = serde_json::Map::new();
    let special = ["<|endoftext|>", "<|im_start|>"];
    let letters = (0..=255u8).map(byte_level).map(String::from);
    let merged = ["th", "he", "the", "in"].map(str::to_owned);
    for text in special.map(str::to_owned).into_iter().chain(letters).chain(merged) {
        vocab.insert(text, json!(vocab.len()));
    }
    assert_eq!(vocab.len(), N_VOCAB, "each row of the embedding has a text");
    let added = special.iter().enumerate().map(|(id, text)| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": ["t h", "h e", "th e", "i n"]},
    })
}

/// GPT-2's character for a byte: the byte's own where it can be seen.
fn byte_level(byte: u8) -> char {
    let is_seen = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_seen(byte) {
        return char::from(byte);
    }
    let n_before = (0..byte).filter(|&byte| !is_seen(byte)).count() as u32;
    char::from_u32(0x100 + n_before).expect("a character of Latin Extended")
}
