//! How to load a model: backend, threads, context and cache type.

use crate::KvType;
use crate::backend::candle;

/// Which implementation runs the forward pass.
///
/// The default is candle if a GPU is built in and starts, else our own kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// Our own CPU kernels.
    Cpu,
    /// candle: Metal or CUDA if built in and available, else its CPU device.
    Candle,
}

impl Default for BackendKind {
    fn default() -> Self {
        if candle::has_gpu() { Self::Candle } else { Self::Cpu }
    }
}

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The backend.
    pub backend: BackendKind,
    /// Worker threads of the `cpu` backend; `None` uses one per performance core.
    pub threads: Option<usize>,
    /// The context length in tokens; `None` uses the length that the model was trained for, at most
    /// 8,192. Models with learned positions cannot exceed it.
    pub context: Option<usize>,
    /// The type of the key-value cache.
    pub kv_type: KvType,
}
