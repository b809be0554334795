//! `config.json`: what a checkpoint says of its model, in the spellings of transformers 4 and 5.
//!
//! Everything that the conversion needs is read here, once, into [`Config`]; no other module looks
//! into the file. What the engine or llama.cpp would run differently from transformers is refused.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::family::Family;
use crate::{Error, input_file};

/// The largest dimension that is believed.
const MAX_DIMENSION: u64 = 1 << 24;
/// The most layers that are believed.
const MAX_LAYERS: usize = 1024;
/// What transformers takes where a configuration does not say.
const DEFAULT_ROPE_BASE: f64 = 10_000.0;
/// Each such layer of Gemma 3 sees the whole context; each second one of Gemma 2 does.
const GEMMA3_GLOBAL_EACH: usize = 6;
const GEMMA2_GLOBAL_EACH: usize = 2;
/// Each such layer of SmolLM3 does not rotate.
const SMOLLM3_UNROTATED_EACH: usize = 4;

/// A model's sizes and settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) family: Family,
    /// Rows of the embedding.
    pub(crate) n_vocab: usize,
    pub(crate) context: usize,
    pub(crate) d_model: usize,
    pub(crate) d_ff: usize,
    pub(crate) n_layers: usize,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) eps: f64,
    /// Dimensions of a head that are rotated.
    pub(crate) rope_dim: usize,
    pub(crate) rope_base: f64,
    /// The base in layers with a window, where it is another.
    pub(crate) local_rope_base: Option<f64>,
    pub(crate) rope_scaling: RopeScaling,
    pub(crate) sliding_window: Option<usize>,
    pub(crate) attention_soft_cap: Option<f64>,
    pub(crate) logit_soft_cap: Option<f64>,
    /// Whether the embedding serves as the head; `None` where the file does not say.
    pub(crate) ties_embeddings: Option<bool>,
    /// Special tokens by their key, such as `bos_token_id`; of several the first.
    pub(crate) special_ids: Vec<(&'static str, u32)>,
    /// The name that the checkpoint gives itself, if it does.
    pub(crate) name: Option<String>,
}

/// How long contexts stretch the angles.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RopeScaling {
    None,
    /// All positions are divided by the factor.
    Linear {
        factor: f64,
    },
    /// Slow pairs are stretched by the factor, fast ones not, others in between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
    /// Each pair has a factor of its own, one for short and one for long contexts.
    LongRope {
        short: Vec<f32>,
        long: Vec<f32>,
        original_context: usize,
        attention_factor: f64,
    },
}

/// The keys of special tokens, as GGUF knows them.
pub(crate) const SPECIAL_TOKENS: [(&str, &str); 4] = [
    ("bos_token_id", "tokenizer.ggml.bos_token_id"),
    ("eos_token_id", "tokenizer.ggml.eos_token_id"),
    ("unk_token_id", "tokenizer.ggml.unknown_token_id"),
    ("pad_token_id", "tokenizer.ggml.padding_token_id"),
];

impl Config {
    /// Reads `config.json` in `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("config.json");
        Self::from_json(&read_json(folder, "config.json")?, path)
    }

    pub(crate) fn from_json(json: &Json, path: PathBuf) -> Result<Self, Error> {
        let family = Family::of(json)?;
        let fields = Fields { json, text: json.get("text_config"), path };
        fields.read(family)
    }
}

/// Reads a file of JSON that the folder must have.
pub(crate) fn read_json(folder: &Path, name: &str) -> Result<Json, Error> {
    optional_json(folder, name)?
        .ok_or_else(|| Error::MissingFile { folder: folder.to_owned(), what: name.to_owned() })
}

/// Reads a file of JSON that the folder may have.
pub(crate) fn optional_json(folder: &Path, name: &str) -> Result<Option<Json>, Error> {
    let Some(bytes) = input_file::read_optional(folder, name)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::damaged(&folder.join(name), format!("not JSON: {error}")))
}

/// The file's fields; those of the text model first, where the model has other parts.
struct Fields<'a> {
    json: &'a Json,
    text: Option<&'a Json>,
    path: PathBuf,
}

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Json> {
        let inner = self.text.and_then(|text| text.get(key)).filter(|value| !value.is_null());
        inner.or_else(|| self.json.get(key).filter(|value| !value.is_null()))
    }

    fn first(&self, keys: &[&str]) -> Option<&Json> {
        keys.iter().find_map(|key| self.get(key))
    }

    fn damaged(&self, what: String) -> Error {
        Error::damaged(&self.path, what)
    }

    /// The first of `keys` that is there, as a size.
    fn size(&self, keys: &[&str]) -> Result<Option<usize>, Error> {
        let Some(value) = self.first(keys) else { return Ok(None) };
        let size = value.as_u64().filter(|size| (1..=MAX_DIMENSION).contains(size));
        let size = size.ok_or_else(|| self.damaged(format!("`{}` is {value}", keys[0])))?;
        Ok(Some(size as usize))
    }

    fn needed_size(&self, keys: &[&str], default: Option<usize>) -> Result<usize, Error> {
        let missing = || self.damaged(format!("`{}` is missing", keys[0]));
        self.size(keys)?.or(default).ok_or_else(missing)
    }

    fn number(&self, keys: &[&str]) -> Option<f64> {
        self.first(keys).and_then(Json::as_f64)
    }

    fn is_true(&self, key: &str) -> bool {
        self.get(key).and_then(Json::as_bool).unwrap_or(false)
    }

    fn read(&self, family: Family) -> Result<Config, Error> {
        // Gemma 3 leaves out what its class defaults to.
        let of_gemma3 = |size: usize| (family == Family::Gemma3).then_some(size);
        let d_model = self.needed_size(&["hidden_size", "n_embd"], None)?;
        let n_heads = self.needed_size(&["num_attention_heads", "n_head"], of_gemma3(8))?;
        let head_dim =
            self.needed_size(&["head_dim"], of_gemma3(256).or(Some(d_model / n_heads)))?;
        let d_ff = match self.size(&["intermediate_size", "n_inner"])? {
            Some(size) => size,
            None if family == Family::Gpt2 => 4 * d_model,
            None => return Err(self.damaged("`intermediate_size` is missing".to_owned())),
        };
        let n_kv_heads =
            self.needed_size(&["num_key_value_heads"], of_gemma3(4).or(Some(n_heads)))?;
        let contexts = ["max_position_embeddings", "n_positions", "n_ctx"];
        let context = self.needed_size(&contexts, of_gemma3(131_072))?;
        let rotation = Rotation::new(self, family);
        let partial = rotation.number("partial_rotary_factor").unwrap_or(1.0);
        let config = Config {
            family,
            n_vocab: self.needed_size(&["vocab_size"], of_gemma3(262_208))?,
            context,
            d_model,
            d_ff,
            n_layers: self.needed_size(&["num_hidden_layers", "n_layer"], None)?,
            n_heads,
            n_kv_heads,
            head_dim,
            eps: self.eps(family)?,
            rope_dim: (head_dim as f64 * partial) as usize,
            rope_base: rotation.number("rope_theta").unwrap_or(match family {
                Family::Gemma3 => 1_000_000.0,
                _ => DEFAULT_ROPE_BASE,
            }),
            local_rope_base: rotation.local_base(),
            rope_scaling: rotation.scaling(context)?,
            sliding_window: self.sliding_window(family)?,
            attention_soft_cap: self.number(&["attn_logit_softcapping"]),
            logit_soft_cap: self.number(&["final_logit_softcapping"]),
            ties_embeddings: self.get("tie_word_embeddings").and_then(Json::as_bool),
            special_ids: self.special_ids(),
            name: self.get("_name_or_path").and_then(Json::as_str).map(str::to_owned),
        };
        self.check(&config)?;
        Ok(config)
    }

    fn eps(&self, family: Family) -> Result<f64, Error> {
        let key = match family {
            Family::Gpt2 => "layer_norm_epsilon",
            Family::Phi2 => "layer_norm_eps",
            _ => "rms_norm_eps",
        };
        let default = if family.has_layer_norms() { 1e-5 } else { 1e-6 };
        let eps = self.number(&[key]).unwrap_or(default);
        let is_small = (0.0..1.0).contains(&eps);
        if is_small { Ok(eps) } else { Err(self.damaged(format!("`{key}` is {eps}"))) }
    }

    fn sliding_window(&self, family: Family) -> Result<Option<usize>, Error> {
        match family {
            Family::Gemma2 | Family::Gemma3 => {
                self.needed_size(&["sliding_window"], Some(4096)).map(Some)
            }
            Family::Phi3 => self.size(&["sliding_window"]),
            _ => Ok(None),
        }
    }

    fn special_ids(&self) -> Vec<(&'static str, u32)> {
        let id = |key: &str| {
            let value = self.get(key)?;
            let value = value.as_array().map_or(Some(value), |ids| ids.first())?;
            value.as_u64().and_then(|id| u32::try_from(id).ok())
        };
        SPECIAL_TOKENS.iter().filter_map(|(key, _)| Some((*key, id(key)?))).collect()
    }

    /// Refuses what would be computed differently from transformers.
    fn check(&self, config: &Config) -> Result<(), Error> {
        let unsupported = |what: &str| Err(Error::Unsupported { what: what.to_owned() });
        if self.number(&["num_local_experts", "num_experts"]).is_some_and(|n| n > 1.0) {
            return unsupported("mixtures of experts");
        }
        if self.is_true("qk_layernorm") {
            return unsupported("norms of queries and keys in Phi-2 (`qk_layernorm`)");
        }
        if self.is_true("scale_attn_by_inverse_layer_idx") {
            return unsupported("attention scaled by layer (`scale_attn_by_inverse_layer_idx`)");
        }
        if self.get("quantization_config").is_some() {
            return unsupported("a checkpoint that is quantised already (`quantization_config`)");
        }
        if config.n_layers > MAX_LAYERS {
            return Err(self.damaged(format!("`num_hidden_layers` is {}", config.n_layers)));
        }
        if !config.n_heads.is_multiple_of(config.n_kv_heads) {
            let (n_heads, n_kv_heads) = (config.n_heads, config.n_kv_heads);
            let what = format!("{n_heads} heads do not share {n_kv_heads} key-value heads");
            return Err(self.damaged(what));
        }
        self.check_scale(config)?;
        self.check_layers(config)
    }

    /// GGUF has no key for the scale of scores, so that it must be the one that is understood.
    fn check_scale(&self, config: &Config) -> Result<(), Error> {
        let understood = match (config.family, config.n_layers) {
            (Family::Gemma2, 46) | (Family::Gemma3, 62) => config.d_model / config.n_heads,
            (Family::Gemma2 | Family::Gemma3, _) => config.head_dim,
            _ => return Ok(()),
        };
        match self.number(&["query_pre_attn_scalar"]) {
            Some(scalar) if scalar != understood as f64 => {
                let what = format!("`query_pre_attn_scalar` {scalar} where {understood} is usual");
                Err(Error::Unsupported { what })
            }
            _ => Ok(()),
        }
    }

    /// Which layers have a window or do not rotate is the family's in GGUF, and must be here.
    fn check_layers(&self, config: &Config) -> Result<(), Error> {
        let each = match config.family {
            Family::Gemma2 => GEMMA2_GLOBAL_EACH,
            Family::Gemma3 => GEMMA3_GLOBAL_EACH,
            Family::SmolLm3 => return self.check_rotated_layers(),
            _ => return Ok(()),
        };
        let differs = match self.get("layer_types").and_then(Json::as_array) {
            Some(kinds) => kinds.iter().enumerate().any(|(idx, kind)| {
                (kind.as_str() == Some("full_attention")) != ((idx + 1) % each == 0)
            }),
            None => {
                let keys = ["sliding_window_pattern", "_sliding_window_pattern"];
                self.size(&keys)?.is_some_and(|pattern| pattern != each)
            }
        };
        if differs {
            let what = format!("other layers without a window than each {each}th");
            return Err(Error::Unsupported { what });
        }
        Ok(())
    }

    fn check_rotated_layers(&self) -> Result<(), Error> {
        let each = SMOLLM3_UNROTATED_EACH;
        let differs = match self.get("no_rope_layers").and_then(Json::as_array) {
            // 1 says that the layer rotates, whatever the key is called.
            Some(layers) => layers
                .iter()
                .enumerate()
                .any(|(idx, rotates)| (rotates.as_u64() == Some(0)) != ((idx + 1) % each == 0)),
            None => self.size(&["no_rope_layer_interval"])?.is_some_and(|found| found != each),
        };
        if differs || self.is_true("use_sliding_window") {
            let what = format!("other layers without rotation than each {each}th, or windows");
            return Err(Error::Unsupported { what });
        }
        Ok(())
    }
}

/// How queries and keys are rotated, wherever the file says it.
struct Rotation<'a> {
    fields: &'a Fields<'a>,
    family: Family,
    /// `rope_parameters`, or `rope_scaling`; of layers that see all, where kinds of layers differ.
    global: Option<&'a Json>,
    local: Option<&'a Json>,
}

impl<'a> Rotation<'a> {
    fn new(fields: &'a Fields<'a>, family: Family) -> Self {
        let all = fields.first(&["rope_parameters", "rope_scaling"]);
        let of_kind = |kind: &str| all.and_then(|all| all.get(kind));
        let (global, local) = (of_kind("full_attention"), of_kind("sliding_attention"));
        Self { fields, family, global: global.or(all), local }
    }

    fn number(&self, key: &str) -> Option<f64> {
        let own = self.global.and_then(|global| global.get(key)).and_then(Json::as_f64);
        own.or_else(|| self.fields.number(&[key]))
    }

    fn local_base(&self) -> Option<f64> {
        let own = self.local.and_then(|local| local.get("rope_theta")).and_then(Json::as_f64);
        let own = own.or_else(|| self.fields.number(&["rope_local_base_freq"]));
        own.filter(|_| self.family == Family::Gemma3)
    }

    fn scaling(&self, context: usize) -> Result<RopeScaling, Error> {
        let Some(global) = self.global else { return Ok(RopeScaling::None) };
        let kind = global.get("rope_type").or_else(|| global.get("type")).and_then(Json::as_str);
        let needed = |key: &str| {
            let missing = || self.fields.damaged(format!("the rotary scaling has no `{key}`"));
            self.number(key).ok_or_else(missing)
        };
        Ok(match kind.unwrap_or("default") {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: needed("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor: self.number("low_freq_factor").unwrap_or(1.0),
                high_freq_factor: self.number("high_freq_factor").unwrap_or(4.0),
                original_context: self.number("original_max_position_embeddings").unwrap_or(8192.0),
            },
            "longrope" | "su" => self.long_rope(global, context)?,
            other => {
                let what = format!("rotary scaling `{other}`");
                return Err(Error::Unsupported { what });
            }
        })
    }

    fn long_rope(&self, global: &Json, context: usize) -> Result<RopeScaling, Error> {
        let factors = |key: &str| -> Result<Vec<f32>, Error> {
            let factors = global.get(key).and_then(Json::as_array);
            let factors = factors.and_then(|factors| {
                factors.iter().map(|factor| factor.as_f64().map(|v| v as f32)).collect()
            });
            factors.ok_or_else(|| self.fields.damaged(format!("the rotary scaling has no `{key}`")))
        };
        let original = self.number("original_max_position_embeddings").unwrap_or(context as f64);
        let scale = context as f64 / original;
        let computed = if scale > 1.0 { (1.0 + scale.ln() / original.ln()).sqrt() } else { 1.0 };
        Ok(RopeScaling::LongRope {
            short: factors("short_factor")?,
            long: factors("long_factor")?,
            original_context: original as usize,
            attention_factor: self.number("attention_factor").unwrap_or(computed),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Json) -> Result<Config, Error> {
        Config::from_json(&json, PathBuf::from("config.json"))
    }

    fn llama(rotation: Json) -> Json {
        let mut json = json!({
            "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4,
            "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 100,
            "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5,
        });
        for (key, value) in rotation.as_object().unwrap() {
            json[key] = value.clone();
        }
        json
    }

    #[test]
    fn both_spellings_of_rotations_say_the_same() {
        let scaling = json!({
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        });
        let mut parameters = scaling.clone();
        parameters["rope_theta"] = json!(500_000.0);
        let old = read(llama(json!({ "rope_theta": 500_000.0, "rope_scaling": scaling })));
        let new = read(llama(json!({ "rope_parameters": parameters }))).unwrap();
        assert_eq!(old.unwrap(), new);
        assert_eq!(new.rope_base, 500_000.0);
        assert!(matches!(new.rope_scaling, RopeScaling::Llama3 { factor: 32.0, .. }));
    }

    #[test]
    fn bases_of_kinds_of_layers_are_told_apart() {
        let gemma = |rotation: Json| {
            let mut json = llama(rotation);
            json["model_type"] = json!("gemma3_text");
            read(json).unwrap()
        };
        let old = gemma(json!({ "rope_theta": 1e6, "rope_local_base_freq": 1e4 }));
        let new = gemma(json!({ "rope_parameters": {
            "full_attention": { "rope_theta": 1e6, "rope_type": "default" },
            "sliding_attention": { "rope_theta": 1e4, "rope_type": "default" },
        } }));
        assert_eq!(old, new);
        assert_eq!((new.rope_base, new.local_rope_base), (1e6, Some(1e4)));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let yarn = read(llama(json!({ "rope_scaling": { "type": "yarn", "factor": 4.0 } })));
        assert!(yarn.unwrap_err().to_string().contains("yarn"));
        let unknown = read(llama(json!({ "model_type": "bloom" }))).unwrap_err();
        assert!(unknown.to_string().contains("`bloom`"), "{unknown}");
        let mut without = llama(json!({}));
        without.as_object_mut().unwrap().remove("vocab_size");
        assert!(read(without).unwrap_err().to_string().contains("vocab_size"));
    }
}
