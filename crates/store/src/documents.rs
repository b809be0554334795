//! Ranks the passages of a document for a question, by full-text search.
//!
//! The index (FTS5) is in memory and belongs to one [`PassageIndex`]: nothing of a document is written to
//! the disk here. Passages are ranked by BM25 of the question's words, of which any may be missing.
//! English endings are cut off (Porter), case and diacritics do not count. Chinese, Japanese, Thai and
//! other scripts that put no spaces between words are indexed in pairs of characters, as Lucene does.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::conversations::is_without_spaces;
use crate::{Error, signed, unsigned};

/// Words of a question beyond this are left out: it is a text of its own then.
const MAX_QUESTION_WORDS: usize = 200;
/// Words from this length on also find words that begin with them: German compounds, plurals.
const PREFIX_CHARS: usize = 5;

/// Passages that can be searched. Making one blocks for about 0.05 s per MB of text.
pub struct PassageIndex {
    connection: Connection,
}

/// A passage that has words of the question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedPassage {
    /// Its index among the passages.
    pub idx: usize,
    /// How well it fits; larger is better. Only scores of one ranking can be compared.
    pub score: f64,
}

impl PassageIndex {
    /// Indexes passages.
    ///
    /// # Errors
    /// Those of the database, which is in memory.
    pub fn new<'a>(passages: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let connection = Connection::open_in_memory()?;
        // Marks such as Thai vowels are parts of words; by default they would separate them. Without
        // content: the caller has the passages.
        connection.execute_batch(
            "CREATE VIRTUAL TABLE passages USING fts5(text, content='',
                 tokenize=\"porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'\");
             BEGIN",
        )?;
        let mut insert =
            connection.prepare("INSERT INTO passages (rowid, text) VALUES (?1, ?2)")?;
        for (idx, passage) in passages.into_iter().enumerate() {
            insert.execute(params![signed(idx as u64), spaced(passage)])?;
        }
        drop(insert);
        connection.execute_batch("COMMIT")?;
        Ok(Self { connection })
    }

    /// The passages that have a word of `question`, the best first and at most `limit`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn rank(&self, question: &str, limit: usize) -> Result<Vec<RankedPassage>, Error> {
        let Some(expression) = expression(question) else { return Ok(Vec::new()) };
        let sql = "SELECT rowid, rank FROM passages WHERE passages MATCH ?1
             ORDER BY rank, rowid LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![expression, limit], |row| {
            let idx = usize::try_from(unsigned(row.get(0)?)).unwrap_or(usize::MAX);
            // FTS5's ranks are negative, so that the best is the smallest.
            Ok(RankedPassage { idx, score: -row.get::<_, f64>(1)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The question in FTS5's language: any of its words, each as a text that means nothing else.
fn expression(question: &str) -> Option<String> {
    let spaced = spaced(question);
    let words = spaced.split(|c: char| !c.is_alphanumeric() && !is_without_spaces(c));
    let words: BTreeSet<&str> =
        words.filter(|word| !word.is_empty()).take(MAX_QUESTION_WORDS).collect();
    let terms: Vec<String> = words
        .into_iter()
        .map(|word| {
            let is_dense = word.chars().any(is_without_spaces);
            // A pair begins with a single character that was asked for.
            let shortest = if is_dense { 1 } else { PREFIX_CHARS };
            let n_chars = word.chars().count();
            let is_prefix = if is_dense { n_chars == shortest } else { n_chars >= shortest };
            format!("\"{word}\"{}", if is_prefix { "*" } else { "" })
        })
        .collect();
    (!terms.is_empty()).then(|| terms.join(" OR "))
}

/// The text with spaces between the pairs of characters of scripts that have none: `abc` becomes
/// `ab bc c`.
fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + text.len() / 4);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_without_spaces(c) {
            spaced.push(c);
            continue;
        }
        spaced.push(' ');
        spaced.push(c);
        match chars.peek() {
            Some(next) if is_without_spaces(*next) => spaced.push(*next),
            _ => spaced.push(' '),
        }
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(passages: &[&str], question: &str) -> Vec<usize> {
        let index = PassageIndex::new(passages.iter().copied()).unwrap();
        index.rank(question, 10).unwrap().into_iter().map(|found| found.idx).collect()
    }

    #[test]
    fn rare_words_of_the_question_decide() {
        let passages = [
            "The house is large and the garden is old.",
            "Tenants may cancel with a notice of three months.",
            "The rent is paid on the first of the month, and the deposit is returned.",
        ];
        assert_eq!(ranked(&passages, "What is the notice for cancellation?")[0], 1);
        assert_eq!(ranked(&passages, "How large is the GARDEN"), [0, 2]);
        assert_eq!(ranked(&passages, "zebra"), Vec::<usize>::new());
        assert_eq!(ranked(&passages, " -- \"*"), Vec::<usize>::new());
        assert_eq!(ranked(&[], "zebra"), Vec::<usize>::new());
    }

    #[test]
    fn other_languages_are_found() {
        let passages = [
            "Die Kündigungsfristen betragen drei Monate.",
            "Größe und Gewicht der Äpfel.",
            "吾輩は猫である。名前はまだ無い。",
            "今日は東京で雨が降った。",
            "แมวกินปลา ทุกวัน",
            "หมาวิ่งเร็ว",
            "Кошка спит на диване.",
        ];
        for (question, idx) in [
            ("Wie lang ist die Kündigungsfrist?", 0),
            ("grosse apfel GEWICHT", 1),
            ("猫の名前は？", 2),
            ("猫", 2),
            ("東京の天気", 3),
            ("แมวกินอะไร", 4),
            ("หมา", 5),
            ("кошка", 6),
        ] {
            assert_eq!(ranked(&passages, question).first(), Some(&idx), "{question}");
        }
    }

    #[test]
    fn operators_of_the_search_language_are_words() {
        let passages = ["near the end", "and or not"];
        for question in
            ["NEAR(a b)", "a AND b OR NOT c", "col:near", "\"near", "near*", "^near", "ne\0ar"]
        {
            let _ranked = ranked(&passages, question);
        }
        assert_eq!(ranked(&passages, "NOT"), [1]);
    }

    #[test]
    fn pairs_of_characters_stand_apart() {
        assert_eq!(spaced("a猫犬鳥b"), "a 猫犬 犬鳥 鳥 b");
        assert_eq!(spaced("plain"), "plain");
    }
}
