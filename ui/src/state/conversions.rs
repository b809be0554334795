//! Queries on a conversion offer: which types are listed, and which is chosen first.

use lilims_ipc::{ConversionOffer, ConversionTarget};

/// The types to list: all, or the common ones and the chosen one.
pub(crate) fn offered_targets(
    offer: &ConversionOffer,
    shows_all: bool,
    chosen: &str,
) -> Vec<ConversionTarget> {
    let is_shown =
        |target: &&ConversionTarget| shows_all || target.is_common || target.name == chosen;
    offer.targets.iter().filter(is_shown).cloned().collect()
}

/// The type that is chosen first: the recommended one, or if that does not make the model smaller,
/// the largest that does.
pub(crate) fn first_choice(offer: &ConversionOffer) -> Option<String> {
    let is_smaller = |target: &&ConversionTarget| target.size_bytes < offer.size_bytes;
    let recommended = offer.targets.iter().find(|target| target.is_recommended);
    let smaller = || offer.targets.iter().filter(is_smaller).max_by_key(|target| target.size_bytes);
    let chosen = recommended.filter(is_smaller).or_else(smaller).or(recommended);
    chosen.or(offer.targets.first()).map(|target| target.name.clone())
}

#[cfg(test)]
mod tests {
    use lilims_ipc::Quality;

    use super::*;

    fn target(name: &str, size_bytes: u64, is_common: bool) -> ConversionTarget {
        ConversionTarget {
            name: name.into(),
            quality: Quality::Good,
            bits_per_weight: 4.5,
            is_recommended: name == "Q4_K_M",
            is_common,
            size_bytes,
            caution: None,
            removes: Vec::new(),
            obstacle: None,
        }
    }

    fn offer(size_bytes: u64) -> ConversionOffer {
        ConversionOffer {
            name: "m".into(),
            title: "M".into(),
            quantisation: "F16".into(),
            size_bytes,
            is_weighed: false,
            targets: vec![
                target("Q8_0", 80, true),
                target("Q4_K_M", 48, true),
                target("Q4_0", 45, false),
                target("Q2_K", 30, true),
            ],
        }
    }

    #[test]
    fn recommended_type_is_first_unless_it_is_not_smaller() {
        assert_eq!(first_choice(&offer(160)).as_deref(), Some("Q4_K_M"));
        assert_eq!(first_choice(&offer(47)).as_deref(), Some("Q4_0"));
        assert_eq!(first_choice(&offer(20)).as_deref(), Some("Q4_K_M"));
    }

    #[test]
    fn chosen_type_is_always_listed() {
        let names = |shows_all, chosen| {
            let targets = offered_targets(&offer(160), shows_all, chosen);
            targets.into_iter().map(|target| target.name).collect::<Vec<_>>()
        };
        assert_eq!(names(false, "Q8_0"), ["Q8_0", "Q4_K_M", "Q2_K"]);
        assert_eq!(names(false, "Q4_0").len(), 4);
        assert_eq!(names(true, "Q8_0").len(), 4);
    }
}
