//! Reasoning: what a model writes for itself before its answer, between marks of its family.
//!
//! Which marks a model uses follows from its chat template and its vocabulary; a model that knows
//! none of them may write such texts as part of an answer. Reasoning stands at the beginning of an
//! answer: marks further on are text, since an answer may speak of them.

use crate::Tokenizer;

/// The texts around a model's reasoning.
#[derive(Debug, PartialEq, Eq)]
pub struct ReasoningMarks {
    /// What reasoning begins with; the prompt may end with it already.
    pub open: &'static str,
    /// What ends it.
    pub close: &'static str,
}

/// The marks of all families that Lilims knows.
const MARKS: &[ReasoningMarks] = &[
    // Qwen 3, DeepSeek R1, SmolLM 3, GLM 4.5 and most others.
    ReasoningMarks { open: "<think>", close: "</think>" },
    // Magistral.
    ReasoningMarks { open: "[THINK]", close: "[/THINK]" },
    // EXAONE Deep.
    ReasoningMarks { open: "<thought>", close: "</thought>" },
    // Seed-OSS.
    ReasoningMarks { open: "<seed:think>", close: "</seed:think>" },
    // Command A Reasoning.
    ReasoningMarks { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
    // Apertus.
    ReasoningMarks { open: "<|inner_prefix|>", close: "<|inner_suffix|>" },
    // Kimi.
    ReasoningMarks { open: "◁think▷", close: "◁/think▷" },
    // Gemma 4.
    ReasoningMarks { open: "<|channel>thought\n", close: "<channel|>" },
    // gpt-oss.
    ReasoningMarks {
        open: "<|channel|>analysis<|message|>",
        close: "<|end|><|start|>assistant<|channel|>final<|message|>",
    },
];

/// Control tokens that occur in marks: their texts are part of what a model writes.
pub(crate) const SHOWN_TOKENS: &[&str] = &[
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

impl ReasoningMarks {
    /// The marks of a model with this chat template and vocabulary, if it has any.
    pub fn of(template: Option<&str>, tokenizer: &Tokenizer) -> Option<&'static Self> {
        let is_used = |marks: &&Self| {
            let in_template = template.is_some_and(|template| template.contains(marks.close));
            let is_token = |text: &str| tokenizer.token(text).is_some();
            in_template || (is_token(marks.open) && is_token(marks.close))
        };
        MARKS.iter().find(is_used)
    }

    /// Whether `prompt`, of which only the part after the last message counts, ends inside of
    /// reasoning, so that the answer goes on with it.
    pub fn is_open(&self, prompt: &str) -> bool {
        match (prompt.rfind(self.open), prompt.rfind(self.close)) {
            (Some(open), Some(close)) => open > close,
            (open, _) => open.is_some(),
        }
    }
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Reasoning.
    Reasoning(String),
    /// The answer itself.
    Text(String),
}

/// Takes an answer's text as it comes and tells reasoning from the rest. White space between marks
/// and texts belongs to neither.
#[derive(Debug)]
pub struct ReasoningSplitter {
    marks: Option<&'static ReasoningMarks>,
    state: State,
    /// What may become a mark, or is white space that may stand before one.
    held: String,
    has_reasoning: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing but white space has come since the beginning, or since reasoning ended.
    Before {
        is_first: bool,
    },
    /// In reasoning; `is_empty` until something else than white space has come.
    Reasoning {
        is_empty: bool,
    },
    Text,
}

impl ReasoningSplitter {
    /// A splitter at the beginning of an answer, or within its reasoning where `is_open`.
    pub fn new(marks: Option<&'static ReasoningMarks>, is_open: bool) -> Self {
        let state = match marks {
            None => State::Text,
            Some(_) if is_open => State::Reasoning { is_empty: true },
            Some(_) => State::Before { is_first: true },
        };
        Self { marks, state, held: String::new(), has_reasoning: false }
    }

    /// Takes more text and returns what can be shown now.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let Some(marks) = self.marks.filter(|_| self.state != State::Text) else {
            add(&mut pieces, Piece::Text(text.to_owned()));
            return pieces;
        };
        self.held.push_str(text);
        loop {
            match self.state {
                State::Before { is_first } => {
                    let written = self.held.trim_start();
                    if let Some(rest) = written.strip_prefix(marks.open) {
                        self.held = rest.to_owned();
                        self.state = State::Reasoning { is_empty: true };
                    } else if marks.open.starts_with(written) {
                        return pieces;
                    } else {
                        let text = if is_first { &self.held } else { written }.to_owned();
                        self.held.clear();
                        self.state = State::Text;
                        add(&mut pieces, Piece::Text(text));
                        return pieces;
                    }
                }
                State::Reasoning { is_empty } => {
                    let end = self.held.find(marks.close);
                    let until = end.unwrap_or(self.held.len() - beginning(&self.held, marks.close));
                    let until = self.held[..until].trim_end().len();
                    self.reason(until, is_empty, &mut pieces);
                    let Some(at) = self.held.find(marks.close) else { return pieces };
                    self.held.drain(..at + marks.close.len());
                    self.state = State::Before { is_first: false };
                }
                State::Text => return pieces,
            }
        }
    }

    /// The rest, at the end of the answer.
    pub fn finish(mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match self.state {
            State::Before { is_first: true } | State::Text => {
                add(&mut pieces, Piece::Text(std::mem::take(&mut self.held)));
            }
            State::Before { is_first: false } => {
                add(&mut pieces, Piece::Text(self.held.trim().to_owned()));
            }
            State::Reasoning { is_empty } => {
                self.reason(self.held.trim_end().len(), is_empty, &mut pieces);
            }
        }
        pieces
    }

    /// Gives out the first `len` bytes that are held as reasoning.
    fn reason(&mut self, len: usize, is_empty: bool, pieces: &mut Vec<Piece>) {
        let held: String = self.held.drain(..len).collect();
        let text = if is_empty { held.trim_start() } else { &held };
        if text.is_empty() {
            return;
        }
        // A second block of reasoning is a paragraph of its own.
        let gap = if is_empty && self.has_reasoning { "\n\n" } else { "" };
        self.has_reasoning = true;
        self.state = State::Reasoning { is_empty: false };
        add(pieces, Piece::Reasoning(format!("{gap}{text}")));
    }
}

fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    let (Piece::Reasoning(text) | Piece::Text(text)) = &piece;
    if !text.is_empty() {
        pieces.push(piece);
    }
}

/// How many last bytes of `text` could be the beginning of `mark`.
fn beginning(text: &str, mark: &str) -> usize {
    let begins = |len: &usize| text.ends_with(mark.get(..*len).unwrap_or("\0"));
    (1..mark.len()).rev().find(begins).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reasoning and answer of `text`, which comes in pieces of `step` characters.
    fn split(text: &str, is_open: bool, step: usize) -> (String, String) {
        let mut splitter = ReasoningSplitter::new(Some(&MARKS[0]), is_open);
        let chars: Vec<char> = text.chars().collect();
        let mut pieces: Vec<Piece> = chars
            .chunks(step)
            .flat_map(|chunk| splitter.push(&chunk.iter().collect::<String>()))
            .collect();
        pieces.extend(splitter.finish());
        let (mut reasoning, mut answer) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                Piece::Reasoning(text) => reasoning.push_str(&text),
                Piece::Text(text) => answer.push_str(&text),
            }
        }
        (reasoning, answer)
    }

    #[test]
    fn t10_reasoning_is_told_from_the_answer_however_it_comes() {
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
    fn t10_a_prompt_may_have_opened_reasoning() {
        let marks = &MARKS[0];
        assert!(marks.is_open("<|im_start|>assistant\n<think>\n"));
        assert!(!marks.is_open("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
        assert!(!marks.is_open("<|im_start|>assistant\n"));
    }

    #[test]
    fn every_text_without_marks_is_text() {
        let mut splitter = ReasoningSplitter::new(None, false);
        assert_eq!(splitter.push("<think>a"), [Piece::Text("<think>a".to_owned())]);
        assert!(splitter.finish().is_empty());
    }
}
