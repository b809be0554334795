//! The tokenizer against llama.cpp's test vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lilims_engine::Tokenizer;
use lilims_gguf::File;

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";
const NAMES: [&str; 5] = ["gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"];

fn fixtures() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/tokenizers");
    assert!(root.is_dir(), "{} is missing", root.display());
    root
}

fn open(path: &Path) -> Tokenizer {
    let file = Arc::new(File::open(path).expect("the fixture opens"));
    Tokenizer::from_gguf(&file).expect("the fixture has a tokenizer")
}

#[test]
fn ids_match_llama_cpp() {
    let root = fixtures();
    for name in NAMES {
        let path = root.join(format!("ggml-vocab-{name}.gguf"));
        let tokenizer = open(&path);
        let texts =
            std::fs::read_to_string(root.join(format!("ggml-vocab-{name}.gguf.inp"))).unwrap();
        let expected =
            std::fs::read_to_string(root.join(format!("ggml-vocab-{name}.gguf.out"))).unwrap();
        let texts: Vec<_> = texts.split(SEPARATOR).collect();
        let expected: Vec<Vec<u32>> = expected
            .lines()
            .map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect())
            .collect();
        assert!(expected.len() > 40 && texts.len() >= expected.len(), "{name}");
        for (text, expected) in texts.iter().zip(&expected) {
            let ids = tokenizer.encode(text, false).unwrap();
            assert_eq!(&ids, expected, "{name}: {text:?}");
        }
    }
}

#[test]
fn test_texts_round_trip() {
    let root = fixtures();
    for name in NAMES {
        let tokenizer = open(&root.join(format!("ggml-vocab-{name}.gguf")));
        let adds_space = ["llama-spm", "phi-3"].contains(&name);
        let texts =
            std::fs::read_to_string(root.join(format!("ggml-vocab-{name}.gguf.inp"))).unwrap();
        for text in texts.split(SEPARATOR).filter(|text| !text.is_empty()) {
            let prefix = if adds_space { " " } else { "" };
            let ids = tokenizer.encode(text, false).unwrap();
            assert_eq!(tokenizer.decode(&ids), format!("{prefix}{text}"), "{name}");
        }
    }
}
