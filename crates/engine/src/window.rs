//! Which positions a token sees once a conversation outgrows the context, and where each layer's
//! cache keeps them.
//!
//! The first tokens stay as attention sinks, the others pass through a ring (StreamingLLM, Xiao et
//! al. 2023, <https://arxiv.org/abs/2309.17453>). Every key is stored rotated at its position in the
//! conversation. Distances in the window are then what they were; the sinks count as standing just
//! before the oldest key of the window, which costs no key a new rotation: a query meets the sinks
//! rotated at a position of its own, [`Window::sink_position`]. Layers with a window of their own
//! (Gemma) keep that window and need no sinks.

use std::ops::Range;

use crate::session::MAX_CHUNK;

/// Tokens that a layer with a window of its own keeps beyond it, so that a conversation can go back
/// that far without reading anything again.
const LOCAL_RESERVE: usize = 2048;

/// What of a conversation the cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Tokens that a token sees at most, sinks and itself included.
    pub(crate) context: usize,
    /// How many of the first tokens stay.
    pub(crate) n_sinks: usize,
    /// The first position after the sinks that was read.
    pub(crate) start: usize,
    /// One past the last position that was ever written.
    pub(crate) written: usize,
}

impl Window {
    /// Nothing was read yet.
    pub(crate) fn new(context: usize, n_sinks: usize) -> Self {
        Self { context, n_sinks, start: n_sinks, written: 0 }
    }

    /// Tokens that a token sees after the sinks, itself included.
    pub(crate) fn size(&self) -> usize {
        self.context - self.n_sinks
    }

    /// The first position after the sinks that a token after the first `len` sees, itself not counted:
    /// what the window begins with.
    pub(crate) fn first_kept(&self, len: usize) -> usize {
        let last = len.saturating_sub(1);
        Layout::new(None, self.context).first_seen(self, last).clamp(self.n_sinks, len)
    }

    /// Whether a token at `position` sees less than all before it.
    pub(crate) fn has_slid(&self, layout: Layout, position: usize) -> bool {
        layout.local.is_none() && layout.first_seen(self, position) > self.n_sinks
    }

    /// Where a query at `position` stands when it meets the sinks.
    pub(crate) fn sink_position(&self, layout: Layout, position: usize) -> usize {
        position - (layout.first_seen(self, position) - self.n_sinks)
    }
}

/// Where a layer's cache keeps positions: sinks, then a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The layer's own window, where it is narrower than the context.
    pub(crate) local: Option<usize>,
    /// Positions that there is room for.
    pub(crate) n_slots: usize,
}

impl Layout {
    /// For a layer that looks at `window` positions, in a session of `context` tokens. There is room
    /// for the chunk that is read beside what its first token sees.
    pub(crate) fn new(window: Option<usize>, context: usize) -> Self {
        let all = context.saturating_add(MAX_CHUNK);
        match window.filter(|&window| window < context) {
            Some(window) => Self { local: Some(window), n_slots: all.min(window + LOCAL_RESERVE) },
            None => Self { local: None, n_slots: all },
        }
    }

    fn n_sinks(&self, window: &Window) -> usize {
        if self.local.is_some() { 0 } else { window.n_sinks }
    }

    /// The slot of `position`.
    pub(crate) fn slot(&self, window: &Window, position: usize) -> usize {
        let n_sinks = self.n_sinks(window);
        match position.checked_sub(n_sinks) {
            Some(after) => n_sinks + after % (self.n_slots - n_sinks),
            None => position,
        }
    }

    /// The slots of `positions`, in pieces that lie together.
    pub(crate) fn slots(
        &self,
        window: &Window,
        positions: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let (layout, window) = (*self, *window);
        let mut next = positions.start;
        std::iter::from_fn(move || {
            let slot = (next < positions.end).then(|| layout.slot(&window, next))?;
            let len = (positions.end - next).min(layout.n_slots - slot);
            next += len;
            Some(slot..slot + len)
        })
    }

    /// The slots that hold what is kept of the first `len` tokens, in pieces that lie together.
    pub(crate) fn held_slots(
        &self,
        window: &Window,
        len: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let (layout, window) = (*self, *window);
        let held = layout.held(&window, len).into_iter();
        held.flat_map(move |positions| layout.slots(&window, positions))
    }

    /// The first position after the sinks that the cache still holds.
    pub(crate) fn oldest(&self, window: &Window) -> usize {
        let n_sinks = self.n_sinks(window);
        let skipped = if window.start > window.n_sinks { window.start } else { n_sinks };
        skipped.max(window.written.saturating_sub(self.n_slots - n_sinks))
    }

    /// The first position after the sinks that a token at `position` sees.
    fn first_seen(&self, window: &Window, position: usize) -> usize {
        let size = self.local.unwrap_or(window.size());
        (position + 1).saturating_sub(size).max(self.oldest(window))
    }

    /// The positions that a token at `position` sees after the sinks, or all that it sees where it has
    /// not left any behind.
    pub(crate) fn seen(&self, window: &Window, position: usize) -> Range<usize> {
        let first = self.first_seen(window, position).min(position + 1);
        let all = self.local.is_none() && first <= window.n_sinks;
        if all { 0..position + 1 } else { first..position + 1 }
    }

    /// What is held of the first `len` tokens: sinks, then the rest. Everything in one range where
    /// nothing is missing between.
    fn held(&self, window: &Window, len: usize) -> [Range<usize>; 2] {
        let n_sinks = self.n_sinks(window).min(len);
        [0..n_sinks, self.oldest(window).clamp(n_sinks, len)..len]
    }

    /// Whether the cache can go on after the first `len` tokens. A layer of its own window needs that
    /// window whole; others may have lost up to half of theirs, which fills again.
    pub(crate) fn can_resume(&self, window: &Window, len: usize) -> bool {
        let oldest = self.oldest(window);
        match self.local {
            Some(local) => oldest <= (len + 1).saturating_sub(local),
            None if len <= window.n_sinks => true,
            None => {
                let wanted = (len + 1).saturating_sub(window.size()).max(window.n_sinks);
                oldest <= wanted || len >= oldest + window.size() / 2
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_seen_until_the_context_is_full() {
        let (layout, window) = (Layout::new(None, 10), Window::new(10, 4));
        for position in 0..10 {
            assert_eq!(layout.seen(&window, position), 0..position + 1);
            assert!(!window.has_slid(layout, position));
            assert_eq!(layout.slot(&window, position), position);
        }
        assert_eq!(layout.seen(&window, 10), 5..11);
        assert!(window.has_slid(layout, 10));
    }

    #[test]
    fn a_slid_window_keeps_its_distances() {
        let (layout, window) = (Layout::new(None, 10), Window::new(10, 4));
        for position in 10..1000 {
            let window = Window { written: position + 1, ..window };
            let seen = layout.seen(&window, position);
            assert_eq!((seen.len(), seen.end), (6, position + 1));
            // The last sink stands just before the oldest key.
            assert_eq!(window.sink_position(layout, position), 9);
        }
    }

    #[test]
    fn a_chunk_overwrites_nothing_that_its_tokens_see() {
        for (local, n_sinks) in [(None, 0), (None, 4), (None, 300), (Some(64), 4), (Some(400), 4)] {
            let layout = Layout::new(local, 600);
            for position in (0..5000).step_by(MAX_CHUNK) {
                let written = position + MAX_CHUNK;
                let window = Window { written, ..Window::new(600, n_sinks) };
                let mut slots = std::collections::HashSet::new();
                let kept = layout.seen(&window, position).start..written;
                for position in (0..layout.n_sinks(&window)).chain(kept) {
                    let slot = layout.slot(&window, position);
                    slots.insert((slot, position));
                    assert!(slot < layout.n_slots);
                }
                let distinct: std::collections::HashSet<_> =
                    slots.iter().map(|(slot, _)| slot).collect();
                assert_eq!(distinct.len(), slots.len(), "{local:?} {n_sinks} {position}");
            }
        }
    }

    #[test]
    fn pieces_of_slots_follow_the_ring() {
        let (layout, window) = (Layout::new(None, 10), Window::new(10, 4));
        let end = layout.n_slots;
        let pieces: Vec<_> = layout.slots(&window, end - 2..end + 3).collect();
        assert_eq!(pieces, [end - 2..end, 4..7]);
        assert!(layout.slots(&window, 0..6).eq(std::iter::once(0..6)));
        assert_eq!(layout.slots(&window, 3..3).count(), 0);
    }

    #[test]
    fn going_back_needs_what_the_ring_still_holds() {
        let layout = Layout::new(None, 1000);
        let window = Window { written: 5000, ..Window::new(1000, 4) };
        assert!(layout.can_resume(&window, 5000));
        assert!(layout.can_resume(&window, 4800));
        // Part of the window is overwritten, more than half is there.
        assert!(layout.can_resume(&window, 4300));
        assert!(!layout.can_resume(&window, 4000));
        assert!(layout.can_resume(&window, 4), "the sinks are always there");
        let local = Layout::new(Some(100), 1000);
        assert!(local.can_resume(&window, 5000 - local.n_slots + 100));
        assert!(!local.can_resume(&window, 5000 - local.n_slots + 98));
        assert!(!local.can_resume(&window, 4));
    }
}
