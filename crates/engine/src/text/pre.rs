//! Pre-tokenizers: how a byte-pair vocabulary's text is cut into words before merging.
//!
//! `tokenizer.ggml.pre` names one. The patterns are the models' own, in the order in which
//! llama.cpp applies them: each cuts the pieces that the ones before it have left. They are
//! matched by an automaton, so that no text makes them slow; the one look-ahead among them,
//! `\s+(?!\S)`, is done by hand.

use regex_automata::meta::Regex;
use regex_automata::{Input, PatternID};

use crate::Error;

/// One cut: a pattern, and whether a run of white space that it does not match is cut before its
/// last character, which then belongs to the word that follows: `\s+(?!\S)|\s+`.
type Cut = (&'static str, bool);

/// What a pre-tokenizer's name stands for.
#[derive(Debug, PartialEq)]
pub(super) struct Pre {
    names: &'static [&'static str],
    cuts: &'static [Cut],
    /// Whether a word that is a token is not merged from its parts.
    pub(super) ignores_merges: bool,
    /// Whether BOS goes in front unless the file says otherwise.
    pub(super) adds_bos: bool,
}

const GPT2: Cut = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+", true);
const LLAMA3: Cut = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    true,
);
const QWEN2: Cut = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    true,
);
const QWEN35: Cut = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+",
    true,
);
// Written as numbers since several of these letters look like others, and editors that normalise
// text turn the one into the other.
const DEEPSEEK_LETTERS: Cut = (
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
const CJK: Cut = ("[一-龥ࠀ-一가-퟿]+", false);

const PLAIN: Pre = Pre { names: &[], cuts: &[], ignores_merges: false, adds_bos: false };

/// All pre-tokenizers that Lilims knows.
const TABLE: &[Pre] = &[
    Pre {
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
        cuts: &[GPT2],
        ..PLAIN
    },
    Pre {
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
        cuts: &[(r"\p{N}", false), GPT2],
        ..PLAIN
    },
    Pre {
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
        cuts: &[LLAMA3],
        ignores_merges: true,
        adds_bos: true,
    },
    Pre { names: &["glm4", "glm5"], cuts: &[LLAMA3], ignores_merges: true, ..PLAIN },
    Pre { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], cuts: &[LLAMA3], ..PLAIN },
    Pre {
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
        cuts: &[QWEN2],
        ..PLAIN
    },
    Pre { names: &["qwen35"], cuts: &[QWEN35], ..PLAIN },
    Pre {
        names: &["deepseek-llm"],
        cuts: &[
            ("[\r\n]", false),
            DEEPSEEK_LETTERS,
            (r"\s?[!-/:-~！-／：-～‘-‟　-。]+", false),
            (r"\s+$", false),
            CJK,
            (r"\p{N}+", false),
        ],
        ..PLAIN
    },
    Pre {
        names: &["deepseek-coder"],
        cuts: &[
            ("[\r\n]", false),
            (r"\s?\p{L}+", false),
            (r"\s?\p{P}+", false),
            CJK,
            (r"\p{N}", false),
        ],
        ..PLAIN
    },
    Pre {
        names: &["falcon"],
        cuts: &[(r"[\p{P}\$\+<=>\^~\|`]+", false), GPT2, ("[0-9][0-9][0-9]", false)],
        ..PLAIN
    },
    Pre {
        names: &["default"],
        cuts: &[
            (r"[\p{P}\$\+<=>\^~\|]+", false),
            GPT2,
            (r"\p{N}+", false),
            ("[0-9][0-9][0-9]", false),
        ],
        ..PLAIN
    },
];

/// The pre-tokenizer of `gemma4`: merges cross spaces, and only newlines are cut off.
pub(super) const NEWLINES: Pre = Pre { cuts: &[("[^\n]+|[\n]+", false)], ..PLAIN };

/// The pre-tokenizer called `name`.
///
/// # Errors
/// [`Error::Unsupported`], naming those that are known.
pub(super) fn named(name: &str) -> Result<&'static Pre, Error> {
    TABLE.iter().find(|pre| pre.names.contains(&name)).ok_or_else(|| {
        let known: Vec<_> = TABLE.iter().flat_map(|pre| pre.names).copied().collect();
        let known = known.join(", ");
        Error::Unsupported {
            what: format!(
                "the pre-tokenizer `{}` is not known; Lilims would cut words differently from the \
                 model's training (known: {known})",
                lilims_gguf::quoted(name)
            ),
        }
    })
}

/// A pre-tokenizer ready to cut text.
pub(super) struct Cutter {
    cuts: Vec<Regex>,
}

impl Cutter {
    pub(super) fn new(pre: &Pre) -> Self {
        let build = |&(pattern, cuts_space): &Cut| {
            let patterns = if cuts_space { vec![pattern, r"\s+"] } else { vec![pattern] };
            Regex::new_many(&patterns).expect("the patterns of the table are valid")
        };
        Self { cuts: pre.cuts.iter().map(build).collect() }
    }

    /// Passes on the words of `text`, which together are the text, until `visit` fails.
    pub(super) fn words<'t>(
        &self,
        text: &'t str,
        visit: &mut dyn FnMut(&'t str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        words(&self.cuts, text, visit)
    }
}

/// Each cut divides what the ones before have left; text passes through all of them piece by piece.
fn words<'t>(
    cuts: &[Regex],
    text: &'t str,
    visit: &mut dyn FnMut(&'t str) -> Result<(), Error>,
) -> Result<(), Error> {
    match cuts.split_first() {
        Some((regex, others)) => cut(regex, text).try_for_each(|piece| words(others, piece, visit)),
        None => visit(text),
    }
}

/// Cuts `text` at every match: matches and what lies between them are the pieces.
fn cut<'t>(regex: &Regex, text: &'t str) -> impl Iterator<Item = &'t str> {
    let mut at = 0;
    let mut pending = None;
    std::iter::from_fn(move || {
        if let Some(piece) = pending.take() {
            return Some(piece);
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
        pending = Some(matched).filter(|piece| !piece.is_empty());
        Some(gap)
    })
}

fn next_match(regex: &Regex, text: &str, at: usize) -> Option<(usize, usize)> {
    let found = regex.search(&Input::new(text).range(at..))?;
    let (start, mut end) = (found.start(), found.end());
    let is_space_run = found.pattern() != PatternID::ZERO;
    if is_space_run && end < text.len() {
        // `\s+(?!\S)`: the run gives its last character to the next word, unless it has only one.
        let last = text[start..end].chars().next_back().map_or(0, char::len_utf8);
        if end - last > start {
            end -= last;
        }
    }
    Some((start, end))
}
