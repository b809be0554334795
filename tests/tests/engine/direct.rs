//! A direct Llama implementation in f64 without a cache, the reference for the engine's ring and
//! sinks.
//!
//! Each token attends to given earlier tokens at positions 0, 1, 2, … (StreamingLLM's positions in
//! the cache). Keys are rotated again for each token.

use std::path::Path;

use lilims_gguf::File;

/// Sizes of the tiny checkpoint that its tensors do not determine.
const HEAD_DIM: usize = 16;
const EPS: f64 = 1e-6;
const ROPE_BASE: f64 = 10_000.0;

/// A file's tensors in f64.
struct Tensors(File);

impl Tensors {
    fn get(&self, name: &str) -> Vec<f64> {
        let data = self.0.data(self.0.tensor(name).unwrap()).unwrap();
        data.as_chunks::<4>().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()
    }

    fn layer(&self, layer: usize, name: &str) -> Vec<f64> {
        self.get(&format!("blk.{layer}.{name}.weight"))
    }
}

/// The logits of `ids`: `[ids, n_vocab]`. `seen` returns the tokens that a token attends to in a
/// layer, itself last.
pub(crate) fn logits(
    path: &Path,
    ids: &[u32],
    seen: impl Fn(usize, usize) -> Vec<usize>,
) -> Vec<f32> {
    let tensors = Tensors(File::open(path).unwrap());
    let embedding = tensors.get("token_embd.weight");
    let final_norm = tensors.get("output_norm.weight");
    let d_model = final_norm.len();
    let mut stream: Vec<Vec<f64>> =
        ids.iter().map(|&id| embedding[id as usize * d_model..][..d_model].to_vec()).collect();
    let n_layers = tensors.0.metadata().u64("llama.block_count").unwrap() as usize;
    for layer in 0..n_layers {
        let weight = |name| tensors.layer(layer, name);
        let norm = weight("attn_norm");
        let [q, k, v] = ["attn_q", "attn_k", "attn_v"].map(weight);
        let normed: Vec<_> = stream.iter().map(|x| rms_norm(x, &norm)).collect();
        let project = |weight: &[f64]| -> Vec<Vec<f64>> {
            normed.iter().map(|x| multiply(weight, x)).collect()
        };
        let (q, k, v) = (project(&q), project(&k), project(&v));
        let out = weight("attn_output");
        let [ffn_norm, gate, up, down] = ["ffn_norm", "ffn_gate", "ffn_up", "ffn_down"].map(weight);
        for (idx, x) in stream.iter_mut().enumerate() {
            let attended = attend(&q[idx], &k, &v, &seen(layer, idx));
            add(x, &multiply(&out, &attended));
            let normed = rms_norm(x, &ffn_norm);
            let mut gated = multiply(&gate, &normed);
            for (gate, up) in gated.iter_mut().zip(multiply(&up, &normed)) {
                *gate *= up / (1.0 + (-*gate).exp());
            }
            add(x, &multiply(&down, &gated));
        }
    }
    let rows = stream.iter().flat_map(|x| multiply(&embedding, &rms_norm(x, &final_norm)));
    rows.map(|logit| logit as f32).collect()
}

fn attend(q: &[f64], k: &[Vec<f64>], v: &[Vec<f64>], seen: &[usize]) -> Vec<f64> {
    let group = q.len() / k[0].len();
    let heads = q.chunks_exact(HEAD_DIM).enumerate().flat_map(|(head, q)| {
        let columns = head / group * HEAD_DIM..(head / group + 1) * HEAD_DIM;
        let q = rotate(q, seen.len() - 1);
        let scores: Vec<f64> = seen
            .iter()
            .enumerate()
            .map(|(position, &key)| {
                let key = rotate(&k[key][columns.clone()], position);
                (dot(&q, &key) / (HEAD_DIM as f64).sqrt()).exp()
            })
            .collect();
        let total: f64 = scores.iter().sum();
        let mut out = vec![0.0; HEAD_DIM];
        for (score, &key) in scores.iter().zip(seen) {
            for (out, value) in out.iter_mut().zip(&v[key][columns.clone()]) {
                *out += score / total * value;
            }
        }
        out
    });
    heads.collect()
}

/// Applies RoPE to pairs of adjacent elements, as in Llama's files.
fn rotate(x: &[f64], position: usize) -> Vec<f64> {
    let pairs = x.as_chunks::<2>().0.iter().enumerate();
    let turned = pairs.flat_map(|(pair, [a, b])| {
        let step = ROPE_BASE.powf(-2.0 * pair as f64 / HEAD_DIM as f64);
        let (sin, cos) = (step * position as f64).sin_cos();
        [a * cos - b * sin, a * sin + b * cos]
    });
    turned.collect()
}

fn rms_norm(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let scale = 1.0 / (dot(x, x) / x.len() as f64 + EPS).sqrt();
    x.iter().zip(weight).map(|(x, weight)| x * scale * weight).collect()
}

fn multiply(weight: &[f64], x: &[f64]) -> Vec<f64> {
    weight.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}
