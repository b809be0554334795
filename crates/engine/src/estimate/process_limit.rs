//! The memory that iOS still allows this process.

#![expect(unsafe_code, reason = "a call of the system")]

unsafe extern "C" {
    /// Bytes until the process reaches its limit; 0 if it has none. From `os/proc.h`, since iOS 13.
    fn os_proc_available_memory() -> usize;
}

/// Bytes that the process may still allocate.
///
/// *Source*: <https://developer.apple.com/documentation/os/os_proc_available_memory>
pub(super) fn available_bytes() -> u64 {
    // SAFETY: the function has no arguments and no side effects, and may be called from any thread;
    // it is in the system library, which is always linked, of every iOS version that the app
    // supports.
    unsafe { os_proc_available_memory() as u64 }
}
