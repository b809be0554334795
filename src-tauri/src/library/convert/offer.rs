//! The types that a model can be converted to, with what each takes and keeps.

use std::path::Path;

use lilims_convert::{Mix, expected_bytes, expected_sizes};
use lilims_gguf::File;
use lilims_hub::{Entry, Library};
use lilims_ipc::{ConversionOffer, ConversionTarget, Error, Quality};

use super::{errors, job};
use crate::library::{errors as library_errors, shown};

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
    good_for: &'static str,
}

/// All types, those that keep most first.
const KINDS: [Kind; 18] = [
    kind(Mix::F32, false, Quality::Lossless, "twice the room of F16, nothing gained"),
    kind(Mix::F16, false, Quality::Lossless, "the original, to convert further"),
    kind(Mix::BF16, false, Quality::Lossless, "the original, as it is trained"),
    kind(Mix::Q8_0, true, Quality::Excellent, "as good as the original"),
    kind(Mix::Q6_K, true, Quality::Excellent, "hardly less than the original"),
    kind(Mix::Q5_1, false, Quality::VeryGood, "an older type, larger than Q5_K_M"),
    kind(Mix::Q5_K_M, true, Quality::VeryGood, "more careful than Q4_K_M"),
    kind(Mix::Q5_K_S, false, Quality::VeryGood, "a little smaller than Q5_K_M"),
    kind(Mix::Q5_0, false, Quality::VeryGood, "an older type"),
    kind(Mix::Q4_1, false, Quality::Good, "an older type, fast"),
    kind(Mix::Q4_K_M, true, Quality::Good, "small and good"),
    kind(Mix::Q4_K_S, false, Quality::Good, "a little smaller than Q4_K_M"),
    kind(Mix::IQ4_NL, false, Quality::Good, "better than Q4_0 at its size"),
    kind(Mix::Q4_0, false, Quality::Fair, "an older type, the fastest"),
    kind(Mix::Q3_K_L, false, Quality::Fair, "a little better than Q3_K_M"),
    kind(Mix::Q3_K_M, true, Quality::Fair, "small, with plain losses"),
    kind(Mix::Q3_K_S, false, Quality::Poor, "where Q3_K_M does not fit"),
    kind(Mix::Q2_K, true, Quality::Poor, "the smallest, for large models only"),
];

const fn kind(mix: Mix, is_common: bool, quality: Quality, good_for: &'static str) -> Kind {
    Kind { mix, is_common, quality, good_for }
}

/// What the model `name` could become.
pub(super) fn offer(
    library: &Library,
    name: &str,
    is_weighed: bool,
) -> Result<ConversionOffer, Error> {
    let entry = library.entry(name).map_err(|error| library_errors::of(&error))?;
    let source = Source::read(&entry.path)?;
    let options = job::options(RECOMMENDED, &entry);
    let sizes =
        expected_sizes(&entry.path, &options, is_weighed).map_err(|error| errors::of(&error))?;
    let size = |mix| sizes.iter().find(|size| size.0 == mix).map(|size| size.1);
    let targets = KINDS.iter().filter_map(|kind| Some((kind, size(kind.mix)?)));
    let targets =
        targets.map(|(kind, size_bytes)| target(kind, size_bytes, library, &entry, &source));
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
    expected_bytes(&entry.path, &job::options(mix, entry), is_weighed)
}

/// A type as this model would have it, in a file of `size_bytes`.
fn target(
    kind: &Kind,
    size_bytes: u64,
    library: &Library,
    entry: &Entry,
    source: &Source,
) -> Result<ConversionTarget, Error> {
    let wrong = |error| library_errors::of(&error);
    let plan = library.plan_conversion(&entry.name, size_bytes).map_err(wrong)?;
    let obstacle = library.check(&plan).err().map(wrong);
    let name = kind.mix.to_string();
    Ok(ConversionTarget {
        good_for: kind.good_for.to_owned(),
        quality: kind.quality,
        bits_per_weight: bits(size_bytes, source.n_parameters),
        is_recommended: kind.mix == RECOMMENDED,
        is_common: kind.is_common,
        size_bytes,
        caution: caution(entry, source.bits_per_weight, &name, size_bytes),
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

/// What a file takes for each parameter.
fn bits(size_bytes: u64, n_parameters: u64) -> f32 {
    (size_bytes as f64 * 8.0 / n_parameters.max(1) as f64) as f32
}

/// What the source's tensors tell.
struct Source {
    n_parameters: u64,
    bits_per_weight: f32,
}

impl Source {
    fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| crate::errors::not_loaded(&error.into()))?;
        let n_parameters =
            file.tensors().iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum();
        let n_bytes = file.tensors().iter().map(|tensor| tensor.size_bytes).sum();
        Ok(Self { n_parameters, bits_per_weight: bits(n_bytes, n_parameters) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_in_the_table_those_that_keep_most_first() {
        for mix in Mix::all() {
            assert_eq!(KINDS.iter().filter(|kind| kind.mix == mix).count(), 1, "{mix}");
        }
        assert!(KINDS.iter().any(|kind| kind.mix == RECOMMENDED && kind.is_common));
        assert!(KINDS.is_sorted_by_key(|kind| kind.quality as u8));
    }

    #[test]
    fn bits_are_those_of_the_file() {
        assert_eq!(bits(18, 32), 4.5);
        assert_eq!(bits(0, 0), 0.0);
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
