//! Buffers for the source's bytes. Several threads share one, and it returns to the reading thread
//! when the last of them drops it.

use std::mem::take;
use std::ops::Deref;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The source's bytes, to share by `Arc`.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    pool: Option<Sender<Vec<u8>>>,
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pool: None }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            // Fails where the reader has ended and needs no more buffers.
            let _ = pool.send(take(&mut self.bytes));
        }
    }
}

/// The buffers that are free to be filled again.
pub(crate) struct BufferPool {
    free: Receiver<Vec<u8>>,
    returns: Sender<Vec<u8>>,
}

impl BufferPool {
    pub(crate) fn new() -> Self {
        let (returns, free) = channel();
        Self { free, returns }
    }

    /// Returns the buffer that `fill` has filled; it may find any bytes in it.
    pub(crate) fn fill<E>(
        &self,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Buffer, E> {
        let mut bytes = self.free.try_recv().unwrap_or_default();
        fill(&mut bytes)?;
        Ok(Buffer { bytes, pool: Some(self.returns.clone()) })
    }
}
