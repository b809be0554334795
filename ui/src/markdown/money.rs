//! Tells formulas between `$` from amounts of money.
//!
//! The parser follows CommonMark's flanking only. What it takes for a formula is text if it looks like
//! prose between two amounts: `US$20 and US$30`, `$1,000–$2,000`, `$5 million or 4$`.

use std::ops::Range;

/// Whether the formula at `range` of `source`, delimiters included, is rather text with signs of
/// currency.
pub(super) fn is_money(source: &str, range: &Range<usize>, latex: &str) -> bool {
    let before = source[..range.start].chars().next_back();
    let after = source[range.end..].chars().next();
    let starts_with_amount = latex.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    // `$5–$6`, `US$5, US$6`: the second sign begins an amount. `$$$` is a class of prices.
    let ends_in_amount = after.is_some_and(|c| c.is_ascii_digit() || c == '$');
    // `US$5 … A$`.
    let follows_currency = before.is_some_and(char::is_alphabetic) && starts_with_amount;
    let has_no_content = !latex.chars().any(char::is_alphanumeric);
    ends_in_amount || follows_currency || has_no_content || starts_with_amount && is_prose(latex)
}

/// Whether the text has words as sentences do, and nothing of LaTeX.
fn is_prose(text: &str) -> bool {
    let is_word = |word: &str| word.len() > 1 && word.chars().all(char::is_alphabetic);
    let words =
        text.split_whitespace().map(|word| word.trim_matches([',', '.', ';', ':', '(', ')']));
    !text.contains(['\\', '^', '_', '=', '{']) && words.filter(|word| is_word(word)).count() > 0
}

#[cfg(test)]
mod tests {
    use super::super::render;

    #[test]
    fn amounts_of_money_are_text() {
        for text in [
            "$5 and $10",
            "US$20 to US$30",
            "$1,000–$2,000",
            "$5-$10",
            "from $5/month to $10/month",
            "($5)/($6)",
            "$5 million, up from 3$",
            "A$20, C$30 and $40.",
            "It costs $5.",
            "$$–$$$",
            "$$ or $$$",
            "a $ b $ c",
            "$0.50 vs $.75",
            "$HOME and $PATH",
            "5$ und 6$",
            "€5 or $6 or £7 or $8",
        ] {
            let html = render(text);
            assert!(!html.contains("math"), "{text}: {html}");
            assert!(html.contains(text), "{text}: {html}");
        }
        let html = render("US$5 **now** or US$6 `a` then");
        assert!(html.contains("<strong>now</strong>") && html.contains("<code"), "{html}");
        let html = render("> US$5 **now**\n> or US$6");
        assert!(html.contains("<strong>now</strong>") && !html.contains("&gt;"), "{html}");
    }

    #[test]
    fn formulas_are_not_money() {
        for text in [
            "$x$",
            "$n$th",
            "$5$",
            "$2x + 3$",
            "$5 \\text{ apples}$",
            "$x$-axis",
            "$3 \\times 4 = 12$",
            "$a, b$",
            "$$\nx\n$$",
            "$1.5$",
            "$P(A|B)$",
            "$2^{10}$",
            "$10 \\%$",
            "$0 < x < 1$",
            "costs $x$ or $5$",
        ] {
            assert!(render(text).contains("class=\"math\""), "{text}: {}", render(text));
        }
    }
}
