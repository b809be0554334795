//! What a foreign template may take: steps, time, memory, stack.
//!
//! Every loop over data calls [`Budget::tick`]; every value that holds memory holds a [`Charge`],
//! so that a look at one number says how much is alive.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Error;

/// Bytes of source.
pub const MAX_SOURCE: usize = 512 << 10;
/// Brackets and blocks inside one another.
pub(crate) const MAX_NESTING: usize = 100;
/// Lists and dictionaries inside one another.
pub(crate) const MAX_VALUE_DEPTH: u32 = 200;
/// Macros, loops and callers inside one another while rendering.
pub(crate) const MAX_CALLS: usize = 200;
/// Bytes of stack, of the 2 MiB that threads have: whatever the frames of a build take.
pub(crate) const MAX_STACK: usize = 1 << 20;
/// Namespaces and scopes that macros keep.
pub(crate) const MAX_KEPT: usize = 100_000;

const BASE_STEPS: u64 = 10_000_000;
const STEPS_PER_MESSAGE_BYTE: u64 = 200;
const BASE_VALUE_BYTES: usize = 8 << 20;
const BASE_ALIVE_BYTES: usize = 64 << 20;
const TIME: Duration = Duration::from_secs(3);
/// Milliseconds more for each MiB of messages.
const MS_PER_MIB: u64 = 500;
/// Steps between two looks at the clock and at the cancel flag.
const LOOK_EVERY: u64 = 4096;

/// A bound that a template reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The source is longer than [`MAX_SOURCE`].
    Source,
    /// Brackets, blocks, values or calls are nested too deeply.
    Nesting,
    /// It runs for too many steps.
    Steps,
    /// It runs for too long.
    Time,
    /// It holds too much memory, or makes one value that is too large.
    Memory,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the template is too long",
            Self::Nesting => "it is nested too deeply",
            Self::Steps | Self::Time => "it runs too long",
            Self::Memory => "it takes too much memory",
        })
    }
}

thread_local! {
    /// Bytes that the values of the rendering on this thread hold.
    static ALIVE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that a value holds, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge(usize);

impl Charge {
    pub(crate) fn new(bytes: usize) -> Self {
        ALIVE.with(|alive| alive.set(alive.get().saturating_add(bytes)));
        Self(bytes)
    }

    pub(crate) fn resize(&mut self, bytes: usize) {
        *self = Self::new(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        ALIVE.with(|alive| alive.set(alive.get().saturating_sub(self.0)));
    }
}

/// What is left for one parse or rendering.
pub(crate) struct Budget<'a> {
    steps: Cell<u64>,
    next_look: Cell<u64>,
    max_steps: u64,
    max_alive: usize,
    max_value: usize,
    deadline: Instant,
    cancel: &'a AtomicBool,
    stack: Stack,
}

impl<'a> Budget<'a> {
    /// The budget for messages of `input_bytes`.
    pub(crate) fn new(input_bytes: usize, cancel: &'a AtomicBool) -> Self {
        let mib = (input_bytes >> 20) as u64;
        let base = ALIVE.with(Cell::get);
        let input_steps = (input_bytes as u64).saturating_mul(STEPS_PER_MESSAGE_BYTE);
        Self {
            steps: Cell::new(0),
            next_look: Cell::new(0),
            max_steps: BASE_STEPS.saturating_add(input_steps),
            max_alive: base.saturating_add(BASE_ALIVE_BYTES + input_bytes.saturating_mul(16)),
            // Marks count in 32 bits.
            max_value: BASE_VALUE_BYTES
                .saturating_add(input_bytes.saturating_mul(8))
                .min(u32::MAX as usize / 2),
            deadline: Instant::now() + TIME + Duration::from_millis(mib * MS_PER_MIB),
            cancel,
            stack: Stack::here(),
        }
    }

    /// Counts `n` steps of work.
    #[inline]
    pub(crate) fn tick(&self, n: usize) -> Result<(), Error> {
        let steps = self.steps.get().saturating_add(n as u64);
        self.steps.set(steps);
        if steps >= self.next_look.get() || ALIVE.with(Cell::get) > self.max_alive {
            return self.look(steps);
        }
        Ok(())
    }

    #[cold]
    fn look(&self, steps: u64) -> Result<(), Error> {
        self.next_look.set(steps.saturating_add(LOOK_EVERY));
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let bound = if steps > self.max_steps {
            Bound::Steps
        } else if ALIVE.with(Cell::get) > self.max_alive {
            Bound::Memory
        } else if Instant::now() > self.deadline {
            Bound::Time
        } else {
            return Ok(());
        };
        Err(Error::Limit { bound })
    }

    /// Whether a value of `bytes` may be made now. Costs steps in proportion.
    pub(crate) fn room(&self, bytes: usize) -> Result<(), Error> {
        let alive = ALIVE.with(Cell::get);
        if bytes > self.max_value || alive.saturating_add(bytes) > self.max_alive {
            return Err(Error::Limit { bound: Bound::Memory });
        }
        self.tick(bytes / 64)
    }

    /// Whether many values that take `bytes` together may be made now.
    pub(crate) fn room_alive(&self, bytes: usize) -> Result<(), Error> {
        if ALIVE.with(Cell::get).saturating_add(bytes) > self.max_alive {
            return Err(Error::Limit { bound: Bound::Memory });
        }
        Ok(())
    }

    /// Refuses to go on when the stack below the beginning is used up.
    #[inline]
    pub(crate) fn check_stack(&self) -> Result<(), Error> {
        self.stack.check()
    }
}

/// How deep the stack was at the beginning.
pub(crate) struct Stack(usize);

impl Stack {
    #[inline(never)]
    pub(crate) fn here() -> Self {
        Self(address())
    }

    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.abs_diff(address()) > MAX_STACK {
            return Err(Error::Limit { bound: Bound::Nesting });
        }
        Ok(())
    }
}

/// Where the stack is now, near enough.
#[inline(always)]
fn address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
