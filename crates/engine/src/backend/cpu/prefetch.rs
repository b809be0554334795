//! Prefetches the weights of a model from disk, in the order in which a pass reads them, so that the
//! first answer waits less for the disk.

use std::hint::black_box;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;

use super::model::CpuModel;

/// The step between two reads: the smallest page size of any supported system.
const PAGE_BYTES: usize = 4096;

/// Starts a thread that reads one byte of each page of the weights. It ends when all pages are read
/// or the model is dropped.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn prefetch(model: &Arc<CpuModel>) -> io::Result<()> {
    let model = Arc::downgrade(model);
    thread::Builder::new().name("lilims-prefetch".to_owned()).spawn(move || read_pages(&model))?;
    Ok(())
}

fn read_pages(model: &Weak<CpuModel>) {
    for idx in 0.. {
        let Some(model) = model.upgrade() else { return };
        let Some(step) = model.step(idx) else { return };
        for matrix in step.matrices() {
            matrix.all_bytes().iter().step_by(PAGE_BYTES).for_each(|byte| {
                black_box(*byte);
            });
        }
    }
}
