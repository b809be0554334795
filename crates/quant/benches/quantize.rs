//! Benchmarks of the quantisers: `cargo bench -p lilims-quant --bench quantize`, with part of a
//! name after `--` to select some. Values per second on one thread, with and without column
//! importance.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lilims_gguf::TensorType;
use lilims_quant::quantize;

/// Values per row.
const N_COLS: usize = 2048;
/// Rows per measurement; with their blocks they fit into a core's own cache.
const N_ROWS: usize = 32;

const TYPES: [TensorType; 13] = [
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

/// Values distributed like weights: sums of four uniform values of a linear congruential generator.
fn weights(n: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut even = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| 0.02 * (even() + even() + even() + even())).collect()
}

fn quantisers(criterion: &mut Criterion) {
    let rows = weights(N_ROWS * N_COLS);
    let importance: Vec<f32> = weights(N_COLS).iter().map(|value| value.abs() + 1e-4).collect();
    for (name, importance) in
        [("quantize, values", None), ("quantize by importance, values", Some(&importance[..]))]
    {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(rows.len() as u64));
        for ty in TYPES {
            let row_bytes = ty.size_bytes(N_COLS as u64).expect("whole blocks") as usize;
            let mut out = vec![0; N_ROWS * row_bytes];
            group.bench_function(BenchmarkId::from_parameter(ty), |bencher| {
                bencher.iter(|| {
                    let rows = black_box(&rows).chunks_exact(N_COLS);
                    for (row, out) in rows.zip(out.chunks_exact_mut(row_bytes)) {
                        quantize(ty, row, importance, out).expect("a row of numbers");
                    }
                });
            });
        }
        group.finish();
    }
}

/// Short runs: disturbances by other processes mostly show in the printed range.
fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = quantize_rows;
    config = settings();
    targets = quantisers
}
criterion_main!(quantize_rows);
