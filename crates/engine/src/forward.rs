//! The forward pass: one program for every family and backend.

use crate::backend::{Backend, Slot, Want};
use crate::weights::{Norm, Weights};
use crate::{Error, ModelSpec};

/// Runs the tokens of the backend's current chunk through the model.
///
/// Pre-norm transformer: each layer adds attention and a feed-forward, gated in most families, to
/// the residual stream. What differs between families is in `spec` and in which weights there are.
pub(crate) fn forward<B: Backend>(
    backend: &mut B,
    spec: &ModelSpec,
    weights: &Weights<B::Matrix, B::Vector>,
    want: Want,
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

        // Without a norm of its own the feed-forward reads attention's, which is still there.
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
    match want {
        Want::Nothing => return Ok(()),
        Want::Last => backend.keep_last()?,
        Want::All => {}
    }
    backend.norm(Slot::Residual, &weights.output_norm, Slot::Normed)?;
    backend.head(weights.output.as_ref(), &weights.embedding, spec.logit_soft_cap)
}

/// Adds the projection to the residual stream, after a norm where the family has one.
fn add<B: Backend>(backend: &mut B, post_norm: Option<&Norm<B::Vector>>) -> Result<(), Error> {
    match post_norm {
        Some(norm) => {
            backend.norm(Slot::Projected, norm, Slot::Normed)?;
            backend.add(Slot::Normed)
        }
        None => backend.add(Slot::Projected),
    }
}
