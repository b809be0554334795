//! Cuts a text into passages for a search, at the borders of paragraphs where there are some.

use std::ops::Range;

/// A run of so many characters without a border counts as another word, as in base64.
const MAX_WORD_CHARS: usize = 16;

/// A place for a cut; the later ones are better.
#[derive(Clone, Copy)]
enum Border {
    Word,
    Sentence,
    Line,
    Paragraph,
}

/// The number of kinds of borders.
const N_BORDERS: usize = 4;

/// The passages of `text`, in order, as ranges of bytes; together they are the whole text.
///
/// Each passage but the last has half of `n_words` to `n_words` words, and ends with a paragraph if one
/// ends there, else with a line, a sentence or a word. Characters of scripts that put no spaces between
/// words count as half a word.
pub fn passages(text: &str, n_words: usize) -> Vec<Range<usize>> {
    let n_words = n_words.max(2);
    let (mut passages, mut start) = (Vec::new(), 0);
    while start < text.len() {
        let end = start + passage_end(&text[start..], n_words);
        passages.push(start..end);
        start = end;
    }
    passages
}

/// Where the first passage of `text` ends.
fn passage_end(text: &str, n_words: usize) -> usize {
    // Words count two, so that a character that is half a word is a whole number.
    let (mut n_halves, mut word_chars) = (0, 0);
    // The last border of each kind at which the passage would be long enough.
    let mut borders = [None; N_BORDERS];
    let (mut n_newlines, mut last) = (0, '\n');
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let is_dense = is_without_spaces(c);
        if c.is_whitespace() {
            word_chars = 0;
            n_newlines += usize::from(c == '\n');
        } else {
            n_newlines = 0;
            last = c;
            if is_dense {
                word_chars = 0;
                n_halves += 1;
            } else {
                n_halves += if word_chars == 0 { 2 } else { 0 };
                word_chars = (word_chars + 1) % MAX_WORD_CHARS;
            }
        }
        if n_halves > 2 * n_words {
            let best = borders.into_iter().rev().flatten().next();
            return best.unwrap_or(at);
        }
        let Some((end, next)) = chars.peek().copied() else { break };
        let border = match (c.is_whitespace(), n_newlines) {
            (true, _) if next.is_whitespace() => None,
            (true, 2..) => Some(Border::Paragraph),
            (true, 1) => Some(Border::Line),
            (true, _) if matches!(last, '.' | '!' | '?' | '…') => Some(Border::Sentence),
            (true, _) => Some(Border::Word),
            (false, _) if matches!(c, '。' | '！' | '？' | '．') => Some(Border::Sentence),
            (false, _) if is_dense => Some(Border::Word),
            (false, _) => None,
        };
        if let Some(border) = border
            && n_halves >= n_words
        {
            borders[border as usize] = Some(end);
        }
    }
    text.len()
}

/// Whether a character is of a script that puts no spaces between words: Thai, Lao, Khmer, Burmese,
/// Japanese, Chinese.
fn is_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3001}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff01}'..='\u{ff65}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str, n_words: usize) -> Vec<&str> {
        passages(text, n_words).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn the_best_border_is_taken() {
        let text = "a b c.\n\nd e f. g\nh i j k. l";
        assert_eq!(texts(text, 4), ["a b c.\n\n", "d e f. g\n", "h i j k. ", "l"]);
        assert_eq!(texts(text, 6), ["a b c.\n\n", "d e f. g\n", "h i j k. l"]);
        assert_eq!(texts("a b c d e", 2), ["a b ", "c d ", "e"]);
        assert_eq!(texts("", 5), Vec::<&str>::new());
    }

    #[test]
    fn texts_without_spaces_are_cut_too() {
        let text = "吾輩は猫である。名前はまだ無い。どこで生れたか見当がつかぬ。";
        assert_eq!(
            texts(text, 8),
            ["吾輩は猫である。名前はまだ無い。", "どこで生れたか見当がつかぬ。"]
        );
        let long = "x".repeat(1000);
        assert!(texts(&long, 10).iter().all(|passage| passage.len() == 10 * MAX_WORD_CHARS
            || passage.len() == 1000 % (10 * MAX_WORD_CHARS)));
    }

    proptest! {
        #[test]
        fn passages_are_the_whole_text(text in "[a-z.\n 猫。]{0,300}|\\PC{0,100}", n_words in 0_usize..40) {
            prop_assert_eq!(texts(&text, n_words).concat(), text.clone());
            for passage in texts(&text, n_words) {
                prop_assert!(!passage.is_empty());
                prop_assert!(passage.split_whitespace().count() <= 2 * n_words.max(2));
            }
        }
    }
}
