//! A tokenizer is converted with all tokens and flags, or rejected (C1, C2, C5, C6). Each test
//! changes one thing in a tiny checkpoint of the fixtures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::fs;

use lilims_convert::Error;
use serde_json::json;

mod checkpoint;
use checkpoint::{Checkpoint, added};

#[test]
fn c1_added_tokens_without_an_embedding_row_are_left_out_and_noted() {
    let checkpoint = Checkpoint::copy("llama");
    checkpoint.change("tokenizer.json", |json| {
        let tokens = json["added_tokens"].as_array_mut().unwrap();
        tokens.push(added(512, "<image_soft_token>"));
        tokens.push(added(70_000, "<far>"));
    });
    checkpoint.set(
        "tokenizer_config.json",
        "extra_special_tokens",
        json!({
            "image_token": "<image_soft_token>",
        }),
    );
    let (tokenizer, notes) = checkpoint.tokenizer();
    assert_eq!(tokenizer.n_vocab(), 512);
    assert_eq!(tokenizer.token_text(511), "[PAD511]");
    let note = notes.iter().find(|note| note.contains("<image_soft_token>")).unwrap();
    assert!(note.contains("512") && note.contains("1 more"), "{note}");
    // The same id in the vocabulary itself is an error.
    let pieces = Checkpoint::copy("llama");
    pieces.change("tokenizer.json", |json| json["model"]["vocab"]["x"] = json!(512));
    assert!(pieces.error().contains("513 tokens"));
}

#[test]
fn c2_added_tokens_and_special_tokens_map_are_read() {
    let checkpoint = Checkpoint::copy("llama");
    pieces(&checkpoint, &[]);
    checkpoint.change("added_tokens.json", |json| {
        *json = json!({ "<|tool|>": 510, "<|turn_end|>": 511 });
    });
    checkpoint.change("special_tokens_map.json", |json| {
        *json = json!({
            "eos_token": { "content": "<|turn_end|>", "lstrip": false },
            "bos_token": "<s>", "additional_special_tokens": ["<|tool|>"],
        });
    });
    let (tokenizer, notes) = checkpoint.tokenizer();
    assert_eq!(tokenizer.token_text(511), "<|turn_end|>");
    assert_eq!((tokenizer.eos(), tokenizer.bos()), (Some(511), Some(1)));
    assert!(tokenizer.ends_turn(511));
    assert_eq!(tokenizer.encode("<|tool|>", true).unwrap(), [510]);
    assert!(notes.iter().any(|note| note.contains("was not verified")), "{notes:?}");
    checkpoint.set("special_tokens_map.json", "eos_token", json!("<|absent|>"));
    let error = checkpoint.error();
    assert!(error.contains("<|absent|>") && error.contains("eos_token"), "{error}");
    checkpoint.set("special_tokens_map.json", "eos_token", json!("<|tool|>"));
    checkpoint.set("special_tokens_map.json", "additional_special_tokens", json!(["<|gone|>"]));
    assert!(checkpoint.error().contains("<|gone|>"));
}

/// Replaces `tokenizer.json` with a `tokenizer.model` of bytes and letters. `normalizer` is the
/// content of its `NormalizerSpec`, which is left out if empty.
fn pieces(checkpoint: &Checkpoint, normalizer: &[u8]) {
    let message =
        |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let mut pieces: Vec<(String, f32, u8)> =
        vec![("<unk>".into(), 0.0, 2), ("<s>".into(), 0.0, 3), ("</s>".into(), 0.0, 3)];
    pieces.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
    let letters = "▁abcdefghijklmnopqrstuvwxyz".chars();
    pieces.extend(letters.enumerate().map(|(i, c)| (c.to_string(), -(i as f32) - 10.0, 1)));
    pieces.push(("▁▁".into(), -1.0, 1));
    let mut model = message(2, &[3 << 3, 2]);
    for (text, score, kind) in pieces {
        let score = [&[2 << 3 | 5][..], &score.to_le_bytes()].concat();
        model
            .extend(message(1, &[message(1, text.as_bytes()), score, vec![3 << 3, kind]].concat()));
    }
    if !normalizer.is_empty() {
        model.extend(message(3, normalizer));
    }
    fs::remove_file(checkpoint.file("tokenizer.json")).unwrap();
    fs::write(checkpoint.file("tokenizer.model"), model).unwrap();
}

#[test]
fn c5_all_listed_tokens_end_a_turn() {
    let checkpoint = Checkpoint::copy("llama");
    checkpoint.set("config.json", "eos_token_id", json!([257, 260, 261]));
    checkpoint.set("generation_config.json", "eos_token_id", json!([257, 262, 263]));
    let (tokenizer, _) = checkpoint.tokenizer();
    assert_eq!(tokenizer.eos(), Some(257));
    for id in [257, 260, 261, 262, 263] {
        assert!(tokenizer.ends_turn(id), "{id}");
    }
    assert!(!tokenizer.ends_turn(258));
    checkpoint.set("config.json", "eos_token_id", json!([257, 900]));
    assert!(checkpoint.error().contains("900"));
}

#[test]
fn c6_normal_forms_are_applied() {
    let checkpoint = Checkpoint::copy("qwen2");
    checkpoint.set("tokenizer.json", "normalizer", json!({ "type": "NFC" }));
    let (tokenizer, _) = checkpoint.tokenizer();
    let [composed, decomposed] =
        ["é", "e\u{301}"].map(|text| tokenizer.encode(text, false).unwrap());
    assert_eq!(composed, decomposed);
    let plain = Checkpoint::copy("qwen2");
    let (tokenizer, _) = plain.tokenizer();
    assert_ne!(tokenizer.encode("e\u{301}", false).unwrap(), composed);
    checkpoint.set("tokenizer.json", "normalizer", json!({ "type": "Lowercase" }));
    let (tokenizer, _) = checkpoint.tokenizer();
    assert_eq!(tokenizer.encode("ABC", false).unwrap(), tokenizer.encode("abc", false).unwrap());
    for (normalizer, name) in [
        (json!({ "type": "Strip", "strip_left": true, "strip_right": true }), "Strip"),
        (json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "b" }), "Replace"),
        (json!({ "type": "Prepend", "prepend": "x" }), "Prepend"),
    ] {
        checkpoint.set("tokenizer.json", "normalizer", normalizer);
        assert!(checkpoint.error().contains(name), "{name}");
    }
}

#[test]
fn c6_flags_of_added_tokens_are_applied_or_rejected() {
    let with = |flag: &str| {
        let checkpoint = Checkpoint::copy("llama");
        checkpoint.change("tokenizer.json", |json| {
            json["added_tokens"][1][flag] = json!(true);
        });
        checkpoint
    };
    for flag in ["lstrip", "single_word"] {
        assert!(with(flag).error().contains(flag), "{flag}");
    }
    let (tokenizer, _) = with("rstrip").tokenizer();
    let text = |spaces: &str| tokenizer.encode(&format!("<|im_start|>{spaces}a"), true).unwrap();
    assert_eq!(text(""), text(" \n"));
}

#[test]
fn c6_sentencepiece_normalizers_are_applied_or_rejected() {
    let message =
        |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let checkpoint = Checkpoint::copy("llama");
    pieces(&checkpoint, &message(1, b"nmt_nfkc"));
    assert!(checkpoint.error().contains("nmt_nfkc"));
    let removes = |flag: u8| {
        let checkpoint = Checkpoint::copy("llama");
        pieces(&checkpoint, &[message(1, b"identity"), vec![4 << 3, flag]].concat());
        let (tokenizer, _) = checkpoint.tokenizer();
        tokenizer.encode("  a   b ", false).unwrap() == tokenizer.encode("a b", false).unwrap()
    };
    assert!(removes(1) && !removes(0));
}

/// Replaces `tokenizer.json` with one of SentencePiece pieces: bytes, letters, runs of `▁` as added
/// tokens that match before normalisation, and `▁a`.
fn pieces_of_json(checkpoint: &Checkpoint) {
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let letters = "▁abcdefghijklmnopqrstuvwxyz".chars().map(String::from);
    let runs = (2..=4).map(|n| "▁".repeat(n));
    let texts: Vec<String> = ["<unk>".to_owned(), "<s>".to_owned()]
        .into_iter()
        .chain(bytes)
        .chain(letters)
        .chain(runs)
        .chain(["▁a".to_owned()])
        .collect();
    let id = |text: &str| texts.iter().position(|known| known == text).unwrap();
    let vocab: serde_json::Map<_, _> =
        texts.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    let run = |n: usize| {
        let text = "▁".repeat(n);
        let mut token = added(id(&text) as u32, &text);
        token["special"] = json!(false);
        token
    };
    let merges = [("▁▁▁", "▁"), ("▁▁", "▁▁"), ("▁▁", "▁"), ("▁", "▁▁"), ("▁", "▁"), ("▁", "a")];
    checkpoint.change("tokenizer.json", |json| {
        *json = json!({
            "version": "1.0",
            "added_tokens": [added(0, "<unk>"), added(1, "<s>"), run(2), run(3), run(4)],
            "normalizer": { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
            "model": {
                "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                "vocab": vocab, "merges": merges.map(|(left, right)| [left, right]),
            },
        });
    });
}

#[test]
fn c6_runs_of_underscores_match_literally_and_come_from_spaces() {
    let checkpoint = Checkpoint::copy("llama");
    pieces_of_json(&checkpoint);
    // The conversion has compared it with the `tokenizers` crate; these are the expected tokens.
    let (tokenizer, _) = checkpoint.tokenizer();
    let texts = |text: &str| {
        let ids = tokenizer.encode(text, false).unwrap();
        ids.iter().map(|id| tokenizer.token_text(*id)).collect::<Vec<_>>()
    };
    assert_eq!(texts("a▁▁▁a"), ["a", "▁▁▁", "a"]);
    assert_eq!(texts("a   a"), ["a", "▁▁▁", "a"]);
    assert_eq!(texts("a  ▁▁ a"), ["a", "▁▁", "▁▁", "▁a"]);
    assert_eq!(texts("a ▁a"), ["a", "▁▁", "a"]);
    assert_eq!(tokenizer.decode(&tokenizer.encode("a   a", false).unwrap()), "a   a");
}

#[test]
fn c6_normal_tokens_that_look_like_control_tokens_stay_normal() {
    let checkpoint = Checkpoint::copy("qwen2");
    checkpoint.change("tokenizer.json", |json| json["model"]["vocab"]["</s>"] = json!(500));
    let (tokenizer, _) = checkpoint.tokenizer();
    assert!(!tokenizer.ends_turn(500));
    assert!(!tokenizer.encode("a</s>b", true).unwrap().contains(&500));
    // Named by a field, or listed in tokenizer_config.json, it is one, as in transformers.
    checkpoint.set("tokenizer_config.json", "pad_token", json!("</s>"));
    let (tokenizer, _) = checkpoint.tokenizer();
    assert!(tokenizer.encode("a</s>b", true).unwrap().contains(&500));
    let token = json!({ "content": "<|more|>", "special": true });
    checkpoint.set("tokenizer_config.json", "added_tokens_decoder", json!({ "421": token }));
    let (tokenizer, _) = checkpoint.tokenizer();
    assert!(tokenizer.encode("a<|more|>b", true).unwrap().contains(&421));
}

#[test]
fn c6_a_tokenizer_that_gguf_cannot_represent_is_rejected_with_the_text() {
    // A listed piece without a merge is never produced, which scores cannot express.
    let checkpoint = Checkpoint::copy("llama");
    pieces_of_json(&checkpoint);
    checkpoint.change("tokenizer.json", |json| {
        json["model"]["merges"].as_array_mut().unwrap().pop();
    });
    let error = checkpoint.run().map(drop).unwrap_err();
    let Error::TokenizerDiffers { text, .. } = &error else { panic!("{error}") };
    assert!(text.contains(" a"), "{error}");
}
