//! Writes the result's metadata except the tokenizer: `general.*` and the family's own keys, as
//! llama.cpp writes them. Keys: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::path::Path;

use lilims_engine::spec::{NormKind, Positions, Windows};
use lilims_gguf::{File, Metadata, Value, Writer};
use serde_json::Value as Json;

use crate::config::Config;
use crate::input_file;
use crate::rotation::RopeScaling;
use crate::types::Mix;

/// The version of the block formats, which has not changed since 2023.
const QUANTIZATION_VERSION: u32 = 2;
/// Keys that are not copied from a GGUF source: the conversion sets them, or they are about the
/// file.
const NOT_COPIED: [&str; 4] =
    ["general.file_type", "general.quantization_version", "general.alignment", "general.license"];

/// The last part of `general.sampling.*` keys, and transformers' names of the same settings.
const SAMPLING: [(&str, &str); 5] = [
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("temp", "temperature"),
    ("penalty_repeat", "repetition_penalty"),
];

/// Writes the keys of a converted checkpoint.
pub(crate) fn write_for_checkpoint(
    writer: &mut Writer,
    config: &Config,
    folder: &Path,
    mix: Mix,
    license: Option<&str>,
) {
    writer.str("general.architecture", config.family.architecture()).str("general.type", "model");
    writer.str("general.name", &name(config, folder));
    write_common(writer, mix, license);
    FamilyKeys { writer, config }.write();
}

/// Copies the keys of a GGUF source.
pub(crate) fn copy_from_gguf(writer: &mut Writer, source: &File, mix: Mix, license: Option<&str>) {
    for (key, value) in source.metadata().iter() {
        if !NOT_COPIED.contains(&key) && !key.starts_with("split.") {
            writer.value(key, value);
        }
    }
    write_common(writer, mix, license);
}

/// Returns the licence that a GGUF source states.
pub(crate) fn license(metadata: Metadata<'_>) -> Option<String> {
    metadata.get("general.license").and_then(|value| value.as_str()).map(str::to_owned)
}

/// Returns the licence in the front matter of a checkpoint's `README.md`, its model card.
pub(crate) fn license_of_card(folder: &Path) -> Option<String> {
    let card = input_file::read_optional(folder, "README.md").ok()??;
    let card = String::from_utf8(card).ok()?;
    let mut lines = card.lines();
    (lines.next()? == "---").then_some(())?;
    let line =
        lines.take_while(|line| *line != "---").find_map(|line| line.strip_prefix("license:"));
    let name = line?.trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// Writes the sampling settings that `generation_config.json` recommends.
pub(crate) fn write_sampling(writer: &mut Writer, generation: &Json) {
    for (key, name) in SAMPLING {
        if let Some(value) = generation.get(name).and_then(Json::as_f64) {
            let value = match key {
                "top_k" => Value::I32(value as i32),
                _ => Value::F32(value as f32),
            };
            writer.value(&format!("general.sampling.{key}"), value);
        }
    }
}

fn write_common(writer: &mut Writer, mix: Mix, license: Option<&str>) {
    if let Some(license) = license {
        writer.str("general.license", license);
    }
    writer
        .value("general.file_type", Value::U32(mix.file_type()))
        .value("general.quantization_version", Value::U32(QUANTIZATION_VERSION));
}

/// Returns the model's own name, else its folder's.
pub(crate) fn name(config: &Config, folder: &Path) -> String {
    let own = config.name.as_deref().and_then(|name| name.rsplit('/').next());
    match own.filter(|name| !name.trim().is_empty()) {
        Some(name) => name.to_owned(),
        None => {
            let path = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
    }
}

/// Writes the keys that start with the architecture.
struct FamilyKeys<'a> {
    writer: &'a mut Writer,
    config: &'a Config,
}

impl FamilyKeys<'_> {
    fn put(&mut self, key: &str, value: Value<'_>) {
        self.writer.value(&format!("{}.{key}", self.config.family.architecture()), value);
    }

    fn size(&mut self, key: &str, size: usize) {
        self.put(key, Value::U32(size as u32));
    }

    fn float(&mut self, key: &str, value: f64) {
        self.put(key, Value::F32(value as f32));
    }

    fn write(mut self) {
        let config = self.config;
        let model = config.family.model;
        self.size("block_count", config.n_layers);
        self.size("context_length", config.context);
        self.size("embedding_length", config.d_model);
        self.size("feed_forward_length", config.d_ff);
        self.size("attention.head_count", config.n_heads);
        let eps = match model.norm {
            NormKind::Layer => "attention.layer_norm_epsilon",
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
        };
        self.float(eps, config.eps);
        if model.positions == Positions::Learned {
            return;
        }
        self.size("attention.head_count_kv", config.n_kv_heads);
        self.size("attention.key_length", config.head_dim);
        self.size("attention.value_length", config.head_dim);
        self.size("vocab_size", config.n_vocab);
        self.size("rope.dimension_count", config.rope_dim);
        self.float("rope.freq_base", config.rope_base);
        if let Some(base) = config.local_rope_base {
            self.float("rope.freq_base_swa", base);
        }
        match &config.rope_scaling {
            // Llama 3's scaling is written as a tensor of factors.
            RopeScaling::None | RopeScaling::Llama3 { .. } => {}
            RopeScaling::Linear { factor } => {
                self.put("rope.scaling.type", Value::String(b"linear"));
                self.float("rope.scaling.factor", *factor);
            }
            RopeScaling::LongRope { original_context, attention_factor, .. } => {
                self.size("rope.scaling.original_context_length", *original_context);
                self.float("rope.scaling.attn_factor", *attention_factor);
            }
        }
        // Where every layer has the window, as in Phi-3, 0 says that there is none.
        let always_writes_window = config.family.converted_model().windows == Windows::All;
        if always_writes_window || config.sliding_window.is_some() {
            self.size("attention.sliding_window", config.sliding_window.unwrap_or(0));
        }
        if let Some(windowed) = &config.windowed {
            let architecture = config.family.architecture();
            let key = format!("{architecture}.attention.sliding_window_pattern");
            self.writer.array(&key, windowed.iter().map(|&has| Value::Bool(has)));
        }
        if let Some(cap) = config.attention_soft_cap {
            self.float("attn_logit_softcapping", cap);
        }
        if let Some(cap) = config.logit_soft_cap {
            self.float("final_logit_softcapping", cap);
        }
    }
}

/// Computes the tensors of frequency factors: names, and a value for each rotated pair.
pub(crate) fn rope_factors(config: &Config) -> Vec<(&'static str, Vec<f32>)> {
    match &config.rope_scaling {
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let factors = (0..config.rope_dim / 2).map(|pair| {
                let exponent = 2.0 * pair as f64 / config.rope_dim as f64;
                let wavelength = 2.0 * std::f64::consts::PI * config.rope_base.powf(exponent);
                let turns = original_context / wavelength;
                if turns > *high_freq_factor {
                    return 1.0;
                }
                if turns < *low_freq_factor {
                    return *factor as f32;
                }
                let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
            });
            vec![("rope_freqs.weight", factors.collect())]
        }
        RopeScaling::LongRope { short, long, .. } => vec![
            ("rope_factors_long.weight", long.clone()),
            ("rope_factors_short.weight", short.clone()),
        ],
        RopeScaling::None | RopeScaling::Linear { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Llama 3.2's scaling keeps high frequencies and divides low ones by 32.
    #[test]
    fn computes_llama3_rope_factors() {
        let mut json = json!({
            "model_type": "llama", "hidden_size": 2048, "num_attention_heads": 32,
            "intermediate_size": 8192, "num_hidden_layers": 16, "vocab_size": 128_256,
            "max_position_embeddings": 131_072, "rope_theta": 500_000.0,
        });
        json["rope_scaling"] = json!({
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        });
        let config = Config::from_json(&json, "config.json".into()).unwrap();
        let factors = rope_factors(&config);
        let [("rope_freqs.weight", factors)] = &factors[..] else { panic!("{factors:?}") };
        assert_eq!(factors.len(), 32);
        // Wavelengths pass 8192 / 4 between pairs 14 and 15, and 8192 between pairs 17 and 18.
        assert!(factors[..=14].iter().all(|factor| *factor == 1.0));
        assert!(factors[18..].iter().all(|factor| *factor == 32.0));
        assert!(factors.is_sorted() && factors[15] > 1.0 && factors[17] < 32.0, "{factors:?}");
    }

    #[test]
    fn reads_the_licence_of_a_model_card() {
        let folder = tempfile::tempdir().unwrap();
        let of = |text: &str| {
            std::fs::write(folder.path().join("README.md"), text).unwrap();
            license_of_card(folder.path())
        };
        let head = "---\nlanguage: en\nlicense: apache-2.0\n---\n# Model\n";
        assert_eq!(of(head).as_deref(), Some("apache-2.0"));
        assert_eq!(of("# Model\nlicense: mit\n"), None);
    }
}
