//! Writes text with the marks of Markdown: what the readers of HTML and Word have in common.
//!
//! White space is collapsed as in HTML, blocks are separated by an empty line, and tables become rows
//! of cells between bars, unless a cell holds more than one line. Nothing is escaped: the result is for
//! models, which read it as people do.

use std::mem;

/// Tables in tables deeper than this are text. Each level copies its cells into the one above.
const MAX_TABLE_DEPTH: usize = 6;
/// Lists in lists deeper than this are not indented further.
const MAX_LIST_DEPTH: usize = 8;

/// What stands between the last text and the next.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
    Blank,
}

/// A text that grows: the document's, or a cell's.
#[derive(Default)]
struct Buffer {
    text: String,
    gap: Gap,
    /// The mark of a heading or an item, which is written before the next text.
    mark: Option<String>,
}

/// A table whose rows are being read.
#[derive(Default)]
struct Table {
    /// The cells of the row.
    row: Vec<String>,
    n_rows: usize,
    is_in_cell: bool,
}

/// Writes Markdown; see the module.
#[derive(Default)]
pub(crate) struct Markdown {
    /// The document's buffer, then one for each cell that is open.
    buffers: Vec<Buffer>,
    tables: Vec<Table>,
    /// Tables that are open and too deep.
    n_deep_tables: usize,
    /// Bytes in all buffers and cells.
    n_bytes: usize,
}

impl Markdown {
    pub(crate) fn new() -> Self {
        Self { buffers: vec![Buffer::default()], ..Self::default() }
    }

    /// Bytes that were written so far.
    pub(crate) fn len(&self) -> usize {
        self.n_bytes
    }

    /// Writes text; runs of white space become one space.
    pub(crate) fn text(&mut self, text: &str) {
        for piece in text.split_inclusive(is_space) {
            let word = piece.trim_end_matches(is_space);
            if !word.is_empty() {
                self.write(word);
            }
            if word.len() < piece.len() {
                self.gap(Gap::Space);
            }
        }
    }

    /// Writes text whose white space counts.
    pub(crate) fn verbatim(&mut self, text: &str) {
        if !text.is_empty() {
            self.write(text);
        }
    }

    /// Ends the line.
    pub(crate) fn line(&mut self) {
        self.gap(Gap::Line);
    }

    /// Ends the block, such as a paragraph.
    pub(crate) fn block(&mut self) {
        self.gap(Gap::Blank);
    }

    /// Begins a heading; levels beyond 6 are 6.
    pub(crate) fn heading(&mut self, level: usize) {
        self.block();
        self.buffer().mark = Some(format!("{} ", "#".repeat(level.clamp(1, 6))));
    }

    /// Begins an item of a list, with its number if the list has numbers. `depth` is 0 in the
    /// outermost list.
    pub(crate) fn item(&mut self, depth: usize, number: Option<u64>) {
        self.line();
        let indent = "  ".repeat(depth.min(MAX_LIST_DEPTH));
        let mark = number.map_or_else(|| "- ".to_owned(), |number| format!("{number}. "));
        self.buffer().mark = Some(format!("{indent}{mark}"));
    }

    /// Forgets the mark of a heading or an item that ended without text.
    pub(crate) fn drop_mark(&mut self) {
        self.buffer().mark = None;
    }

    pub(crate) fn open_table(&mut self) {
        if self.tables.len() == MAX_TABLE_DEPTH || self.n_deep_tables > 0 {
            self.n_deep_tables += 1;
            return self.line();
        }
        self.block();
        self.tables.push(Table::default());
    }

    pub(crate) fn open_row(&mut self) {
        if self.n_deep_tables > 0 {
            return self.line();
        }
        self.close_row();
    }

    pub(crate) fn open_cell(&mut self) {
        if self.n_deep_tables > 0 {
            return self.gap(Gap::Space);
        }
        self.close_cell();
        if let Some(table) = self.tables.last_mut() {
            table.is_in_cell = true;
            self.buffers.push(Buffer::default());
        }
    }

    pub(crate) fn close_cell(&mut self) {
        let Some(table) = self.tables.last_mut().filter(|_| self.n_deep_tables == 0) else {
            return;
        };
        if mem::take(&mut table.is_in_cell)
            && let Some(cell) = self.buffers.pop()
        {
            table.row.push(cell.text);
        }
    }

    /// Writes the row: its cells between bars, or below each other if one of them is alone or holds
    /// several lines, as in tables that only place their content.
    pub(crate) fn close_row(&mut self) {
        if self.n_deep_tables > 0 {
            return;
        }
        self.close_cell();
        let Some(table) = self.tables.last_mut() else { return };
        let row = mem::take(&mut table.row);
        if row.iter().all(|cell| cell.trim().is_empty()) {
            return;
        }
        table.n_rows += 1;
        let is_first = table.n_rows == 1;
        self.n_bytes -= row.iter().map(String::len).sum::<usize>();
        if row.len() == 1 || row.iter().any(|cell| cell.trim().contains('\n')) {
            for cell in row.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()) {
                self.block();
                self.write(cell);
            }
            return self.block();
        }
        let cells: Vec<String> = row.iter().map(|cell| cell.trim().replace('|', "\\|")).collect();
        self.line();
        self.write(&format!("| {} |", cells.join(" | ")));
        if is_first {
            self.line();
            self.write(&format!("|{}", " --- |".repeat(cells.len())));
        }
        self.line();
    }

    pub(crate) fn close_table(&mut self) {
        if self.n_deep_tables > 0 {
            self.n_deep_tables -= 1;
            return self.line();
        }
        self.close_row();
        if self.tables.pop().is_some() {
            self.block();
        }
    }

    /// The text.
    pub(crate) fn finish(mut self) -> String {
        self.n_deep_tables = 0;
        while !self.tables.is_empty() {
            self.close_table();
        }
        self.buffers.pop().map(|buffer| buffer.text).unwrap_or_default()
    }

    fn gap(&mut self, gap: Gap) {
        let buffer = self.buffer();
        // A paragraph that begins an item stands on the item's line.
        if buffer.mark.is_none() {
            buffer.gap = buffer.gap.max(gap);
        }
    }

    fn write(&mut self, text: &str) {
        let buffer = self.buffer();
        let n_before = buffer.text.len();
        let gap = mem::take(&mut buffer.gap);
        if !buffer.text.is_empty() {
            buffer.text.push_str(match gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Blank => "\n\n",
            });
        }
        if let Some(mark) = buffer.mark.take() {
            buffer.text.push_str(&mark);
        }
        buffer.text.push_str(text);
        let n_written = buffer.text.len() - n_before;
        self.n_bytes += n_written;
    }

    fn buffer(&mut self) -> &mut Buffer {
        if self.buffers.is_empty() {
            self.buffers.push(Buffer::default());
        }
        let last = self.buffers.len() - 1;
        &mut self.buffers[last]
    }
}

/// White space that HTML collapses. A no-break space is text.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_wait_for_their_text() {
        let mut out = Markdown::new();
        out.heading(2);
        out.block();
        out.heading(1);
        out.text(" A  title ");
        out.block();
        out.item(0, None);
        out.text("one");
        out.item(1, Some(7));
        out.text("two");
        out.block();
        out.text("end");
        assert_eq!(out.finish(), "# A title\n\n- one\n  7. two\n\nend");
    }

    #[test]
    fn tables_have_bars_unless_they_place_blocks() {
        let mut out = Markdown::new();
        let row = |out: &mut Markdown, cells: &[&str]| {
            out.open_row();
            for cell in cells {
                out.open_cell();
                out.text(cell);
                out.close_cell();
            }
            out.close_row();
        };
        out.open_table();
        row(&mut out, &["a", "b|c"]);
        row(&mut out, &["1", ""]);
        row(&mut out, &["", ""]);
        out.close_table();
        out.open_table();
        row(&mut out, &["alone"]);
        out.open_row();
        out.open_cell();
        out.text("x");
        out.block();
        out.text("y");
        out.open_cell();
        out.text("z");
        assert_eq!(out.finish(), "| a | b\\|c |\n| --- | --- |\n| 1 |  |\n\nalone\n\nx\n\ny\n\nz");
    }

    #[test]
    fn deep_tables_are_text() {
        let mut out = Markdown::new();
        for depth in 0..1000 {
            out.open_table();
            out.open_row();
            out.open_cell();
            out.text(&depth.to_string());
        }
        for _ in 0..1000 {
            out.close_table();
        }
        out.text("end");
        let text = out.finish();
        assert!(text.contains("999") && text.ends_with("end") && text.len() < 6000, "{text}");
    }
}
