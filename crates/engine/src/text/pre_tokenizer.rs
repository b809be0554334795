//! Pre-tokenizers: how a text is split into words before BPE merging.
//!
//! `tokenizer.ggml.pre` names one. The patterns are those of the models, in the order in which
//! llama.cpp applies them: each splits the parts that the previous ones have left. They are matched
//! by an automaton, so that no text is slow; the only look-ahead, `\s+(?!\S)`, is implemented by
//! hand.

use regex_automata::meta::Regex;
use regex_automata::{Input, PatternID};

use crate::Error;

/// A split: a pattern, and whether a run of white space that it does not match is split before its
/// last character, which then belongs to the next word: `\s+(?!\S)|\s+`.
type SplitPattern = (&'static str, bool);

/// A pre-tokenizer: its names and patterns.
#[derive(Debug, PartialEq)]
pub(super) struct PreTokenizer {
    names: &'static [&'static str],
    splits: &'static [SplitPattern],
    /// Whether a word that is a token skips merging.
    pub(super) ignores_merges: bool,
    /// Whether BOS is prepended unless the file says otherwise.
    pub(super) adds_bos: bool,
}

const GPT2: SplitPattern = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+", true);
const LLAMA3: SplitPattern = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    true,
);
const QWEN2: SplitPattern = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    true,
);
const QWEN35: SplitPattern = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+",
    true,
);
// Written as code points since several of these letters look alike, and editors that normalize text
// would change them.
const DEEPSEEK_LETTERS: SplitPattern = (
    "\\s?[A-Za-z\
     \u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\
     \u{295}-\u{2af}\u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\
     \u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}\u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\
     \u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}\u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\
     \u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\
     \u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\
     \u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\
     \u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\u{1fd0}-\u{1fd3}\
     \u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\
     \u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\
     \u{212f}-\u{2134}\u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\
     \u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\
     \u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\u{a78b}-\u{a78e}\
     \u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\
     \u{ff41}-\u{ff5a}\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\
     \u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}\
     ]+",
    false,
);
const CJK: SplitPattern = ("[一-龥ࠀ-一가-퟿]+", false);

const PLAIN: PreTokenizer =
    PreTokenizer { names: &[], splits: &[], ignores_merges: false, adds_bos: false };

/// All supported pre-tokenizers.
const PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer {
        names: &[
            "gpt-2",
            "phi-2",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "exaone4",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
        ],
        splits: &[GPT2],
        ..PLAIN
    },
    PreTokenizer {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        splits: &[(r"\p{N}", false), GPT2],
        ..PLAIN
    },
    PreTokenizer {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
        ],
        splits: &[LLAMA3],
        ignores_merges: true,
        adds_bos: true,
    },
    PreTokenizer { names: &["glm4", "glm5"], splits: &[LLAMA3], ignores_merges: true, ..PLAIN },
    PreTokenizer { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], splits: &[LLAMA3], ..PLAIN },
    PreTokenizer {
        names: &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        splits: &[QWEN2],
        ..PLAIN
    },
    PreTokenizer { names: &["qwen35"], splits: &[QWEN35], ..PLAIN },
    PreTokenizer {
        names: &["deepseek-llm"],
        splits: &[
            ("[\r\n]", false),
            DEEPSEEK_LETTERS,
            (r"\s?[!-/:-~！-／：-～‘-‟　-。]+", false),
            (r"\s+$", false),
            CJK,
            (r"\p{N}+", false),
        ],
        ..PLAIN
    },
    PreTokenizer {
        names: &["deepseek-coder"],
        splits: &[
            ("[\r\n]", false),
            (r"\s?\p{L}+", false),
            (r"\s?\p{P}+", false),
            CJK,
            (r"\p{N}", false),
        ],
        ..PLAIN
    },
    PreTokenizer {
        names: &["falcon"],
        splits: &[(r"[\p{P}\$\+<=>\^~\|`]+", false), GPT2, ("[0-9][0-9][0-9]", false)],
        ..PLAIN
    },
    PreTokenizer {
        names: &["default"],
        splits: &[
            (r"[\p{P}\$\+<=>\^~\|]+", false),
            GPT2,
            (r"\p{N}+", false),
            ("[0-9][0-9][0-9]", false),
        ],
        ..PLAIN
    },
];

/// The pre-tokenizer of `gemma4`: merges cross spaces, and only newlines are separated.
pub(super) const NEWLINES: PreTokenizer =
    PreTokenizer { splits: &[("[^\n]+|[\n]+", false)], ..PLAIN };

/// The pre-tokenizer called `name`.
///
/// # Errors
/// [`Error::Unsupported`], listing the known names.
pub(super) fn named(name: &str) -> Result<&'static PreTokenizer, Error> {
    PRE_TOKENIZERS.iter().find(|pre| pre.names.contains(&name)).ok_or_else(|| {
        let known: Vec<_> = PRE_TOKENIZERS.iter().flat_map(|pre| pre.names).copied().collect();
        let known = known.join(", ");
        Error::Unsupported {
            what: format!(
                "unknown pre-tokenizer `{}`: words would be split differently than in training \
                 (known: {known})",
                lilims_gguf::quoted(name)
            ),
        }
    })
}

/// A pre-tokenizer with compiled patterns.
pub(super) struct WordSplitter {
    splits: Vec<Regex>,
}

impl WordSplitter {
    pub(super) fn new(pre: &PreTokenizer) -> Self {
        let build = |&(pattern, splits_space): &SplitPattern| {
            let patterns = if splits_space { vec![pattern, r"\s+"] } else { vec![pattern] };
            Regex::new_many(&patterns).expect("the patterns of the table are valid")
        };
        Self { splits: pre.splits.iter().map(build).collect() }
    }

    /// Passes the words of `text`, which together are the text, to `visit`, until that fails.
    pub(super) fn words<'t>(
        &self,
        text: &'t str,
        visit: &mut dyn FnMut(&'t str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        words(&self.splits, text, visit)
    }
}

/// Each pattern splits the parts that the previous ones have left; text passes through all of them
/// part by part.
fn words<'t>(
    splits: &[Regex],
    text: &'t str,
    visit: &mut dyn FnMut(&'t str) -> Result<(), Error>,
) -> Result<(), Error> {
    match splits.split_first() {
        Some((regex, others)) => {
            split_at_matches(regex, text).try_for_each(|part| words(others, part, visit))
        }
        None => visit(text),
    }
}

/// Splits `text` at every match: the matches and the gaps between them are the parts.
fn split_at_matches<'t>(regex: &Regex, text: &'t str) -> impl Iterator<Item = &'t str> {
    let mut at = 0;
    let mut pending = None;
    std::iter::from_fn(move || {
        if let Some(part) = pending.take() {
            return Some(part);
        }
        if at == text.len() {
            return None;
        }
        let (start, end) = next_match(regex, text, at).unwrap_or((text.len(), text.len()));
        let gap = &text[at..start];
        let matched = &text[start..end];
        at = end;
        if gap.is_empty() {
            return Some(matched);
        }
        pending = Some(matched).filter(|part| !part.is_empty());
        Some(gap)
    })
}

fn next_match(regex: &Regex, text: &str, at: usize) -> Option<(usize, usize)> {
    let found = regex.search(&Input::new(text).range(at..))?;
    let (start, mut end) = (found.start(), found.end());
    let is_space_run = found.pattern() != PatternID::ZERO;
    if is_space_run && end < text.len() {
        // `\s+(?!\S)`: the run leaves its last character to the next word, unless it has only one.
        let last = text[start..end].chars().next_back().map_or(0, char::len_utf8);
        if end - last > start {
            end -= last;
        }
    }
    Some((start, end))
}
