//! Buffers that workers share: written in disjoint parts, read after a barrier.

#![expect(unsafe_code, reason = "workers write disjoint parts of one buffer")]

use std::cell::UnsafeCell;

use bytemuck::Zeroable;

/// A fixed buffer that several workers may write to at once, each elsewhere.
pub(crate) struct SharedBuffer<T> {
    cells: Box<[UnsafeCell<T>]>,
}

// SAFETY: access goes through the unsafe methods below, whose callers keep parts disjoint.
unsafe impl<T: Send> Sync for SharedBuffer<T> {}

impl<T: Zeroable> SharedBuffer<T> {
    /// A buffer of `len` zeros. It asks the system for zeroed pages, which take no memory until
    /// they are written.
    pub(crate) fn new(len: usize) -> Self {
        let values: Box<[T]> = bytemuck::zeroed_slice_box(len);
        // SAFETY: `UnsafeCell<T>` has the layout of `T`.
        let cells = unsafe { Box::from_raw(Box::into_raw(values) as *mut [UnsafeCell<T>]) };
        Self { cells }
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
