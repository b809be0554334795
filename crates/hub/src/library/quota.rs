//! Chooses the models to remove when space is needed: least recently used first.

use std::cmp::Ordering;

use lilims_ipc::StayReason;

/// The default quota is the free and used space divided by this.
const DEFAULT_DIVISOR: u64 = 5;
/// The smallest default quota.
const MIN_DEFAULT_BYTES: u64 = 2_000_000_000;

/// A model in a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedModel {
    /// Its short name.
    pub name: String,
    /// The display name.
    pub title: String,
    /// Its size on disk.
    pub disk_bytes: u64,
    /// When it was last loaded, else added; milliseconds since 1970.
    pub last_used_ms: Option<u64>,
    /// Why it cannot be removed; `None` if it can.
    pub stays: Option<StayReason>,
}

/// Which models to remove to free space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bytes that are needed.
    pub needed_bytes: u64,
    /// The models to remove, in this order.
    pub removes: Vec<PlannedModel>,
    /// Less recently used models that cannot be removed.
    pub keeps: Vec<PlannedModel>,
    /// Bytes that are missing even so; then nothing is removed.
    pub missing_bytes: u64,
}

/// The default quota if `available_bytes` are free or used by the library.
pub(crate) fn default_quota(available_bytes: u64) -> u64 {
    (available_bytes / DEFAULT_DIVISOR).max(MIN_DEFAULT_BYTES)
}

/// Plans space for `needed_bytes`, where `models` and `other_bytes` use the quota and `free_bytes` are
/// free on the disk.
pub(super) fn plan(
    mut models: Vec<PlannedModel>,
    other_bytes: u64,
    needed_bytes: u64,
    quota_bytes: u64,
    free_bytes: u64,
) -> Plan {
    let used: u64 = models.iter().map(|it| it.disk_bytes).sum::<u64>() + other_bytes;
    let over_quota = used.saturating_add(needed_bytes).saturating_sub(quota_bytes);
    let mut missing = over_quota.max(needed_bytes.saturating_sub(free_bytes));
    models.sort_by(least_recently_used);
    let mut plan = Plan { needed_bytes, ..Plan::default() };
    for model in models {
        if missing == 0 {
            break;
        }
        if model.stays.is_some() {
            plan.keeps.push(model);
        } else {
            missing = missing.saturating_sub(model.disk_bytes);
            plan.removes.push(model);
        }
    }
    if missing > 0 {
        plan.removes.clear();
    }
    plan.missing_bytes = missing;
    plan
}

fn least_recently_used(a: &PlannedModel, b: &PlannedModel) -> Ordering {
    a.last_used_ms.cmp(&b.last_used_ms).then_with(|| a.name.cmp(&b.name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model(name: &str, gb: u64, used: u64, stays: Option<StayReason>) -> PlannedModel {
        let disk_bytes = gb * 1_000_000_000;
        let name = name.to_owned();
        PlannedModel { title: name.clone(), name, disk_bytes, last_used_ms: Some(used), stays }
    }

    fn names(models: &[PlannedModel]) -> Vec<&str> {
        models.iter().map(|it| it.name.as_str()).collect()
    }

    #[test]
    fn least_recently_used_are_removed_and_pinned_are_not() {
        let models = vec![
            model("new", 2, 9, None),
            model("pinned", 3, 1, Some(StayReason::Pinned)),
            model("old", 2, 2, None),
            model("older", 1, 1, None),
        ];
        let plan = plan(models, 0, 4_000_000_000, 10_000_000_000, u64::MAX);
        assert_eq!(names(&plan.removes), ["older", "old"]);
        assert_eq!(names(&plan.keeps), ["pinned"]);
        assert_eq!(plan.missing_bytes, 0);
    }

    #[test]
    fn nothing_is_removed_if_it_is_not_enough() {
        let models = vec![model("a", 1, 1, None), model("b", 9, 2, Some(StayReason::Loaded))];
        let plan = plan(models, 0, 4_000_000_000, 10_000_000_000, u64::MAX);
        assert_eq!((plan.removes.len(), plan.missing_bytes), (0, 3_000_000_000));
    }

    #[test]
    fn full_disk_requires_removal_below_the_quota() {
        let models = vec![model("a", 3, 1, None), model("b", 3, 2, None)];
        let plan = plan(models, 0, 4_000_000_000, u64::MAX / 2, 2_000_000_000);
        assert_eq!(names(&plan.removes), ["a"]);
    }

    #[test]
    fn default_is_a_fifth_and_at_least_two_gigabytes() {
        assert_eq!(default_quota(100_000_000_000), 20_000_000_000);
        assert_eq!(default_quota(1_000_000_000), 2_000_000_000);
    }

    fn any_model() -> impl Strategy<Value = PlannedModel> {
        let stays = prop::option::of(prop::sample::select(vec![
            StayReason::Pinned,
            StayReason::Loaded,
            StayReason::Downloading,
        ]));
        (0u32..1000, 0u64..5_000, prop::option::of(0u64..50), stays).prop_map(
            |(id, disk_bytes, last_used_ms, stays)| PlannedModel {
                name: id.to_string(),
                title: String::new(),
                disk_bytes,
                last_used_ms,
                stays,
            },
        )
    }

    proptest! {
        #[test]
        fn plans_are_minimal_and_least_recently_used_first(
            models in prop::collection::vec(any_model(), 0..12),
            other in 0u64..3_000,
            needed in 0u64..10_000,
            quota in 0u64..20_000,
            free in 0u64..20_000,
        ) {
            let used: u64 = models.iter().map(|it| it.disk_bytes).sum::<u64>() + other;
            let plan = plan(models.clone(), other, needed, quota, free);
            let freed: u64 = plan.removes.iter().map(|it| it.disk_bytes).sum();
            prop_assert!(plan.removes.iter().all(|it| it.stays.is_none()));
            if plan.missing_bytes == 0 {
                // It fits, and would not without the last removal.
                prop_assert!(used - freed + needed <= quota && needed <= free + freed
                    || plan.removes.is_empty() && used + needed <= quota && needed <= free);
                if let Some(last) = plan.removes.last() {
                    let before = freed - last.disk_bytes;
                    prop_assert!(used - before + needed > quota || needed > free + before);
                }
                // Removable models that stay were used later than all that are removed.
                let newest = plan.removes.iter().map(|it| it.last_used_ms).max();
                for it in models.iter().filter(|it| it.stays.is_none()) {
                    if let Some(newest) = newest && !plan.removes.contains(it) {
                        prop_assert!(it.last_used_ms >= newest);
                    }
                }
            } else {
                let removable: u64 = models.iter().filter(|it| it.stays.is_none())
                    .map(|it| it.disk_bytes).sum();
                prop_assert!(plan.removes.is_empty());
                prop_assert!(used - removable + needed > quota || needed > free + removable);
            }
        }
    }
}
