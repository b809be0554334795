//! Measures the importance of each matrix's columns by running the model on a text.
//!
//! This is the importance matrix of llama.cpp's `llama-imatrix`: for each column of each matrix,
//! the mean square of the activations that it is multiplied with. The output head is left out,
//! since every mix gives it more bits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_engine::observe::LayerSquares;
use lilims_engine::{InputSquares, Model};

use crate::Error;

/// The most tokens that the model reads at a time, like a turn of a chat.
pub(crate) const CONTEXT: usize = 512;

/// The number of tokens that the model reads at a time.
pub(crate) fn context(model: &Model) -> usize {
    CONTEXT.min(model.context()).min(model.spec().context)
}

/// Measures the importance of each matrix's columns, by the matrix's name in GGUF. `on_progress` is
/// called with the number of tokens read so far and that of all tokens.
///
/// # Errors
///
/// [`Error::EmptyText`], [`Error::Cancelled`], [`Error::Run`].
pub(crate) fn calibrate(
    model: &Arc<Model>,
    text: &str,
    cancel: &AtomicBool,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<HashMap<String, Vec<f32>>, Error> {
    let tokenizer = model.tokenizer();
    let ids = tokenizer.encode_prompt(text, false)?;
    if ids.is_empty() {
        return Err(Error::EmptyText);
    }
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let mut session = model.session()?;
    let mut squares = InputSquares::new(model.spec());
    let chunk_len = (context(model) - usize::from(bos.is_some())).max(1);
    for (idx, chunk) in ids.chunks(chunk_len).enumerate() {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        on_progress(idx * chunk_len, ids.len());
        session.truncate(0);
        let tokens: Vec<u32> = bos.iter().chain(chunk).copied().collect();
        session.observe(&tokens, &mut squares)?;
    }
    on_progress(ids.len(), ids.len());
    Ok(importance(&squares))
}

fn importance(squares: &InputSquares) -> HashMap<String, Vec<f32>> {
    let mean = |sums: &[f64]| -> Vec<f32> {
        sums.iter().map(|sum| (sum / squares.n_tokens as f64) as f32).collect()
    };
    let of_layer = |(layer_idx, layer): (usize, &LayerSquares)| {
        let inputs = [
            (&layer.attention, &["attn_q", "attn_k", "attn_v", "attn_qkv"][..]),
            (&layer.attention_out, &["attn_output"]),
            (&layer.ffn, &["ffn_gate", "ffn_up"]),
            (&layer.down, &["ffn_down"]),
        ];
        let named = inputs.map(|(sums, names)| {
            let mean = mean(sums);
            let full = |name: &&str| format!("blk.{layer_idx}.{name}.weight");
            names.iter().map(full).map(|name| (name, mean.clone())).collect::<Vec<_>>()
        });
        named.into_iter().flatten()
    };
    squares.layers.iter().enumerate().flat_map(of_layer).collect()
}
