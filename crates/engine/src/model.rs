//! A loaded model: its file, specification, tokenizer and chat template.

use std::path::Path;
use std::sync::Arc;

use crate::{ChatTemplate, Error, ModelSpec, Session, Tokenizer};

/// Which implementation runs the forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// Our own kernels on the processor.
    #[default]
    Cpu,
    /// candle: Metal where it was built in and starts, else its processor device.
    Candle,
}

/// How keys and values are cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// 32 bits.
    F32,
    /// 16 bits.
    #[default]
    F16,
}

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Which backend runs it.
    pub backend: BackendKind,
    /// Worker threads; `None` takes the performance cores.
    pub threads: Option<usize>,
    /// The most tokens a session may hold; `None` takes the model's own, at most 8,192.
    pub context: Option<usize>,
    /// How keys and values are cached.
    pub kv_type: KvType,
}

/// A model that can answer. Cheap to share; sessions keep it alive.
pub struct Model {}

impl Model {
    /// Opens the file at `path`.
    ///
    /// *Errors*: [`Error::Gguf`] when the file is missing or damaged, [`Error::Damaged`] when it
    /// contradicts itself, [`Error::Unsupported`] when Lilims cannot run it.
    pub fn load(_path: &Path, _options: &LoadOptions) -> Result<Arc<Self>, Error> {
        unimplemented!()
    }

    /// What the file says of the architecture.
    pub fn spec(&self) -> &ModelSpec {
        unimplemented!()
    }

    /// The file's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        unimplemented!()
    }

    /// The file's chat template, if it has one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        unimplemented!()
    }

    /// The name the file gives itself, else the file's name.
    pub fn name(&self) -> &str {
        unimplemented!()
    }

    /// The quantisation of most weights, such as `Q4_1`.
    pub fn quantisation(&self) -> String {
        unimplemented!()
    }

    /// The file's size in bytes.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// What runs it, such as `cpu (avx2, 2 threads)`.
    pub fn backend(&self) -> String {
        unimplemented!()
    }

    /// The most tokens a session may hold.
    pub fn context(&self) -> usize {
        unimplemented!()
    }

    /// An empty session.
    ///
    /// *Errors*: [`Error::Candle`].
    pub fn session(self: &Arc<Self>) -> Result<Session, Error> {
        unimplemented!()
    }
}
