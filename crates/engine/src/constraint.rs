//! Restricts answers to JSON of a given schema.
//!
//! The crate `llguidance` compiles the schema to a grammar and says for each step which tokens of
//! the vocabulary may follow: the sampler sees no others. What it does not support is an error,
//! never ignored. Reasoning before an answer is free. White space between values is bounded, since
//! small models like to write nothing else.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::toktrie::{
    ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv,
};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory, TokenParser};
use serde_json::Value;

use crate::generate::GenerateOptions;
use crate::reasoning::ReasoningTags;
use crate::{Error, Model, Tokenizer};

/// The longest schema in bytes.
const MAX_SCHEMA_BYTES: usize = 1 << 18;
/// White space between the parts of a value, where there is any: a space, or a line break and an
/// indentation.
const WHITE_SPACE: &str = r"[ \t]|\r?\n[ \t]{0,32}";
/// Bits of a word of a token mask.
const MASK_BITS: usize = u32::BITS as usize;

/// Checks that answers can follow `schema`, without a model.
///
/// # Errors
/// [`Error::Schema`], which names what is wrong or not supported.
pub fn check_schema(schema: &str) -> Result<(), Error> {
    SchemaCompiler::for_env(&ApproximateTokEnv::single_byte_env())?.compile(schema).map(drop)
}

/// Compiles schemas for a vocabulary.
pub(crate) struct SchemaCompiler {
    factory: ParserFactory,
}

impl SchemaCompiler {
    /// # Errors
    /// [`Error::Schema`] if the vocabulary cannot be used.
    pub(crate) fn new(tokenizer: &Arc<Tokenizer>) -> Result<Self, Error> {
        let vocabulary = Vocabulary { trie: trie(tokenizer), tokenizer: Arc::clone(tokenizer) };
        Self::for_env(&(Arc::new(vocabulary) as TokEnv))
    }

    fn for_env(env: &TokEnv) -> Result<Self, Error> {
        let capabilities = InferenceCapabilities { ff_tokens: true, ..Default::default() };
        let slices = llguidance::earley::SlicedBiasComputer::json_slices();
        let mut factory = ParserFactory::new(env, capabilities, &slices).map_err(invalid)?;
        factory.quiet();
        // Errors would quote the answer.
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory })
    }

    /// # Errors
    /// [`Error::Schema`].
    fn compile(&self, schema: &str) -> Result<TokenParser, Error> {
        if schema.len() > MAX_SCHEMA_BYTES {
            return Err(invalid(format!("it is longer than {} KiB", MAX_SCHEMA_BYTES >> 10)));
        }
        let mut schema: Value =
            serde_json::from_str(schema).map_err(|error| invalid(format!("not JSON: {error}")))?;
        if !schema.is_object() {
            return Err(invalid("not a JSON object"));
        }
        let options = JsonCompileOptions {
            whitespace_pattern: Some(WHITE_SPACE.to_owned()),
            ..JsonCompileOptions::default()
        };
        options.apply_to(&mut schema);
        self.factory.create_parser(TopLevelGrammar::from_json_schema(schema)).map_err(invalid)
    }
}

/// The tokens of a model as `llguidance` sees them.
struct Vocabulary {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let ids = self.tokenizer.encode_continuation(text).ok();
            ids.filter(|ids| self.trie.decode_raw(ids) == text.as_bytes())
                .unwrap_or_else(|| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }
}

/// The bytes of all tokens. Tokens that are no text begin with a byte that no text has.
fn trie(tokenizer: &Tokenizer) -> TokTrie {
    let mut words: Vec<Vec<u8>> = (0..tokenizer.n_vocab() as u32)
        .map(|id| {
            let mut bytes = Vec::new();
            if tokenizer.is_text(id) {
                tokenizer.decode_into(id, &mut bytes);
            } else {
                bytes.push(TokTrie::SPECIAL_TOKEN_MARKER);
                bytes.extend(tokenizer.token_text(id).as_bytes());
            }
            bytes
        })
        .collect();
    let mut ends = tokenizer.turn_ends().to_vec();
    if ends.is_empty() {
        // A token that the model does not have: answers end when nothing more may follow.
        ends.push(words.len() as u32);
        words.push(vec![TokTrie::SPECIAL_TOKEN_MARKER]);
    }
    TokTrie::from(&TokRxInfo::new(words.len() as u32, ends[0]), &words).with_eos_tokens(&ends)
}

/// How an answer begins, which decides where a constraint does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnswerStart<'a> {
    /// The tags of reasoning that may come first.
    tags: Option<&'static ReasoningTags>,
    /// Whether the prompt ends inside reasoning.
    is_reasoning: bool,
    /// The beginning of the answer, which is part of the prompt.
    written: &'a str,
}

impl<'a> AnswerStart<'a> {
    /// After the prompt's end `tail` and the beginning `written` of the answer.
    pub(crate) fn new(tags: Option<&'static ReasoningTags>, tail: &str, written: &'a str) -> Self {
        let is_reasoning = tags.is_some_and(|tags| tags.is_open(tail));
        Self { tags, is_reasoning, written }
    }
}

/// The constraint of one answer.
pub(crate) struct Constraint {
    matcher: Matcher,
    stage: Stage,
    tokenizer: Arc<Tokenizer>,
    /// Tokens that must come next, which the matcher has taken already.
    forced: VecDeque<u32>,
}

/// Where the answer is.
enum Stage {
    /// At its beginning, where reasoning with these tags may begin, too.
    Start { tags: &'static ReasoningTags, opening: Vec<u32> },
    /// Inside reasoning, which ends with the closing tag.
    Reasoning { close: &'static str, recent: Vec<u8> },
    /// In the answer itself.
    Answer,
}

impl Constraint {
    /// The constraint that `options` have for an answer that begins as `start` says.
    ///
    /// # Errors
    /// [`Error::Schema`] if the schema cannot be used, or if what is written does not follow it.
    pub(crate) fn for_answer(
        model: &Model,
        options: &GenerateOptions,
        start: &AnswerStart<'_>,
    ) -> Result<Option<Self>, Error> {
        let Some(schema) = &options.json_schema else { return Ok(None) };
        let parser = model.schema_compiler()?.compile(schema)?;
        Self::new(parser, model.shared_tokenizer(), start).map(Some)
    }

    fn new(
        parser: TokenParser,
        tokenizer: &Arc<Tokenizer>,
        start: &AnswerStart<'_>,
    ) -> Result<Self, Error> {
        let matcher = Matcher::new(Ok(parser));
        let (forced, tokenizer) = (VecDeque::new(), Arc::clone(tokenizer));
        let mut constraint = Self { matcher, stage: Stage::Answer, tokenizer, forced };
        if !constraint.try_write(start.written.trim_start().as_bytes())? {
            return Err(invalid("the answer so far does not follow it"));
        }
        match start.tags {
            Some(tags) if start.is_reasoning => {
                constraint.stage = Stage::Reasoning { close: tags.close, recent: Vec::new() };
            }
            Some(tags) => {
                let opening = constraint.tokenizer.encode(tags.open, true)?;
                // Where the tag is text, it cannot be told from the answer.
                let is_tag = opening.first().is_some_and(|&id| !constraint.tokenizer.is_text(id));
                if is_tag {
                    constraint.stage = Stage::Start { tags, opening };
                }
            }
            None => {}
        }
        constraint.find_forced();
        Ok(constraint)
    }

    /// Takes `bytes` as the next part of the answer; false if they may not follow.
    fn try_write(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let env = self.matcher.tok_env().map_err(invalid)?;
        let ids = env.tokenize_bytes(bytes);
        let n_valid = self.matcher.validate_tokens(&ids).map_err(invalid)?;
        if n_valid < ids.len() || env.tok_trie().decode_raw(&ids) != bytes {
            return Ok(false);
        }
        self.matcher.consume_tokens(&ids).map_err(invalid)?;
        Ok(true)
    }

    /// Finds the tokens that must follow now, if only one text can.
    fn find_forced(&mut self) {
        if matches!(self.stage, Stage::Answer) {
            self.forced.extend(self.matcher.consume_ff_tokens());
        }
    }

    /// The tokens that must come next.
    pub(crate) fn forced(&self) -> impl Iterator<Item = u32> {
        self.forced.iter().copied()
    }

    /// Takes the token that must come next, if only one can.
    pub(crate) fn take_forced(&mut self) -> Option<u32> {
        self.forced.pop_front()
    }

    /// Whether the answer is complete and nothing may follow.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Answer) && self.forced.is_empty() && self.matcher.is_stopped()
    }

    /// Rules out the tokens that may not come next.
    ///
    /// # Errors
    /// [`Error::Schema`] if the grammar becomes too large.
    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        let opening = match &self.stage {
            Stage::Reasoning { .. } => {
                // An answer follows in any case.
                for &id in self.tokenizer.turn_ends() {
                    logits[id as usize] = f32::NEG_INFINITY;
                }
                return Ok(());
            }
            Stage::Start { opening, .. } => opening.first().copied(),
            Stage::Answer => None,
        };
        let mut allowed =
            self.matcher.compute_mask().map_err(|error| match self.matcher.stop_reason() {
                StopReason::NoExtensionBias => invalid("no answer can follow it"),
                _ => invalid(error),
            })?;
        if let Some(id) = opening {
            allowed.allow_token(id);
        }
        apply(&allowed, logits);
        Ok(())
    }

    /// Takes the token that was drawn, unless it ends the answer; false if another one must be
    /// drawn.
    ///
    /// # Errors
    /// [`Error::Schema`] if the grammar becomes too large.
    pub(crate) fn accept(&mut self, id: u32) -> Result<bool, Error> {
        match &mut self.stage {
            Stage::Start { tags, opening } if opening[0] == id => {
                self.forced.extend(&opening[1..]);
                self.stage = Stage::Reasoning { close: tags.close, recent: Vec::new() };
                return Ok(true);
            }
            Stage::Reasoning { close, recent } => {
                let n_before = recent.len();
                self.tokenizer.decode_into(id, recent);
                let Some(at) = memchr::memmem::find(recent, close.as_bytes()) else {
                    let n_old = recent.len().saturating_sub(close.len() - 1);
                    recent.drain(..n_old);
                    return Ok(true);
                };
                // The token may hold the beginning of the answer, too.
                let rest = recent[at + close.len()..].trim_ascii_start().to_vec();
                recent.truncate(n_before);
                if !self.try_write(&rest)? {
                    return Ok(false);
                }
            }
            Stage::Start { .. } | Stage::Answer => {
                if !self.tokenizer.ends_turn(id) {
                    self.matcher.consume_token(id).map_err(invalid)?;
                }
            }
        }
        self.stage = Stage::Answer;
        self.find_forced();
        Ok(true)
    }

    /// The number of first tokens of `draft` that may follow.
    ///
    /// # Errors
    /// As for [`Constraint::mask`].
    pub(crate) fn n_allowed(&mut self, draft: &[u32]) -> Result<usize, Error> {
        match self.stage {
            Stage::Answer => self.matcher.validate_tokens(draft).map_err(invalid),
            _ => Ok(draft.len()),
        }
    }
}

/// Sets the logits of all tokens that are not `allowed` to −∞.
fn apply(allowed: &SimpleVob, logits: &mut [f32]) {
    for (word, logits) in allowed.as_slice().iter().zip(logits.chunks_mut(MASK_BITS)) {
        for (bit, logit) in logits.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

/// The error of a schema that cannot be used; `error` may come with a trace.
fn invalid(error: impl Display) -> Error {
    let text = error.to_string();
    let what = text.split("\n<").next().unwrap_or_default().trim();
    let what = what.strip_prefix("panic: ").map_or(what, |_| "the compiler of schemas fails on it");
    Error::Schema { what: what.split_whitespace().collect::<Vec<_>>().join(" ") }
}

#[cfg(test)]
mod tests;
