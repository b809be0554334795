//! The panic hook: it hands panics of all threads to the recorder that is set, then to the hook that was
//! there before.
//!
//! A panic inside a hook aborts the process, so the hook does little: it looks up the recorder, walks the
//! stack, and starts a thread that does the rest. A panic of that thread is not recorded and harms
//! nobody. The hook waits for it for a limited time, since the process may end right afterwards.
//!
//! Code that later sets a hook of its own without calling the one before it takes panics away from here.

use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Once, mpsc};
use std::time::Duration;
use std::{panic, thread};

use backtrace::Backtrace;
use parking_lot::RwLock;
use sentry::integrations::backtrace::backtrace_to_stacktrace;
use sentry::protocol::Stacktrace;

/// How long a panicking thread waits until its panic is recorded.
const MAX_RECORDING: Duration = Duration::from_secs(5);
/// How long a panicking thread waits for a thread that sets the recorder.
const MAX_WAIT: Duration = Duration::from_secs(1);

static RECORDER: RwLock<Option<Arc<dyn Recorder>>> = RwLock::new(None);
static INSTALLED: Once = Once::new();

thread_local! {
    /// Whether this thread is inside the hook, or records a panic.
    static IS_RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Records panics.
pub(crate) trait Recorder: Send + Sync + 'static {
    /// Records a panic of any thread. Called on a thread of its own.
    fn record(&self, panicked: &Panicked);
}

/// A panic, without its message.
#[derive(Debug)]
pub(crate) struct Panicked {
    /// File and line as the compiler states them.
    pub(crate) location: Option<(String, u32)>,
    /// The stack from its outermost function to the one that panicked.
    pub(crate) stack: Option<Stacktrace>,
}

/// From now on panics go to `recorder`. The hook is installed when this is called first.
pub(crate) fn set_recorder(recorder: Arc<dyn Recorder>) {
    *RECORDER.write() = Some(recorder);
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            on_panic(info);
            previous(info);
        }));
    });
}

/// From now on no panics go to `recorder`.
pub(crate) fn remove_recorder(recorder: &Arc<dyn Recorder>) {
    let mut current = RECORDER.write();
    if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, recorder)) {
        *current = None;
    }
}

fn on_panic(info: &PanicHookInfo<'_>) {
    // Thread-local values are gone while a thread ends: nothing is recorded then.
    let is_first = IS_RECORDING.try_with(|it| !it.replace(true)).unwrap_or(false);
    if is_first {
        record(info);
        IS_RECORDING.set(false);
    }
}

fn record(info: &PanicHookInfo<'_>) {
    let recorder = RECORDER.try_read_for(MAX_WAIT).and_then(|it| it.clone());
    let Some(recorder) = recorder else { return };
    let location = info.location().map(|it| (it.file().to_string(), it.line()));
    // Walks the stack only; the recording thread looks up the names.
    let backtrace = Backtrace::new_unresolved();
    let (done, is_done) = mpsc::channel::<()>();
    let started = thread::Builder::new().name("record-panic".to_string()).spawn(move || {
        IS_RECORDING.set(true);
        recorder.record(&Panicked { location, stack: resolve(backtrace) });
        drop(done);
    });
    if started.is_ok() {
        // An error says that the thread has ended, or that time is up.
        let _ended = is_done.recv_timeout(MAX_RECORDING);
    }
}

/// The stack with names, without the functions that handle the panic.
fn resolve(mut backtrace: Backtrace) -> Option<Stacktrace> {
    backtrace.resolve();
    let mut stack = backtrace_to_stacktrace(&backtrace)?;
    let handler = stack.frames.iter().rposition(|frame| {
        frame.function.as_deref().is_some_and(|name| {
            name.ends_with("rust_begin_unwind") || name.starts_with("std::panicking::begin_panic")
        })
    });
    if let Some(handler) = handler {
        stack.frames.truncate(handler);
    }
    Some(stack)
}

#[cfg(test)]
pub(crate) mod tests;
