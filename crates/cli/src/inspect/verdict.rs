//! Whether Lilims can run a file, and every reason why not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lilims_engine::{
    ChatTemplate, Error, LoadOptions, Model, ModelSpec, Tokenizer, quant::supported,
};
use lilims_gguf::File;

/// What stands in the way.
#[derive(Default)]
pub(super) struct Verdict {
    /// Why the model cannot run; empty if it can.
    pub(super) problems: Vec<String>,
    /// What will not work although the model runs.
    pub(super) warnings: Vec<String>,
}

/// Judges the file by its parts, so that all of its problems come up, then by opening the model.
pub(super) fn judge(path: &Path, file: &Arc<File>, threads: Option<usize>) -> Verdict {
    let mut verdict = Verdict::default();
    if file.tensors().is_empty() {
        verdict.problem("it holds a vocabulary only, no tensors".to_owned());
    }
    if let Err(error) = ModelSpec::from_gguf(file) {
        verdict.problem(chain(error));
    }
    verdict.problems.extend(unsupported_types(file));
    match Tokenizer::from_gguf(file) {
        Ok(tokenizer) => verdict.warnings.extend(template_problem(file, &tokenizer)),
        Err(error) => verdict.problem(chain(error)),
    }
    if verdict.problems.is_empty() {
        let options = LoadOptions { threads, ..LoadOptions::default() };
        if let Err(error) = Model::load(path, &options) {
            verdict.problem(chain(error));
        }
    }
    verdict
}

impl Verdict {
    /// Adds a problem once.
    fn problem(&mut self, what: String) {
        if !self.problems.contains(&what) {
            self.problems.push(what);
        }
    }
}

/// A sentence for each tensor type in use that the engine cannot multiply.
fn unsupported_types(file: &File) -> impl Iterator<Item = String> {
    let mut first_of_type = BTreeMap::new();
    for tensor in file.tensors().iter().filter(|tensor| !supported(tensor.tensor_type)) {
        first_of_type
            .entry(tensor.tensor_type.to_string())
            .or_insert_with(|| (tensor.name.clone(), 0))
            .1 += 1;
    }
    first_of_type.into_iter().map(|(name, (tensor, count))| {
        format!("{count} tensors have a type that Lilims cannot run yet: {name} (first `{tensor}`)")
    })
}

/// Why the file's chat template does not work, if it has one that does not.
fn template_problem(file: &File, tokenizer: &Tokenizer) -> Option<String> {
    let source = file.metadata().get("tokenizer.chat_template")?;
    if source.as_str().is_none() {
        return Some("the chat template is not a text in UTF-8".to_owned());
    }
    ChatTemplate::from_gguf(file, tokenizer).err().map(chain)
}

fn chain(error: Error) -> String {
    format!("{:#}", anyhow::Error::new(error))
}
