//! Measures the kernels of `quant` on one thread: `cargo run --release --example kernels`.
//!
//! Matrix-vector products read 64 MiB of weights, more than the caches hold, so GB/s is of
//! memory; the first line is the roof, a plain sum over the same bytes. The same product over
//! cached weights shows what the arithmetic allows. Panels stay in the cache:
//! GOP/s counts a multiplication and an addition each. Every figure is the best of several runs,
//! since other processes only ever slow one down.

use std::hint::black_box;
use std::time::Instant;

use lilims_gguf::TensorType;
use lilims_quant::{Activations, Isa, Kernel, PANEL_ROWS, vector};

/// Values in a row.
const N_COLS: usize = 768;
/// Activation rows of a panel product.
const N_TOKENS: usize = 64;
const WEIGHT_BYTES: usize = 64 << 20;
/// Weights that fit in a core's own cache: what the arithmetic alone allows.
const CACHED_BYTES: usize = 128 << 10;
const RUNS: usize = 7;
/// Repetitions of what is too short to time.
const REPEATS: usize = 20;

const TYPES: [TensorType; 14] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
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

fn main() {
    println!("{} kernels, one thread, rows of {N_COLS}", Isa::detected().name());
    // 0x3c is an ordinary byte in every type: no infinities, NaNs or subnormals.
    let bytes = vec![0x3c_u8; WEIGHT_BYTES];
    let words = bytes.as_chunks::<8>().0;
    let roof = best(|| {
        let mut sums = [0_u64; 16];
        for words in words.chunks_exact(16) {
            for (sum, &word) in sums.iter_mut().zip(words) {
                *sum = sum.wrapping_add(u64::from_le_bytes(word));
            }
        }
        black_box(sums);
    });
    println!("reading memory: {:.1} GB/s", WEIGHT_BYTES as f64 / roof / 1e9);
    println!("type       vector GB/s  cached GB/s  matrix GOP/s  unpack Gvalue/s");
    let x: Vec<f32> = (0..N_TOKENS * N_COLS).map(|i| (i % 97) as f32 - 48.0).collect();
    for ty in TYPES {
        let kernel = Kernel::new(ty).expect("a supported type");
        if kernel.quantizes_activations() {
            quantized(kernel, &bytes, &x);
        } else {
            float(kernel, &bytes, &x);
        }
    }
    vectors(&x);
}

/// The shortest of several runs, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn quantized(kernel: Kernel, bytes: &[u8], x: &[f32]) {
    let mut activations = Activations::new(N_TOKENS, N_COLS);
    activations.quantize(x);
    let row_bytes = kernel.row_bytes(N_COLS);
    let n_rows = bytes.len() / row_bytes;
    let rows = &bytes[..n_rows * row_bytes];
    let mut out = vec![0.0; n_rows];
    let chunk = (32768 / row_bytes).next_multiple_of(16);
    let half = n_rows / 2 / chunk * chunk;
    let vector = best(|| {
        std::thread::scope(|scope| {
            let (a, b) = out.split_at_mut(half);
            for (part, out) in [(&rows[..half * row_bytes], a), (&rows[half * row_bytes..], b)] {
                let activations = &activations;
                scope.spawn(move || {
                    for (rows, out) in part.chunks(chunk * row_bytes).zip(out.chunks_mut(chunk)) {
                        kernel.matvec(black_box(rows), activations.row(0), out);
                    }
                });
            }
        })
    });
    let cached_rows = CACHED_BYTES / row_bytes;
    let few = &rows[..cached_rows * row_bytes];
    let few_out = &mut out[..cached_rows];
    let cached = best(|| {
        for _ in 0..REPEATS {
            kernel.matvec(black_box(few), activations.row(0), few_out);
        }
    });

    let mut panel = kernel.panel(N_COLS);
    let panel_rows = &rows[..PANEL_ROWS * row_bytes];
    let unpack = best(|| (0..REPEATS).for_each(|_| panel.load(black_box(panel_rows))));
    let mut tile = vec![[0.0; PANEL_ROWS]; N_TOKENS];
    let matrix = best(|| {
        (0..REPEATS).for_each(|_| panel.matmul(black_box(activations.batch()), 0, &mut tile))
    });
    let values = (PANEL_ROWS * N_COLS * REPEATS) as f64;
    println!(
        "{:<10} {:>11.1}  {:>11.1}  {:>12.1}  {:>15.2}",
        kernel.tensor_type().to_string(),
        rows.len() as f64 / vector / 1e9,
        (few.len() * REPEATS) as f64 / cached / 1e9,
        2.0 * values * N_TOKENS as f64 / matrix / 1e9,
        values / unpack / 1e9,
    );
}

fn float(kernel: Kernel, bytes: &[u8], x: &[f32]) {
    let row_bytes = kernel.row_bytes(N_COLS);
    let n_rows = bytes.len() / row_bytes;
    let rows = &bytes[..n_rows * row_bytes];
    let mut out = vec![0.0; n_rows];
    let vector = best(|| kernel.matmul_float(black_box(rows), &x[..N_COLS], N_COLS, &mut out));
    let few = &rows[..64 * row_bytes];
    let mut out = vec![0.0; 64 * N_TOKENS];
    let matrix = best(|| kernel.matmul_float(black_box(few), x, N_COLS, &mut out));
    println!(
        "{:<10} {:>11.1}  {:>11}  {:>12.1}",
        kernel.tensor_type().to_string(),
        rows.len() as f64 / vector / 1e9,
        "",
        2.0 * (64 * N_COLS * N_TOKENS) as f64 / matrix / 1e9,
    );
}

fn vectors(x: &[f32]) {
    let mut row = x[..N_COLS].to_vec();
    let ones = vec![1.0; N_COLS];
    let report = |name: &str, seconds: f64| {
        println!("{name}: {:.2} Gvalue/s", (N_COLS * REPEATS) as f64 / seconds / 1e9);
    };
    let mut repeat = |name, run: &mut dyn FnMut(&mut [f32])| {
        report(name, best(|| (0..REPEATS).for_each(|_| run(black_box(&mut row)))));
    };
    repeat("silu_mul", &mut |row| vector::silu_mul(row, &ones));
    repeat("softmax", &mut |row| vector::softmax(row));
    let mut activations = Activations::new(1, N_COLS);
    repeat("quantize", &mut |row| activations.quantize(row));
}
