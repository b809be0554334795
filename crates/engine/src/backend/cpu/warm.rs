//! Brings a model's weights from the disk into memory, in the order in which a pass reads them, so that
//! the first answer waits for as little of that as it can.

use std::hint::black_box;
use std::io;
use std::sync::{Arc, Weak};
use std::thread;

use super::CpuModel;

/// The distance of two reads: the smallest page of any system.
const PAGE_BYTES: usize = 4096;

/// Starts a thread that reads a byte of each page of the weights. It ends when all are read, or the model
/// is dropped.
///
/// # Errors
/// When no thread starts.
pub(crate) fn warm(model: &Arc<CpuModel>) -> io::Result<()> {
    let model = Arc::downgrade(model);
    thread::Builder::new().name("lilims-warm".to_owned()).spawn(move || touch(&model))?;
    Ok(())
}

fn touch(model: &Weak<CpuModel>) {
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
