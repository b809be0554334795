//! Files that are modified while they are in use (A3): a model that generates, a source that is
//! converted, and an output path that becomes occupied.

#![expect(clippy::unwrap_used, reason = "Clippy does not recognise helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_convert::{Error, Mix, Options, convert};
use lilims_engine::{GenerateOptions, LoadOptions, Model, Overflow};
use tempfile::TempDir;

/// Converts a tiny checkpoint of the fixtures.
fn tiny_model() -> (TempDir, PathBuf) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    run(&fixtures.join("checkpoints/llama"), &path, &mut || {}).unwrap();
    (folder, path)
}

/// Converts to F16, and calls `halfway` once half of the tensors are written.
fn run(source: &Path, out: &Path, halfway: &mut dyn FnMut()) -> Result<(), Error> {
    let options = Options::new("F16".parse::<Mix>().unwrap());
    convert(source, out, &options, &AtomicBool::new(false), &mut |progress| {
        if progress.tensor_idx == progress.n_tensors / 2 {
            halfway();
        }
    })
    .map(drop)
}

fn truncate(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn options() -> GenerateOptions {
    GenerateOptions { max_tokens: 5000, ignore_eos: true, ..GenerateOptions::default() }
}

#[test]
fn a3_truncating_a_model_while_it_generates_is_an_error() {
    for n_threads in [1, 3] {
        let (folder, path) = tiny_model();
        let whole = folder.path().join("whole");
        fs::copy(&path, &whole).unwrap();
        let load = LoadOptions { threads: Some(n_threads), ..LoadOptions::default() };
        let model = Model::load(&path, &load).unwrap();
        let mut session = model.session().unwrap();
        session.set_overflow(Overflow::Slide);
        let (mut n_texts, mut is_truncated) = (0, false);
        let error = session
            .generate(&[1, 2, 3], &options(), &AtomicBool::new(false), &mut |text, progress| {
                assert!(text.is_empty() || !is_truncated, "text after the file was truncated");
                n_texts += usize::from(!text.is_empty());
                if progress.tokens == 5 && !is_truncated {
                    truncate(&path, 0);
                    is_truncated = true;
                }
            })
            .unwrap_err();
        assert!(is_truncated && n_texts > 0);
        assert!(error.is_changed_file(), "{error}");
        let sentence = format!("{} was changed or cut short while it was in use", path.display());
        assert_eq!(error.to_string(), sentence);
        // The session is unusable and cannot be saved.
        assert!(session.logits(&[1]).is_err_and(|error| error.is_changed_file()));
        let saved = session.save(&folder.path().join("session"));
        assert!(saved.is_err_and(|error| error.is_changed_file()));
        assert!(session.tokens().is_empty());
        // After restoring the file, a new model generates.
        fs::copy(&whole, &path).unwrap();
        let mut session = Model::load(&path, &load).unwrap().session().unwrap();
        let short = GenerateOptions { max_tokens: 5, ..options() };
        let answer = session.generate(&[1, 2, 3], &short, &AtomicBool::new(false), &mut |_, _| {});
        assert_eq!(answer.unwrap().tokens.len(), 5);
    }
}

#[test]
fn a3_overwriting_a_model_between_turns_is_an_error() {
    let (_folder, path) = tiny_model();
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    let mut session = Arc::clone(&model).session().unwrap();
    let never = AtomicBool::new(false);
    let short = GenerateOptions { max_tokens: 3, ..options() };
    session.generate(&[1, 2], &short, &never, &mut |_, _| {}).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(later).unwrap();
    let again = session.generate(&[1, 2], &short, &never, &mut |_, _| {});
    assert!(again.is_err_and(|error| error.is_changed_file()));
    assert!(model.check_unchanged().is_err());
}

#[test]
fn l1_a_file_created_during_a_conversion_is_not_replaced() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let options =
        Options { replace_existing: false, ..Options::new("F16".parse::<Mix>().unwrap()) };
    let never = AtomicBool::new(false);
    let converted =
        convert(&fixtures.join("checkpoints/llama"), &out, &options, &never, &mut |_| {
            fs::write(&out, "somebody else's").unwrap();
        });
    let error = converted.map(drop).unwrap_err().to_string();
    assert!(error.contains("out.gguf"), "{error}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "somebody else's");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a3_modifying_a_source_during_a_conversion_is_an_error() {
    // A GGUF file, which is memory-mapped, and a checkpoint, which is read.
    let (folder, model) = tiny_model();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let checkpoint = folder.path().join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    for entry in fs::read_dir(fixtures.join("checkpoints/llama")).unwrap() {
        let entry = entry.unwrap();
        let bytes = fs::read(entry.path()).unwrap();
        fs::write(checkpoint.join(entry.file_name()), bytes).unwrap();
    }
    let weights = checkpoint.join("model.safetensors");
    for (source, changed, len) in
        [(&model, &model, 0), (&model, &model, 9000), (&checkpoint, &weights, 5000)]
    {
        let whole = fs::read(changed).unwrap();
        let out = folder.path().join("out.gguf");
        let error = run(source, &out, &mut || truncate(changed, len)).unwrap_err();
        assert!(matches!(&error, Error::Changed { path } if path == changed), "{error:?}");
        assert!(error.to_string().contains(&*changed.to_string_lossy()));
        assert!(!out.exists());
        fs::write(changed, whole).unwrap();
    }
}
