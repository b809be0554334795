//! Saved sessions. The input is such a file without its checksums, and `@` in its header stands for the
//! fingerprint, so that mutations get past both.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use lilims_engine::{BackendKind, GenerateOptions, KvType, LoadOptions, Model, Session};
use lilims_gguf::TensorType;

use crate::scratch::Scratch;
use crate::{Bound, Target, tiny_model};

/// Loads a session, and goes on with it.
pub(crate) const SESSION: Target = Target {
    name: "session",
    run: resume,
    seeds: || vec![seed(6), seed(40), seed(0)],
    words: &[
        "\"fingerprint\":\"@\"",
        "\"n_tokens\":",
        "\"base\":",
        "\"n_sinks\":",
        "\"start\":",
        "\"written\":",
        "\"note_len\":",
        "18446744073709551615",
        "9223372036854775807",
        "4294967295",
        "LILIMS-KV",
    ],
    // The caches of a session, and the buffer of a file.
    bound: Bound { base_bytes: 8 << 20, per_byte: 8 },
    n_smoke: 3000,
};

const MAGIC: &[u8; 12] = b"LILIMS-KV\0\0\x01";

/// The model of all sessions, and its fingerprint in hexadecimal.
struct Loaded {
    model: Arc<Model>,
    fingerprint: String,
}

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| {
        let folder = Scratch::new();
        let path = folder.write("model.gguf", &tiny_model::file("llama", TensorType::F16));
        let backend = BackendKind::Cpu;
        let options =
            LoadOptions { backend, context: Some(32), threads: Some(1), kv_type: KvType::F16 };
        let model = Model::load(&path, &options).expect("the model is valid");
        let (_, header, _) = saved(&model, folder.path(), 1);
        let json: serde_json::Value = serde_json::from_slice(&header).expect("a header is JSON");
        let fingerprint = json["fingerprint"].as_str().expect("it has a fingerprint").to_owned();
        Loaded { model, fingerprint }
    })
}

/// A session of that many tokens as it is saved: what is before its header, the header, and the rest.
fn saved(model: &Arc<Model>, folder: &Path, n_tokens: u32) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut session = model.session().expect("a session fits");
    let tokens: Vec<u32> = (0..n_tokens).map(|id| id % 30).collect();
    for part in tokens.chunks(8) {
        session.append(part).expect("tokens are read");
    }
    let path = folder.join("saved");
    session.save(&path).expect("the session is saved");
    let bytes = lilims_files::read(&path, 1 << 20).expect("the file is there");
    let len = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    (bytes[..16].to_vec(), bytes[16..16 + len].to_vec(), bytes[16 + len..].to_vec())
}

fn seed(n_tokens: u32) -> Vec<u8> {
    let Loaded { model, fingerprint } = loaded();
    let folder = Scratch::new();
    let (_, header, rest) = saved(model, folder.path(), n_tokens);
    let header = String::from_utf8(header).expect("a header is UTF-8").replace(fingerprint, "@");
    [header.as_bytes(), b"\n", &rest[4..rest.len() - 4]].concat()
}

/// The file of an input: with its length, fingerprint and checksums.
fn file(input: &[u8], fingerprint: &str) -> Vec<u8> {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let header = String::from_utf8_lossy(&input[..end]).replacen('@', fingerprint, 1);
    let rest = input.get(end + 1..).unwrap_or_default();
    let mut file = [MAGIC, &(header.len() as u32).to_le_bytes()[..], header.as_bytes()].concat();
    file.extend(crc32fast::hash(&file).to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&file[..file.len() - 4]);
    sum.update(rest);
    file.extend_from_slice(rest);
    file.extend(sum.finalize().to_le_bytes());
    file
}

fn resume(input: &[u8]) {
    let Loaded { model, fingerprint } = loaded();
    let folder = Scratch::new();
    for (name, content) in [("as-it-is", input.to_vec()), ("with-sums", file(input, fingerprint))] {
        let path = folder.write(name, &content);
        let Ok(mut session) = Session::load(model, &path) else { continue };
        let _ = session.context_use();
        let _ = session.fork().map(|mut fork| fork.append(&[1, 2]));
        let prompt: Vec<u32> = session.tokens().iter().copied().chain([3, 4]).collect();
        let options =
            GenerateOptions { max_tokens: 3, ignore_eos: true, ..GenerateOptions::default() };
        let cancel = AtomicBool::new(false);
        let _ = session.generate(&prompt, &options, &cancel, &mut |_, _| {});
        session.truncate(session.tokens().len() / 2);
        let _ = session.append(&[5; 40]);
        session.save(&path).expect("a session that was loaded is saved");
    }
}
