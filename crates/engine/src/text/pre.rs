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
const DEEPSEEK_LETTERS: Cut = (
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
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
/// *Errors*: [`Error::Unsupported`], naming those that are known.
pub(super) fn named(name: &str) -> Result<&'static Pre, Error> {
    TABLE.iter().find(|pre| pre.names.contains(&name)).ok_or_else(|| {
        let known: Vec<_> = TABLE.iter().flat_map(|pre| pre.names).copied().collect();
        let known = known.join(", ");
        Error::Unsupported {
            what: format!(
                "the pre-tokenizer `{name}` is not known; Lilims would cut words differently \
                 from the model's training (known: {known})"
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

    /// The words of `text`: together they are the text.
    pub(super) fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut words = vec![text];
        for regex in &self.cuts {
            words = words.into_iter().flat_map(|piece| cut(regex, piece)).collect();
        }
        words
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
