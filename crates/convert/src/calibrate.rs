//! Which columns of a matrix matter: measured by running the model on a text.
//!
//! An importance matrix, as llama.cpp's `llama-imatrix` computes it: for each column of each matrix the
//! mean square of the activations that it is multiplied with. The head is not among them: it keeps more
//! bits in every mix.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_engine::importance::LayerImportance;
use lilims_engine::{ImportanceMatrix, Model};

use crate::Error;

/// Tokens that are read in one go, where the model was made for as many; what a chat's turns are like.
pub(crate) const CONTEXT: usize = 512;

/// Tokens that the model reads in one go.
pub(crate) fn context(model: &Model) -> usize {
    CONTEXT.min(model.context()).min(model.spec().context)
}

/// The importance of each matrix' columns, by the matrix' name in GGUF; `on_progress` gets the tokens
/// that were read and those in all.
///
/// *Errors*: [`Error::EmptyText`], [`Error::Cancelled`], [`Error::Run`].
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
    let mut squares = ImportanceMatrix::new(model.spec());
    let of_chunk = (context(model) - usize::from(bos.is_some())).max(1);
    for (idx, chunk) in ids.chunks(of_chunk).enumerate() {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        on_progress(idx * of_chunk, ids.len());
        session.truncate(0);
        let tokens: Vec<u32> = bos.iter().chain(chunk).copied().collect();
        session.observe(&tokens, &mut squares)?;
    }
    on_progress(ids.len(), ids.len());
    Ok(importance(&squares))
}

fn importance(squares: &ImportanceMatrix) -> HashMap<String, Vec<f32>> {
    let mean = |sums: &[f64]| -> Vec<f32> {
        sums.iter().map(|sum| (sum / squares.n_tokens as f64) as f32).collect()
    };
    let of_layer = |(layer_idx, layer): (usize, &LayerImportance)| {
        let read_by = [
            (&layer.attention, &["attn_q", "attn_k", "attn_v", "attn_qkv"][..]),
            (&layer.attention_out, &["attn_output"]),
            (&layer.ffn, &["ffn_gate", "ffn_up"]),
            (&layer.down, &["ffn_down"]),
        ];
        let named = read_by.map(|(sums, names)| {
            let mean = mean(sums);
            let full = |name: &&str| format!("blk.{layer_idx}.{name}.weight");
            names.iter().map(full).map(|name| (name, mean.clone())).collect::<Vec<_>>()
        });
        named.into_iter().flatten()
    };
    squares.layers.iter().enumerate().flat_map(of_layer).collect()
}
