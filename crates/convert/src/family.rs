//! The families: which tensors their checkpoints have, what GGUF calls them, and how they are laid
//! out there.
//!
//! Names are those of transformers on one side, without the prefixes of the model's parts, and of
//! llama.cpp on the other.

use serde_json::Value as Json;

use crate::Error;
use crate::config::Config;

/// A family that Lilims runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Gpt2,
    Phi2,
    Phi3,
    Gemma,
    Gemma2,
    Gemma3,
    /// SmolLM2 too, which differs in nothing that a file says.
    Llama,
    /// A Llama whose layers may have a window; GGUF's files call it `llama`.
    Mistral,
    Qwen2,
    Qwen3,
    SmolLm3,
}

/// `model_type`, and the family.
const MODEL_TYPES: [(&str, Family); 13] = [
    ("gpt2", Family::Gpt2),
    ("phi", Family::Phi2),
    ("phi3", Family::Phi3),
    ("gemma", Family::Gemma),
    ("gemma2", Family::Gemma2),
    ("gemma3_text", Family::Gemma3),
    ("gemma3", Family::Gemma3),
    ("llama", Family::Llama),
    ("mistral", Family::Mistral),
    ("qwen2", Family::Qwen2),
    ("qwen2_5", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("smollm3", Family::SmolLm3),
];

impl Family {
    /// The family that a configuration names.
    pub(crate) fn of(config: &Json) -> Result<Self, Error> {
        let found = config.get("model_type").and_then(Json::as_str).unwrap_or("(none)");
        let family = MODEL_TYPES.iter().find(|(name, _)| *name == found);
        family.map(|(_, family)| *family).ok_or_else(|| Error::UnknownFamily {
            found: found.to_owned(),
            supported: MODEL_TYPES.map(|(name, _)| name).join(", "),
        })
    }

    /// `general.architecture`.
    pub(crate) fn architecture(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Phi2 => "phi2",
            Self::Phi3 => "phi3",
            Self::Gemma => "gemma",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
            Self::Llama | Self::Mistral => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::SmolLm3 => "smollm3",
        }
    }

    /// Whether norms are LayerNorms, with a bias.
    pub(crate) fn has_layer_norms(self) -> bool {
        matches!(self, Self::Gpt2 | Self::Phi2)
    }

    fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma | Self::Gemma2 | Self::Gemma3)
    }

    /// Whether GGUF rotates neighbours of a head where the checkpoint rotates halves.
    fn interleaves(self) -> bool {
        matches!(self, Self::Llama | Self::Mistral | Self::SmolLm3)
    }
}

/// What is done to a tensor on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// 1 is added: Gemma's checkpoints hold norms as their distance from 1.
    PlusOne,
    /// Columns become rows.
    Transpose,
    /// Rows i and i + n/2 of each head of `head_dim` rows become rows 2i and 2i + 1.
    Interleave {
        head_dim: usize,
    },
}

/// A tensor of the result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    /// Its name in the result.
    pub(crate) name: String,
    /// Its name in the source.
    pub(crate) source: String,
    /// Its shape in the source, the slowest dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) change: Change,
}

/// The name of a checkpoint's tensor without the parts that only some checkpoints write.
pub(crate) fn plain_name(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = ["model.", "language_model.", "transformer."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
    {
        name = rest;
    }
    name
}

/// Whether a checkpoint's tensor is a buffer that older versions saved, which follows from the
/// configuration.
pub(crate) fn is_buffer(name: &str) -> bool {
    let buffers =
        [".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", ".attention.masked_bias"];
    buffers.iter().any(|end| name.ends_with(end))
}

/// The part of a model that a checkpoint's tensor is of, where that is none of the text model: one that
/// sees, or that joins what is seen to the text.
pub(crate) fn other_part(name: &str) -> Option<&'static str> {
    let plain = plain_name(name);
    ["vision_tower.", "multi_modal_projector."].into_iter().find(|part| plain.starts_with(part))
}

/// The tensors of a model, in the order in which it reads them. `has` says which the source has.
pub(crate) fn plan(config: &Config, has: &dyn Fn(&str) -> bool) -> Result<Vec<Planned>, Error> {
    let mut plan = Plan { config, tensors: Vec::new() };
    let (d_model, family) = (config.d_model, config.family);
    let is_gpt2 = family == Family::Gpt2;
    plan.add(
        "token_embd",
        if is_gpt2 { "wte" } else { "embed_tokens" },
        &[config.n_vocab, d_model],
    );
    if is_gpt2 {
        plan.add("position_embd", "wpe", &[config.context, d_model]);
    }
    for layer_idx in 0..config.n_layers {
        let layer = if is_gpt2 { "h" } else { "layers" };
        plan.layer(&format!("blk.{layer_idx}"), &format!("{layer}.{layer_idx}"));
    }
    let last_norm = match family {
        Family::Gpt2 => "ln_f",
        Family::Phi2 => "final_layernorm",
        _ => "norm",
    };
    plan.norm("output_norm", last_norm, d_model);
    if !config.ties_embeddings {
        // Phi-2 alone has a bias here.
        plan.linear("output", "lm_head", config.n_vocab, d_model, family == Family::Phi2);
    }
    let tensors = plan.tensors;
    match tensors.iter().find(|tensor| !has(&tensor.source)) {
        Some(missing) => Err(Error::MissingTensor { name: missing.source.clone() }),
        None => Ok(tensors),
    }
}

struct Plan<'a> {
    config: &'a Config,
    tensors: Vec<Planned>,
}

impl Plan<'_> {
    fn push(&mut self, name: String, source: String, shape: &[usize], change: Change) {
        self.tensors.push(Planned { name, source, shape: shape.to_vec(), change });
    }

    fn add(&mut self, name: &str, source: &str, shape: &[usize]) {
        self.push(format!("{name}.weight"), format!("{source}.weight"), shape, Change::None);
    }

    fn norm(&mut self, name: &str, source: &str, len: usize) {
        let family = self.config.family;
        let change = if family.is_gemma() { Change::PlusOne } else { Change::None };
        self.push(format!("{name}.weight"), format!("{source}.weight"), &[len], change);
        if family.has_layer_norms() {
            self.push(format!("{name}.bias"), format!("{source}.bias"), &[len], Change::None);
        }
    }

    /// A matrix and, where the configuration says so, its bias.
    fn linear(&mut self, name: &str, source: &str, rows: usize, columns: usize, has_bias: bool) {
        let is_turned = self.config.family == Family::Gpt2 && name != "output";
        let change = if is_turned { Change::Transpose } else { Change::None };
        self.changed(name, source, (rows, columns), has_bias, change);
    }

    fn changed(
        &mut self,
        name: &str,
        source: &str,
        (rows, columns): (usize, usize),
        has_bias: bool,
        change: Change,
    ) {
        let is_turned = change == Change::Transpose;
        let shape = if is_turned { [columns, rows] } else { [rows, columns] };
        self.push(format!("{name}.weight"), format!("{source}.weight"), &shape, change);
        if has_bias {
            let change = if is_turned { Change::None } else { change };
            self.push(format!("{name}.bias"), format!("{source}.bias"), &[rows], change);
        }
    }

    fn layer(&mut self, name: &str, source: &str) {
        let family = self.config.family;
        let &Config { d_model, d_ff, head_dim, .. } = self.config;
        let &Config { qkv_bias, output_bias, mlp_bias, .. } = self.config;
        let (q_dim, kv_dim) = (self.config.n_heads * head_dim, self.config.n_kv_heads * head_dim);
        let to = |stem: &str| format!("{name}.{stem}");
        let from = |stem: &str| format!("{source}.{stem}");
        if family == Family::Gpt2 {
            self.norm(&to("attn_norm"), &from("ln_1"), d_model);
            self.linear(
                &to("attn_qkv"),
                &from("attn.c_attn"),
                q_dim + 2 * kv_dim,
                d_model,
                qkv_bias,
            );
            self.linear(&to("attn_output"), &from("attn.c_proj"), d_model, q_dim, output_bias);
            self.norm(&to("ffn_norm"), &from("ln_2"), d_model);
            self.linear(&to("ffn_up"), &from("mlp.c_fc"), d_ff, d_model, mlp_bias);
            self.linear(&to("ffn_down"), &from("mlp.c_proj"), d_model, d_ff, mlp_bias);
            return;
        }
        self.norm(&to("attn_norm"), &from("input_layernorm"), d_model);
        if family == Family::Phi3 {
            self.linear(
                &to("attn_qkv"),
                &from("self_attn.qkv_proj"),
                q_dim + 2 * kv_dim,
                d_model,
                qkv_bias,
            );
        } else {
            let change = match family.interleaves() {
                true => Change::Interleave { head_dim },
                false => Change::None,
            };
            self.changed(
                &to("attn_q"),
                &from("self_attn.q_proj"),
                (q_dim, d_model),
                qkv_bias,
                change,
            );
            self.changed(
                &to("attn_k"),
                &from("self_attn.k_proj"),
                (kv_dim, d_model),
                qkv_bias,
                change,
            );
            self.linear(&to("attn_v"), &from("self_attn.v_proj"), kv_dim, d_model, qkv_bias);
        }
        if matches!(family, Family::Qwen3 | Family::Gemma3) {
            self.norm(&to("attn_q_norm"), &from("self_attn.q_norm"), head_dim);
            self.norm(&to("attn_k_norm"), &from("self_attn.k_norm"), head_dim);
        }
        let output = if family == Family::Phi2 { "self_attn.dense" } else { "self_attn.o_proj" };
        self.linear(&to("attn_output"), &from(output), d_model, q_dim, output_bias);
        let after_attention = from("post_attention_layernorm");
        match family {
            Family::Phi2 => {}
            Family::Gemma2 | Family::Gemma3 => {
                self.norm(&to("post_attention_norm"), &after_attention, d_model);
                self.norm(&to("ffn_norm"), &from("pre_feedforward_layernorm"), d_model);
            }
            _ => self.norm(&to("ffn_norm"), &after_attention, d_model),
        }
        match family {
            Family::Phi2 => {
                self.linear(&to("ffn_up"), &from("mlp.fc1"), d_ff, d_model, mlp_bias);
                self.linear(&to("ffn_down"), &from("mlp.fc2"), d_model, d_ff, mlp_bias);
            }
            Family::Phi3 => {
                self.linear(&to("ffn_up"), &from("mlp.gate_up_proj"), 2 * d_ff, d_model, mlp_bias);
                self.linear(&to("ffn_down"), &from("mlp.down_proj"), d_model, d_ff, mlp_bias);
            }
            _ => {
                self.linear(&to("ffn_gate"), &from("mlp.gate_proj"), d_ff, d_model, mlp_bias);
                self.linear(&to("ffn_up"), &from("mlp.up_proj"), d_ff, d_model, mlp_bias);
                self.linear(&to("ffn_down"), &from("mlp.down_proj"), d_model, d_ff, mlp_bias);
            }
        }
        if matches!(family, Family::Gemma2 | Family::Gemma3) {
            self.norm(&to("post_ffw_norm"), &from("post_feedforward_layernorm"), d_model);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_do_not_matter() {
        for name in [
            "model.layers.0.mlp.up_proj.weight",
            "language_model.model.layers.0.mlp.up_proj.weight",
            "model.language_model.layers.0.mlp.up_proj.weight",
            "layers.0.mlp.up_proj.weight",
        ] {
            assert_eq!(plain_name(name), "layers.0.mlp.up_proj.weight");
        }
        assert_eq!(plain_name("transformer.h.3.ln_1.bias"), "h.3.ln_1.bias");
        assert!(is_buffer("transformer.h.3.attn.bias") && !is_buffer("h.3.attn.c_attn.bias"));
        let seeing = "model.vision_tower.vision_model.embeddings.patch_embedding.weight";
        assert_eq!(other_part(seeing), Some("vision_tower."));
    }
}
