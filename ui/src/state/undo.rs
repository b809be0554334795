//! What was deleted last and can be restored for a few seconds.

use leptos::prelude::*;
use lilims_ipc::{ConversationId, MessageId};

/// Something that was deleted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deleted {
    /// A conversation, with its title.
    Conversation(ConversationId, Option<String>),
    /// A message with what followed it.
    Message {
        /// The message.
        message: MessageId,
        /// The end of the branch that was shown.
        leaf: MessageId,
    },
}

/// The last deletion. Copies share it.
#[derive(Clone, Copy)]
pub(crate) struct Undo {
    /// What was deleted, while it can be restored.
    pub(crate) deleted: RwSignal<Option<Deleted>>,
    n_deletions: StoredValue<u64>,
}

impl Undo {
    /// Nothing was deleted.
    pub(crate) fn new() -> Self {
        Self { deleted: RwSignal::default(), n_deletions: StoredValue::new(0) }
    }

    /// Offers to restore something. Returns the number of the offer, with which it [ends](Self::end).
    pub(crate) fn offer(&self, deleted: Deleted) -> u64 {
        self.n_deletions.update_value(|n| *n += 1);
        self.deleted.set(Some(deleted));
        self.n_deletions.get_value()
    }

    /// Ends an offer, unless a later one has taken its place.
    pub(crate) fn end(&self, offer: u64) {
        if self.n_deletions.get_value() == offer {
            self.deleted.set(None);
        }
    }

    /// Takes what is to be restored.
    pub(crate) fn take(&self) -> Option<Deleted> {
        self.deleted.try_update(Option::take).flatten()
    }
}
