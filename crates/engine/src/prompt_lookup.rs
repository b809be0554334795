//! Drafts the next tokens from what followed the same last tokens earlier in the conversation.
//!
//! Prompt lookup decoding (Saxena 2023, <https://github.com/apoorvumang/prompt-lookup-decoding>).
//! Summaries and edits repeat much of their input; reading several correct drafted tokens at once
//! costs little more than one token. A draft never changes the answer.

/// Lengths of the token sequences that are searched for, longest first.
const NGRAM_LENGTHS: [usize; 2] = [3, 2];

/// At most `max` tokens that followed the most recent earlier occurrence of the last tokens.
pub(crate) fn draft(tokens: &[u32], max: usize) -> &[u32] {
    for len in NGRAM_LENGTHS {
        let Some(start) = tokens.len().checked_sub(len) else { continue };
        let (before, ngram) = (&tokens[..tokens.len() - 1], &tokens[start..]);
        let found = before.windows(len).rposition(|window| window == ngram);
        if let Some(found) = found {
            let drafted = &tokens[found + len..];
            return &drafted[..drafted.len().min(max)];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_what_followed_last() {
        assert_eq!(draft(&[1, 2, 3, 4, 5, 9, 1, 2, 3], 2), [4, 5]);
        assert_eq!(draft(&[1, 2, 3, 4, 1, 2, 3, 7, 1, 2, 3], 1), [7]);
        assert_eq!(draft(&[8, 2, 3, 6, 1, 2, 3], 8), [6, 1, 2, 3]);
        assert_eq!(draft(&[5, 5, 5], 4), [5]);
        assert!(draft(&[1, 2, 3, 4], 4).is_empty());
        assert!(draft(&[], 4).is_empty());
    }
}
