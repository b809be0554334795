//! Titles of conversations, and where they come from.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::ConversationId;
use crate::{Error, Store};

/// Characters of a title that is made of a question.
const MAX_TITLE_CHARS: usize = 80;

/// Where a title comes from. A later one never replaces the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TitleOrigin {
    /// It is the beginning of the first question.
    Question,
    /// A model proposed it.
    Model,
    /// The user wrote it.
    User,
}

impl TitleOrigin {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Model => "model",
            Self::User => "user",
        }
    }

    /// The origin that a stored word names; `None` for another word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Question, Self::Model, Self::User].into_iter().find(|it| it.as_str() == word)
    }

    pub(super) fn read(row: &Row<'_>, idx: usize) -> rusqlite::Result<Option<Self>> {
        Ok(row.get_ref(idx)?.as_str_or_null()?.and_then(Self::from_word))
    }
}

/// The title that a conversation has after its first question: the beginning of it, on one line.
pub fn question_title(question: &str) -> String {
    let mut title = String::new();
    let mut n_chars = 0;
    for word in question.split_whitespace() {
        let n_word = word.chars().count();
        if n_chars > 0 && n_chars + 1 + n_word > MAX_TITLE_CHARS {
            break;
        }
        if n_chars > 0 {
            title.push(' ');
            n_chars += 1;
        }
        title.extend(word.chars().take(MAX_TITLE_CHARS));
        n_chars += n_word;
    }
    title
}

/// Gives an untitled conversation the title of its first question.
pub(super) fn set_from_question(
    transaction: &Transaction<'_>,
    conversation: &ConversationId,
    question: &str,
) -> Result<(), Error> {
    let title = question_title(question);
    if !title.is_empty() {
        let sql = "UPDATE conversations SET title = ?2, title_origin = ?3
             WHERE id = ?1 AND title IS NULL";
        let origin = TitleOrigin::Question.as_str();
        transaction.prepare_cached(sql)?.execute(params![conversation.as_str(), title, origin])?;
    }
    Ok(())
}

/// The first question of a conversation: its id and its text.
pub(super) fn first_question(
    connection: &Connection,
    conversation: &ConversationId,
) -> rusqlite::Result<Option<(String, String)>> {
    let sql = "SELECT messages.id, parts.text FROM messages
             JOIN parts ON parts.message = messages.id AND parts.kind = 'text'
         WHERE conversation = ?1 AND role = 'user' ORDER BY messages.id, ordinal LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row([conversation.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    row.optional()
}

/// After a deletion: where `before`, the first question, is gone, the title that was made of it goes,
/// too. The user's own title stays.
pub(super) fn forget_question(
    connection: &Connection,
    conversation: &ConversationId,
    before: Option<&str>,
) -> rusqlite::Result<()> {
    let first = first_question(connection, conversation)?;
    if first.as_ref().map(|(id, _)| id.as_str()) == before {
        return Ok(());
    }
    let title = first.map(|(_, text)| question_title(&text)).filter(|title| !title.is_empty());
    let origin = title.as_ref().map(|_| TitleOrigin::Question.as_str());
    let sql = "UPDATE conversations SET title = ?2, title_origin = ?3
         WHERE id = ?1 AND title_origin IS NOT ?4";
    // A copy of version 1 has no titles of ours.
    let Ok(mut statement) = connection.prepare(sql) else { return Ok(()) };
    let user = TitleOrigin::User.as_str();
    statement.execute(params![conversation.as_str(), title, origin, user])?;
    Ok(())
}

impl Store {
    /// Sets the title that a model proposes, unless the user wrote one. Returns whether it was set.
    ///
    /// # Errors
    /// Those of the database.
    pub fn propose_title(&self, id: &ConversationId, title: &str) -> Result<bool, Error> {
        let n_rows = self.transaction(|transaction| {
            let sql = "UPDATE conversations SET title = ?2, title_origin = ?3
                 WHERE id = ?1 AND title_origin IS NOT ?4 AND deleted_ms IS NULL";
            let (model, user) = (TitleOrigin::Model.as_str(), TitleOrigin::User.as_str());
            Ok::<_, Error>(transaction.execute(sql, params![id.as_str(), title, model, user])?)
        })?;
        Ok(n_rows > 0)
    }

    /// The newest conversations whose title is only the beginning of their question and in which an
    /// answer is complete: those that a model may propose a title for.
    ///
    /// # Errors
    /// Those of the database.
    pub fn conversations_to_title(&self, limit: u32) -> Result<Vec<ConversationId>, Error> {
        let sql = "SELECT id FROM conversations WHERE title_origin = ?1 AND deleted_ms IS NULL
                 AND is_archived = 0 AND EXISTS (
                     SELECT 1 FROM messages WHERE messages.conversation = conversations.id
                         AND role = 'assistant' AND state = 'done')
             ORDER BY updated_ms DESC LIMIT ?2";
        let reader = self.reader();
        let mut statement = reader.prepare_cached(sql)?;
        let origin = TitleOrigin::Question.as_str();
        let rows = statement.query_map(params![origin, limit], |row| row.get::<_, String>(0))?;
        Ok(rows.map(|id| id.map(ConversationId::from)).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_of_whole_words() {
        assert_eq!(question_title("  What is\n\tgravity? "), "What is gravity?");
        assert_eq!(question_title(" \n"), "");
        let long = question_title(&"word ".repeat(40));
        assert!(long.chars().count() <= MAX_TITLE_CHARS && long.ends_with("word"), "{long}");
        assert_eq!(question_title(&"é".repeat(200)).chars().count(), MAX_TITLE_CHARS);
    }
}
