//! Flushes a growing file to the disk in the background.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// A thread that flushes a file to the disk while it is written, so that flushing at the end is
/// short.
#[derive(Debug)]
pub struct BackgroundFlush {
    requests: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl BackgroundFlush {
    /// Starts the thread for `file`.
    ///
    /// # Errors
    /// If the file's handle cannot be duplicated or the thread cannot be started.
    pub fn start(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (requests, received) = sync_channel(1);
        let flush = move || received.iter().try_for_each(|()| file.sync_data());
        Ok(Self { requests, thread: Builder::new().spawn(flush)? })
    }

    /// Flushes what has been written so far, without waiting for it.
    pub fn request(&self) {
        // A request that waits already covers what was written since; after an error, `finish`
        // returns it.
        let _ = self.requests.try_send(());
    }

    /// Waits for the requested flushes.
    ///
    /// # Errors
    /// If one of them failed. The system reports an error only once, so a later flush of the file
    /// can succeed although earlier bytes are lost.
    pub fn finish(self) -> io::Result<()> {
        drop(self.requests);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the flush panicked")))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn requested_flushes_succeed_for_a_file() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        let flush = BackgroundFlush::start(&file).expect("a thread");
        for _ in 0..20 {
            file.write_all(&[1; 4096]).expect("writing");
            flush.request();
        }
        flush.finish().expect("flushing");
    }

    #[cfg(unix)]
    #[test]
    fn error_of_a_background_flush_is_returned() {
        let (_reader, writer) = io::pipe().expect("a pipe");
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        let flush = BackgroundFlush::start(&pipe).expect("a thread");
        flush.request();
        // A pipe cannot be flushed to a disk.
        assert!(flush.finish().is_err());
    }
}
