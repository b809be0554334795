//! Keeps the process alive when a mapped file is truncated: reads past the new end return zeros and
//! set a flag.
//!
//! The system answers such a read with `SIGBUS` (macOS, for some file systems, with `SIGSEGV`). The
//! signal handler looks the address up among the maps registered by [`Guard`]s, maps zero pages
//! there and sets that map's flag; the read then continues, in whichever thread it happens. Code
//! that computes with the map checks the flag before it returns a result. Signals for other
//! addresses go to the previously installed handler, or to the default action, which ends the
//! process. On Windows a mapped file cannot be truncated.
//!
//! Detecting other changes of the file is up to `File::check_unchanged`.

#![cfg_attr(
    unix,
    expect(
        unsafe_code,
        reason = "signal handlers and maps at fixed addresses are the system's calls"
    )
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// One registered map: a node of a linked list that only grows, so that a signal handler can walk
/// it at any time. Released slots are reused.
struct Slot {
    is_taken: AtomicBool,
    start: AtomicUsize,
    /// The first address after the map's last page; 0 while there is no map.
    end: AtomicUsize,
    is_damaged: AtomicBool,
    next: OnceLock<&'static Slot>,
}

static FIRST: OnceLock<&'static Slot> = OnceLock::new();

/// Registers one map with the signal handler; must exist from before the first read of the map
/// until just before it is unmapped.
pub(crate) struct Guard(&'static Slot);

impl Guard {
    /// Registers `map`, up to the end of its last page.
    pub(crate) fn new(map: &[u8]) -> Self {
        install();
        let start = map.as_ptr().addr();
        let end = (start + map.len()).next_multiple_of(page_bytes());
        let slot = claim_slot();
        slot.is_damaged.store(false, Ordering::Relaxed);
        slot.start.store(start, Ordering::Relaxed);
        slot.end.store(end, Ordering::Release);
        Self(slot)
    }

    /// Whether a read went past the file's current end.
    pub(crate) fn is_damaged(&self) -> bool {
        self.0.is_damaged.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end.store(0, Ordering::Relaxed);
        self.0.is_taken.store(false, Ordering::Release);
    }
}

/// Claims an unused slot, or appends a new one.
fn claim_slot() -> &'static Slot {
    let claim = |slot: &Slot| {
        let (relaxed, acquire) = (Ordering::Relaxed, Ordering::Acquire);
        slot.is_taken.compare_exchange(false, true, acquire, relaxed).is_ok()
    };
    if let Some(slot) = slots().find(|slot| claim(slot)) {
        return slot;
    }
    let new: &'static Slot = Box::leak(Box::new(Slot {
        is_taken: AtomicBool::new(true),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        is_damaged: AtomicBool::new(false),
        next: OnceLock::new(),
    }));
    let mut link = &FIRST;
    // If another thread appended first, the new slot goes after that one.
    while link.set(new).is_err() {
        link = &link.get().expect("`set` failed, so the link is set").next;
    }
    new
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    std::iter::successors(FIRST.get().copied(), |slot| slot.next.get().copied())
}

#[cfg(not(unix))]
fn page_bytes() -> usize {
    4096
}

#[cfg(not(unix))]
fn install() {}

#[cfg(unix)]
use unix::{install, page_bytes};

#[cfg(unix)]
mod unix {
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Once, OnceLock};

    use super::slots;

    /// The signals for a read of a mapped page that the file no longer backs.
    #[cfg(any(target_os = "macos", target_os = "ios"))]
    const SIGNALS: [c_int; 2] = [libc::SIGBUS, libc::SIGSEGV];
    #[cfg(not(any(target_os = "macos", target_os = "ios")))]
    const SIGNALS: [c_int; 1] = [libc::SIGBUS];

    /// The actions that were installed for these signals before ours.
    static PREVIOUS: [OnceLock<libc::sigaction>; SIGNALS.len()] =
        [const { OnceLock::new() }; SIGNALS.len()];
    /// Cached because the handler should make as few system calls as possible.
    static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

    pub(super) fn page_bytes() -> usize {
        match PAGE_BYTES.load(Ordering::Relaxed) {
            0 => {
                // SAFETY: the call has no preconditions.
                let n_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
                let n_bytes = usize::try_from(n_bytes).ok().filter(|n| n.is_power_of_two());
                let n_bytes = n_bytes.unwrap_or(4096);
                PAGE_BYTES.store(n_bytes, Ordering::Relaxed);
                n_bytes
            }
            n_bytes => n_bytes,
        }
    }

    /// Installs the handler, once per process.
    pub(super) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            page_bytes();
            for (signal, previous) in SIGNALS.iter().zip(&PREVIOUS) {
                install_for(*signal, previous);
            }
        });
    }

    fn install_for(signal: c_int, previous: &OnceLock<libc::sigaction>) {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a null action only queries the current one, which is written to `old`.
        if unsafe { libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) } != 0 {
            return;
        }
        // SAFETY: it was zeroed, and the call that filled it has succeeded.
        let old = unsafe { old.assume_init() };
        // Set before the handler is installed, because the handler reads it.
        let _ = previous.set(old);
        // SAFETY: a `sigaction` is plain integers, for which all zeros are valid.
        let mut new = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
        new.sa_sigaction = handler as *const () as usize;
        // Use the alternate signal stack where a thread has one: a full stack may be the fault.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `new` is fully initialised, and its handler is async-signal-safe.
        unsafe {
            libc::sigemptyset(&raw mut new.sa_mask);
            libc::sigaction(signal, &raw const new, std::ptr::null_mut());
        }
    }

    /// Maps zero pages over the missing part of the file, or passes the signal on.
    ///
    /// Async-signal-safe: it takes no lock, allocates nothing and calls only functions that POSIX,
    /// or in the case of `mmap` established practice, allows in handlers.
    extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the system passes a valid `info` to handlers with `SA_SIGINFO`.
        let address = unsafe { (*info).si_addr() }.addr();
        if !map_zero_pages(address) {
            pass_on(signal, info, context);
        }
    }

    /// Maps zero pages from `address` to the end of its registered map. Returns whether `address`
    /// is in one and can be read now.
    fn map_zero_pages(address: usize) -> bool {
        let found = slots().find_map(|slot| {
            // `end` first: a `start` newer than its `end` only makes the map look smaller.
            let end = slot.end.load(Ordering::Acquire);
            let start = slot.start.load(Ordering::Relaxed);
            (start..end).contains(&address).then_some((slot, end))
        });
        let Some((slot, end)) = found else { return false };
        slot.is_damaged.store(true, Ordering::Relaxed);
        let page = address & !(page_bytes() - 1);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // All the way to the map's end: the rest is missing too, or useless without this page.
        // SAFETY: the pages from `page` to `end` belong to a registered file map, which stays
        // mapped for as long as it is being read, as it is at `address`. The map is read-only, so
        // replacing its pages loses nothing, and they stay mapped until the owner unmaps them.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::without_provenance_mut(page),
                end - page,
                libc::PROT_READ,
                flags,
                -1,
                0,
            )
        };
        mapped != libc::MAP_FAILED
    }

    /// Does what would have happened without this handler.
    fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let idx = SIGNALS.iter().position(|known| *known == signal);
        let previous = idx.and_then(|idx| PREVIOUS[idx].get());
        match previous {
            Some(previous) if !matches!(previous.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    // SAFETY: this address was installed as a handler of this type.
                    let handler = unsafe {
                        std::mem::transmute::<
                            usize,
                            extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void),
                        >(previous.sa_sigaction)
                    };
                    handler(signal, info, context);
                } else {
                    // SAFETY: without `SA_SIGINFO`, the address is that of a one-argument handler.
                    let handler = unsafe {
                        std::mem::transmute::<usize, extern "C" fn(c_int)>(previous.sa_sigaction)
                    };
                    handler(signal);
                }
            }
            // Ignoring the signal would repeat the failing read for ever, so the kernel ends the
            // process in that case as well.
            _ => {
                // SAFETY: an all-zero `sigaction` is the default action. The raised signal is
                // delivered when this handler returns; without it, one sent by `kill` would be
                // lost, because no read repeats it.
                unsafe {
                    let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                    libc::sigaction(signal, &raw const default, std::ptr::null_mut());
                    libc::raise(signal);
                }
            }
        }
    }
}
