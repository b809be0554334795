//! `config.json`: what a checkpoint says of its model, in the spellings of transformers 4 and 5.
//!
//! Everything that the conversion needs is read here, once, into [`Config`]; no other module looks
//! into the file. Each of its fields is looked up in the table of [`crate::fields`] first, whose defaults
//! also stand in for what the file leaves out. What the engine or llama.cpp would run differently from
//! transformers is refused.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::family::Family;
use crate::fields::{Fields, Notes, shown};
use crate::rotation::Rotation;
use crate::{Error, input_file, quantised};

/// The largest dimension that is believed.
const MAX_DIMENSION: u64 = 1 << 24;
/// The largest vocabulary that is believed; the largest that is known has 262,208 tokens.
const MAX_VOCAB: usize = 1 << 20;
/// The most layers that are believed.
const MAX_LAYERS: usize = 1024;
/// Each such layer of Gemma 3 sees the whole context; each second one of Gemma 2 does.
const GEMMA3_GLOBAL_EACH: usize = 6;
const GEMMA2_GLOBAL_EACH: usize = 2;
/// Each such layer of SmolLM3 does not rotate.
const SMOLLM3_UNROTATED_EACH: usize = 4;
/// How names of classes end whose model is one that writes text.
const TEXT_MODELS: [&str; 4] = ["ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Model"];

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
    /// Which layers have that window, where their family does not decide it.
    pub(crate) windowed: Option<Vec<bool>>,
    pub(crate) attention_soft_cap: Option<f64>,
    pub(crate) logit_soft_cap: Option<f64>,
    /// Whether the embedding serves as the head.
    pub(crate) ties_embeddings: bool,
    /// Whether queries, keys and values have a bias.
    pub(crate) qkv_bias: bool,
    /// Whether what attention gives has one.
    pub(crate) output_bias: bool,
    /// Whether the feed-forward layer has them.
    pub(crate) mlp_bias: bool,
    /// Special tokens by their key, such as `bos_token_id`; of several the first.
    pub(crate) special_ids: Vec<(&'static str, u32)>,
    /// All tokens that end a turn.
    pub(crate) eos_ids: Vec<u32>,
    /// The name that the checkpoint gives itself, if it does.
    pub(crate) name: Option<String>,
    /// What is left out.
    pub(crate) notes: Notes,
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
        let json = optional_json(folder, "config.json")?;
        if json.is_none() && input_file::find(folder, "adapter_config.json")?.is_some() {
            let what = "an adapter (LoRA) without its model: merge it into the model first";
            return Err(Error::Unsupported { what: what.to_owned() });
        }
        let json = json.map_or_else(|| read_json(folder, "config.json"), Ok)?;
        quantised::check_folder(folder, &json)?;
        Self::from_json(&json, path)
    }

    pub(crate) fn from_json(json: &Json, path: PathBuf) -> Result<Self, Error> {
        let family = Family::of(json)?;
        let model_type = json.get("model_type").and_then(Json::as_str).unwrap_or_default();
        let known = Fields::of_config(model_type);
        let text = json.get("text_config").filter(|text| text.is_object());
        let mut notes = Notes::default();
        known.check(json, "config.json", &mut notes)?;
        if let Some(text) = text {
            known.check(text, "config.json", &mut notes)?;
        }
        if json.get("vision_config").is_some_and(|part| !part.is_null()) {
            notes.add("the part of the model that sees is left out".to_owned());
        }
        let reader = Reader { json, text, known, path };
        let mut config = reader.read(family)?;
        config.notes = notes;
        Ok(config)
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

/// The ids that a field names: one, or a list.
///
/// *Errors*: what is no id, in words.
pub(crate) fn token_ids(key: &str, value: Option<&Json>) -> Result<Vec<u32>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let id = |id: &Json| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
    ids.ok_or_else(|| format!("`{key}` is {}", shown(value)))
}

/// The file's fields; those of the text model first, where the model has other parts.
pub(crate) struct Reader<'a> {
    json: &'a Json,
    text: Option<&'a Json>,
    known: Fields,
    path: PathBuf,
}

impl Reader<'_> {
    /// What the file says, or what transformers takes where it does not say.
    pub(crate) fn get(&self, key: &str) -> Option<Json> {
        let parts = [self.text, Some(self.json)].into_iter().flatten();
        let said: Vec<&Json> = parts.filter_map(|part| part.get(key)).collect();
        let said_null = !said.is_empty();
        let found = said.into_iter().find(|value| !value.is_null()).cloned();
        if found.is_some() || said_null { found } else { self.known.default(key) }
    }

    /// Whether the file says `key`, be it null.
    fn says(&self, key: &str) -> bool {
        let parts = [self.text, Some(self.json)];
        parts.into_iter().flatten().any(|part| part.get(key).is_some())
    }

    pub(crate) fn damaged(&self, what: String) -> Error {
        Error::damaged(&self.path, what)
    }

    /// The first of `keys` that the file says, else the first that has a default.
    fn first(&self, keys: &[&str]) -> Option<Json> {
        let said = keys.iter().filter(|key| self.says(key)).find_map(|key| self.get(key));
        said.or_else(|| keys.iter().find_map(|key| self.get(key)))
    }

    fn size(&self, keys: &[&str]) -> Result<Option<usize>, Error> {
        let Some(value) = self.first(keys) else { return Ok(None) };
        let size = value.as_u64().filter(|size| (1..=MAX_DIMENSION).contains(size));
        let size =
            size.ok_or_else(|| self.damaged(format!("`{}` is {}", keys[0], shown(&value))))?;
        Ok(Some(size as usize))
    }

    fn needed_size(&self, keys: &[&str]) -> Result<usize, Error> {
        let missing = || self.damaged(format!("`{}` is missing", keys[0]));
        self.size(keys)?.ok_or_else(missing)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || self.damaged(format!("`{key}` is {}", shown(&value)));
        value.as_f64().map(Some).ok_or_else(wrong)
    }

    fn flag(&self, key: &str) -> Result<bool, Error> {
        let Some(value) = self.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.damaged(format!("`{key}` is {}", shown(&value))))
    }

    fn list(&self, key: &str) -> Result<Option<Vec<Json>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::Array(list)) => Ok(Some(list)),
            Some(value) => Err(self.damaged(format!("`{key}` is {}", shown(&value)))),
        }
    }

    fn read(&self, family: Family) -> Result<Config, Error> {
        self.check_class()?;
        if family == Family::Gpt2 && self.says("rope_parameters") {
            return Err(self.damaged("GPT-2 has no `rope_parameters`".to_owned()));
        }
        let d_model = self.needed_size(&["hidden_size", "n_embd"])?;
        let n_heads = self.needed_size(&["num_attention_heads", "n_head"])?;
        let n_layers = self.needed_size(&["num_hidden_layers", "n_layer"])?;
        if n_layers > MAX_LAYERS {
            return Err(self.damaged(format!("`num_hidden_layers` is {n_layers}")));
        }
        let head_dim = match self.size(&["head_dim"])? {
            Some(head_dim) => head_dim,
            None if d_model.is_multiple_of(n_heads) => d_model / n_heads,
            None => {
                let what = format!("{n_heads} heads do not share a width of {d_model}");
                return Err(self.damaged(what));
            }
        };
        let d_ff = match self.size(&["intermediate_size", "n_inner"])? {
            Some(size) => size,
            None if family == Family::Gpt2 => 4 * d_model,
            None => return Err(self.damaged("`intermediate_size` is missing".to_owned())),
        };
        let context = self.needed_size(&["max_position_embeddings", "n_positions"])?;
        let rotation = Rotation::new(self, family)?;
        let (sliding_window, windowed) = self.windows(family, n_layers, context)?;
        let has_biases = family.has_layer_norms();
        let attention_bias = self.flag("attention_bias")?;
        let config = Config {
            family,
            n_vocab: self.needed_size(&["vocab_size"])?,
            context,
            d_model,
            d_ff,
            n_layers,
            n_heads,
            n_kv_heads: self.size(&["num_key_value_heads"])?.unwrap_or(n_heads),
            head_dim,
            eps: self.eps(family)?,
            rope_dim: rotation.rope_dim(head_dim)?,
            rope_base: rotation.base()?,
            local_rope_base: rotation.local_base()?,
            rope_scaling: rotation.scaling(context)?,
            sliding_window,
            windowed,
            attention_soft_cap: self.cap("attn_logit_softcapping")?,
            logit_soft_cap: self.cap("final_logit_softcapping")?,
            ties_embeddings: self.flag("tie_word_embeddings")?,
            qkv_bias: has_biases || attention_bias || family == Family::Qwen2,
            output_bias: has_biases || attention_bias,
            mlp_bias: has_biases || self.flag("mlp_bias")?,
            special_ids: self.special_ids()?,
            eos_ids: self.ids("eos_token_id")?,
            name: self.get("_name_or_path").and_then(|name| name.as_str().map(str::to_owned)),
            notes: Notes::default(),
        };
        self.check(&config)?;
        Ok(config)
    }

    /// That the weights are those of a model that writes text.
    fn check_class(&self) -> Result<(), Error> {
        let classes = self.list("architectures")?.unwrap_or_default();
        let other = classes.iter().find(|class| {
            let class = class.as_str().unwrap_or_default();
            !TEXT_MODELS.iter().any(|end| class.ends_with(end)) || class.contains("RewardModel")
        });
        match other {
            Some(class) => {
                let what = format!("{} in `architectures`, which writes no text", shown(class));
                Err(Error::Unsupported { what })
            }
            None => Ok(()),
        }
    }

    fn eps(&self, family: Family) -> Result<f64, Error> {
        let key = match family {
            Family::Gpt2 => "layer_norm_epsilon",
            Family::Phi2 => "layer_norm_eps",
            _ => "rms_norm_eps",
        };
        let eps = self.number(key)?.ok_or_else(|| self.damaged(format!("`{key}` is missing")))?;
        let is_small = (0.0..1.0).contains(&eps);
        if is_small { Ok(eps) } else { Err(self.damaged(format!("`{key}` is {eps}"))) }
    }

    fn cap(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.number(key)? {
            Some(cap) if !(cap > 0.0 && cap <= f64::from(f32::MAX)) => {
                Err(self.damaged(format!("`{key}` is {cap}")))
            }
            cap => Ok(cap),
        }
    }

    /// How wide the window of layers is, and which layers have it, where the family does not say.
    fn windows(
        &self,
        family: Family,
        n_layers: usize,
        context: usize,
    ) -> Result<(Option<usize>, Option<Vec<bool>>), Error> {
        let window = || self.size(&["sliding_window"]);
        match family {
            Family::Gemma2 | Family::Gemma3 => {
                Ok((Some(self.needed_size(&["sliding_window"])?), None))
            }
            Family::Phi3 => Ok((window()?, None)),
            Family::Mistral => Ok(self.own_windows(window()?, vec![true; n_layers], context)),
            Family::Qwen2 | Family::Qwen3 => {
                let uses = self.flag("use_sliding_window")?;
                let window = if uses { window()? } else { None };
                let first = self.get("max_window_layers").and_then(|n| n.as_u64()).unwrap_or(0);
                let windowed = match self.layer_types(n_layers)? {
                    Some(windowed) => windowed,
                    None => (0..n_layers as u64).map(|layer| uses && layer >= first).collect(),
                };
                if window.is_none() && windowed.contains(&true) {
                    let what = "layers with a window in `layer_types`, whose width \
                                `use_sliding_window` and `sliding_window` do not give";
                    return Err(Error::Unsupported { what: what.to_owned() });
                }
                Ok(self.own_windows(window, windowed, context))
            }
            _ => Ok((None, None)),
        }
    }

    /// A window that nothing can leave is none.
    fn own_windows(
        &self,
        window: Option<usize>,
        windowed: Vec<bool>,
        context: usize,
    ) -> (Option<usize>, Option<Vec<bool>>) {
        match window.filter(|&window| window < context && windowed.contains(&true)) {
            Some(window) => (Some(window), Some(windowed)),
            None => (None, None),
        }
    }

    /// Which layers have a window, where the file lists the kinds of layers.
    fn layer_types(&self, n_layers: usize) -> Result<Option<Vec<bool>>, Error> {
        let Some(kinds) = self.list("layer_types")? else { return Ok(None) };
        if kinds.len() != n_layers {
            let what = format!("`layer_types` has {} of {n_layers} layers", kinds.len());
            return Err(self.damaged(what));
        }
        let kind = |kind: &Json| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => Err(Error::Unsupported {
                what: format!("layers of the type {} (`layer_types`)", shown(kind)),
            }),
        };
        kinds.iter().map(kind).collect::<Result<_, _>>().map(Some)
    }

    fn ids(&self, key: &str) -> Result<Vec<u32>, Error> {
        token_ids(key, self.get(key).as_ref()).map_err(|what| self.damaged(what))
    }

    fn special_ids(&self) -> Result<Vec<(&'static str, u32)>, Error> {
        let mut found = Vec::new();
        for (key, _) in SPECIAL_TOKENS {
            found.extend(self.ids(key)?.first().map(|&id| (key, id)));
        }
        Ok(found)
    }

    /// Refuses what would be computed differently from transformers.
    fn check(&self, config: &Config) -> Result<(), Error> {
        if config.n_vocab > MAX_VOCAB {
            return Err(self.damaged(format!("`vocab_size` is {}", config.n_vocab)));
        }
        let width = config.n_heads.saturating_mul(config.head_dim);
        if !config.head_dim.is_multiple_of(2) || width as u64 > MAX_DIMENSION {
            let (n_heads, head_dim) = (config.n_heads, config.head_dim);
            return Err(self.damaged(format!("{n_heads} heads of {head_dim} dimensions")));
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
        match self.number("query_pre_attn_scalar")? {
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
            Family::SmolLm3 => return self.check_rotated_layers(config.n_layers),
            _ => return Ok(()),
        };
        let differs = match self.layer_types(config.n_layers)? {
            Some(windowed) => {
                windowed.iter().enumerate().any(|(idx, has)| *has == ((idx + 1) % each == 0))
            }
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

    fn check_rotated_layers(&self, n_layers: usize) -> Result<(), Error> {
        let each = SMOLLM3_UNROTATED_EACH;
        let differs = match self.list("no_rope_layers")? {
            Some(layers) if layers.len() != n_layers => {
                let what = format!("`no_rope_layers` has {} of {n_layers} layers", layers.len());
                return Err(self.damaged(what));
            }
            // 1 says that the layer rotates, whatever the key is called.
            Some(layers) => layers
                .iter()
                .enumerate()
                .any(|(idx, rotates)| (rotates.as_u64() == Some(0)) != ((idx + 1) % each == 0)),
            None => self.size(&["no_rope_layer_interval"])?.is_some_and(|found| found != each),
        };
        let has_windows = self.layer_types(n_layers)?.is_some_and(|kinds| kinds.contains(&true));
        if differs || has_windows {
            let what = format!("other layers without rotation than each {each}th, or windows");
            return Err(Error::Unsupported { what });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "published.rs"]
mod published;

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
    fn c4_what_a_file_leaves_out_is_what_transformers_takes() {
        let without = |model_type: &str, keys: &[&str]| {
            let mut json = llama(json!({ "model_type": model_type, "num_key_value_heads": 4 }));
            keys.iter().for_each(|key| drop(json.as_object_mut().unwrap().remove(*key)));
            read(json).unwrap()
        };
        assert_eq!(without("phi3", &["rms_norm_eps"]).eps, 1e-5);
        assert_eq!(without("qwen3", &[]).head_dim, 128);
        let mut gemma2 = llama(json!({ "model_type": "gemma2" }));
        gemma2.as_object_mut().unwrap().remove("max_position_embeddings");
        let gemma2 = read(gemma2).unwrap();
        assert_eq!((gemma2.attention_soft_cap, gemma2.logit_soft_cap), (Some(50.0), Some(30.0)));
        assert_eq!((gemma2.head_dim, gemma2.context, gemma2.n_kv_heads), (256, 8192, 4));
        let smollm3 = without("smollm3", &[]);
        assert_eq!((smollm3.rope_base, smollm3.ties_embeddings), (2e6, true));
        assert!(!without("llama", &[]).ties_embeddings);
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
