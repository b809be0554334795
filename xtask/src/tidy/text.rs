//! Strips comments and literals from Rust source, so that rules see code only.
//!
//! A small scanner, not a parser: it recognises line and block comments, plain and raw strings, and
//! character literals.

/// The lines of the source without comments and literals.
pub(super) fn code_lines(source: &str) -> Vec<String> {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let hidden = hidden_length(rest, code.chars().next_back());
        if hidden == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        // Keep line breaks, so that line numbers stay correct.
        code.extend(rest[..hidden].chars().filter(|c| *c == '\n'));
        rest = &rest[hidden..];
    }
    code.lines().map(str::to_string).collect()
}

/// Whether the line contains the whole word.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_word_char = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].chars().next_back().is_some_and(is_word_char)
            && !line[start + word.len()..].chars().next().is_some_and(is_word_char)
    })
}

/// The length in bytes of the comment or literal at the start of the text; 0 for code.
fn hidden_length(text: &str, before: Option<char>) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment_length(text);
    }
    if let Some(inside) = text.strip_prefix('"') {
        return 1 + quoted_length(inside, '"');
    }
    let starts_word = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if starts_word && (text.starts_with("r\"") || text.starts_with("r#") || text.starts_with("br"))
    {
        return raw_string_length(text).unwrap_or(0);
    }
    if text.starts_with('\'') {
        return character_length(text).unwrap_or(0);
    }
    0
}

/// The length of a block comment, which may contain nested ones.
fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length up to and including the closing quote.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` and so on; `None` for a raw identifier.
fn raw_string_length(text: &str) -> Option<usize> {
    let after_r = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let inside = after_r[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let closing = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + closing)
}

/// The length of a character literal; `None` for a lifetime.
fn character_length(text: &str) -> Option<usize> {
    let inside = &text[1..];
    let first = inside.chars().next()?;
    if first == '\\' {
        return Some(1 + quoted_length(inside, '\''));
    }
    let after = &inside[first.len_utf8()..];
    after.starts_with('\'').then(|| 1 + first.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_stripped() {
        let source = "a // unsafe\nb /* unsafe /* x */ unsafe */ c\nd \"unsafe \\\" \n unsafe\" e\n\
                      f r#\"unsafe \" \"# g 'u' '\\'' h<'life>\nbreak br\"x\" i";
        let lines = code_lines(source);
        let joined = lines.join("\n");
        assert!(!joined.contains("unsafe"), "{joined}");
        assert_eq!(lines.len(), source.lines().count());
        for word in ["a", "b", "c", "d", "e", "f", "g", "h", "life", "break", "i"] {
            assert!(lines.iter().any(|line| has_word(line, word)), "{word} is missing in {joined}");
        }
    }

    #[test]
    fn has_word_matches_whole_words() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe"));
        assert!(!has_word("my_unsafe", "unsafe"));
    }
}
