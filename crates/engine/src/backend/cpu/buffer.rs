//! Buffers that workers share: written in disjoint parts, read after a barrier.

#![expect(unsafe_code, reason = "workers write disjoint parts of one buffer")]

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use bytemuck::Zeroable;

use crate::Error;

/// `len` zeros, whose pages take no memory until they are written.
///
/// # Errors
/// [`Error::OutOfMemory`] where the system does not give that much.
pub(crate) fn zeros<T: Zeroable>(len: usize) -> Result<Vec<T>, Error> {
    bytemuck::try_zeroed_vec(len).map_err(|()| out_of_memory::<T>(len))
}

/// The error where the system does not give room for `len` values.
pub(crate) fn out_of_memory<T>(len: usize) -> Error {
    Error::OutOfMemory { bytes: (len as u64).saturating_mul(size_of::<T>() as u64) }
}

/// A fixed buffer that several workers may write to at once, each elsewhere.
pub(crate) struct SharedBuffer<T> {
    cells: Box<[UnsafeCell<T>]>,
}

// SAFETY: access goes through the unsafe methods below, whose callers keep parts disjoint.
unsafe impl<T: Send> Sync for SharedBuffer<T> {}

impl<T: Zeroable> SharedBuffer<T> {
    /// A buffer of `len` zeros. It asks the system for zeroed pages, which take no memory until
    /// they are written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the system does not give that much.
    pub(crate) fn new(len: usize) -> Result<Self, Error> {
        Ok(Self { cells: zeros(len)?.into_boxed_slice() })
    }

    #[cfg(test)]
    pub(crate) fn size_bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    /// All values, for the only user.
    pub(crate) fn as_mut(&mut self) -> &mut [T] {
        let cells: *mut [UnsafeCell<T>] = &mut *self.cells;
        // SAFETY: the layout is that of `[T]`, and the borrow excludes every other user.
        unsafe { &mut *(cells as *mut [T]) }
    }

    /// Values `start..start + len`.
    ///
    /// # Safety
    /// No worker writes to them until the next barrier.
    pub(crate) unsafe fn read(&self, start: usize, len: usize) -> &[T] {
        let cells = &self.cells[start..start + len];
        // SAFETY: the layout is that of `[T]`; the caller excludes writers.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), len) }
    }

    /// Values `start..start + len`, to write.
    ///
    /// # Safety
    /// No other worker reads or writes them until the next barrier, and this worker holds no
    /// other reference to them.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps parts disjoint")]
    pub(crate) unsafe fn write(&self, start: usize, len: usize) -> &mut [T] {
        let cells = &self.cells[start..start + len];
        // SAFETY: the layout is that of `[T]`, the cells allow mutation; the caller excludes
        // every other reference.
        unsafe { std::slice::from_raw_parts_mut(cells.as_ptr().cast_mut().cast(), len) }
    }
}

/// Memory of the caller's that several workers write to, each elsewhere.
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

    /// Writes `values` from value `start` on.
    ///
    /// # Safety
    /// No other worker writes there.
    pub(crate) unsafe fn write(&self, start: usize, values: &[f32]) {
        assert!(start + values.len() <= self.len, "the output has the place");
        // SAFETY: the place was checked; it is borrowed mutably, and the caller excludes the others.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(start), values.len());
        }
    }
}
