//! Compares the engine with transformers' logits on tiny checkpoints and llama.cpp's texts and
//! perplexities on real models, and its two backends with each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod checkpoint;
mod conversations;
mod direct;
mod drafts;
mod json_schema;
mod sessions;
mod variants;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_convert::Mix;
use lilims_engine::spec::Positions;
use lilims_engine::{
    BackendKind, Error, Finish, GenerateOptions, KvType, LoadOptions, Model, Overflow,
};
use lilims_tests::{fixture, real_model};

/// Tolerance for f32 sums in another order.
const F32_TOLERANCE: f64 = 1e-4;
/// Tolerance for weights and cache rounded to f16.
const F16_TOLERANCE: f64 = 5e-3;
/// The checkpoints' folders.
const CHECKPOINTS: [&str; 10] =
    ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2", "phi2", "phi3"];
const BACKENDS: [BackendKind; 2] = [BackendKind::Cpu, BackendKind::Candle];

fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut b.iter().map(|&b| f64::from(b)))
}

fn load(path: &Path, backend: BackendKind, kv_type: KvType) -> Arc<Model> {
    let options = LoadOptions { backend, kv_type, threads: Some(2), context: None };
    Model::load(path, &options).unwrap()
}

fn greedy(model: &Arc<Model>, prompt: &[u32], max_tokens: usize) -> Vec<u32> {
    let options = GenerateOptions { max_tokens, ignore_eos: true, ..GenerateOptions::default() };
    let mut session = model.session().unwrap();
    let cancel = AtomicBool::new(false);
    session.generate(prompt, &options, &cancel, &mut |_, _| {}).unwrap().tokens
}

#[test]
fn tiny_checkpoints_reproduce_transformers() {
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    for name in CHECKPOINTS {
        let source = checkpoints.join(name);
        let expected = checkpoint::expected(&source);
        for (mix, kv_type, tolerance) in
            [(Mix::F32, KvType::F32, F32_TOLERANCE), (Mix::F16, KvType::F16, F16_TOLERANCE)]
        {
            let path = folder.path().join(format!("{name}-{mix}.gguf"));
            checkpoint::convert(&source, mix, &path);
            for backend in BACKENDS {
                let model = load(&path, backend, kv_type);
                let logits = model.session().unwrap().logits(&expected.ids).unwrap();
                let error = relative_error(&logits, &expected.logits);
                println!("{name} {mix} {backend:?}: relative error {error:.2e}");
                assert!(error <= tolerance, "{name} {mix} {backend:?}: {error:.2e}");
                if mix == Mix::F32 {
                    let ids = greedy(&model, &expected.ids, expected.greedy.len());
                    assert_eq!(ids, expected.greedy, "{name} {backend:?}");
                }
            }
        }
    }
}

/// Tolerance for 8-bit weights and activations: rounding the weights costs 1.4e-2, the activations
/// about the same; rows of the wrong part would cost 1.
const Q8_TOLERANCE: f64 = 4e-2;

/// Queries, keys and values are row ranges of one quantised matrix.
#[test]
fn quantised_fused_projections_are_split() {
    let checkpoints = fixture("checkpoints");
    let source = checkpoints.join("gpt2");
    let expected = checkpoint::expected(&source);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    checkpoint::convert(&source, Mix::Q8_0, &path);
    for backend in BACKENDS {
        let model = load(&path, backend, KvType::F32);
        let logits = model.session().unwrap().logits(&expected.ids).unwrap();
        let error = relative_error(&logits, &expected.logits);
        println!("gpt2 Q8_0 {backend:?}: relative error {error:.2e}");
        assert!(error <= Q8_TOLERANCE, "{backend:?}: {error:.2e}");
    }
}

/// llama.cpp's perplexities of `reference/eval_text.txt`. The first chunk alone is not compared:
/// for SmolLM2, llama.cpp's 16.55, measured with AVX-512, is 1.8% above the value of the same
/// weights in f32 (16.27); with AVX2, llama.cpp gives 16.32 and we 16.31.
const PERPLEXITIES: [(&str, f64); 2] = [(SMOLLM2, 18.3914), (GEMMA, 13.9062)];
const PERPLEXITY_TOLERANCE: f64 = 0.01;
/// Each backend rounds activations to 8 bits differently. On SmolLM2 each differs by 0.04 from the
/// f32 logits, so they differ by 0.06 if the errors are independent.
const BACKENDS_TOLERANCE: f64 = 0.08;
/// candle's products are closer to f32, for which the fifth token after “The capital of France is”
/// differs.
const CANDLE_TOKENS: usize = 4;
const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const GEMMA: &str = "gemma-3-270m-q4_k_m.gguf";

fn text_of(model: &Arc<Model>, prompt: &str, max_tokens: usize) -> String {
    let ids = model.tokenizer().encode_prompt(prompt, false).unwrap();
    model.tokenizer().decode(&greedy(model, &ids, max_tokens))
}

#[test]
fn greedy_outputs_equal_llama_cpp() {
    let starts = [
        (SMOLLM2, "The capital of France is", " Paris.\n\nThe United States has a population"),
        (SMOLLM2, "Water boils at", " 100°C, which is a perfect"),
        (GEMMA, "def fibonacci(n):", "\n    if n == 0:\n        return 0\n    elif n"),
        (GEMMA, "Water boils at", " 100 degrees Celsius.\n\nWater boils"),
    ];
    for (name, prompt, start) in starts {
        for (backend, n_tokens) in [(BackendKind::Cpu, 12), (BackendKind::Candle, CANDLE_TOKENS)] {
            let model = load(&real_model(name), backend, KvType::F16);
            let text = text_of(&model, prompt, n_tokens);
            let common = start.len().min(text.len());
            assert_eq!(text[..common], start[..common], "{name} {backend:?}: {prompt}");
            assert!(common >= n_tokens, "{name} {backend:?}: {text:?}");
        }
    }
}

#[test]
fn perplexities_equal_llama_cpp() {
    let text = fixture("reference/eval_text.txt");
    let text = std::fs::read_to_string(text).unwrap();
    for (name, expected) in PERPLEXITIES {
        let model = load(&real_model(name), BackendKind::Cpu, KvType::F16);
        let ids = model.tokenizer().encode_prompt(&text, false).unwrap();
        let measured = lilims_bench::perplexity(&model, &ids, 512, |_| {}).unwrap();
        println!("{name}: {:.4}, first chunk {:.4}", measured.perplexity, measured.first_chunk);
        let difference = (measured.perplexity / expected - 1.0).abs();
        assert!(difference < PERPLEXITY_TOLERANCE, "{name}: {measured:?}");
    }
}

#[test]
fn backends_agree_on_real_models() {
    for name in [SMOLLM2, GEMMA] {
        let [cpu, candle] = BACKENDS.map(|backend| {
            let model = load(&real_model(name), backend, KvType::F16);
            let text = "Long ago, a lighthouse keeper wrote down the names of all passing ships.";
            let ids = model.tokenizer().encode_prompt(text, false).unwrap();
            model.session().unwrap().logits(&ids).unwrap()
        });
        let error = relative_error(&cpu, &candle);
        println!("{name}: cpu against candle {error:.4}");
        assert!(error < BACKENDS_TOLERANCE, "{name}: {error}");
    }
}

/// Tolerance with F32 weights, where only the order of sums differs.
const CHUNKED_F32_TOLERANCE: f64 = 1e-5;
/// Tolerance with quantised weights: the last bit of a sum can round an activation differently.
const CHUNKED_TOLERANCE: f64 = 0.05;

/// Reads `ids` in pieces of several lengths, truncating and reading again in between, and compares
/// the logits with reading all at once.
fn check_pieces(model: &Arc<Model>, ids: &[u32], tolerance: f64) {
    let whole = model.session().unwrap().logits(ids).unwrap();
    for piece in [1, 3, 4, 5, 7, 40] {
        let mut session = model.session().unwrap();
        session.logits(&ids.iter().rev().copied().collect::<Vec<_>>()).unwrap();
        session.truncate(0);
        let pieces = ids.chunks(piece).map(|ids| session.logits(ids).unwrap());
        let logits: Vec<f32> = pieces.flatten().collect();
        let error = relative_error(&logits, &whole);
        println!("{} in pieces of {piece}: {error:.2e}", model.name());
        assert!(error < tolerance, "{} in pieces of {piece}: {error:.2e}", model.name());
    }
}

#[test]
fn chunked_prefill_equals_whole_prefill() {
    let model = load(&real_model(SMOLLM2), BackendKind::Cpu, KvType::F16);
    let ids: Vec<u32> = (0..90).map(|i| 1000 + i * 37 % 5000).collect();
    check_pieces(&model, &ids, CHUNKED_TOLERANCE);
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    for name in CHECKPOINTS {
        let source = checkpoints.join(name);
        let path = folder.path().join("model.gguf");
        checkpoint::convert(&source, Mix::F32, &path);
        for backend in BACKENDS {
            let model = load(&path, backend, KvType::F32);
            check_pieces(&model, &checkpoint::expected(&source).ids, CHUNKED_F32_TOLERANCE);
        }
    }
}

#[test]
fn learned_positions_limit_the_context() {
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    checkpoint::convert(&checkpoints.join("gpt2"), Mix::F32, &path);
    for backend in BACKENDS {
        for (asked, context) in [(None, 256), (Some(1000), 256), (Some(100), 100)] {
            let options = LoadOptions { backend, context: asked, ..LoadOptions::default() };
            let model = Model::load(&path, &options).unwrap();
            assert_eq!(model.spec().positions, Positions::Learned);
            assert_eq!(model.context(), context);
            let ids: Vec<u32> = (0..context as u32).map(|i| i * 7 % 512).collect();
            let mut session = model.session().unwrap();
            let logits = session.read_last(&ids).unwrap();
            assert!(logits.iter().all(|logit| logit.is_finite()));
            session.set_overflow(Overflow::Stop);
            assert!(matches!(session.read_last(&[1]), Err(Error::ContextFull { .. })));
        }
    }
}

#[test]
fn last_logits_equal_those_of_reading_all() {
    let model = load(&real_model(SMOLLM2), BackendKind::Cpu, KvType::F16);
    let ids: Vec<u32> = (0..300).map(|i| 1000 + i * 37 % 5000).collect();
    let mut session = model.session().unwrap();
    let all = session.logits(&ids).unwrap();
    session.truncate(2);
    let last = session.read_last(&ids[2..]).unwrap();
    let error = relative_error(last, &all[all.len() - model.spec().n_vocab..]);
    assert!(error < CHUNKED_TOLERANCE, "{error:.2e}");
    assert_eq!(session.tokens(), ids);
    assert!(session.read_last(&[]).unwrap().is_empty());
}

#[test]
fn logits_do_not_depend_on_the_number_of_threads() {
    let path = real_model(SMOLLM2);
    let logits = |threads| {
        let options = LoadOptions { threads: Some(threads), ..LoadOptions::default() };
        let model = Model::load(&path, &options).unwrap();
        let mut session = model.session().unwrap();
        let ids = model.tokenizer().encode("Threads share the work and nothing else.", false);
        let prefill = session.logits(&ids.unwrap()).unwrap();
        [prefill, session.logits(&[100]).unwrap()].concat()
    };
    let one = logits(1);
    for threads in [2, 3, 5] {
        assert_eq!(logits(threads), one, "{threads} threads");
    }
}

#[test]
fn turn_prefills_only_its_new_tokens() {
    let model = load(&real_model(SMOLLM2), BackendKind::Cpu, KvType::F16);
    let mut session = model.session().unwrap();
    let cancel = AtomicBool::new(false);
    let options = GenerateOptions { max_tokens: 8, ..GenerateOptions::default() };
    let mut prompt = model.tokenizer().encode("One two three four five six", false).unwrap();
    let first = session.generate(&prompt, &options, &cancel, &mut |_, _| {}).unwrap();
    assert_eq!(first.progress.prefilled_tokens, prompt.len());
    prompt.extend(&first.tokens);
    prompt.extend(model.tokenizer().encode(" and then", false).unwrap());
    let second = session.generate(&prompt, &options, &cancel, &mut |_, _| {}).unwrap();
    // The last token of an answer is sampled but not read, so it counts as new.
    let new = model.tokenizer().encode(" and then", false).unwrap().len() + 1;
    assert_eq!(second.progress.prefilled_tokens, new);
}

#[test]
fn generation_stops_where_it_should() {
    let model = load(&real_model(SMOLLM2), BackendKind::Cpu, KvType::F16);
    let prompt = model.tokenizer().encode("The capital of France is", false).unwrap();
    let cancel = AtomicBool::new(false);
    let base = GenerateOptions { max_tokens: 20, ignore_eos: true, ..GenerateOptions::default() };
    let run = |options: &GenerateOptions, cancel: &AtomicBool, after: usize| {
        let mut session = model.session().unwrap();
        let mut text = String::new();
        let answer = session.generate(&prompt, options, cancel, &mut |piece, progress| {
            text.push_str(piece);
            cancel.store(progress.tokens >= after, Ordering::Relaxed);
        });
        let answer = answer.unwrap();
        assert_eq!(answer.text, text, "the streamed text must equal the answer");
        answer
    };
    let whole = run(&base, &cancel, usize::MAX);
    assert_eq!((whole.finish, whole.tokens.len()), (Finish::MaxTokens, 20));

    let stop = GenerateOptions { stop: vec!["United States".into()], ..base.clone() };
    let stopped = run(&stop, &cancel, usize::MAX);
    assert_eq!(stopped.finish, Finish::StopText);
    assert_eq!(stopped.text, " Paris.\n\nThe ");

    let cancelled = run(&base, &cancel, 3);
    assert_eq!((cancelled.finish, cancelled.tokens.len()), (Finish::Cancelled, 3));
    assert!(whole.text.starts_with(&cancelled.text));
    cancel.store(false, Ordering::Relaxed);

    let options = LoadOptions { context: Some(10), ..LoadOptions::default() };
    let small = Model::load(&real_model(SMOLLM2), &options).unwrap();
    let mut session = small.session().unwrap();
    session.set_overflow(Overflow::Stop);
    let answer = session.generate(&prompt, &base, &cancel, &mut |_, _| {}).unwrap();
    assert_eq!((answer.finish, answer.tokens.len()), (Finish::ContextFull, 10 - prompt.len() + 1));
    let error = session.generate(&[1; 11], &base, &cancel, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("the context holds 10"), "{error}");
}

#[test]
fn unknown_tokens_and_damaged_files_are_errors() {
    let model = load(&real_model(SMOLLM2), BackendKind::Cpu, KvType::F16);
    let error = model.session().unwrap().logits(&[u32::MAX]).unwrap_err();
    assert!(error.to_string().contains("not in the vocabulary"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.gguf");
    let bytes = std::fs::read(real_model(SMOLLM2)).unwrap();
    for len in [0, 3, 100, 1_000_000, bytes.len() - 1] {
        std::fs::write(&damaged, &bytes[..len]).unwrap();
        let error = Model::load(&damaged, &LoadOptions::default()).err().unwrap();
        println!("{len} bytes: {error}");
    }
    let missing = Model::load(&folder.path().join("none.gguf"), &LoadOptions::default());
    assert!(missing.err().unwrap().to_string().contains("none.gguf"));
}
