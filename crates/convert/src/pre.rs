//! Which pre-tokenizer a `tokenizer.json` has, by what it does: its patterns, not a hash of results.

use serde_json::Value as Json;

use crate::Error;

/// The contractions, then white space, that most patterns share.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The pattern of GPT-2, where it is written out.
const GPT2: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const GPT2_OLD: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// One cut of a text into words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut<'a> {
    /// The pattern of GPT-2.
    Gpt2,
    /// Each digit alone.
    Digits,
    Pattern(&'a str),
    /// Something that Lilims does not know.
    Other(&'a str),
}

/// Whether bytes are written as printable characters, so that the vocabulary is GGUF's `gpt2`.
pub(crate) fn is_byte_level(tokenizer: &Json) -> bool {
    let is_byte_level = |step: &&Json| step.get("type").is_some_and(|ty| ty == "ByteLevel");
    let of = |key: &str| tokenizer.get(key).map(steps).unwrap_or_default();
    of("pre_tokenizer").iter().chain(&of("decoder")).any(is_byte_level)
}

/// The name that `tokenizer.ggml.pre` has for the tokenizer's cuts.
///
/// *Errors*: [`Error::Unsupported`], naming the cuts.
pub(crate) fn name(tokenizer: &Json) -> Result<&'static str, Error> {
    let steps = tokenizer.get("pre_tokenizer").map(steps).unwrap_or_default();
    let cuts: Vec<_> = steps.into_iter().filter_map(cut).collect();
    let model = tokenizer.get("model");
    let ignores_merges = model.and_then(|model| model.get("ignore_merges"));
    let ignores_merges = ignores_merges.and_then(Json::as_bool).unwrap_or(false);
    Ok(match cuts[..] {
        [Cut::Gpt2] => "gpt-2",
        [Cut::Digits, Cut::Gpt2] => "smollm",
        [Cut::Pattern(LLAMA3)] if ignores_merges => "llama-bpe",
        [Cut::Pattern(LLAMA3)] => "dbrx",
        [Cut::Pattern(QWEN2)] => "qwen2",
        [Cut::Pattern(QWEN35)] => "qwen35",
        _ => {
            let what = format!("the pre-tokenizer {cuts:?}, whose words Lilims cannot cut");
            return Err(Error::Unsupported { what });
        }
    })
}

/// Whether a space goes in front of texts, for a vocabulary of pieces.
pub(crate) fn adds_space(tokenizer: &Json) -> bool {
    let of = |key: &str| tokenizer.get(key).map(steps).unwrap_or_default();
    let prepends = |step: &Json| {
        let is = |name: &str| step.get("type").is_some_and(|ty| ty == name);
        let scheme = step.get("prepend_scheme").and_then(Json::as_str);
        is("Prepend")
            || is("Metaspace")
                && scheme.map_or_else(
                    || step.get("add_prefix_space").and_then(Json::as_bool).unwrap_or(true),
                    |scheme| scheme != "never",
                )
    };
    of("normalizer").into_iter().chain(of("pre_tokenizer")).any(prepends)
}

/// The steps of a sequence, or the one step.
fn steps(step: &Json) -> Vec<&Json> {
    let inner = ["pretokenizers", "normalizers", "decoders"].iter();
    let inner = inner.filter_map(|key| step.get(key)).find_map(Json::as_array);
    match inner {
        Some(inner) => inner.iter().flat_map(steps).collect(),
        None if step.is_null() => Vec::new(),
        None => vec![step],
    }
}

/// What a step cuts; `None` where it only writes bytes as characters.
fn cut(step: &Json) -> Option<Cut<'_>> {
    let flag = |key: &str| step.get(key).and_then(Json::as_bool);
    Some(match step.get("type").and_then(Json::as_str).unwrap_or_default() {
        "ByteLevel" if flag("add_prefix_space") == Some(true) => Cut::Other("add_prefix_space"),
        "ByteLevel" if flag("use_regex") == Some(false) => return None,
        "ByteLevel" => Cut::Gpt2,
        "Digits" if flag("individual_digits") == Some(true) => Cut::Digits,
        "Split" => {
            let pattern = step.get("pattern").and_then(|pattern| pattern.get("Regex"));
            match pattern.and_then(Json::as_str) {
                Some(GPT2 | GPT2_OLD) => Cut::Gpt2,
                Some(r"\p{N}" | r"\d") => Cut::Digits,
                Some(pattern) => Cut::Pattern(pattern),
                None => Cut::Other("Split"),
            }
        }
        other => Cut::Other(other),
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
    fn pre_tokenizers_are_named_by_what_they_do() {
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
    fn spaces_in_front_are_found() {
        let normalizer = |steps: Json| {
            json!({ "normalizer": {
            "type": "Sequence", "normalizers": steps,
        } })
        };
        let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
        assert!(!adds_space(&normalizer(json!([replace]))));
        assert!(adds_space(&normalizer(json!([{ "type": "Prepend", "prepend": "▁" }, replace]))));
        let metaspace = |scheme: &str| {
            json!({ "pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
        } })
        };
        assert!(adds_space(&metaspace("first")) && !adds_space(&metaspace("never")));
    }
}
