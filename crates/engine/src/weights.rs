//! A model's weights: which tensors a specification needs, and their shapes.
//!
//! Nothing is copied here: a backend decides what to do with each matrix (the `cpu` backend keeps
//! a position in the memory map). Vectors are small and always decoded to f32.

use lilims_gguf::{File, TensorInfo};

use crate::{Error, ModelSpec, quant};

/// Turns a file's tensors into what a backend multiplies with.
pub(crate) trait Upload {
    /// A matrix ready to use.
    type Matrix;
    /// A vector ready to use.
    type Vector;

    /// Takes the matrix `info`, whose `[columns, rows]` were checked.
    fn matrix(&self, file: &File, info: &TensorInfo) -> Result<Self::Matrix, Error>;
    /// Takes a vector.
    fn vector(&self, values: Vec<f32>) -> Result<Self::Vector, Error>;
}

/// A matrix and, in some families, a bias added to each product.
pub(crate) struct Linear<M, V> {
    pub(crate) weight: M,
    pub(crate) bias: Option<V>,
}

/// The weights of one layer.
pub(crate) struct LayerWeights<M, V> {
    pub(crate) attention_norm: V,
    pub(crate) q: Linear<M, V>,
    pub(crate) k: Linear<M, V>,
    pub(crate) v: Linear<M, V>,
    pub(crate) q_norm: Option<V>,
    pub(crate) k_norm: Option<V>,
    pub(crate) attention_out: Linear<M, V>,
    pub(crate) post_attention_norm: Option<V>,
    pub(crate) ffn_norm: V,
    pub(crate) gate: Linear<M, V>,
    pub(crate) up: Linear<M, V>,
    pub(crate) down: Linear<M, V>,
    pub(crate) post_ffn_norm: Option<V>,
}

/// The weights of a model.
pub(crate) struct Weights<M, V> {
    pub(crate) embedding: M,
    pub(crate) layers: Vec<LayerWeights<M, V>>,
    pub(crate) output_norm: V,
    /// The output head; `None` where the embedding serves.
    pub(crate) output: Option<Linear<M, V>>,
}

impl<M, V> Weights<M, V> {
    /// Finds every tensor that `spec` needs in `file` and checks its shape.
    pub(crate) fn load(
        file: &File,
        spec: &ModelSpec,
        upload: &impl Upload<Matrix = M, Vector = V>,
    ) -> Result<Self, Error> {
        let loader = Loader { file, upload };
        let output = match file.tensor("output.weight") {
            Ok(_) => Some(loader.linear("output", spec.d_model, spec.n_vocab)?),
            Err(_) => None,
        };
        Ok(Self {
            embedding: loader.matrix("token_embd.weight", spec.d_model, spec.n_vocab)?,
            layers: (0..spec.layers.len())
                .map(|layer_idx| layer(&loader, spec, layer_idx))
                .collect::<Result<_, _>>()?,
            output_norm: loader.vector("output_norm.weight", spec.d_model)?,
            output,
        })
    }
}

/// The factors that a file gives for each rotated pair's wavelength, if it has them.
pub(crate) fn rope_factors(file: &File, spec: &ModelSpec) -> Result<Option<Vec<f32>>, Error> {
    let name = "rope_freqs.weight";
    match file.tensor(name) {
        Ok(_) => read_vector(file, name, spec.rope_dim / 2).map(Some),
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
    let linear = |name: &str, columns, rows| {
        loader.linear(&format!("blk.{layer_idx}.{name}"), columns, rows)
    };
    let norm = |name: &str, len| loader.vector(&format!("blk.{layer_idx}.{name}.weight"), len);
    let norm_if = |wanted: bool, name: &str, len| wanted.then(|| norm(name, len)).transpose();
    Ok(LayerWeights {
        attention_norm: norm("attn_norm", d_model)?,
        q: linear("attn_q", d_model, q_dim)?,
        k: linear("attn_k", d_model, kv_dim)?,
        v: linear("attn_v", d_model, kv_dim)?,
        q_norm: norm_if(spec.head_norms, "attn_q_norm", head_dim)?,
        k_norm: norm_if(spec.head_norms, "attn_k_norm", head_dim)?,
        attention_out: linear("attn_output", q_dim, d_model)?,
        post_attention_norm: norm_if(spec.post_norms, "post_attention_norm", d_model)?,
        ffn_norm: norm("ffn_norm", d_model)?,
        gate: linear("ffn_gate", d_model, d_ff)?,
        up: linear("ffn_up", d_model, d_ff)?,
        down: linear("ffn_down", d_ff, d_model)?,
        post_ffn_norm: norm_if(spec.post_norms, "post_ffw_norm", d_model)?,
    })
}

struct Loader<'a, U> {
    file: &'a File,
    upload: &'a U,
}

impl<U: Upload> Loader<'_, U> {
    fn linear(
        &self,
        name: &str,
        columns: usize,
        rows: usize,
    ) -> Result<Linear<U::Matrix, U::Vector>, Error> {
        let bias_name = format!("{name}.bias");
        let bias = match self.file.tensor(&bias_name) {
            Ok(_) => Some(self.vector(&bias_name, rows)?),
            Err(_) => None,
        };
        Ok(Linear { weight: self.matrix(&format!("{name}.weight"), columns, rows)?, bias })
    }

    fn matrix(&self, name: &str, columns: usize, rows: usize) -> Result<U::Matrix, Error> {
        let info = self.file.tensor(name)?;
        expect_dims(info, &[columns, rows])?;
        if !quant::supported(info.tensor_type) {
            let what = format!("tensor `{name}` has type {}", info.tensor_type);
            return Err(Error::Unsupported { what: format!("{what}, which is not supported yet") });
        }
        self.upload.matrix(self.file, info)
    }

    fn vector(&self, name: &str, len: usize) -> Result<U::Vector, Error> {
        self.upload.vector(read_vector(self.file, name, len)?)
    }
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
    Err(Error::Damaged { what: format!("{what}, the metadata says {expected:?}") })
}
