//! The weights of a model: the tensors that a specification needs, and their shapes.
//!
//! Nothing is copied here: the backend decides how to store each matrix (the `cpu` backend keeps an
//! offset into the memory map). Vectors are small and always decoded to f32.

use std::ops::Range;

use lilims_gguf::{File, TensorInfo, quoted};

use crate::spec::{NormKind, Positions};
use crate::{Error, ModelSpec, quant};

/// Converts tensors of a file into the matrices and vectors of a backend.
pub(crate) trait Upload {
    /// The matrix type of the backend.
    type Matrix;
    /// The vector type of the backend.
    type Vector;

    /// Converts `rows` of the matrix `info`, whose `[columns, rows]` are already checked.
    fn matrix(
        &self,
        file: &File,
        info: &TensorInfo,
        rows: Range<usize>,
    ) -> Result<Self::Matrix, Error>;
    /// Converts a vector.
    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector, Error>;
}

/// A matrix and, in some families, a bias that is added to each product.
pub(crate) struct Linear<M, V> {
    pub(crate) weight: M,
    pub(crate) bias: Option<V>,
}

/// The weights of a norm of either [`NormKind`].
pub(crate) enum Norm<V> {
    Rms { weight: V },
    Layer { weight: V, bias: V },
}

/// The weights of one layer.
pub(crate) struct LayerWeights<M, V> {
    pub(crate) attention_norm: Norm<V>,
    pub(crate) q: Linear<M, V>,
    pub(crate) k: Linear<M, V>,
    pub(crate) v: Linear<M, V>,
    pub(crate) q_norm: Option<V>,
    pub(crate) k_norm: Option<V>,
    pub(crate) attention_out: Linear<M, V>,
    pub(crate) post_attention_norm: Option<Norm<V>>,
    /// `None` if the feed-forward layer reads the norm of attention (parallel residual).
    pub(crate) ffn_norm: Option<Norm<V>>,
    /// `None` if the feed-forward layer has no gate.
    pub(crate) gate: Option<Linear<M, V>>,
    pub(crate) up: Linear<M, V>,
    pub(crate) down: Linear<M, V>,
    pub(crate) post_ffn_norm: Option<Norm<V>>,
}

/// The weights of a model.
pub(crate) struct Weights<M, V> {
    pub(crate) embedding: M,
    /// The position embeddings, if positions are learned. `[context, d_model]`
    pub(crate) positions: Option<M>,
    pub(crate) layers: Vec<LayerWeights<M, V>>,
    pub(crate) output_norm: Norm<V>,
    /// The output head; `None` if it is tied to the embedding.
    pub(crate) output: Option<Linear<M, V>>,
}

impl<M, V> Weights<M, V> {
    /// Finds every tensor that `spec` needs in `file` and checks its shape.
    pub(crate) fn load(
        file: &File,
        spec: &ModelSpec,
        upload: &impl Upload<Matrix = M, Vector = V>,
    ) -> Result<Self, Error> {
        let loader = Loader { file, upload, norm: spec.norm };
        let output = match file.tensor("output.weight") {
            Ok(_) => Some(loader.linear("output", spec.d_model, spec.n_vocab)?),
            Err(_) => None,
        };
        Ok(Self {
            embedding: loader.matrix("token_embd.weight", spec.d_model, spec.n_vocab)?,
            positions: match spec.positions {
                Positions::Rotary => None,
                Positions::Learned => {
                    Some(loader.matrix("position_embd.weight", spec.d_model, spec.context)?)
                }
            },
            layers: (0..spec.layers.len())
                .map(|layer_idx| layer(&loader, spec, layer_idx))
                .collect::<Result<_, _>>()?,
            output_norm: loader.norm("output_norm", spec.d_model)?,
            output,
        })
    }
}

/// The frequency factors of the file for each rotated pair in sessions of `context` tokens, if it
/// has any.
pub(crate) fn rope_factors(
    file: &File,
    spec: &ModelSpec,
    context: usize,
) -> Result<Option<Vec<f32>>, Error> {
    let has_two = file.tensor("rope_factors_long.weight").is_ok();
    let name = match spec.short_context.filter(|_| has_two) {
        Some(short) if context > short => "rope_factors_long.weight",
        Some(_) => "rope_factors_short.weight",
        None => "rope_freqs.weight",
    };
    match file.tensor(name) {
        Ok(_) => {
            let factors = read_vector(file, name, spec.rope_dim / 2)?;
            match factors.iter().find(|factor| !(factor.is_normal() && **factor > 0.0)) {
                Some(factor) => Err(Error::Damaged {
                    what: format!("tensor `{name}` holds the invalid factor {factor}"),
                }),
                None => Ok(Some(factors)),
            }
        }
        Err(_) => Ok(None),
    }
}

fn layer<M, V>(
    loader: &Loader<'_, impl Upload<Matrix = M, Vector = V>>,
    spec: &ModelSpec,
    layer_idx: usize,
) -> Result<LayerWeights<M, V>, Error> {
    let (d_model, d_ff, head_dim) = (spec.d_model, spec.d_ff, spec.head_dim);
    let (q_dim, kv_dim) = (spec.n_heads * head_dim, spec.n_kv_heads * head_dim);
    let full = |name: &str| format!("blk.{layer_idx}.{name}");
    let linear = |name: &str, columns, rows| loader.linear(&full(name), columns, rows);
    let norm = |name: &str| loader.norm(&full(name), d_model);
    let norm_if = |is_present: bool, name: &str| is_present.then(|| norm(name)).transpose();
    let head_norm = |name: &str| {
        let is_present = spec.head_norms;
        is_present.then(|| loader.vector(&full(&format!("{name}.weight")), head_dim)).transpose()
    };
    let [q, k, v] = if spec.fused_qkv {
        let (k_start, v_start, end) = (q_dim, q_dim + kv_dim, q_dim + 2 * kv_dim);
        let part = |rows| loader.linear_part(&full("attn_qkv"), d_model, end, rows);
        [part(0..k_start)?, part(k_start..v_start)?, part(v_start..end)?]
    } else {
        let part = |name, rows| linear(name, d_model, rows);
        [part("attn_q", q_dim)?, part("attn_k", kv_dim)?, part("attn_v", kv_dim)?]
    };
    let (gate, up) = if spec.fused_gate_up {
        let part = |rows| loader.linear_part(&full("ffn_up"), d_model, 2 * d_ff, rows);
        (Some(part(0..d_ff)?), part(d_ff..2 * d_ff)?)
    } else {
        let gate = spec.gate.map(|_| linear("ffn_gate", d_model, d_ff)).transpose()?;
        (gate, linear("ffn_up", d_model, d_ff)?)
    };
    Ok(LayerWeights {
        attention_norm: norm("attn_norm")?,
        q,
        k,
        v,
        q_norm: head_norm("attn_q_norm")?,
        k_norm: head_norm("attn_k_norm")?,
        attention_out: linear("attn_output", q_dim, d_model)?,
        post_attention_norm: norm_if(spec.post_norms, "post_attention_norm")?,
        ffn_norm: norm_if(!spec.parallel_residual, "ffn_norm")?,
        gate,
        up,
        down: linear("ffn_down", d_ff, d_model)?,
        post_ffn_norm: norm_if(spec.post_norms, "post_ffw_norm")?,
    })
}

struct Loader<'a, U> {
    file: &'a File,
    upload: &'a U,
    norm: NormKind,
}

impl<U: Upload> Loader<'_, U> {
    fn linear(
        &self,
        name: &str,
        columns: usize,
        rows: usize,
    ) -> Result<Linear<U::Matrix, U::Vector>, Error> {
        self.linear_part(name, columns, rows, 0..rows)
    }

    /// `part` of the rows of a linear layer, with the same part of the bias.
    fn linear_part(
        &self,
        name: &str,
        columns: usize,
        rows: usize,
        part: Range<usize>,
    ) -> Result<Linear<U::Matrix, U::Vector>, Error> {
        let bias_name = format!("{name}.bias");
        let bias = match self.file.tensor(&bias_name) {
            Ok(_) => {
                let mut values = read_vector(self.file, &bias_name, rows)?;
                values.truncate(part.end);
                values.drain(..part.start);
                Some(self.upload.vector(values)?)
            }
            Err(_) => None,
        };
        let weight = self.matrix_part(&format!("{name}.weight"), columns, rows, part)?;
        Ok(Linear { weight, bias })
    }

    fn matrix(&self, name: &str, columns: usize, rows: usize) -> Result<U::Matrix, Error> {
        self.matrix_part(name, columns, rows, 0..rows)
    }

    fn matrix_part(
        &self,
        name: &str,
        columns: usize,
        rows: usize,
        part: Range<usize>,
    ) -> Result<U::Matrix, Error> {
        let info = self.file.tensor(name)?;
        expect_dims(info, &[columns, rows])?;
        expect_supported(info)?;
        self.upload.matrix(self.file, info, part)
    }

    /// A norm of the kind of the model.
    fn norm(&self, name: &str, len: usize) -> Result<Norm<U::Vector>, Error> {
        let weight = self.vector(&format!("{name}.weight"), len)?;
        Ok(match self.norm {
            NormKind::Rms => Norm::Rms { weight },
            NormKind::Layer => {
                Norm::Layer { weight, bias: self.vector(&format!("{name}.bias"), len)? }
            }
        })
    }

    fn vector(&self, name: &str, len: usize) -> Result<U::Vector, Error> {
        self.upload.vector(read_vector(self.file, name, len)?)
    }
}

/// Checks that the tensor type of a matrix is supported.
pub(crate) fn expect_supported(info: &TensorInfo) -> Result<(), Error> {
    if quant::supported(info.tensor_type) {
        return Ok(());
    }
    let what = format!("tensor `{}` has type {}", quoted(&info.name), info.tensor_type);
    Err(Error::Unsupported { what: format!("{what}, which is not supported yet") })
}

fn read_vector(file: &File, name: &str, len: usize) -> Result<Vec<f32>, Error> {
    let info = file.tensor(name)?;
    expect_dims(info, &[len])?;
    let mut values = vec![0.0; len];
    quant::dequantize(info.tensor_type, file.data(info)?, &mut values)?;
    Ok(values)
}

fn expect_dims(info: &TensorInfo, expected: &[usize]) -> Result<(), Error> {
    if info.dims.iter().copied().eq(expected.iter().map(|&dim| dim as u64)) {
        return Ok(());
    }
    let what = format!("tensor `{}` has shape {:?}", info.name, info.dims);
    Err(Error::Damaged { what: format!("{what}, expected {expected:?} by the metadata") })
}

#[cfg(test)]
mod tests {
    use lilims_gguf::{TensorType, Value, Writer};

    use super::*;

    /// A test backend that accepts any tensor and keeps only its length.
    struct Lengths;

    impl Upload for Lengths {
        type Matrix = Range<usize>;
        type Vector = usize;

        fn matrix(
            &self,
            _file: &File,
            _info: &TensorInfo,
            rows: Range<usize>,
        ) -> Result<Range<usize>, Error> {
            Ok(rows)
        }

        fn vector(&self, values: Vec<f32>) -> Result<usize, Error> {
            Ok(values.len())
        }
    }

    const GPT2: [(&str, &[u64]); 17] = [
        ("token_embd.weight", &[8, 5]),
        ("position_embd.weight", &[8, 6]),
        ("blk.0.attn_norm.weight", &[8]),
        ("blk.0.attn_norm.bias", &[8]),
        ("blk.0.attn_qkv.weight", &[8, 24]),
        ("blk.0.attn_qkv.bias", &[24]),
        ("blk.0.attn_output.weight", &[8, 8]),
        ("blk.0.attn_output.bias", &[8]),
        ("blk.0.ffn_norm.weight", &[8]),
        ("blk.0.ffn_norm.bias", &[8]),
        ("blk.0.ffn_up.weight", &[8, 32]),
        ("blk.0.ffn_up.bias", &[32]),
        ("blk.0.ffn_down.weight", &[32, 8]),
        ("blk.0.ffn_down.bias", &[8]),
        ("output_norm.weight", &[8]),
        ("output_norm.bias", &[8]),
        ("output.weight", &[8, 5]),
    ];

    /// Loads a tiny GPT-2 with these tensors, all zero.
    fn load<'a>(
        tensors: impl Iterator<Item = (&'a str, &'a [u64])>,
    ) -> Result<Weights<Range<usize>, usize>, Error> {
        let mut writer = Writer::default();
        writer.str("general.architecture", "gpt2");
        for (key, value) in [
            ("context_length", 6),
            ("embedding_length", 8),
            ("feed_forward_length", 32),
            ("block_count", 1),
            ("attention.head_count", 2),
        ] {
            writer.value(&format!("gpt2.{key}"), Value::U32(value));
        }
        writer.value("gpt2.attention.layer_norm_epsilon", Value::F32(1e-5));
        for (name, dims) in tensors {
            let n_bytes = 4 * dims.iter().product::<u64>() as usize;
            writer.tensor(name, dims, TensorType::F32, vec![0; n_bytes]);
        }
        let mut bytes = Vec::new();
        writer.write(&mut bytes).expect("writing to memory succeeds");
        let file = File::from_bytes(bytes).expect("the file is valid");
        Weights::load(&file, &ModelSpec::from_gguf(&file)?, &Lengths)
    }

    #[test]
    fn splits_fused_rows_into_queries_keys_values() {
        let weights = load(GPT2.into_iter()).expect("all tensors are present");
        let LayerWeights { q, k, v, gate, .. } = &weights.layers[0];
        for (linear, rows) in [(q, 0..8), (k, 8..16), (v, 16..24)] {
            assert_eq!((&linear.weight, linear.bias), (&rows, Some(8)));
        }
        assert!(gate.is_none());
        assert_eq!(weights.positions, Some(0..6));
    }

    #[test]
    fn names_missing_tensors() {
        // Biases of products and a separate head are optional.
        let needed = |name: &str| {
            let optional = name == "output.weight" || name.ends_with(".bias");
            !optional || name.contains("norm")
        };
        for (missing, _) in GPT2 {
            let result = load(GPT2.into_iter().filter(|(name, _)| *name != missing));
            match result.err() {
                Some(error @ Error::Gguf(_)) if needed(missing) => {
                    assert!(error.to_string().contains(missing), "{error}");
                }
                error => assert!(error.is_none() && !needed(missing), "{missing}: {error:?}"),
            }
        }
    }

    #[test]
    fn names_tensors_of_wrong_shape() {
        // The rows of the embedding define the vocabulary size, so another row there makes the head
        // wrong: skip it.
        for (wrong, dims) in GPT2.into_iter().skip(1) {
            let (last, first) = dims.split_last().expect("no tensor is a scalar");
            for last in [last - 1, last + 1] {
                let reshaped = [first, &[last]].concat();
                let with = |(name, dims)| (name, if name == wrong { &*reshaped } else { dims });
                let error = load(GPT2.into_iter().map(with)).err();
                let Some(Error::Damaged { what }) = error else { panic!("{wrong}: {error:?}") };
                assert!(what.contains(wrong), "{what}");
            }
        }
    }
}
