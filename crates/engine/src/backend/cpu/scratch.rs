//! One worker's own buffers.

use super::attention_buffers::AttentionScratch;
use super::matrix::Products;
use crate::quant::Activations;
use crate::{Error, ModelSpec};

/// The own buffers of one worker. They grow to the size that the model needs and are reused.
pub(crate) struct Scratch {
    pub(crate) activations: Activations,
    pub(crate) products: Products,
    pub(crate) attention: AttentionScratch,
}

impl Scratch {
    /// Buffers for a model of this shape.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn new(spec: &ModelSpec) -> Result<Self, Error> {
        Ok(Self {
            activations: Activations::new(0, 0),
            products: Products::default(),
            attention: AttentionScratch::new(spec)?,
        })
    }
}
