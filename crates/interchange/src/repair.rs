//! Repairs text that JSON parsers reject and programs nevertheless write: a byte-order mark, bytes that
//! are not UTF-8, and lone surrogates (`\ud83d` without its other half), which become U+FFFD.
//!
//! It also bounds the file and each text in it, as the parser collects a text before anything sees it.

use std::io::{self, Read};

use crate::error::Limit;

const CHUNK_BYTES: usize = 64 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The longest sequence that is looked at as a whole: the escapes of two surrogates.
const LOOKAHEAD_BYTES: usize = 12;

/// Bytes that may be read in all, shared by the entries of an archive.
#[derive(Debug)]
pub(crate) struct Allowance {
    pub(crate) left_bytes: u64,
    pub(crate) limit_bytes: u64,
}

impl Allowance {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { left_bytes: limit_bytes, limit_bytes }
    }
}

/// A reader of repaired text.
pub(crate) struct Repair<'a, R> {
    inner: R,
    allowance: &'a mut Allowance,
    max_string_bytes: u64,
    /// Read and not yet repaired.
    input: Vec<u8>,
    /// Repaired, and how much of it was handed over.
    output: Vec<u8>,
    n_taken: usize,
    /// Bytes since the last quotation mark: no text is longer.
    since_quote_bytes: u64,
    is_at_start: bool,
    is_at_end: bool,
}

impl<'a, R: Read> Repair<'a, R> {
    pub(crate) fn new(inner: R, allowance: &'a mut Allowance, max_string_bytes: u64) -> Self {
        Self {
            inner,
            allowance,
            max_string_bytes,
            input: Vec::new(),
            output: Vec::new(),
            n_taken: 0,
            since_quote_bytes: 0,
            is_at_start: true,
            is_at_end: false,
        }
    }

    /// Reads and repairs more.
    fn refill(&mut self) -> io::Result<()> {
        self.output.clear();
        self.n_taken = 0;
        while self.output.is_empty() && !(self.is_at_end && self.input.is_empty()) {
            // One byte more than allowed tells a file of exactly that size from a larger one.
            let room = self.allowance.left_bytes.saturating_add(1).min(CHUNK_BYTES as u64);
            let n_read = (&mut self.inner).take(room).read_to_end(&mut self.input)? as u64;
            let left = self.allowance.left_bytes.checked_sub(n_read);
            let left = left.ok_or(Limit::Bytes(self.allowance.limit_bytes))?;
            self.allowance.left_bytes = left;
            self.is_at_end = n_read == 0;
            if self.is_at_start && (self.input.len() >= BYTE_ORDER_MARK.len() || self.is_at_end) {
                self.is_at_start = false;
                if self.input.starts_with(BYTE_ORDER_MARK) {
                    self.input.drain(..BYTE_ORDER_MARK.len());
                }
            }
            let n_repaired = repair(&self.input, self.is_at_end, &mut self.output);
            self.input.drain(..n_repaired);
        }
        match memchr::memrchr(b'"', &self.output) {
            Some(at) => self.since_quote_bytes = (self.output.len() - at) as u64,
            None => self.since_quote_bytes += self.output.len() as u64,
        }
        if self.since_quote_bytes > self.max_string_bytes {
            return Err(Limit::Text(self.max_string_bytes).into());
        }
        Ok(())
    }
}

impl<R: Read> Read for Repair<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_taken == self.output.len() {
            self.refill()?;
        }
        let ready = &self.output[self.n_taken..];
        let n = ready.len().min(buffer.len());
        buffer[..n].copy_from_slice(&ready[..n]);
        self.n_taken += n;
        Ok(n)
    }
}

/// Repairs as much of `input` as can be judged without what follows, and returns how much that is.
fn repair(input: &[u8], is_at_end: bool, output: &mut Vec<u8>) -> usize {
    let mut done = 0;
    while done < input.len() {
        let rest = &input[done..];
        let text_len = match std::str::from_utf8(rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let n = repair_escapes(&rest[..text_len], is_at_end || text_len < rest.len(), output);
        done += n;
        if n < text_len {
            // An escape that the next bytes complete.
            return done;
        }
        if text_len < rest.len() {
            match std::str::from_utf8(&rest[text_len..]).err().and_then(|it| it.error_len()) {
                Some(n_invalid) => done += n_invalid,
                None if is_at_end => done = input.len(),
                // A character that the next bytes complete.
                None => return done,
            }
            output.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    done
}

/// Copies text with lone surrogates replaced; stops before an escape that may go on after the end.
fn repair_escapes(text: &[u8], is_complete: bool, output: &mut Vec<u8>) -> usize {
    let mut done = 0;
    while let Some(at) = memchr::memchr(b'\\', &text[done..]) {
        let at = done + at;
        output.extend_from_slice(&text[done..at]);
        let escape = &text[at..];
        if escape.len() < LOOKAHEAD_BYTES && !is_complete {
            return at;
        }
        let n = match surrogate(escape) {
            None => escape.len().min(2),
            Some(high) if is_high(high) && surrogate(&escape[6..]).is_some_and(is_low) => 12,
            Some(_) => {
                output.extend_from_slice(b"\\ufffd");
                done = at + 6;
                continue;
            }
        };
        output.extend_from_slice(&escape[..n]);
        done = at + n;
    }
    output.extend_from_slice(&text[done..]);
    text.len()
}

/// The surrogate that an escape at the beginning of `text` means.
fn surrogate(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u16::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal)?;
    (is_high(code) || is_low(code)).then_some(code)
}

fn is_high(code: u16) -> bool {
    (0xd800..0xdc00).contains(&code)
}

fn is_low(code: u16) -> bool {
    (0xdc00..0xe000).contains(&code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands over one piece at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn repaired(bytes: &[u8], piece: usize) -> String {
        let (mut allowance, mut text) = (Allowance::new(1 << 20), String::new());
        let mut reader = Repair::new(Pieces(bytes, piece), &mut allowance, 1 << 20);
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn faults_are_replaced_wherever_the_pieces_end() {
        for (bytes, expected) in [
            (&b"\xef\xbb\xbf{}"[..], "{}"),
            (br#""\ud83d\ude00 \ud83d x""#, r#""\ud83d\ude00 \ufffd x""#),
            (br#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (br#""\\ud83d""#, r#""\\ud83d""#),
            (br#""\ud83"#, r#""\ud83"#),
            (b"a\xffb\xe2\x82", "a\u{fffd}b\u{fffd}"),
            ("\"€\"".as_bytes(), "\"€\""),
            (b"\\", "\\"),
        ] {
            for piece in 1..14 {
                assert_eq!(repaired(bytes, piece), expected, "{bytes:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn files_and_texts_are_bounded() {
        let read = |bytes: &[u8], limit: u64, max_string_bytes: u64| {
            let mut allowance = Allowance::new(limit);
            let mut reader = Repair::new(bytes, &mut allowance, max_string_bytes);
            reader.read_to_end(&mut Vec::new()).map_err(crate::error::from_io)
        };
        assert_eq!(read(b"12345", 5, 100).unwrap(), 5);
        assert!(matches!(read(b"123456", 5, 100), Err(crate::Error::TooLarge { limit_bytes: 5 })));
        let text = [b"\"", &vec![b'a'; 300_000][..], b"\""].concat();
        assert!(read(&text, 1 << 20, 1 << 20).is_ok());
        assert!(matches!(
            read(&text, 1 << 20, 100_000),
            Err(crate::Error::TextTooLong { limit_bytes: 100_000 })
        ));
    }

    proptest! {
        #[test]
        fn text_without_faults_stays(text: String, piece in 1_usize..20) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(repaired(json.as_bytes(), piece), json);
        }

        #[test]
        fn any_bytes_become_text(bytes: Vec<u8>, piece in 1_usize..20) {
            repaired(&bytes, piece);
        }
    }
}
