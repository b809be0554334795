//! The roofline of decoding: no model generates faster than its weights and cache can be read from
//! memory.

use std::hint::black_box;
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use lilims_engine::{Error, KvType, ModelSpec};
use lilims_gguf::File;

use crate::Summary;

/// Size of the buffer that is read: several times the size of caches.
const BUFFER_BYTES: usize = 256 << 20;
/// Streams that a thread reads at once. Hardware prefetchers follow each of them, so more reads are
/// in flight than with one.
const STREAMS: usize = 4;
/// Lines of one stream in a block: 32 KiB.
const STREAM_LINES: usize = 512;
const RUNS: usize = 20;
/// The largest buffer of a quick measurement, and how long it fills that buffer and reads it.
/// Filling takes most of the time, since a larger buffer is less affected by caches.
const QUICK_BUFFER_BYTES: usize = 128 << 20;
const QUICK_FILL: Duration = Duration::from_millis(55);
const QUICK_READ: Duration = Duration::from_millis(20);
/// The step in which that buffer grows until the time is up.
const QUICK_STEP_BYTES: usize = 4 << 20;
/// The share of the memory bandwidth that decoding reaches, if no past run is known: a typical
/// value.
pub const DEFAULT_EFFICIENCY: f64 = 0.7;

/// A cache line.
type Line = [u64; 8];

/// Measures how fast `threads` threads together read memory, in bytes per second: the median of
/// several runs. Other load on the memory slows it down as it slows down generation.
pub fn read_bytes_per_second(threads: usize) -> f64 {
    // Fill with non-zero values: pages that were never written share one cached zero page.
    let buffer: Vec<Line> = vec![[1; 8]; BUFFER_BYTES / size_of::<Line>()];
    rate(&buffer, threads, |n_runs, _| n_runs < RUNS)
}

/// Like [`read_bytes_per_second`], within about a tenth of a second. If the cache holds much of the
/// small buffer the result is too high, by up to several times; an [`efficiency`] learnt from runs
/// with the same measurement compensates for that.
pub fn quick_read_bytes_per_second(threads: usize) -> f64 {
    let start = Instant::now();
    let mut buffer: Vec<Line> = Vec::with_capacity(QUICK_BUFFER_BYTES / size_of::<Line>());
    while buffer.len() < buffer.capacity() && (buffer.is_empty() || start.elapsed() < QUICK_FILL) {
        buffer.resize(buffer.len() + QUICK_STEP_BYTES / size_of::<Line>(), [1; 8]);
    }
    rate(&buffer, threads, |_, elapsed| elapsed < QUICK_READ)
}

/// The median speed of reading `buffer`, in bytes per second. Runs once, and then as long as
/// `goes_on(runs, elapsed)` is true.
fn rate(buffer: &[Line], threads: usize, goes_on: impl Fn(usize, Duration) -> bool) -> f64 {
    let blocks = buffer.len() / (STREAMS * STREAM_LINES);
    let lines_each = blocks.div_ceil(threads.max(1)) * STREAMS * STREAM_LINES;
    let parts: Vec<&[Line]> = buffer.chunks(lines_each).collect();
    let start = Instant::now();
    let mut rates = Vec::new();
    while rates.is_empty() || goes_on(rates.len(), start.elapsed()) {
        // The clock may be too coarse for so short a time.
        let elapsed = elapsed(&parts).max(Duration::from_nanos(1));
        rates.push(size_of_val(buffer) as f64 / elapsed.as_secs_f64());
    }
    Summary::of(&rates).map_or(0.0, |rates| rates.median)
}

/// The time from the start of the first thread to the end of the last one, each reading one part.
/// If too few threads start, the caller reads the remaining parts.
fn elapsed(parts: &[&[Line]]) -> Duration {
    // All threads start when the lock is released.
    let start_line = RwLock::new(());
    let timed = |part: &[Line]| {
        drop(start_line.read());
        let start = Instant::now();
        black_box(read(part));
        (start, Instant::now())
    };
    let timed = &timed;
    let times: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let start_guard = start_line.write().unwrap_or_else(PoisonError::into_inner);
        let threads: Vec<_> = (parts.iter())
            .map_while(|&part| thread::Builder::new().spawn_scoped(scope, move || timed(part)).ok())
            .collect();
        drop(start_guard);
        let rest: Vec<_> = parts[threads.len()..].iter().map(|part| timed(part)).collect();
        let threads = threads.into_iter();
        threads.map(|thread| thread.join().expect("reading does not panic")).chain(rest).collect()
    });
    let start = times.iter().map(|(start, _)| *start).min();
    let end = times.iter().map(|(_, end)| *end).max();
    start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start)
}

/// Reads every line; the result only keeps the reads from being optimised away.
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

/// The bytes that generating one token reads while the cache holds `depth` tokens: every tensor
/// once, and the keys and values that each layer attends to. The embedding only counts if it is
/// also the output head; otherwise one row is read, which is negligible. The same holds for learned
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

/// The bytes of keys and values that generating one token reads while the cache holds `depth`
/// tokens.
///
/// # Errors
/// As for [`ModelSpec::position_bytes`].
pub fn cache_per_token(spec: &ModelSpec, depth: usize, kv_type: KvType) -> Result<u64, Error> {
    let positions = |window: Option<usize>| window.map_or(depth, |window| depth.min(window)) as u64;
    let seen = spec.layers.iter().map(|layer| positions(layer.window));
    let seen = seen.fold(0, u64::saturating_add);
    Ok(seen.saturating_mul(spec.position_bytes(kv_type)?))
}

/// The expected decoding speed of a model while its cache holds `depth` tokens, in tokens per
/// second: `efficiency` times the roofline at a memory bandwidth of `bytes_per_second`. The header
/// of the file is enough.
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

/// A past run on this machine: its decoding speed and its roofline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PastRun {
    /// Decoding speed.
    pub tokens_per_second: f64,
    /// [`bytes_per_token`] of the model.
    pub bytes_per_token: u64,
    /// Measured memory bandwidth.
    pub bytes_per_second: f64,
}

/// The share of the memory bandwidth that decoding reaches on this machine: the median of past
/// runs, or [`DEFAULT_EFFICIENCY`] without any.
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

    /// A model file with two layers, of which the first has a window of 10 tokens.
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
    fn counts_head_layers_and_visible_cache() {
        let bytes =
            |with_head, depth, kv_type| bytes_per_token(&file(with_head), depth, kv_type).unwrap();
        assert_eq!(bytes(false, 0, KvType::F16), 512 + 36);
        assert_eq!(bytes(true, 0, KvType::F16), 136 + 36);
        // A key and a value of 16 numbers per position: 50 positions in one layer, 10 in the other.
        assert_eq!(bytes(true, 50, KvType::F16), 136 + 36 + 60 * 2 * 16 * 2);
        assert_eq!(bytes(true, 5, KvType::F32), 136 + 36 + 10 * 2 * 16 * 4);
    }

    #[test]
    fn expected_speed_is_roofline_times_efficiency() {
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
    fn quick_bandwidth_is_plausible() {
        let start = Instant::now();
        let quick = quick_read_bytes_per_second(2);
        println!("{quick:.3e} in {:?}", start.elapsed());
        assert!((1e8..1e13).contains(&quick), "{quick}");
    }

    #[test]
    fn reads_all_lines() {
        let mut lines = vec![[0; 8]; 2 * STREAMS * STREAM_LINES];
        for (i, line) in lines.iter_mut().enumerate() {
            line[i % 8] = 1 << (i % 64);
        }
        let expected =
            lines.iter().fold([0; 8], |all: Line, line| std::array::from_fn(|i| all[i] ^ line[i]));
        assert_eq!(read(&lines), expected);
    }

    #[test]
    fn bandwidth_is_plausible() {
        let rate = read_bytes_per_second(2);
        println!("{rate:.3e}");
        assert!((1e8..1e13).contains(&rate), "{rate}");
    }
}
