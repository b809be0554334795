//! Measures models: speed, perplexity, and how far one is from another.

use std::f64::consts::LN_2;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use lilims_bench::{Machine, Summary, roofline, speed};
use lilims_gguf::File;
use serde::Serialize;

use crate::error::Error;
use crate::library::machine;
use crate::local_model::LocalModel;

pub use lilims_bench::{Comparison, Perplexity, Summary as SpeedSummary, TensorError, Workload};

/// The speed of a model on this machine.
#[derive(Debug, Serialize)]
pub struct SpeedReport {
    /// The model's name.
    pub model: String,
    /// Its quantisation.
    pub quantisation: String,
    /// Tokens per prefill sample.
    pub prompt_tokens: usize,
    /// Tokens per decode sample.
    pub generate_tokens: usize,
    /// Tokens in the cache before each sample.
    pub depth: usize,
    /// Tokens read per second, a value for each sample.
    pub prefill_tps: Vec<f64>,
    /// Tokens generated per second, a value for each sample.
    pub decode_tps: Vec<f64>,
    /// How long loading took.
    pub load_ms: f64,
    /// The peak memory of this process.
    pub peak_rss_bytes: Option<u64>,
    /// Worker threads.
    pub threads: usize,
    /// The instruction set of the kernels.
    pub isa: &'static str,
    /// The backend's name.
    pub backend: String,
    /// The bytes that are read from memory for each generated token.
    pub bytes_per_token: u64,
    /// Bytes per second that the threads read, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roof_bytes_per_second: Option<f64>,
    /// The share of the roof that the median of `decode_tps` reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_roof_share: Option<f64>,
    /// This machine.
    pub machine: Machine,
    /// The backend with its details.
    #[serde(skip)]
    pub backend_details: String,
}

impl SpeedReport {
    /// Tokens read per second.
    pub fn prefill(&self) -> Option<Summary> {
        Summary::of(&self.prefill_tps)
    }

    /// Tokens generated per second.
    pub fn decode(&self) -> Option<Summary> {
        Summary::of(&self.decode_tps)
    }
}

impl LocalModel {
    /// Measures the speed; with `has_roof` also how fast the threads read memory.
    ///
    /// # Errors
    /// [`Error::BeyondTraining`], [`Error::Engine`].
    pub fn measure_speed(&self, workload: &Workload, has_roof: bool) -> Result<SpeedReport, Error> {
        let (model, needed) = (&self.model, workload.context());
        let (trained, threads, machine) = (model.spec().context, model.threads(), Machine::here());
        if needed > trained {
            return Err(Error::BeyondTraining { needed, trained });
        }
        let speed = speed::measure(model, workload)?;
        // Before the roof's buffer and a second map of the file count as well.
        let peak_rss_bytes = machine::peak_bytes();
        self.note_peak(needed);
        let file = File::open(&self.path)?;
        let bytes_per_token =
            roofline::bytes_per_token(&file, workload.depth, self.options.kv_type)?;
        let roof = has_roof.then(|| roofline::read_bytes_per_second(threads));
        let (decode, backend) = (Summary::of(&speed.decode_tps), model.backend());
        let share = |roof, decode: Summary| decode.median * bytes_per_token as f64 / roof;
        Ok(SpeedReport {
            model: model.name().to_owned(),
            quantisation: model.quantisation().to_owned(),
            prompt_tokens: workload.prompt_tokens,
            generate_tokens: workload.generate_tokens,
            depth: workload.depth,
            prefill_tps: speed.prefill_tps,
            decode_tps: speed.decode_tps,
            load_ms: self.load_time().as_secs_f64() * 1e3,
            peak_rss_bytes,
            threads,
            isa: machine.isa,
            backend: backend.split(' ').next().unwrap_or_default().to_owned(),
            bytes_per_token,
            roof_bytes_per_second: roof,
            decode_roof_share: roof.zip(decode).map(|(roof, decode)| share(roof, decode)),
            machine,
            backend_details: backend,
        })
    }
}

/// A text, and how it is cut into chunks.
#[derive(Clone, Debug)]
pub struct EvaluationText {
    /// The text.
    pub text: String,
    /// Tokens of a chunk; the second half of each is scored.
    pub context: usize,
    /// The most chunks to read.
    pub max_chunks: Option<usize>,
}

impl EvaluationText {
    /// The perplexity of the model on this text. `on_chunk` gets the value so far.
    ///
    /// # Errors
    /// [`Error::Measure`], [`Error::Engine`].
    pub fn perplexity(
        &self,
        model: &LocalModel,
        on_chunk: impl FnMut(&Perplexity),
    ) -> Result<Perplexity, Error> {
        self.perplexity_of(model, &self.ids(model)?, on_chunk)
    }

    fn perplexity_of(
        &self,
        model: &LocalModel,
        ids: &[u32],
        mut on_chunk: impl FnMut(&Perplexity),
    ) -> Result<Perplexity, Error> {
        Ok(lilims_bench::perplexity(&model.model, ids, self.context, |so_far| on_chunk(so_far))?)
    }

    /// How far the distributions of each of `others` are from those of `base`. `on_chunk` gets the
    /// figures so far, one for each of `others`, and the number of chunks.
    ///
    /// # Errors
    /// [`Error::Measure`], also when it was cancelled; [`Error::Engine`].
    pub fn divergences(
        &self,
        base: &LocalModel,
        others: &[LocalModel],
        cancel: &AtomicBool,
        on_chunk: impl FnMut(&[Comparison], usize),
    ) -> Result<Vec<Comparison>, Error> {
        let ids = self.ids(base)?;
        let others: Vec<_> = others.iter().map(|other| other.model.clone()).collect();
        let context = self.context;
        Ok(lilims_bench::compare_all(&base.model, &others, &ids, context, cancel, on_chunk)?)
    }

    fn divergence_of(
        &self,
        base: &LocalModel,
        other: &LocalModel,
        ids: &[u32],
        cancel: &AtomicBool,
        on_chunk: impl FnMut(&Comparison, usize),
    ) -> Result<Comparison, Error> {
        let (base, other) = (&base.model, &other.model);
        Ok(lilims_bench::compare(base, other, ids, self.context, cancel, on_chunk)?)
    }

    /// Measures two models, and how far they are apart where they have one vocabulary. `on_chunk` and
    /// `on_pair` get the figures so far.
    ///
    /// # Errors
    /// [`Error::Measure`], also when it was cancelled; [`Error::Engine`].
    pub fn compare(
        &self,
        a: &LocalModel,
        b: &LocalModel,
        cancel: &AtomicBool,
        mut on_chunk: impl FnMut(&Perplexity),
        on_pair: impl FnMut(&Comparison, usize),
    ) -> Result<SideBySide, Error> {
        let (a_ids, b_ids) = (self.ids(a)?, self.ids(b)?);
        let has_one_vocabulary = a.model.spec().n_vocab == b.model.spec().n_vocab && a_ids == b_ids;
        let (of_a, of_b, comparison) = if has_one_vocabulary {
            let found = self.divergence_of(a, b, &a_ids, cancel, on_pair)?;
            (found.base, found.other, Some(found))
        } else {
            let of_a = self.perplexity_of(a, &a_ids, &mut on_chunk)?;
            (of_a, self.perplexity_of(b, &b_ids, on_chunk)?, None)
        };
        let (a, b) = (Figures::new(a, of_a, &a_ids), Figures::new(b, of_b, &b_ids));
        Ok(SideBySide { a, b, comparison })
    }

    fn ids(&self, model: &LocalModel) -> Result<Vec<u32>, Error> {
        let mut ids = model.model.tokenizer().encode_prompt(&self.text, false)?;
        if let Some(chunks) = self.max_chunks {
            ids.truncate(chunks.saturating_mul(self.context));
        }
        Ok(ids)
    }
}

/// The error of each tensor of the GGUF file `other` against the same tensor of `base`.
///
/// # Errors
/// [`Error::Read`] if a file cannot be read; [`Error::Measure`] if a tensor's shape differs.
pub fn tensor_errors(base: &Path, other: &Path) -> Result<Vec<TensorError>, Error> {
    let open = |path: &Path| {
        let unread = |source| Error::Read { path: path.to_owned(), source };
        File::open(path).map_err(|error| unread(error.into()))
    };
    Ok(lilims_bench::tensor_errors(&open(base)?, &open(other)?)?)
}

/// Two models on one text.
#[derive(Debug, Serialize)]
pub struct SideBySide {
    /// The first model.
    pub a: Figures,
    /// The second.
    pub b: Figures,
    /// How far they are apart; `None` where the vocabularies differ.
    pub comparison: Option<Comparison>,
}

/// The figures of one model.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// The file's name.
    pub file: String,
    /// The file's length.
    pub size_bytes: u64,
    /// Its quantisation.
    pub quantisation: String,
    /// Its perplexity, per token.
    pub perplexity: Perplexity,
    /// Bits per byte of text, which do not depend on the tokens.
    pub bits_per_byte: f64,
}

impl Figures {
    fn new(model: &LocalModel, perplexity: Perplexity, ids: &[u32]) -> Self {
        let n_bytes = model.model.tokenizer().decode(ids).len();
        let bytes_per_token = n_bytes as f64 / ids.len().max(1) as f64;
        Self {
            file: model.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size_bytes: model.model.size_bytes(),
            quantisation: model.model.quantisation().to_owned(),
            bits_per_byte: perplexity.perplexity.ln() / LN_2 / bytes_per_token,
            perplexity,
        }
    }
}
