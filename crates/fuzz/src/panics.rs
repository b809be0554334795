//! Finds panics, also in workers and where the product catches them.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

/// The first panic since [`catch`] began.
static FOUND: Mutex<Option<String>> = Mutex::new(None);

/// Parts of the paths of foreign code whose panics the product expects and turns into errors: the
/// `tokenizers` crate is the oracle of conversions (`convert/src/tokenizer_check.rs`).
const EXPECTED: &[&str] = &["/tokenizers-"];

/// Notes panics from now on. The hook that is there (libFuzzer's ends the process) sees all but the
/// expected ones.
pub(crate) fn watch() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let path = info.location().map_or("", |location| location.file());
        if EXPECTED.iter().any(|part| path.contains(part)) {
            return;
        }
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        found.get_or_insert_with(|| info.to_string());
        drop(found);
        before(info);
    }));
}

/// Runs `run`, and returns the message of the first panic in any thread.
pub(crate) fn catch(run: impl FnOnce()) -> Option<String> {
    let take = || FOUND.lock().unwrap_or_else(PoisonError::into_inner).take();
    take();
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    take().or_else(|| result.err().map(|_| "panicked".to_owned()))
}
