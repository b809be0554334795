//! `config.json`: the sizes and settings of a checkpoint's model, in the spellings of transformers
//! 4 and 5.
//!
//! Everything that the conversion needs from the file is read here, once, into [`Config`]; no other
//! module reads it. Each field is first checked against the family's table of fields, whose
//! defaults stand in for what the file leaves out. What the engine or llama.cpp would compute
//! differently from transformers is rejected.

use std::path::{Path, PathBuf};

use lilims_engine::spec::{Positions, Windows};
use serde_json::Value as Json;

use crate::config_reader::{ConfigReader, MAX_DIMENSION};
use crate::family::Family;
use crate::input_file::{optional_json, read_json};
use crate::notes::Notes;
use crate::quote::quoted_json;
use crate::rotation::{RopeScaling, Rotation};
use crate::{Error, input_file, quantised};

/// The largest vocabulary that is accepted; the largest known one has 262,208 tokens.
const MAX_VOCAB: usize = 1 << 20;
/// The most layers that are accepted.
const MAX_LAYERS: usize = 1024;
/// Endings of class names whose models generate text.
const TEXT_MODELS: [&str; 4] = ["ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Model"];

/// A model's sizes and settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) family: Family,
    /// Rows of the embedding.
    pub(crate) n_vocab: usize,
    /// The context it was trained for, in tokens.
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
    /// The base in layers with a window, where it differs.
    pub(crate) local_rope_base: Option<f64>,
    pub(crate) rope_scaling: RopeScaling,
    /// The window's width in tokens.
    pub(crate) sliding_window: Option<usize>,
    /// Which layers have that window, where their family does not decide it.
    pub(crate) windowed: Option<Vec<bool>>,
    pub(crate) attention_soft_cap: Option<f64>,
    pub(crate) logit_soft_cap: Option<f64>,
    /// Whether the embedding is also the output head.
    pub(crate) ties_embeddings: bool,
    /// Whether queries, keys and values have biases.
    pub(crate) qkv_bias: bool,
    /// Whether attention's output projection has one.
    pub(crate) output_bias: bool,
    /// Whether the feed-forward layer's matrices have biases.
    pub(crate) mlp_bias: bool,
    /// Special tokens by their key, such as `bos_token_id`; the first where a key lists several.
    pub(crate) special_ids: Vec<(&'static str, u32)>,
    /// All tokens that end a turn.
    pub(crate) eos_ids: Vec<u32>,
    /// The checkpoint's own name (`_name_or_path`).
    pub(crate) name: Option<String>,
    /// What is left out.
    pub(crate) notes: Notes,
}

/// Keys of special tokens: in `config.json`, and in GGUF.
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

    /// Reads the file's content; `path` is for errors.
    pub(crate) fn from_json(json: &Json, path: PathBuf) -> Result<Self, Error> {
        let family = Family::of_config(json)?;
        let known = family.fields();
        let reader = ConfigReader::new(json, known.clone(), path);
        let mut notes = Notes::default();
        known.check(json, "config.json", &mut notes)?;
        if let Some(text) = reader.text() {
            known.check(text, "config.json", &mut notes)?;
        }
        if json.get("vision_config").is_some_and(|part| !part.is_null()) {
            notes.add("the vision encoder is left out".to_owned());
        }
        let mut config = Parser { reader, family }.parse()?;
        config.notes = notes;
        Ok(config)
    }
}

struct Parser<'a> {
    reader: ConfigReader<'a>,
    family: Family,
}

impl Parser<'_> {
    fn damaged(&self, what: String) -> Error {
        self.reader.damaged(what)
    }

    fn parse(&self) -> Result<Config, Error> {
        self.check_class()?;
        let Self { reader, family } = self;
        let layout = family.layout;
        if family.model.positions == Positions::Learned && reader.has("rope_parameters") {
            let what = "has `rope_parameters`, but this family has learned positions";
            return Err(self.damaged(what.to_owned()));
        }
        let d_model = reader.required_size(&["hidden_size", "n_embd"])?;
        let n_heads = reader.required_size(&["num_attention_heads", "n_head"])?;
        let n_layers = reader.required_size(&["num_hidden_layers", "n_layer"])?;
        if n_layers > MAX_LAYERS {
            return Err(self.damaged(format!("`num_hidden_layers` is {n_layers}")));
        }
        let head_dim = match reader.size(&["head_dim"])? {
            Some(head_dim) => head_dim,
            None if d_model.is_multiple_of(n_heads) => d_model / n_heads,
            None => {
                let what = format!("a width of {d_model} is not a multiple of {n_heads} heads");
                return Err(self.damaged(what));
            }
        };
        let d_ff =
            match (reader.size(&["intermediate_size", "n_inner"])?, layout.default_d_ff_ratio) {
                (Some(size), _) => size,
                (None, Some(ratio)) => ratio * d_model,
                (None, None) => {
                    return Err(self.damaged("`intermediate_size` is missing".to_owned()));
                }
            };
        let context = reader.required_size(&["max_position_embeddings", "n_positions"])?;
        let rotation = Rotation::new(reader, *family)?;
        let (sliding_window, windowed) = self.windows(n_layers, context)?;
        let attention_bias = layout.has_biases || reader.flag("attention_bias")?;
        let config = Config {
            family: *family,
            n_vocab: reader.required_size(&["vocab_size"])?,
            context,
            d_model,
            d_ff,
            n_layers,
            n_heads,
            n_kv_heads: reader.size(&["num_key_value_heads"])?.unwrap_or(n_heads),
            head_dim,
            eps: self.eps()?,
            rope_dim: rotation.rope_dim(head_dim)?,
            rope_base: rotation.base()?,
            local_rope_base: rotation.local_base()?,
            rope_scaling: rotation.scaling(context)?,
            sliding_window,
            windowed,
            attention_soft_cap: self.soft_cap("attn_logit_softcapping")?,
            logit_soft_cap: self.soft_cap("final_logit_softcapping")?,
            ties_embeddings: reader.flag("tie_word_embeddings")?,
            qkv_bias: attention_bias || layout.has_qkv_bias,
            output_bias: attention_bias,
            mlp_bias: layout.has_biases || reader.flag("mlp_bias")?,
            special_ids: self.special_ids()?,
            eos_ids: reader.ids("eos_token_id")?,
            name: reader.get("_name_or_path").and_then(|name| name.as_str().map(str::to_owned)),
            notes: Notes::default(),
        };
        self.check(&config)?;
        Ok(config)
    }

    /// Checks that the weights are those of a model that generates text.
    fn check_class(&self) -> Result<(), Error> {
        let classes = self.reader.list("architectures")?.unwrap_or_default();
        let other = classes.iter().find(|class| {
            let class = class.as_str().unwrap_or_default();
            !TEXT_MODELS.iter().any(|end| class.ends_with(end)) || class.contains("RewardModel")
        });
        match other {
            Some(class) => {
                let class = quoted_json(class);
                let what = format!("{class} in `architectures`, which does not generate text");
                Err(Error::Unsupported { what })
            }
            None => Ok(()),
        }
    }

    fn eps(&self) -> Result<f64, Error> {
        let key = self.family.layout.eps_field;
        let eps = self.reader.number(key)?;
        let eps = eps.ok_or_else(|| self.damaged(format!("`{key}` is missing")))?;
        let is_small = (0.0..1.0).contains(&eps);
        if is_small { Ok(eps) } else { Err(self.damaged(format!("`{key}` is {eps}"))) }
    }

    fn soft_cap(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.reader.number(key)? {
            Some(cap) if !(cap > 0.0 && cap <= f64::from(f32::MAX)) => {
                Err(self.damaged(format!("`{key}` is {cap}")))
            }
            cap => Ok(cap),
        }
    }

    /// Reads the window's width, and which layers have it where the family does not decide it.
    fn windows(
        &self,
        n_layers: usize,
        context: usize,
    ) -> Result<(Option<usize>, Option<Vec<bool>>), Error> {
        let reader = &self.reader;
        let window = || reader.size(&["sliding_window"]);
        match (self.family.model.windows, self.family.converted_model().windows) {
            (Windows::AllButEvery(_), _) => {
                Ok((Some(reader.required_size(&["sliding_window"])?), None))
            }
            (Windows::All, Windows::All) => Ok((window()?, None)),
            (Windows::All, _) => Ok(listed_windows(window()?, vec![true; n_layers], context)),
            (Windows::Listed, _) if self.family.layout.has_window_switch => {
                let uses = reader.flag("use_sliding_window")?;
                let window = if uses { window()? } else { None };
                let first = reader.get("max_window_layers").and_then(|n| n.as_u64()).unwrap_or(0);
                let windowed = match self.layer_types(n_layers)? {
                    Some(windowed) => windowed,
                    None => (0..n_layers as u64).map(|layer| uses && layer >= first).collect(),
                };
                if window.is_none() && windowed.contains(&true) {
                    let what = "`layer_types` with sliding windows whose width \
                                `use_sliding_window` and `sliding_window` do not give";
                    return Err(Error::Unsupported { what: what.to_owned() });
                }
                Ok(listed_windows(window, windowed, context))
            }
            (Windows::Listed, _) => Ok((None, None)),
        }
    }

    /// Reads which layers have a window from `layer_types`, where the file has it.
    fn layer_types(&self, n_layers: usize) -> Result<Option<Vec<bool>>, Error> {
        let Some(kinds) = self.reader.list("layer_types")? else { return Ok(None) };
        if kinds.len() != n_layers {
            let what = format!("`layer_types` has {} of {n_layers} layers", kinds.len());
            return Err(self.damaged(what));
        }
        let kind = |kind: &Json| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => Err(Error::Unsupported {
                what: format!("layers of the type {} (`layer_types`)", quoted_json(kind)),
            }),
        };
        kinds.iter().map(kind).collect::<Result<_, _>>().map(Some)
    }

    fn special_ids(&self) -> Result<Vec<(&'static str, u32)>, Error> {
        let mut found = Vec::new();
        for (key, _) in SPECIAL_TOKENS {
            found.extend(self.reader.ids(key)?.first().map(|&id| (key, id)));
        }
        Ok(found)
    }

    /// Rejects what would be computed differently from transformers.
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
            let what =
                format!("{n_heads} heads are not a multiple of {n_kv_heads} key-value heads");
            return Err(self.damaged(what));
        }
        self.check_scale(config)?;
        self.check_layers(config)
    }

    /// Checks the scale of attention scores. GGUF has no key for it, so it must be what readers of
    /// the file assume.
    fn check_scale(&self, config: &Config) -> Result<(), Error> {
        let &Config { n_layers, d_model, n_heads, head_dim, .. } = config;
        let model = self.family.converted_model();
        let assumed = model.attention_divisor(n_layers, d_model, n_heads, head_dim);
        match self.reader.number("query_pre_attn_scalar")? {
            Some(scalar) if scalar != assumed as f64 => {
                let what = format!("`query_pre_attn_scalar` {scalar} (accepted: {assumed})");
                Err(Error::Unsupported { what })
            }
            _ => Ok(()),
        }
    }

    /// Checks which layers have a window and which rotate, where readers of the file take that from
    /// the family.
    fn check_layers(&self, config: &Config) -> Result<(), Error> {
        let model = self.family.model;
        if let Windows::AllButEvery(every) = model.windows {
            self.check_windowed_layers(config.n_layers, every)?;
        }
        match model.nope_every {
            Some(every) => self.check_rotated_layers(config.n_layers, every),
            None => Ok(()),
        }
    }

    fn check_windowed_layers(&self, n_layers: usize, every: usize) -> Result<(), Error> {
        let differs = match self.layer_types(n_layers)? {
            Some(windowed) => {
                windowed.iter().enumerate().any(|(idx, has)| *has == ((idx + 1) % every == 0))
            }
            None => {
                let keys = ["sliding_window_pattern", "_sliding_window_pattern"];
                self.reader.size(&keys)?.is_some_and(|pattern| pattern != every)
            }
        };
        if differs {
            let what = format!("full attention in other layers than every {every}th");
            return Err(Error::Unsupported { what });
        }
        Ok(())
    }

    fn check_rotated_layers(&self, n_layers: usize, every: usize) -> Result<(), Error> {
        let differs = match self.reader.list("no_rope_layers")? {
            Some(layers) if layers.len() != n_layers => {
                let what = format!("`no_rope_layers` has {} of {n_layers} layers", layers.len());
                return Err(self.damaged(what));
            }
            // Despite the field's name, 1 means that the layer rotates.
            Some(layers) => layers
                .iter()
                .enumerate()
                .any(|(idx, rotates)| (rotates.as_u64() == Some(0)) != ((idx + 1) % every == 0)),
            None => {
                self.reader.size(&["no_rope_layer_interval"])?.is_some_and(|found| found != every)
            }
        };
        let has_windows = self.layer_types(n_layers)?.is_some_and(|kinds| kinds.contains(&true));
        if differs || has_windows {
            let what = format!("no rotation in other layers than every {every}th, or windows");
            return Err(Error::Unsupported { what });
        }
        Ok(())
    }
}

/// Returns the window and the layers that have it, or nothing where the window never drops a token.
fn listed_windows(
    window: Option<usize>,
    windowed: Vec<bool>,
    context: usize,
) -> (Option<usize>, Option<Vec<bool>>) {
    match window.filter(|&window| window < context && windowed.contains(&true)) {
        Some(window) => (Some(window), Some(windowed)),
        None => (None, None),
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
    fn both_spellings_of_rotation_agree() {
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
    fn layers_with_windows_have_their_own_rope_base() {
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
    fn c4_absent_fields_have_the_defaults_of_transformers() {
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
    fn rejections_name_the_field() {
        let yarn = read(llama(json!({ "rope_scaling": { "type": "yarn", "factor": 4.0 } })));
        assert!(yarn.unwrap_err().to_string().contains("yarn"));
        let unknown = read(llama(json!({ "model_type": "bloom" }))).unwrap_err();
        assert!(unknown.to_string().contains("`bloom`"), "{unknown}");
        let mut without = llama(json!({}));
        without.as_object_mut().unwrap().remove("vocab_size");
        assert!(read(without).unwrap_err().to_string().contains("vocab_size"));
    }
}
