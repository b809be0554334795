//! What a GGUF file holds, and whether and why not it can be run.

mod metadata;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lilims_engine::quant::supported;
use lilims_engine::{ChatTemplate, KvType, LoadOptions, Model, ModelSpec, Tokenizer};
use lilims_gguf::{File, Metadata};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Error;

/// What a GGUF file holds.
#[derive(Debug, Serialize)]
pub struct FileContent {
    /// The file.
    pub file: String,
    /// Its length.
    pub size_bytes: u64,
    /// The version of the format.
    pub gguf_version: u32,
    /// The model's name.
    pub name: Option<String>,
    /// The model's family.
    pub family: Option<String>,
    /// Its parameters.
    pub parameters: u64,
    /// The type that most parameters have.
    pub quantisation: Option<String>,
    /// The types of its tensors, the one with the most parameters first.
    pub types: Vec<TypeShare>,
    /// The context that it was trained for, in tokens.
    pub context: Option<u64>,
    /// Bytes of the keys and values of the default context, in f16.
    pub cache_bytes: Option<u64>,
    /// Tokens of its vocabulary.
    pub vocabulary: Option<usize>,
    /// The vocabulary's kind, with its pre-tokenizer in parentheses.
    pub tokenizer: Option<String>,
    /// The chat template.
    pub chat_template: Option<String>,
    /// The metadata; an array is `{"length": n, "first": […]}`.
    pub metadata: Map<String, Value>,
    /// The tensors.
    pub tensors: Vec<TensorFacts>,
    /// Why the model cannot run; empty if it can.
    #[serde(skip)]
    pub problems: Vec<Fault>,
    /// What does not work although the model runs.
    #[serde(skip)]
    pub warnings: Vec<Fault>,
}

/// One tensor type's part of the file.
#[derive(Debug, Serialize)]
pub struct TypeShare {
    /// The type.
    #[serde(rename = "type")]
    pub name: String,
    /// Tensors of this type.
    pub tensors: usize,
    /// Their parameters.
    pub parameters: u64,
    /// Their bytes.
    pub size_bytes: u64,
}

/// A tensor.
#[derive(Debug, Serialize)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its dimensions, the fastest first.
    pub dims: Vec<u64>,
    /// Its bytes.
    pub size_bytes: u64,
}

/// Why a model, or a part of it, cannot be used.
#[derive(Debug)]
pub enum Fault {
    /// The file has a vocabulary and no tensors.
    NoTensors,
    /// The chat template is not UTF-8.
    TemplateEncoding,
    /// The engine cannot multiply tensors of this type.
    TensorType {
        /// The type.
        name: String,
        /// How many tensors have it.
        n_tensors: usize,
        /// The first of them.
        first: String,
    },
    /// The engine's reason.
    Engine(Error),
}

/// Reads the file at `path`, and loads its model on `threads` to see whether it runs.
///
/// # Errors
/// [`Error::Read`].
pub fn inspect(path: &Path, threads: Option<usize>) -> Result<FileContent, Error> {
    let unread =
        |source: lilims_gguf::Error| Error::Read { path: path.to_owned(), source: source.into() };
    let file = File::open(path).map(Arc::new).map_err(unread)?;
    let metadata = file.metadata();
    let text = |key: &str| metadata.str(key).ok().map(str::to_owned);
    let family = text("general.architecture");
    let context_key = |family: &String| format!("{family}.context_length");
    let (types, (problems, warnings)) = (type_shares(&file), faults(path, &file, threads));
    let content = FileContent {
        file: path.display().to_string(),
        size_bytes: file.as_bytes().len() as u64,
        gguf_version: file.version(),
        name: text("general.name"),
        parameters: types.iter().map(|share| share.parameters).sum(),
        quantisation: types.first().map(|share| share.name.clone()),
        types,
        context: family.as_ref().and_then(|family| metadata.u64(&context_key(family)).ok()),
        cache_bytes: default_cache_bytes(&file),
        family,
        vocabulary: metadata.array("tokenizer.ggml.tokens").ok().map(|tokens| tokens.len()),
        tokenizer: tokenizer_name(&metadata),
        chat_template: text("tokenizer.chat_template"),
        metadata: metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), metadata::to_json(&value)))
            .collect(),
        tensors: file
            .tensors()
            .iter()
            .map(|tensor| TensorFacts {
                name: tensor.name.clone(),
                type_name: tensor.tensor_type.to_string(),
                dims: tensor.dims.clone(),
                size_bytes: tensor.size_bytes,
            })
            .collect(),
        problems,
        warnings,
    };
    // What was cut off reads as zeros.
    file.check_unchanged().map_err(unread)?;
    Ok(content)
}

fn default_cache_bytes(file: &File) -> Option<u64> {
    let spec = ModelSpec::from_gguf(file).ok()?;
    spec.cache_bytes(spec.default_context(), KvType::default()).ok()
}

fn tokenizer_name(metadata: &Metadata<'_>) -> Option<String> {
    let model = metadata.str("tokenizer.ggml.model").ok()?;
    Some(match metadata.str("tokenizer.ggml.pre") {
        Ok(pre) => format!("{model} ({pre})"),
        Err(_) => model.to_owned(),
    })
}

fn type_shares(file: &File) -> Vec<TypeShare> {
    let mut shares = BTreeMap::new();
    for tensor in file.tensors() {
        let name = tensor.tensor_type.to_string();
        let share = shares.entry(name.clone()).or_insert(TypeShare {
            name,
            tensors: 0,
            parameters: 0,
            size_bytes: 0,
        });
        share.tensors += 1;
        share.parameters = share.parameters.saturating_add(tensor.n_values);
        share.size_bytes = share.size_bytes.saturating_add(tensor.size_bytes);
    }
    let mut shares: Vec<_> = shares.into_values().collect();
    shares.sort_by_key(|share| Reverse(share.parameters));
    shares
}

/// Examines the file part by part, to find all of its problems, and then loads the model.
fn faults(path: &Path, file: &Arc<File>, threads: Option<usize>) -> (Vec<Fault>, Vec<Fault>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    if file.tensors().is_empty() {
        problems.push(Fault::NoTensors);
    }
    let spec_error = ModelSpec::from_gguf(file).err();
    let spec_text = spec_error.as_ref().map(ToString::to_string);
    problems.extend(spec_error.map(Fault::from));
    problems.extend(unsupported_types(file));
    match Tokenizer::from_gguf(file) {
        Ok(tokenizer) => warnings.extend(template_fault(file, &tokenizer)),
        // Both may fail at the same key.
        Err(error) if spec_text == Some(error.to_string()) => {}
        Err(error) => problems.push(error.into()),
    }
    if problems.is_empty() {
        let options = LoadOptions { threads, ..LoadOptions::default() };
        problems.extend(Model::load(path, &options).err().map(Fault::from));
    }
    (problems, warnings)
}

fn unsupported_types(file: &File) -> impl Iterator<Item = Fault> {
    let mut types = BTreeMap::new();
    for tensor in file.tensors().iter().filter(|tensor| !supported(tensor.tensor_type)) {
        let name = tensor.tensor_type.to_string();
        types.entry(name).or_insert_with(|| (tensor.name.clone(), 0)).1 += 1;
    }
    types.into_iter().map(|(name, (first, n_tensors))| Fault::TensorType { name, n_tensors, first })
}

fn template_fault(file: &File, tokenizer: &Tokenizer) -> Option<Fault> {
    let source = file.metadata().get("tokenizer.chat_template")?;
    if source.as_str().is_none() {
        return Some(Fault::TemplateEncoding);
    }
    ChatTemplate::from_gguf(file, tokenizer).err().map(Fault::from)
}

impl From<lilims_engine::Error> for Fault {
    fn from(error: lilims_engine::Error) -> Self {
        Self::Engine(error.into())
    }
}
