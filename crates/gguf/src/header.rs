//! How many bytes to fetch of a remote file to read its header. The caller does the fetching.

use crate::Error;

/// Size of the first prefix to fetch: 1 MiB holds the header of a model with a small vocabulary.
pub const FIRST_HEADER_BYTES: u64 = 1 << 20;
/// The largest prefix to fetch for a header: 64 MiB, several times what the largest vocabularies
/// need.
pub const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Size of the prefix to fetch next, after [`File::from_header`](crate::File::from_header) failed
/// with `error` on the first `held_bytes` bytes: twice as many, or the known minimum where that is
/// more.
///
/// `None` when more bytes do not help: the file is damaged, was read completely, or its header is
/// longer than [`MAX_HEADER_BYTES`].
///
/// ```
/// use lilims_gguf::{Error, File, FIRST_HEADER_BYTES, next_header_bytes};
///
/// fn header(total_bytes: u64, fetch: impl Fn(u64) -> Vec<u8>) -> Result<File, Error> {
///     let mut held_bytes = FIRST_HEADER_BYTES.min(total_bytes);
///     loop {
///         let error = match File::from_header(fetch(held_bytes), total_bytes) {
///             Ok(file) => return Ok(file),
///             Err(error) => error,
///         };
///         held_bytes = next_header_bytes(&error, held_bytes, total_bytes).ok_or(error)?;
///     }
/// }
/// ```
pub fn next_header_bytes(error: &Error, held_bytes: u64, total_bytes: u64) -> Option<u64> {
    let &Error::PrefixTooShort { needed_bytes } = error else { return None };
    let most = total_bytes.min(MAX_HEADER_BYTES);
    let next = held_bytes.saturating_mul(2).max(needed_bytes).min(most);
    (next > held_bytes && next >= needed_bytes).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_grows_until_more_bytes_do_not_help() {
        let next = |needed_bytes, held, total| {
            next_header_bytes(&Error::PrefixTooShort { needed_bytes }, held, total)
        };
        assert_eq!(next(1025, 1024, 1 << 30), Some(2048));
        assert_eq!(next(9000, 1024, 1 << 30), Some(9000));
        assert_eq!(next(1025, 1024, 1500), Some(1500));
        assert_eq!(next(4, 0, 1500), Some(4));
        assert_eq!(next((40 << 20) + 1, 40 << 20, 1 << 40), Some(MAX_HEADER_BYTES));
        assert_eq!(next(MAX_HEADER_BYTES + 1, 1 << 20, 1 << 40), None);
        assert_eq!(next(u64::MAX, 1 << 20, u64::MAX), None);
        let damaged = Error::Invalid { what: "a value".to_owned(), offset: 8 };
        assert_eq!(next_header_bytes(&damaged, 1024, 1 << 30), None);
    }
}
