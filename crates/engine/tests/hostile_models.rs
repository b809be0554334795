//! Models with invalid metadata, vocabularies or tensors: each is rejected with an error or runs,
//! and none crashes the process or takes more memory than a valid model of its size (A4, A11, T11).

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::{
    BackendKind, Error, Fit, GenerateOptions, KvType, LoadOptions, MemoryBudget, MemoryEstimate,
    Model, ModelSpec, Tokenizer, estimate::MemorySource,
};
use lilims_gguf::{File, TensorType, Value, Writer};

mod child;
mod tiny_model;
use tiny_model::{Plan, plan};

/// Address space of the child: the program, stacks, arenas, and little else.
const CHILD_KIB: u64 = 1 << 20;
/// Resident memory of the child.
const MAX_RESIDENT_KIB: u64 = 300 << 10;

const FAMILIES: [&str; 3] = ["llama", "gpt2", "gemma3"];

/// Numeric metadata keys of all or some families.
const KEYS: [&str; 23] = [
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "expert_count",
];

const OTHER_KEYS: [&str; 9] = [
    "general.alignment",
    "general.architecture",
    "split.no",
    "split.count",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.unknown_token_id",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.chat_template",
];

fn values() -> Vec<Option<Value<'static>>> {
    let whole = [0, 1, 2, 3, 5, 7, 16, 31, 33, 63, 65, 1 << 24, (1 << 24) + 1, 1 << 31, u32::MAX];
    let floats = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, 0.0, 1e-45, 1e30, f32::MAX];
    let mut values = vec![None];
    values.extend(whole.map(|value| Some(Value::U32(value))));
    values.extend([1 << 63, u64::MAX].map(|value| Some(Value::U64(value))));
    values.extend(floats.map(|value| Some(Value::F32(value))));
    values.extend([
        Some(Value::I32(-1)),
        Some(Value::I64(i64::MIN)),
        Some(Value::F64(1e300)),
        Some(Value::Bool(true)),
        Some(Value::String(b"linear")),
        Some(Value::String(b"\xff\xfe")),
    ]);
    values
}

/// Calls `visit` with each mutant and its description.
fn mutants(visit: &mut dyn FnMut(String, Vec<u8>)) {
    for family in FAMILIES {
        let plan = plan(family);
        let full = KEYS.map(|key| format!("{family}.{key}"));
        for key in full.iter().map(String::as_str).chain(OTHER_KEYS) {
            for value in values() {
                let mut mutant = plan.clone();
                mutant.set(key, value);
                visit(format!("{family}: {key} = {value:?}"), mutant.file());
            }
        }
        for (idx, tensor) in plan.tensors.iter().enumerate() {
            let mut add = |what: &str, change: &dyn Fn(&mut tiny_model::Tensor)| {
                let mut mutant = plan.clone();
                change(&mut mutant.tensors[idx]);
                visit(format!("{family}: {} {what}", tensor.name), mutant.file());
            };
            add("without dimensions", &|tensor| tensor.dims.clear());
            add("with more dimensions", &|tensor| tensor.dims.push(1));
            add("of size 0", &|tensor| tensor.dims[0] = 0);
            add("transposed", &|tensor| tensor.dims.reverse());
            add("one column more", &|tensor| {
                tensor.dims[0] += 1;
                tensor.bytes.resize(tensor.bytes.len() * 2, 0);
            });
            add("one row less", &|tensor| *tensor.dims.last_mut().unwrap() -= 1);
            add("huge", &|tensor| *tensor.dims.last_mut().unwrap() = 1 << 40);
            add("overflowing", &|tensor| tensor.dims = vec![1 << 32, 1 << 32, 1 << 32]);
            add("of type F16", &|tensor| tensor.ty = TensorType::F16);
            add("of type Q8_0", &|tensor| tensor.ty = TensorType::Q8_0);
            add("of type Q6_K", &|tensor| tensor.ty = TensorType::Q6_K);
            add("of type I32", &|tensor| tensor.ty = TensorType::I32);
            add("of unknown type", &|tensor| tensor.ty = TensorType::Unknown(77));
            let mut mutant = plan.clone();
            mutant.tensors.remove(idx);
            visit(format!("{family}: without {}", tensor.name), mutant.file());
        }
    }
    for (what, bytes) in vocabularies() {
        visit(what, bytes);
    }
}

/// Inconsistent vocabularies.
fn vocabularies() -> Vec<(String, Vec<u8>)> {
    let plan = plan("llama");
    let base = |writer: &mut Writer, skip: &str| {
        for (key, value) in plan.metadata.iter().filter(|(key, _)| key != skip) {
            writer.value(key, *value);
        }
    };
    let tokens = || plan.texts.iter().map(|text| Value::String(text.as_bytes()));
    let n = plan.texts.len();
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let mut nested = Vec::new();
    Writer::default().array("a", [Value::String(b"x")]).write(&mut nested).unwrap();
    let nested = File::from_bytes(nested).unwrap();
    let array = nested.metadata().get("a").unwrap();
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: &str, skip: &str, change: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::default();
        base(&mut writer, skip);
        change(&mut writer);
        all.push((format!("vocabulary: {what}"), plan.file_with(writer)));
    };
    add("none", "", &|_| {});
    add("empty", "", &|writer| {
        writer.array(&key("tokens"), []);
    });
    add("one token too few", "", &|writer| {
        writer.array(&key("tokens"), tokens().skip(1));
    });
    add("of numbers", "", &|writer| {
        writer.array(&key("tokens"), (0..9).map(Value::I32));
    });
    add("of arrays", "", &|writer| {
        writer.array(&key("tokens"), [array, array]);
    });
    add("a string", "", &|writer| {
        writer.str(&key("tokens"), "a b c");
    });
    add("all tokens equal", "", &|writer| {
        writer.array(&key("tokens"), (0..n).map(|_| Value::String(b"a")));
    });
    add("not UTF-8", "", &|writer| {
        writer.array(&key("tokens"), (0..n).map(|_| Value::String(b"\xff\xc3")));
    });
    for name in ["scores", "token_type"] {
        for len in [0, 1, n - 1, n, n + 1] {
            add(&format!("{len} {name}"), "", &|writer| {
                writer.array(&key("tokens"), tokens());
                writer.array(&key(name), (0..len).map(|_| Value::F32(f32::NAN)));
            });
        }
        add(&format!("{name} of strings"), "", &|writer| {
            writer.array(&key("tokens"), tokens()).array(&key(name), tokens());
        });
        add(&format!("{name} of arrays"), "", &|writer| {
            writer.array(&key("tokens"), tokens()).array(&key(name), (0..n).map(|_| array));
        });
        add(&format!("{name} is a number"), "", &|writer| {
            writer.array(&key("tokens"), tokens()).value(&key(name), Value::U32(7));
        });
        add(&format!("{name} out of range"), "", &|writer| {
            writer
                .array(&key("tokens"), tokens())
                .array(&key(name), (0..n).map(|_| Value::I64(i64::MIN)));
        });
    }
    for model in ["gpt2", "gemma4", "llama", "bert", ""] {
        for merges in [&["a b", "no such", "", " ", "a  b", "x"][..], &[]] {
            for pre in ["llama-bpe", "gemma4", "?"] {
                add(&format!("{model} {pre} {merges:?}"), "tokenizer.ggml.model", &|writer| {
                    writer.str(&key("model"), model).str(&key("pre"), pre);
                    writer.array(&key("tokens"), tokens());
                    let merges = merges.iter().map(|text| Value::String(text.as_bytes()));
                    writer.array(&key("merges"), merges);
                });
            }
        }
        add(&format!("{model} merges of numbers"), "tokenizer.ggml.model", &|writer| {
            writer.str(&key("model"), model).str(&key("pre"), "gpt-2");
            writer.array(&key("tokens"), tokens()).array(&key("merges"), (0..n).map(|_| array));
        });
    }
    all
}

/// A valid model with random changes in its header.
fn headers(visit: &mut dyn FnMut(String, Vec<u8>)) {
    let whole = plan("llama").file();
    let n_header = whole.len().min(6000);
    let mut state = 1u64;
    let mut next = |n: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let numbers = [0, 1, 1 << 31, u64::from(u32::MAX), 1 << 63, u64::MAX];
    for idx in 0..600 {
        let mut bytes = whole.clone();
        for _ in 0..=next(3) {
            let at = next(n_header - 8);
            match next(4) {
                0 => bytes[at] ^= 1 << next(8),
                1 => bytes[at..at + 8].copy_from_slice(&numbers[next(6)].to_le_bytes()),
                2 => bytes[at..at + 4].copy_from_slice(&(next(14) as u32).to_le_bytes()),
                _ => bytes.truncate(at + next(whole.len() - at)),
            }
            if bytes.len() < n_header {
                break;
            }
        }
        visit(format!("header {idx}"), bytes);
    }
}

/// Uses the file like every part of the program, up to an answer. Returns whether it answered.
fn exercise(bytes: Vec<u8>, path: &Path) -> Result<bool, Error> {
    std::fs::write(path, &bytes).unwrap();
    let file = Arc::new(File::from_bytes(bytes)?);
    let tokenizer = Tokenizer::from_gguf(&file);
    if let Ok(tokenizer) = &tokenizer {
        let _ = tokenizer.encode("ab <s> ba\n\né", true);
        let _ = tokenizer.decode(&[0, 1, 2, 100, u32::MAX]);
    }
    let spec = ModelSpec::from_gguf(&file);
    for context in [None, Some(1), Some(1_000_000_000_000), Some(usize::MAX)] {
        for kv_type in [KvType::F32, KvType::F16, KvType::Q8_0] {
            for threads in [1, usize::MAX] {
                let threads = Some(threads);
                let options = LoadOptions { context, kv_type, threads, ..LoadOptions::default() };
                let Ok(estimate) = MemoryEstimate::new(&file, &options) else { continue };
                let _ = (estimate.total_bytes(), estimate.parts());
                let budget = MemoryBudget { available_bytes: 1 << 30, source: MemorySource::Metal };
                let _ = Fit::new(&file, &options, &budget, "m", &[]);
            }
        }
    }
    if let (Ok(spec), Ok(_)) = (&spec, &tokenizer) {
        let _ = spec.cache_bytes(usize::MAX, KvType::F16);
    }
    let mut answered = true;
    for backend in [BackendKind::Cpu, BackendKind::Candle] {
        for context in [Some(32), Some(1), None] {
            let options =
                LoadOptions { backend, context, threads: Some(1), ..LoadOptions::default() };
            let model = match Model::load(path, &options) {
                Ok(model) => model,
                Err(_) => {
                    answered = false;
                    continue;
                }
            };
            let mut session = model.session()?;
            let n_vocab = model.spec().n_vocab as u32;
            let prompt: Vec<u32> = (0..7).map(|id| id % n_vocab).collect();
            let options =
                GenerateOptions { max_tokens: 3, ignore_eos: true, ..GenerateOptions::default() };
            let cancel = AtomicBool::new(false);
            answered &= session.generate(&prompt, &options, &cancel, &mut |_, _| {}).is_ok();
        }
    }
    spec.and(tokenizer).map(|_| answered)
}

#[test]
fn a4_every_mutant_fails_or_answers() {
    if !child::is_child("a4_every_mutant_fails_or_answers", CHILD_KIB) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for family in FAMILIES {
        assert!(exercise(plan(family).file(), &path).unwrap(), "{family} itself answers");
    }
    let (mut n_mutants, mut n_answered, mut failed) = (0, 0, Vec::new());
    // One at a time: all of them together would exceed the memory limit.
    let mut try_one = |what: String, bytes: Vec<u8>| {
        n_mutants += 1;
        let exercised = || exercise(bytes, &path).is_ok_and(|answered| answered);
        match std::panic::catch_unwind(AssertUnwindSafe(exercised)) {
            Ok(answered) => n_answered += usize::from(answered),
            Err(_) => failed.push(what),
        }
    };
    mutants(&mut try_one);
    headers(&mut try_one);
    assert!(n_mutants > 1000);
    println!("{n_answered} answered");
    assert!(failed.is_empty(), "{failed:#?}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if let Some(kib) = peak.and_then(|line| line.trim().strip_suffix(" kB")) {
        println!("{kib} KiB");
        assert!(kib.trim().parse::<u64>().unwrap() < MAX_RESIDENT_KIB, "{kib} KiB");
    }
}

fn load(plan: &Plan, options: &LoadOptions) -> Result<Arc<Model>, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), plan.file()).unwrap();
    Model::load(file.path(), options)
}

#[test]
fn a4_reports_a_context_larger_than_memory() {
    for backend in [BackendKind::Cpu, BackendKind::Candle] {
        for context in [1_000_000_000_000, usize::MAX] {
            for kv_type in [KvType::F32, KvType::F16, KvType::Q8_0] {
                let context = Some(context);
                let options = LoadOptions { backend, context, kv_type, threads: Some(1) };
                let error = load(&plan("llama"), &options).err().unwrap();
                let Error::TooLarge { .. } = &error else { panic!("{error:?}") };
                let text = error.to_string();
                assert!(text.contains("GB") && text.contains("smaller context"), "{text}");
            }
        }
    }
}

#[test]
fn a4_rejects_heads_of_zero_width() {
    let mut plan = plan("llama");
    plan.set("llama.attention.head_count", Some(Value::U32(128)));
    for key in ["attention.key_length", "attention.value_length", "rope.dimension_count"] {
        plan.set(&format!("llama.{key}"), None);
    }
    let error = load(&plan, &LoadOptions::default()).err().unwrap();
    assert!(error.to_string().contains("128 heads of 0 dimensions"), "{error}");
}

#[test]
fn a4_shortest_contexts_answer() {
    for family in FAMILIES {
        for backend in [BackendKind::Cpu, BackendKind::Candle] {
            for context in 1..5 {
                let context = Some(context);
                let options =
                    LoadOptions { backend, context, threads: Some(1), ..LoadOptions::default() };
                let mut session = load(&plan(family), &options).unwrap().session().unwrap();
                let options =
                    GenerateOptions { max_tokens: 9, ignore_eos: true, ..Default::default() };
                let cancel = AtomicBool::new(false);
                let answer = session.generate(&[1, 5, 6, 7, 8], &options, &cancel, &mut |_, _| {});
                assert_eq!(answer.unwrap().tokens.len(), 9, "{family} {backend:?} {context:?}");
            }
        }
    }
}

#[test]
fn t11_reports_parts_of_split_models() {
    let part = |no: u16, with_metadata: bool, name: &str| {
        let mut plan = plan("llama");
        if !with_metadata {
            plan.metadata.retain(|(key, _)| key.starts_with("tokenizer"));
        }
        if no < 9 {
            plan.set("split.no", Some(Value::U16(no)));
            plan.set("split.count", Some(Value::U16(2)));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, plan.file()).unwrap();
        Model::load(&path, &LoadOptions::default()).err().unwrap().to_string()
    };
    assert!(part(1, false, "m.gguf").starts_with("this is part 2 of 2 of a split model"));
    assert!(part(0, true, "m.gguf").starts_with("this is part 1 of 2 of a split model"));
    let named = part(9, false, "m-00002-of-00003.gguf");
    assert!(named.starts_with("this is part 2 of 3 of a split model"), "{named}");

    let mut whole = plan("llama");
    whole.set("split.no", Some(Value::U16(0)));
    whole.set("split.count", Some(Value::U16(1)));
    assert!(load(&whole, &LoadOptions::default()).is_ok());

    let mut writer = Writer::default();
    writer.value("split.no", Value::U16(1)).value("split.count", Value::U16(2));
    let mut bytes = Vec::new();
    writer.write(&mut bytes).unwrap();
    let error = Tokenizer::from_gguf(&Arc::new(File::from_bytes(bytes).unwrap())).err().unwrap();
    assert!(matches!(error, Error::Split(_)), "{error}");
}
