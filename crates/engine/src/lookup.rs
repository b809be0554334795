//! Guesses the next tokens: what followed the same last tokens earlier in the conversation.
//!
//! Prompt lookup decoding (Saxena 2023, <https://github.com/apoorvumang/prompt-lookup-decoding>).
//! Summaries and edits repeat much of what they are given; reading several right guesses at once costs
//! little more than one token. A guess never changes what is answered.

/// The longest and the shortest run of last tokens that is looked for.
const RUN_LENGTHS: [usize; 2] = [3, 2];

/// At most `most` tokens that followed the last tokens of `tokens` where they stood last before.
pub(crate) fn guess(tokens: &[u32], most: usize) -> &[u32] {
    for len in RUN_LENGTHS {
        let Some(start) = tokens.len().checked_sub(len) else { continue };
        let (before, run) = (&tokens[..tokens.len() - 1], &tokens[start..]);
        let found = before.windows(len).rposition(|window| window == run);
        if let Some(found) = found {
            let guessed = &tokens[found + len..];
            return &guessed[..guessed.len().min(most)];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_last_is_guessed() {
        assert_eq!(guess(&[1, 2, 3, 4, 5, 9, 1, 2, 3], 2), [4, 5]);
        assert_eq!(guess(&[1, 2, 3, 4, 1, 2, 3, 7, 1, 2, 3], 1), [7]);
        assert_eq!(guess(&[8, 2, 3, 6, 1, 2, 3], 8), [6, 1, 2, 3]);
        assert_eq!(guess(&[5, 5, 5], 4), [5]);
        assert!(guess(&[1, 2, 3, 4], 4).is_empty());
        assert!(guess(&[], 4).is_empty());
    }
}
