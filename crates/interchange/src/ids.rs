//! Ids for what comes from other programs: UUIDs of version 7 (RFC 9562) whose random bits are a hash.
//!
//! So a file that is imported twice gives the same ids twice, and the second time is noticed; and ids
//! sort by time, as Lilims's own do.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The bits of a UUID's time.
const MAX_MS: u64 = (1 << 48) - 1;
const MAX_COUNTER: u16 = 0xfff;

/// Whether `id` is in the form of Lilims's ids. Files are named after them, so nothing else may be one.
pub(crate) fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id of a conversation: of `key`, which names it in its source.
pub(crate) fn conversation_id(key: &[u8; 32], created_ms: u64) -> String {
    let counter = u16::from_be_bytes([key[30], key[31]]);
    uuid(created_ms, counter, key)
}

/// A hash of several texts, which cannot be taken for others that read the same joined.
pub(crate) fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// Gives the messages of a conversation ids that ascend.
pub(crate) struct MessageIds {
    conversation: [u8; 32],
    last_ms: u64,
    counter: u16,
}

impl MessageIds {
    pub(crate) fn new(conversation: [u8; 32]) -> Self {
        Self { conversation, last_ms: 0, counter: 0 }
    }

    /// The id of the message that the source names `key`.
    pub(crate) fn next(&mut self, key: &str, created_ms: u64) -> String {
        let created_ms = created_ms.min(MAX_MS);
        if created_ms > self.last_ms {
            (self.last_ms, self.counter) = (created_ms, 0);
        } else if self.counter < MAX_COUNTER {
            self.counter += 1;
        } else {
            (self.last_ms, self.counter) = (self.last_ms.saturating_add(1).min(MAX_MS), 0);
        }
        let mut digest = Sha256::new();
        digest.update(self.conversation);
        digest.update(key);
        uuid(self.last_ms, self.counter, &digest.finalize().into())
    }
}

fn uuid(ms: u64, counter: u16, hash: &[u8; 32]) -> String {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&ms.min(MAX_MS).to_be_bytes()[2..]);
    bytes[6..8].copy_from_slice(&(0x7000 | counter & MAX_COUNTER).to_be_bytes());
    bytes[8..].copy_from_slice(&hash[..8]);
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes.iter().fold(String::with_capacity(32), |mut id, byte| {
        // Writing to a string does not fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_repeat_and_ascend() {
        let ids = || {
            let mut ids = MessageIds::new(hash(["source", "conversation"]));
            [5, 9, 9, 3, 12].map(|ms| ids.next("m", ms))
        };
        let all = ids();
        assert_eq!(all, ids());
        assert!(all.is_sorted() && all.iter().all(|id| is_id(id)), "{all:?}");
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
        assert!(
            !is_id("../../../../etc/passwd0000000000")
                && !is_id("ABCDEF78901234567890123456789012")
        );
    }
}
