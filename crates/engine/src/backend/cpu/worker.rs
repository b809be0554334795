//! One worker's part of each operation of the forward pass.
//!
//! Rows of the streams (residual, normed) are shared out: between barriers each worker reads and
//! writes only its own. With few tokens each worker has its own streams and computes all rows.
//! Every other slot is shared, written in chunks and read after a barrier.

#![expect(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

use std::ops::Range;

use super::attention::attend_layer;
use super::buffer::Output;
use super::matrix::{Matrix, Step};
use super::model::CpuModel;
use super::pass_buffers::PassBuffers;
use super::scratch::Scratch;
use super::team::Member;
use super::view::View;
use crate::Error;
use crate::backend::{Backend, Chunk, Slot};
use crate::observe::{self, SlotSquares};
use crate::quant::{PANEL_ROWS, vector};
use crate::spec::Activation;
use crate::weights::{LayerWeights, Linear, Norm};

/// A worker during one pass.
pub(crate) struct Worker<'a> {
    view: View<'a>,
    scratch: &'a mut Scratch,
    /// Index of the next product step.
    step_idx: usize,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        model: &'a CpuModel,
        buffers: &'a PassBuffers,
        member: &'a Member<'a>,
        scratch: &'a mut Scratch,
        chunk: Chunk<'a>,
        logits: &'a Output<'a>,
    ) -> Self {
        let view = View { model, buffers, member, chunk, logits, n_rows: chunk.tokens.len() };
        Self { view, scratch, step_idx: 0 }
    }

    /// The next step, and the weights that this worker reads first in the step after it.
    fn next_step(&mut self) -> (Step<'a>, &'a [u8]) {
        let View { model, member, .. } = self.view;
        let matmul_path = self.view.matmul_path();
        let step = model.step(self.step_idx).expect("each product has a step");
        self.step_idx += 1;
        // After the head comes the first layer of the next token.
        let following = model.step(self.step_idx).or_else(|| model.step(0));
        let first = |step: Step<'a>| {
            let own = member.share(step.n_chunks(matmul_path));
            if own.is_empty() { &[] } else { step.bytes(own.start, matmul_path) }
        };
        (step, following.map_or(&[], first))
    }

    /// Checks that the next step of `CpuModel::step` matches what the forward pass multiplies.
    fn expect_step<'m>(&self, matrices: impl Iterator<Item = &'m Matrix>) {
        let step = self.view.model.step(self.step_idx);
        let expected = step.iter().flat_map(Step::matrices);
        debug_assert!(
            expected.map(std::ptr::from_ref).eq(matrices.map(std::ptr::from_ref)),
            "the steps of `CpuModel::step` are those of the forward pass"
        );
    }

    /// Multiplies `from` by the matrices of the next step, adds the biases, and passes each part of
    /// the result to `sink`: matrix index, row, columns and products. Waits until all chunks are
    /// done.
    fn multiply(
        &mut self,
        from: Slot,
        biases: &[Option<&Vec<f32>>],
        mut sink: impl FnMut(usize, usize, Range<usize>, &mut [f32]),
    ) {
        let (step, following) = self.next_step();
        let (view, scratch) = (self.view, &mut *self.scratch);
        let x = view.quantize(from, step, &mut scratch.activations);
        view.member.chunks(step.n_chunks(x.matmul_path), |chunk, next| {
            let ahead = next.map_or(following, |next| step.bytes(next, x.matmul_path));
            let (idx, matrix, rows) = step.chunk(chunk, x.matmul_path);
            scratch.products.multiply(matrix, rows, ahead, x, |row, first, y| {
                let columns = first..first + y.len();
                add_bias(biases[idx], &columns, y);
                sink(idx, row, columns, y);
            });
        });
    }

    /// Multiplies the normed stream by the pair of matrices of the next step; `sink` gets the row,
    /// the columns and both products, with biases added.
    fn multiply_pair(
        &mut self,
        biases: [Option<&Vec<f32>>; 2],
        mut sink: impl FnMut(usize, Range<usize>, &mut [f32], &mut [f32]),
    ) {
        let (step, following) = self.next_step();
        let Step::Pair(matrices) = step else { unreachable!("gate and up are a pair") };
        let (view, scratch) = (self.view, &mut *self.scratch);
        let x = view.quantize(Slot::Normed, step, &mut scratch.activations);
        view.member.chunks(step.n_chunks(x.matmul_path), |chunk, next| {
            let ahead = next.map_or(following, |next| step.bytes(next, x.matmul_path));
            let (_, _, rows) = step.chunk(chunk, x.matmul_path);
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
            // SAFETY: the row belongs to this worker.
            let to = unsafe { view.row_mut(Slot::Residual, row) };
            embedding.decode_row(view.chunk.tokens[row] as usize, to);
            to.iter_mut().for_each(|value| *value *= view.model.spec.embedding_scale);
            if let Some(positions) = positions {
                // SAFETY: the row belongs to this worker, and is unused before the first norm.
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
            // SAFETY: `from` is complete or belongs to this worker, and so does the row of `to`.
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
        attend_layer(self.view, &mut self.scratch.attention, layer_idx, layer);
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
            // SAFETY: `from` is complete or belongs to this worker, and so does the residual row.
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
        // SAFETY: after the barrier no worker writes the last row, which is not row 0; row 0 of
        // this stream belongs to this worker.
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

impl SlotSquares for Worker<'_> {
    fn add_squares(&mut self, slot: Slot, sums: &mut [f64]) -> Result<(), Error> {
        // SAFETY: the slot is complete since the last barrier, and not written before the barrier
        // after the product that reads it next.
        observe::add_squares(unsafe { self.view.rows(slot) }, sums);
        Ok(())
    }
}

/// Copies part of a product; most parts are a whole panel, whose constant length avoids a call of
/// `memcpy`.
fn copy(from: &[f32], to: &mut [f32]) {
    match (from.as_chunks::<PANEL_ROWS>(), to.as_chunks_mut::<PANEL_ROWS>()) {
        (([from], []), ([to], [])) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}
