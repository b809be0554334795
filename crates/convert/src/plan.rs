//! Which tensors a converted model has, and which tensor of the checkpoint each is made from.
//!
//! The tensors follow from the family's row in [`lilims_engine::spec::FAMILIES`], its
//! [`Layout`](crate::family::Layout) and the sizes in [`Config`]. Names in the result are those of
//! llama.cpp. Their types are chosen in `types.rs`.

use lilims_engine::spec::{NormKind, Positions, RopeKind};

use crate::Error;
use crate::config::Config;
use crate::encode::Transform;
use crate::family::Family;

/// A tensor of the result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlannedTensor {
    /// Its name in the result.
    pub(crate) name: String,
    /// Its name in the source.
    pub(crate) source: String,
    /// Its shape in the source, the slowest dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) transform: Transform,
}

impl PlannedTensor {
    /// Its dimensions in the result, the fastest first.
    pub(crate) fn dims(&self) -> Vec<u64> {
        let mut dims: Vec<u64> = self.shape.iter().rev().map(|&size| size as u64).collect();
        if self.transform == Transform::Transpose {
            dims.reverse();
        }
        dims
    }
}

/// Plans the tensors of a model, in the order in which a forward pass reads them. `has`
/// returns whether the source has a tensor.
///
/// # Errors
///
/// [`Error::MissingTensor`].
pub(crate) fn plan(
    config: &Config,
    has: &dyn Fn(&str) -> bool,
) -> Result<Vec<PlannedTensor>, Error> {
    let mut planner = Planner { config, family: config.family, tensors: Vec::new() };
    planner.add_model();
    let tensors = planner.tensors;
    match tensors.iter().find(|tensor| !has(&tensor.source)) {
        Some(missing) => Err(Error::MissingTensor { name: missing.source.clone() }),
        None => Ok(tensors),
    }
}

struct Planner<'a> {
    config: &'a Config,
    family: Family,
    tensors: Vec<PlannedTensor>,
}

impl Planner<'_> {
    fn add_model(&mut self) {
        let (config, Family { model, layout }) = (self.config, self.family);
        let (d_model, names) = (config.d_model, &layout.names);
        self.add_plain("token_embd", names.embedding, &[config.n_vocab, d_model]);
        if model.positions == Positions::Learned {
            let shape = [config.context, d_model];
            self.add_plain("position_embd", names.position_embedding, &shape);
        }
        for layer_idx in 0..config.n_layers {
            self.add_layer(&format!("blk.{layer_idx}"), &format!("{}.{layer_idx}", names.layers));
        }
        self.add_norm("output_norm", names.output_norm, d_model);
        if !config.ties_embeddings {
            let shape = (config.n_vocab, d_model);
            self.add_matrix("output", names.head, shape, layout.has_head_bias, Transform::None);
        }
    }

    fn push(&mut self, name: String, source: String, shape: &[usize], transform: Transform) {
        self.tensors.push(PlannedTensor { name, source, shape: shape.to_vec(), transform });
    }

    /// Adds a tensor without a bias that is copied as it is.
    fn add_plain(&mut self, name: &str, source: &str, shape: &[usize]) {
        self.push(format!("{name}.weight"), format!("{source}.weight"), shape, Transform::None);
    }

    fn add_norm(&mut self, name: &str, source: &str, len: usize) {
        let Family { model, layout } = self.family;
        let transform = match layout.norms_minus_one {
            true => Transform::AddOne,
            false => Transform::None,
        };
        self.push(format!("{name}.weight"), format!("{source}.weight"), &[len], transform);
        if model.norm == NormKind::Layer {
            self.push(format!("{name}.bias"), format!("{source}.bias"), &[len], Transform::None);
        }
    }

    /// Adds a matrix of a layer and, with `has_bias`, its bias.
    fn add_linear(&mut self, name: &str, source: &str, shape: (usize, usize), has_bias: bool) {
        let transform = match self.family.layout.transposes_matrices {
            true => Transform::Transpose,
            false => Transform::None,
        };
        self.add_matrix(name, source, shape, has_bias, transform);
    }

    /// Adds a matrix of `(rows, columns)` in the result and, with `has_bias`, its bias.
    fn add_matrix(
        &mut self,
        name: &str,
        source: &str,
        (rows, columns): (usize, usize),
        has_bias: bool,
        transform: Transform,
    ) {
        let is_transposed = transform == Transform::Transpose;
        let shape = if is_transposed { [columns, rows] } else { [rows, columns] };
        self.push(format!("{name}.weight"), format!("{source}.weight"), &shape, transform);
        if has_bias {
            let transform = if is_transposed { Transform::None } else { transform };
            self.push(format!("{name}.bias"), format!("{source}.bias"), &[rows], transform);
        }
    }

    fn add_layer(&mut self, name: &str, source: &str) {
        let Family { model, layout } = self.family;
        let names = &layout.names;
        let &Config { d_model, d_ff, head_dim, .. } = self.config;
        let &Config { qkv_bias, output_bias, mlp_bias, .. } = self.config;
        let (q_dim, kv_dim) = (self.config.n_heads * head_dim, self.config.n_kv_heads * head_dim);
        let to = |stem: &str| format!("{name}.{stem}");
        let from = |stem: &str| format!("{source}.{stem}");
        self.add_norm(&to("attn_norm"), &from(names.attention_norm), d_model);
        if model.fused_qkv {
            let shape = (q_dim + 2 * kv_dim, d_model);
            self.add_linear(&to("attn_qkv"), &from(names.qkv), shape, qkv_bias);
        } else {
            let transform = match model.rope_kind {
                RopeKind::Interleaved => Transform::Interleave { head_dim },
                RopeKind::Halves => Transform::None,
            };
            for (stem, source, rows) in [("attn_q", names.q, q_dim), ("attn_k", names.k, kv_dim)] {
                let shape = (rows, d_model);
                self.add_matrix(&to(stem), &from(source), shape, qkv_bias, transform);
            }
            self.add_linear(&to("attn_v"), &from(names.v), (kv_dim, d_model), qkv_bias);
        }
        if model.head_norms {
            self.add_norm(&to("attn_q_norm"), &from(names.q_norm), head_dim);
            self.add_norm(&to("attn_k_norm"), &from(names.k_norm), head_dim);
        }
        let output = from(names.attention_output);
        self.add_linear(&to("attn_output"), &output, (d_model, q_dim), output_bias);
        if model.post_norms {
            self.add_norm(&to("post_attention_norm"), &from(names.post_attention_norm), d_model);
        }
        if !model.parallel_residual {
            self.add_norm(&to("ffn_norm"), &from(names.ffn_norm), d_model);
        }
        if model.gate.is_some() && !model.fused_gate_up {
            self.add_linear(&to("ffn_gate"), &from(names.gate), (d_ff, d_model), mlp_bias);
        }
        let up_rows = if model.fused_gate_up { 2 * d_ff } else { d_ff };
        self.add_linear(&to("ffn_up"), &from(names.up), (up_rows, d_model), mlp_bias);
        self.add_linear(&to("ffn_down"), &from(names.down), (d_model, d_ff), mlp_bias);
        if model.post_norms {
            self.add_norm(&to("post_ffw_norm"), &from(names.post_ffn_norm), d_model);
        }
    }
}
