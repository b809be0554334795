//! What `inspect` found, as JSON and as text.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use lilims_engine::{KvType, ModelSpec};
use lilims_gguf::{File, Metadata};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::metadata;
use super::verdict::Verdict;
use crate::output::{self, field, size};

/// All that is known of a file. Its JSON form is what `--json` prints.
#[derive(Serialize)]
pub(super) struct Report {
    file: String,
    size_bytes: u64,
    gguf_version: u32,
    name: Option<String>,
    family: Option<String>,
    parameters: u64,
    /// The type that most parameters have.
    quantisation: Option<String>,
    types: Vec<TypeShare>,
    context: Option<u64>,
    /// What the keys and values take of the context that is taken without being asked for, in f16.
    cache_bytes: Option<u64>,
    vocabulary: Option<usize>,
    tokenizer: Option<String>,
    chat_template: Option<String>,
    runs: bool,
    problems: Vec<String>,
    warnings: Vec<String>,
    metadata: Map<String, Json>,
    tensors: Vec<Tensor>,
}

/// One tensor type's part in the file.
#[derive(Serialize)]
struct TypeShare {
    #[serde(rename = "type")]
    name: String,
    tensors: usize,
    parameters: u64,
    size_bytes: u64,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    dims: Vec<u64>,
    size_bytes: u64,
}

impl Tensor {
    fn cells(&self) -> Vec<String> {
        let dims: Vec<_> = self.dims.iter().map(u64::to_string).collect();
        vec![self.name.clone(), self.type_name.clone(), dims.join(" × "), size(self.size_bytes)]
    }
}

impl Report {
    pub(super) fn new(path: &Path, file: &File, verdict: Verdict) -> Self {
        let metadata = file.metadata();
        let text = |key: &str| metadata.str(key).ok().map(str::to_owned);
        let family = text("general.architecture");
        let types = type_shares(file);
        Self {
            file: path.display().to_string(),
            size_bytes: file.as_bytes().len() as u64,
            gguf_version: file.version(),
            name: text("general.name"),
            parameters: types.iter().map(|share| share.parameters).sum(),
            quantisation: types.first().map(|share| share.name.clone()),
            types,
            context: family
                .as_ref()
                .and_then(|family| metadata.u64(&format!("{family}.context_length")).ok()),
            cache_bytes: default_cache(file).map(|(_, bytes)| bytes),
            family,
            vocabulary: metadata.array("tokenizer.ggml.tokens").ok().map(|tokens| tokens.len()),
            tokenizer: tokenizer_name(&metadata),
            chat_template: text("tokenizer.chat_template"),
            runs: verdict.problems.is_empty(),
            problems: verdict.problems,
            warnings: verdict.warnings,
            metadata: metadata
                .iter()
                .map(|(key, value)| (key.to_owned(), metadata::to_json(&value)))
                .collect(),
            tensors: file
                .tensors()
                .iter()
                .map(|tensor| Tensor {
                    name: tensor.name.clone(),
                    type_name: tensor.tensor_type.to_string(),
                    dims: tensor.dims.clone(),
                    size_bytes: tensor.size_bytes,
                })
                .collect(),
        }
    }
}

/// The context that is taken without being asked for, in tokens, and the bytes of its keys and values.
fn default_cache(file: &File) -> Option<(usize, u64)> {
    let spec = ModelSpec::from_gguf(file).ok()?;
    let context = spec.default_context();
    Some((context, spec.cache_bytes(context, KvType::default()).ok()?))
}

/// The vocabulary's kind and, in parentheses, its pre-tokenizer.
fn tokenizer_name(metadata: &Metadata<'_>) -> Option<String> {
    let model = metadata.str("tokenizer.ggml.model").ok()?;
    Some(match metadata.str("tokenizer.ggml.pre") {
        Ok(pre) => format!("{model} ({pre})"),
        Err(_) => model.to_owned(),
    })
}

/// The types in use, the one with the most parameters first.
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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        writeln!(f, "\nMetadata ({})", self.metadata.len())?;
        for (key, value) in &self.metadata {
            writeln!(f, "  {}  {}", field(key), field(&metadata::to_line(value)))?;
        }
        writeln!(f, "\nTensors ({})", self.tensors.len())?;
        let rows: Vec<_> = self.tensors.iter().map(Tensor::cells).collect();
        output::table(&rows).lines().try_for_each(|row| writeln!(f, "  {row}"))?;
        if let Some(template) = &self.chat_template {
            writeln!(f, "\nChat template\n{}", template)?;
        }
        Ok(())
    }
}

impl Report {
    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNKNOWN: &str = "not stated";
        let text = |text: &Option<String>| text.as_deref().map_or(UNKNOWN.into(), field);
        let number = |number: Option<u64>, unit: &str| match number {
            Some(number) => format!("{number}{unit}"),
            None => UNKNOWN.to_owned(),
        };
        writeln!(f, "{}", text(&self.name))?;
        let version = self.gguf_version;
        let file = format!("{} ({}, GGUF {version})", self.file, size(self.size_bytes));
        let shares: Vec<_> = self.types.iter().map(|share| self.share(share)).collect();
        let template = if self.chat_template.is_some() { "yes" } else { "no" };
        for (label, value) in [
            ("file", file),
            ("family", text(&self.family)),
            ("parameters", format!("{:.1} million", self.parameters as f64 / 1e6)),
            ("quantisation", shares.join(", ")),
            ("context", number(self.context, " tokens")),
            (
                "cache",
                self.cache_bytes
                    .map_or(UNKNOWN.to_owned(), |bytes| format!("up to {}", size(bytes))),
            ),
            ("vocabulary", number(self.vocabulary.map(|count| count as u64), " tokens")),
            ("tokenizer", text(&self.tokenizer)),
            ("chat template", template.to_owned()),
            ("runs", if self.runs { "yes" } else { "no" }.to_owned()),
        ] {
            writeln!(f, "  {label:14}{value}")?;
        }
        for (label, sentences) in [("problem", &self.problems), ("warning", &self.warnings)] {
            for sentence in sentences {
                writeln!(f, "  {label:14}{}", field(sentence))?;
            }
        }
        Ok(())
    }

    /// A type with its share of all bytes.
    fn share(&self, share: &TypeShare) -> String {
        let total: u64 = self.types.iter().map(|share| share.size_bytes).sum();
        let percent = share.size_bytes as f64 / total.max(1) as f64 * 100.0;
        format!("{} {percent:.1}%", share.name)
    }
}
