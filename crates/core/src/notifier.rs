//! Reports changes of the library from a thread of its own: presenting the library reads files, and
//! the caller may be about to answer a question. Changes that come meanwhile are reported together.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Calls a function soon after each change.
pub(crate) struct Notifier(Sender<()>);

impl Notifier {
    /// Starts the thread, which calls `report` and ends with this value.
    pub(crate) fn start(report: impl Fn() + Send + 'static) -> Self {
        let (sender, changes) = channel();
        let run = move || run(&changes, &report);
        // Without the thread nothing is reported; the doors still get what they ask for.
        let _ = thread::Builder::new().name("library-events".to_owned()).spawn(run);
        Self(sender)
    }

    /// Notes a change.
    pub(crate) fn notify(&self) {
        let _ = self.0.send(());
    }
}

fn run(changes: &Receiver<()>, report: &dyn Fn()) {
    while changes.recv().is_ok() {
        while changes.try_recv().is_ok() {}
        report();
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn changes_during_a_report_are_reported_once_after_it() {
        let (started, starts) = channel();
        let (open, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let notifier = Notifier::start(move || {
            started.send(()).unwrap();
            gate.lock().recv().unwrap();
        });
        notifier.notify();
        starts.recv().unwrap();
        (0..100).for_each(|_| notifier.notify());
        open.send(()).unwrap();
        starts.recv().unwrap();
        open.send(()).unwrap();
        drop(notifier);
        assert!(starts.recv().is_err(), "the thread has ended after two reports");
    }
}
