//! Renders an answer while it grows, parsing only the part that more text can still change.
//!
//! CommonMark's block structure is decided line by line: once a later block has begun on a complete
//! line, following text cannot change the blocks before it. Those are finished and never parsed
//! again. The exceptions are definitions of links (`[label]: address`) and of footnotes
//! (`[^label]: text`), which affect every earlier block: a text that contains one is always parsed
//! completely.

use std::sync::Arc;

use pulldown_cmark::{Event, Parser, Tag};

use super::writer::{Purpose, Writer};
use super::{dialect, source::Source};

/// A finished block of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its position in the answer, stable while the answer grows.
    pub(crate) index: usize,
    /// Its sanitized HTML.
    pub(crate) html: Arc<str>,
}

/// A growing answer and its rendering.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    text: Source,
    /// The offset of the tail: the start of a line, or of the text.
    finished_bytes: usize,
    blocks: Vec<Block>,
    tail_html: String,
    has_definitions: bool,
}

/// What [`Stream::push`] changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Only the tail.
    Tail,
    /// Blocks were finished, or reset.
    Blocks,
}

impl Stream {
    /// The blocks that will not change.
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The HTML after the blocks, which may still change.
    pub(crate) fn tail_html(&self) -> &str {
        &self.tail_html
    }

    /// Appends `text` and renders the tail again.
    pub(crate) fn push(&mut self, text: &str) -> Change {
        self.text.push(text);
        let before = self.blocks.len();
        let mut parsed = parse(&self.text[self.finished_bytes..]);
        let mut was_reset = false;
        if parsed.has_definitions && !self.has_definitions {
            self.has_definitions = true;
            was_reset = before > 0;
            self.finished_bytes = 0;
            self.blocks.clear();
            parsed = parse(&self.text);
        }
        if !self.has_definitions {
            self.finish_blocks(&mut parsed);
        }
        self.tail_html = parsed.blocks.into_iter().map(|(_, html)| html).collect();
        self.tail_html.push_str(&parsed.notes);
        if was_reset || self.blocks.len() != before { Change::Blocks } else { Change::Tail }
    }

    /// Moves every block but the last from `parsed`, if the lines that make the last one a block of its own
    /// are complete.
    fn finish_blocks(&mut self, parsed: &mut Parsed) {
        let blocks = &mut parsed.blocks;
        let tail = &self.text[self.finished_bytes..];
        let Some(&(last_start, _)) = blocks.last() else { return };
        // A table that ends a paragraph is one by its second line, and the longer line may be none.
        let n_lines = if parsed.is_table { 2 } else { 1 };
        if blocks.len() < 2 || tail[last_start..].matches('\n').count() < n_lines {
            return;
        }
        let line_start = tail[..last_start].rfind('\n').map_or(0, |newline| newline + 1);
        let finished = blocks.drain(..blocks.len() - 1);
        for (_, html) in finished {
            self.blocks.push(Block { index: self.blocks.len(), html: html.into() });
        }
        self.finished_bytes += line_start;
    }
}

/// The outermost blocks of a text: where each starts, and its HTML.
struct Parsed {
    blocks: Vec<(usize, String)>,
    /// The HTML of the footnotes.
    notes: String,
    has_definitions: bool,
    /// Whether the last block is a table.
    is_table: bool,
}

fn parse(text: &str) -> Parsed {
    let parser = Parser::new_ext(text, dialect());
    let mut has_definitions = parser.reference_definitions().iter().next().is_some();
    let mut writer = Writer::new(text, Purpose::Page);
    let mut blocks = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    let mut is_table = false;
    for (event, range) in parser.into_offset_iter() {
        if depth == 0 {
            start = range.start;
            is_table = matches!(event, Event::Start(Tag::Table(_)));
        }
        match event {
            Event::Start(Tag::FootnoteDefinition(_)) => {
                has_definitions = true;
                depth += 1;
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
        writer.write(event, range);
        if depth == 0 {
            blocks.push((start, writer.take()));
        }
    }
    Parsed { blocks, notes: writer.take_notes(), has_definitions, is_table }
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::*;
    use proptest::prelude::*;

    impl Stream {
        fn html(&self) -> String {
            let blocks = self.blocks().iter().map(|block| &*block.html);
            blocks.chain([self.tail_html()]).collect()
        }
    }

    const DOCUMENT: &str = "# Title\n\nA paragraph with **bold** text\nover two lines.\n\n\
        - one\n  - nested\n\n    deep paragraph\n- two\n\n1. first\n2. second\n\n\
        ```rust\nfn main() {\n\n    println!(\"- no list\");\n}\n```\nAfter the fence.\n\n\
        | a | b |\n| --- | ---: |\n| 1 | 2 |\n\n> quote\nlazy\n\nSetext\n---\n\n***\n\n\
        <div>\n<b>raw</b>\n</div>\n\n    indented code\n\n    more of it\n\nThe end.\n";

    /// Streams `text` in pieces of `step` characters and compares with a complete rendering after each.
    fn assert_streams_like_complete_text(text: &str, step: usize) {
        let characters: Vec<char> = text.chars().collect();
        let mut stream = Stream::default();
        for piece in characters.chunks(step) {
            stream.push(&piece.iter().collect::<String>());
            assert_eq!(stream.html(), render(&stream.text), "{:?}", &*stream.text);
        }
    }

    #[test]
    fn streams_like_complete_text_at_every_character() {
        for step in 1..8 {
            assert_streams_like_complete_text(DOCUMENT, step);
        }
    }

    #[test]
    fn later_text_cannot_change_a_finished_block() {
        for text in [
            "para\n***bold*** text",
            "para\n-",
            "para\n- item\n\n\n  still item\n\nout\n",
            "- a\n\n- b\n\n  c\n\n\n- d\npara\n",
            "a\n\n```\nb\n\n```\nc\n\n~~~x\n```\n~~~\n",
            "head\n|a|b|\n|-|-|\n|c|d|\ntext\n\nmore\n",
            "a\r\n\r\nb\r\nc\r\n\r\n- d\r\n",
            "1. a\n\n   ```\n   b\n   ```\n2. c\n",
            "> a\n\n> b\n\nc\n",
            "\ta\n\n\tb\n\nc\n",
            "- a\n- [ ] b\n\n* c\n\n+ d\n",
            "text\n|a|b|\n|-|:c|\n|d|e|\n",
            "<!-- a\n\nb -->\n\nc\n\n<pre>\n\n</pre>\n\nd\n",
        ] {
            assert_streams_like_complete_text(text, 1);
        }
    }

    #[test]
    fn link_definitions_affect_earlier_blocks() {
        assert_streams_like_complete_text(
            "See [a].\n\nAnd [b][a].\n\n[a]: https://c.example\n\nAfter [a].\n",
            1,
        );
        assert_streams_like_complete_text(
            "[a]:\nhttps://b.example\n'title'\n\n[a]\n\n> [c]: /d\n\n[c]\n",
            1,
        );
    }

    #[test]
    fn footnotes_affect_earlier_blocks() {
        for text in [
            "A[^1] and[^b].\n\nMore[^1].\n\n[^1]: Note *one*.\n\n    Its second paragraph.\n\n[^b]: Other[^1].\n\nEnd.\n",
            "[^a]: before\n\ntext[^a]\n\n> [^c]: quoted\n\n[^c] x\n",
            "- a[^1]\n\n  [^1]: in a list\n- b\n\nc[^2]\n",
            "[^1]:\n\n[^1]: ```\n  code\n",
        ] {
            assert_streams_like_complete_text(text, 1);
        }
    }

    #[test]
    fn finished_blocks_keep_their_position_and_the_tail_stays_small() {
        let mut stream = Stream::default();
        for paragraph in 0..200 {
            stream.push(&format!("Paragraph {paragraph}.\n\n"));
        }
        assert_eq!(stream.blocks().len(), 199);
        assert_eq!(stream.tail_html(), "<p dir=\"auto\">Paragraph 199.</p>\n");
        assert!(stream.blocks().iter().enumerate().all(|(index, block)| block.index == index));
        assert_eq!(stream.push("x"), Change::Tail);
        assert_eq!(stream.push("\n\ny\n"), Change::Blocks);
    }

    proptest! {
        #[test]
        fn streamed_text_equals_complete_text(
            lines in prop::collection::vec(
                prop::sample::select(vec![
                    "", "", "", "a", "text *b* `c`", "# h", "- a", "  - b", "    c", "1. d", "2) e",
                    "* f", "> q", ">", "```", "```py", "~~~", "---", "***", "===", "| a | b |",
                    "|---|---|", "|-|:-x|", "<div>", "</div>", "<!--", "-->", "[a]", "[a]: /b", "- [ ] t",
                    "   g", "\tt", "  h  ", "\\", "<b>x", "+", "-", "<?x", "```x```",
                    "\\(a*b", "c*d\\)", "\\[ x", "\\]", "$y$", "$$", "US$5 **b** $6", "[^1]", "[^1]: n", "    [^2]", "[^2]: `m`", "\\begin{a}", "\\end{a}", "a\rb",
                    "\r", "\u{c}", "**强。**后", "**", ">>>>", "\u{202e}",
                ]),
                0..14,
            ),
            step in 1_usize..9,
        ) {
            assert_streams_like_complete_text(&lines.join("\n"), step);
        }
    }
}
