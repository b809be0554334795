//! Which models leave to make room: the least recently used first, never those that must stay.

use std::cmp::Ordering;

use lilims_ipc::StayReason;

/// The quota is this share of the disk that is free or ours, unless the user says otherwise.
const DEFAULT_SHARE: u64 = 5;
/// The default quota is at least this.
const DEFAULT_LEAST_BYTES: u64 = 2_000_000_000;

/// A model as far as room is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// Its short name.
    pub name: String,
    /// The name to show.
    pub title: String,
    /// What it takes of the disk.
    pub disk_bytes: u64,
    /// When it was last loaded, or else added; milliseconds since 1970.
    pub last_used_ms: Option<u64>,
    /// Why it must stay; `None` for one that may leave.
    pub stays: Option<StayReason>,
}

/// What it takes to make room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is needed.
    pub needed_bytes: u64,
    /// The models that leave, the first to leave first.
    pub removes: Vec<Occupant>,
    /// Models that would have left before or among those, had they not had to stay.
    pub keeps: Vec<Occupant>,
    /// Bytes that are still missing after that; then nothing may leave.
    pub missing_bytes: u64,
}

/// The default quota, where `available_bytes` of the disk are free or ours.
pub(crate) fn default_quota(available_bytes: u64) -> u64 {
    (available_bytes / DEFAULT_SHARE).max(DEFAULT_LEAST_BYTES)
}

/// Plans room for `needed_bytes` where `occupants` and `other_bytes` share `quota_bytes`, and
/// `free_bytes` are free on the disk.
pub(super) fn plan(
    mut occupants: Vec<Occupant>,
    other_bytes: u64,
    needed_bytes: u64,
    quota_bytes: u64,
    free_bytes: u64,
) -> Plan {
    let used: u64 = occupants.iter().map(|it| it.disk_bytes).sum::<u64>() + other_bytes;
    let over_quota = used.saturating_add(needed_bytes).saturating_sub(quota_bytes);
    let mut missing = over_quota.max(needed_bytes.saturating_sub(free_bytes));
    occupants.sort_by(least_recently_used);
    let mut plan = Plan { needed_bytes, ..Plan::default() };
    for occupant in occupants {
        if missing == 0 {
            break;
        }
        if occupant.stays.is_some() {
            plan.keeps.push(occupant);
        } else {
            missing = missing.saturating_sub(occupant.disk_bytes);
            plan.removes.push(occupant);
        }
    }
    if missing > 0 {
        plan.removes.clear();
    }
    plan.missing_bytes = missing;
    plan
}

fn least_recently_used(a: &Occupant, b: &Occupant) -> Ordering {
    a.last_used_ms.cmp(&b.last_used_ms).then_with(|| a.name.cmp(&b.name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn occupant(name: &str, gb: u64, used: u64, stays: Option<StayReason>) -> Occupant {
        let disk_bytes = gb * 1_000_000_000;
        let name = name.to_owned();
        Occupant { title: name.clone(), name, disk_bytes, last_used_ms: Some(used), stays }
    }

    fn names(occupants: &[Occupant]) -> Vec<&str> {
        occupants.iter().map(|it| it.name.as_str()).collect()
    }

    #[test]
    fn the_longest_unused_leave_and_pinned_ones_stay() {
        let models = vec![
            occupant("new", 2, 9, None),
            occupant("pinned", 3, 1, Some(StayReason::Pinned)),
            occupant("old", 2, 2, None),
            occupant("older", 1, 1, None),
        ];
        let plan = plan(models, 0, 4_000_000_000, 10_000_000_000, u64::MAX);
        assert_eq!(names(&plan.removes), ["older", "old"]);
        assert_eq!(names(&plan.keeps), ["pinned"]);
        assert_eq!(plan.missing_bytes, 0);
    }

    #[test]
    fn nothing_leaves_when_that_would_not_help() {
        let models = vec![occupant("a", 1, 1, None), occupant("b", 9, 2, Some(StayReason::Loaded))];
        let plan = plan(models, 0, 4_000_000_000, 10_000_000_000, u64::MAX);
        assert_eq!((plan.removes.len(), plan.missing_bytes), (0, 3_000_000_000));
    }

    #[test]
    fn a_full_disk_makes_room_too() {
        let models = vec![occupant("a", 3, 1, None), occupant("b", 3, 2, None)];
        let plan = plan(models, 0, 4_000_000_000, u64::MAX / 2, 2_000_000_000);
        assert_eq!(names(&plan.removes), ["a"]);
    }

    #[test]
    fn the_default_is_a_fifth_and_at_least_two_gigabytes() {
        assert_eq!(default_quota(100_000_000_000), 20_000_000_000);
        assert_eq!(default_quota(1_000_000_000), 2_000_000_000);
    }

    fn any_occupant() -> impl Strategy<Value = Occupant> {
        let stays = prop::option::of(prop::sample::select(vec![
            StayReason::Pinned,
            StayReason::Loaded,
            StayReason::Downloading,
        ]));
        (0u32..1000, 0u64..5_000, prop::option::of(0u64..50), stays).prop_map(
            |(id, disk_bytes, last_used_ms, stays)| Occupant {
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
        fn plans_keep_what_must_stay_and_the_order(
            models in prop::collection::vec(any_occupant(), 0..12),
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
                // It fits now, and would not without the last that leaves.
                prop_assert!(used - freed + needed <= quota && needed <= free + freed
                    || plan.removes.is_empty() && used + needed <= quota && needed <= free);
                if let Some(last) = plan.removes.last() {
                    let before = freed - last.disk_bytes;
                    prop_assert!(used - before + needed > quota || needed > free + before);
                }
                // Whatever may leave and stays was used later than all that leave.
                let newest = plan.removes.iter().map(|it| it.last_used_ms).max();
                for it in models.iter().filter(|it| it.stays.is_none()) {
                    if let Some(newest) = newest && !plan.removes.contains(it) {
                        prop_assert!(it.last_used_ms >= newest);
                    }
                }
            } else {
                let may_leave: u64 = models.iter().filter(|it| it.stays.is_none())
                    .map(|it| it.disk_bytes).sum();
                prop_assert!(plan.removes.is_empty());
                prop_assert!(used - may_leave + needed > quota || needed > free + may_leave);
            }
        }
    }
}
