//! Models in GGUF files, up to an answer, and their vocabularies alone.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_engine::estimate::MemorySource;
use lilims_engine::{
    BackendKind, ChatFormat, Fit, GenerateOptions, KvType, LoadOptions, MemoryBudget,
    MemoryEstimate, Message, Model, Prompt, Role, Tokenizer,
};
use lilims_gguf::{File, TensorType};

use crate::bytes::KEYS;
use crate::scratch::Scratch;
use crate::{Bound, Target, tiny_model};

/// Loads a model, estimates its memory, and has it answer.
pub(crate) const MODEL: Target = Target {
    name: "model",
    run: answer,
    seeds: || {
        vec![
            tiny_model::file("llama", TensorType::Q4_0),
            tiny_model::file("llama", TensorType::F16),
            tiny_model::file("gpt2", TensorType::Q8_0),
            tiny_model::file("gemma3", TensorType::Q4_1),
        ]
    },
    words: KEYS,
    // The workers' buffers, and candle's copy of the weights in f32.
    bound: Bound { base_bytes: 16 << 20, per_byte: 64 },
    n_smoke: 800,
};

/// Reads a vocabulary, and makes tokens of text and text of tokens.
pub(crate) const TOKENIZER: Target = Target {
    name: "tokenizer",
    run: tokenize,
    seeds: || {
        use tiny_model::Kind;
        [Kind::SentencePiece, Kind::ByteLevel, Kind::Gemma4].map(tiny_model::vocabulary_file).into()
    },
    words: KEYS,
    // The compiled patterns of the pre-tokenizer and their caches.
    bound: Bound { base_bytes: 16 << 20, per_byte: 64 },
    n_smoke: 4000,
};

/// Texts in several scripts, with control tokens and what normalising changes.
const TEXTS: [&str; 5] = [
    "the inner then",
    "a <s></s> <|im_end|>  b\n\n\t1234567 don't",
    "Grüße \u{fb01} \u{1112}\u{1161}\u{11ab} 世界 \u{1f468}\u{200d}\u{1f469} \u{0}\u{feff}",
    "\u{2581}\u{2581}<0x0A><0xC3>",
    "",
];

/// The seeds of all vocabularies have fewer tokens.
const MAX_IDS: u32 = 64;

fn tokenize(input: &[u8]) {
    let Ok(file) = File::from_bytes(input.to_vec()) else { return };
    let Ok(tokenizer) = Tokenizer::from_gguf(&Arc::new(file)) else { return };
    for text in TEXTS {
        for parses_special in [true, false] {
            if let Ok(ids) = tokenizer.encode_prompt(text, parses_special) {
                let _ = tokenizer.decode(&ids);
            }
        }
    }
    for id in (0..MAX_IDS).chain([u32::MAX]) {
        let text = tokenizer.token_text(id).to_owned();
        let _ = (tokenizer.decode(&[id]), tokenizer.token(&text), tokenizer.ends_turn(id));
    }
    let mut stream = lilims_engine::DecodeStream::new(&tokenizer);
    for id in (0..MAX_IDS).rev() {
        stream.push(id);
    }
    stream.finish();
}

fn answer(input: &[u8]) {
    // Half of the inputs are for each backend, so that both see each kind of change.
    let backend = if input.len() % 4 == 3 { BackendKind::Candle } else { BackendKind::Cpu };
    let kv_type = [KvType::F16, KvType::Q8_0, KvType::F32][input.len() % 3];
    let options = LoadOptions { backend, context: Some(32), threads: Some(1), kv_type };
    let Ok(file) = File::from_bytes(input.to_vec()) else { return };
    // candle asserts in debug builds that rows of these have an even number of blocks; it needs none.
    let asserts = [TensorType::Q4_1, TensorType::Q5_0, TensorType::Q5_1];
    if backend == BackendKind::Candle
        && file.tensors().iter().any(|tensor| asserts.contains(&tensor.tensor_type))
    {
        return;
    }
    for context in [None, Some(usize::MAX)] {
        let options = LoadOptions { context, ..options.clone() };
        if let Ok(estimate) = MemoryEstimate::new(&file, &options) {
            let _ = (estimate.total_bytes(), estimate.parts());
        }
        let budget = MemoryBudget { available_bytes: 1 << 30, source: MemorySource::Metal };
        let _ = Fit::new(&file, &options, &budget, "m", &[]);
    }
    drop(file);
    let folder = Scratch::new();
    let path = folder.write("model.gguf", input);
    let Ok(model) = Model::load(&path, &options) else { return };
    let _ = (model.recommended_sampling(), model.name(), model.quantisation());
    let Ok(mut session) = model.session() else { return };
    let cancel = AtomicBool::new(false);
    let messages = [Message::new(Role::User, "the inner")];
    let prompt = Prompt::of_messages(&model, &messages, &cancel).map(|prompt| prompt.ids);
    let prompt = prompt.unwrap_or_else(|_| vec![0; 3]);
    let options = GenerateOptions { max_tokens: 3, ignore_eos: true, ..GenerateOptions::default() };
    let _ = session.generate(&prompt, &options, &cancel, &mut |_, _| {});
}

/// The vocabulary that other targets use.
pub(crate) fn tokenizer() -> Tokenizer {
    let file = File::from_bytes(tiny_model::vocabulary_file(tiny_model::Kind::ByteLevel));
    let file = Arc::new(file.expect("the file is valid"));
    Tokenizer::from_gguf(&file).expect("the vocabulary is valid")
}

/// The format of a template's source.
pub(crate) fn chat_format(source: &str, tokenizer: &Tokenizer) -> Option<ChatFormat> {
    ChatFormat::from_source(source, tokenizer).ok()
}
