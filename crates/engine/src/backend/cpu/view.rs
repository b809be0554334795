//! A worker's view of one pass: the rows that it computes, and access to the shared slots.

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

use std::ops::Range;

use super::buffer::{Output, SharedBuffer};
use super::matrix::{MatmulPath, Rows, Step};
use super::model::CpuModel;
use super::pass_buffers::PassBuffers;
use super::sizes::{MAX_REPLICATED, width};
use super::team::Member;
use crate::backend::{Chunk, Slot};
use crate::quant::Activations;
use crate::window::{Layout, MAX_CHUNK};

/// A worker's view of the pass over one chunk.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) model: &'a CpuModel,
    pub(super) buffers: &'a PassBuffers,
    pub(super) member: &'a Member<'a>,
    pub(super) chunk: Chunk<'a>,
    /// Output for the logits. `[rows, n_vocab]`
    pub(super) logits: &'a Output<'a>,
    /// Current number of rows: the tokens of the chunk, or 1 after
    /// [`Backend::keep_last`](crate::backend::Backend::keep_last).
    pub(super) n_rows: usize,
}

impl<'a> View<'a> {
    pub(super) fn matmul_path(&self) -> MatmulPath {
        MatmulPath::new(self.n_rows, self.chunk.is_exact)
    }

    fn is_replicated(&self) -> bool {
        self.n_rows <= MAX_REPLICATED
    }

    /// The rows of the streams that this worker computes.
    pub(super) fn own_rows(&self) -> Range<usize> {
        if self.is_replicated() { 0..self.n_rows } else { self.member.share(self.n_rows) }
    }

    /// Waits for the other workers' rows of a stream; replicated rows need no wait.
    pub(super) fn sync_stream(&self) {
        if !self.is_replicated() {
            self.member.barrier();
        }
    }

    fn buffer(&self, slot: Slot) -> &'a SharedBuffer<f32> {
        let stream_idx = if self.is_replicated() { self.member.idx() } else { 0 };
        match slot {
            Slot::Residual => &self.buffers.residual[stream_idx],
            Slot::Normed => &self.buffers.normed[stream_idx],
            _ => &self.buffers.slots[slot as usize],
        }
    }

    fn width(&self, slot: Slot) -> usize {
        match slot {
            Slot::Residual | Slot::Normed => self.model.spec.d_model,
            _ => width(&self.model.spec, slot),
        }
    }

    /// All rows of a slot.
    ///
    /// # Safety
    /// No worker writes the slot before the next barrier.
    pub(super) unsafe fn rows(&self, slot: Slot) -> &'a [f32] {
        // SAFETY: guaranteed by the caller.
        unsafe { self.buffer(slot).read(0, self.n_rows * self.width(slot)) }
    }

    /// A row of a slot.
    ///
    /// # Safety
    /// No worker writes the row before the next barrier.
    pub(super) unsafe fn row(&self, slot: Slot, row: usize) -> &'a [f32] {
        let width = self.width(slot);
        // SAFETY: guaranteed by the caller.
        unsafe { self.buffer(slot).read(row * width, width) }
    }

    /// Part of a row of a slot, for writing.
    ///
    /// # Safety
    /// No other worker reads or writes the part before the next barrier, and this worker holds no
    /// other reference to it.
    pub(super) unsafe fn part(&self, slot: Slot, row: usize, part: Range<usize>) -> &'a mut [f32] {
        // SAFETY: guaranteed by the caller.
        unsafe { self.buffer(slot).write(row * self.width(slot) + part.start, part.len()) }
    }

    /// A row of a slot, for writing.
    ///
    /// # Safety
    /// As for [`View::part`].
    pub(super) unsafe fn row_mut(&self, slot: Slot, row: usize) -> &'a mut [f32] {
        // SAFETY: guaranteed by the caller.
        unsafe { self.part(slot, row, 0..self.width(slot)) }
    }

    /// The rows of a slot as matrix input. Few rows are quantised by each worker into `own`; many
    /// rows are shared out.
    pub(super) fn quantize<'b>(
        &self,
        from: Slot,
        step: Step<'_>,
        own: &'b mut Activations,
    ) -> Rows<'b>
    where
        'a: 'b,
    {
        // SAFETY: `from` is complete since the last barrier; no worker writes it before the next.
        let floats = unsafe { self.rows(from) };
        let (matmul_path, n_cols) = (self.matmul_path(), self.width(from));
        if !step.quantizes_activations() {
            return Rows { matmul_path, floats, quantized: own.batch() };
        }
        if self.is_replicated() {
            own.resize(self.n_rows, n_cols);
            own.quantize(floats);
            return Rows { matmul_path, floats, quantized: own.batch() };
        }
        let shared = &self.buffers.activations;
        for row in self.member.share(self.n_rows) {
            // SAFETY: shares are disjoint; the last reads ended before the last barrier.
            unsafe { shared.quantize(row, &floats[row * n_cols..][..n_cols]) };
        }
        self.member.barrier();
        // SAFETY: all rows are written, and unchanged until the next barrier.
        Rows { matmul_path, floats, quantized: unsafe { shared.batch(self.n_rows, n_cols) } }
    }

    /// Computes the angles of the chunk's positions and, if the window has slid, those of queries
    /// relative to the sinks.
    pub(super) fn prepare_angles(&self) {
        let (n_ropes, n_rows) = (self.model.spec.ropes.len(), self.n_rows);
        let global = self.buffers.global_layout();
        let n_kinds = if self.has_separate_sinks(global) { 2 } else { 1 };
        for item in self.member.share(n_kinds * n_ropes * n_rows) {
            let (kind, row) = (item / n_rows, item % n_rows);
            let position = self.chunk.position + row;
            let (rope_idx, position) = match kind.checked_sub(n_ropes) {
                Some(rope_idx) => (rope_idx, self.chunk.window.sink_position(global, position)),
                None => (kind, position),
            };
            let (start, len) = self.angles_offset(kind, row);
            // SAFETY: items are distinct, and shares disjoint.
            let angles = unsafe { self.buffers.angles.write(start, len) };
            let (cos, sin) = angles.split_at_mut(len / 2);
            let computed = self.model.rope.angles(rope_idx, position);
            for ((cos, sin), angle) in cos.iter_mut().zip(sin).zip(computed) {
                (*cos, *sin) = angle;
            }
        }
    }

    /// The angles of a row, for the window or for the sinks.
    pub(super) fn angles(&self, rope_idx: usize, row: usize, for_sinks: bool) -> Angles<'a> {
        let kind = if for_sinks { rope_idx + self.model.spec.ropes.len() } else { rope_idx };
        let (start, len) = self.angles_offset(kind, row);
        // SAFETY: written before the barrier of `embed`, and not after.
        let (cos, sin) = unsafe { self.buffers.angles.read(start, len) }.split_at(len / 2);
        Angles { cos, sin }
    }

    /// Offset and length of a row's angles.
    fn angles_offset(&self, kind: usize, row: usize) -> (usize, usize) {
        let len = self.model.spec.rope_dim / 2 * 2;
        ((kind * MAX_CHUNK + row) * len, len)
    }

    /// Whether any row of the chunk has the sinks separate from its window.
    pub(super) fn has_separate_sinks(&self, layout: Layout) -> bool {
        self.chunk.window.has_slid(layout, self.chunk.position + self.n_rows - 1)
    }
}

/// Cosines and sines of a row's angles. `[rope_dim / 2]` each
#[derive(Clone, Copy)]
pub(super) struct Angles<'a> {
    pub(super) cos: &'a [f32],
    pub(super) sin: &'a [f32],
}
