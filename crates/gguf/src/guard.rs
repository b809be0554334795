//! What happens when a mapped file shrinks: reading beyond its new end gives zeros and a flag, not the
//! end of the process.
//!
//! The system answers such a read with `SIGBUS` (macOS, for some file systems, with `SIGSEGV`). A
//! handler looks for the address among the maps that [`Guard`]s stand for, puts empty pages there and
//! sets that map's flag; the read goes on, in whichever thread it is. Whoever computes with the map
//! looks at the flag before it gives a result out. Signals for other addresses go to the handler that
//! was there before, or end the process as they always did. On Windows a mapped file cannot shrink.

#![cfg_attr(
    unix,
    expect(
        unsafe_code,
        reason = "signal handlers and maps at fixed addresses are the system's calls"
    )
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A map that is watched, in a list that only grows, so that a signal handler can walk it at any time.
/// Places that are given back are used again.
struct Place {
    is_taken: AtomicBool,
    start: AtomicUsize,
    /// The first address after the map's last page; 0 while there is no map.
    end: AtomicUsize,
    is_damaged: AtomicBool,
    next: OnceLock<&'static Place>,
}

/// The list's first place.
static FIRST: OnceLock<&'static Place> = OnceLock::new();

/// Watches one map, from before it is first read until just before it is undone.
pub(crate) struct Guard(&'static Place);

impl Guard {
    /// Watches `map`, of which the last page counts whole.
    pub(crate) fn new(map: &[u8]) -> Self {
        install();
        let start = map.as_ptr().addr();
        let end = (start + map.len()).next_multiple_of(page_bytes());
        let place = free_place();
        place.is_damaged.store(false, Ordering::Relaxed);
        place.start.store(start, Ordering::Relaxed);
        place.end.store(end, Ordering::Release);
        Self(place)
    }

    /// Whether something was read that the file no longer has.
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

/// A free place, taken.
fn free_place() -> &'static Place {
    let take = |place: &Place| {
        let (relaxed, acquire) = (Ordering::Relaxed, Ordering::Acquire);
        place.is_taken.compare_exchange(false, true, acquire, relaxed).is_ok()
    };
    if let Some(place) = places().find(|place| take(place)) {
        return place;
    }
    let new: &'static Place = Box::leak(Box::new(Place {
        is_taken: AtomicBool::new(true),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        is_damaged: AtomicBool::new(false),
        next: OnceLock::new(),
    }));
    let mut link = &FIRST;
    // Where another thread appends at the same time, the new place comes after its.
    while link.set(new).is_err() {
        link = &link.get().expect("a set link holds a place").next;
    }
    new
}

fn places() -> impl Iterator<Item = &'static Place> {
    std::iter::successors(FIRST.get().copied(), |place| place.next.get().copied())
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

    use super::places;

    /// What the system sends where a map has no file behind it.
    #[cfg(any(target_os = "macos", target_os = "ios"))]
    const SIGNALS: [c_int; 2] = [libc::SIGBUS, libc::SIGSEGV];
    #[cfg(not(any(target_os = "macos", target_os = "ios")))]
    const SIGNALS: [c_int; 1] = [libc::SIGBUS];

    /// What was to happen on a signal before the handler was installed.
    static BEFORE: [OnceLock<libc::sigaction>; SIGNALS.len()] =
        [const { OnceLock::new() }; SIGNALS.len()];
    /// Read by the handler, which should call the system as little as it can.
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

    /// Installs the handler, once in the process.
    pub(super) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            page_bytes();
            for (signal, before) in SIGNALS.iter().zip(&BEFORE) {
                install_for(*signal, before);
            }
        });
    }

    fn install_for(signal: c_int, before: &OnceLock<libc::sigaction>) {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: asks for the current action, which is written to `old`.
        if unsafe { libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) } != 0 {
            return;
        }
        // SAFETY: the call that filled it has succeeded; before, it was zeroes.
        let old = unsafe { old.assume_init() };
        // Before the handler that looks it up can run.
        let _ = before.set(old);
        // SAFETY: an action is plain numbers, for which zeroes are a value.
        let mut new = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
        new.sa_sigaction = handler as *const () as usize;
        // On the stack for signals, where a thread has one: its own may be what is full.
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `new` is a whole action whose handler only does what handlers may do.
        unsafe {
            libc::sigemptyset(&raw mut new.sa_mask);
            libc::sigaction(signal, &raw const new, std::ptr::null_mut());
        }
    }

    /// Puts empty pages where the file has gone, or leaves the signal to the handler before.
    ///
    /// Runs in the middle of anything: it takes no lock, allocates nothing and calls only what POSIX or
    /// long practice (`mmap`) allows in handlers.
    extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the system passes a valid `info` to handlers with `SA_SIGINFO`.
        let address = unsafe { (*info).si_addr() }.addr();
        if !mend(address) {
            pass_on(signal, info, context);
        }
    }

    /// Whether the address is in a map that is watched and can be read now.
    fn mend(address: usize) -> bool {
        let found = places().find_map(|place| {
            // In this order: a start that is newer than its end only makes the map look smaller.
            let end = place.end.load(Ordering::Acquire);
            let start = place.start.load(Ordering::Relaxed);
            (start..end).contains(&address).then_some((place, end))
        });
        let Some((place, end)) = found else { return false };
        place.is_damaged.store(true, Ordering::Relaxed);
        let page = address & !(page_bytes() - 1);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // Up to the map's end at once: what follows has gone as well, or is of no use any more.
        // SAFETY: the pages from `page` to `end` belong to a map of a file that its guard watches, which
        // exists for as long as anybody reads in it, as somebody does at `address`. It was read-only, so
        // nothing is lost with what is replaced, and remains mapped until its owner undoes it.
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

    /// Does what would have been done without this handler.
    fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let idx = SIGNALS.iter().position(|known| *known == signal);
        let before = idx.and_then(|idx| BEFORE[idx].get());
        match before {
            Some(before) if !matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
                if before.sa_flags & libc::SA_SIGINFO != 0 {
                    // SAFETY: this address was installed as a handler of this type.
                    let handler = unsafe {
                        std::mem::transmute::<
                            usize,
                            extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void),
                        >(before.sa_sigaction)
                    };
                    handler(signal, info, context);
                } else {
                    // SAFETY: as above, of the other type of handler.
                    let handler = unsafe {
                        std::mem::transmute::<usize, extern "C" fn(c_int)>(before.sa_sigaction)
                    };
                    handler(signal);
                }
            }
            // A read that fails and is ignored would fail for ever: the system ends the process, too.
            _ => {
                // SAFETY: zeroes are an action, the default one. Raised again, the signal comes once this
                // handler has returned, also where a process sent it and no read would repeat it.
                unsafe {
                    let default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                    libc::sigaction(signal, &raw const default, std::ptr::null_mut());
                    libc::raise(signal);
                }
            }
        }
    }
}
