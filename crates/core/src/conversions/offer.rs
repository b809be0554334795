//! The types that a model can be converted to, with the size and the quality of each.

use std::path::Path;

use lilims_convert::{Mix, expected_bytes, expected_sizes};
use lilims_gguf::File;
use lilims_hub::{Entry, Library};
use lilims_ipc::{Caution, ConversionOffer, ConversionTarget, Error, Quality};

use super::job;
use crate::library::present;
use crate::problem;

/// The type to take without a reason for another.
const RECOMMENDED: Mix = Mix::Q4_K_M;
/// From this many bits for each parameter on, a source is as good as the original.
const WHOLE_BITS: f32 = 8.0;

/// A type with its quality.
struct Kind {
    mix: Mix,
    /// Whether most people choose among it and few others.
    is_common: bool,
    quality: Quality,
}

/// All types, those that keep most first.
const KINDS: [Kind; 18] = [
    kind(Mix::F32, false, Quality::Lossless),
    kind(Mix::F16, false, Quality::Lossless),
    kind(Mix::BF16, false, Quality::Lossless),
    kind(Mix::Q8_0, true, Quality::Excellent),
    kind(Mix::Q6_K, true, Quality::Excellent),
    kind(Mix::Q5_1, false, Quality::VeryGood),
    kind(Mix::Q5_K_M, true, Quality::VeryGood),
    kind(Mix::Q5_K_S, false, Quality::VeryGood),
    kind(Mix::Q5_0, false, Quality::VeryGood),
    kind(Mix::Q4_1, false, Quality::Good),
    kind(Mix::Q4_K_M, true, Quality::Good),
    kind(Mix::Q4_K_S, false, Quality::Good),
    kind(Mix::IQ4_NL, false, Quality::Good),
    kind(Mix::Q4_0, false, Quality::Fair),
    kind(Mix::Q3_K_L, false, Quality::Fair),
    kind(Mix::Q3_K_M, true, Quality::Fair),
    kind(Mix::Q3_K_S, false, Quality::Poor),
    kind(Mix::Q2_K, true, Quality::Poor),
];

const fn kind(mix: Mix, is_common: bool, quality: Quality) -> Kind {
    Kind { mix, is_common, quality }
}

/// The types that the model `name` can be converted to. Reads its header: blocks.
///
/// # Errors
/// When there is no such model, or its file cannot be read or converted.
pub(crate) fn offer(
    library: &Library,
    name: &str,
    is_weighed: bool,
) -> Result<ConversionOffer, Error> {
    let entry = library.entry(name)?;
    let source = Source::read(&entry.path)?;
    let options = job::options(RECOMMENDED, &entry);
    let sizes = expected_sizes(&entry.path, &options, is_weighed)
        .map_err(|error| problem::not_converted(&error))?;
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
    let plan = library.plan_conversion(&entry.name, size_bytes)?;
    let obstacle = library.check(&plan).err().map(Error::from);
    let name = kind.mix.to_string();
    Ok(ConversionTarget {
        quality: kind.quality,
        bits_per_weight: bits(size_bytes, source.n_parameters),
        is_recommended: kind.mix == RECOMMENDED,
        is_common: kind.is_common,
        size_bytes,
        caution: caution(entry, source.bits_per_weight, &name, size_bytes),
        removes: plan.removes.into_iter().map(present::planned_model).collect(),
        obstacle,
        name,
    })
}

/// Why a model gains nothing by a type, or less than it seems.
fn caution(entry: &Entry, bits_per_weight: f32, target: &str, size_bytes: u64) -> Option<Caution> {
    if entry.quantisation == target {
        Some(Caution::SameType)
    } else if size_bytes >= entry.size_bytes {
        Some(Caution::Larger { bits_per_weight })
    } else if bits_per_weight < WHOLE_BITS {
        Some(Caution::AlreadyQuantised { bits_per_weight })
    } else {
        None
    }
}

/// Bits of a file for each parameter.
fn bits(size_bytes: u64, n_parameters: u64) -> f32 {
    (size_bytes as f64 * 8.0 / n_parameters.max(1) as f64) as f32
}

/// Totals of the source's tensors.
struct Source {
    n_parameters: u64,
    bits_per_weight: f32,
}

impl Source {
    fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| problem::not_loaded(&error.into()))?;
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
        let caution = |bits, target, size| caution(&entry, bits, target, size);
        let bits_per_weight = 5.0;
        assert_eq!(caution(5.0, "Q4_1", 98), Some(Caution::SameType));
        assert_eq!(caution(5.0, "Q8_0", 145), Some(Caution::Larger { bits_per_weight }));
        assert_eq!(caution(5.0, "Q4_0", 91), Some(Caution::AlreadyQuantised { bits_per_weight }));
        assert_eq!(caution(16.0, "Q4_0", 91), None);
    }
}
