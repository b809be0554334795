//! Benchmarks of the kernels: `cargo bench -p lilims-quant`, with part of a name after `--` to
//! select some. On one thread, except that reading from memory is also measured on all threads.
//!
//! Products with one activation row are measured in bytes of weights per second (GB/s): from 64
//! MiB, more than the caches hold, where plain reading is the upper limit; and from a core's own
//! cache, where arithmetic is the limit. Products with many rows are measured in multiply-adds per
//! second (1 Gelem/s is 2 GOP/s), everything else in values per second.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use half::f16;
use lilims_gguf::TensorType;
use lilims_quant::{Activations, Kernel, PANEL_ROWS, vector};

/// Values per weight row.
const N_COLS: usize = 2048;
/// Activation rows in products with many rows.
const N_TOKENS: usize = 64;
/// Size of weights that exceeds the caches.
const MEMORY_BYTES: usize = 64 << 20;
/// Size of weights that fits into a core's own cache.
const CACHED_BYTES: usize = 128 << 10;
/// Approximate size of the weights of one kernel call.
const CHUNK_BYTES: usize = 16 << 10;
/// Values per attention head, and number of cached keys.
const HEAD_DIM: usize = 64;
const N_KEYS: usize = 512;

const FLOATS: [TensorType; 3] = [TensorType::F32, TensorType::F16, TensorType::BF16];
const QUANTISED: [TensorType; 11] = [
    TensorType::Q8_0,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::IQ4_NL,
    TensorType::Q6_K,
    TensorType::Q5_K,
    TensorType::Q4_K,
    TensorType::Q3_K,
    TensorType::Q2_K,
];

fn kernel(ty: TensorType) -> Kernel {
    Kernel::new(ty).expect("a supported type")
}

/// Weights whose bytes give no infinities, NaNs or subnormals in any type.
fn weights(size_bytes: usize) -> Vec<u8> {
    vec![0x3c; size_bytes]
}

fn activations(n_rows: usize) -> Vec<f32> {
    (0..n_rows * N_COLS).map(|i| (i % 97) as f32 - 48.0).collect()
}

fn quantised(n_rows: usize) -> Activations {
    let mut quantised = Activations::new(n_rows, N_COLS);
    quantised.quantize(&activations(n_rows));
    quantised
}

/// The longest prefix of `bytes` that is whole rows.
fn whole_rows(kernel: Kernel, bytes: &[u8]) -> &[u8] {
    let row_bytes = kernel.row_bytes(N_COLS);
    &bytes[..bytes.len() / row_bytes * row_bytes]
}

/// Measures `body`, which processes `work`, under the type's name.
fn per_type(
    group: &mut BenchmarkGroup<'_, WallTime>,
    ty: TensorType,
    work: Throughput,
    mut body: impl FnMut(),
) {
    group.throughput(work);
    group.bench_function(BenchmarkId::from_parameter(ty), |bencher| bencher.iter(&mut body));
}

/// Products with one activation row: decoding.
fn matvec(criterion: &mut Criterion) {
    let bytes = weights(MEMORY_BYTES);
    let all_threads = thread::available_parallelism().map_or(1, usize::from);
    let mut thread_counts = vec![1, all_threads];
    thread_counts.dedup();
    for n_threads in thread_counts {
        let name = format!("matvec from memory, threads {n_threads}, weights");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::BytesDecimal(MEMORY_BYTES as u64));
        let part_bytes = MEMORY_BYTES.div_ceil(n_threads);
        let read = |part: &[u8]| {
            black_box(sum(black_box(part)));
        };
        group.bench_function("limit: plain reading", |bencher| {
            bencher.iter(|| on_threads(bytes.chunks(part_bytes), read));
        });
        all_matvecs(&mut group, &bytes, n_threads);
        group.finish();
    }
    let mut group = criterion.benchmark_group("matvec cached, weights");
    all_matvecs(&mut group, &bytes[..CACHED_BYTES], 1);
    group.finish();
}

fn all_matvecs(group: &mut BenchmarkGroup<'_, WallTime>, bytes: &[u8], n_threads: usize) {
    let (x, quantised) = (activations(1), quantised(1));
    for ty in FLOATS.into_iter().chain(QUANTISED) {
        let kernel = kernel(ty);
        let row_bytes = kernel.row_bytes(N_COLS);
        let rows = whole_rows(kernel, bytes);
        let mut out = vec![0.0; rows.len() / row_bytes];
        // Calls of the same size as in the engine.
        let chunk_rows = (CHUNK_BYTES / row_bytes).next_multiple_of(PANEL_ROWS);
        let part_rows = out.len().div_ceil(n_threads).next_multiple_of(chunk_rows);
        let multiply = |(rows, out): (&[u8], &mut [f32])| {
            let chunk_bytes = chunk_rows * row_bytes;
            for (idx, out) in out.chunks_mut(chunk_rows).enumerate() {
                let (rows, ahead) = rows[idx * chunk_bytes..].split_at(out.len() * row_bytes);
                if kernel.quantizes_activations() {
                    kernel.matvec(black_box(rows), ahead, quantised.row(0), out);
                } else {
                    kernel.matmul_float(black_box(rows), ahead, &x, N_COLS, out);
                }
            }
        };
        per_type(group, ty, Throughput::BytesDecimal(rows.len() as u64), || {
            let parts = rows.chunks(part_rows * row_bytes).zip(out.chunks_mut(part_rows));
            on_threads(parts, multiply);
        });
    }
}

/// Runs `body` for each part on its own thread; the first part runs on the current thread.
fn on_threads<T: Send>(parts: impl Iterator<Item = T>, body: impl Fn(T) + Sync) {
    let mut parts = parts;
    let Some(first) = parts.next() else { return };
    let body = &body;
    thread::scope(|scope| {
        for part in parts {
            scope.spawn(move || body(part));
        }
        body(first);
    });
}

/// Sums all words, which costs nothing compared to reading them. Reads four streams at once, like
/// the kernels, because hardware serves several streams faster than one.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [[0_u64; 8]; 4];
    for chunk in bytes.chunks_exact(4 * CHUNK_BYTES) {
        let lines = chunk.as_chunks::<8>().0.as_chunks::<8>().0;
        let lines_apart = lines.len() / sums.len();
        for idx in 0..lines_apart {
            for (stream, sums) in sums.iter_mut().enumerate() {
                for (sum, &word) in sums.iter_mut().zip(&lines[stream * lines_apart + idx]) {
                    *sum = sum.wrapping_add(u64::from_le_bytes(word));
                }
            }
        }
    }
    sums.as_flattened().iter().fold(0, |all, &sum| all.wrapping_add(sum))
}

/// Products with many activation rows, and unpacking into panels: prefill.
fn panels(criterion: &mut Criterion) {
    let quantised = quantised(N_TOKENS);
    let bytes = weights(PANEL_ROWS * N_COLS * size_of::<f32>());
    let mut group = criterion.benchmark_group("panel product, multiply-adds");
    for ty in QUANTISED {
        let kernel = kernel(ty);
        let mut panel = kernel.panel(N_COLS);
        panel.load(&bytes[..PANEL_ROWS * kernel.row_bytes(N_COLS)]);
        let mut tile = vec![[0.0; PANEL_ROWS]; N_TOKENS];
        let work = Throughput::Elements((PANEL_ROWS * N_COLS * N_TOKENS) as u64);
        per_type(&mut group, ty, work, || panel.matmul(black_box(quantised.batch()), 0, &mut tile));
    }
    group.finish();

    let mut group = criterion.benchmark_group("unpack into a panel, values");
    for ty in QUANTISED {
        let kernel = kernel(ty);
        let rows = &bytes[..PANEL_ROWS * kernel.row_bytes(N_COLS)];
        let mut panel = kernel.panel(N_COLS);
        let work = Throughput::Elements((PANEL_ROWS * N_COLS) as u64);
        per_type(&mut group, ty, work, || panel.load(black_box(rows)));
    }
    group.finish();
}

/// Products of float weights with many rows, and the two products of attention.
fn floats(criterion: &mut Criterion) {
    let x = activations(N_TOKENS);
    let bytes = weights(PANEL_ROWS * N_COLS * size_of::<f32>());
    let mut group = criterion.benchmark_group("float product, multiply-adds");
    for ty in FLOATS {
        let kernel = kernel(ty);
        let rows = &bytes[..PANEL_ROWS * kernel.row_bytes(N_COLS)];
        let mut out = vec![0.0; PANEL_ROWS * N_TOKENS];
        let work = Throughput::Elements((PANEL_ROWS * N_COLS * N_TOKENS) as u64);
        per_type(&mut group, ty, work, || {
            kernel.matmul_float(black_box(rows), rows, &x, N_COLS, &mut out);
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("attention of a head, multiply-adds");
    group.throughput(Throughput::Elements((N_KEYS * HEAD_DIM) as u64));
    let kernel = kernel(TensorType::F16);
    let cached = weights(N_KEYS * kernel.row_bytes(HEAD_DIM));
    let (query, mut scores) = (vec![0.5; HEAD_DIM], vec![0.1; N_KEYS]);
    group.bench_function("keys", |bencher| {
        bencher.iter(|| {
            kernel.matmul_float(black_box(&cached), &cached, &query, HEAD_DIM, &mut scores)
        });
    });
    let (p, mut out) = (vec![0.1; N_KEYS], vec![0.0; HEAD_DIM]);
    group.bench_function("values", |bencher| {
        bencher.iter(|| kernel.add_weighted(black_box(&cached), &cached, &p, HEAD_DIM, &mut out));
    });
    group.finish();
}

/// Vector operations between the products.
fn vectors(criterion: &mut Criterion) {
    let x = activations(1);
    let ones = vec![1.0; N_COLS];
    let mut out = vec![0.0; N_COLS];
    let mut halves = vec![f16::ZERO; N_COLS];
    let mut quantised = Activations::new(1, N_COLS);
    let mut group = criterion.benchmark_group("vectors, values");
    group.throughput(Throughput::Elements(N_COLS as u64));
    let mut bench = |name, body: &mut dyn FnMut()| {
        group.bench_function(name, |bencher| bencher.iter(&mut *body));
    };
    bench("quantize", &mut || quantised.quantize(black_box(&x)));
    bench("rms_norm", &mut || vector::rms_norm(black_box(&x), &ones, 1e-5, &mut out));
    bench("to_f16", &mut || vector::to_f16(black_box(&x), &mut halves));
    let mut in_place = |name, run: &dyn Fn(&mut Vec<f32>)| {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| x.clone(), run, BatchSize::SmallInput);
        });
    };
    in_place("softmax", &|row| vector::softmax(row));
    in_place("silu_mul", &|row| vector::silu_mul(row, &ones));
    in_place("gelu_mul", &|row| vector::gelu_mul(row, &ones));
    group.finish();
}

/// Short runs: disturbances by other processes mostly show in the printed range.
fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = kernels;
    config = settings();
    targets = matvec, panels, floats, vectors
}
criterion_main!(kernels);
