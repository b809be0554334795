//! How much more memory iOS lets this process take before it ends it.

#![expect(unsafe_code, reason = "a call of the system")]

unsafe extern "C" {
    /// Bytes until the process is at its limit; 0 where it has none. Of `os/proc.h`, since iOS 13.
    fn os_proc_available_memory() -> usize;
}

/// Bytes that the process may still take.
///
/// *Source*: <https://developer.apple.com/documentation/os/os_proc_available_memory>
pub(super) fn available_bytes() -> u64 {
    // SAFETY: the function takes nothing, changes nothing and may be called from any thread; every iOS
    // that the app runs on has it in its system library, which is always linked.
    unsafe { os_proc_available_memory() as u64 }
}
