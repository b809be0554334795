//! Sessions beyond their context: sinks and ring against a direct computation, truncation, forks,
//! saved sessions, prompt-lookup drafts, cancelling.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_convert::Mix;
use lilims_engine::{
    BackendKind, Error, Finish, GenerateOptions, KvType, LoadOptions, Model, Overflow, Progress,
    Session,
};
use lilims_tests::fixture;
use tempfile::TempDir;

use crate::{
    BACKENDS, CHUNKED_F32_TOLERANCE, CHUNKED_TOLERANCE, F32_TOLERANCE, GEMMA, SMOLLM2, checkpoint,
    direct, real_model, relative_error,
};

/// The allowed relative change of perplexity by rounding keys and values to 8 bits in blocks of 32.
const Q8_PERPLEXITY_TOLERANCE: f64 = 0.005;

/// Converts a tiny checkpoint to a file with F32 weights.
fn tiny(name: &str) -> (TempDir, PathBuf) {
    let checkpoints = fixture("checkpoints");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    checkpoint::convert(&checkpoints.join(name), Mix::F32, &path);
    (folder, path)
}

fn load(
    path: &std::path::Path,
    backend: BackendKind,
    context: usize,
    kv_type: KvType,
) -> Arc<Model> {
    let options = LoadOptions { backend, kv_type, threads: Some(2), context: Some(context) };
    Model::load(path, &options).unwrap()
}

pub(crate) fn smollm2(context: usize) -> Arc<Model> {
    load(&real_model(SMOLLM2), BackendKind::Cpu, context, KvType::F16)
}

fn ids(count: u32, n_vocab: u32) -> Vec<u32> {
    (0..count).map(|i| 1 + (i * i * 31 + i * 17) % (n_vocab - 1)).collect()
}

/// The tokens that a token attends to with `n_sinks` sinks and a total of `context`.
fn streaming(context: usize, n_sinks: usize) -> impl Fn(usize) -> Vec<usize> {
    move |token| {
        let first = (token + 1).saturating_sub(context - n_sinks).max(n_sinks);
        (0..n_sinks.min(token + 1)).chain(first..token + 1).collect()
    }
}

#[test]
fn sinks_and_ring_equal_direct_computation() {
    let (_folder, path) = tiny("llama");
    let ids = ids(600, 512);
    for (context, n_sinks) in [(16, 4), (16, 0), (300, 4), (200, 100)] {
        let seen = streaming(context, n_sinks);
        let expected = direct::logits(&path, &ids, |_, token| seen(token));
        for backend in BACKENDS {
            let model = load(&path, backend, context, KvType::F32);
            for piece in [ids.len(), 40, 1] {
                let mut session = model.session().unwrap();
                session.set_sinks(n_sinks);
                let pieces = ids.chunks(piece).map(|ids| session.logits(ids).unwrap());
                let logits: Vec<f32> = pieces.flatten().collect();
                let error = relative_error(&logits, &expected);
                println!("{context} {n_sinks} {backend:?} pieces of {piece}: {error:.2e}");
                assert!(error < F32_TOLERANCE, "{context} {n_sinks} {backend:?} {piece}: {error}");
            }
        }
    }
}

/// A Llama with Mistral's architecture name is the same model except for its layers' window.
#[test]
fn c3_mistral_window_equals_a_direct_computation() {
    const WINDOW: usize = 16;
    let source = fixture("checkpoints").join("llama");
    let folder = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "model.safetensors"] {
        fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let config = fs::read(source.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["model_type"] = "mistral".into();
    config["sliding_window"] = WINDOW.into();
    config.as_object_mut().unwrap().remove("pretraining_tp");
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let path = folder.path().join("model.gguf");
    checkpoint::convert(folder.path(), Mix::F32, &path);
    let ids = ids(100, 512);
    let seen = |_: usize, token: usize| -> Vec<usize> {
        ((token + 1).saturating_sub(WINDOW)..=token).collect()
    };
    let expected = direct::logits(&path, &ids, seen);
    for backend in BACKENDS {
        let model = load(&path, backend, 200, KvType::F32);
        for piece in [ids.len(), 40, 1] {
            let mut session = model.session().unwrap();
            let pieces = ids.chunks(piece).map(|ids| session.logits(ids).unwrap());
            let logits: Vec<f32> = pieces.flatten().collect();
            let error = relative_error(&logits, &expected);
            assert!(error < F32_TOLERANCE, "{backend:?} pieces of {piece}: {error:.2e}");
        }
    }
}

#[test]
fn sliding_window_layers_wrap_their_ring() {
    // A window of 16 and the reserve of 2,048 wrap after 2,064 tokens.
    let (_folder, path) = tiny("gemma3");
    let ids = ids(2500, 512);
    let last = &ids[ids.len() - 20..];
    for backend in BACKENDS {
        let model = load(&path, backend, 4000, KvType::F32);
        let mut whole = model.session().unwrap();
        whole.append(&ids[..ids.len() - 20]).unwrap();
        let logits = whole.logits(last).unwrap();
        // The same layers with everything in their caches: the context fits into what they keep.
        let narrow = load(&path, backend, 2500, KvType::F32);
        let mut other = narrow.session().unwrap();
        other.append(&ids[..ids.len() - 20]).unwrap();
        let error = relative_error(&logits, &other.logits(last).unwrap());
        assert!(error < CHUNKED_F32_TOLERANCE, "{backend:?}: {error:.2e}");
        assert_eq!(whole.truncate(2400), 2400, "the reserve covers this truncation");
        whole.append(&ids[2400..2480]).unwrap();
        let error = relative_error(&whole.logits(last).unwrap(), &logits);
        assert!(error < CHUNKED_F32_TOLERANCE, "{backend:?}: {error:.2e}");
        assert_eq!(whole.truncate(100), 0, "the layers' windows no longer have these tokens");
    }
}

#[test]
fn truncated_and_forked_sessions_equal_a_fresh_one() {
    for name in ["llama", "gemma3"] {
        let (_folder, path) = tiny(name);
        let ids = ids(600, 512);
        for backend in BACKENDS {
            let model = load(&path, backend, 200, KvType::F32);
            let fresh = |to: usize| {
                let mut session = model.session().unwrap();
                session.append(&ids[..to]).unwrap();
                session
            };
            let expected = fresh(500).logits(&ids[500..520]).unwrap();
            let mut session = fresh(550);
            // A fork and its original are independent.
            let mut fork = session.fork().unwrap();
            assert_eq!(fork.tokens(), session.tokens());
            fork.append(&ids[..50]).unwrap();
            assert_eq!(session.truncate(500), 500);
            let error = relative_error(&session.logits(&ids[500..520]).unwrap(), &expected);
            assert!(error < CHUNKED_F32_TOLERANCE, "{name} {backend:?}: {error:.2e}");
            assert_eq!(fork.truncate(550), 550);
            let of_fork = fork.logits(&ids[550..]).unwrap();
            let error = relative_error(&of_fork, &fresh(550).logits(&ids[550..]).unwrap());
            assert!(error < CHUNKED_F32_TOLERANCE, "{name} {backend:?}: {error:.2e}");
        }
    }
}

#[test]
fn models_with_learned_positions_reread_the_recent_half() {
    let (_folder, path) = tiny("gpt2");
    let ids = ids(300, 512);
    for backend in BACKENDS {
        let model = load(&path, backend, 64, KvType::F32);
        assert!(!model.can_slide());
        let mut session = model.session().unwrap();
        session.append(&ids[..64]).unwrap();
        let logits = session.logits(&ids[64..65]).unwrap();
        assert_eq!(session.counters().reread, 32);
        let mut fresh = model.session().unwrap();
        fresh.append(&ids[32..64]).unwrap();
        let error = relative_error(&logits, &fresh.logits(&ids[64..65]).unwrap());
        assert!(error < CHUNKED_F32_TOLERANCE, "{backend:?}: {error:.2e}");
        let seen = session.context_use();
        assert_eq!((seen.used(), seen.left(), seen.tokens), (33, 32, 65));

        let mut session = model.session().unwrap();
        let long = answer(&mut session, &ids[..10], 200);
        assert_eq!((long.finish, long.tokens.len()), (Finish::MaxTokens, 200));
        assert!(long.progress.reread_tokens > 100);
        let cut = answer(&mut session, &ids, 2);
        assert_eq!((cut.tokens.len(), cut.progress.prefilled_tokens), (2, 32));
    }
}

#[test]
fn small_batches_equal_single_tokens_bit_for_bit() {
    for name in [SMOLLM2, GEMMA] {
        let model = load(&real_model(name), BackendKind::Cpu, 400, KvType::F16);
        let ids = ids(700, 30_000);
        for depth in [3, 250, 391, 600] {
            let mut session = model.session().unwrap();
            session.append(&ids[..depth]).unwrap();
            for count in 1..=session.max_exact() {
                let ids = &ids[depth..depth + count];
                let together = session.exact_logits(ids).unwrap();
                session.truncate(depth);
                let one_by_one = ids.iter().flat_map(|&id| session.logits(&[id]).unwrap());
                let is_same = together.iter().copied().eq(one_by_one);
                session.truncate(depth);
                assert!(is_same, "{name}: {count} tokens after {depth}");
            }
        }
    }
}

/// Repetitive text, so that drafts are accepted.
const REPETITIVE: &str = "fn area(width: f64, height: f64) -> f64 { width * height }\n\
    fn volume(width: f64, height: f64, depth: f64) -> f64 { width * height * depth }\n\
    fn area(width: f64, height: f64) -> f64 {";

#[test]
fn speculation_does_not_change_answers() {
    let cancel = AtomicBool::new(false);
    for (context, temperature) in [(512, 0.0), (100, 0.0), (512, 0.8)] {
        let model = smollm2(context);
        let prompt = model.tokenizer().encode(REPETITIVE, false).unwrap();
        let answer = |lookup| {
            let mut session = model.session().unwrap();
            let mut options = GenerateOptions { max_tokens: 80, lookup, ..Default::default() };
            (options.sampling.temperature, options.ignore_eos) = (temperature, true);
            let answer = session.generate(&prompt, &options, &cancel, &mut |_, _| {}).unwrap();
            assert_eq!(session.tokens().len(), prompt.len() + answer.tokens.len() - 1);
            (answer.tokens, session.counters())
        };
        let (plain, without) = answer(0);
        for lookup in [1, 4, 100] {
            let (tokens, counters) = answer(lookup);
            println!("{context} {temperature} {lookup}: {counters:?}");
            assert_eq!(tokens, plain, "{context} {temperature} {lookup}");
            // Only rejected drafts are read in addition to the tokens read without drafts.
            let wrong = counters.drafted - counters.accepted;
            assert!(counters.accepted > 0 && counters.read == without.read + wrong);
        }
    }
}

fn answer(session: &mut Session, prompt: &[u32], max_tokens: usize) -> lilims_engine::Answer {
    let options = GenerateOptions { max_tokens, ignore_eos: true, ..Default::default() };
    session.generate(prompt, &options, &AtomicBool::new(false), &mut |_, _| {}).unwrap()
}

#[test]
fn answers_continue_beyond_the_context() {
    let model = smollm2(64);
    let prompt = model.tokenizer().encode("Once upon a time there was", false).unwrap();
    let mut session = model.session().unwrap();
    let first = answer(&mut session, &prompt, 500);
    assert_eq!((first.finish, first.tokens.len()), (Finish::MaxTokens, 500));
    let seen = session.context_use();
    assert_eq!((seen.used(), seen.context, seen.sinks), (64, 64, 4));
    assert_eq!(seen.left(), prompt.len() + 499 - 64);

    // Regenerating an answer reads no prompt token, although the window has slid since.
    let mut session = model.session().unwrap();
    answer(&mut session, &prompt, 200);
    assert!(session.context_use().left() > 100);
    let read = session.counters().read;
    let again = answer(&mut session, &prompt, 20);
    assert_eq!(again.progress.prefilled_tokens, 0);
    assert_eq!(session.counters().read, read + 19);
    assert_eq!(again.tokens, first.tokens[..20]);

    session.set_overflow(Overflow::Stop);
    let stopped = answer(&mut session, &prompt, 500);
    assert_eq!(
        (stopped.finish, stopped.tokens.len()),
        (Finish::ContextFull, 64 - prompt.len() + 1)
    );
}

#[test]
fn oversized_prompt_is_read_inside_the_window_only() {
    let model = smollm2(300);
    let mut session = model.session().unwrap();
    session.set_sinks(20);
    let prompt = ids(2000, 40_000);
    let first = answer(&mut session, &prompt, 2);
    assert_eq!(first.progress.prefilled_tokens, 300);
    assert_eq!(session.counters().read, 301);
    assert_eq!(session.tokens()[..2000], prompt);
    let seen = session.context_use();
    assert_eq!((seen.used(), seen.tokens), (300, 2001));
    // The next turn reads only its own tokens.
    let next = [session.tokens(), &first.tokens[1..], &[77, 78, 79]].concat();
    let second = answer(&mut session, &next, 2);
    assert_eq!(second.progress.prefilled_tokens, 4);
}

#[test]
fn cancelled_prefill_keeps_what_was_read() {
    let model = smollm2(2048);
    let prompt = ids(1000, 40_000);
    let fresh = answer(&mut model.session().unwrap(), &prompt, 8);
    // Cancels before the first chunk, after the first and third chunk, and while generating.
    for (n_read, n_written) in [(0, 0), (256, 0), (768, 0), (1000, 3)] {
        let mut session = model.session().unwrap();
        let cancel = AtomicBool::new(n_read == 0);
        let options = GenerateOptions { max_tokens: 8, ignore_eos: true, ..Default::default() };
        let on_text = &mut |_: &str, progress: &Progress| {
            if progress.read_tokens == n_read && progress.tokens == n_written {
                cancel.store(true, Ordering::Relaxed);
            }
        };
        let cancelled = session.generate(&prompt, &options, &cancel, on_text).unwrap();
        assert_eq!(cancelled.finish, Finish::Cancelled, "{n_read} read, {n_written} written");
        let n_held = session.tokens().len();
        assert!(n_held >= n_read && n_held < n_read + 256, "{n_held} held, {n_read} read");
        assert_eq!(answer(&mut session, &prompt, 8).tokens, fresh.tokens, "{n_read} read");
    }
}

#[test]
fn saved_session_resumes_and_damaged_one_is_rejected() {
    let (_other_folder, other) = tiny("llama");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.session");
    let cases = [(BackendKind::Cpu, KvType::F16), (BackendKind::Candle, KvType::Q8_0)];
    for (backend, kv_type) in cases {
        let model = load(&real_model(SMOLLM2), backend, 100, kv_type);
        let ids = ids(160, 40_000);
        let mut session = model.session().unwrap();
        session.append(&ids[..150]).unwrap();
        session.save(&path).unwrap();
        let mut loaded = Session::load(&model, &path).unwrap();
        assert_eq!(loaded.tokens(), session.tokens());
        assert_eq!(loaded.context_use(), session.context_use());
        assert_eq!(loaded.logits(&ids[150..]).unwrap(), session.logits(&ids[150..]).unwrap());

        for options in [(backend, 101, kv_type), (backend, 100, KvType::F32)] {
            let (backend, context, kv_type) = options;
            let changed = load(&real_model(SMOLLM2), backend, context, kv_type);
            let error = Session::load(&changed, &path).err().unwrap();
            assert!(matches!(error, Error::Saved { .. }), "{error:?}");
        }
        // Its heads are too small for a cache of quantised blocks.
        let other = load(&other, backend, 100, KvType::F16);
        let of_other = Session::load(&other, &path).err().unwrap();
        assert!(matches!(of_other, Error::Saved { .. }), "{of_other:?}");

        let bytes = fs::read(&path).unwrap();
        let damaged = folder.path().join("damaged");
        for len in [0, 11, 12, 20, 100, 300, 1000, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&damaged, &bytes[..len]).unwrap();
            assert!(Session::load(&model, &damaged).is_err(), "{len} bytes");
        }
        for at in (0..400).chain((400..bytes.len()).step_by(bytes.len() / 40)) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x41;
            fs::write(&damaged, &bytes).unwrap();
            assert!(Session::load(&model, &damaged).is_err(), "byte {at}");
        }
    }
    let missing = Session::load(&smollm2(100), &folder.path().join("none"));
    assert!(matches!(missing.err().unwrap(), Error::SavedIo(_)));
}

/// A saved session with a changed header and matching checksums.
fn with_header(bytes: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let end = 16 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let header = change(std::str::from_utf8(&bytes[16..end]).unwrap());
    let mut crafted = bytes[..12].to_vec();
    crafted.extend((header.len() as u32).to_le_bytes());
    crafted.extend(header.bytes());
    let first = crc32fast::hash(&crafted);
    let rest = &bytes[end + 4..bytes.len() - 4];
    let last = crc32fast::hash(&[&crafted, rest].concat());
    [&crafted, &first.to_le_bytes()[..], rest, &last.to_le_bytes()].concat()
}

#[test]
fn crafted_session_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.session");
    let model = smollm2(100);
    let mut session = model.session().unwrap();
    session.append(&ids(150, 40_000)).unwrap();
    session.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let load = |change: &dyn Fn(&str) -> String| {
        fs::write(&path, with_header(&bytes, change)).unwrap();
        Session::load(&model, &path).map(drop)
    };
    load(&|header| header.to_owned()).unwrap();
    for (from, to) in [
        ("\"written\":150", "\"written\":18446744073709551615"),
        ("\"written\":150", "\"written\":1"),
        ("\"written\":150", "\"written\":100000"),
        ("\"start\":4", "\"start\":149"),
        ("\"start\":4", "\"start\":0"),
        ("\"n_sinks\":4", "\"n_sinks\":99"),
        ("\"base\":0", "\"base\":151"),
        ("\"n_tokens\":150", "\"n_tokens\":18446744073709551615"),
        ("\"n_tokens\":150", "\"n_tokens\":151"),
        ("\"note_len\":0", "\"note_len\":18446744073709551615"),
    ] {
        let refused = load(&|header| {
            assert!(header.contains(from), "{header}");
            header.replace(from, to)
        });
        assert!(refused.is_err(), "{to}");
    }
}

#[test]
fn kv_cache_in_8_bits_keeps_the_perplexity() {
    let text = fixture("reference/eval_text.txt");
    let text = fs::read_to_string(text).unwrap();
    for (name, chunks) in [(SMOLLM2, 4), (GEMMA, 1)] {
        let [exact, rounded] = [KvType::F16, KvType::Q8_0].map(|kv_type| {
            let model = load(&real_model(name), BackendKind::Cpu, 512, kv_type);
            let ids = model.tokenizer().encode_prompt(&text, false).unwrap();
            let ids = &ids[..ids.len().min(512 * chunks)];
            lilims_bench::perplexity(&model, ids, 512, |_| {}).unwrap().perplexity
        });
        println!("{name}: f16 {exact:.4}, q8_0 {rounded:.4}");
        assert!((rounded / exact - 1.0).abs() < Q8_PERPLEXITY_TOLERANCE, "{name}: {rounded}");
    }
    let [whole, half] = [KvType::F16, KvType::Q8_0]
        .map(|kv_type| load(&real_model(SMOLLM2), BackendKind::Cpu, 512, kv_type).cache_bytes());
    assert_eq!(half * 32, whole * 17, "34 bytes instead of 64 for 32 values");
    let backends = BACKENDS.map(|backend| {
        let model = load(&real_model(SMOLLM2), backend, 512, KvType::Q8_0);
        model.session().unwrap().logits(&ids(100, 40_000)).unwrap()
    });
    let error = relative_error(&backends[0], &backends[1]);
    assert!(error < 2.0 * CHUNKED_TOLERANCE, "{error}");
}
