//! Formats figures for the tables.

/// A relative change with its sign, such as `+0.3%`.
pub(super) fn change(share: f64, digits: usize) -> String {
    let percent = format!("{:.digits$}", share.abs() * 100.0);
    // A change that is rounded to nothing has no sign.
    let is_zero = percent.chars().all(|c| matches!(c, '0' | '.'));
    let sign = match share {
        _ if is_zero => "",
        share if share < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{percent}%")
}

/// A small number with two significant digits, such as `0.000013`.
pub(super) fn small(value: f64) -> String {
    let magnitude = if value > 0.0 { value.log10().floor() } else { 0.0 };
    let digits = (1.0 - magnitude).clamp(1.0, 12.0) as usize;
    format!("{value:.digits$}")
}

/// A Markdown table.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&headings.map(str::to_string));
    text.push_str(&line(&[const { "---" }; N].map(str::to_string)));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign_unless_they_vanish() {
        let shown = [0.2576, -0.0061, 0.00004, -0.0].map(|share| change(share, 1));
        assert_eq!(shown, ["+25.8%", "−0.6%", "0.0%", "0.0%"]);
        assert_eq!(change(0.00049, 2), "+0.05%");
    }

    #[test]
    fn small_numbers_keep_two_digits() {
        let shown = [0.0, 0.0000127, 0.00977, 0.5, 23.41].map(small);
        assert_eq!(shown, ["0.0", "0.000013", "0.0098", "0.50", "23.4"]);
    }

    #[test]
    fn rows_become_a_table() {
        let rows = [["a".to_string(), "1".to_string()]];
        assert_eq!(table(["x", "y"], &rows), "| x | y |\n| --- | --- |\n| a | 1 |\n");
    }
}
