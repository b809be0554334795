//! Compares Lilims' quantised files with llama.cpp's of the same types: errors of the tensors,
//! divergence from the F32 file, perplexity.
//!
//! All files are read with Lilims, in one run, so that the F32 file is read once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::format::{change, table};
use super::paired::Change;
use super::{CONTEXT, Session, Table};
use crate::process;
use crate::report::step;

/// The types that are compared, by the names of both programs.
const TYPES: [&str; 11] = [
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K",
];
/// Chunks of the text that are read.
const CHUNKS: usize = 100;
/// Fewer chunks are enough for a trial, but not for the document.
const MIN_CHUNKS: usize = 100;
const _: () = assert!(CHUNKS >= MIN_CHUNKS);
/// The perplexity of a file may exceed that of llama.cpp's by this share.
const BAR: f64 = 0.005;
/// Tensors count as worse if their error is larger by more than this share, which is rounding.
const ROUNDING: f64 = 1e-6;

/// The files of one type.
#[derive(Debug)]
struct Files {
    type_name: &'static str,
    ours: PathBuf,
    peers: PathBuf,
}

/// The error of a tensor.
#[derive(Debug, Clone, PartialEq)]
struct TensorError {
    name: String,
    type_name: String,
    values: f64,
    rmse: f64,
}

/// The errors of all quantised tensors of a type, compared.
#[derive(Debug, Default, PartialEq)]
struct Errors {
    /// The sums of the squared errors.
    ours: f64,
    peers: f64,
    /// Tensors in which ours is larger.
    worse: usize,
    /// Tensors that have different types in the two files.
    of_other_type: usize,
    quantised: usize,
}

/// How far a quantised file is from the F32 file.
#[derive(Debug, PartialEq)]
struct Divergence {
    mean_kl: f64,
    /// The perplexities of the F32 file and of this one.
    base_perplexity: f64,
    perplexity: f64,
    perplexity_of_chunks: Vec<f64>,
}

/// Compares all types.
pub(super) fn measure(session: &Session<'_>) -> Result<Table> {
    let types: Vec<_> = TYPES.into_iter().filter(|name| session.options.includes(name)).collect();
    session.options.check_some(&types)?;
    let base = step("SmolLM2 in F32 and in the types", || base_file(session))?;
    let files: Vec<Files> =
        types.into_iter().map(|name| quantise(session, &base, name)).collect::<Result<_>>()?;
    let compare = |files: &Files| {
        let [ours, peers] = [&files.ours, &files.peers].map(|file| tensors(session, &base, file));
        Errors::of(&ours?, &peers?)
    };
    let errors: Vec<Errors> =
        step("errors of the tensors", || files.iter().map(compare).collect())?;
    let max_chunks = session.options.chunks.unwrap_or(CHUNKS);
    let divergences = step(&format!("{} files, {max_chunks} chunks", 2 * files.len()), || {
        divergences(session, &base, &files, max_chunks)
    })?;
    let pairs = divergences.chunks_exact(2);
    let rows: Vec<_> = files
        .iter()
        .zip(&errors)
        .zip(pairs)
        .map(|((files, errors), pair)| row(files.type_name, errors, &pair[0], &pair[1]))
        .collect::<Result<_>>()?;
    let first = divergences.first().context("nothing was read")?;
    // A short text has fewer chunks than were wanted.
    let chunks = first.perplexity_of_chunks.len();
    Ok(Table {
        text: text(&rows, chunks, first.base_perplexity),
        is_complete: session.options.only.is_none() && chunks >= MIN_CHUNKS,
    })
}

/// The model in F32, which is made once.
fn base_file(session: &Session<'_>) -> Result<PathBuf> {
    let file = session.folder().join("F32.gguf");
    if !file.is_file() {
        session.convert(&session.files.smollm2, &file, "F32")?;
    }
    Ok(file)
}

/// Quantises with both programs. Only llama.cpp's file is kept for the next run: it is the slower
/// one, and its quantiser does not change.
fn quantise(session: &Session<'_>, base: &Path, type_name: &'static str) -> Result<Files> {
    let file = |program: &str| session.folder().join(format!("{type_name}.{program}.gguf"));
    let files = Files { type_name, ours: file("lilims"), peers: file("llama.cpp") };
    step(type_name, || {
        session.convert(base, &files.ours, type_name)?;
        if files.peers.is_file() {
            return Ok(());
        }
        let partial = files.peers.with_extension("partial");
        let mut command = Command::new(session.peer.program("llama-quantize"));
        command.args([base, &partial]).arg(type_name);
        process::bytes(&mut command)?;
        Ok(lilims_files::rename_replacing(&partial, &files.peers)?)
    })?;
    Ok(files)
}

fn tensors(session: &Session<'_>, base: &Path, file: &Path) -> Result<Vec<TensorError>> {
    let mut command = session.lilims(&["eval", "tensors", "--json"]);
    let report = process::json(command.args([base, file]))?;
    let tensor = |it: &Value| {
        Some(TensorError {
            name: it["name"].as_str()?.to_string(),
            type_name: it["type"].as_str()?.to_string(),
            values: it["values"].as_f64()?,
            rmse: it["rmse"].as_f64()?,
        })
    };
    let tensors = report.as_array().and_then(|list| list.iter().map(tensor).collect());
    tensors.context("`lilims eval tensors` printed something else")
}

impl Errors {
    fn of(ours: &[TensorError], peers: &[TensorError]) -> Result<Self> {
        let mut errors = Self::default();
        ensure!(ours.len() == peers.len(), "the files have different tensors");
        for (ours, peers) in ours.iter().zip(peers) {
            ensure!(ours.name == peers.name, "{} is compared with {}", ours.name, peers.name);
            if [ours, peers].iter().all(|it| it.type_name == "F32") {
                continue;
            }
            let sum = |it: &TensorError| it.rmse.powi(2) * it.values;
            errors.ours += sum(ours);
            errors.peers += sum(peers);
            errors.worse += usize::from(ours.rmse > peers.rmse * (1.0 + ROUNDING));
            errors.of_other_type += usize::from(ours.type_name != peers.type_name);
            errors.quantised += 1;
        }
        Ok(errors)
    }

    /// The ratio of the root mean square errors over all quantised tensors.
    fn ratio(&self) -> String {
        match (self.ours == 0.0, self.peers == 0.0) {
            (true, true) => "both exact".to_string(),
            (true, false) => "Lilims exact".to_string(),
            (false, true) => "llama.cpp exact".to_string(),
            (false, false) => format!("{:.3}", (self.ours / self.peers).sqrt()),
        }
    }

    fn worse(&self) -> String {
        let mut text = format!("{} of {}", self.worse, self.quantised);
        if self.of_other_type > 0 {
            text.push_str(&format!(" ({} of another type)", self.of_other_type));
        }
        text
    }
}

/// Reads the text with the F32 file and all others: for each type llama.cpp's file, then ours.
fn divergences(
    session: &Session<'_>,
    base: &Path,
    files: &[Files],
    max_chunks: usize,
) -> Result<Vec<Divergence>> {
    let mut command = session.lilims(&["eval", "kl", "--json", "--context", CONTEXT, "--chunks"]);
    command.arg(max_chunks.to_string()).arg("--text").arg(&session.files.news).arg(base);
    command.args(files.iter().flat_map(|files| [&files.peers, &files.ours]));
    // Its progress is shown.
    let report = process::json(command.stderr(Stdio::inherit()))?;
    let list = report.as_array().context("`lilims eval kl` printed no list")?;
    ensure!(list.len() == 2 * files.len(), "`lilims eval kl` left out a file");
    let divergences = list.iter().map(Divergence::parse).collect::<Option<_>>();
    divergences.context("`lilims eval kl` left out a figure")
}

impl Divergence {
    fn parse(report: &Value) -> Option<Self> {
        let chunks = report["perplexity_of_chunks"].as_array()?;
        Some(Self {
            mean_kl: report["mean_kl"].as_f64()?,
            base_perplexity: report["base"]["perplexity"].as_f64()?,
            perplexity: report["other"]["perplexity"].as_f64()?,
            perplexity_of_chunks: chunks.iter().map(Value::as_f64).collect::<Option<_>>()?,
        })
    }

    /// The relative increase of the perplexity over that of the F32 file.
    fn over_base(&self) -> String {
        change(self.perplexity / self.base_perplexity - 1.0, 1)
    }
}

fn row(
    type_name: &str,
    errors: &Errors,
    peers: &Divergence,
    ours: &Divergence,
) -> Result<[String; 7]> {
    let ratio = Change::of(&peers.perplexity_of_chunks, &ours.perplexity_of_chunks)
        .context("too few chunks to compare perplexities")?;
    let [value, low, high] = [ratio.value, ratio.low, ratio.high].map(|share| change(share, 2));
    Ok([
        type_name.to_string(),
        errors.ratio(),
        errors.worse(),
        format!("{:.4} → {:.4}", peers.mean_kl, ours.mean_kl),
        format!("{} → {}", peers.over_base(), ours.over_base()),
        format!("{value} ({low} to {high})"),
        verdict(ratio).to_string(),
    ])
}

/// Whether the perplexity exceeds the bar; open if the bar lies inside the interval.
fn verdict(ratio: Change) -> &'static str {
    match ratio {
        Change { high, .. } if high <= BAR => "met",
        Change { low, .. } if low > BAR => "**missed**",
        _ => "open",
    }
}

fn text(rows: &[[String; 7]], chunks: usize, f32_perplexity: f64) -> String {
    let bar = format!("at most {}", change(BAR, 1));
    let headings = [
        "type",
        "RMSE, Lilims/llama.cpp",
        "worse tensors",
        "KL, llama.cpp → Lilims",
        "perplexity over F32, llama.cpp → Lilims",
        "perplexity, Lilims/llama.cpp",
        &bar,
    ];
    format!(
        "{}
Text: `lee_background.cor` of the Python package gensim, {chunks} chunks of {CONTEXT} tokens, the \
second half of each scored; perplexity of the F32 file {f32_perplexity:.3}. Lilims reads the files of \
both programs. RMSE is over all quantised tensors. A file whose tensors are exact still diverges: its \
activations are quantised to 8 bits, those of the F32 file are not. The ratio of the perplexities has an interval of \
95%, from the differences of the chunks' mean losses; “open”: the bar lies inside it.

```
lilims convert SmolLM2-135M-Instruct.Q4_1.gguf --out F32.gguf --type F32
lilims convert F32.gguf --out TYPE.lilims.gguf --type TYPE
llama-quantize F32.gguf TYPE.llama.cpp.gguf TYPE
lilims eval tensors F32.gguf FILE --json
lilims eval kl F32.gguf FILE… --text lee_background.cor --context {CONTEXT} --chunks {chunks} --json
```
",
        table(headings, rows)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tensor(name: &str, type_name: &str, rmse: f64) -> TensorError {
        let (name, type_name) = (name.to_string(), type_name.to_string());
        TensorError { name, type_name, values: 100.0, rmse }
    }

    #[test]
    fn errors_are_summed_over_quantised_tensors() {
        let ours = [tensor("a", "Q4_0", 3.0), tensor("b", "Q6_K", 1.0), tensor("n", "F32", 0.0)];
        let peers = [tensor("a", "Q4_0", 5.0), tensor("b", "Q8_0", 0.5), tensor("n", "F32", 0.0)];
        let errors = Errors::of(&ours, &peers).expect("the tensors match");
        assert_eq!((errors.worse, errors.of_other_type, errors.quantised), (1, 1, 2));
        // √(9 + 1) / √(25 + 0.25)
        assert_eq!(errors.ratio(), "0.629");
        assert_eq!(errors.worse(), "1 of 2 (1 of another type)");
        assert!(Errors::of(&ours, &peers[..2]).is_err());
        assert!(Errors::of(&ours[..1], &peers[1..2]).is_err());
        let exact = Errors { peers: 2.0, ..Errors::default() };
        assert_eq!((exact.ratio(), exact.worse()), ("Lilims exact".into(), "0 of 0".into()));
    }

    fn divergence(mean_kl: f64, perplexity: f64) -> Divergence {
        let report = json!({
            "model": "m", "mean_kl": mean_kl, "log_ratio": 0.1,
            "base": {"perplexity": 20.0}, "other": {"perplexity": perplexity},
            "perplexity_of_chunks": [perplexity - 1.0, perplexity + 1.0],
        });
        Divergence::parse(&report).expect("all figures are there")
    }

    #[test]
    fn figures_become_a_row() {
        let errors = Errors { ours: 1.0, peers: 4.0, quantised: 211, ..Errors::default() };
        let cells =
            row("Q4_0", &errors, &divergence(0.3, 25.0), &divergence(0.2, 24.0)).expect("enough");
        let expected = [
            "Q4_0",
            "0.500",
            "0 of 211",
            "0.3000 → 0.2000",
            "+25.0% → +20.0%",
            "−4.01% (−4.32% to −3.69%)",
            "met",
        ];
        assert_eq!(cells, expected);
        let text = text(&[cells], 120, 20.0);
        assert!(text.starts_with("| type | RMSE, Lilims/llama.cpp |"), "{text}");
        assert!(text.contains("| at most +0.5% |\n") && text.contains("--chunks 120 "), "{text}");
        assert_eq!(Divergence::parse(&json!({"mean_kl": 1.0})), None);
    }

    #[test]
    fn bar_inside_the_interval_is_open() {
        let change = |low, high| Change { value: f64::midpoint(low, high), low, high };
        assert_eq!(verdict(change(-0.002, 0.004)), "met");
        assert_eq!(verdict(change(0.001, 0.006)), "open");
        assert_eq!(verdict(change(0.006, 0.009)), "**missed**");
    }
}
