//! Answers while they are written: what comes is journalled, so that the end of the process loses
//! nothing of it.
//!
//! The journal takes one small row for each call, however long the answer is. When the answer ends, or
//! when a later opening finds that its process did, the rows become parts, which searches find.
//!
//! A process that writes holds one of a few numbered locks, and its messages state the number. So a
//! message whose lock is free was left, and one that another process writes is let alone.

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::Value;

use super::tree::{self, MessageState, NewMessage, Part, PartKind, Role};
use super::{AttachmentId, MessageId, json, text_of};
use crate::{Error, LockGuard, Locks, Store, now_ms, signed};

/// Processes that may write answers at the same time.
const MAX_WRITERS: i64 = 64;

/// Something that an answer has grown by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delta<'a> {
    /// The kind of the part that grows; another kind than that of the last part begins a new one.
    pub kind: PartKind,
    /// Text that follows.
    pub text: &'a str,
    /// What takes the place of the part's data, if anything does.
    pub data: Option<&'a Value>,
}

impl<'a> Delta<'a> {
    /// More text.
    pub fn text(text: &'a str) -> Self {
        Self { kind: PartKind::Text, text, data: None }
    }
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// [`MessageState::Done`], [`MessageState::Stopped`] or [`MessageState::Failed`].
    pub state: MessageState,
    /// Why it failed: JSON of an error code and its arguments.
    pub error: Option<Value>,
    /// What it took, JSON of the caller's.
    pub stats: Option<Value>,
    /// The model that wrote it; `None` leaves what was stored.
    pub model: Option<String>,
    /// The settings that applied, JSON of the caller's; `None` leaves what was stored.
    pub settings: Option<Value>,
    /// What the model sees of the conversation now; `None` leaves what was stored.
    pub view: Option<Value>,
}

impl Ending {
    /// An ending without an error and figures.
    pub fn of(state: MessageState) -> Self {
        Self { state, error: None, stats: None, model: None, settings: None, view: None }
    }
}

/// The number of the process among those that write answers, once it does.
#[derive(Debug, Default)]
pub(crate) struct Writer(Mutex<Option<(i64, LockGuard)>>);

/// A row of the journal.
pub(super) struct Journalled {
    pub(super) kind: PartKind,
    pub(super) text: String,
    pub(super) data: Option<Value>,
}

impl Store {
    /// Adds a message that is going to be written, such as an answer. It becomes the end of the branch
    /// that is shown.
    ///
    /// # Errors
    /// As for [`Store::add_message`]; [`Error::Busy`] where too many processes write answers.
    pub fn begin_message(&self, new: &NewMessage) -> Result<MessageId, Error> {
        let number = self.writer_number()?;
        self.transaction(|transaction| {
            tree::insert(transaction, new, MessageState::Writing, Some(number))
        })
    }

    /// Adds a question and the beginning of its answer, and takes what was sent off the draft: all of that
    /// or, where the disk is full, nothing. A question that is there without an answer would be asked
    /// twice when it is sent again. Returns the ids of both.
    ///
    /// # Errors
    /// As for [`Store::begin_message`].
    pub fn begin_turn(
        &self,
        question: &NewMessage,
        settings: Option<&Value>,
        sent: &[AttachmentId],
    ) -> Result<(MessageId, MessageId), Error> {
        let number = self.writer_number()?;
        self.transaction(|transaction| {
            let id = tree::insert(transaction, question, MessageState::Done, None)?;
            let answer = NewMessage {
                settings: settings.cloned(),
                ..NewMessage::empty(&question.conversation, Some(&id), Role::Assistant)
            };
            let answer = tree::insert(transaction, &answer, MessageState::Writing, Some(number))?;
            let mut remove =
                transaction.prepare_cached("DELETE FROM draft_attachments WHERE id = ?1")?;
            for attachment in sent {
                remove.execute([attachment.as_str()])?;
            }
            let sql = "DELETE FROM drafts WHERE conversation = ?1";
            transaction.execute(sql, [question.conversation.as_str()])?;
            Ok((id, answer))
        })
    }

    /// Goes on with a message that has ended: it is being written again, and keeps what it says.
    ///
    /// # Errors
    /// [`Error::NoSuchMessage`]; [`Error::StillWriting`]; [`Error::Busy`] as for
    /// [`Store::begin_message`]; those of the database.
    pub fn reopen_message(&self, id: &MessageId) -> Result<(), Error> {
        let number = self.writer_number()?;
        self.transaction(|transaction| {
            if tree::conversation_of(transaction, id)?.is_none() {
                return Err(Error::NoSuchMessage { id: id.clone() });
            }
            let sql = "UPDATE messages SET state = 'writing', writer = ?2
                 WHERE id = ?1 AND state <> 'writing'";
            match transaction.execute(sql, params![id.as_str(), number])? {
                0 => Err(Error::StillWriting { id: id.clone() }),
                _ => Ok(()),
            }
        })
    }

    /// Writes down more of a message that is being written. After this returns, the end of the process
    /// does not lose it. The caller collects what comes and calls this a few times a second.
    ///
    /// # Errors
    /// [`Error::NotWriting`] where the message is gone or has ended; those of the database.
    pub fn append(&self, id: &MessageId, deltas: &[Delta<'_>]) -> Result<(), Error> {
        self.transaction(|transaction| {
            let sql = "INSERT INTO journal (message, kind, text, data)
                 SELECT id, ?2, ?3, ?4 FROM messages WHERE id = ?1 AND state = 'writing'";
            let mut statement = transaction.prepare_cached(sql)?;
            for Delta { kind, text, data } in deltas {
                let data = text_of(*data);
                if statement.execute(params![id.as_str(), kind.as_str(), text, data])? == 0 {
                    return Err(Error::NotWriting { id: id.clone() });
                }
            }
            Ok(())
        })
    }

    /// Notes that a message is written to its end.
    ///
    /// # Errors
    /// [`Error::NotWriting`], and those of the database.
    pub fn finish_message(&self, id: &MessageId, ending: &Ending) -> Result<(), Error> {
        self.transaction(|transaction| {
            let sql = "SELECT conversation FROM messages WHERE id = ?1 AND state = 'writing'";
            let conversation = transaction.query_row(sql, [id.as_str()], |row| row.get(0));
            let conversation: String =
                conversation.optional()?.ok_or_else(|| Error::NotWriting { id: id.clone() })?;
            end(transaction, id, ending)?;
            transaction.execute(
                "UPDATE conversations
                 SET updated_ms = max(updated_ms, ?2), view = coalesce(?3, view) WHERE id = ?1",
                params![conversation, signed(now_ms()), text_of(ending.view.as_ref())],
            )?;
            Ok(())
        })
    }

    /// The number of this process among those that write answers.
    fn writer_number(&self) -> Result<i64, Error> {
        let mut own = self.answers.0.lock();
        if let Some((number, _)) = &*own {
            return Ok(*number);
        }
        for number in 0..MAX_WRITERS {
            if let Some(guard) = self.locks.try_exclusive(&lock(number))? {
                // What a process left that had the number before.
                self.transaction(|transaction| stop_all(transaction, number))?;
                *own = Some((number, guard));
                return Ok(number);
            }
        }
        Err(Error::Busy)
    }
}

fn lock(number: i64) -> String {
    format!("answers-{number}")
}

/// Stops the messages whose process ended while it wrote them.
pub(crate) fn stop_abandoned(writer: &mut Connection, locks: &Locks) -> Result<(), Error> {
    let sql = "SELECT DISTINCT coalesce(writer, 0) FROM messages WHERE state = 'writing'";
    let mut statement = writer.prepare(sql)?;
    let numbers: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    drop(statement);
    for number in numbers {
        if let Some(_guard) = locks.try_exclusive(&lock(number))? {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            stop_all(&transaction, number)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

fn stop_all(transaction: &Transaction<'_>, number: i64) -> Result<(), Error> {
    let sql = "SELECT id FROM messages WHERE state = 'writing' AND coalesce(writer, 0) = ?1";
    let mut statement = transaction.prepare(sql)?;
    let ids: Vec<String> =
        statement.query_map([number], |row| row.get(0))?.collect::<Result<_, _>>()?;
    ids.into_iter()
        .try_for_each(|id| end(transaction, &id.into(), &Ending::of(MessageState::Stopped)))
}

/// Makes parts of the journal, and notes how the message ended.
fn end(transaction: &Transaction<'_>, id: &MessageId, ending: &Ending) -> Result<(), Error> {
    let before = tree::parts_of(transaction, id)?;
    let mut after = before.clone();
    for Journalled { kind, text, data } in journalled(transaction, id)? {
        grow(&mut after, kind, &text, data);
    }
    let sql = "INSERT INTO parts (message, ordinal, kind, text, data) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (message, ordinal) DO UPDATE SET text = excluded.text, data = excluded.data";
    for (ordinal, part) in after.iter().enumerate() {
        if before.get(ordinal) != Some(part) {
            let (kind, data) = (part.kind.as_str(), text_of(part.data.as_ref()));
            let ordinal = ordinal as i64;
            transaction.prepare_cached(sql)?.execute(params![
                id.as_str(),
                ordinal,
                kind,
                part.text,
                data
            ])?;
        }
    }
    transaction.execute("DELETE FROM journal WHERE message = ?1", [id.as_str()])?;
    transaction.execute(
        "UPDATE messages SET state = ?2, error = ?3, stats = ?4, model = coalesce(?5, model),
             settings = coalesce(?6, settings), writer = NULL
         WHERE id = ?1",
        params![
            id.as_str(),
            ending.state.as_str(),
            text_of(ending.error.as_ref()),
            text_of(ending.stats.as_ref()),
            ending.model,
            text_of(ending.settings.as_ref())
        ],
    )?;
    Ok(())
}

/// What the journal has of a message.
pub(super) fn journalled(
    connection: &Connection,
    id: &MessageId,
) -> Result<Vec<Journalled>, Error> {
    let sql = "SELECT kind, text, data FROM journal WHERE message = ?1 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([id.as_str()], |row| {
        Ok(Journalled { kind: PartKind::read(row, 0)?, text: row.get(1)?, data: json(row, 2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds to the last part where that is of the same kind, else begins a new one.
pub(super) fn grow(parts: &mut Vec<Part>, kind: PartKind, text: &str, data: Option<Value>) {
    match parts.last_mut() {
        Some(last) if last.kind == kind => {
            last.text.push_str(text);
            last.data = data.or_else(|| last.data.take());
        }
        _ => parts.push(Part { kind, text: text.to_owned(), data }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConversationChange;

    #[test]
    fn a_turn_that_does_not_fit_the_disk_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let id = store.create_conversation(&ConversationChange::default()).unwrap();
        store.set_draft(Some(&id), "Why?").unwrap();
        let settings = Value::from("s".repeat(20_000));
        let question = NewMessage::text(&id, None, Role::User, "Why?".repeat(5_000));
        let n_pages =
            || store.writer().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let n_before: u32 = n_pages();
        for n_failed in 0.. {
            let limit = format!("PRAGMA max_page_count = {}", n_before + n_failed);
            store.writer().query_row(&limit, [], |_| Ok(())).unwrap();
            match store.begin_turn(&question, Some(&settings), &[]) {
                Ok((question, answer)) => {
                    let stored = store.messages(&id).unwrap();
                    assert_eq!(
                        stored.iter().map(|it| &it.id).collect::<Vec<_>>(),
                        [&question, &answer]
                    );
                    assert_eq!(store.draft(Some(&id)).unwrap(), None);
                    assert!(n_failed > 5, "the question alone needs as many pages");
                    return;
                }
                Err(error) => assert!(matches!(error, Error::DiskFull), "{error:?}"),
            }
            assert_eq!(store.messages(&id).unwrap(), []);
            assert!(store.draft(Some(&id)).unwrap().is_some(), "what was typed is still there");
        }
    }
}
