//! Conversions: the results of each kind of source, and what failures leave behind. The engine's
//! tests check that results compute what transformers does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_convert::{Error, Manifest, Mix, Options, convert};
use lilims_engine::Tokenizer;
use lilims_gguf::File;
use lilims_tests::fixture;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn run(source: &Path, out: &Path, mix: Mix) -> Result<Manifest, Error> {
    run_with(source, out, &Options::new(mix))
}

fn run_with(source: &Path, out: &Path, options: &Options) -> Result<Manifest, Error> {
    convert(source, out, options, &AtomicBool::new(false), &mut |_| {})
}

/// A modifiable copy of a tiny checkpoint.
struct Checkpoint {
    folder: TempDir,
}

impl Checkpoint {
    fn copy(name: &str) -> Self {
        let source = fixture("checkpoints").join(name);
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json", "generation_config.json", "model.safetensors"]
        {
            fs::write(folder.path().join(name), fs::read(source.join(name)).unwrap()).unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn change_json(&self, name: &str, change: impl Fn(&mut Json)) {
        let path = self.file(name);
        let mut json = fs::read(&path).map_or(json!({}), |b| serde_json::from_slice(&b).unwrap());
        change(&mut json);
        fs::write(path, json.to_string()).unwrap();
    }

    /// All tensors: names, shapes and bytes.
    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<u8>)> {
        let bytes = fs::read(self.file("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let parts = |(name, view): (String, TensorView<'_>)| {
            (name, view.shape().to_vec(), view.data().to_vec())
        };
        tensors.tensors().into_iter().map(parts).collect()
    }

    fn write_tensors(&self, name: &str, tensors: &[(String, Vec<usize>, Vec<u8>)]) {
        let views = tensors.iter().map(|(name, shape, data)| {
            (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        fs::write(self.file(name), bytes).unwrap();
    }

    fn change_tensor(&self, name: &str, change: impl Fn(&mut (String, Vec<usize>, Vec<u8>))) {
        let mut tensors = self.tensors();
        change(tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap());
        self.write_tensors("model.safetensors", &tensors);
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Each tensor's type and bytes.
fn contents(path: &Path) -> HashMap<String, (String, Vec<u8>)> {
    let file = File::open(path).unwrap();
    let tensors = file.tensors().iter().map(|info| {
        let content = (info.tensor_type.to_string(), file.data(info).unwrap().to_vec());
        (info.name.clone(), content)
    });
    tensors.collect()
}

#[test]
fn results_do_not_depend_on_threads_or_on_converting_twice() {
    let checkpoint = Checkpoint::copy("llama");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    run(checkpoint.path(), &out("whole.gguf"), Mix::F32).unwrap();
    for mix in Mix::all() {
        let one = Options { threads: 1, ..Options::new(mix) };
        run_with(checkpoint.path(), &out("one.gguf"), &one).unwrap();
        run_with(checkpoint.path(), &out("three.gguf"), &Options { threads: 3, ..one }).unwrap();
        let bytes = fs::read(out("one.gguf")).unwrap();
        assert!(bytes == fs::read(out("three.gguf")).unwrap(), "{mix}: number of threads");
        run(&out("whole.gguf"), &out("twice.gguf"), mix).unwrap();
        let [direct, twice] = ["one.gguf", "twice.gguf"].map(|name| contents(&out(name)));
        assert!(direct == twice, "{mix}: through a GGUF file");
        // Tensors that already have the type are copied.
        run(&out("one.gguf"), &out("copy.gguf"), mix).unwrap();
        assert!(contents(&out("copy.gguf")) == direct, "{mix}: copied");
    }
}

#[test]
fn important_columns_have_smaller_errors() {
    let checkpoint = Checkpoint::copy("mistral");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    let name = "blk.0.ffn_down.weight";
    let plain = Options::new(Mix::Q3_K_S);
    run(checkpoint.path(), &out("exact.gguf"), Mix::F32).unwrap();
    run_with(checkpoint.path(), &out("plain.gguf"), &plain).unwrap();
    let importance = (0..256).map(|column| if column % 4 == 0 { 100.0 } else { 0.01 }).collect();
    let importance = HashMap::from([(name.to_owned(), importance)]);
    let weighted = Options { importance, ..plain.clone() };
    run_with(checkpoint.path(), &out("weighted.gguf"), &weighted).unwrap();
    let values = |file: &str| {
        let file = File::open(&out(file)).unwrap();
        let info = file.tensor(name).unwrap();
        let mut values = vec![0.0; info.n_values as usize];
        let data = file.data(info).unwrap();
        lilims_engine::quant::dequantize(info.tensor_type, data, &mut values).unwrap();
        values
    };
    let exact = values("exact.gguf");
    let error = |file: &str| -> f32 {
        let pairs = values(file).into_iter().zip(&exact).step_by(4);
        pairs.map(|(value, exact)| (value - exact).powi(2)).sum()
    };
    let (plain, weighted) = (error("plain.gguf"), error("weighted.gguf"));
    assert!(weighted < 0.9 * plain, "{weighted} of {plain}");

    let wrong = HashMap::from([(name.to_owned(), vec![1.0; 3])]);
    let wrong = Options { importance: wrong, ..Options::new(Mix::Q3_K_S) };
    let error = run_with(checkpoint.path(), &out("no.gguf"), &wrong).unwrap_err().to_string();
    assert!(error.contains("down_proj"), "{error}");
}

#[test]
fn a_gguf_source_keeps_its_metadata() {
    let checkpoint = Checkpoint::copy("gemma2");
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a.gguf", "b.gguf"].map(|name| folder.path().join(name));
    let options = Options { license: Some("mit".to_owned()), ..Options::new(Mix::F16) };
    run_with(checkpoint.path(), &first, &options).unwrap();
    let manifest = run(&first, &second, Mix::Q8_0).unwrap();
    assert_eq!(manifest.license.as_deref(), Some("mit"));
    let [first, second] = [first, second].map(|path| File::open(&path).unwrap());
    let second_keys: HashMap<_, _> = second.metadata().iter().collect();
    assert_eq!(second_keys.len(), first.metadata().iter().count());
    for (key, value) in first.metadata().iter().filter(|(key, _)| *key != "general.file_type") {
        assert_eq!(second_keys.get(key), Some(&value), "{key}");
    }
    assert_eq!(second.metadata().u64("general.file_type").unwrap(), 7);
}

#[test]
fn errors_name_the_cause_and_leave_no_files() {
    type Fault = (&'static str, fn(&Checkpoint), &'static [&'static str]);
    const WEIGHT: &str = "model.layers.1.mlp.up_proj.weight";
    let faults: [Fault; 14] = [
        ("no config", |c| fs::remove_file(c.file("config.json")).unwrap(), &["config.json"]),
        (
            "no tokenizer",
            |c| fs::remove_file(c.file("tokenizer.json")).unwrap(),
            &["tokenizer.json"],
        ),
        (
            "no weights",
            |c| fs::remove_file(c.file("model.safetensors")).unwrap(),
            &["model.safetensors"],
        ),
        (
            "damaged config",
            |c| fs::write(c.file("config.json"), "{").unwrap(),
            &["config.json", "not JSON"],
        ),
        (
            "missing shard",
            |c| {
                let map = json!({ "weight_map": { WEIGHT: "model-00002-of-00002.safetensors" } });
                c.change_json("model.safetensors.index.json", |json| *json = map.clone());
            },
            &["model-00002-of-00002.safetensors"],
        ),
        (
            "a shard outside the folder",
            |c| {
                let map = json!({ "weight_map": { WEIGHT: "../model.safetensors" } });
                c.change_json("model.safetensors.index.json", |json| *json = map.clone());
            },
            &["`../model.safetensors`"],
        ),
        (
            "family",
            |c| c.change_json("config.json", |json| json["model_type"] = json!("bloom")),
            &["`bloom`", "llama"],
        ),
        (
            "shape",
            |c| c.change_json("config.json", |json| json["intermediate_size"] = json!(260)),
            &["gate_proj.weight", "[256, 96]", "[260, 96]"],
        ),
        (
            "missing tensor",
            |c| c.change_tensor(WEIGHT, |tensor| tensor.0 = "other".to_owned()),
            &["layers.1.mlp.up_proj.weight", "missing"],
        ),
        (
            "unknown tensor",
            |c| {
                let mut tensors = c.tensors();
                tensors.push(("model.layers.0.router.weight".to_owned(), vec![1], vec![0; 4]));
                c.write_tensors("model.safetensors", &tensors);
            },
            &["model.layers.0.router.weight", "llama"],
        ),
        (
            "NaN",
            |c| {
                c.change_tensor(WEIGHT, |tensor| {
                    tensor.2[4 * 96..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
                });
            },
            &[WEIGHT, "NaN", "row 1"],
        ),
        (
            "truncated",
            |c| {
                let bytes = fs::read(c.file("model.safetensors")).unwrap();
                fs::write(c.file("model.safetensors"), &bytes[..bytes.len() - 5]).unwrap();
            },
            &["model.safetensors", "ends 5 bytes before the tensor"],
        ),
        (
            "truncated head",
            |c| fs::write(c.file("model.safetensors"), [9; 3]).unwrap(),
            &["model.safetensors", "head"],
        ),
        (
            "too many tokens",
            |c| {
                c.change_json("tokenizer.json", |json| json["model"]["vocab"]["x"] = json!(512));
            },
            &["513 tokens", "512"],
        ),
    ];
    for (name, damage, expected) in faults {
        let checkpoint = Checkpoint::copy("llama");
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("model.gguf");
        fs::write(&out, "existing").unwrap();
        damage(&checkpoint);
        let error = run(checkpoint.path(), &out, Mix::Q8_0).unwrap_err().to_string();
        println!("{name}: {error}");
        assert!(expected.iter().all(|part| error.contains(part)), "{name}: {error}");
        assert_eq!(names_in(folder.path()), ["model.gguf"], "{name}");
        assert_eq!(fs::read(&out).unwrap(), b"existing", "{name}");
    }
}

/// Random damage leads to an error or to a valid file.
#[test]
fn damaged_sources_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.gguf");
    let checkpoint = Checkpoint::copy("llama");
    let mut state = 1_u32;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let whole = fs::read(checkpoint.file(name)).unwrap();
        // Of the weights only the header can be invalid: their values may be any.
        let reach = whole.len().min(4000);
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..=random(3) {
                bytes[random(reach)] = random(256) as u8;
            }
            fs::write(checkpoint.file(name), &bytes).unwrap();
            if run(checkpoint.path(), &out, Mix::F16).is_ok() {
                File::open(&out).unwrap();
            }
        }
        fs::write(checkpoint.file(name), whole).unwrap();
    }
    run(checkpoint.path(), &out, Mix::F16).unwrap();
}

#[test]
fn a_cancelled_conversion_leaves_no_files() {
    let checkpoint = Checkpoint::copy("llama");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.gguf");
    let (cancel, mut seen) = (AtomicBool::new(false), Vec::new());
    let result = convert(checkpoint.path(), &out, &Options::new(Mix::F16), &cancel, &mut |at| {
        seen.push((at.tensor_idx, at.written_bytes));
        cancel.store(at.tensor_idx == 3, Ordering::Relaxed);
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(seen.len(), 4);
    assert!(seen.is_sorted() && seen[3].1 > 0);
    assert!(names_in(folder.path()).is_empty());

    let mut last = None;
    let on_progress = &mut |at: lilims_convert::Progress<'_>| {
        last = Some((at.tensor_idx == at.n_tensors, at.written_bytes == at.total_bytes));
    };
    let cancel = AtomicBool::new(false);
    convert(checkpoint.path(), &out, &Options::new(Mix::F16), &cancel, on_progress).unwrap();
    assert_eq!(last, Some((true, true)));
}

#[test]
fn the_manifest_describes_source_and_result() {
    let checkpoint = Checkpoint::copy("qwen3");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("tiny.gguf");
    let options = Options {
        version: "1.2.3".to_owned(),
        origin: Some("example/tiny".to_owned()),
        revision: Some("0123abc".to_owned()),
        license: Some("apache-2.0".to_owned()),
        overrides: vec!["ffn_down=F16".parse().unwrap()],
        ..Options::new(Mix::Q4_K_M)
    };
    let manifest = run_with(checkpoint.path(), &out, &options).unwrap();
    let path = folder.path().join("tiny.lilims.json");
    assert_eq!(Manifest::path_of(&out), path);
    assert_eq!(Manifest::read(&path).unwrap(), manifest);
    assert_eq!((&*manifest.version, &*manifest.family, manifest.context), ("1.2.3", "qwen3", 256));
    let hash = |path: &Path| {
        let digest = Sha256::digest(fs::read(path).unwrap());
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(manifest.result.sha256, hash(&out));
    assert_eq!(manifest.result.size_bytes, fs::metadata(&out).unwrap().len());
    assert_eq!(manifest.source.files.len(), 4);
    for file in &manifest.source.files {
        assert_eq!(file.sha256, hash(&checkpoint.file(&file.name)), "{}", file.name);
    }
    let types = contents(&out);
    assert_eq!(manifest.tensors.len(), types.len());
    for tensor in &manifest.tensors {
        assert_eq!(tensor.tensor_type, types[&tensor.name].0, "{}", tensor.name);
    }
    let of = |name: &str| &*types[name].0;
    // Rows of 96 values are not whole blocks of 256, rows of 256 are.
    assert_eq!(of("blk.0.attn_q.weight"), "Q5_0");
    assert_eq!(of("blk.0.ffn_down.weight"), "F16");
    assert_eq!(of("blk.0.ffn_norm.weight"), "F32");
    check_schema(&fs::read(&path).unwrap());
    let newer = fs::read_to_string(&path).unwrap().replace("_version\": 1,", "_version\": 2,");
    fs::write(&path, newer).unwrap();
    assert!(Manifest::read(&path).is_err());
}

/// Checks that the documented schema has exactly the manifest's keys.
fn check_schema(manifest: &[u8]) {
    let read = |bytes: &[u8]| serde_json::from_slice::<Json>(bytes).unwrap();
    let path = lilims_tests::workspace().join("docs").join("lilims-manifest.schema.json");
    let (schema, manifest) = (read(&fs::read(path).unwrap()), read(manifest));
    for at in ["", "/source", "/result", "/conversion", "/tensors/0"] {
        let in_schema = match at {
            "/result" => "/$defs/file".to_owned(),
            "/tensors/0" => "/properties/tensors/items".to_owned(),
            _ => at.replace('/', "/properties/"),
        };
        let schema = schema.pointer(&in_schema).unwrap();
        let keys = manifest.pointer(at).unwrap().as_object().unwrap();
        let known = schema["properties"].as_object().unwrap();
        assert!(keys.keys().all(|key| known.contains_key(key)), "{at}: {keys:?}");
        let mut required = schema["required"].as_array().unwrap().iter();
        assert!(required.all(|key| keys.contains_key(key.as_str().unwrap())), "{at}: {keys:?}");
    }
}

/// Builds a pickle of a dictionary of tensors, as `torch.save` writes it.
fn pickle(tensors: &[(String, Vec<usize>, Vec<u8>)], prelude: &[u8]) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.bytes());
    }
    fn number(out: &mut Vec<u8>, number: usize) {
        out.push(b'J');
        out.extend((number as u32).to_le_bytes());
    }
    fn sizes(out: &mut Vec<u8>, sizes: &[usize]) {
        out.push(b'(');
        sizes.iter().for_each(|&size| number(out, size));
        out.push(b't');
    }
    let mut out = [b"\x80\x02", prelude, b"ccollections\nOrderedDict\n)R("].concat();
    for (idx, (name, shape, data)) in tensors.iter().enumerate() {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &idx.to_string());
        text(&mut out, "cpu");
        number(&mut out, data.len() / 4);
        out.extend(b"tQK\0");
        sizes(&mut out, shape);
        let strides = (0..shape.len()).map(|at| shape[at + 1..].iter().product());
        sizes(&mut out, &strides.collect::<Vec<usize>>());
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

fn write_archive(path: &Path, pickle: &[u8], tensors: &[(String, Vec<usize>, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("model/data.pkl", stored).unwrap();
    archive.write_all(pickle).unwrap();
    for (idx, (_, _, data)) in tensors.iter().enumerate() {
        archive.start_file(format!("model/data/{idx}"), stored).unwrap();
        archive.write_all(data).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn pickles_of_tensors_are_read_and_code_is_rejected() {
    let checkpoint = Checkpoint::copy("llama");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    run(checkpoint.path(), &out("safetensors.gguf"), Mix::F16).unwrap();
    let tensors = checkpoint.tensors();
    fs::remove_file(checkpoint.file("model.safetensors")).unwrap();
    let path = checkpoint.file("pytorch_model.bin");
    write_archive(&path, &pickle(&tensors, b""), &tensors);
    run(checkpoint.path(), &out("pickle.gguf"), Mix::F16).unwrap();
    assert!(contents(&out("safetensors.gguf")) == contents(&out("pickle.gguf")));

    for (program, name) in [
        // The call's result is popped, so what remains is a dictionary of tensors.
        (&b"cposix\nsystem\n(X\x04\0\0\0truetR0"[..], "posix.system"),
        (b"cbuiltins\neval\n", "builtins.eval"),
        (b"\x8c\x02os\x8c\x06system\x93", "os.system"),
    ] {
        write_archive(&path, &pickle(&tensors, program), &tensors);
        let error = run(checkpoint.path(), &out("no.gguf"), Mix::F16).unwrap_err();
        assert!(matches!(&error, Error::UnsafePickle { what, .. } if what == name), "{error}");
    }
    let whole = pickle(&tensors, b"");
    for len in [0, 1, 40, 200, whole.len() / 2, whole.len() - 1] {
        write_archive(&path, &whole[..len], &tensors);
        assert!(run(checkpoint.path(), &out("no.gguf"), Mix::F16).is_err(), "{len} bytes");
    }
    // Deeply nested tuples would overflow the stack of a recursive walk.
    let tower = [&b"\x80\x02)"[..], &[0x85; 1 << 20], b"0."].concat();
    write_archive(&path, &tower, &tensors);
    let error = run(checkpoint.path(), &out("no.gguf"), Mix::F16).unwrap_err().to_string();
    assert!(error.contains("damaged pickle"), "{error}");
    let mut short = tensors.clone();
    short[3].2.truncate(8);
    write_archive(&path, &pickle(&tensors, b""), &short);
    let error = run(checkpoint.path(), &out("no.gguf"), Mix::F16).unwrap_err().to_string();
    assert!(error.contains(&format!("ends within the tensor `{}`", tensors[3].0)), "{error}");
    fs::write(&path, "no archive").unwrap();
    let error = run(checkpoint.path(), &out("no.gguf"), Mix::F16).unwrap_err().to_string();
    assert!(error.contains("pytorch_model.bin"), "{error}");
    assert!(!out("no.gguf").exists());
}

#[test]
fn shards_are_joined() {
    let checkpoint = Checkpoint::copy("phi3");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    run(checkpoint.path(), &out("one.gguf"), Mix::BF16).unwrap();
    let tensors = checkpoint.tensors();
    fs::remove_file(checkpoint.file("model.safetensors")).unwrap();
    let (first, second) = tensors.split_at(7);
    let mut map = HashMap::new();
    for (name, shard) in [("model-1.safetensors", first), ("model-2.safetensors", second)] {
        checkpoint.write_tensors(name, shard);
        map.extend(shard.iter().map(|tensor| (tensor.0.clone(), name)));
    }
    let index = json!({ "weight_map": map });
    checkpoint.change_json("model.safetensors.index.json", |json| *json = index.clone());
    run(checkpoint.path(), &out("two.gguf"), Mix::BF16).unwrap();
    assert!(contents(&out("one.gguf")) == contents(&out("two.gguf")));
}

const TEXTS: [&str; 5] = [
    "The capital of France is Paris.",
    "  two  spaces\n\nand 1234 lines\t",
    "don't <|im_start|>user",
    "Grüße, 世界 🎉",
    "",
];

/// Compares the file's tokenizer with the `tokenizers` crate.
fn check_tokens(json: &Path, gguf: &Path, adds_bos: bool) {
    let reference = tokenizers::Tokenizer::from_file(json).unwrap();
    let tokenizer = Tokenizer::from_gguf(&Arc::new(File::open(gguf).unwrap())).unwrap();
    for text in TEXTS {
        let expected = reference.encode(text, false).unwrap();
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(ids, expected.get_ids(), "{text:?}");
    }
    assert_eq!(tokenizer.adds_bos(), adds_bos);
}

#[test]
fn byte_level_tokenizers_encode_alike() {
    let checkpoint = Checkpoint::copy("qwen2");
    let out = checkpoint.file("out.gguf");
    run(checkpoint.path(), &out, Mix::F16).unwrap();
    check_tokens(&checkpoint.file("tokenizer.json"), &out, false);

    checkpoint.change_json("tokenizer_config.json", |json| {
        *json = json!({
            "bos_token": "<|im_start|>", "eos_token": { "content": "<|im_end|>" },
            "chat_template": [
                { "name": "default", "template": "{{ messages }}" },
                { "name": "tool_use", "template": "tools" },
            ],
        });
    });
    checkpoint.change_json("tokenizer.json", |json| {
        json["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [
                { "SpecialToken": { "id": "<|im_start|>", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
            ],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }],
            "special_tokens": {
                "<|im_start|>": { "id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"] },
            },
        });
    });
    run(checkpoint.path(), &out, Mix::F16).unwrap();
    let file = Arc::new(File::open(&out).unwrap());
    let tokenizer = Tokenizer::from_gguf(&file).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert!(tokenizer.adds_bos());
    assert_eq!(file.metadata().str("tokenizer.chat_template").unwrap(), "{{ messages }}");
    assert_eq!(file.metadata().str("tokenizer.chat_template.tool_use").unwrap(), "tools");

    fs::write(checkpoint.file("chat_template.jinja"), "{{ bos_token }}").unwrap();
    run(checkpoint.path(), &out, Mix::F16).unwrap();
    let file = File::open(&out).unwrap();
    assert_eq!(file.metadata().str("tokenizer.chat_template").unwrap(), "{{ bos_token }}");
}

/// Pieces with byte fallback, as in `tokenizer.json` of Llama 2 and Gemma.
#[test]
fn pieces_of_tokenizer_json_encode_alike() {
    let checkpoint = Checkpoint::copy("llama");
    let mut vocab: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    vocab.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let letters = "▁THEhecapitlofFrnsP.dwuxml,";
    vocab.extend(letters.chars().map(String::from));
    let merges = [
        ("h", "e"),
        ("▁", "c"),
        ("i", "s"),
        ("▁", "is"),
        ("T", "he"),
        ("▁", "The"),
        ("a", "p"),
        ("▁c", "ap"),
        ("i", "t"),
        ("a", "l"),
        ("it", "al"),
        ("▁cap", "ital"),
        ("o", "f"),
        ("▁", "of"),
        ("▁", "▁"),
        ("r", "a"),
        ("F", "ra"),
        ("▁", "Fra"),
    ];
    vocab.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    let ids: HashMap<_, _> = vocab.iter().enumerate().map(|(id, text)| (text, id)).collect();
    let special = |id: usize| {
        json!({
            "id": id, "content": vocab[id], "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        })
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0), special(1), special(2)],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        ] },
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true,
            "byte_fallback": true, "ignore_merges": false, "vocab": ids, "merges": merges,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
        },
    });
    checkpoint.change_json("tokenizer.json", |json| *json = tokenizer.clone());
    let out = checkpoint.file("out.gguf");
    run(checkpoint.path(), &out, Mix::F16).unwrap();
    check_tokens(&checkpoint.file("tokenizer.json"), &out, true);
}

/// A `tokenizer.model` with the pieces of a published vocabulary.
#[test]
fn pieces_of_tokenizer_model_encode_alike() {
    let vocabularies = fixture("tokenizers");
    let checkpoint = Checkpoint::copy("llama");
    let published = Arc::new(File::open(&vocabularies.join("ggml-vocab-llama-spm.gguf")).unwrap());
    let metadata = published.metadata();
    let array = |key: &str| metadata.array(key).unwrap();
    let texts: Vec<_> = array("tokenizer.ggml.tokens").strings().collect();
    let message = |number: u8, content: &[u8]| {
        assert!(content.len() < 128, "the length takes one byte");
        [&[number << 3 | 2, content.len() as u8], content].concat()
    };
    let mut model = message(2, &[3 << 3, 2]);
    let scores = array("tokenizer.ggml.scores").iter().map(|score| score.as_f32().unwrap());
    let kinds = array("tokenizer.ggml.token_type").iter().map(|kind| kind.as_u64().unwrap());
    for ((text, score), kind) in texts.iter().zip(scores).zip(kinds) {
        let score = [&[2 << 3 | 5][..], &score.to_le_bytes()].concat();
        let piece = [message(1, text), score, vec![3 << 3, kind as u8]].concat();
        model.extend(message(1, &piece));
    }
    fs::remove_file(checkpoint.file("tokenizer.json")).unwrap();
    fs::write(checkpoint.file("tokenizer.model"), model).unwrap();
    checkpoint.change_json("config.json", |json| json["vocab_size"] = json!(texts.len()));
    checkpoint.change_tensor("model.embed_tokens.weight", |tensor| {
        tensor.1[0] = texts.len();
        tensor.2.resize(texts.len() * 96 * 4, 0);
    });
    let out = checkpoint.file("out.gguf");
    run(checkpoint.path(), &out, Mix::Q8_0).unwrap();
    let [expected, got] = [published.clone(), Arc::new(File::open(&out).unwrap())]
        .map(|file| Tokenizer::from_gguf(&file).unwrap());
    for text in TEXTS {
        assert_eq!(got.encode(text, true).unwrap(), expected.encode(text, true).unwrap());
    }
    let got = File::open(&out).unwrap();
    for key in ["tokens", "scores", "token_type"] {
        let key = format!("tokenizer.ggml.{key}");
        assert_eq!(got.metadata().array(&key).unwrap(), array(&key), "{key}");
    }
}
