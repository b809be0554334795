//! A conversion notes what it leaves out and rejects what it would compute differently (C3, C4, C7,
//! A4, A5, A14). Each test changes one thing in a tiny checkpoint of the fixtures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use lilims_engine::ModelSpec;
use safetensors::tensor::Dtype;
use serde_json::{Value as Json, json};

mod checkpoint;
use checkpoint::Checkpoint;

#[test]
fn all_ten_checkpoints_convert_without_notes() {
    for name in ["gemma", "gemma2", "gemma3", "gpt2", "llama", "mistral", "phi2", "phi3", "qwen2"] {
        let (manifest, _) = Checkpoint::copy(name).run().unwrap();
        assert_eq!(manifest.conversion.notes, [""; 0], "{name}");
    }
    Checkpoint::copy("qwen3").run().unwrap();
}

#[test]
fn c3_windows_are_written_with_their_layers() {
    let windows = |checkpoint: &Checkpoint| {
        let (manifest, file) = checkpoint.run().unwrap();
        let spec = ModelSpec::from_gguf(&file).unwrap();
        let windows: Vec<_> = spec.layers.iter().map(|layer| layer.window).collect();
        (windows, manifest.conversion.notes)
    };
    let mistral = Checkpoint::copy("mistral");
    mistral.set("config.json", "sliding_window", json!(8));
    let (found, notes) = windows(&mistral);
    assert_eq!(found, [Some(8); 3]);
    assert!(notes.iter().any(|note| note.contains("window of 8")), "{notes:?}");
    // A window as long as the context is none; the default width is 4096.
    mistral.set("config.json", "sliding_window", json!(256));
    assert_eq!(windows(&mistral).0, [None; 3]);
    mistral.change("config.json", |json| {
        json.as_object_mut().unwrap().remove("sliding_window");
        json["max_position_embeddings"] = json!(8192);
    });
    assert_eq!(windows(&mistral).0, [Some(4096); 3]);
    for name in ["qwen2", "qwen3"] {
        let qwen = Checkpoint::copy(name);
        qwen.set("config.json", "sliding_window", json!(8));
        assert_eq!(windows(&qwen).0, [None; 3], "{name}: switched off");
        qwen.set("config.json", "use_sliding_window", json!(true));
        assert_eq!(windows(&qwen).0, [None; 3], "{name}: full attention in all layers");
        qwen.change("config.json", |json| {
            json.as_object_mut().unwrap().remove("layer_types");
            json["max_window_layers"] = json!(1);
        });
        assert_eq!(windows(&qwen).0, [None, Some(8), Some(8)], "{name}");
        qwen.set(
            "config.json",
            "layer_types",
            json!(["sliding_attention", "full_attention", "sliding_attention",]),
        );
        assert_eq!(windows(&qwen).0, [Some(8), None, Some(8)], "{name}");
        qwen.set("config.json", "use_sliding_window", json!(false));
        assert!(qwen.error().contains("layer_types"));
    }
}

#[test]
fn c4_fields_that_change_the_computation_are_rejected_by_name() {
    let cases: [(&str, &str, Json); 19] = [
        ("llama", "hidden_act", json!("gelu")),
        ("llama", "partial_rotary_factor", json!(0.5)),
        ("llama", "partial_rotary_factor", json!(1e30)),
        ("phi2", "partial_rotary_factor", json!(1e30)),
        ("llama", "head_dim", json!(17)),
        ("llama", "pretraining_tp", json!(2)),
        ("llama", "logit_scale", json!(0.5)),
        ("llama", "sliding_window", json!(16)),
        ("llama", "rope_scaling", json!({ "rope_type": "yarn", "factor": 4.0 })),
        ("llama", "architectures", json!(["LlamaForSequenceClassification"])),
        ("gpt2", "scale_attn_weights", json!(false)),
        ("gpt2", "activation_function", json!("relu")),
        ("gpt2", "add_cross_attention", json!(true)),
        ("gemma2", "hidden_activation", json!("gelu")),
        ("gemma2", "query_pre_attn_scalar", json!(7)),
        ("gemma3", "use_bidirectional_attention", json!(true)),
        ("phi2", "qk_layernorm", json!(true)),
        ("qwen2", "use_mrope", json!(true)),
        ("qwen3", "num_experts", json!(8)),
    ];
    for (name, field, value) in cases {
        let checkpoint = Checkpoint::copy(name);
        checkpoint.change("config.json", |json| {
            if field == "rope_scaling" {
                json.as_object_mut().unwrap().remove("rope_parameters");
            }
            // In the fixture of Phi-2 the factor is in `rope_parameters`.
            let part = if name == "phi2" && field == "partial_rotary_factor" {
                &mut json["rope_parameters"]
            } else {
                json
            };
            part[field] = value.clone();
        });
        let error = checkpoint.error();
        let is_named = [field, "rotary scaling", "heads of 17"].iter().any(|p| error.contains(p));
        assert!(is_named, "{name} {field}: {error}");
    }
    // A bias that the configuration does not mention is rejected, one that it mentions is required.
    let unexpected = Checkpoint::copy("llama");
    unexpected.add_tensor("model.layers.0.self_attn.q_proj.bias");
    assert!(unexpected.error().contains("q_proj.bias"));
    let missing = Checkpoint::copy("llama");
    assert!(missing.set("config.json", "attention_bias", json!(true)).error().contains("bias"));
    let untied = Checkpoint::copy("llama");
    assert!(
        untied.set("config.json", "tie_word_embeddings", json!(false)).error().contains("lm_head")
    );
}

#[test]
fn c4_ignored_fields_and_tensors_are_noted() {
    let checkpoint = Checkpoint::copy("llama");
    checkpoint.set("config.json", "attention_dropout", json!(0.1));
    checkpoint.set("generation_config.json", "no_repeat_ngram_size", json!(3));
    let mut tensors = checkpoint.tensors();
    let embedding = tensors.iter().find(|(name, ..)| name.contains("embed")).unwrap().clone();
    tensors.push(("lm_head.weight".to_owned(), embedding.1, embedding.2));
    checkpoint.write_tensors(&tensors, Dtype::F32);
    let (manifest, _) = checkpoint.run().unwrap();
    let notes = manifest.conversion.notes.join("\n");
    for part in ["`attention_dropout` 0.1", "`no_repeat_ngram_size` 3", "`lm_head.weight`"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let unknown = Checkpoint::copy("llama");
    assert!(unknown.set("generation_config.json", "magic", json!(3)).error().contains("`magic`"));
    let unknown = Checkpoint::copy("llama");
    assert!(unknown.set("tokenizer_config.json", "magic", json!(3)).error().contains("`magic`"));
    let unknown = Checkpoint::copy("llama");
    assert!(unknown.set("tokenizer.json", "magic", json!(3)).error().contains("`magic`"));
}

#[test]
fn c7_quantised_checkpoints_are_recognised() {
    let check_rejected = |checkpoint: &Checkpoint| {
        let error = checkpoint.error();
        assert!(error.contains("already quantised"), "{error}");
    };
    let of = || Checkpoint::copy("llama");
    check_rejected(of().set("config.json", "quantization", json!({ "group_size": 64, "bits": 4 })));
    check_rejected(of().set(
        "config.json",
        "quantization_config",
        json!({ "quant_method": "fp8" }),
    ));
    check_rejected(of().set("quantize_config.json", "bits", json!(4)));
    for name in [
        "model.layers.0.mlp.up_proj.qweight",
        "model.layers.0.mlp.up_proj.qzeros",
        "model.layers.0.mlp.up_proj.weight_scale_inv",
        "model.layers.0.mlp.up_proj.scales",
        "model.layers.0.mlp.up_proj.weight.absmax",
    ] {
        check_rejected(of().add_tensor(name));
    }
    // FP8 that the configuration does not mention.
    let checkpoint = of();
    let tensors = checkpoint.tensors();
    let bytes: Vec<_> = tensors
        .iter()
        .map(|(name, shape, _)| (name.clone(), shape.clone(), vec![0; shape.iter().product()]))
        .collect();
    checkpoint.write_tensors(&bytes, Dtype::F8_E4M3);
    check_rejected(&checkpoint);
}

#[test]
fn adapters_are_recognised() {
    let checkpoint = Checkpoint::copy("llama");
    fs::rename(checkpoint.file("config.json"), checkpoint.file("adapter_config.json")).unwrap();
    assert!(checkpoint.error().contains("LoRA"));
}

/// Writes an archive with this pickle and no tensor data.
fn archive(path: &Path, pickle: &[u8]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("model/data.pkl", stored).unwrap();
    archive.write_all(pickle).unwrap();
    archive.finish().unwrap();
}

#[test]
fn a5_hostile_pickles_take_little_memory() {
    let checkpoint = Checkpoint::copy("llama");
    fs::remove_file(checkpoint.file("model.safetensors")).unwrap();
    let path = checkpoint.file("pytorch_model.bin");
    let put = |idx: u32| [&b"r"[..], &idx.to_le_bytes()].concat();
    // Memo indices 60,000 apart.
    let mut far = b"\x80\x02N".to_vec();
    (0..60_000u32).for_each(|n| far.extend(put(n.wrapping_mul(60_000))));
    far.extend(b".");
    // A name of 100 kB for 40,000 tensors.
    let mut names = b"\x80\x02}X".to_vec();
    names.extend(100_000u32.to_le_bytes());
    names.extend(vec![b'x'; 100_000]);
    names.extend(b"q\x000");
    (0..40_000).for_each(|_| names.extend(b"h\0h\0s"));
    names.extend(b".");
    // Nested tuples, each holding the previous one twice.
    let mut tuples = b"\x80\x02N".to_vec();
    (0..60_000).for_each(|_| tuples.extend(b"q\0h\0\x86"));
    tuples.extend(b".");
    let marks = [&b"\x80\x02"[..], &vec![b'('; 300_000], b"."].concat();
    for pickle in [far, names, tuples, marks] {
        archive(&path, &pickle);
        let before = peak_kb();
        let error = checkpoint.error();
        assert!(error.contains("pytorch_model.bin"), "{error}");
        let grown = peak_kb().saturating_sub(before);
        assert!(grown < 200_000, "{grown} kB");
    }
}

/// The peak memory of this process, in kB; 0 where the system does not report it.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a5_hostile_safetensors_headers_are_errors() {
    let checkpoint = Checkpoint::copy("llama");
    let path = checkpoint.file("model.safetensors");
    let head = |json: &str, data: usize| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    };
    let tensor = |from: u64, to: u64, shape: &str| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let cases = [
        (1u64 << 63).to_le_bytes().to_vec(),
        u64::MAX.to_le_bytes().to_vec(),
        [100_000_000u64.to_le_bytes().to_vec(), vec![b' '; 1000]].concat(),
        head(&format!(r#"{{"a":{},"b":{}}}"#, tensor(0, 8, "[2]"), tensor(4, 12, "[2]")), 12),
        head(&format!(r#"{{"a":{}}}"#, tensor(0, 4, "[4611686018427387905,4]")), 4),
        head(&format!(r#"{{"a":{}}}"#, tensor(8, 4, "[1]")), 12),
        head(&format!(r#"{{"a":{}}}"#, tensor(0, u64::MAX, "[1]")), 4),
        head(&"[".repeat(100_000), 0),
        head(&format!(r#"{{"{}":{}}}"#, "n".repeat(70_000), tensor(0, 4, "[1]")), 4),
    ];
    for bytes in cases {
        fs::write(&path, &bytes).unwrap();
        let error = checkpoint.error();
        assert!(error.len() < 2000, "{} bytes", error.len());
    }
}

#[test]
fn a4_sizes_are_checked_against_each_other() {
    for (name, changes) in [
        ("llama", json!({ "num_attention_heads": 1 << 20, "head_dim": 1 << 20 })),
        ("llama", json!({ "num_attention_heads": 97, "head_dim": null })),
        ("llama", json!({ "num_attention_heads": 1_000_000, "head_dim": null })),
        ("llama", json!({ "vocab_size": 1 << 24 })),
        ("llama", json!({ "num_hidden_layers": 1 << 20 })),
        ("llama", json!({ "num_key_value_heads": 0 })),
        ("llama", json!({ "rms_norm_eps": "small" })),
        ("llama", json!({ "intermediate_size": 1u64 << 40 })),
        ("gpt2", json!({ "n_embd": 1 << 24 })),
        ("gemma2", json!({ "final_logit_softcapping": -1.0 })),
        ("gemma2", json!({ "attn_logit_softcapping": 1e300 })),
    ] {
        let checkpoint = Checkpoint::copy(name);
        checkpoint.change("config.json", |json| {
            for (key, value) in changes.as_object().unwrap() {
                json[key] = value.clone();
            }
        });
        checkpoint.error();
    }
}

#[cfg(unix)]
#[test]
fn a14_links_out_of_the_folder_are_rejected() {
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "{\"secret\": 1}").unwrap();
    for name in
        ["chat_template.jinja", "tokenizer_config.json", "added_tokens.json", "tokenizer.model"]
    {
        let checkpoint = Checkpoint::copy("llama");
        std::os::unix::fs::symlink(&secret, checkpoint.file(name)).unwrap();
        if name == "tokenizer.model" {
            fs::remove_file(checkpoint.file("tokenizer.json")).unwrap();
        }
        checkpoint.error();
    }
    let checkpoint = Checkpoint::copy("llama");
    let map: HashMap<&str, &str> = [("model.norm.weight", "../secret")].into();
    checkpoint.set("model.safetensors.index.json", "weight_map", json!(map));
    assert!(checkpoint.error().contains("../secret"));
}
