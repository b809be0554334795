//! Which positions a token attends to once a conversation outgrows the context, and where each
//! layer's cache stores them.
//!
//! The first tokens stay as attention sinks, the others pass through a ring buffer (StreamingLLM,
//! Xiao et al. 2023, <https://arxiv.org/abs/2309.17453>). Every key is stored rotated at its
//! position in the conversation, so distances within the window are correct. The sinks count as if
//! they were just before the oldest key of the window. No stored key is rotated again for that: for
//! the sinks, a query is rotated at another position, [`Window::sink_position`]. Layers with their
//! own window (Gemma) keep only that window and need no sinks.

use std::ops::Range;

/// The most tokens in one chunk of a forward pass.
pub(crate) const MAX_CHUNK: usize = 256;
/// Extra tokens that a layer with its own window keeps beyond it, so that a conversation can go
/// back that far without reading anything again.
const LOCAL_RESERVE: usize = 2048;

/// The part of a conversation that the cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The most tokens that a token attends to, including sinks and itself.
    pub(crate) context: usize,
    /// The number of first tokens that stay.
    pub(crate) n_sinks: usize,
    /// The first position after the sinks that was read.
    pub(crate) start: usize,
    /// One past the last position that was ever written.
    pub(crate) written: usize,
}

impl Window {
    /// An empty window.
    pub(crate) fn new(context: usize, n_sinks: usize) -> Self {
        Self { context, n_sinks, start: n_sinks, written: 0 }
    }

    /// The number of tokens after the sinks that a token attends to, itself included.
    pub(crate) fn size(&self) -> usize {
        self.context - self.n_sinks
    }

    /// The first position after the sinks in the window once `len` tokens are read.
    pub(crate) fn first_kept(&self, len: usize) -> usize {
        let last = len.saturating_sub(1);
        Layout::new(None, self.context).first_visible(self, last).clamp(self.n_sinks, len)
    }

    /// Whether a token at `position` no longer attends to all tokens before it.
    pub(crate) fn has_slid(&self, layout: Layout, position: usize) -> bool {
        layout.local.is_none() && layout.first_visible(self, position) > self.n_sinks
    }

    /// The position at which a query at `position` is rotated for the sinks.
    pub(crate) fn sink_position(&self, layout: Layout, position: usize) -> usize {
        position - (layout.first_visible(self, position) - self.n_sinks)
    }
}

/// How the cache of a layer stores positions: sinks, then a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The window of the layer, if narrower than the context.
    pub(crate) local: Option<usize>,
    /// Number of slots.
    pub(crate) n_slots: usize,
}

impl Layout {
    /// The layout for a layer that attends to `window` positions, in a session of `context` tokens.
    /// It has room for a whole chunk besides what the first token of the chunk attends to.
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

    /// The slots of `positions`, in contiguous ranges.
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

    /// The slots that still hold any of the first `len` tokens, in contiguous ranges.
    pub(crate) fn kept_slots(
        &self,
        window: &Window,
        len: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let (layout, window) = (*self, *window);
        let kept = layout.kept(&window, len).into_iter();
        kept.flat_map(move |positions| layout.slots(&window, positions))
    }

    /// The first position after the sinks that the cache still holds.
    pub(crate) fn oldest(&self, window: &Window) -> usize {
        let n_sinks = self.n_sinks(window);
        let skipped = if window.start > window.n_sinks { window.start } else { n_sinks };
        skipped.max(window.written.saturating_sub(self.n_slots - n_sinks))
    }

    /// The first position after the sinks that a token at `position` attends to.
    fn first_visible(&self, window: &Window, position: usize) -> usize {
        let size = self.local.unwrap_or(window.size());
        (position + 1).saturating_sub(size).max(self.oldest(window))
    }

    /// The positions after the sinks that a token at `position` attends to; including the sinks if
    /// the window has not slid.
    pub(crate) fn visible(&self, window: &Window, position: usize) -> Range<usize> {
        let first = self.first_visible(window, position).min(position + 1);
        let all = self.local.is_none() && first <= window.n_sinks;
        if all { 0..position + 1 } else { first..position + 1 }
    }

    /// The positions still held of the first `len` tokens: the sinks, then the rest.
    fn kept(&self, window: &Window, len: usize) -> [Range<usize>; 2] {
        let n_sinks = self.n_sinks(window).min(len);
        [0..n_sinks, self.oldest(window).clamp(n_sinks, len)..len]
    }

    /// Whether the cache can continue after the first `len` tokens. A layer with its own window
    /// needs that window complete; others may have lost up to half of theirs, which fills again.
    pub(crate) fn can_resume(&self, window: &Window, len: usize) -> bool {
        let oldest = self.oldest(window);
        match self.local {
            Some(local) => oldest <= (len + 1).saturating_sub(local),
            None if len <= window.n_sinks => true,
            None => {
                let needed = (len + 1).saturating_sub(window.size()).max(window.n_sinks);
                oldest <= needed || len >= oldest + window.size() / 2
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attends_to_everything_until_the_context_is_full() {
        let (layout, window) = (Layout::new(None, 10), Window::new(10, 4));
        for position in 0..10 {
            assert_eq!(layout.visible(&window, position), 0..position + 1);
            assert!(!window.has_slid(layout, position));
            assert_eq!(layout.slot(&window, position), position);
        }
        assert_eq!(layout.visible(&window, 10), 5..11);
        assert!(window.has_slid(layout, 10));
    }

    #[test]
    fn slid_window_keeps_distances() {
        let (layout, window) = (Layout::new(None, 10), Window::new(10, 4));
        for position in 10..1000 {
            let window = Window { written: position + 1, ..window };
            let visible = layout.visible(&window, position);
            assert_eq!((visible.len(), visible.end), (6, position + 1));
            // The last sink counts as just before the oldest key.
            assert_eq!(window.sink_position(layout, position), 9);
        }
    }

    #[test]
    fn chunk_does_not_overwrite_visible_positions() {
        for (local, n_sinks) in [(None, 0), (None, 4), (None, 300), (Some(64), 4), (Some(400), 4)] {
            let layout = Layout::new(local, 600);
            for position in (0..5000).step_by(MAX_CHUNK) {
                let written = position + MAX_CHUNK;
                let window = Window { written, ..Window::new(600, n_sinks) };
                let mut slots = std::collections::HashSet::new();
                let kept = layout.visible(&window, position).start..written;
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
    fn slot_ranges_wrap_around_the_ring() {
        let (layout, window) = (Layout::new(None, 10), Window::new(10, 4));
        let end = layout.n_slots;
        let ranges: Vec<_> = layout.slots(&window, end - 2..end + 3).collect();
        assert_eq!(ranges, [end - 2..end, 4..7]);
        assert!(layout.slots(&window, 0..6).eq(std::iter::once(0..6)));
        assert_eq!(layout.slots(&window, 3..3).count(), 0);
    }

    #[test]
    fn resume_needs_positions_still_in_the_ring() {
        let layout = Layout::new(None, 1000);
        let window = Window { written: 5000, ..Window::new(1000, 4) };
        assert!(layout.can_resume(&window, 5000));
        assert!(layout.can_resume(&window, 4800));
        // Part of the window is overwritten, but more than half is left.
        assert!(layout.can_resume(&window, 4300));
        assert!(!layout.can_resume(&window, 4000));
        assert!(layout.can_resume(&window, 4), "the sinks are always there");
        let local = Layout::new(Some(100), 1000);
        assert!(local.can_resume(&window, 5000 - local.n_slots + 100));
        assert!(!local.can_resume(&window, 5000 - local.n_slots + 98));
        assert!(!local.can_resume(&window, 4));
    }
}
