//! How the checkpoints of each model family are laid out: values of `model_type`, tensor names,
//! biases, and what their `config.json` calls things.
//!
//! What a family's model computes is described by its row of [`spec::FAMILIES`], and only there. A
//! [`Layout`] holds what concerns checkpoints alone; each row has exactly one. Which tensors follow
//! from both is decided in `plan.rs`. Tensor names are those of transformers, without the prefixes
//! of the model's parts.

use lilims_engine::spec::{self, Positions};
use serde_json::Value as Json;

use crate::Error;
use crate::field_tables::{self, COMMON, GENERATION, ROTARY};
use crate::fields::{Field, Fields};

/// How a family's checkpoints are laid out.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The row of [`spec::FAMILIES`] that describes the model.
    pub(crate) family: &'static str,
    /// `general.architecture` of the converted file, which is a row of [`spec::FAMILIES`] too.
    pub(crate) architecture: &'static str,
    /// Values of `model_type` in `config.json`.
    pub(crate) model_types: &'static [&'static str],
    /// Fields of `config.json` that only this family has, or that differ from other families.
    pub(crate) fields: &'static [Field],
    /// Tensor names.
    pub(crate) names: TensorNames,
    /// Whether matrices of layers are stored as `[columns, rows]` (transformers' `Conv1D`).
    pub(crate) transposes_matrices: bool,
    /// Whether norm weights are stored minus 1.
    pub(crate) norms_minus_one: bool,
    /// Whether every matrix of a layer has a bias, whatever `config.json` says.
    pub(crate) has_biases: bool,
    /// Whether queries, keys and values have biases, whatever `config.json` says.
    pub(crate) has_qkv_bias: bool,
    /// Whether the output head has a bias.
    pub(crate) has_head_bias: bool,
    /// The field of the norms' epsilon.
    pub(crate) eps_field: &'static str,
    /// `d_ff / d_model` where `config.json` does not give `d_ff`; `None` where it must.
    pub(crate) default_d_ff_ratio: Option<usize>,
    /// Whether `partial_rotary_factor` may be less than 1.
    pub(crate) rotates_partially: bool,
    /// Whether `use_sliding_window` may give layers a window.
    pub(crate) has_window_switch: bool,
    /// Whether the SentencePiece tokenizer never puts a space in front of a text.
    pub(crate) omits_space_prefix: bool,
    /// The number of layers of the family's 70B model. llama.cpp's quantiser gives its value
    /// matrices more bits, since eight query heads share each.
    pub(crate) layers_of_70b: Option<usize>,
}

/// What transformers calls each tensor of a model; names of layers' tensors follow
/// `{layers}.{index}.`, and names that a family does not have are not used.
#[derive(Debug)]
pub(crate) struct TensorNames {
    pub(crate) embedding: &'static str,
    pub(crate) position_embedding: &'static str,
    pub(crate) layers: &'static str,
    pub(crate) output_norm: &'static str,
    pub(crate) head: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) q: &'static str,
    pub(crate) k: &'static str,
    pub(crate) v: &'static str,
    pub(crate) qkv: &'static str,
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) attention_output: &'static str,
    pub(crate) post_attention_norm: &'static str,
    pub(crate) ffn_norm: &'static str,
    pub(crate) gate: &'static str,
    /// The rows of gate and up where one matrix holds both.
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
    pub(crate) post_ffn_norm: &'static str,
}

const LLAMA_NAMES: TensorNames = TensorNames {
    embedding: "embed_tokens",
    position_embedding: "",
    layers: "layers",
    output_norm: "norm",
    head: "lm_head",
    attention_norm: "input_layernorm",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    qkv: "self_attn.qkv_proj",
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    attention_output: "self_attn.o_proj",
    post_attention_norm: "post_attention_layernorm",
    // Where attention outputs are not normed, this name belongs to the norm that follows them.
    ffn_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    post_ffn_norm: "post_feedforward_layernorm",
};

const POST_NORM_NAMES: TensorNames =
    TensorNames { ffn_norm: "pre_feedforward_layernorm", ..LLAMA_NAMES };

const GPT2_NAMES: TensorNames = TensorNames {
    embedding: "wte",
    position_embedding: "wpe",
    layers: "h",
    output_norm: "ln_f",
    attention_norm: "ln_1",
    qkv: "attn.c_attn",
    attention_output: "attn.c_proj",
    ffn_norm: "ln_2",
    up: "mlp.c_fc",
    down: "mlp.c_proj",
    ..LLAMA_NAMES
};

const PHI2_NAMES: TensorNames = TensorNames {
    output_norm: "final_layernorm",
    attention_output: "self_attn.dense",
    up: "mlp.fc1",
    down: "mlp.fc2",
    ..LLAMA_NAMES
};

const LLAMA: Layout = Layout {
    family: "llama",
    architecture: "llama",
    model_types: &["llama"],
    fields: field_tables::LLAMA,
    names: LLAMA_NAMES,
    transposes_matrices: false,
    norms_minus_one: false,
    has_biases: false,
    has_qkv_bias: false,
    has_head_bias: false,
    eps_field: "rms_norm_eps",
    default_d_ff_ratio: None,
    rotates_partially: false,
    has_window_switch: false,
    omits_space_prefix: false,
    layers_of_70b: None,
};

const GEMMA: Layout = Layout {
    family: "gemma",
    architecture: "gemma",
    model_types: &["gemma"],
    fields: field_tables::GEMMA,
    norms_minus_one: true,
    omits_space_prefix: true,
    ..LLAMA
};

/// The layouts, in the order in which errors and `docs/convert.md` list them.
pub(crate) const LAYOUTS: &[Layout] = &[
    Layout {
        family: "gpt2",
        architecture: "gpt2",
        model_types: &["gpt2"],
        fields: field_tables::GPT2,
        names: GPT2_NAMES,
        transposes_matrices: true,
        has_biases: true,
        eps_field: "layer_norm_epsilon",
        default_d_ff_ratio: Some(4),
        ..LLAMA
    },
    Layout {
        family: "phi2",
        architecture: "phi2",
        model_types: &["phi"],
        fields: field_tables::PHI2,
        names: PHI2_NAMES,
        has_biases: true,
        has_head_bias: true,
        eps_field: "layer_norm_eps",
        rotates_partially: true,
        ..LLAMA
    },
    Layout {
        family: "phi3",
        architecture: "phi3",
        model_types: &["phi3"],
        fields: field_tables::PHI3,
        names: TensorNames { up: "mlp.gate_up_proj", ..LLAMA_NAMES },
        rotates_partially: true,
        ..LLAMA
    },
    GEMMA,
    Layout {
        family: "gemma2",
        architecture: "gemma2",
        model_types: &["gemma2"],
        fields: field_tables::GEMMA2,
        names: POST_NORM_NAMES,
        ..GEMMA
    },
    Layout {
        family: "gemma3",
        architecture: "gemma3",
        model_types: &["gemma3", "gemma3_text"],
        fields: field_tables::GEMMA3,
        names: POST_NORM_NAMES,
        ..GEMMA
    },
    // SmolLM2 too: its files do not differ from Llama's.
    Layout { layers_of_70b: Some(80), ..LLAMA },
    // GGUF files of Mistral say `llama`.
    Layout { family: "mistral", model_types: &["mistral"], fields: field_tables::MISTRAL, ..LLAMA },
    Layout {
        family: "qwen2",
        architecture: "qwen2",
        model_types: &["qwen2", "qwen2_5"],
        fields: field_tables::QWEN2,
        has_qkv_bias: true,
        has_window_switch: true,
        ..LLAMA
    },
    Layout {
        family: "qwen3",
        architecture: "qwen3",
        model_types: &["qwen3"],
        fields: field_tables::QWEN3,
        has_window_switch: true,
        ..LLAMA
    },
    Layout {
        family: "smollm3",
        architecture: "smollm3",
        model_types: &["smollm3"],
        fields: field_tables::SMOLLM3,
        ..LLAMA
    },
];

/// The family of a checkpoint: what its model computes, and how its files are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) model: &'static spec::Family,
    pub(crate) layout: &'static Layout,
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.layout.family == other.layout.family
    }
}

impl Family {
    /// Finds the family that `model_type` in `config.json` names.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFamily`].
    pub(crate) fn of_config(config: &Json) -> Result<Self, Error> {
        let found = config.get("model_type").and_then(Json::as_str).unwrap_or("(none)");
        let layout = LAYOUTS.iter().find(|layout| layout.model_types.contains(&found));
        layout.map(Self::new).ok_or_else(|| {
            let supported: Vec<&str> =
                LAYOUTS.iter().flat_map(|layout| layout.model_types).copied().collect();
            Error::UnknownFamily { found: found.to_owned(), supported: supported.join(", ") }
        })
    }

    fn new(layout: &'static Layout) -> Self {
        Self { model: row(layout.family), layout }
    }

    /// `general.architecture` of the converted file.
    pub(crate) fn architecture(self) -> &'static str {
        self.layout.architecture
    }

    /// What a reader of the converted file takes for granted about it.
    pub(crate) fn converted_model(self) -> &'static spec::Family {
        row(self.layout.architecture)
    }

    /// The known fields of its `config.json`.
    pub(crate) fn fields(self) -> Fields {
        let rotary: &[Field] = match self.model.positions {
            Positions::Rotary => ROTARY,
            Positions::Learned => &[],
        };
        // Old files keep generation settings in `config.json`.
        Fields::new(vec![self.layout.fields, rotary, COMMON, GENERATION])
    }
}

fn row(name: &str) -> &'static spec::Family {
    spec::Family::find(name).expect("each layout names a row of FAMILIES")
}

/// The layout of the family that `general.architecture` names.
pub(crate) fn layout_of(architecture: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.family == architecture)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::notes::Notes;

    #[test]
    fn every_family_has_one_layout() {
        for family in spec::FAMILIES {
            let layouts = LAYOUTS.iter().filter(|layout| layout.family == family.name);
            assert_eq!(layouts.count(), 1, "{}", family.name);
        }
        for layout in LAYOUTS {
            assert!(spec::Family::find(layout.family).is_some(), "{}", layout.family);
            assert!(spec::Family::find(layout.architecture).is_some(), "{}", layout.architecture);
        }
    }

    #[test]
    fn model_types_are_unambiguous() {
        let mut types: Vec<_> = LAYOUTS.iter().flat_map(|layout| layout.model_types).collect();
        let n_types = types.len();
        types.sort();
        types.dedup();
        assert_eq!(types.len(), n_types);
    }

    #[test]
    fn layouts_name_the_tensors_that_their_models_have() {
        for layout in LAYOUTS {
            let (model, names) = (row(layout.family), &layout.names);
            let has_positions = model.positions == Positions::Learned;
            assert_eq!(!names.position_embedding.is_empty(), has_positions, "{}", layout.family);
            let names_differ = names.ffn_norm != names.post_attention_norm;
            assert!(!model.post_norms || names_differ, "{}", layout.family);
        }
    }

    #[test]
    fn c4_fields_are_known_or_rejected_by_name() {
        let llama = Family::of_config(&json!({ "model_type": "llama" })).unwrap();
        let check = |json: Json| {
            let mut notes = Notes::default();
            llama.fields().check(&json, "config.json", &mut notes)?;
            Ok::<_, Error>(notes.into_sentences())
        };
        assert!(check(json!({ "hidden_act": "silu", "vocab_size": 3 })).unwrap().is_empty());
        assert!(check(json!({ "something": null, "pretraining_tp": 1.0 })).unwrap().is_empty());
        let noted = check(json!({ "attention_dropout": 0.1, "use_cache": true })).unwrap();
        assert!(noted.len() == 1 && noted[0].contains("`attention_dropout` 0.1"), "{noted:?}");
        for (json, part) in [
            (json!({ "hidden_act": "gelu" }), "`hidden_act` \"gelu\""),
            (json!({ "residual_multiplier": 0.2 }), "`residual_multiplier`"),
            (json!({ "pretraining_tp": 2 }), "`pretraining_tp` 2"),
        ] {
            let error = check(json).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("config.json"), "{error}");
        }
        let long = "x".repeat(70_000);
        let error = check(json!({ &*long: long })).unwrap_err().to_string();
        assert!(error.len() < 1000, "{} bytes", error.len());
        let foreign = check(json!({ "\u{1b}[2J\u{202e}": 1 })).unwrap_err().to_string();
        assert!(!foreign.contains('\u{1b}') && !foreign.contains('\u{202e}'), "{foreign:?}");
    }
}
