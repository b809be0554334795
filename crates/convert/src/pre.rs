//! Identifies the pre-tokenizer, the normalizers and the post-processor of a `tokenizer.json` by
//! their patterns and settings; llama.cpp compares a hash of test results instead.

use serde_json::Value as Json;

use crate::Error;
use crate::quote::{quoted, quoted_json};

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-2's pattern, which `ByteLevel` uses without stating it.
const GPT2: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const GPT2_OLD: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// A step that splits a text into words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Split<'a> {
    /// By GPT-2's pattern.
    Gpt2,
    /// Into single digits.
    Digits,
    Pattern(&'a str),
    /// An unknown step.
    Other(&'a str),
}

/// Whether the tokenizer is byte-level: the vocabulary writes bytes as printable characters.
pub(crate) fn is_byte_level(tokenizer: &Json) -> bool {
    let is_byte_level = |step: &&Json| step.get("type").is_some_and(|ty| ty == "ByteLevel");
    let of = |key: &str| tokenizer.get(key).map(steps).unwrap_or_default();
    of("pre_tokenizer").iter().chain(&of("decoder")).any(is_byte_level)
}

/// Returns the value of `tokenizer.ggml.pre` for the tokenizer's pre-tokenizer.
///
/// # Errors
///
/// [`Error::Unsupported`] for an unknown pre-tokenizer, quoting it.
pub(crate) fn name(tokenizer: &Json) -> Result<&'static str, Error> {
    let steps = tokenizer.get("pre_tokenizer").map(steps).unwrap_or_default();
    let splits: Vec<_> = steps.into_iter().filter_map(split).collect();
    let model = tokenizer.get("model");
    let ignores_merges = model.and_then(|model| model.get("ignore_merges"));
    let ignores_merges = ignores_merges.and_then(Json::as_bool).unwrap_or(false);
    Ok(match splits[..] {
        [Split::Gpt2] => "gpt-2",
        [Split::Digits, Split::Gpt2] => "smollm",
        [Split::Pattern(LLAMA3)] if ignores_merges => "llama-bpe",
        [Split::Pattern(LLAMA3)] => "dbrx",
        [Split::Pattern(QWEN2)] => "qwen2",
        [Split::Pattern(QWEN35)] => "qwen35",
        _ => {
            let what = format!("the pre-tokenizer {}", quoted(&format!("{splits:?}")));
            return Err(Error::Unsupported { what });
        }
    })
}

/// Whether and when a SentencePiece tokenizer puts a space in front of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpacePrefix {
    pub(crate) adds: bool,
    /// Only at the start of a text, not after special tokens.
    pub(crate) first_only: bool,
    /// Only if the text does not start with a space.
    pub(crate) unless_space: bool,
}

/// How a text is normalised before it is split.
#[derive(Debug, Default)]
pub(crate) struct Normalizers {
    /// Steps in order, as `lilims.tokenizer.normalizers` names them.
    pub(crate) names: Vec<&'static str>,
    pub(crate) space: SpacePrefix,
}

/// Reads the normalizers of `tokenizer.json`, and the pre-tokenizer too unless it is byte-level.
///
/// # Errors
///
/// [`Error::Unsupported`] for an unknown step, quoting it.
pub(crate) fn normalizers(tokenizer: &Json, is_byte_level: bool) -> Result<Normalizers, Error> {
    let of = |key: &str| tokenizer.get(key).map(steps).unwrap_or_default();
    let mut found = Normalizers::default();
    let unsupported = |what: &str, step: &Json| {
        Err(Error::Unsupported {
            what: format!("the {what} {} of tokenizer.json", quoted_json(step)),
        })
    };
    for step in of("normalizer") {
        let text = |key: &str| step.get(key).and_then(Json::as_str);
        let replaced = step.get("pattern").and_then(|pattern| pattern.get("String"));
        let replaced = replaced.and_then(Json::as_str);
        match text("type").unwrap_or_default() {
            "NFC" => found.names.push("nfc"),
            "NFD" => found.names.push("nfd"),
            "NFKC" => found.names.push("nfkc"),
            "NFKD" => found.names.push("nfkd"),
            "Lowercase" => found.names.push("lowercase"),
            "Prepend" if text("prepend") == Some("") => {}
            "Replace" if replaced.is_some() && replaced == text("content") => {}
            "Strip" if is_false(step, "strip_left") && is_false(step, "strip_right") => {}
            "Prepend" if !is_byte_level && text("prepend") == Some("▁") => {
                found.space = SpacePrefix { adds: true, ..SpacePrefix::default() };
            }
            // The engine always looks up pieces with `▁` for the space.
            "Replace"
                if !is_byte_level && replaced == Some(" ") && text("content") == Some("▁") => {}
            _ => return unsupported("normalizer", step),
        }
    }
    if is_byte_level {
        return Ok(found);
    }
    for step in of("pre_tokenizer") {
        let text = |key: &str| step.get(key).and_then(Json::as_str);
        match text("type").unwrap_or_default() {
            "Metaspace" if text("replacement").unwrap_or("▁") == "▁" => {
                let adds = step.get("add_prefix_space").and_then(Json::as_bool).unwrap_or(true);
                let scheme =
                    text("prepend_scheme").unwrap_or(if adds { "always" } else { "never" });
                if scheme != "never" {
                    let first_only = scheme == "first";
                    found.space = SpacePrefix { adds: true, first_only, unless_space: true };
                }
            }
            // No effect: the normalizer has already replaced all spaces.
            "Split" if step.pointer("/pattern/String").is_some_and(|text| text == " ") => {}
            _ => return unsupported("pre-tokenizer", step),
        }
    }
    Ok(found)
}

fn is_false(step: &Json, key: &str) -> bool {
    step.get(key).and_then(Json::as_bool) == Some(false)
}

/// The texts of the tokens that a post-processor adds in front of a text and behind it.
pub(crate) type Ends<'a> = (Option<&'a str>, Option<&'a str>);

/// Returns the tokens that the post-processor adds; `None` where it has no template.
///
/// # Errors
///
/// [`Error::Unsupported`] for other post-processors, and for more than one token at an end.
pub(crate) fn template(tokenizer: &Json) -> Result<Option<Ends<'_>>, Error> {
    let mut found = None;
    let unsupported = |what: &Json| Error::Unsupported {
        what: format!("the post-processor {}", quoted_json(what)),
    };
    for step in tokenizer.get("post_processor").map(steps).unwrap_or_default() {
        match step.get("type").and_then(Json::as_str).unwrap_or_default() {
            // Only trims offsets.
            "ByteLevel" => {}
            "TemplateProcessing" if found.is_none() => {
                let single = step.get("single").unwrap_or(&Json::Null);
                let ends = single.as_array().and_then(|single| ends(single));
                found = Some(ends.ok_or_else(|| unsupported(single))?);
            }
            _ => return Err(unsupported(step)),
        }
    }
    // A template that adds nothing counts as none: `tokenizer_config.json` may still add tokens.
    Ok(found.filter(|ends| *ends != (None, None)))
}

fn ends(single: &[Json]) -> Option<Ends<'_>> {
    let is_text = |item: &Json| item.get("Sequence").is_some();
    Some(match single {
        [text] if is_text(text) => (None, None),
        [bos, text] if is_text(text) => (Some(special(bos)?), None),
        [text, eos] if is_text(text) => (None, Some(special(eos)?)),
        [bos, text, eos] if is_text(text) => (Some(special(bos)?), Some(special(eos)?)),
        _ => return None,
    })
}

/// Returns the text of a special token in a template.
fn special(item: &Json) -> Option<&str> {
    item.pointer("/SpecialToken/id")?.as_str()
}

/// Flattens a sequence of steps; a single step counts as a sequence of one.
fn steps(step: &Json) -> Vec<&Json> {
    let inner = ["pretokenizers", "normalizers", "decoders", "processors"].iter();
    let inner = inner.filter_map(|key| step.get(key)).find_map(Json::as_array);
    match inner {
        Some(inner) => inner.iter().flat_map(steps).collect(),
        None if step.is_null() => Vec::new(),
        None => vec![step],
    }
}

/// Whether a split keeps all text, both matches and what is between them, as words.
fn keeps_all(step: &Json) -> bool {
    let inverts = step.get("invert").and_then(Json::as_bool).unwrap_or(false);
    match step.get("behavior").and_then(Json::as_str).unwrap_or("Isolated") {
        "Isolated" => true,
        // Drops the text between matches, but the known patterns match everything.
        "Removed" => inverts,
        _ => false,
    }
}

/// Returns how a step splits a text; `None` where it only writes bytes as characters.
fn split(step: &Json) -> Option<Split<'_>> {
    let flag = |key: &str| step.get(key).and_then(Json::as_bool);
    Some(match step.get("type").and_then(Json::as_str).unwrap_or_default() {
        "ByteLevel" if flag("add_prefix_space") == Some(true) => Split::Other("add_prefix_space"),
        "ByteLevel" if flag("use_regex") == Some(false) => return None,
        "ByteLevel" => Split::Gpt2,
        "Digits" if flag("individual_digits") == Some(true) => Split::Digits,
        "Split" if !keeps_all(step) => Split::Other("Split"),
        "Split" => {
            let pattern = step.get("pattern").and_then(|pattern| pattern.get("Regex"));
            match pattern.and_then(Json::as_str) {
                Some(GPT2 | GPT2_OLD) => Split::Gpt2,
                Some(r"\p{N}" | r"\d") => Split::Digits,
                Some(pattern) => Split::Pattern(pattern),
                None => Split::Other("Split"),
            }
        }
        other => Split::Other(other),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(pre_tokenizer: Json, ignores_merges: bool) -> Result<&'static str, Error> {
        name(&json!({
            "pre_tokenizer": pre_tokenizer,
            "model": { "type": "BPE", "ignore_merges": ignores_merges },
        }))
    }

    #[test]
    fn pre_tokenizers_are_identified_by_their_patterns() {
        let byte_level = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": use_regex });
        let split = |pattern: &str| {
            json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated" },
                byte_level(false),
            ] })
        };
        assert_eq!(of(byte_level(true), false).unwrap(), "gpt-2");
        let digits = json!({ "type": "Digits", "individual_digits": true });
        let smollm = json!({ "type": "Sequence", "pretokenizers": [digits, byte_level(true)] });
        assert_eq!(of(smollm, false).unwrap(), "smollm");
        assert_eq!(of(split(LLAMA3), true).unwrap(), "llama-bpe");
        assert_eq!(of(split(QWEN2), false).unwrap(), "qwen2");
        let error = of(split("[a-z]+"), false).unwrap_err().to_string();
        assert!(error.contains("[a-z]+"), "{error}");
    }

    #[test]
    fn reads_space_prefixes() {
        let space = |json: Json| normalizers(&json, false).unwrap().space;
        let normalizer =
            |steps: Json| json!({ "normalizer": { "type": "Sequence", "normalizers": steps } });
        let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
        let all = SpacePrefix { adds: true, ..SpacePrefix::default() };
        assert_eq!(space(normalizer(json!([replace]))), SpacePrefix::default());
        let prepend = json!({ "type": "Prepend", "prepend": "▁" });
        assert_eq!(space(normalizer(json!([prepend, replace]))), all);
        let metaspace = |scheme: &str| {
            space(json!({ "pre_tokenizer": {
                "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
            } }))
        };
        let first = SpacePrefix { adds: true, first_only: true, unless_space: true };
        assert_eq!(metaspace("first"), first);
        assert_eq!(metaspace("always"), SpacePrefix { first_only: false, ..first });
        assert_eq!(metaspace("never"), SpacePrefix::default());
    }

    #[test]
    fn c6_normalizers_are_known_or_rejected_by_name() {
        let of = |step: Json| normalizers(&json!({ "normalizer": step }), true);
        assert_eq!(of(json!({ "type": "NFC" })).unwrap().names, ["nfc"]);
        let both = json!({ "type": "Sequence", "normalizers": [{ "type": "NFKC" }, { "type": "Lowercase" }] });
        assert_eq!(of(both).unwrap().names, ["nfkc", "lowercase"]);
        assert!(of(json!({ "type": "Sequence", "normalizers": [] })).unwrap().names.is_empty());
        for step in [
            json!({ "type": "Strip", "strip_left": true, "strip_right": false }),
            json!({ "type": "StripAccents" }),
            json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" }),
            json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "b" }),
            json!({ "type": "Prepend", "prepend": "x" }),
        ] {
            let error = of(step.clone()).unwrap_err().to_string();
            assert!(error.contains(step["type"].as_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn reads_the_tokens_that_a_post_processor_adds() {
        let of = |single: Json| {
            let processor = json!({ "post_processor": {
                "type": "TemplateProcessing", "single": single,
            } });
            template(&processor).map(|ends| ends.map(|(a, b)| (a.is_some(), b.is_some())))
        };
        let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
        let special = json!({ "SpecialToken": { "id": "<s>", "type_id": 0 } });
        assert_eq!(of(json!([text])).unwrap(), None);
        assert_eq!(of(json!([special, text])).unwrap(), Some((true, false)));
        assert_eq!(of(json!([special, text, special])).unwrap(), Some((true, true)));
        assert!(of(json!([special, special, text])).is_err());
        let bert = json!({ "post_processor": { "type": "BertProcessing" } });
        assert!(template(&bert).is_err());
    }
}
