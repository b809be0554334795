//! Conversions that run models: calibration, evaluation, and the command line that does both.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_convert::{Error, Job, Manifest, Mix, Options, Stage, Text, convert, expected_sizes};
use lilims_engine::{BackendKind, ImportanceMatrix, LoadOptions, Model};
use lilims_tests::{fixture, lilims, real_model};
use serde_json::Value as Json;

const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The relative difference between the two backends' sums: `cpu` quantises activations to 8 bits,
/// and errors propagate from layer to layer.
const BACKEND_TOLERANCE: f64 = 0.05;
/// Parsing JSON may change the last bit.
const JSON_TOLERANCE: f64 = 1e-12;
/// Measured importance multiplies the divergence from the source by less than this.
const MAX_DIVERGENCE_RATIO: f64 = 0.9;

fn smollm2() -> PathBuf {
    real_model(SMOLLM2)
}

fn job(source: &Path, out: &Path, mix: Mix) -> Job {
    Job {
        source: source.to_owned(),
        out: out.to_owned(),
        options: Options::new(mix),
        calibration: None,
        evaluation: None,
    }
}

fn run(job: &Job) -> Result<Manifest, Error> {
    job.run(&AtomicBool::new(false), &mut |_| {})
}

/// The beginning of a text: enough chunks to measure, without most of the time that the whole takes.
fn beginning(text: Text, size_bytes: usize) -> Text {
    let end = text.text.char_indices().map(|(at, _)| at).find(|at| *at >= size_bytes);
    let beginning = text.text[..end.unwrap_or(text.text.len())].to_owned();
    Text { text: beginning.into(), ..text }
}

/// A text of many tokens for any tokenizer.
fn long_text() -> Text {
    let text = (0..900).map(|i| format!("{} ", i * i % 97)).collect::<String>();
    Text { name: "numbers".to_owned(), text: text.into() }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn squares(model: &Arc<Model>, ids: &[u32]) -> ImportanceMatrix {
    let mut squares = ImportanceMatrix::new(model.spec());
    model.session().unwrap().observe(ids, &mut squares).unwrap();
    squares
}

#[test]
fn both_backends_measure_the_same_activations() {
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama", "gpt2", "phi2", "gemma3"] {
        let path = folder.path().join(name).with_extension("gguf");
        run(&job(&checkpoints.join(name), &path, Mix::F32)).unwrap();
        let load = |backend, threads| {
            let threads = Some(threads);
            Model::load(&path, &LoadOptions { backend, threads, ..LoadOptions::default() }).unwrap()
        };
        let ids: Vec<u32> = (0..20).map(|i| i * 7 % 50).collect();
        let expected = squares(&load(BackendKind::Candle, 1), &ids);
        for threads in [1, 3] {
            let found = squares(&load(BackendKind::Cpu, threads), &ids);
            assert_eq!(found.n_tokens, 20);
            for (found, expected) in found.layers.iter().zip(&expected.layers) {
                let pairs = [
                    (&found.attention, &expected.attention),
                    (&found.attention_out, &expected.attention_out),
                    (&found.ffn, &expected.ffn),
                    (&found.down, &expected.down),
                ];
                for (found, expected) in pairs {
                    let sum: f64 = expected.iter().sum();
                    let off: f64 = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).sum();
                    assert!(sum > 0.0 && off < BACKEND_TOLERANCE * sum, "{name}: {off} of {sum}");
                }
            }
        }
    }
}

#[test]
fn measured_importance_lowers_the_divergence() {
    let folder = tempfile::tempdir().unwrap();
    let mut divergences = Vec::new();
    for calibration in [None, Some(Text::for_calibration())] {
        let out = folder.path().join(format!("{}.gguf", calibration.is_some()));
        let job = Job {
            calibration,
            evaluation: Some(beginning(Text::for_evaluation(), 4_500)),
            ..job(&smollm2(), &out, Mix::Q3_K_M)
        };
        let manifest = run(&job).unwrap();
        let found = manifest.evaluation.clone().unwrap();
        let read = Manifest::read(&Manifest::path_of(&out)).unwrap().evaluation.unwrap();
        assert!((read.mean_kl - found.mean_kl).abs() < JSON_TOLERANCE, "{read:?}");
        let calibration = manifest.conversion.calibration;
        assert_eq!(calibration.is_some(), job.calibration.is_some());
        assert!(found.perplexity_after > found.perplexity_before, "{found:?}");
        assert!(found.p99_kl > found.mean_kl && found.same_top < 1.0, "{found:?}");
        divergences.push((found.mean_kl, found.perplexity_after));
    }
    let [(plain, plain_perplexity), (calibrated, perplexity)] = divergences[..] else { panic!() };
    assert!(calibrated < MAX_DIVERGENCE_RATIO * plain, "{plain} to {calibrated}");
    assert!(perplexity < plain_perplexity, "{plain_perplexity} to {perplexity}");
}

#[test]
fn evaluating_a_checkpoint_removes_temporary_files() {
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama", "gpt2"] {
        let out = folder.path().join(name).with_extension("gguf");
        let job = Job {
            calibration: Some(long_text()),
            evaluation: Some(long_text()),
            ..job(&checkpoints.join(name), &out, Mix::F32)
        };
        let mut stages = Vec::new();
        let manifest = job.run(&AtomicBool::new(false), &mut |stage| {
            stages.push(match stage {
                Stage::Preparing(_) => "preparing",
                Stage::Calibrating { .. } => "calibrating",
                Stage::Converting(_) => "converting",
                Stage::Evaluating { .. } => "evaluating",
            });
        });
        stages.dedup();
        assert_eq!(stages, ["preparing", "calibrating", "converting", "evaluating"], "{name}");
        // F32 loses nothing.
        let found = manifest.unwrap().evaluation.unwrap();
        assert_eq!((found.perplexity_after, found.mean_kl), (found.perplexity_before, 0.0));
        assert_eq!(found.same_top, 1.0);
    }
    let expected = ["gpt2.gguf", "gpt2.lilims.json", "llama.gguf", "llama.lilims.json"];
    assert_eq!(names_in(folder.path()), expected);
}

#[test]
fn jobs_can_be_cancelled_at_each_stage() {
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let job = Job {
        calibration: Some(long_text()),
        evaluation: Some(long_text()),
        ..job(&checkpoints.join("llama"), &out, Mix::Q8_0)
    };
    let cancelled_at = |is_it: fn(&Stage<'_>) -> bool| {
        let cancel = AtomicBool::new(false);
        job.run(&cancel, &mut |stage| {
            cancel.fetch_or(is_it(&stage), Ordering::SeqCst);
        })
    };
    for is_it in [
        (|stage: &Stage<'_>| matches!(stage, Stage::Preparing(_))) as fn(&Stage<'_>) -> bool,
        |stage| matches!(stage, Stage::Calibrating { done: 0, .. }),
        |stage| matches!(stage, Stage::Converting(_)),
    ] {
        assert!(matches!(cancelled_at(is_it), Err(Error::Cancelled)));
        assert!(names_in(folder.path()).is_empty(), "{:?}", names_in(folder.path()));
    }
    // The converted model stays, without figures.
    let manifest = cancelled_at(|stage| matches!(stage, Stage::Evaluating { .. })).unwrap();
    assert_eq!(manifest.evaluation, None);
    assert_eq!(names_in(folder.path()), ["out.gguf", "out.lilims.json"]);
}

#[test]
fn empty_and_short_texts_are_errors() {
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let plain = job(&checkpoints.join("llama"), &out, Mix::Q8_0);
    let text = |text: &'static str| Some(Text { name: "short".to_owned(), text: text.into() });
    let job = Job { calibration: text(""), ..plain.clone() };
    assert!(run(&job).unwrap_err().to_string().contains("calibration text is empty"));
    assert!(names_in(folder.path()).is_empty());
    // The model is converted even if it cannot be evaluated.
    let error = run(&Job { evaluation: text("too short"), ..plain }).unwrap_err();
    assert!(matches!(error, Error::Measure(lilims_bench::Error::TooShort { .. })), "{error}");
    assert_eq!(names_in(folder.path()), ["out.gguf", "out.lilims.json"]);
}

#[test]
fn predicts_sizes() {
    let folder = tempfile::tempdir().unwrap();
    for source in [smollm2(), fixture("checkpoints").join("qwen3")] {
        let sizes = expected_sizes(&source, &Options::new(Mix::Q8_0), false).unwrap();
        assert_eq!(sizes.len(), Mix::all().count());
        for (mix, expected) in sizes.into_iter().filter(|(mix, _)| *mix == Mix::Q8_0) {
            let out = folder.path().join("out.gguf");
            let never = AtomicBool::new(false);
            convert(&source, &out, &Options::new(mix), &never, &mut |_| {}).unwrap();
            assert_eq!(fs::metadata(&out).unwrap().len(), expected, "{mix}");
        }
    }
}

/// Runs the program and returns its exit code, standard output and standard error.
fn run_lilims(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = lilims(arguments).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stdout, stderr)
}

#[test]
fn the_command_line_converts_and_compares() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (source, out, text) = (smollm2(), path("small.gguf"), path("text.txt"));
    let source = source.to_str().unwrap();
    fs::write(&text, &*beginning(Text::for_evaluation(), 4_500).text).unwrap();
    let convert = ["convert", source, "--out", &out, "--type", "q4_0"];

    let more = ["--tensor-type", "blk.0.ffn_down=Q8_0", "--model-version", "2.1.0"];
    let evaluate = format!("--evaluate={text}");
    let arguments = [&convert[..], &more, &["--calibrate", &text, &evaluate]].concat();
    let (code, stdout, stderr) = run_lilims(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    for word in ["Q4_0", "perplexity", "KL divergence"] {
        assert!(stdout.contains(word), "{stdout}");
    }
    for word in ["calibrating", "converting", "measuring 100%"] {
        assert!(stderr.contains(word), "{stderr}");
    }
    let manifest = Manifest::read(&Manifest::path_of(Path::new(&out))).unwrap();
    assert_eq!(manifest.version, "2.1.0");
    assert_eq!(manifest.conversion.tensor_types, ["blk.0.ffn_down=Q8_0"]);
    let down = manifest.tensors.iter().find(|it| it.name == "blk.0.ffn_down.weight").unwrap();
    assert_eq!(down.tensor_type, "Q8_0");
    let figures = manifest.evaluation.unwrap();

    // An existing file is not replaced without `--force`.
    let (code, _, stderr) = run_lilims(&convert);
    assert!(code == Some(1) && stderr.contains("--force"), "{stderr}");

    let (code, stdout, stderr) =
        run_lilims(&["eval", "kl", source, &out, "--text", &text, "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let found: Json = serde_json::from_str(&stdout).unwrap();
    let mean_kl = found["mean_kl"].as_f64().unwrap();
    assert!((mean_kl / figures.mean_kl - 1.0).abs() < 1e-6, "{mean_kl} {figures:?}");

    // Several models beside one run of the original: the same figures, and none for itself.
    let (code, stdout, stderr) =
        run_lilims(&["eval", "kl", source, &out, source, "--text", &text, "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let both: Vec<Json> = serde_json::from_str(&stdout).unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!((&both[0]["mean_kl"], both[1]["mean_kl"].as_f64()), (&found["mean_kl"], Some(0.0)));

    let (code, stdout, stderr) = run_lilims(&["eval", "tensors", source, &out, "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let errors: Vec<Json> = serde_json::from_str(&stdout).unwrap();
    let down = errors.iter().find(|it| it["name"] == "blk.0.ffn_down.weight").unwrap();
    let up = errors.iter().find(|it| it["name"] == "blk.0.ffn_up.weight").unwrap();
    assert_eq!((&down["type"], &up["type"]), (&"Q8_0".into(), &"Q4_0".into()));
    let relative = |it: &Json| it["rmse"].as_f64().unwrap() / it["rms"].as_f64().unwrap();
    assert!(relative(down) < 0.01 && (0.01..0.2).contains(&relative(up)), "{down} {up}");

    let (code, stdout, stderr) = run_lilims(&["eval", "compare", source, &out, "--text", &text]);
    assert_eq!(code, Some(0), "{stderr}");
    for word in ["small.gguf", "bits per byte", "mean KL divergence", "same likeliest"] {
        assert!(stdout.contains(word), "{stdout}");
    }

    for (arguments, code, word) in [
        (&["--type", "Q9"][..], 2, "IQ4_NL"),
        (&["--type", "Q4_0", "--tensor-type", "x"], 2, "no `=`"),
        (&["--type", "Q4_0", "--model-version", "two"], 2, "1.2.3"),
        (&["--type", "Q4_0", "--calibrate", "nowhere.txt"], 1, "nowhere.txt"),
    ] {
        let other = path("other.gguf");
        let all = [&["convert", source, "--out", &other], arguments].concat();
        let (found, _, stderr) = run_lilims(&all);
        assert!(found == Some(code) && stderr.contains(word), "{all:?}: {stderr}");
        assert!(!Path::new(&other).exists());
    }
    assert_eq!(names_in(folder.path()), ["small.gguf", "small.lilims.json", "text.txt"]);
}

#[test]
fn models_with_different_vocabularies_are_compared_by_bits_per_byte() {
    let gemma = real_model("gemma-3-270m-q4_k_m.gguf");
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    fs::write(&text, &*Text::for_evaluation().text).unwrap();
    let (smollm2, gemma) = (smollm2(), gemma);
    let [a, b, text] = [&smollm2, &gemma, &text].map(|path| path.to_str().unwrap());
    let arguments = ["eval", "compare", a, b, "--text", text, "--chunks", "1", "--json"];
    let (code, stdout, stderr) = run_lilims(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    let found: Json = serde_json::from_str(&stdout).unwrap();
    assert!(found["comparison"].is_null(), "{found}");
    for side in ["a", "b"] {
        let bits = found[side]["bits_per_byte"].as_f64().unwrap();
        assert!((0.3..3.0).contains(&bits), "{found}");
    }
    let (code, _, stderr) = run_lilims(&["eval", "kl", a, b, "--text", text]);
    assert!(code == Some(1) && stderr.contains("vocabularies"), "{stderr}");
}
