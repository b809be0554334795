//! Checks conversion with llama.cpp: each checkpoint of the fixtures is converted to F32, and the
//! logits that llama.cpp computes with the file are compared with transformers'.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::format::{small, table};
use super::{Session, Table};
use crate::bench::peer;
use crate::process;
use crate::report::step;

/// The program that prints llama.cpp's logits.
const SOURCE: &str = include_str!("logits.c");
/// The name that all models get: llama.cpp expects the real Phi-3's tokens in one called so.
const MODEL_NAME: &str = "fixture";

/// What transformers computes.
#[derive(Debug, PartialEq)]
struct Expected {
    input_ids: Vec<u32>,
    /// `[tokens][vocabulary]`
    logits: Vec<Vec<f32>>,
}

impl Expected {
    fn parse(json: &[u8]) -> Result<Self> {
        let mut json: Value = serde_json::from_slice(json)?;
        Ok(Self {
            input_ids: serde_json::from_value(json["input_ids"].take())?,
            logits: serde_json::from_value(json["logits"].take())?,
        })
    }
}

/// The comparison of one checkpoint's logits.
#[derive(Debug, PartialEq)]
struct Difference {
    /// The largest absolute value of transformers' logits.
    largest_logit: f32,
    /// The largest absolute difference.
    largest: f32,
    /// The norm of the differences over the norm of transformers' logits.
    relative: f64,
    /// Positions at which both have the same most likely token.
    same_top: usize,
    positions: usize,
}

/// Compares all checkpoints.
pub(super) fn measure(session: &Session<'_>) -> Result<Table> {
    let program = build(session)?;
    let mut rows = Vec::new();
    for folder in folders(&session.fixtures("checkpoints")?)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if session.options.includes(&name) {
            let found = step(&format!("logits of {name}"), || compare(session, &program, &folder))?;
            rows.push(row(name, &found));
        }
    }
    session.options.check_some(&rows)?;
    let headings =
        ["checkpoint", "largest logit", "largest difference", "relative error", "same top token"];
    Ok(Table { text: table(headings, &rows), is_complete: session.options.only.is_none() })
}

/// The folders in a folder, by name.
fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent)?.map(|entry| Ok(entry?.path()));
    let mut folders = entries.collect::<Result<Vec<_>>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders)
}

/// Compiles the program that prints llama.cpp's logits.
fn build(session: &Session<'_>) -> Result<PathBuf> {
    let (source, program) = (session.folder().join("logits.c"), session.folder().join("logits"));
    let llama_cpp = peer::source(session.paths)?;
    let libraries = session.peer.folder();
    fs::write(&source, SOURCE)?;
    let mut cc = Command::new("cc");
    cc.arg("-O1").arg(&source).arg("-o").arg(&program);
    cc.arg("-I").arg(llama_cpp.join("include")).arg("-I").arg(llama_cpp.join("ggml/include"));
    cc.arg("-L").arg(libraries).arg(format!("-Wl,-rpath,{}", libraries.display()));
    process::run(cc.arg("-lllama"))?;
    Ok(program)
}

fn compare(session: &Session<'_>, program: &Path, checkpoint: &Path) -> Result<Difference> {
    let copy = session.folder().join(MODEL_NAME);
    if copy.is_dir() {
        fs::remove_dir_all(&copy)?;
    }
    fs::create_dir(&copy)?;
    for entry in fs::read_dir(checkpoint)? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    let model = session.folder().join("fixture.gguf");
    session.convert(&copy, &model, "F32")?;
    let expected = Expected::parse(&fs::read(checkpoint.join("expected.json"))?)?;
    let mut command = Command::new(program);
    command.arg(&model).args(expected.input_ids.iter().map(u32::to_string));
    let logits = process::bytes(&mut command)?;
    let (logits, rest) = logits.as_chunks::<4>();
    ensure!(rest.is_empty(), "the logits end inside a number");
    let logits: Vec<f32> = logits.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect();
    difference(&expected.logits, &logits)
}

/// Compares logits with the expected rows.
fn difference(expected: &[Vec<f32>], found: &[f32]) -> Result<Difference> {
    let n_vocab = expected.first().map_or(0, Vec::len);
    ensure!(
        n_vocab > 0 && found.len() == expected.len() * n_vocab,
        "{} logits instead of {} × {n_vocab}",
        found.len(),
        expected.len()
    );
    let pairs = || expected.iter().flatten().zip(found);
    let root = |squares: f64| squares.sqrt();
    let norm = root(expected.iter().flatten().map(|&it| f64::from(it).powi(2)).sum());
    let error = root(pairs().map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum());
    let rows = expected.iter().zip(found.chunks_exact(n_vocab));
    Ok(Difference {
        largest_logit: expected.iter().flatten().fold(0.0, |max, it| it.abs().max(max)),
        // `max` would drop a NaN.
        largest: pairs().map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).context("no logits")?,
        relative: error / norm,
        same_top: rows.filter(|(expected, found)| top(expected) == top(found)).count(),
        positions: expected.len(),
    })
}

/// The index of the largest logit.
fn top(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
}

fn row(name: String, found: &Difference) -> [String; 5] {
    [
        name,
        format!("{:.1}", found.largest_logit),
        small(f64::from(found.largest)),
        small(found.relative),
        format!("{} of {}", found.same_top, found.positions),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_compared_in_all_positions() {
        let expected = [vec![3.0, -4.0], vec![0.0, 12.0]];
        let found = difference(&expected, &[3.0, -4.0, 0.5, 12.0]).expect("the shapes match");
        assert_eq!(found.largest_logit, 12.0);
        assert_eq!((found.largest, found.same_top, found.positions), (0.5, 2, 2));
        assert!((found.relative - 0.5 / 13.0).abs() < 1e-12, "{found:?}");
        let swapped = difference(&expected, &[-4.0, 3.0, 0.0, 12.0]).expect("the shapes match");
        assert_eq!((swapped.largest, swapped.same_top), (7.0, 1));
        assert!(difference(&expected, &[3.0]).is_err());
        let cells = row("llama".to_string(), &found);
        assert_eq!(cells, ["llama", "12.0", "0.50", "0.038", "2 of 2"]);
    }

    #[test]
    fn expected_values_are_parsed() {
        let json = br#"{"input_ids": [3, 4], "logits": [[0.5], [-1e-3]], "nll": 1}"#;
        let found = Expected::parse(json).expect("valid JSON");
        assert_eq!(found, Expected { input_ids: vec![3, 4], logits: vec![vec![0.5], vec![-1e-3]] });
        assert!(Expected::parse(b"{}").is_err());
    }

    #[test]
    fn a_logit_that_is_not_a_number_is_seen() {
        let found = difference(&[vec![1.0, 2.0]], &[f32::NAN, 2.0]).expect("the shapes match");
        assert!(found.largest.is_nan() && found.relative.is_nan());
    }
}
