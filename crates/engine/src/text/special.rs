//! Special tokens: which of them end a turn, and how they split a text before it is tokenized.
//!
//! Files seldom state which tokens end a turn, so they are recognised by their text. The lists are
//! those of llama.cpp.

use std::ops::Range;
use std::sync::OnceLock;

use super::special_split::{Fragment, SpecialTokenSplitter, SpecialTokenTable};
use super::vocab::{TokenKind, Vocab, listed_ids};
use crate::Error;

/// Texts of tokens that end a turn.
const TURN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Texts of tokens of code models that end a turn unless the metadata names others:
/// fill-in-the-middle padding, repository names, file separators.
const CODE_TURN_ENDS: &[(&str, &[&str])] = &[
    (
        "tokenizer.ggml.fim_pad_token_id",
        &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    ),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

/// Metadata keys of single tokens that end a turn.
const END_KEYS: &[&str] = &["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Control tokens of gpt-oss that are part of the text.
const TEXT_TOKENS: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// Control tokens that occur in reasoning tags (`crate::reasoning`): they are decoded as text.
const REASONING_TOKENS: &[&str] = &[
    "<think>",
    "</think>",
    "[THINK]",
    "[/THINK]",
    "<thought>",
    "</thought>",
    "<seed:think>",
    "</seed:think>",
    "<|START_THINKING|>",
    "<|END_THINKING|>",
    "<|inner_prefix|>",
    "<|inner_suffix|>",
    "<|channel>",
    "<channel|>",
];

/// Tokens that structure prompts and that some files list as user-defined, but whose text does not
/// look like that of a control token.
const STRUCTURE: &[&str] = &[
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
];

/// Metadata key of Lilims: all tokens that end a turn, if single keys are not enough.
const END_LIST: &str = "lilims.tokenizer.eos_token_ids";

/// Metadata key of Lilims: whether token types are exact, so that a normal token is not a control
/// token whatever its text.
const EXACT_KINDS: &str = "lilims.tokenizer.has_exact_types";

/// The longest text in the lists; longer tokens need not be compared.
const MAX_KNOWN_LEN: usize = 32;

/// The token at a metadata key, if valid.
pub(super) fn token_at(vocab: &Vocab, key: &str) -> Option<u32> {
    let id = vocab.metadata().get(key)?.as_u64()?;
    u32::try_from(id).ok().filter(|&id| (id as usize) < vocab.len())
}

/// Finds the tokens that end a turn, sorted, and corrects wrong token types, like llama.cpp. Qwen's
/// `</s>`, a normal token, ends a turn in all files but our own.
pub(super) fn find_turn_ends(vocab: &mut Vocab, eos: Option<u32>) -> Vec<u32> {
    let mut ends: Vec<u32> = END_KEYS.iter().filter_map(|key| token_at(vocab, key)).collect();
    ends.extend(eos);
    ends.extend(listed_ids(vocab.metadata(), END_LIST, vocab.len()));
    let mut code_ends: Vec<Option<u32>> =
        CODE_TURN_ENDS.iter().map(|(key, _)| token_at(vocab, key)).collect();
    let is_exact = vocab.metadata().get(EXACT_KINDS).and_then(|value| value.as_bool());
    for id in vocab.ids() {
        if is_exact == Some(true) && vocab.kind(id) == TokenKind::Normal {
            continue;
        }
        let text = vocab.text(id);
        if text.len() > MAX_KNOWN_LEN || !matches!(text.first(), Some(b'<' | b'[' | b'_')) {
            continue;
        }
        let is_in = |list: &[&str]| list.iter().any(|known| known.as_bytes() == text);
        let code_end = CODE_TURN_ENDS.iter().position(|(_, texts)| is_in(texts));
        if is_in(TURN_ENDS) {
            ends.push(id);
            vocab.set_kind(id, TokenKind::Control);
        } else if is_in(TEXT_TOKENS) {
            vocab.set_kind(id, TokenKind::UserDefined);
        } else if let Some(code_end) = code_end.filter(|&code_end| code_ends[code_end].is_none()) {
            code_ends[code_end] = Some(id);
            vocab.set_kind(id, TokenKind::Control);
        }
    }
    ends.extend(code_ends.into_iter().flatten());
    ends.sort_unstable();
    ends.dedup();
    remove_false_turn_ends(vocab, &mut ends);
    ends
}

/// Removes tokens that end a turn in most models, but not in the two kinds of models that have
/// these others.
fn remove_false_turn_ends(vocab: &mut Vocab, ends: &mut Vec<u32>) {
    let find = |text: &str| ends.iter().copied().find(|&id| vocab.text(id) == text.as_bytes());
    let has = |text| find(text).is_some();
    let has_call = has("<|call|>") || has("<|calls|>");
    let end = find("<|end|>").filter(|_| has_call && (has("<|return|>") || has("<|flush|>")));
    let s = find("</s>").filter(|_| has("<|tool_response>"));
    for (id, kind) in [(end, TokenKind::UserDefined), (s, TokenKind::Normal)] {
        if let Some(id) = id {
            ends.retain(|&other| other != id);
            vocab.set_kind(id, kind);
        }
    }
}

/// Control tokens in reasoning tags, sorted: they are decoded as text, to separate reasoning from
/// the answer.
pub(super) fn find_visible_control(vocab: &Vocab) -> Vec<u32> {
    let is_shown = |&id: &u32| {
        let text = vocab.text(id);
        let may_be = vocab.kind(id) == TokenKind::Control && text.len() <= MAX_KNOWN_LEN;
        may_be && REASONING_TOKENS.iter().any(|known| known.as_bytes() == text)
    };
    vocab.ids().filter(is_shown).collect()
}

/// Which parts of a text are plain text, in which control tokens are not matched.
#[derive(Clone, Copy, Debug)]
pub(super) enum PlainText<'a> {
    All,
    /// Byte ranges in order, not overlapping.
    Parts(&'a [Range<usize>]),
}

/// Whether the token must not be matched in plain text. Files mark some prompt-structuring tokens
/// as user-defined, such as Gemma's `<start_of_turn>`: those are recognised by their text, as in
/// llama.cpp's converter. Other user-defined tokens are matched in any text, like llama.cpp without
/// `parse_special`.
fn is_control(vocab: &Vocab, id: u32) -> bool {
    let text = vocab.text(id);
    let is_between = |start: &str, end: &str| {
        text.starts_with(start.as_bytes()) && text.ends_with(end.as_bytes())
    };
    !matches!(vocab.kind(id), TokenKind::UserDefined | TokenKind::SplittingNormal)
        || [("<|", ">"), ("<", "|>"), ("<｜", "｜>")]
            .iter()
            .any(|(start, end)| is_between(start, end))
        || STRUCTURE.iter().any(|known| known.as_bytes() == text)
}

/// The special tokens of a vocabulary.
pub(super) struct SpecialTokens {
    /// Control tokens and user-defined tokens.
    all: OnceLock<SpecialTokenTable>,
    user_defined: OnceLock<SpecialTokenTable>,
    /// Which special tokens drop the white space after them.
    strips_right: StripsRight,
}

/// The special tokens that drop the white space after them.
enum StripsRight {
    /// Those that the file lists, sorted: a metadata key of Lilims.
    Listed(Vec<u32>),
    /// Phi-3's tokens do, which files of other programs do not state.
    AsPhi3,
}

/// The metadata key with that list.
const RSTRIP_LIST: &str = "lilims.tokenizer.rstrip_token_ids";

impl StripsRight {
    fn from_gguf(vocab: &Vocab) -> Self {
        let name = vocab.metadata().get("general.name").and_then(|name| name.as_str());
        let name = name.unwrap_or_default().to_lowercase();
        let is_phi3 = name.contains("phi-3") || name.contains("phi3");
        if is_phi3 && vocab.metadata().get(RSTRIP_LIST).is_none() {
            return Self::AsPhi3;
        }
        let mut ids = listed_ids(vocab.metadata(), RSTRIP_LIST, vocab.len());
        ids.sort_unstable();
        Self::Listed(ids)
    }

    fn includes(&self, id: u32, text: &[u8]) -> bool {
        match self {
            Self::Listed(ids) => ids.binary_search(&id).is_ok(),
            Self::AsPhi3 => !KEEPS_RIGHT.contains(&text),
        }
    }
}

/// Tokens of Phi-3 that keep the white space after them.
const KEEPS_RIGHT: &[&[u8]] = &[b"<unk>", b"<s>", b"<|endoftext|>"];

impl SpecialTokens {
    pub(super) fn new(vocab: &Vocab) -> Self {
        Self {
            all: OnceLock::new(),
            user_defined: OnceLock::new(),
            strips_right: StripsRight::from_gguf(vocab),
        }
    }

    /// Splits `text`, from byte `from` on, at user-defined tokens and, unless all of it is plain,
    /// at control tokens outside of plain parts. Passes each fragment and its end offset to
    /// `visit`, until that fails.
    pub(super) fn split<'t>(
        &self,
        vocab: &Vocab,
        text: &'t str,
        from: usize,
        plain: PlainText<'_>,
        mut visit: impl FnMut(Fragment<'t>, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (table, parts) = match plain {
            PlainText::Parts(parts) => {
                let table = self.all.get_or_init(|| {
                    let ids = vocab.ids().filter(|&id| vocab.kind(id).splits_text());
                    SpecialTokenTable::new(vocab, ids, |id| is_control(vocab, id))
                });
                (table, parts)
            }
            PlainText::All => {
                let table = self.user_defined.get_or_init(|| {
                    let splits = |id: &u32| {
                        matches!(
                            vocab.kind(*id),
                            TokenKind::UserDefined | TokenKind::SplittingNormal
                        )
                    };
                    SpecialTokenTable::new(vocab, vocab.ids().filter(splits), |_| false)
                });
                (table, &[][..])
            }
        };
        let drops_space = |id| self.strips_right.includes(id, vocab.text(id));
        let mut splitter =
            SpecialTokenSplitter::new(table, vocab, (text, from), parts, &drops_space);
        while let Some(fragment) = splitter.next() {
            visit(fragment, splitter.done())?;
        }
        Ok(())
    }
}
