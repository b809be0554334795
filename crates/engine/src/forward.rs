//! The forward pass: one program for all families and backends.

use crate::backend::{Backend, Slot, WantedLogits};
use crate::weights::{Norm, Weights};
use crate::{Error, ModelSpec};

/// Runs the tokens of the backend's current chunk through the model.
///
/// A pre-norm transformer: each layer adds attention and a feed-forward layer, gated in most
/// families, to the residual stream. Families differ only in `spec` and in which weights exist.
pub(crate) fn forward<B: Backend>(
    backend: &mut B,
    spec: &ModelSpec,
    weights: &Weights<B::Matrix, B::Vector>,
    wanted: WantedLogits,
) -> Result<(), Error> {
    backend.embed(&weights.embedding, weights.positions.as_ref())?;
    for (layer_idx, layer) in weights.layers.iter().enumerate() {
        backend.norm(Slot::Residual, &layer.attention_norm, Slot::Normed)?;
        backend.linear(
            Slot::Normed,
            &[(&layer.q, Slot::Query), (&layer.k, Slot::Key), (&layer.v, Slot::Value)],
        )?;
        backend.attend(layer_idx, layer)?;
        backend.linear(Slot::Attended, &[(&layer.attention_out, Slot::Projected)])?;
        add(backend, layer.post_attention_norm.as_ref())?;

        // Without its own norm (parallel residual) the feed-forward layer reads the norm of
        // attention, which is still in `Normed`.
        if let Some(norm) = &layer.ffn_norm {
            backend.norm(Slot::Residual, norm, Slot::Normed)?;
        }
        match layer.gate.as_ref().zip(spec.gate) {
            Some((gate, activation)) => backend.gate(gate, &layer.up, activation)?,
            None => backend.gelu(&layer.up)?,
        }
        backend.linear(Slot::Gated, &[(&layer.down, Slot::Projected)])?;
        add(backend, layer.post_ffn_norm.as_ref())?;
    }
    match wanted {
        WantedLogits::None => return Ok(()),
        WantedLogits::Last => backend.keep_last()?,
        WantedLogits::All => {}
    }
    backend.norm(Slot::Residual, &weights.output_norm, Slot::Normed)?;
    backend.head(weights.output.as_ref(), &weights.embedding, spec.logit_soft_cap)
}

/// Adds the projection to the residual stream, after a post-norm if the family has one.
fn add<B: Backend>(backend: &mut B, post_norm: Option<&Norm<B::Vector>>) -> Result<(), Error> {
    match post_norm {
        Some(norm) => {
            backend.norm(Slot::Projected, norm, Slot::Normed)?;
            backend.add(Slot::Normed)
        }
        None => backend.add(Slot::Projected),
    }
}
