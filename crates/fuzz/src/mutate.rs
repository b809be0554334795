//! Mutations of inputs that are the same in each run.

/// Numbers that lengths, offsets and counts are replaced with.
const NUMBERS: [u64; 12] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0xffff,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    u32::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Digits that numbers in texts are replaced with.
const DIGITS: [&str; 8] = [
    "0",
    "-1",
    "1e999",
    "4294967296",
    "18446744073709551615",
    "1e-320",
    "99999999999999999999",
    "-0.0",
];

/// Makes inputs from seeds.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator whose inputs follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(2).wrapping_add(1) }
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % n
    }

    /// Changes one of `seeds` in one to four places.
    pub fn next(&mut self, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, seeds, words);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
        if input.is_empty() {
            input.push(0);
        }
        let len = input.len();
        // Headers are at the beginning, and most of a file is content.
        let reach = if self.below(2) == 0 { len.min(512) } else { len };
        let at = self.below(reach);
        match self.below(10) {
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.below(256) as u8,
            2 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)].min(len - at);
                input[at..at + width].copy_from_slice(&number[..width]);
            }
            3 => input.truncate(at),
            4 => {
                let end = at + self.below(len - at).min(64);
                input.drain(at..end);
            }
            5 => {
                let end = at + self.below(len - at).min(256);
                let part = input[at..end].to_vec();
                let to = self.below(len);
                input.splice(to..to, part);
            }
            6 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len().max(1)).min(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => {
                let digit = (at..len).find(|&at| input[at].is_ascii_digit());
                if let Some(at) = digit {
                    let number = DIGITS[self.below(DIGITS.len())];
                    input.splice(at..=at, number.bytes());
                }
            }
            8 if !words.is_empty() => {
                let word = words[self.below(words.len())];
                input.splice(at..at, word.bytes());
            }
            _ => {
                let end = at + self.below(len - at).min(16);
                let part = input[at..end].repeat(self.below(20));
                input.splice(at..at, part);
            }
        }
    }
}
