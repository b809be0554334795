//! Finds messages by their words.
//!
//! Words are those of Unicode, without regard to case and diacritics; the last one may be a beginning.
//! Scripts that put no spaces between words are searched as they stand.

use std::ops::Range;

use rusqlite::{Connection, params};

use super::{ConversationId, MessageId};
use crate::{Error, Store, unsigned};

/// Characters of an excerpt, and those of it that stand before the first match.
const EXCERPT_CHARS: usize = 160;
const CHARS_BEFORE: usize = 40;
/// What stands around matches in what SQLite returns. Texts may have these characters, too.
const BEGIN: char = '\u{1}';
const END: char = '\u{2}';

/// A message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchHit {
    /// The conversation that it is in.
    pub conversation: ConversationId,
    /// Its title.
    pub title: Option<String>,
    /// The message.
    pub message: MessageId,
    /// Which of the message's parts it is.
    pub part: u32,
    /// When the message was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// A piece of the part's text, around the first match.
    pub excerpt: String,
    /// Where the piece begins in the part's text, in bytes.
    pub excerpt_start: usize,
    /// The matches in the piece, in bytes of it.
    pub matches: Vec<Range<usize>>,
}

impl Store {
    /// The messages that have all words of `query`, the best first and at most `limit`; of one
    /// conversation, or of all. A query without words finds nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub fn search(
        &self,
        query: &str,
        conversation: Option<&ConversationId>,
        limit: u32,
    ) -> Result<Vec<SearchHit>, Error> {
        let reader = self.reader();
        match query.chars().any(is_without_spaces) {
            true => search_text(&reader, query, conversation, limit),
            false => search_words(&reader, query, conversation, limit),
        }
    }
}

const HIT: &str = "messages.conversation, parts.message, parts.ordinal, messages.created_ms, parts.text, \
     conversations.title";

const JOIN: &str = "JOIN messages ON messages.id = parts.message AND messages.deleted_ms IS NULL
    JOIN conversations ON conversations.id = messages.conversation
        AND conversations.deleted_ms IS NULL";

fn search_words(
    reader: &Connection,
    query: &str,
    conversation: Option<&ConversationId>,
    limit: u32,
) -> Result<Vec<SearchHit>, Error> {
    let Some(expression) = expression(query) else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT {HIT}, highlight(search, 0, ?4, ?5) FROM search
         JOIN parts ON parts.id = search.rowid {JOIN}
         WHERE search MATCH ?1 AND (?2 IS NULL OR messages.conversation = ?2)
         ORDER BY search.rank, parts.id DESC LIMIT ?3"
    );
    let mut statement = reader.prepare_cached(&sql)?;
    let conversation = conversation.map(|id| id.as_str());
    let marks = (BEGIN.to_string(), END.to_string());
    let parameters = params![expression, conversation, limit, marks.0, marks.1];
    let rows = statement.query_map(parameters, |row| {
        let text: String = row.get(4)?;
        let marked: String = row.get(6)?;
        hit(row, &text, &marked_ranges(&text, &marked))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn search_text(
    reader: &Connection,
    query: &str,
    conversation: Option<&ConversationId>,
    limit: u32,
) -> Result<Vec<SearchHit>, Error> {
    let terms: Vec<&str> = query.split_whitespace().collect();
    let Some(longest) = terms.iter().max_by_key(|term| term.len()) else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT {HIT} FROM parts {JOIN}
         WHERE parts.kind = 'text' AND instr(parts.text, ?1) > 0
             AND (?2 IS NULL OR messages.conversation = ?2)
         ORDER BY parts.id DESC"
    );
    let mut statement = reader.prepare_cached(&sql)?;
    let mut rows = statement.query(params![longest, conversation.map(|id| id.as_str())])?;
    let mut hits = Vec::new();
    while hits.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        let text: String = row.get(4)?;
        if terms.iter().all(|term| text.contains(term)) {
            let found = terms.iter().flat_map(|term| text.match_indices(term));
            let mut ranges: Vec<Range<usize>> =
                found.map(|(start, term)| start..start + term.len()).collect();
            ranges.sort_by_key(|range| (range.start, range.end));
            hits.push(hit(row, &text, &ranges)?);
        }
    }
    Ok(hits)
}

/// The query in FTS5's language: all words, each as a text that means nothing else, and the last one as
/// the beginning of a word.
fn expression(query: &str) -> Option<String> {
    let words: Vec<String> = query
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"").replace('\0', "")))
        .collect();
    (!words.is_empty()).then(|| format!("{}*", words.join(" ")))
}

/// Whether a character is of a script that puts no spaces between words: Thai, Lao, Khmer, Burmese,
/// Japanese, Chinese.
pub(crate) fn is_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Where the marks stand that `marked` has and `text` has not.
fn marked_ranges(text: &str, marked: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut rest = text.char_indices().peekable();
    let mut open = None;
    for c in marked.chars() {
        let at = rest.peek().map_or(text.len(), |(at, _)| *at);
        if rest.peek().is_some_and(|(_, plain)| *plain == c) {
            rest.next();
        } else if c == BEGIN {
            open = Some(at);
        } else if let Some(start) = open.take() {
            ranges.push(start..at);
        }
    }
    ranges
}

fn hit(
    row: &rusqlite::Row<'_>,
    text: &str,
    ranges: &[Range<usize>],
) -> rusqlite::Result<SearchHit> {
    let piece = excerpt(text, ranges.first().map_or(0, |range| range.start));
    let inside = ranges.iter().filter(|it| it.start >= piece.start && it.end <= piece.end);
    Ok(SearchHit {
        conversation: row.get::<_, String>(0)?.into(),
        title: row.get(5)?,
        message: row.get::<_, String>(1)?.into(),
        part: row.get(2)?,
        created_ms: unsigned(row.get(3)?),
        excerpt: text[piece.clone()].to_owned(),
        excerpt_start: piece.start,
        matches: inside.map(|it| it.start - piece.start..it.end - piece.start).collect(),
    })
}

/// The piece of `text` that is shown for a match at `at`.
fn excerpt(text: &str, at: usize) -> Range<usize> {
    let before = text[..at].char_indices().rev().take(CHARS_BEFORE).last();
    let start = before.map_or(at, |(start, _)| start);
    let end = text[start..].char_indices().nth(EXCERPT_CHARS);
    start..end.map_or(text.len(), |(end, _)| start + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_the_texts_own_characters() {
        let ranges = |text: &str, marked: &str| -> Vec<(usize, usize)> {
            marked_ranges(text, marked).into_iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(ranges("one two", "one \u{1}two\u{2}"), [(4, 7)]);
        assert_eq!(ranges("é two two", "é \u{1}two\u{2} \u{1}two\u{2}"), [(3, 6), (7, 10)]);
        assert_eq!(ranges("\u{1}a b", "\u{1}a \u{1}b\u{2}"), [(3, 4)]);
        assert_eq!(ranges("plain", "plain"), []);
    }

    #[test]
    fn excerpts_are_short_and_begin_before_the_match() {
        let text = "é".repeat(500);
        let piece = excerpt(&text, 400);
        assert_eq!((piece.start, text[piece].chars().count()), (320, EXCERPT_CHARS));
        assert_eq!(excerpt("short", 2), 0..5);
    }

    #[test]
    fn queries_mean_words_only() {
        assert_eq!(expression("a \"b OR c*").as_deref(), Some("\"a\" \"\"\"b\" \"OR\" \"c*\"*"));
        assert_eq!(expression(" -- !").as_deref(), None);
    }
}
