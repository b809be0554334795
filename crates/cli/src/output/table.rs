//! Tables: columns that line up and have a bounded width.

use super::escape;

/// The most characters of a column that others follow.
const COLUMN_CHARS: usize = 100;
/// The most characters of a column at the end of its row.
const LAST_CHARS: usize = 400;

/// Rows with columns as wide as they need to be, the last one unpadded. Cells are one line each, and
/// cut with `…` where they are too long to be a table's.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; n_columns];
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

fn cells(row: &[String]) -> Vec<String> {
    let cell = |(idx, cell): (usize, &String)| {
        let n_chars = if idx + 1 == row.len() { LAST_CHARS } else { COLUMN_CHARS };
        escape::clipped(&escape::one_line(cell), n_chars).into_owned()
    };
    row.iter().enumerate().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(table(&[row(["a", "x"]), row(["bcé", ""])]), "a    x\nbcé\n");
    }

    #[test]
    fn a9_a_column_never_outgrows_the_screen() {
        let long = "x".repeat(70_000);
        let text = table(&[row(["NAME", "SIZE"]), row([&long, "1 B"]), row(["a\n\u{1b}b", &long])]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("x…  1 B"), "{}", lines[1]);
        assert!(lines[2].starts_with("a\\n\\u{1b}b   "), "{}", lines[2]);
        assert!(lines.iter().all(|line| line.chars().count() <= 502));
    }
}
