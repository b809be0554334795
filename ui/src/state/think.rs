//! Separates `<think>…</think>` reasoning from the answer, where the engine has not done so.
//!
//! The engine separates reasoning by the tags of the model's family. Tags reach the page only in
//! answers saved before it did, or from models whose template and vocabulary define no reasoning.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A text, split into reasoning and answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// The reasoning.
    pub(super) reasoning: String,
    /// The answer.
    pub(super) body: String,
}

impl Parts {
    /// The parts of a complete answer. Some templates open the reasoning in the prompt; then the answer
    /// has only the closing tag, on a line by itself.
    pub(super) fn of(text: &str) -> Self {
        if !text.contains(OPEN)
            && let Some((reasoning, body)) = text.split_once(&format!("\n{CLOSE}"))
            && (body.is_empty() || body.starts_with(['\n', '\r']))
        {
            let (reasoning, body) = (reasoning.trim().to_owned(), body.trim_start().to_owned());
            return Self { reasoning, body };
        }
        let mut splitter = ThinkSplitter::default();
        let mut parts = splitter.push(text);
        let rest = splitter.finish();
        parts.reasoning.push_str(&rest.reasoning);
        parts.body.push_str(&rest.body);
        parts.reasoning.truncate(parts.reasoning.trim_end().len());
        parts
    }
}

/// Splits an answer as it streams.
#[derive(Debug, Default)]
pub(super) struct ThinkSplitter {
    state: State,
    /// Text that may become a tag, or white space that may precede one.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Only white space so far.
    #[default]
    Beginning,
    /// The opening tag, followed by only white space so far.
    Opened,
    Reasoning,
    /// The closing tag, followed by only white space so far.
    Closed,
    Body,
}

impl ThinkSplitter {
    /// A splitter that treats all text as the answer.
    pub(super) fn disabled() -> Self {
        Self { state: State::Body, held: String::new() }
    }

    /// Appends text and returns what can be shown now.
    pub(super) fn push(&mut self, text: &str) -> Parts {
        let mut parts = Parts::default();
        self.held.push_str(text);
        loop {
            match self.state {
                State::Beginning => {
                    let written = self.held.trim_start();
                    if let Some(rest) = written.strip_prefix(OPEN) {
                        self.held = rest.to_owned();
                        self.state = State::Opened;
                    } else if OPEN.starts_with(written) {
                        return parts;
                    } else {
                        self.state = State::Body;
                    }
                }
                State::Opened | State::Closed => {
                    let rest = self.held.trim_start();
                    if rest.is_empty() {
                        return parts;
                    }
                    let is_opened = self.state == State::Opened;
                    self.held = rest.to_owned();
                    self.state = if is_opened { State::Reasoning } else { State::Body };
                }
                State::Reasoning => {
                    let end = self.held.find(CLOSE);
                    let until = end.unwrap_or(self.held.len() - partial_tag(&self.held));
                    parts.reasoning.extend(self.held.drain(..until));
                    if end.is_none() {
                        return parts;
                    }
                    self.held.drain(..CLOSE.len());
                    self.state = State::Closed;
                }
                State::Body => {
                    parts.body.push_str(&std::mem::take(&mut self.held));
                    return parts;
                }
            }
        }
    }

    /// Returns the text that was held back.
    pub(super) fn finish(&mut self) -> Parts {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Reasoning => Parts { reasoning: held, body: String::new() },
            State::Opened | State::Closed => Parts::default(),
            State::Beginning | State::Body => Parts { reasoning: String::new(), body: held },
        }
    }
}

/// The number of bytes at the end of `text` that may begin the closing tag.
fn partial_tag(text: &str) -> usize {
    (1..CLOSE.len()).rev().find(|&len| text.ends_with(&CLOSE[..len])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str) -> String {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = folder.join("../../shared/faults/markdown").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn parts(reasoning: &str, body: &str) -> Parts {
        Parts { reasoning: reasoning.to_owned(), body: body.to_owned() }
    }

    #[test]
    fn t10_splits_saved_answers_with_tags() {
        let whole = Parts::of(&fault("think.md"));
        assert_eq!(whole.reasoning, "The user asks 2+2.\n\nI *should* answer 4.");
        assert_eq!(whole.body.trim_end(), "The answer is **4**.");
        let whole = Parts::of(&fault("think2.md"));
        assert_eq!((&*whole.reasoning, whole.body.trim_end()), ("short", "The answer is **4**."));
        for (text, reasoning, body) in [
            ("Only this.\n</think>\n\nYes.", "Only this.", "Yes."),
            ("Write `</think>` at\nthe end.", "", "Write `</think>` at\nthe end."),
            ("The tag <think> opens.", "", "The tag <think> opens."),
            ("<think>\n\n</think>\n\nYes.", "", "Yes."),
            ("<think>cut of", "cut of", ""),
            ("<thin", "", "<thin"),
            ("", "", ""),
        ] {
            assert_eq!(Parts::of(text), parts(reasoning, body), "{text:?}");
        }
    }

    #[test]
    fn t10_streamed_pieces_give_the_same_parts() {
        for text in [&*fault("think.md"), &*fault("think2.md"), "  <think>a </thi b</think> c", "a"]
        {
            let mut whole = Parts::of(text);
            whole.reasoning = whole.reasoning.trim_end().to_owned();
            for step in 1..12 {
                let mut splitter = ThinkSplitter::default();
                let mut gathered = Parts::default();
                let characters: Vec<char> = text.chars().collect();
                let mut pieces: Vec<Parts> = characters
                    .chunks(step)
                    .map(|piece| splitter.push(&piece.iter().collect::<String>()))
                    .collect();
                pieces.push(splitter.finish());
                for piece in pieces {
                    gathered.reasoning.push_str(&piece.reasoning);
                    gathered.body.push_str(&piece.body);
                }
                gathered.reasoning = gathered.reasoning.trim_end().to_owned();
                assert_eq!(gathered, whole, "{text:?} by {step}");
            }
        }
    }
}
