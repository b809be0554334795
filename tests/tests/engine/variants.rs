//! Features that the ten checkpoints lack: RoPE scaling, layers without RoPE, heads of Phi-2's
//! width. Each test changes a tiny checkpoint's configuration. llama.cpp gave the same logits for
//! all of them; here the two backends are compared, and each setting must have an effect.

use std::fs;
use std::path::Path;

use lilims_convert::Mix;
use lilims_engine::{BackendKind, KvType};
use lilims_tests::fixture;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value as Json, json};

use crate::{BACKENDS, F32_TOLERANCE, checkpoint, relative_error};

/// The smallest difference that shows that a setting has an effect.
const MIN_CHANGE: f64 = 1e-3;

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// The logits of each backend for a checkpoint after `change`.
fn logits(name: &str, change: impl Fn(&mut Json, &mut Tensors)) -> [Vec<f32>; 2] {
    let source = fixture("checkpoints").join(name);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let json = fs::read(source.join("config.json")).unwrap();
    let mut config: Json = serde_json::from_slice(&json).unwrap();
    let mut tensors = read(&source.join("model.safetensors"));
    change(&mut config, &mut tensors);
    fs::write(file("config.json"), config.to_string()).unwrap();
    fs::write(file("tokenizer.json"), fs::read(source.join("tokenizer.json")).unwrap()).unwrap();
    write(&file("model.safetensors"), &tensors);
    checkpoint::convert(folder.path(), Mix::F32, &file("model.gguf"));
    let ids: Vec<u32> = (0..90).map(|i| i * 37 % 420).collect();
    BACKENDS.map(|backend: BackendKind| {
        let model = crate::load(&file("model.gguf"), backend, KvType::F32);
        model.session().unwrap().logits(&ids).unwrap()
    })
}

fn read(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &TensorView<'_>| {
        let values = view.data().as_chunks::<4>().0.iter();
        values.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let tensors = tensors.tensors().into_iter();
    tensors.map(|(name, view)| (name, view.shape().to_vec(), values(&view))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let data: Vec<_> = tensors.iter().map(|(_, _, values)| bytes(values)).collect();
    let views = tensors.iter().zip(&data).map(|((name, shape, _), data)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn check(what: &str, plain: &[Vec<f32>; 2], changed: &[Vec<f32>; 2]) {
    let between = relative_error(&changed[1], &changed[0]);
    let change = relative_error(&changed[0], &plain[0]);
    println!("{what}: backends differ by {between:.1e}, the settings make {change:.1e}");
    assert!(between <= F32_TOLERANCE, "{what}: {between:.1e}");
    assert!(change >= MIN_CHANGE, "{what}: {change:.1e}");
}

#[test]
fn rope_scaling_is_the_same_in_both_backends() {
    let plain = logits("llama", |_, _| {});
    let llama3 = logits("llama", |config, _| {
        config["rope_parameters"] = json!({
            "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        });
    });
    check("llama3", &plain, &llama3);

    let plain = logits("phi3", |_, _| {});
    let long_rope = |original: usize| {
        logits("phi3", |config, _| {
            let factors = |first: f64, step: f64| -> Vec<f64> {
                (0..16).map(|pair| first + step * f64::from(pair)).collect()
            };
            config["original_max_position_embeddings"] = json!(original);
            config["rope_parameters"] = json!({
                "rope_type": "longrope", "rope_theta": 10_000.0,
                "short_factor": factors(1.0, 0.05), "long_factor": factors(1.5, 0.4),
                "original_max_position_embeddings": original,
            });
        })
    };
    let (long, short) = (long_rope(32), long_rope(4096));
    check("long factors", &plain, &long);
    check("short factors", &plain, &short);
    check("long against short factors", &short, &long);

    let plain = logits("gemma3", |_, _| {});
    let linear = logits("gemma3", |config, _| {
        config["rope_parameters"]["full_attention"]["rope_type"] = json!("linear");
        config["rope_parameters"]["full_attention"]["factor"] = json!(8.0);
    });
    check("linear", &plain, &linear);
}

#[test]
fn every_fourth_layer_of_smollm3_has_no_rope() {
    let five_layers = |config: &mut Json, tensors: &mut Tensors| {
        config["num_hidden_layers"] = json!(5);
        for layer in 0..2 {
            let of = format!("model.layers.{layer}.");
            let copies: Tensors =
                tensors.iter().filter(|tensor| tensor.0.starts_with(&of)).cloned().collect();
            let renamed = |name: &str| name.replace(&of, &format!("model.layers.{}.", layer + 3));
            let copies = copies.into_iter().map(|(name, s, v)| (renamed(&name), s, v));
            tensors.extend(copies);
        }
    };
    let rotated = logits("llama", five_layers);
    let smollm3 = logits("llama", |config, tensors| {
        five_layers(config, tensors);
        config["model_type"] = json!("smollm3");
        config["no_rope_layers"] = json!([1, 1, 1, 0, 1]);
    });
    check("smollm3", &rotated, &smollm3);
}

/// Phi-2's heads have 80 dimensions, of which it rotates 32.
#[test]
fn heads_of_80_dimensions_run() {
    let widened = |rotated: f64| {
        move |config: &mut Json, tensors: &mut Tensors| {
            config["hidden_size"] = json!(320);
            config["rope_parameters"]["partial_rotary_factor"] = json!(rotated);
            let mut state = 1_u32;
            for (name, shape, values) in tensors {
                if !shape.contains(&128) {
                    continue;
                }
                shape.iter_mut().filter(|size| **size == 128).for_each(|size| *size = 320);
                let is_norm = name.contains("layernorm.weight");
                *values = (0..shape.iter().product::<usize>())
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                        if is_norm { 1.0 } else { noise * 0.2 }
                    })
                    .collect();
            }
        }
    };
    let whole = logits("phi2", widened(1.0));
    let partial = logits("phi2", widened(0.4));
    check("phi2", &whole, &partial);
}
