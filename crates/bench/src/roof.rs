//! What the memory allows: no model generates faster than its weights and cache can be read.

use std::hint::black_box;
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use lilims_engine::{Error, KvType, ModelSpec};
use lilims_gguf::File;

use crate::Summary;

/// What is read: several times what caches hold.
const BUFFER_BYTES: usize = 256 << 20;
/// Streams that a thread reads at the same time. Hardware prefetchers follow each of them, so that
/// more reads are under way than with one.
const STREAMS: usize = 4;
/// Lines of one stream before a thread goes on to its next place: 32 KiB.
const STREAM_LINES: usize = 512;
const RUNS: usize = 20;
/// What a quick measurement reads at most, and how long it makes that buffer and reads it. Making takes
/// most of the time, since the larger the buffer, the less of it a cache holds.
const QUICK_BUFFER_BYTES: usize = 128 << 20;
const QUICK_FILL: Duration = Duration::from_millis(55);
const QUICK_READ: Duration = Duration::from_millis(20);
/// The piece in which that buffer grows until the time is up.
const QUICK_PIECE_BYTES: usize = 4 << 20;
/// The share of the memory's speed that decoding reaches where no run has told it: what is usual.
pub const DEFAULT_EFFICIENCY: f64 = 0.7;

/// A cache line.
type Line = [u64; 8];

/// How fast `threads` threads together read memory, in bytes per second: the median of several runs.
/// What else uses the memory at the time slows it down as it slows down generating.
pub fn read_bytes_per_second(threads: usize) -> f64 {
    // Written with something: pages that were never written share one page of zeros, which is cached.
    let buffer: Vec<Line> = vec![[1; 8]; BUFFER_BYTES / size_of::<Line>()];
    rate(&buffer, threads, |n_runs, _| n_runs < RUNS)
}

/// As [`read_bytes_per_second`], within about a tenth of a second. Where the processor's cache holds much
/// of the little that is read in that time it is too high, up to several times; [`efficiency`] learnt
/// from runs that were bounded by the same measurement makes up for that.
pub fn quick_read_bytes_per_second(threads: usize) -> f64 {
    let start = Instant::now();
    let mut buffer: Vec<Line> = Vec::with_capacity(QUICK_BUFFER_BYTES / size_of::<Line>());
    while buffer.len() < buffer.capacity() && (buffer.is_empty() || start.elapsed() < QUICK_FILL) {
        buffer.resize(buffer.len() + QUICK_PIECE_BYTES / size_of::<Line>(), [1; 8]);
    }
    rate(&buffer, threads, |_, elapsed| elapsed < QUICK_READ)
}

/// The median speed of reading `buffer`, in bytes per second, once and then as long as `goes_on` says so
/// of the number of runs and the time since the first began.
fn rate(buffer: &[Line], threads: usize, goes_on: impl Fn(usize, Duration) -> bool) -> f64 {
    let blocks = buffer.len() / (STREAMS * STREAM_LINES);
    let lines_each = blocks.div_ceil(threads.max(1)) * STREAMS * STREAM_LINES;
    let parts: Vec<&[Line]> = buffer.chunks(lines_each).collect();
    let start = Instant::now();
    let mut rates = Vec::new();
    while rates.is_empty() || goes_on(rates.len(), start.elapsed()) {
        // A clock may not tell so short a time.
        let elapsed = elapsed(&parts).max(Duration::from_nanos(1));
        rates.push(size_of_val(buffer) as f64 / elapsed.as_secs_f64());
    }
    Summary::of(&rates).map_or(0.0, |rates| rates.median)
}

/// The time from the first thread's start to the last one's end, each reading one part. Where the system
/// gives too few threads, the caller reads the rest.
fn elapsed(parts: &[&[Line]]) -> Duration {
    // All begin when the lock is free: once all are there, however many that are.
    let start_line = RwLock::new(());
    let timed = |part: &[Line]| {
        drop(start_line.read());
        let start = Instant::now();
        black_box(read(part));
        (start, Instant::now())
    };
    let timed = &timed;
    let times: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let held = start_line.write().unwrap_or_else(PoisonError::into_inner);
        let threads: Vec<_> = (parts.iter())
            .map_while(|&part| thread::Builder::new().spawn_scoped(scope, move || timed(part)).ok())
            .collect();
        drop(held);
        let rest: Vec<_> = parts[threads.len()..].iter().map(|part| timed(part)).collect();
        let threads = threads.into_iter();
        threads.map(|thread| thread.join().expect("reading does not panic")).chain(rest).collect()
    });
    let start = times.iter().map(|(start, _)| *start).min();
    let end = times.iter().map(|(_, end)| *end).max();
    start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start)
}

/// Reads every line; the result only keeps the reads from being left out.
fn read(lines: &[Line]) -> Line {
    let mut sums = [[0; 8]; STREAMS];
    for block in lines.chunks_exact(STREAMS * STREAM_LINES) {
        for idx in 0..STREAM_LINES {
            for (stream, sum) in sums.iter_mut().enumerate() {
                let line = &block[stream * STREAM_LINES + idx];
                sum.iter_mut().zip(line).for_each(|(sum, word)| *sum ^= word);
            }
        }
    }
    sums.into_iter().fold([0; 8], |all, sum| std::array::from_fn(|i| all[i] ^ sum[i]))
}

/// The bytes that generating one token has to read while the cache holds `depth` tokens: every
/// tensor once, and the keys and values that each layer looks at. The embedding counts where it is
/// the output head too; else one row of it is read, which is next to nothing. So it is with learned
/// positions.
///
/// # Errors
/// As for [`ModelSpec::from_gguf`].
pub fn bytes_per_token(file: &File, depth: usize, kv_type: KvType) -> Result<u64, Error> {
    let spec = ModelSpec::from_gguf(file)?;
    Ok(weights_per_token(file).saturating_add(cache_per_token(&spec, depth, kv_type)?))
}

/// The bytes of the tensors that generating one token reads.
pub fn weights_per_token(file: &File) -> u64 {
    let is_tied = file.tensor("output.weight").is_err();
    let is_read = |name: &str| match name {
        "token_embd.weight" => is_tied,
        "position_embd.weight" => false,
        _ => true,
    };
    let tensors = file.tensors().iter().filter(|tensor| is_read(&tensor.name));
    tensors.fold(0, |bytes, tensor| bytes.saturating_add(tensor.size_bytes))
}

/// The bytes of keys and values that generating one token reads while the cache holds `depth` tokens.
///
/// # Errors
/// As for [`ModelSpec::position_bytes`].
pub fn cache_per_token(spec: &ModelSpec, depth: usize, kv_type: KvType) -> Result<u64, Error> {
    let positions = |window: Option<usize>| window.map_or(depth, |window| depth.min(window)) as u64;
    let seen = spec.layers.iter().map(|layer| positions(layer.window));
    let seen = seen.fold(0, u64::saturating_add);
    Ok(seen.saturating_mul(spec.position_bytes(kv_type)?))
}

/// The decoding speed to expect of a model while its cache holds `depth` tokens, in tokens per second:
/// `efficiency` of what memory that is read at `bytes_per_second` allows. The header is enough.
///
/// # Errors
/// As for [`bytes_per_token`].
pub fn expected_tokens_per_second(
    file: &File,
    depth: usize,
    kv_type: KvType,
    bytes_per_second: f64,
    efficiency: f64,
) -> Result<f64, Error> {
    let bytes = bytes_per_token(file, depth, kv_type)?;
    Ok(efficiency * bytes_per_second / bytes.max(1) as f64)
}

/// A past run on this machine: how fast it decoded, and what that was bounded by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PastRun {
    /// What it reached.
    pub tokens_per_second: f64,
    /// [`bytes_per_token`] of it.
    pub bytes_per_token: u64,
    /// How fast memory was read.
    pub bytes_per_second: f64,
}

/// The share of the memory's speed that decoding reaches on this machine: the median of past runs, or
/// [`DEFAULT_EFFICIENCY`] without any.
pub fn efficiency(runs: &[PastRun]) -> f64 {
    let share = |run: &PastRun| {
        let share = run.tokens_per_second * run.bytes_per_token as f64 / run.bytes_per_second;
        Some(share).filter(|share| share.is_finite() && *share > 0.0)
    };
    let shares: Vec<f64> = runs.iter().filter_map(share).collect();
    Summary::of(&shares).map_or(DEFAULT_EFFICIENCY, |shares| shares.median)
}

#[cfg(test)]
mod tests {
    use lilims_gguf::{TensorType, Value, Writer};

    use super::*;

    /// A model's file with two layers, of which the first has a window of 10 tokens.
    fn file(with_head: bool) -> File {
        let mut writer = Writer::default();
        writer.str("general.architecture", "gemma3");
        for (key, value) in [
            ("block_count", 2),
            ("context_length", 100),
            ("embedding_length", 32),
            ("feed_forward_length", 32),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
            ("attention.sliding_window", 10),
            ("attention.sliding_window_pattern", 2),
        ] {
            writer.value(&format!("gemma3.{key}"), Value::U32(value));
        }
        writer.value("gemma3.attention.layer_norm_rms_epsilon", Value::F32(1e-6));
        writer.tensor("token_embd.weight", &[32, 4], TensorType::F32, vec![0; 32 * 4 * 4]);
        writer.tensor("blk.0.attn_q.weight", &[32, 2], TensorType::Q4_0, vec![0; 2 * 18]);
        if with_head {
            writer.tensor("output.weight", &[32, 4], TensorType::Q8_0, vec![0; 4 * 34]);
        }
        let mut bytes = Vec::new();
        writer.write(&mut bytes).unwrap();
        File::from_bytes(bytes).unwrap()
    }

    #[test]
    fn a_token_reads_the_head_the_layers_and_what_they_see_of_the_cache() {
        let bytes =
            |with_head, depth, kv_type| bytes_per_token(&file(with_head), depth, kv_type).unwrap();
        assert_eq!(bytes(false, 0, KvType::F16), 512 + 36);
        assert_eq!(bytes(true, 0, KvType::F16), 136 + 36);
        // A key and a value of 16 numbers for each position: 50 of one layer, 10 of the other.
        assert_eq!(bytes(true, 50, KvType::F16), 136 + 36 + 60 * 2 * 16 * 2);
        assert_eq!(bytes(true, 5, KvType::F32), 136 + 36 + 10 * 2 * 16 * 4);
    }

    #[test]
    fn a_speed_is_what_memory_allows_times_what_past_runs_reached() {
        let run = |tokens_per_second| PastRun {
            tokens_per_second,
            bytes_per_token: 100,
            bytes_per_second: 1000.0,
        };
        assert_eq!(efficiency(&[]), DEFAULT_EFFICIENCY);
        assert_eq!(efficiency(&[run(5.0), run(9.0), run(2.0), run(f64::NAN)]), 0.5);
        let unmeasured = PastRun { bytes_per_second: 0.0, ..run(5.0) };
        assert_eq!(efficiency(&[unmeasured]), DEFAULT_EFFICIENCY);
        let expected = |depth, bytes_per_second| {
            expected_tokens_per_second(&file(true), depth, KvType::F16, bytes_per_second, 0.5)
        };
        assert_eq!(expected(0, 1720.0).unwrap(), 5.0);
        assert!(expected(50, 1720.0).unwrap() < 5.0);
    }

    #[test]
    fn a_quick_look_at_the_memory_is_plausible() {
        let start = Instant::now();
        let quick = quick_read_bytes_per_second(2);
        println!("{quick:.3e} in {:?}", start.elapsed());
        assert!((1e8..1e13).contains(&quick), "{quick}");
    }

    #[test]
    fn lines_are_all_read() {
        let mut lines = vec![[0; 8]; 2 * STREAMS * STREAM_LINES];
        for (i, line) in lines.iter_mut().enumerate() {
            line[i % 8] = 1 << (i % 64);
        }
        let expected =
            lines.iter().fold([0; 8], |all: Line, line| std::array::from_fn(|i| all[i] ^ line[i]));
        assert_eq!(read(&lines), expected);
    }

    #[test]
    fn memory_is_slower_than_light_and_faster_than_a_disk() {
        let rate = read_bytes_per_second(2);
        println!("{rate:.3e}");
        assert!((1e8..1e13).contains(&rate), "{rate}");
    }
}
