//! Which messages of a long conversation are drawn: the last ones, and earlier ones once the reader comes near
//! or a search leads to them.

use leptos::prelude::*;
use lilims_ipc::MessageId;

use super::messages::{self, Entry};

/// How many messages are drawn at first, and how many more at a time.
const STEP: usize = 40;

/// The number of messages at the beginning of a conversation that are not drawn. Copies share it.
#[derive(Clone, Copy)]
pub(crate) struct Drawn {
    entries: Signal<Vec<Entry>>,
    /// The key of the first message, which names the conversation, and the number.
    hidden: Memo<(Option<u64>, usize)>,
    /// The conversation for which more was asked, and the most that may be hidden of it.
    asked: RwSignal<(Option<u64>, usize)>,
}

impl Drawn {
    /// Those of `entries`, of which another first one is another conversation.
    pub(crate) fn new(entries: Signal<Vec<Entry>>) -> Self {
        let asked = RwSignal::new((None, usize::MAX));
        let hidden = Memo::new(move |before: Option<&(Option<u64>, usize)>| {
            let (first, count) = entries.with(|it| (it.first().map(|it| it.key), it.len()));
            let before = before.filter(|(its, _)| *its == first).map(|(_, hidden)| *hidden);
            let asked = Some(asked.get()).filter(|(its, _)| *its == first).map(|(_, most)| most);
            (first, n_hidden(count, before, asked))
        });
        Self { entries, hidden, asked }
    }

    /// The messages that are drawn. Tracks them.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let (_, hidden) = self.hidden.get();
        self.entries.with(|entries| entries.get(hidden..).unwrap_or_default().to_vec())
    }

    /// Draws more of the earlier messages. Returns whether there are some.
    pub(crate) fn draw_more(&self) -> bool {
        let (first, hidden) = self.hidden.get_untracked();
        self.asked.set((first, hidden.saturating_sub(STEP)));
        hidden > 0
    }

    /// Draws the messages from this one on.
    pub(crate) fn draw_from(&self, message: &MessageId) {
        let at = self.entries.with_untracked(|it| messages::position(it, message));
        let (first, hidden) = self.hidden.get_untracked();
        if let Some(at) = at.filter(|at| *at < hidden) {
            self.asked.set((first, at.saturating_sub(STEP / 2)));
        }
    }
}

/// How many of `count` messages are hidden, if `before` were, and at most `asked` may be.
fn n_hidden(count: usize, before: Option<usize>, asked: Option<usize>) -> usize {
    let most = count.saturating_sub(STEP);
    most.min(before.unwrap_or(most)).min(asked.unwrap_or(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_are_drawn_and_then_earlier_ones() {
        assert_eq!(n_hidden(30, None, None), 0);
        assert_eq!(n_hidden(2000, None, None), 1960);
        assert_eq!(n_hidden(2000, Some(1960), Some(1920)), 1920);
        assert_eq!(n_hidden(2002, Some(1920), Some(1920)), 1920, "new messages hide none");
        assert_eq!(n_hidden(100, Some(1920), None), 60, "a shorter branch");
    }
}
