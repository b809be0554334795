//! Separates the reasoning that a model writes before its answer, between the tags of its family.
//!
//! The chat template and the vocabulary determine the tags of a model; a model without tags may
//! write such texts as part of an answer. Reasoning is only recognised at the beginning of an
//! answer: tags further on are text, since an answer may mention them.

use crate::Tokenizer;

/// The tags around reasoning.
#[derive(Debug, PartialEq, Eq)]
pub struct ReasoningTags {
    /// The opening tag; the prompt may already end with it.
    pub open: &'static str,
    /// The closing tag.
    pub close: &'static str,
}

/// The tags of all supported families.
const TAGS: &[ReasoningTags] = &[
    // Qwen 3, DeepSeek R1, SmolLM 3, GLM 4.5 and most others.
    ReasoningTags { open: "<think>", close: "</think>" },
    // Magistral.
    ReasoningTags { open: "[THINK]", close: "[/THINK]" },
    // EXAONE Deep.
    ReasoningTags { open: "<thought>", close: "</thought>" },
    // Seed-OSS.
    ReasoningTags { open: "<seed:think>", close: "</seed:think>" },
    // Command A Reasoning.
    ReasoningTags { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
    // Apertus.
    ReasoningTags { open: "<|inner_prefix|>", close: "<|inner_suffix|>" },
    // Kimi.
    ReasoningTags { open: "◁think▷", close: "◁/think▷" },
    // Gemma 4.
    ReasoningTags { open: "<|channel>thought\n", close: "<channel|>" },
    // gpt-oss.
    ReasoningTags {
        open: "<|channel|>analysis<|message|>",
        close: "<|end|><|start|>assistant<|channel|>final<|message|>",
    },
];

impl ReasoningTags {
    /// The tags of a model with this chat template and vocabulary, if it has any.
    pub fn of(template: Option<&str>, tokenizer: &Tokenizer) -> Option<&'static Self> {
        let is_used = |tags: &&Self| {
            let in_template = template.is_some_and(|template| template.contains(tags.close));
            let is_token = |text: &str| tokenizer.token(text).is_some();
            in_template || (is_token(tags.open) && is_token(tags.close))
        };
        TAGS.iter().find(is_used)
    }

    /// Whether `prompt_tail`, the prompt after the last message, ends inside reasoning, so that the
    /// answer continues it.
    pub fn is_open(&self, prompt_tail: &str) -> bool {
        match (prompt_tail.rfind(self.open), prompt_tail.rfind(self.close)) {
            (Some(open), Some(close)) => open > close,
            (open, _) => open.is_some(),
        }
    }
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerChunk {
    /// Reasoning.
    Reasoning(String),
    /// The answer itself.
    Text(String),
}

/// Splits a streamed answer into reasoning and text. White space between tags and text is dropped.
#[derive(Debug)]
pub struct ReasoningSplitter {
    tags: Option<&'static ReasoningTags>,
    state: State,
    /// Text that may become a tag, or white space before one.
    pending: String,
    has_reasoning: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Only white space since the beginning, or since reasoning ended.
    Before {
        is_first: bool,
    },
    /// Inside reasoning; `is_empty` until something other than white space arrives.
    Reasoning {
        is_empty: bool,
    },
    Text,
}

impl ReasoningSplitter {
    /// A splitter at the beginning of an answer, or inside its reasoning if `is_open`.
    pub fn new(tags: Option<&'static ReasoningTags>, is_open: bool) -> Self {
        let state = match tags {
            None => State::Text,
            Some(_) if is_open => State::Reasoning { is_empty: true },
            Some(_) => State::Before { is_first: true },
        };
        Self { tags, state, pending: String::new(), has_reasoning: false }
    }

    /// Takes more text and returns what can be shown now.
    pub fn push(&mut self, text: &str) -> Vec<AnswerChunk> {
        let mut chunks = Vec::new();
        let Some(tags) = self.tags.filter(|_| self.state != State::Text) else {
            add(&mut chunks, AnswerChunk::Text(text.to_owned()));
            return chunks;
        };
        self.pending.push_str(text);
        loop {
            match self.state {
                State::Before { is_first } => {
                    let trimmed = self.pending.trim_start();
                    if let Some(rest) = trimmed.strip_prefix(tags.open) {
                        self.pending = rest.to_owned();
                        self.state = State::Reasoning { is_empty: true };
                    } else if tags.open.starts_with(trimmed) {
                        return chunks;
                    } else {
                        let text = if is_first { &self.pending } else { trimmed }.to_owned();
                        self.pending.clear();
                        self.state = State::Text;
                        add(&mut chunks, AnswerChunk::Text(text));
                        return chunks;
                    }
                }
                State::Reasoning { is_empty } => {
                    let end = self.pending.find(tags.close);
                    let until = end
                        .unwrap_or(self.pending.len() - partial_tag_len(&self.pending, tags.close));
                    let until = self.pending[..until].trim_end().len();
                    self.emit_reasoning(until, is_empty, &mut chunks);
                    let Some(at) = self.pending.find(tags.close) else { return chunks };
                    self.pending.drain(..at + tags.close.len());
                    self.state = State::Before { is_first: false };
                }
                State::Text => return chunks,
            }
        }
    }

    /// Returns the rest at the end of the answer.
    pub fn finish(mut self) -> Vec<AnswerChunk> {
        let mut chunks = Vec::new();
        match self.state {
            State::Before { is_first: true } | State::Text => {
                add(&mut chunks, AnswerChunk::Text(std::mem::take(&mut self.pending)));
            }
            State::Before { is_first: false } => {
                add(&mut chunks, AnswerChunk::Text(self.pending.trim().to_owned()));
            }
            State::Reasoning { is_empty } => {
                self.emit_reasoning(self.pending.trim_end().len(), is_empty, &mut chunks);
            }
        }
        chunks
    }

    /// Emits the first `len` pending bytes as reasoning.
    fn emit_reasoning(&mut self, len: usize, is_empty: bool, chunks: &mut Vec<AnswerChunk>) {
        let pending: String = self.pending.drain(..len).collect();
        let text = if is_empty { pending.trim_start() } else { &pending };
        if text.is_empty() {
            return;
        }
        // A second block of reasoning starts a new paragraph.
        let gap = if is_empty && self.has_reasoning { "\n\n" } else { "" };
        self.has_reasoning = true;
        self.state = State::Reasoning { is_empty: false };
        add(chunks, AnswerChunk::Reasoning(format!("{gap}{text}")));
    }
}

fn add(chunks: &mut Vec<AnswerChunk>, chunk: AnswerChunk) {
    let (AnswerChunk::Reasoning(text) | AnswerChunk::Text(text)) = &chunk;
    if !text.is_empty() {
        chunks.push(chunk);
    }
}

/// The number of last bytes of `text` that could be the beginning of `tag`.
fn partial_tag_len(text: &str, tag: &str) -> usize {
    let is_prefix = |len: &usize| text.ends_with(tag.get(..*len).unwrap_or("\0"));
    (1..tag.len()).rev().find(is_prefix).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `text`, fed in pieces of `step` characters, into reasoning and answer.
    fn split(text: &str, is_open: bool, step: usize) -> (String, String) {
        let mut splitter = ReasoningSplitter::new(Some(&TAGS[0]), is_open);
        let chars: Vec<char> = text.chars().collect();
        let mut chunks: Vec<AnswerChunk> = chars
            .chunks(step)
            .flat_map(|chunk| splitter.push(&chunk.iter().collect::<String>()))
            .collect();
        chunks.extend(splitter.finish());
        let (mut reasoning, mut answer) = (String::new(), String::new());
        for chunk in chunks {
            match chunk {
                AnswerChunk::Reasoning(text) => reasoning.push_str(&text),
                AnswerChunk::Text(text) => answer.push_str(&text),
            }
        }
        (reasoning, answer)
    }

    #[test]
    fn t10_separates_reasoning_from_the_answer() {
        for (text, is_open, reasoning, answer) in [
            ("<think>\nWhy, 1 < 2.\n</think>\n\nYes.\n", false, "Why, 1 < 2.", "Yes.\n"),
            ("Why\n\nso\n</think>\n\nYes.", true, "Why\n\nso", "Yes."),
            ("\n<think>\n\n</think>\n\n Yes.", false, "", "Yes."),
            (
                "  Yes, <think> is a tag, </think> too.",
                false,
                "",
                "  Yes, <think> is a tag, </think> too.",
            ),
            ("<think>cut of", false, "cut of", ""),
            ("<think>a</thi", false, "a</thi", ""),
            ("<think>a</think>", false, "a", ""),
            ("<think>a</think>\n<think>b</think>c", false, "a\n\nb", "c"),
            ("<thin", false, "", "<thin"),
            ("<thinking>x", false, "", "<thinking>x"),
            ("", true, "", ""),
            (" é🦙", false, "", " é🦙"),
            ("<think>é <\u{202e}🦙</think>é", false, "é <\u{202e}🦙", "é"),
        ] {
            for step in 1..=text.chars().count().max(1) {
                let got = split(text, is_open, step);
                assert_eq!(got, (reasoning.to_owned(), answer.to_owned()), "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn t10_detects_reasoning_opened_by_the_prompt() {
        let tags = &TAGS[0];
        assert!(tags.is_open("<|im_start|>assistant\n<think>\n"));
        assert!(!tags.is_open("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
        assert!(!tags.is_open("<|im_start|>assistant\n"));
    }

    #[test]
    fn without_tags_everything_is_text() {
        let mut splitter = ReasoningSplitter::new(None, false);
        assert_eq!(splitter.push("<think>a"), [AnswerChunk::Text("<think>a".to_owned())]);
        assert!(splitter.finish().is_empty());
    }
}
