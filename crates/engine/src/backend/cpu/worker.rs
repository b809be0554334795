//! One worker's part of each operation of the forward pass.
//!
//! Rows of the streams (residual, normed) belong to workers by share; each worker reads and
//! writes only its own between barriers. With few tokens each worker has streams of its own and
//! computes all rows. Every other slot is shared, written in chunks and read after a barrier.

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

use std::ops::Range;

use super::buffer::{Output, SharedBuffer};
use super::matrix::{Matrix, Meeting, Rows, Scratch, Step};
use super::sizes::width;
use super::team::Member;
use super::{Buffers, CpuModel, MAX_REPLICATED};
use crate::Error;
use crate::backend::{Backend, Chunk, Slot};
use crate::observe::{self, Peek};
use crate::quant::{Activations, PANEL_ROWS, vector};
use crate::session::MAX_CHUNK;
use crate::spec::Activation;
use crate::weights::{LayerWeights, Linear, Norm};
use crate::window::Layout;

/// What a worker sees of the pass over a chunk of tokens.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(super) model: &'a CpuModel,
    pub(super) buffers: &'a Buffers,
    pub(super) member: &'a Member<'a>,
    pub(super) chunk: Chunk<'a>,
    /// Where the logits go. `[rows, n_vocab]`
    logits: &'a Output<'a>,
    /// Rows that operations work on: the chunk's tokens, or 1 after [`Backend::keep_last`].
    pub(super) n_rows: usize,
}

impl<'a> View<'a> {
    fn meeting(&self) -> Meeting {
        Meeting::of(self.n_rows, self.chunk.is_exact)
    }

    fn is_replicated(&self) -> bool {
        self.n_rows <= MAX_REPLICATED
    }

    /// The rows of the streams that this worker computes.
    fn own_rows(&self) -> Range<usize> {
        if self.is_replicated() { 0..self.n_rows } else { self.member.share(self.n_rows) }
    }

    /// Waits for the other workers' rows of a stream; replicated rows are all there already.
    fn sync_stream(&self) {
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
    /// No worker writes the slot until the next barrier.
    unsafe fn rows(&self, slot: Slot) -> &'a [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.buffer(slot).read(0, self.n_rows * self.width(slot)) }
    }

    /// A row of a slot.
    ///
    /// # Safety
    /// No worker writes the row until the next barrier.
    pub(super) unsafe fn row(&self, slot: Slot, row: usize) -> &'a [f32] {
        let width = self.width(slot);
        // SAFETY: the caller's promise.
        unsafe { self.buffer(slot).read(row * width, width) }
    }

    /// Part of a row of a slot, to write.
    ///
    /// # Safety
    /// Nobody else reads or writes the part until the next barrier, and this worker holds no
    /// other reference to it.
    pub(super) unsafe fn part(&self, slot: Slot, row: usize, part: Range<usize>) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.buffer(slot).write(row * self.width(slot) + part.start, part.len()) }
    }

    /// A row of a slot, to write.
    ///
    /// # Safety
    /// As for [`View::part`].
    unsafe fn row_mut(&self, slot: Slot, row: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.part(slot, row, 0..self.width(slot)) }
    }

    /// The rows of a slot as the matrices take them. Few rows each worker quantises for itself into
    /// `own`; of many, each worker some.
    fn quantize<'b>(&self, from: Slot, step: Step<'_>, own: &'b mut Activations) -> Rows<'b>
    where
        'a: 'b,
    {
        // SAFETY: the last barrier made `from` complete; nobody writes it before the next.
        let floats = unsafe { self.rows(from) };
        let (meeting, n_cols) = (self.meeting(), self.width(from));
        if !step.quantizes_activations() {
            return Rows { meeting, floats, quantized: own.batch() };
        }
        if self.is_replicated() {
            own.resize(self.n_rows, n_cols);
            own.quantize(floats);
            return Rows { meeting, floats, quantized: own.batch() };
        }
        let shared = &self.buffers.activations;
        for row in self.member.share(self.n_rows) {
            // SAFETY: shares are disjoint; the last reads ended before the last barrier.
            unsafe { shared.quantize(row, &floats[row * n_cols..][..n_cols]) };
        }
        self.member.barrier();
        // SAFETY: all rows are written, and stay until the next barrier.
        Rows { meeting, floats, quantized: unsafe { shared.batch(self.n_rows, n_cols) } }
    }

    /// Computes the angles of the chunk's positions, and those at which queries meet the sinks where
    /// the window has slid.
    fn prepare_angles(&self) {
        let (n_ropes, n_rows) = (self.model.spec.ropes.len(), self.n_rows);
        let global = self.buffers.global_layout();
        let n_kinds = if self.sees_sinks_apart(global) { 2 } else { 1 };
        for item in self.member.share(n_kinds * n_ropes * n_rows) {
            let (kind, row) = (item / n_rows, item % n_rows);
            let position = self.chunk.position + row;
            let (rope_idx, position) = match kind.checked_sub(n_ropes) {
                Some(rope_idx) => (rope_idx, self.chunk.window.sink_position(global, position)),
                None => (kind, position),
            };
            let (start, len) = self.angles_place(kind, row);
            // SAFETY: items are distinct, and shares disjoint.
            let angles = unsafe { self.buffers.angles.write(start, len) };
            let (cos, sin) = angles.split_at_mut(len / 2);
            let computed = self.model.rope.angles(rope_idx, position);
            for ((cos, sin), angle) in cos.iter_mut().zip(sin).zip(computed) {
                (*cos, *sin) = angle;
            }
        }
    }

    /// The angles of a row, or those with which it meets the sinks.
    pub(super) fn angles(&self, rope_idx: usize, row: usize, of_sinks: bool) -> Angles<'a> {
        let kind = if of_sinks { rope_idx + self.model.spec.ropes.len() } else { rope_idx };
        let (start, len) = self.angles_place(kind, row);
        // SAFETY: written before the barrier of `embed`, and not after.
        let (cos, sin) = unsafe { self.buffers.angles.read(start, len) }.split_at(len / 2);
        Angles { cos, sin }
    }

    /// Where a row's angles lie, and their number.
    fn angles_place(&self, kind: usize, row: usize) -> (usize, usize) {
        let len = self.model.spec.rope_dim / 2 * 2;
        ((kind * MAX_CHUNK + row) * len, len)
    }

    /// Whether the sinks are no longer followed by the window, for any row of the chunk.
    pub(super) fn sees_sinks_apart(&self, layout: Layout) -> bool {
        self.chunk.window.has_slid(layout, self.chunk.position + self.n_rows - 1)
    }
}

/// Cosines and sines of a row's angles. `[rope_dim / 2]` each
#[derive(Clone, Copy)]
pub(super) struct Angles<'a> {
    pub(super) cos: &'a [f32],
    pub(super) sin: &'a [f32],
}

/// A worker during one pass.
pub(crate) struct Worker<'a> {
    pub(super) view: View<'a>,
    pub(super) scratch: &'a mut Scratch,
    /// The step of multiplication that comes next.
    step_idx: usize,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        model: &'a CpuModel,
        buffers: &'a Buffers,
        member: &'a Member<'a>,
        scratch: &'a mut Scratch,
        chunk: Chunk<'a>,
        logits: &'a Output<'a>,
    ) -> Self {
        let view = View { model, buffers, member, chunk, logits, n_rows: chunk.tokens.len() };
        Self { view, scratch, step_idx: 0 }
    }

    /// The next step, and the weights that this worker reads first in the one after it.
    fn next_step(&mut self) -> (Step<'a>, &'a [u8]) {
        let View { model, member, .. } = self.view;
        let meeting = self.view.meeting();
        let step = model.step(self.step_idx).expect("a step for each multiplication");
        self.step_idx += 1;
        // The head is followed by the next token's first layer.
        let later = model.step(self.step_idx).or_else(|| model.step(0));
        let first = |step: Step<'a>| {
            let own = member.share(step.n_chunks(meeting));
            if own.is_empty() { &[] } else { step.bytes(own.start, meeting) }
        };
        (step, later.map_or(&[], first))
    }

    /// Checks that the next step, which says where to read on, is what the forward pass multiplies.
    fn expect_step<'m>(&self, matrices: impl Iterator<Item = &'m Matrix>) {
        let step = self.view.model.step(self.step_idx);
        let expected = step.iter().flat_map(Step::matrices);
        debug_assert!(
            expected.map(std::ptr::from_ref).eq(matrices.map(std::ptr::from_ref)),
            "the steps of `CpuModel::step` are those of the forward pass"
        );
    }

    /// Multiplies `from` with the matrices of the next step, adds the biases, and gives each piece to
    /// `sink`: the matrix' place, the row, the columns' range and the products. The matrices share the
    /// chunks; waits for all.
    fn multiply(
        &mut self,
        from: Slot,
        biases: &[Option<&Vec<f32>>],
        mut sink: impl FnMut(usize, usize, Range<usize>, &mut [f32]),
    ) {
        let (step, later) = self.next_step();
        let (view, scratch) = (self.view, &mut *self.scratch);
        let x = view.quantize(from, step, &mut scratch.activations);
        view.member.chunks(step.n_chunks(x.meeting), |chunk, next| {
            let ahead = next.map_or(later, |next| step.bytes(next, x.meeting));
            let (idx, matrix, rows) = step.chunk(chunk, x.meeting);
            scratch.products.multiply(matrix, rows, ahead, x, |row, first, y| {
                let columns = first..first + y.len();
                add_bias(biases[idx], &columns, y);
                sink(idx, row, columns, y);
            });
        });
    }

    /// Multiplies the normed stream with the pair of the next step; `sink` gets the row, the columns'
    /// range and both products, biases added.
    fn multiply_pair(
        &mut self,
        biases: [Option<&Vec<f32>>; 2],
        mut sink: impl FnMut(usize, Range<usize>, &mut [f32], &mut [f32]),
    ) {
        let (step, later) = self.next_step();
        let Step::Pair(matrices) = step else { unreachable!("gate and up are a pair") };
        let (view, scratch) = (self.view, &mut *self.scratch);
        let x = view.quantize(Slot::Normed, step, &mut scratch.activations);
        view.member.chunks(step.n_chunks(x.meeting), |chunk, next| {
            let ahead = next.map_or(later, |next| step.bytes(next, x.meeting));
            let (_, _, rows) = step.chunk(chunk, x.meeting);
            scratch.products.multiply_pair(matrices, rows, ahead, x, |row, first, y_a, y_b| {
                let columns = first..first + y_a.len();
                add_bias(biases[0], &columns, y_a);
                add_bias(biases[1], &columns, y_b);
                sink(row, columns, y_a, y_b);
            });
        });
    }
}

fn add_bias(bias: Option<&Vec<f32>>, columns: &Range<usize>, y: &mut [f32]) {
    if let Some(bias) = bias {
        vector::axpy_f32(1.0, &bias[columns.clone()], y);
    }
}

impl Backend for Worker<'_> {
    type Matrix = Matrix;
    type Vector = Vec<f32>;

    fn embed(&mut self, embedding: &Matrix, positions: Option<&Matrix>) -> Result<(), Error> {
        let view = self.view;
        for row in view.own_rows() {
            // SAFETY: the row is this worker's own.
            let to = unsafe { view.row_mut(Slot::Residual, row) };
            embedding.decode_row(view.chunk.tokens[row] as usize, to);
            to.iter_mut().for_each(|value| *value *= view.model.spec.embedding_scale);
            if let Some(positions) = positions {
                // SAFETY: the row is this worker's own, and holds nothing before the first norm.
                let learned = unsafe { view.row_mut(Slot::Normed, row) };
                positions.decode_row(view.chunk.position + row, learned);
                vector::axpy_f32(1.0, learned, to);
            }
        }
        view.prepare_angles();
        view.member.barrier();
        Ok(())
    }

    fn norm(&mut self, from: Slot, norm: &Norm<Vec<f32>>, to: Slot) -> Result<(), Error> {
        let view = self.view;
        let eps = view.model.spec.eps;
        for row in view.own_rows() {
            // SAFETY: `from` is complete or this worker's own, and `to`'s row is its own.
            let (x, y) = unsafe { (view.row(from, row), view.row_mut(to, row)) };
            match norm {
                Norm::Rms { weight } => vector::rms_norm(x, weight, eps, y),
                Norm::Layer { weight, bias } => vector::layer_norm(x, weight, bias, eps, y),
            }
        }
        view.sync_stream();
        Ok(())
    }

    fn linear(
        &mut self,
        from: Slot,
        projections: &[(&Linear<Matrix, Vec<f32>>, Slot)],
    ) -> Result<(), Error> {
        let view = self.view;
        let store = |to: Slot, row: usize, columns: Range<usize>, y: &[f32]| {
            // SAFETY: chunks are disjoint ranges of columns.
            copy(y, unsafe { view.part(to, row, columns) });
        };
        self.expect_step(projections.iter().map(|(linear, _)| &linear.weight));
        let mut biases = [None; 3];
        for (bias, (linear, _)) in biases.iter_mut().zip(projections) {
            *bias = linear.bias.as_ref();
        }
        self.multiply(from, &biases, |idx, row, columns, y| {
            store(projections[idx].1, row, columns, y);
        });
        Ok(())
    }

    fn attend(
        &mut self,
        layer_idx: usize,
        layer: &LayerWeights<Matrix, Vec<f32>>,
    ) -> Result<(), Error> {
        self.attend_layer(layer_idx, layer);
        Ok(())
    }

    fn gate(
        &mut self,
        gate: &Linear<Matrix, Vec<f32>>,
        up: &Linear<Matrix, Vec<f32>>,
        activation: Activation,
    ) -> Result<(), Error> {
        let view = self.view;
        let activate = match activation {
            Activation::Silu => vector::silu_mul,
            Activation::Gelu => vector::gelu_mul,
        };
        self.expect_step([&gate.weight, &up.weight].into_iter());
        let biases = [gate.bias.as_ref(), up.bias.as_ref()];
        self.multiply_pair(biases, |row, columns, gate, up| {
            activate(gate, up);
            // SAFETY: chunks are disjoint ranges of columns.
            copy(gate, unsafe { view.part(Slot::Gated, row, columns) });
        });
        Ok(())
    }

    fn gelu(&mut self, up: &Linear<Matrix, Vec<f32>>) -> Result<(), Error> {
        let view = self.view;
        self.expect_step(std::iter::once(&up.weight));
        self.multiply(Slot::Normed, &[up.bias.as_ref()], |_, row, columns, y| {
            vector::gelu(y);
            // SAFETY: chunks are disjoint ranges of columns.
            copy(y, unsafe { view.part(Slot::Gated, row, columns) });
        });
        Ok(())
    }

    fn add(&mut self, from: Slot) -> Result<(), Error> {
        let view = self.view;
        for row in view.own_rows() {
            // SAFETY: `from` is complete or this worker's own, the residual's row is its own.
            let (x, sum) = unsafe { (view.row(from, row), view.row_mut(Slot::Residual, row)) };
            vector::axpy_f32(1.0, x, sum);
        }
        Ok(())
    }

    fn keep_last(&mut self) -> Result<(), Error> {
        let before = self.view;
        if before.n_rows == 1 {
            return Ok(());
        }
        before.sync_stream();
        self.view.n_rows = 1;
        // SAFETY: after the barrier nobody writes the last row, which is not row 0; row 0 of this
        // worker's stream is its own.
        let (last, first) = unsafe {
            let last = before.row(Slot::Residual, before.n_rows - 1);
            (last, self.view.row_mut(Slot::Residual, 0))
        };
        first.copy_from_slice(last);
        Ok(())
    }

    fn head(
        &mut self,
        head: Option<&Linear<Matrix, Vec<f32>>>,
        embedding: &Matrix,
        soft_cap: Option<f32>,
    ) -> Result<(), Error> {
        let view = self.view;
        let store = |row: usize, columns: Range<usize>, y: &mut [f32]| {
            if let Some(cap) = soft_cap {
                y.iter_mut().for_each(|logit| *logit = cap * (*logit / cap).tanh());
            }
            // SAFETY: chunks are disjoint ranges of columns.
            unsafe { view.logits.write(row * view.model.spec.n_vocab + columns.start, y) };
        };
        self.expect_step(std::iter::once(head.map_or(embedding, |head| &head.weight)));
        let bias = head.and_then(|head| head.bias.as_ref());
        self.multiply(Slot::Normed, &[bias], |_, row, columns, y| store(row, columns, y));
        Ok(())
    }
}

impl Peek for Worker<'_> {
    fn add_squares(&mut self, slot: Slot, sums: &mut [f64]) -> Result<(), Error> {
        // SAFETY: the last barrier made the slot complete, and nobody writes it before the one that
        // follows the product which reads it next.
        observe::add_squares(unsafe { self.view.rows(slot) }, sums);
        Ok(())
    }
}

/// Copies a piece of a product; most are a panel's rows, whose known length saves a call.
fn copy(from: &[f32], to: &mut [f32]) {
    match (from.as_chunks::<PANEL_ROWS>(), to.as_chunks_mut::<PANEL_ROWS>()) {
        (([from], []), ([to], [])) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}
