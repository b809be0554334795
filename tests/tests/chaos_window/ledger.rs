//! What the app has acknowledged, and the comparison with what its database has.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

/// A message in the database.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredMessage {
    pub(crate) id: String,
    pub(crate) conversation: String,
    pub(crate) parent: Option<String>,
    pub(crate) is_question: bool,
    /// With what is journalled.
    pub(crate) text: String,
    pub(crate) is_writing: bool,
    /// Whether it was deleted and can be restored.
    pub(crate) is_hidden: bool,
}

/// A message that the app has acknowledged.
#[derive(Clone, Debug)]
struct Known {
    stored: StoredMessage,
    /// The letters of an answer that the page has shown at least a second before a kill.
    shown: String,
}

/// What an action may add.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    /// Texts of questions, each once.
    pub(crate) questions: Vec<String>,
    /// The number of answers.
    pub(crate) n_answers: usize,
    /// Whether all of that must be there.
    pub(crate) must: bool,
    /// Whether any message may be a copy of one that is known, or imported.
    pub(crate) copies: bool,
    /// An answer that may grow although it had ended.
    pub(crate) grows: Option<String>,
}

/// Every message that must be there.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    known: BTreeMap<String, Known>,
    /// What was deleted and must not be seen.
    gone: BTreeSet<String>,
}

impl Ledger {
    /// The number of messages that must be there.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The messages that must be there, in the order of their ids.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &StoredMessage> {
        self.known.values().map(|known| &known.stored)
    }

    /// Notes letters of an answer that a kill must not take away.
    pub(crate) fn note_shown(&mut self, id: &str, shown: String) {
        if let Some(known) = self.known.get_mut(id) {
            known.shown = shown;
        }
    }

    /// Compares with the database, and takes in what an action has added.
    pub(crate) fn compare(&mut self, stored: &[StoredMessage], allowed: &Allowed) -> Result<()> {
        let visible: BTreeMap<&str, &StoredMessage> =
            stored.iter().filter(|it| !it.is_hidden).map(|it| (&*it.id, it)).collect();
        for (id, known) in &self.known {
            let found = visible.get(&**id);
            let found = found.with_context(|| format!("{:?} is lost", known.stored))?;
            check_same(known, found, allowed)?;
        }
        if let Some(id) = self.gone.iter().find(|id| visible.contains_key(&***id)) {
            bail!("{:?} was deleted and is there", visible[&**id]);
        }
        let new = visible.values().filter(|it| !self.known.contains_key(&it.id));
        check_new(&new.copied().collect::<Vec<_>>(), allowed)?;
        for (id, found) in visible {
            let shown = self.known.remove(id).map(|it| it.shown).unwrap_or_default();
            self.known.insert(id.to_owned(), Known { stored: found.clone(), shown });
        }
        Ok(())
    }

    /// Removes a message with all that follows it; returns what is removed.
    pub(crate) fn delete_message(&mut self, id: &str) -> Vec<StoredMessage> {
        let mut ids = BTreeSet::from([id.to_owned()]);
        loop {
            let is_below =
                |it: &&StoredMessage| it.parent.as_ref().is_some_and(|parent| ids.contains(parent));
            let below: BTreeSet<_> =
                self.messages().filter(is_below).map(|it| it.id.clone()).collect();
            let n_before = ids.len();
            ids.extend(below);
            if ids.len() == n_before {
                return self.remove(|it| ids.contains(&it.id));
            }
        }
    }

    /// Removes a conversation; returns its messages.
    pub(crate) fn delete_conversation(&mut self, id: &str) -> Vec<StoredMessage> {
        self.remove(|it| it.conversation == id)
    }

    fn remove(&mut self, is_gone: impl Fn(&StoredMessage) -> bool) -> Vec<StoredMessage> {
        let removed: Vec<_> = self.messages().filter(|it| is_gone(it)).cloned().collect();
        for message in &removed {
            self.known.remove(&message.id);
            self.gone.insert(message.id.clone());
        }
        removed
    }

    /// Expects messages again that were deleted.
    pub(crate) fn restore(&mut self, messages: Vec<StoredMessage>) {
        for stored in messages {
            self.gone.remove(&stored.id);
            self.known.insert(stored.id.clone(), Known { stored, shown: String::new() });
        }
    }
}

/// Checks that a message is what it was, or has grown.
fn check_same(known: &Known, found: &StoredMessage, allowed: &Allowed) -> Result<()> {
    let before = &known.stored;
    ensure!(
        before.parent == found.parent && before.conversation == found.conversation,
        "{found:?} was {before:?}"
    );
    let may_grow = before.is_writing || allowed.grows.as_ref() == Some(&before.id);
    let is_kept = if may_grow {
        found.text.starts_with(&before.text) && letters(&found.text).starts_with(&known.shown)
    } else {
        found.text == before.text
    };
    ensure!(is_kept, "{found:?} was {before:?}, of which was shown {:?}", known.shown);
    Ok(())
}

/// Checks that what is new was asked for, once.
fn check_new(new: &[&StoredMessage], allowed: &Allowed) -> Result<()> {
    if allowed.copies {
        return Ok(());
    }
    let (questions, answers): (Vec<&StoredMessage>, Vec<_>) =
        new.iter().copied().partition(|it| it.is_question);
    let mut left = allowed.questions.clone();
    for question in questions {
        let at = left.iter().position(|text| *text == question.text);
        left.remove(
            at.with_context(|| format!("nobody asked {question:?}, or it is there twice"))?,
        );
    }
    ensure!(answers.len() <= allowed.n_answers, "more answers than were wanted: {answers:?}");
    let is_complete = left.is_empty() && answers.len() == allowed.n_answers;
    ensure!(is_complete || !allowed.must, "{left:?} was acknowledged and is lost; {answers:?}");
    Ok(())
}

/// The letters of a text: what Markdown and its rendering have in common.
pub(crate) fn letters(text: &str) -> String {
    text.chars().filter(|it| it.is_alphabetic()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, parent: Option<&str>, text: &str) -> StoredMessage {
        StoredMessage {
            id: id.to_owned(),
            conversation: "c".to_owned(),
            parent: parent.map(str::to_owned),
            is_question: parent.is_none(),
            text: text.to_owned(),
            is_writing: false,
            is_hidden: false,
        }
    }

    fn asked(text: &str) -> Allowed {
        Allowed { questions: vec![text.to_owned()], n_answers: 1, must: true, ..Allowed::default() }
    }

    #[test]
    fn lost_changed_doubled_and_restored_messages_are_noticed() {
        let (question, answer) = (message("q", None, "Why?"), message("a", Some("q"), "So."));
        let both = [question.clone(), answer.clone()];
        let mut ledger = Ledger::default();
        assert!(ledger.compare(&both, &Allowed::default()).is_err(), "nobody asked");
        assert!(ledger.compare(&both[..1], &asked("Why?")).is_err(), "no answer");
        ledger.compare(&both, &asked("Why?")).unwrap_or_else(|error| panic!("{error}"));
        let none = Allowed::default();
        assert!(ledger.compare(&both[..1], &none).is_err(), "the answer is lost");
        let twice = [question.clone(), answer.clone(), message("r", None, "Why?")];
        assert!(ledger.compare(&twice, &none).is_err(), "it is there twice");
        let shorter = [question.clone(), message("a", Some("q"), "S")];
        assert!(ledger.compare(&shorter, &none).is_err(), "the answer is shorter");
        let removed = ledger.delete_message("q");
        assert_eq!(removed.len(), 2);
        assert!(ledger.compare(&both, &none).is_err(), "it was deleted");
        let hidden = both.clone().map(|it| StoredMessage { is_hidden: true, ..it });
        assert!(ledger.compare(&hidden, &none).is_ok());
        ledger.restore(removed);
        assert!(ledger.compare(&hidden, &none).is_err(), "it was restored");
        assert!(ledger.compare(&both, &none).is_ok());
    }

    #[test]
    fn a_growing_answer_keeps_what_was_seen() {
        let question = message("q", None, "Why?");
        let growing = StoredMessage { is_writing: true, ..message("a", Some("q"), "So ") };
        let mut ledger = Ledger::default();
        assert!(ledger.compare(&[question.clone(), growing.clone()], &asked("Why?")).is_ok());
        ledger.note_shown("a", letters("So it **is**"));
        let kept = message("a", Some("q"), "So it **is**, after all");
        assert!(ledger.compare(&[question.clone(), growing], &Allowed::default()).is_err());
        assert!(ledger.compare(&[question, kept], &Allowed::default()).is_ok());
    }
}
