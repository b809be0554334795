//! How much memory this process took.

/// The most memory that the process held at once, mapped files that were read included. Bytes.
#[cfg(unix)]
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};

    // Apple counts bytes, the others KiB.
    const UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from(usage.max_rss()).ok()?.checked_mul(UNIT)
}

/// Not known on this system.
#[cfg(not(unix))]
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_a_plausible_amount() {
        let bytes = peak_rss_bytes().unwrap();
        assert!((1 << 18..1 << 36).contains(&bytes), "{bytes}");
    }
}
