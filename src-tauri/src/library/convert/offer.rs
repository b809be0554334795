//! The types that a model can be converted to, with what each takes and keeps.

use std::path::Path;

use lilims_convert::{Mix, Options, expected_bytes, expected_sizes};
use lilims_gguf::File;
use lilims_hub::{Entry, Library};
use lilims_ipc::{ConversionOffer, ConversionTarget, Error, Quality};

use super::{errors, job};
use crate::library::{errors as library_errors, shown};

/// The model that `perplexity_percent` was measured on.
const MEASURED_ON: &str = "SmolLM2 135M";
/// The type to take without a reason for another.
const RECOMMENDED: Mix = Mix::Q4_K_M;
/// From so many bits for each parameter on, a source is as good as the original.
const WHOLE_BITS: f32 = 8.0;

/// What is known of a type.
struct Kind {
    mix: Mix,
    /// Whether most people choose among it and few others.
    is_common: bool,
    quality: Quality,
    /// How much larger the perplexity of [`MEASURED_ON`] was than that of the original, in per cent.
    perplexity_percent: Option<f32>,
    /// Of K types and their mixes what llama.cpp's `tools/quantize` found with Llama 3.1 8B, of the
    /// others what their blocks take.
    bits_per_weight: f32,
    good_for: &'static str,
}

/// All types, the largest first.
const KINDS: [Kind; 18] = [
    kind(Mix::F32, false, Quality::Lossless, None, 32.0, "twice the room of F16, nothing gained"),
    kind(Mix::F16, false, Quality::Lossless, None, 16.0, "the original, to convert further"),
    kind(Mix::BF16, false, Quality::Lossless, None, 16.0, "the original, as it is trained"),
    kind(Mix::Q8_0, true, Quality::Excellent, None, 8.5, "as good as the original"),
    kind(Mix::Q6_K, true, Quality::Excellent, None, 6.56, "hardly less than the original"),
    kind(Mix::Q5_1, false, Quality::VeryGood, None, 6.0, "an older type, larger than Q5_K_M"),
    kind(Mix::Q5_K_M, true, Quality::VeryGood, None, 5.7, "more careful than Q4_K_M"),
    kind(Mix::Q5_K_S, false, Quality::VeryGood, None, 5.57, "a little smaller than Q5_K_M"),
    kind(Mix::Q5_0, false, Quality::VeryGood, None, 5.5, "an older type"),
    kind(Mix::Q4_1, false, Quality::Good, None, 5.0, "an older type, fast"),
    kind(Mix::Q4_K_M, true, Quality::Good, None, 4.89, "small and good"),
    kind(Mix::Q4_K_S, false, Quality::Good, None, 4.67, "a little smaller than Q4_K_M"),
    kind(Mix::IQ4_NL, false, Quality::Good, None, 4.5, "better than Q4_0 at its size"),
    kind(Mix::Q4_0, false, Quality::Fair, None, 4.5, "an older type, the fastest"),
    kind(Mix::Q3_K_L, false, Quality::Fair, None, 4.3, "a little better than Q3_K_M"),
    kind(Mix::Q3_K_M, true, Quality::Fair, None, 4.0, "small, with plain losses"),
    kind(Mix::Q3_K_S, false, Quality::Poor, None, 3.64, "where Q3_K_M does not fit"),
    kind(Mix::Q2_K, true, Quality::Poor, None, 3.16, "the smallest, for large models only"),
];

const fn kind(
    mix: Mix,
    is_common: bool,
    quality: Quality,
    perplexity_percent: Option<f32>,
    bits_per_weight: f32,
    good_for: &'static str,
) -> Kind {
    Kind { mix, is_common, quality, perplexity_percent, bits_per_weight, good_for }
}

/// What the model `name` could become.
pub(super) fn offer(
    library: &Library,
    name: &str,
    is_weighed: bool,
) -> Result<ConversionOffer, Error> {
    let entry = library.entry(name).map_err(|error| library_errors::of(&error))?;
    let bits = bits_per_weight(Path::new(&entry.path))?;
    let options = with_importance(job::options(RECOMMENDED, &entry), is_weighed);
    let sizes =
        expected_sizes(Path::new(&entry.path), &options).map_err(|error| errors::of(&error))?;
    let size = |mix| sizes.iter().find(|size| size.0 == mix).map(|size| size.1);
    let targets = KINDS.iter().filter_map(|kind| Some((kind, size(kind.mix)?)));
    let targets = targets.map(|(kind, size_bytes)| target(kind, size_bytes, library, &entry, bits));
    let targets = targets.collect::<Result<_, _>>()?;
    Ok(ConversionOffer {
        name: entry.name,
        title: entry.title,
        quantisation: entry.quantisation,
        size_bytes: entry.size_bytes,
        is_weighed,
        targets,
    })
}

/// The length of the file that would be made of `entry`.
pub(super) fn size(
    entry: &Entry,
    mix: Mix,
    is_weighed: bool,
) -> Result<u64, lilims_convert::Error> {
    let options = job::options(mix, entry);
    expected_bytes(Path::new(&entry.path), &with_importance(options, is_weighed))
}

/// Some mixes choose other types where importance is known.
fn with_importance(mut options: Options, is_weighed: bool) -> Options {
    if is_weighed {
        options.importance.insert(String::new(), Vec::new());
    }
    options
}

/// A type as this model would have it, in a file of `size_bytes`.
fn target(
    kind: &Kind,
    size_bytes: u64,
    library: &Library,
    entry: &Entry,
    source_bits: f32,
) -> Result<ConversionTarget, Error> {
    let wrong = |error| library_errors::of(&error);
    let plan = library.plan_conversion(&entry.name, size_bytes).map_err(wrong)?;
    let obstacle = library.check(&plan).err().map(wrong);
    let name = kind.mix.to_string();
    Ok(ConversionTarget {
        good_for: kind.good_for.to_owned(),
        quality: kind.quality,
        perplexity_percent: kind.perplexity_percent,
        measured_on: MEASURED_ON.to_owned(),
        bits_per_weight: kind.bits_per_weight,
        is_recommended: kind.mix == RECOMMENDED,
        is_common: kind.is_common,
        size_bytes,
        caution: caution(entry, source_bits, &name, size_bytes),
        removes: plan.removes.into_iter().map(shown::plan_model).collect(),
        obstacle,
        name,
    })
}

/// Why a model gains nothing by a type, or less than it seems.
fn caution(entry: &Entry, source_bits: f32, target: &str, size_bytes: u64) -> Option<String> {
    let bits = source_bits.round();
    if entry.quantisation == target {
        Some(format!("This model is {target} already."))
    } else if size_bytes >= entry.size_bytes {
        Some(format!(
            "This model has {bits} bits for each parameter already: a larger type takes more room and \
             is not better."
        ))
    } else if source_bits < WHOLE_BITS {
        Some(format!(
            "This model has {bits} bits for each parameter; what it lost does not come back. Made from \
             the original, {target} would be better."
        ))
    } else {
        None
    }
}

/// Bits for each parameter of the model at `path`.
fn bits_per_weight(path: &Path) -> Result<f32, Error> {
    let file = File::open(path).map_err(|error| crate::errors::not_loaded(&error.into()))?;
    let (mut bytes, mut parameters) = (0.0, 0.0);
    for tensor in file.tensors() {
        bytes += tensor.size_bytes as f64;
        parameters += tensor.dims.iter().map(|&dim| dim as f64).product::<f64>();
    }
    Ok((bytes * 8.0 / parameters.max(1.0)) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_in_the_table_the_largest_first() {
        for mix in Mix::all() {
            assert_eq!(KINDS.iter().filter(|kind| kind.mix == mix).count(), 1, "{mix}");
        }
        assert!(KINDS.iter().any(|kind| kind.mix == RECOMMENDED && kind.is_common));
        assert!(KINDS.is_sorted_by(|a, b| a.bits_per_weight >= b.bits_per_weight));
    }

    #[test]
    fn what_gains_nothing_says_so() {
        let entry = Entry { quantisation: "Q4_1".into(), size_bytes: 98, ..Entry::default() };
        let caution = |bits, target, size| caution(&entry, bits, target, size).unwrap_or_default();
        assert_eq!(caution(5.0, "Q4_1", 98), "This model is Q4_1 already.");
        assert!(caution(5.0, "Q8_0", 145).contains("has 5 bits"));
        assert!(caution(5.0, "Q4_0", 91).contains("does not come back"));
        assert_eq!(caution(16.0, "Q4_0", 91), "");
    }
}
