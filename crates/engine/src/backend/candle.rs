//! The `candle` backend: the forward pass on candle tensors.
//!
//! On Apple systems with the feature `metal` it runs on the GPU; elsewhere on candle's CPU device,
//! which makes it an independent check of the `cpu` backend. It attends with plain matrix products:
//! candle's fused attention ignores its mask when decoding and lacks some head sizes.

mod cache;

use std::borrow::Cow;
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{D, DType, Device, Module, Tensor};
use lilims_gguf::{File, TensorInfo, TensorType};

use self::cache::{Kv, LayerCache};
use super::cpu::zeros;
use super::{Backend, Chunk, Runner, Slot, WantedLogits};
use crate::forward::forward;
use crate::importance::ImportanceMatrix;
use crate::observe::{self, ObservingBackend, SlotSquares};
use crate::rope::Rope;
use crate::spec::{Activation, RopeKind};
use crate::weights::{LayerWeights, Linear, Norm, Upload, Weights, rope_factors};
use crate::window::{Layout, Window};
use crate::{Error, KvType, ModelSpec, quant};

/// A model's weights on a candle device.
pub(crate) struct CandleModel {
    spec: ModelSpec,
    weights: Weights<QMatMul, Tensor>,
    rope: Rope,
    device: Device,
}

impl CandleModel {
    /// Copies the weights to the device, with the rope factors for sessions of `context` tokens.
    pub(crate) fn load(file: &File, spec: &ModelSpec, context: usize) -> Result<Self, Error> {
        let device = device();
        let weights = Weights::load(file, spec, &DeviceUpload { device: &device })?;
        let rope = Rope::new(spec, rope_factors(file, spec, context)?.as_deref());
        Ok(Self { spec: spec.clone(), weights, rope, device })
    }

    /// The name of the backend and its device, such as `candle (metal)`.
    pub(crate) fn describe(&self) -> String {
        let device = match self.device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        };
        format!("candle ({device})")
    }
}

/// Whether the system has a GPU that this build uses. Metal's is only asked for: nothing is opened or
/// compiled. CUDA's must be opened to know.
pub(crate) fn has_gpu() -> bool {
    #[cfg(feature = "metal")]
    if candle_metal_kernels::metal::Device::system_default().is_some() {
        return true;
    }
    cfg!(feature = "cuda") && !matches!(device(), Device::Cpu)
}

/// Returns the working set size that Metal recommends and how much of it is allocated, in bytes;
/// `None` if there is no Metal. Opens nothing.
#[cfg(feature = "metal")]
pub(crate) fn working_set_bytes() -> Option<(u64, u64)> {
    let metal = candle_metal_kernels::metal::Device::system_default()?;
    let recommended = metal.recommended_max_working_set_size();
    Some((recommended as u64, metal.current_allocated_size() as u64))
}

/// The best device that starts, opened once.
fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(open_device).clone()
}

fn open_device() -> Device {
    #[cfg(feature = "metal")]
    if let Ok(device) = Device::new_metal(0) {
        return device;
    }
    #[cfg(feature = "cuda")]
    if let Ok(device) = Device::new_cuda(0) {
        return device;
    }
    Device::Cpu
}

struct DeviceUpload<'a> {
    device: &'a Device,
}

impl Upload for DeviceUpload<'_> {
    type Matrix = QMatMul;
    type Vector = Tensor;

    fn matrix(&self, file: &File, info: &TensorInfo, rows: Range<usize>) -> Result<QMatMul, Error> {
        let columns = info.dims[0] as usize;
        let data = file.data(info)?;
        let row_bytes = data.len() / info.dims[1] as usize;
        let data = &data[rows.start * row_bytes..rows.end * row_bytes];
        let rows = rows.len();
        let Some(dtype) = candle_dtype(info.tensor_type) else {
            let mut values = zeros(columns * rows)?;
            quant::dequantize(info.tensor_type, data, &mut values)?;
            return Ok(QMatMul::Tensor(Tensor::from_vec(values, (rows, columns), self.device)?));
        };
        // candle reads blocks through typed pointers, which the alignment of the file may not
        // satisfy.
        let data = match data.as_ptr().align_offset(size_of::<u64>()) {
            0 => Cow::Borrowed(data),
            _ => Cow::Owned(data.to_vec()),
        };
        let storage = QStorage::from_data(data, self.device, dtype)?;
        Ok(QMatMul::from_qtensor(QTensor::new(storage, (rows, columns))?)?)
    }

    fn vector(&self, values: Vec<f32>) -> Result<Tensor, Error> {
        let len = values.len();
        Ok(Tensor::from_vec(values, len, self.device)?)
    }
}

/// The candle type of blocks that candle can multiply by, if there is one.
pub(crate) fn candle_dtype(tensor_type: TensorType) -> Option<GgmlDType> {
    Some(match tensor_type {
        TensorType::F32 => GgmlDType::F32,
        TensorType::F16 => GgmlDType::F16,
        TensorType::BF16 => GgmlDType::BF16,
        TensorType::Q4_0 => GgmlDType::Q4_0,
        TensorType::Q4_1 => GgmlDType::Q4_1,
        TensorType::Q5_0 => GgmlDType::Q5_0,
        TensorType::Q5_1 => GgmlDType::Q5_1,
        TensorType::Q8_0 => GgmlDType::Q8_0,
        TensorType::Q2_K => GgmlDType::Q2K,
        TensorType::Q3_K => GgmlDType::Q3K,
        TensorType::Q4_K => GgmlDType::Q4K,
        TensorType::Q5_K => GgmlDType::Q5K,
        TensorType::Q6_K => GgmlDType::Q6K,
        _ => return None,
    })
}

/// A model with the cache of one session.
pub(crate) struct CandleRunner {
    model: Arc<CandleModel>,
    cache: Vec<LayerCache>,
    layouts: Vec<Layout>,
}

impl CandleRunner {
    /// An empty cache for a session of `context` tokens.
    pub(crate) fn new(
        model: Arc<CandleModel>,
        context: usize,
        kv_type: KvType,
    ) -> Result<Self, Error> {
        let layouts: Vec<_> = model.spec.layouts(context).collect();
        // candle aborts when an allocation fails: reserve the whole size first.
        let bytes = model.spec.cache_bytes(context, kv_type)?;
        let len = usize::try_from(bytes).unwrap_or(usize::MAX);
        Vec::<u8>::new().try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes })?;
        let cache = layouts
            .iter()
            .map(|layout| LayerCache::new(&model.spec, layout.n_slots, kv_type, &model.device))
            .collect::<Result<_, Error>>()?;
        Ok(Self { model, cache, layouts })
    }

    /// Prepares a pass over the chunk.
    fn pass<'a>(&'a self, model: &'a CandleModel, chunk: &Chunk<'a>) -> Result<Pass<'a>, Error> {
        let positions = chunk.position..chunk.position + chunk.tokens.len();
        let global = Layout::new(None, chunk.window.context);
        let angles_at_sinks = if chunk.window.has_slid(global, positions.end - 1) {
            let at_sinks = positions.clone().map(|at| chunk.window.sink_position(global, at));
            angles(model, at_sinks)?
        } else {
            Vec::new()
        };
        Ok(Pass {
            model,
            cache: &self.cache,
            layouts: &self.layouts,
            ids: Tensor::new(chunk.tokens, &model.device)?,
            n_tokens: chunk.tokens.len(),
            chunk: *chunk,
            angles_at_sinks,
            angles: angles(model, positions)?,
            slots: Default::default(),
        })
    }
}

impl Runner for CandleRunner {
    fn run(&mut self, chunk: &Chunk<'_>, logits: &mut Vec<f32>) -> Result<(), Error> {
        let model = Arc::clone(&self.model);
        let mut pass = self.pass(&model, chunk)?;
        forward(&mut pass, &model.spec, &model.weights, chunk.want)?;
        if chunk.want != WantedLogits::None {
            logits.extend(pass.slot(Slot::Logits).flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }

    fn observe(
        &mut self,
        chunk: &Chunk<'_>,
        importance: &mut ImportanceMatrix,
    ) -> Result<(), Error> {
        let model = Arc::clone(&self.model);
        let pass = self.pass(&model, chunk)?;
        let mut observed = ObservingBackend::new(pass, Some(&mut *importance));
        forward(&mut observed, &model.spec, &model.weights, chunk.want)?;
        importance.n_tokens += chunk.tokens.len() as u64;
        Ok(())
    }

    /// Always false: checking would need a read from the device for each chunk.
    fn has_clamped(&self) -> bool {
        false
    }

    /// Products of several rows are not bit-identical to those of single rows.
    fn max_exact(&self) -> usize {
        1
    }

    fn fork(&self, _window: &Window, _len: usize) -> Result<Box<dyn Runner>, Error> {
        let copies = self.cache.iter().map(LayerCache::copy);
        let cache = copies.collect::<Result<_, Error>>()?;
        let layouts = self.layouts.clone();
        Ok(Box::new(Self { model: Arc::clone(&self.model), cache, layouts }))
    }

    fn save(&self, window: &Window, len: usize, to: &mut dyn Write) -> Result<(), Error> {
        for (cache, layout) in self.cache.iter().zip(&self.layouts) {
            layout.kept_slots(window, len).try_for_each(|slots| cache.save(slots, to))?;
        }
        Ok(())
    }

    fn load(&mut self, window: &Window, len: usize, from: &mut dyn Read) -> Result<(), Error> {
        for (cache, layout) in self.cache.iter().zip(&self.layouts) {
            layout.kept_slots(window, len).try_for_each(|slots| cache.load(slots, from))?;
        }
        Ok(())
    }
}

/// Cosines and sines. `[tokens, rope_dim / 2]` each
type Angles = (Tensor, Tensor);

/// The rope angles of each of the model's rotations.
fn angles(
    model: &CandleModel,
    positions: impl ExactSizeIterator<Item = usize> + Clone,
) -> Result<Vec<Angles>, Error> {
    let shape = (positions.len(), model.spec.rope_dim / 2);
    (0..model.spec.ropes.len())
        .map(|rope_idx| {
            let (cos, sin): (Vec<f32>, Vec<f32>) = positions
                .clone()
                .flat_map(|position| model.rope.angles(rope_idx, position))
                .unzip();
            let upload = |values| Tensor::from_vec(values, shape, &model.device);
            Ok((upload(cos)?, upload(sin)?))
        })
        .collect()
}

/// One forward pass over a chunk of tokens.
struct Pass<'a> {
    model: &'a CandleModel,
    cache: &'a [LayerCache],
    layouts: &'a [Layout],
    ids: Tensor,
    n_tokens: usize,
    chunk: Chunk<'a>,
    angles: Vec<Angles>,
    /// Query angles relative to the sinks; empty until the window has slid.
    angles_at_sinks: Vec<Angles>,
    slots: [Option<Tensor>; Slot::COUNT],
}

impl Pass<'_> {
    fn slot(&self, slot: Slot) -> &Tensor {
        self.slots[slot as usize].as_ref().expect("the forward pass writes a slot before reading")
    }

    fn set(&mut self, slot: Slot, value: Tensor) {
        self.slots[slot as usize] = Some(value);
    }

    /// Splits a slot into heads and applies the head norm, if any. `[heads, tokens, head_dim]`
    fn heads(&self, slot: Slot, n_heads: usize, norm: Option<&Tensor>) -> Result<Tensor, Error> {
        let spec = &self.model.spec;
        let mut heads = self.slot(slot).reshape((self.n_tokens, n_heads, spec.head_dim))?;
        if let Some(weight) = norm {
            heads = rms_norm(&heads, weight, spec.eps)?;
        }
        Ok(heads.transpose(0, 1)?.contiguous()?)
    }

    /// Rotates the first `rope_dim` dimensions of each head; without angles returns the heads as
    /// they are.
    fn rotate(&self, heads: &Tensor, angles: Option<&Angles>) -> Result<Tensor, Error> {
        let spec = &self.model.spec;
        let Some((cos, sin)) = angles else { return Ok(heads.clone()) };
        let half = spec.rope_dim / 2;
        let rotated = heads.narrow(D::Minus1, 0, spec.rope_dim)?;
        let rotated = match spec.rope_kind {
            RopeKind::Halves => {
                let (a, b) =
                    (rotated.narrow(D::Minus1, 0, half)?, rotated.narrow(D::Minus1, half, half)?);
                let (a, b) = rotate_pairs(&a, &b, cos, sin)?;
                Tensor::cat(&[a, b], D::Minus1)?
            }
            RopeKind::Interleaved => {
                let (n_heads, n_tokens, _) = rotated.dims3()?;
                let pairs = rotated.contiguous()?.reshape((n_heads, n_tokens, half, 2))?;
                let (a, b) = (pairs.narrow(D::Minus1, 0, 1)?, pairs.narrow(D::Minus1, 1, 1)?);
                let (a, b) =
                    rotate_pairs(&a.squeeze(D::Minus1)?, &b.squeeze(D::Minus1)?, cos, sin)?;
                Tensor::stack(&[a, b], D::Minus1)?.reshape((n_heads, n_tokens, spec.rope_dim))?
            }
        };
        if spec.rope_dim == spec.head_dim {
            return Ok(rotated);
        }
        let rest = heads.narrow(D::Minus1, spec.rope_dim, spec.head_dim - spec.rope_dim)?;
        Ok(Tensor::cat(&[rotated, rest], D::Minus1)?)
    }

    /// The attention mask, 0 or −∞: columns are the sinks, then the other keys. `[tokens, keys]`
    fn mask(
        &self,
        layout: Layout,
        sinks: Range<usize>,
        keys: Range<usize>,
    ) -> Result<Tensor, Error> {
        let n_keys = sinks.len() + keys.len();
        let values: Vec<f32> = (self.chunk.position..self.chunk.position + self.n_tokens)
            .flat_map(|query| {
                let visible = layout.visible(&self.chunk.window, query);
                let sinks = sinks.clone().map(move |sink| sink <= query);
                sinks.chain(keys.clone().map(move |key| visible.contains(&key)))
            })
            .map(|sees| if sees { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        Ok(Tensor::from_vec(values, (self.n_tokens, n_keys), &self.model.device)?)
    }

    /// Attention scores. *Shapes*: `q` `[n_heads, tokens, head_dim]`, `keys` `[n_kv_heads, keys,
    /// head_dim]`, the result `[n_kv_heads, group · tokens, keys]`.
    fn scores(&self, q: &Tensor, angles: Option<&Angles>, keys: &Tensor) -> Result<Tensor, Error> {
        let spec = &self.model.spec;
        // Query heads that share a key head are adjacent: one product serves the group.
        let rows = spec.n_heads / spec.n_kv_heads * self.n_tokens;
        let q = self.rotate(q, angles)?.reshape((spec.n_kv_heads, rows, spec.head_dim))?;
        let scores = (q.matmul(&keys.t()?)? * f64::from(spec.attention_scale))?;
        soft_cap(scores, spec.attention_soft_cap)
    }
}

fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor, Error> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    let scale = (mean_square + f64::from(eps))?.sqrt()?.recip()?;
    Ok(x.broadcast_mul(&scale)?.broadcast_mul(weight)?)
}

fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor, Error> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    Ok(rms_norm(&centered, weight, eps)?.broadcast_add(bias)?)
}

/// Rotates each pair `(a, b)` by its angle.
fn rotate_pairs(
    a: &Tensor,
    b: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
) -> Result<(Tensor, Tensor), Error> {
    let rotated_a = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let rotated_b = (a.broadcast_mul(sin)? + b.broadcast_mul(cos)?)?;
    Ok((rotated_a, rotated_b))
}

fn soft_cap(x: Tensor, cap: Option<f32>) -> Result<Tensor, Error> {
    match cap.map(f64::from) {
        Some(cap) => Ok(((x / cap)?.tanh()? * cap)?),
        None => Ok(x),
    }
}

fn softmax(scores: &Tensor) -> Result<Tensor, Error> {
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    Ok(weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?)
}

fn apply(linear: &Linear<QMatMul, Tensor>, x: &Tensor) -> Result<Tensor, Error> {
    let y = linear.weight.forward(x)?;
    match &linear.bias {
        Some(bias) => Ok(y.broadcast_add(bias)?),
        None => Ok(y),
    }
}

impl Backend for Pass<'_> {
    type Matrix = QMatMul;
    type Vector = Tensor;

    fn embed(&mut self, embedding: &QMatMul, positions: Option<&QMatMul>) -> Result<(), Error> {
        let rows = |matrix: &QMatMul, ids: &Tensor| matrix.embedding(ids)?.to_dtype(DType::F32);
        let scale = f64::from(self.model.spec.embedding_scale);
        let mut embedded = (rows(embedding, &self.ids)? * scale)?;
        if let Some(positions) = positions {
            let range = self.chunk.position as u32..(self.chunk.position + self.n_tokens) as u32;
            let ids = Tensor::arange(range.start, range.end, &self.model.device)?;
            embedded = (embedded + rows(positions, &ids)?)?;
        }
        self.set(Slot::Residual, embedded);
        Ok(())
    }

    fn norm(&mut self, from: Slot, norm: &Norm<Tensor>, to: Slot) -> Result<(), Error> {
        let (x, eps) = (self.slot(from), self.model.spec.eps);
        let normed = match norm {
            Norm::Rms { weight } => rms_norm(x, weight, eps)?,
            Norm::Layer { weight, bias } => layer_norm(x, weight, bias, eps)?,
        };
        self.set(to, normed);
        Ok(())
    }

    fn linear(
        &mut self,
        from: Slot,
        projections: &[(&Linear<QMatMul, Tensor>, Slot)],
    ) -> Result<(), Error> {
        for (linear, to) in projections {
            let y = apply(linear, self.slot(from))?;
            self.set(*to, y);
        }
        Ok(())
    }

    fn attend(
        &mut self,
        layer_idx: usize,
        layer: &LayerWeights<QMatMul, Tensor>,
    ) -> Result<(), Error> {
        if self.chunk.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let model = self.model;
        let (spec, cache, layout) = (&model.spec, &self.cache[layer_idx], self.layouts[layer_idx]);
        let (window, position) = (&self.chunk.window, self.chunk.position);
        let rope_idx = spec.layers[layer_idx].rope_idx;
        let angles = self.angles.get(rope_idx);
        let (n_heads, n_kv_heads) = (spec.n_heads, spec.n_kv_heads);
        let q = self.heads(Slot::Query, n_heads, layer.q_norm.as_ref())?;
        let k = self.heads(Slot::Key, n_kv_heads, layer.k_norm.as_ref())?;
        let (k, v) = (self.rotate(&k, angles)?, self.heads(Slot::Value, n_kv_heads, None)?);
        let end = position + self.n_tokens;
        let mut stored = 0;
        for slots in layout.slots(window, position..end) {
            cache.store(slots.start, &k.narrow(1, stored, slots.len())?, Kv::Keys)?;
            cache.store(slots.start, &v.narrow(1, stored, slots.len())?, Kv::Values)?;
            stored += slots.len();
        }

        let has_separate_sinks = window.has_slid(layout, end - 1);
        let n_sinks = if has_separate_sinks { window.n_sinks.min(end) } else { 0 };
        let keys = layout.visible(window, position).start.max(n_sinks).min(end)..end;
        let rows = |kv, positions: Range<usize>| {
            let parts = layout.slots(window, positions).map(|slots| cache.rows(slots, kv));
            Ok::<_, Error>(Tensor::cat(&parts.collect::<Result<Vec<_>, Error>>()?, 1)?)
        };
        let parts = [(0..n_sinks, self.angles_at_sinks.get(rope_idx)), (keys.clone(), angles)];
        let (mut scores, mut values) = (Vec::new(), Vec::new());
        for (positions, angles) in parts.into_iter().filter(|(positions, _)| !positions.is_empty())
        {
            scores.push(self.scores(&q, angles, &rows(Kv::Keys, positions.clone())?)?);
            values.push(rows(Kv::Values, positions)?);
        }
        let (mut scores, values) = (Tensor::cat(&scores, 2)?, Tensor::cat(&values, 1)?);
        let n_keys = n_sinks + keys.len();
        if self.n_tokens > 1 {
            let mask = self.mask(layout, 0..n_sinks, keys)?;
            scores = scores
                .reshape((n_heads, self.n_tokens, n_keys))?
                .broadcast_add(&mask)?
                .reshape((n_kv_heads, n_heads / n_kv_heads * self.n_tokens, n_keys))?;
        }
        let attended = softmax(&scores)?
            .matmul(&values)?
            .reshape((n_heads, self.n_tokens, spec.head_dim))?
            .transpose(0, 1)?
            .reshape((self.n_tokens, n_heads * spec.head_dim))?;
        self.set(Slot::Attended, attended);
        Ok(())
    }

    fn gate(
        &mut self,
        gate: &Linear<QMatMul, Tensor>,
        up: &Linear<QMatMul, Tensor>,
        activation: Activation,
    ) -> Result<(), Error> {
        let x = self.slot(Slot::Normed);
        let (gate, up) = (apply(gate, x)?, apply(up, x)?);
        let gate = match activation {
            Activation::Silu => gate.silu()?,
            Activation::Gelu => gate.gelu()?,
        };
        self.set(Slot::Gated, (gate * up)?);
        Ok(())
    }

    fn gelu(&mut self, up: &Linear<QMatMul, Tensor>) -> Result<(), Error> {
        let up = apply(up, self.slot(Slot::Normed))?;
        self.set(Slot::Gated, up.gelu()?);
        Ok(())
    }

    fn add(&mut self, from: Slot) -> Result<(), Error> {
        let sum = (self.slot(Slot::Residual) + self.slot(from))?;
        self.set(Slot::Residual, sum);
        Ok(())
    }

    fn keep_last(&mut self) -> Result<(), Error> {
        let last = self.slot(Slot::Residual).narrow(0, self.n_tokens - 1, 1)?.contiguous()?;
        self.set(Slot::Residual, last);
        Ok(())
    }

    fn head(
        &mut self,
        head: Option<&Linear<QMatMul, Tensor>>,
        embedding: &QMatMul,
        cap: Option<f32>,
    ) -> Result<(), Error> {
        let x = self.slot(Slot::Normed);
        let logits = match head {
            Some(head) => apply(head, x)?,
            None => embedding.forward(x)?,
        };
        // candle's products of quantised weights drop NaN: `x * 0` carries it into the logits.
        let fault = (x * 0.0)?.sum_keepdim(D::Minus1)?;
        self.set(Slot::Logits, soft_cap(logits, cap)?.broadcast_add(&fault)?);
        Ok(())
    }
}

impl SlotSquares for Pass<'_> {
    fn add_squares(&mut self, slot: Slot, sums: &mut [f64]) -> Result<(), Error> {
        let rows: Vec<f32> = self.slot(slot).flatten_all()?.to_vec1()?;
        observe::add_squares(&rows, sums);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::ggml_file::qtensor_from_ggml;

    use super::*;

    #[test]
    fn decodes_every_type_as_candle_does() {
        const N_VALUES: usize = 256 * 24;
        let mut state = 1_u64;
        for ty in (0..40).map(TensorType::from_id).filter(|&ty| quant::supported(ty)) {
            // candle has no `IQ4_NL`.
            let Some(dtype) = candle_dtype(ty) else { continue };
            let n_bytes = ty.size_bytes(N_VALUES as u64).unwrap() as usize;
            let bytes: Vec<u8> = (0..n_bytes)
                .map(|_| {
                    state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    let byte = (state >> 56) as u8;
                    // Without this exponent neither an f16 nor a wider float is infinite.
                    if byte & 0x7c == 0x7c { byte ^ 0x40 } else { byte }
                })
                .collect();
            let device = Device::Cpu;
            let tensor = qtensor_from_ggml(dtype, &bytes, vec![N_VALUES], &device).unwrap();
            let expected: Vec<f32> = tensor.dequantize(&device).unwrap().to_vec1().unwrap();
            let mut got = vec![0.0; N_VALUES];
            quant::dequantize(ty, &bytes, &mut got).unwrap();
            assert_eq!(got, expected, "{ty}");
        }
    }
}
