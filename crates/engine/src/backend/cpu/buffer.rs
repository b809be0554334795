//! Buffers that workers share: written in disjoint parts, read after a barrier.

#![expect(unsafe_code, reason = "workers write disjoint parts of one buffer")]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use bytemuck::Zeroable;

use crate::Error;

/// A vector of `len` zeros, whose pages take no memory until they are written.
///
/// # Errors
/// [`Error::OutOfMemory`] if the allocation fails.
pub(crate) fn zeros<T: Zeroable>(len: usize) -> Result<Vec<T>, Error> {
    bytemuck::try_zeroed_vec(len).map_err(|()| out_of_memory::<T>(len))
}

/// The error for a failed allocation of `len` values.
pub(crate) fn out_of_memory<T>(len: usize) -> Error {
    Error::OutOfMemory { bytes: (len as u64).saturating_mul(size_of::<T>() as u64) }
}

/// A buffer of fixed size in which several workers may write disjoint parts at once.
pub(crate) struct SharedBuffer<T> {
    cells: Box<[UnsafeCell<T>]>,
}

// SAFETY: all access goes through the unsafe methods below, whose callers keep parts disjoint.
unsafe impl<T: Send> Sync for SharedBuffer<T> {}

impl<T: Zeroable> SharedBuffer<T> {
    /// A buffer of `len` zeros. It uses zeroed pages of the system, which take no memory until they
    /// are written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the allocation fails.
    pub(crate) fn new(len: usize) -> Result<Self, Error> {
        Ok(Self { cells: zeros(len)?.into_boxed_slice() })
    }

    #[cfg(test)]
    pub(crate) fn size_bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    /// All values; the exclusive borrow excludes the workers.
    pub(crate) fn as_mut(&mut self) -> &mut [T] {
        let cells: *mut [UnsafeCell<T>] = &mut *self.cells;
        // SAFETY: the layout is that of `[T]`, and the borrow excludes every other user.
        unsafe { &mut *(cells as *mut [T]) }
    }

    /// Returns values `start..start + len`.
    ///
    /// # Safety
    /// No worker writes to them before the next barrier.
    pub(crate) unsafe fn read(&self, start: usize, len: usize) -> &[T] {
        let cells = &self.cells[start..start + len];
        // SAFETY: the layout is that of `[T]`; the caller excludes writers.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), len) }
    }

    /// Returns values `start..start + len` for writing.
    ///
    /// # Safety
    /// No other worker reads or writes them before the next barrier, and this worker holds no other
    /// reference to them.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps parts disjoint")]
    pub(crate) unsafe fn write(&self, start: usize, len: usize) -> &mut [T] {
        let cells = &self.cells[start..start + len];
        // SAFETY: the layout is that of `[T]`, the cells allow mutation; the caller excludes
        // every other reference.
        unsafe { std::slice::from_raw_parts_mut(cells.as_ptr().cast_mut().cast(), len) }
    }
}

/// Memory of the caller in which several workers write disjoint parts.
pub(crate) struct Output<'a> {
    start: *mut f32,
    len: usize,
    borrowed: PhantomData<&'a mut [MaybeUninit<f32>]>,
}

// SAFETY: `write`'s callers keep parts disjoint.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    pub(crate) fn new(values: &'a mut [MaybeUninit<f32>]) -> Self {
        Self { start: values.as_mut_ptr().cast(), len: values.len(), borrowed: PhantomData }
    }

    /// Writes `values` at offset `start`.
    ///
    /// # Safety
    /// No other worker writes to the same range.
    pub(crate) unsafe fn write(&self, start: usize, values: &[f32]) {
        assert!(start + values.len() <= self.len, "the output is large enough");
        // SAFETY: the range was checked; it is borrowed mutably, and the caller excludes other
        // writers.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(start), values.len());
        }
    }
}
