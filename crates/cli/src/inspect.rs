//! `lilims inspect`: what a GGUF file holds, and whether and why not Lilims can run it.

use std::fmt::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lilims_core::inspect::{Fault, FileContent, TensorFacts, inspect};
use lilims_terminal::output::{self, field, size};
use serde::Serialize;
use serde_json::Value;

#[derive(Args)]
pub(crate) struct Inspect {
    /// The GGUF file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    content: FileContent,
    runs: bool,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Inspect {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        let mut content = inspect(&self.file, threads)?;
        let texts = |faults: Vec<Fault>| faults.into_iter().map(fault).collect::<Vec<_>>();
        let problems = texts(std::mem::take(&mut content.problems));
        let warnings = texts(std::mem::take(&mut content.warnings));
        let report = Report { runs: problems.is_empty(), problems, warnings, content };
        if self.json { output::show_json(&report) } else { Ok(output::show(&report.text()?)?) }
    }
}

fn fault(fault: Fault) -> String {
    match fault {
        Fault::NoTensors => "it holds a vocabulary only, no tensors".to_owned(),
        Fault::TemplateEncoding => "the chat template is not a text in UTF-8".to_owned(),
        Fault::TensorType { name, n_tensors, first } => format!(
            "{n_tensors} tensors have a type that Lilims cannot run yet: {name} (first `{first}`)"
        ),
        Fault::Engine(error) => format!("{:#}", anyhow::Error::new(error)),
    }
}

impl Report {
    fn text(&self) -> Result<String, fmt::Error> {
        let mut out = self.summary()?;
        let FileContent { metadata, tensors, chat_template, .. } = &self.content;
        writeln!(out, "\nMetadata ({})", metadata.len())?;
        for (key, value) in metadata {
            writeln!(out, "  {}  {}", field(key), field(&line(value)))?;
        }
        writeln!(out, "\nTensors ({})", tensors.len())?;
        for row in output::table(tensors.iter().map(cells)).lines() {
            writeln!(out, "  {row}")?;
        }
        if let Some(template) = chat_template {
            writeln!(out, "\nChat template\n{template}")?;
        }
        Ok(out)
    }

    fn summary(&self) -> Result<String, fmt::Error> {
        let content = &self.content;
        let unknown = || "not stated".to_owned();
        let text = |text: &Option<String>| text.as_deref().map_or_else(unknown, field);
        let tokens = |n: Option<u64>| n.map_or_else(unknown, |n| format!("{n} tokens"));
        let total: u64 = content.types.iter().map(|share| share.size_bytes).sum();
        let shares = content.types.iter().map(|share| {
            let percent = share.size_bytes as f64 / total.max(1) as f64 * 100.0;
            format!("{} {percent:.1}%", share.name)
        });
        let (file, version) = (&content.file, content.gguf_version);
        let cache = content.cache_bytes;
        let yes = |is_so| if is_so { "yes" } else { "no" }.to_owned();
        let mut rows = vec![
            ("file", format!("{file} ({}, GGUF {version})", size(content.size_bytes))),
            ("family", text(&content.family)),
            ("parameters", format!("{:.1} million", content.parameters as f64 / 1e6)),
            ("quantisation", shares.collect::<Vec<_>>().join(", ")),
            ("context", tokens(content.context)),
            ("cache", cache.map_or_else(unknown, |bytes| format!("up to {}", size(bytes)))),
            ("vocabulary", tokens(content.vocabulary.map(|n| n as u64))),
            ("tokenizer", text(&content.tokenizer)),
            ("chat template", yes(content.chat_template.is_some())),
            ("runs", yes(self.runs)),
        ];
        rows.extend(self.problems.iter().map(|problem| ("problem", field(problem))));
        rows.extend(self.warnings.iter().map(|warning| ("warning", field(warning))));
        let mut out = format!("{}\n", text(&content.name));
        for (label, value) in rows {
            writeln!(out, "  {label:14}{value}")?;
        }
        Ok(out)
    }
}

fn cells(tensor: &TensorFacts) -> [String; 4] {
    let dims: Vec<_> = tensor.dims.iter().map(u64::to_string).collect();
    let (name, type_name) = (tensor.name.clone(), tensor.type_name.clone());
    [name, type_name, dims.join(" × "), size(tensor.size_bytes)]
}

/// A value of the metadata on one line.
fn line(value: &Value) -> String {
    const MAX_CHARS: usize = 100;
    match (value, value.get("length"), value.get("first").and_then(Value::as_array)) {
        (_, Some(length), Some(first)) => {
            let mut values: Vec<_> = first.iter().map(line).collect();
            if length.as_u64().is_some_and(|length| length > first.len() as u64) {
                values.push("…".to_owned());
            }
            format!("{length} values [{}]", values.join(", "))
        }
        (Value::String(text), ..) => {
            let mut line: String = text.chars().take(MAX_CHARS).collect();
            if line.len() < text.len() {
                line.push('…');
            }
            format!("{line:?}")
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_one_short_line() {
        assert!(line(&"x\n".repeat(100).into()).starts_with("\"x\\nx"));
        assert!(line(&"x\n".repeat(100).into()).ends_with("…\""));
        let array = json!({ "length": 20, "first": [0, 1] });
        assert_eq!(line(&array), "20 values [0, 1, …]");
        assert_eq!(line(&json!({ "length": 0, "first": [] })), "0 values []");
    }
}
