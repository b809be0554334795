//! A loaded model: its file, specification, tokenizer and chat template.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use lilims_gguf::{File, Split, TensorType};

use crate::backend::Runner;
use crate::backend::candle::{CandleModel, CandleRunner};
use crate::backend::cpu::{self, CpuModel, CpuRunner, max_threads, performance_cores};
use crate::constraint::SchemaCompiler;
use crate::prompt::text_limit::TextLimit;
use crate::prompt::{ChatFormat, Note};
use crate::quant::Isa;
use crate::reasoning::ReasoningTags;
use crate::{
    BackendKind, Error, KvType, LoadOptions, ModelSpec, RecommendedSampling, Tokenizer, estimate,
    fingerprint,
};

enum Loaded {
    Cpu(Arc<CpuModel>),
    Candle(Arc<CandleModel>),
}

/// A model that can answer. Cheap to share; sessions keep it alive.
pub struct Model {
    name: String,
    quantisation: String,
    size_bytes: u64,
    spec: ModelSpec,
    tokenizer: Arc<Tokenizer>,
    chat_format: ChatFormat,
    context: usize,
    kv_type: KvType,
    n_threads: usize,
    loaded: Loaded,
    file: Arc<File>,
    fingerprint: OnceLock<String>,
    /// Built when a schema is used first.
    schema_compiler: OnceLock<SchemaCompiler>,
}

impl Model {
    /// Loads the model file at `path`.
    ///
    /// # Errors
    /// [`Error::Gguf`] if the file is missing or damaged, [`Error::Damaged`] if it is inconsistent,
    /// [`Error::Unsupported`] and [`Error::Split`] if Lilims cannot run it, [`Error::TooLarge`] if
    /// a session would not fit into memory, [`Error::Isa`] if `LILIMS_ISA` names an unavailable
    /// instruction set, [`Error::TooManyThreads`].
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Arc<Self>, Error> {
        Isa::from_env()?;
        let n_threads = options.threads.unwrap_or_else(performance_cores).max(1);
        if n_threads > max_threads() {
            return Err(Error::TooManyThreads { requested: n_threads, max: max_threads() });
        }
        let file = Arc::new(File::open(path)?);
        let spec = ModelSpec::from_gguf(&file).map_err(|error| detect_split(error, path))?;
        let tokenizer = Tokenizer::from_gguf(&file)?;
        if tokenizer.n_vocab() != spec.n_vocab {
            let (listed, rows) = (tokenizer.n_vocab(), spec.n_vocab);
            let what = format!("the vocabulary lists {listed} tokens, the embedding has {rows}");
            return Err(Error::Damaged { what });
        }
        let context = spec.session_context(options.context);
        let mut needed_bytes = estimate::session_bytes(&spec, context, options.kv_type, n_threads)?;
        if options.backend == BackendKind::Candle {
            // candle copies the weights.
            needed_bytes = needed_bytes.saturating_add(file.total_bytes());
        }
        estimate::expect_room(needed_bytes, context, options.backend)?;
        let loaded = match options.backend {
            BackendKind::Cpu => {
                let model = Arc::new(CpuModel::load(&file, &spec, context)?);
                cpu::prefetch(&model)?;
                Loaded::Cpu(model)
            }
            BackendKind::Candle => {
                Loaded::Candle(Arc::new(CandleModel::load(&file, &spec, context)?))
            }
        };
        let model = Self {
            name: display_name(&file, path),
            quantisation: quantisation(&file),
            size_bytes: file.as_bytes().len() as u64,
            chat_format: ChatFormat::from_gguf(&file, &tokenizer),
            context,
            kv_type: options.kv_type,
            n_threads,
            spec,
            tokenizer: Arc::new(tokenizer),
            loaded,
            file,
            fingerprint: OnceLock::new(),
            schema_compiler: OnceLock::new(),
        };
        model.check_unchanged()?;
        Ok(Arc::new(model))
    }

    /// Checks that the file is unchanged since it was loaded. Sessions call this after each forward
    /// pass.
    ///
    /// # Errors
    /// [`Error::Gguf`] if the file was changed or truncated; the model is unusable then.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        Ok(self.file.check_unchanged()?)
    }

    /// Whether a missing part of the file was accessed; finds less than [`Model::check_unchanged`],
    /// at almost no cost.
    pub(crate) fn is_damaged(&self) -> bool {
        self.file.is_damaged()
    }

    /// The architecture.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The sampling settings that the file recommends.
    pub fn recommended_sampling(&self) -> RecommendedSampling {
        RecommendedSampling::read(self.file.metadata())
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(crate) fn shared_tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Truncates the middle of `text` if it is longer than the context can ever hold, with a note:
    /// only the beginning and the end of such a text would be read.
    pub fn truncate_middle<'t>(&self, text: &'t str) -> (Cow<'t, str>, Option<Note>) {
        let (text, bytes) = TextLimit::new(&self.tokenizer, self.context, text.len()).text(text);
        (text, (bytes > 0).then_some(Note::TextLeftOut { bytes }))
    }

    /// How messages become prompts. If the chat template does not compile, rendering fails;
    /// everything else works.
    pub fn chat_format(&self) -> &ChatFormat {
        &self.chat_format
    }

    /// The tags around reasoning in the answers of the model, if it has any.
    pub fn reasoning_tags(&self) -> Option<&'static ReasoningTags> {
        self.chat_format.reasoning_tags(&self.tokenizer)
    }

    /// The model name from the metadata, else the file name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The quantisation of most weights, such as `Q4_1`.
    pub fn quantisation(&self) -> &str {
        &self.quantisation
    }

    /// The file's size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Description of the backend, such as `cpu (avx2, 2 threads)`.
    pub fn backend(&self) -> String {
        match &self.loaded {
            Loaded::Cpu(_) => {
                let plural = if self.n_threads == 1 { "" } else { "s" };
                let isa = Isa::detected().name();
                let no_gpu = if cfg!(feature = "metal") { ", no Metal" } else { "" };
                format!("cpu ({isa}, {} thread{plural}{no_gpu})", self.n_threads)
            }
            Loaded::Candle(model) => model.describe(),
        }
    }

    /// The context length of its sessions, in tokens.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Whether the window can slide when the context is full. With learned positions it cannot, and
    /// the recent half is read again.
    pub fn can_slide(&self) -> bool {
        self.spec.max_positions().is_none()
    }

    /// The type of the key-value cache.
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// The most memory that the key-value cache of a session takes, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.spec.cache_bytes(self.context, self.kv_type).unwrap_or_default()
    }

    /// Worker threads of the `cpu` backend.
    pub fn threads(&self) -> usize {
        self.n_threads
    }

    /// The fingerprint of model, chat template and settings, which saved sessions must match.
    pub(crate) fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let backend = match self.loaded {
                Loaded::Cpu(_) => "cpu",
                Loaded::Candle(_) => "candle",
            };
            let settings = format!("{backend} {} {}", self.kv_type.name(), self.context);
            fingerprint::fingerprint(&self.file, &settings)
        })
    }

    /// What compiles JSON schemas for the vocabulary.
    ///
    /// # Errors
    /// [`Error::Schema`] if the vocabulary cannot be used.
    pub(crate) fn schema_compiler(&self) -> Result<&SchemaCompiler, Error> {
        if let Some(compiler) = self.schema_compiler.get() {
            return Ok(compiler);
        }
        let compiler = SchemaCompiler::new(&self.tokenizer)?;
        Ok(self.schema_compiler.get_or_init(|| compiler))
    }

    /// Cache, buffers and workers for one session.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::OutOfMemory`] when there is not enough memory,
    /// [`Error::Candle`], [`Error::Threads`] when no worker threads start.
    pub(crate) fn runner(&self) -> Result<Box<dyn Runner>, Error> {
        let (context, kv_type) = (self.context, self.kv_type);
        let needed_bytes = estimate::session_bytes(&self.spec, context, kv_type, self.n_threads)?;
        let backend = match &self.loaded {
            Loaded::Cpu(_) => BackendKind::Cpu,
            Loaded::Candle(_) => BackendKind::Candle,
        };
        estimate::expect_room(needed_bytes, context, backend)?;
        Ok(match &self.loaded {
            Loaded::Cpu(model) => {
                Box::new(CpuRunner::new(Arc::clone(model), context, kv_type, self.n_threads)?)
            }
            Loaded::Candle(model) => {
                Box::new(CandleRunner::new(Arc::clone(model), context, kv_type)?)
            }
        })
    }
}

/// Turns a missing key or tensor into [`Error::Split`] if the file name is that of a part of a
/// split model.
fn detect_split(error: Error, path: &Path) -> Error {
    let split = path.file_name().and_then(|name| Split::from_file_name(name.to_str()?));
    match (&error, split) {
        (Error::Gguf(lilims_gguf::Error::MissingKey { .. }), Some(split)) => Error::Split(split),
        (Error::Gguf(lilims_gguf::Error::MissingTensor { .. }), Some(split)) => Error::Split(split),
        _ => error,
    }
}

fn display_name(file: &File, path: &Path) -> String {
    let own = file.metadata().get("general.name").and_then(|name| name.as_str());
    match own.filter(|name| !name.trim().is_empty()) {
        Some(name) => name.to_owned(),
        None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

/// The tensor type of most layer weights; the embedding is not counted, as it often has a different
/// type.
fn quantisation(file: &File) -> String {
    let mut values: BTreeMap<String, u64> = BTreeMap::new();
    let matrices = file.tensors().iter().filter(|tensor| tensor.dims.len() > 1);
    for tensor in matrices.filter(|tensor| tensor.name != "token_embd.weight") {
        *values.entry(tensor.tensor_type.to_string()).or_default() += tensor.n_values;
    }
    let dominant = values.into_iter().max_by_key(|(_, n_values)| *n_values);
    dominant.map_or_else(|| TensorType::F32.to_string(), |(name, _)| name)
}
