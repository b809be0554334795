//! Estimates of small models against values computed by hand.

use proptest::prelude::*;

use super::super::samples;
use super::*;

fn of_gemma(context: usize, kv_type: KvType) -> MemoryEstimate {
    let options = LoadOptions { context: Some(context), kv_type, ..samples::options() };
    MemoryEstimate::new(&samples::gemma3_file(), &options).unwrap()
}

#[test]
fn cache_is_listed_by_kind_of_layer() {
    let estimate = of_gemma(8192, KvType::F16);
    let local = 5 * 2 * 32 * (512 + 2048) * 2;
    let global = 2 * 32 * (8192 + 256) * 2;
    let part = |layers, window, positions, bytes| CachePart { layers, window, positions, bytes };
    let expected = [part(5, Some(512), 2560, local), part(1, None, 8448, global)];
    assert_eq!(estimate.cache, expected);
    let parts = estimate.parts();
    let shape = |n_layers, tokens, extra_tokens| CacheShape {
        n_layers,
        n_kv_heads: 1,
        head_dim: 32,
        tokens,
        extra_tokens,
        kv_type: KvType::F16,
        bytes_per_number: 2.0,
    };
    assert_eq!(parts[1].kind, MemoryPartKind::WindowCache(shape(5, 512, 2048)));
    assert_eq!(parts[2].kind, MemoryPartKind::ContextCache(shape(1, 8192, 256)));
    assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), estimate.total_bytes());
}

#[test]
fn cache_estimate_matches_allocation() {
    for context in [1, 300, 2048, 10_000] {
        for kv_type in [KvType::F32, KvType::F16, KvType::Q8_0] {
            let expected = samples::gemma3().cache_bytes(context, kv_type).unwrap();
            assert_eq!(of_gemma(context, kv_type).cache_bytes(), expected);
        }
    }
    // A context shorter than the window leaves one kind of layer.
    let MemoryPartKind::ContextCache(shape) = of_gemma(300, KvType::Q8_0).parts()[1].kind else {
        panic!("one kind of layer");
    };
    assert_eq!((shape.n_layers, shape.tokens, shape.extra_tokens), (6, 300, 256));
    assert_eq!(shape.bytes_per_number * 32.0, 34.0);
}

#[test]
fn needs_only_the_header() {
    let whole = samples::gemma3_file();
    let total_bytes = whole.total_bytes();
    let first = whole.tensors().iter().map(|tensor| whole.data(tensor).unwrap().as_ptr().addr());
    let header = first.min().unwrap() - whole.as_bytes().as_ptr().addr();
    let header = File::from_header(whole.as_bytes()[..header].to_vec(), total_bytes).unwrap();
    let of = |file| MemoryEstimate::new(file, &samples::options()).unwrap();
    assert_eq!(of(&header), of(&whole));
    assert_eq!(of(&header).weights_bytes, total_bytes);
    assert_eq!(of(&header).n_parameters, 64 * 1000 + 64 + 64 * 128);
}

#[test]
fn rejects_unsupported_models() {
    let tensors: [samples::Tensor<'_>; 2] = [
        ("token_embd.weight", &[64, 10], TensorType::F32),
        ("blk.0.attn_q.weight", &[64, 64], TensorType::I16),
    ];
    let numbers = [
        ("block_count", 1),
        ("context_length", 128),
        ("embedding_length", 64),
        ("feed_forward_length", 64),
        ("attention.head_count", 4),
    ];
    let of = |family, tensors| {
        let file = File::from_bytes(samples::file(family, &numbers, tensors)).unwrap();
        let options = LoadOptions { kv_type: KvType::Q8_0, ..samples::options() };
        MemoryEstimate::new(&file, &options).unwrap_err().to_string()
    };
    assert!(of("llama", &tensors).contains("attn_q.weight` has type I16"));
    assert!(of("llama", &tensors[..1]).contains("heads of 16 dimensions"));
    assert!(of("mamba", &tensors[..1]).contains("`mamba` is not supported"));
}

fn peak(model: &str, family: &str, non_weights: u64) -> MeasuredPeak {
    MeasuredPeak {
        model: model.to_owned(),
        family: family.to_owned(),
        weights_bytes: 1000,
        estimated_bytes: 1100,
        measured_bytes: 1000 + non_weights,
    }
}

#[test]
fn past_runs_correct_everything_but_weights() {
    let estimate = of_gemma(2048, KvType::F16);
    let ratio = |peaks: &[MeasuredPeak]| estimate.clone().corrected("this", peaks).correction;
    assert_eq!(ratio(&[]), None);
    assert_eq!(ratio(&[peak("other", "llama", 150)]), None);
    assert_eq!(ratio(&[peak("other", "gemma3", 150)]), Some(1.5));
    let own = [120, 160, 90].map(|non_weights| peak("this", "gemma3", non_weights));
    let all = [own.as_slice(), &[peak("other", "gemma3", 150)]].concat();
    assert_eq!(ratio(&all), Some(1.2));
    assert_eq!(ratio(&all[..2]), Some(1.4));
    // Implausible measurements are clamped: memory of another program, weights that were not read.
    assert_eq!(ratio(&[peak("this", "gemma3", 100_000)]), Some(4.0));
    let unread = MeasuredPeak { measured_bytes: 500, ..peak("this", "gemma3", 0) };
    assert_eq!(ratio(&[unread]), Some(0.5));
    let senseless = MeasuredPeak { estimated_bytes: 1000, ..peak("this", "gemma3", 10) };
    assert_eq!(ratio(&[senseless]), None);

    let corrected = estimate.clone().corrected("this", &all);
    assert_eq!(corrected.weights_bytes, estimate.weights_bytes);
    let expected = (estimate.total_bytes() - estimate.weights_bytes) as f64 * 1.2;
    let non_weights = (corrected.total_bytes() - corrected.weights_bytes) as f64;
    assert!((non_weights - expected).abs() < 8.0, "{non_weights} {expected}");
}

/// The largest valid dimension.
const MAX_DIMENSION: u32 = 1 << 24;

proptest! {
    /// No header makes an estimate panic, however large its values are.
    #[test]
    fn survives_crafted_headers(
        sizes in proptest::collection::vec(1..=MAX_DIMENSION, 4),
        n_layers in 1..=1024_u32,
        half_head_dim in 1..=MAX_DIMENSION / 2,
        share in 1..=64_u32,
        most_kv_heads in 1..=MAX_DIMENSION,
        (rows, columns) in any::<(u64, u64)>(),
        context in any::<Option<usize>>(),
    ) {
        let head_dim = 2 * half_head_dim;
        // At most the valid number; 0 by the division if heads are too wide.
        let n_kv_heads = most_kv_heads.min(MAX_DIMENSION / head_dim / share).max(1);
        let numbers = [
            ("block_count", n_layers),
            ("context_length", sizes[0]),
            ("embedding_length", sizes[1]),
            ("feed_forward_length", sizes[2]),
            ("attention.sliding_window", sizes[3]),
            ("attention.head_count", n_kv_heads * share),
            ("attention.head_count_kv", n_kv_heads),
            ("attention.key_length", head_dim),
            ("attention.value_length", head_dim),
        ];
        let tensors: [samples::Tensor<'_>; 2] = [
            ("token_embd.weight", &[32, 5], TensorType::F32),
            ("blk.0.ffn_up.weight", &[64, 7], TensorType::Q4_0),
        ];
        let mut bytes = samples::file("gemma3", &numbers, &tensors);
        let needle = [64_u64.to_le_bytes(), 7_u64.to_le_bytes()].concat();
        let at = bytes.windows(16).position(|window| window == needle).unwrap();
        // Use zero rows for unbounded widths, so that the size of the tensor is not rejected first.
        let (rows, columns) = if rows % 2 == 0 { (0, columns) } else { (rows, columns % 4096) };
        bytes[at..at + 8].copy_from_slice(&(columns / 32 * 32).to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&rows.to_le_bytes());
        let Ok(file) = File::from_header(bytes, u64::MAX) else { return Ok(()) };
        let options = LoadOptions { context, ..samples::options() };
        match MemoryEstimate::new(&file, &options) {
            Ok(estimate) => {
                prop_assert!(estimate.total_bytes() >= estimate.weights_bytes);
                estimate.parts();
            }
            Err(error) => prop_assert!(head_dim * share > MAX_DIMENSION, "{error}"),
        }
    }
}
