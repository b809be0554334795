//! Resource limits of a rendering: steps, time, memory, stack.
//!
//! Every loop over data calls [`Budget::tick`]; every value that owns memory has a [`Charge`], so
//! that the total of live memory is one counter. Enforced by the callers: nothing is limited
//! without them.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Limit};

/// Maximum length of a template's source, in bytes.
pub const MAX_SOURCE_BYTES: usize = 512 << 10;
/// Maximum nesting of brackets and blocks.
pub(crate) const MAX_NESTING: usize = 100;
/// Maximum nesting of lists and dictionaries.
pub(crate) const MAX_VALUE_DEPTH: u32 = 200;
/// Maximum nesting of macros, loops and callers while rendering.
pub(crate) const MAX_CALLS: usize = 200;
/// Maximum stack use in bytes, of the 2 MiB that threads have; independent of the build's frame
/// sizes.
pub(crate) const MAX_STACK: usize = 1 << 20;
/// Maximum number of namespaces, and of scopes, that are retained until the end of a rendering.
pub(crate) const MAX_RETAINED: usize = 100_000;

const BASE_STEPS: u64 = 10_000_000;
const STEPS_PER_MESSAGE_BYTE: u64 = 200;
const BASE_VALUE_BYTES: usize = 8 << 20;
const BASE_LIVE_BYTES: usize = 64 << 20;
const BASE_TIME: Duration = Duration::from_secs(3);
/// Additional milliseconds per MiB of messages.
const MS_PER_MIB: u64 = 500;
/// Steps between two checks of the clock and the cancel flag.
const CHECK_INTERVAL: u64 = 4096;

thread_local! {
    /// Bytes owned by all live values on this thread.
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Accounts for the bytes owned by a value, until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge(usize);

impl Charge {
    pub(crate) fn new(bytes: usize) -> Self {
        LIVE_BYTES.with(|live| live.set(live.get().saturating_add(bytes)));
        Self(bytes)
    }

    pub(crate) fn resize(&mut self, bytes: usize) {
        *self = Self::new(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        LIVE_BYTES.with(|live| live.set(live.get().saturating_sub(self.0)));
    }
}

/// The limits of one rendering, and what it has used of them.
pub(crate) struct Budget<'a> {
    steps: Cell<u64>,
    next_check: Cell<u64>,
    max_steps: u64,
    max_live: usize,
    max_value: usize,
    deadline: Instant,
    cancel: &'a AtomicBool,
    stack: Stack,
}

impl<'a> Budget<'a> {
    /// The budget for messages of `input_bytes`.
    pub(crate) fn new(input_bytes: usize, cancel: &'a AtomicBool) -> Self {
        let mib = (input_bytes >> 20) as u64;
        let base = LIVE_BYTES.with(Cell::get);
        let input_steps = (input_bytes as u64).saturating_mul(STEPS_PER_MESSAGE_BYTE);
        Self {
            steps: Cell::new(0),
            next_check: Cell::new(0),
            max_steps: BASE_STEPS.saturating_add(input_steps),
            max_live: base.saturating_add(BASE_LIVE_BYTES + input_bytes.saturating_mul(16)),
            // Offsets of marks have 32 bits.
            max_value: BASE_VALUE_BYTES
                .saturating_add(input_bytes.saturating_mul(8))
                .min(u32::MAX as usize / 2),
            deadline: Instant::now() + BASE_TIME + Duration::from_millis(mib * MS_PER_MIB),
            cancel,
            stack: Stack::here(),
        }
    }

    /// Counts `n` steps of work.
    #[inline]
    pub(crate) fn tick(&self, n: usize) -> Result<(), Error> {
        let steps = self.steps.get().saturating_add(n as u64);
        self.steps.set(steps);
        if steps >= self.next_check.get() || LIVE_BYTES.with(Cell::get) > self.max_live {
            return self.check(steps);
        }
        Ok(())
    }

    #[cold]
    fn check(&self, steps: u64) -> Result<(), Error> {
        self.next_check.set(steps.saturating_add(CHECK_INTERVAL));
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let limit = if steps > self.max_steps {
            Limit::Steps
        } else if LIVE_BYTES.with(Cell::get) > self.max_live {
            Limit::Memory
        } else if Instant::now() > self.deadline {
            Limit::Time
        } else {
            return Ok(());
        };
        Err(Error::LimitExceeded { limit })
    }

    /// Checks that a value of `bytes` may be allocated; costs a proportional number of steps.
    pub(crate) fn check_value(&self, bytes: usize) -> Result<(), Error> {
        let live = LIVE_BYTES.with(Cell::get);
        if bytes > self.max_value || live.saturating_add(bytes) > self.max_live {
            return Err(Error::LimitExceeded { limit: Limit::Memory });
        }
        self.tick(bytes / 64)
    }

    /// Checks that several values with a total of `bytes` may be allocated.
    pub(crate) fn check_live(&self, bytes: usize) -> Result<(), Error> {
        if LIVE_BYTES.with(Cell::get).saturating_add(bytes) > self.max_live {
            return Err(Error::LimitExceeded { limit: Limit::Memory });
        }
        Ok(())
    }

    /// Checks the use of the stack since the budget was created.
    #[inline]
    pub(crate) fn check_stack(&self) -> Result<(), Error> {
        self.stack.check()
    }
}

/// The stack position at the start.
pub(crate) struct Stack(usize);

impl Stack {
    #[inline(never)]
    pub(crate) fn here() -> Self {
        Self(address())
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.abs_diff(address()) > MAX_STACK {
            return Err(Error::LimitExceeded { limit: Limit::Nesting });
        }
        Ok(())
    }
}

/// The approximate current stack position.
#[inline(always)]
fn address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
