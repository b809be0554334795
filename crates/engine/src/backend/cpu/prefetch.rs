//! Prefetches the weights of a model from disk, in the order in which a pass reads them, so that the
//! first answer waits less for the disk.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;

use super::matrix::Matrix;
use super::model::CpuModel;

/// Starts a thread that reads the weights. It ends when all are read or the model is dropped.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn prefetch(model: &Arc<CpuModel>) -> io::Result<()> {
    let model = Arc::downgrade(model);
    thread::Builder::new().name("lilims-prefetch".to_owned()).spawn(move || read(&model))?;
    Ok(())
}

fn read(model: &Weak<CpuModel>) {
    for idx in 0.. {
        let Some(model) = model.upgrade() else { return };
        let Some(step) = model.step(idx) else { return };
        step.matrices().for_each(Matrix::preload);
    }
}
