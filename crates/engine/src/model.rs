//! A loaded model: its file, specification, tokenizer and chat template.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use lilims_gguf::{File, Split, TensorType};

use crate::backend::Runner;
use crate::backend::candle::{self, CandleModel, CandleRunner};
use crate::backend::cpu::{self, CpuModel, CpuRunner, max_threads, performance_cores};
use crate::prompt::fit::Fit;
use crate::prompt::{ChatFormat, Note};
use crate::quant::Isa;
use crate::reasoning::ReasoningMarks;
use crate::spec::MIN_LEARNED_CONTEXT;
use crate::{Error, ModelSpec, Session, Tokenizer, estimate, saved};

/// Which implementation runs the forward pass.
///
/// The default is candle where a GPU was built in and starts, else our own kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// Our own kernels on the processor.
    Cpu,
    /// candle: Metal or CUDA where it was built in and starts, else its processor device.
    Candle,
}

impl Default for BackendKind {
    fn default() -> Self {
        if candle::has_gpu() { Self::Candle } else { Self::Cpu }
    }
}

/// How keys and values are cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// 32 bits.
    F32,
    /// 16 bits.
    #[default]
    F16,
    /// Blocks of 32 values with 8 bits each: half the memory of 16 bits.
    Q8_0,
}

impl KvType {
    /// Bytes of a head's row.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where rows are not whole blocks.
    pub fn row_bytes(self, head_dim: usize) -> Result<usize, Error> {
        let ty = match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::Q8_0 => TensorType::Q8_0,
        };
        let bytes = ty.size_bytes(head_dim as u64).map(|bytes| bytes as usize);
        bytes.ok_or_else(|| Error::Unsupported {
            what: format!("heads of {head_dim} dimensions do not fill blocks of {ty}: take f16"),
        })
    }

    /// Its name, as `--kv-type` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }
}

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Which backend runs it.
    pub backend: BackendKind,
    /// Worker threads of the `cpu` backend; `None` takes one for each performance
    /// core.
    pub threads: Option<usize>,
    /// The most tokens that a session sees at once; `None` takes the model's own, at most 8,192. A model with
    /// learned positions holds as many as it has at most.
    pub context: Option<usize>,
    /// How keys and values are cached.
    pub kv_type: KvType,
}

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
    tokenizer: Tokenizer,
    chat_format: ChatFormat,
    context: usize,
    kv_type: KvType,
    n_threads: usize,
    loaded: Loaded,
    file: Arc<File>,
    fingerprint: OnceLock<String>,
}

impl Model {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::Gguf`] when the file is missing or damaged, [`Error::Damaged`] when it
    /// contradicts itself, [`Error::Unsupported`] and [`Error::Split`] when Lilims cannot run it,
    /// [`Error::TooLarge`] when a session would not fit into the memory, [`Error::Isa`] when `LILIMS_ISA`
    /// cannot be followed, [`Error::TooManyThreads`].
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Arc<Self>, Error> {
        Isa::forced()?;
        let n_threads = options.threads.unwrap_or_else(performance_cores).max(1);
        if n_threads > max_threads() {
            return Err(Error::TooManyThreads { asked: n_threads, most: max_threads() });
        }
        let file = Arc::new(File::open(path)?);
        let spec = ModelSpec::from_gguf(&file).map_err(|error| part_by_name(error, path))?;
        let tokenizer = Tokenizer::from_gguf(&file)?;
        if tokenizer.n_vocab() != spec.n_vocab {
            let (listed, rows) = (tokenizer.n_vocab(), spec.n_vocab);
            let what = format!("the vocabulary lists {listed} tokens, the embedding has {rows}");
            return Err(Error::Damaged { what });
        }
        let context = context(&spec, options.context);
        let mut needed_bytes = estimate::session_bytes(&spec, context, options.kv_type, n_threads)?;
        if options.backend == BackendKind::Candle {
            // candle copies the weights.
            needed_bytes = needed_bytes.saturating_add(file.total_bytes());
        }
        estimate::expect_room(needed_bytes, context, options.backend)?;
        let loaded = match options.backend {
            BackendKind::Cpu => {
                let model = Arc::new(CpuModel::load(&file, &spec, context)?);
                cpu::warm(&model)?;
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
            tokenizer,
            loaded,
            file,
            fingerprint: OnceLock::new(),
        };
        model.check_unchanged()?;
        Ok(Arc::new(model))
    }

    /// Checks that the file is still what was loaded. Sessions look after each pass through the model.
    ///
    /// # Errors
    /// [`Error::Gguf`] when the file was changed or cut short; then the model is of no use any more.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        Ok(self.file.check_unchanged()?)
    }

    /// Whether parts of the file were needed that are gone; sees less than
    /// [`Model::check_unchanged`], and costs next to nothing.
    pub(crate) fn is_damaged(&self) -> bool {
        self.file.is_damaged()
    }

    /// What the file says of the architecture.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The file's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// `text` as far as the context could hold it, with a note where its middle is left out: only the
    /// beginning and the end of what is too long are ever read.
    pub fn fitting<'t>(&self, text: &'t str) -> (Cow<'t, str>, Option<Note>) {
        let (text, bytes) = Fit::new(&self.tokenizer, self.context, text.len()).text(text);
        (text, (bytes > 0).then_some(Note::TextLeftOut { bytes }))
    }

    /// How messages become prompts. A chat template that does not compile is an error there, and the
    /// model is usable without it.
    pub fn chat_format(&self) -> &ChatFormat {
        &self.chat_format
    }

    /// What stands around reasoning in the model's answers, if it reasons.
    pub fn reasoning_marks(&self) -> Option<&'static ReasoningMarks> {
        self.chat_format.reasoning_marks(&self.tokenizer)
    }

    /// The name the file gives itself, else the file's name.
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

    /// What runs it, such as `cpu (avx2, 2 threads)`.
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

    /// The most tokens that a session sees at once.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Whether a full context can slide. Where positions are learned it cannot, and the recent half is
    /// read again.
    pub fn can_slide(&self) -> bool {
        self.spec.max_positions().is_none()
    }

    /// How keys and values are cached.
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// The most memory that a session's keys and values take, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.spec.cache_bytes(self.context, self.kv_type).unwrap_or_default()
    }

    /// Worker threads of the `cpu` backend.
    pub fn threads(&self) -> usize {
        self.n_threads
    }

    /// What a saved session has to fit: model, chat template and settings.
    pub(crate) fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let backend = match self.loaded {
                Loaded::Cpu(_) => "cpu",
                Loaded::Candle(_) => "candle",
            };
            let settings = format!("{backend} {} {}", self.kv_type.name(), self.context);
            saved::fingerprint(&self.file, &settings)
        })
    }

    /// An empty session.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::OutOfMemory`] where the memory does not hold it,
    /// [`Error::Candle`], or [`Error::Threads`] when no worker threads start.
    pub fn session(self: &Arc<Self>) -> Result<Session, Error> {
        let (context, kv_type) = (self.context, self.kv_type);
        let needed_bytes = estimate::session_bytes(&self.spec, context, kv_type, self.n_threads)?;
        let backend = match &self.loaded {
            Loaded::Cpu(_) => BackendKind::Cpu,
            Loaded::Candle(_) => BackendKind::Candle,
        };
        estimate::expect_room(needed_bytes, context, backend)?;
        let runner: Box<dyn Runner> = match &self.loaded {
            Loaded::Cpu(model) => {
                let model = Arc::clone(model);
                Box::new(CpuRunner::new(model, self.context, self.kv_type, self.n_threads)?)
            }
            Loaded::Candle(model) => {
                Box::new(CandleRunner::new(Arc::clone(model), self.context, self.kv_type)?)
            }
        };
        Ok(Session::new(Arc::clone(self), runner))
    }
}

/// The most tokens that sessions hold, if the caller asked for `asked`.
pub(crate) fn context(spec: &ModelSpec, asked: Option<usize>) -> usize {
    let context = asked.unwrap_or_else(|| spec.default_context());
    match spec.max_positions() {
        Some(most) => context.clamp(MIN_LEARNED_CONTEXT, most),
        None => context.max(1),
    }
}

/// Says that a file which lacks what every model has is a part of a split model, where its name says so.
fn part_by_name(error: Error, path: &Path) -> Error {
    let split = path.file_name().and_then(|name| Split::of_name(name.to_str()?));
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

/// The type that holds most of the layers' values; the embedding often has a type of its own.
fn quantisation(file: &File) -> String {
    let mut values: BTreeMap<String, u64> = BTreeMap::new();
    let matrices = file.tensors().iter().filter(|tensor| tensor.dims.len() > 1);
    for tensor in matrices.filter(|tensor| tensor.name != "token_embd.weight") {
        *values.entry(tensor.tensor_type.to_string()).or_default() += tensor.n_values;
    }
    let most = values.into_iter().max_by_key(|(_, n_values)| *n_values);
    most.map_or_else(|| TensorType::F32.to_string(), |(name, _)| name)
}
