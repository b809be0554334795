//! Tables: columns that line up and have a bounded width.

use super::escape;

/// The most characters of a column that others follow.
const COLUMN_CHARS: usize = 100;
/// The most characters of a column at the end of its row.
const LAST_CHARS: usize = 400;

/// Rows with columns as wide as they need to be, the last one unpadded. Cells are one line each, and
/// cut with `…` where they are too long to be a table's.
pub fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.into_iter().map(cells).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = usize::max(*width, cell.chars().count()).min(COLUMN_CHARS);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            line.push_str(cell);
            // Not by a format width, which panics beyond 65,535.
            let missing = width.saturating_sub(cell.chars().count());
            line.extend(std::iter::repeat_n(' ', missing + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A table of labels and values.
pub fn fields<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    table(rows.into_iter().map(|(label, value)| [label.to_owned(), value]))
}

fn cells<const N: usize>(row: [String; N]) -> [String; N] {
    let mut n_left = N;
    row.map(|cell| {
        n_left -= 1;
        let n_chars = if n_left == 0 { LAST_CHARS } else { COLUMN_CHARS };
        escape::clipped(&escape::one_line(&cell), n_chars).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(table([row(["a", "x"]), row(["bcé", ""])]), "a    x\nbcé\n");
    }

    #[test]
    fn a9_a_column_never_outgrows_the_screen() {
        let long = "x".repeat(70_000);
        let text = table([row(["NAME", "SIZE"]), row([&long, "1 B"]), row(["a\n\u{1b}b", &long])]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("x…  1 B"), "{}", lines[1]);
        assert!(lines[2].starts_with("a\\n\\u{1b}b   "), "{}", lines[2]);
        assert!(lines.iter().all(|line| line.chars().count() <= 502));
    }
}
