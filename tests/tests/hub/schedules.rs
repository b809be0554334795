//! Two hundred random fault schedules for downloads, each reproducible by its number.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use lilims_tests::hub_server::FaultPlan;

use super::*;

const SCHEDULES: u64 = 200;
/// The number of schedules with files that use several concurrent ranges.
const LARGE_SCHEDULES: u64 = 12;
const CONCURRENT_SCHEDULES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn any_schedule_of_faults_ends_with_the_file_or_a_clear_error() {
    let sizes = [1 << 20, 3_000_000, (4 << 20) - 200, 5 << 20, 9_999_999, 20 << 20];
    let contents: Vec<_> = sizes.iter().zip(100..).map(|(&size, seed)| model(seed, size)).collect();
    let large = model(99, 66 << 20);
    let small = (0..SCHEDULES).map(|seed| (seed, contents[seed as usize % contents.len()].clone()));
    let all = small.chain((1000..1000 + LARGE_SCHEDULES).map(|seed| (seed, large.clone())));
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let runs = stream::iter(all).for_each_concurrent(CONCURRENT_SCHEDULES, |(seed, content)| {
        let (done, failed) = (&done, &failed);
        async move {
            let is_done = follow(seed, &content).await;
            (if is_done { done } else { failed }).fetch_add(1, Ordering::Relaxed);
        }
    });
    let start = Instant::now();
    runs.await;
    println!("{done:?} done, {failed:?} with a clear error, {:?}", start.elapsed());
    let all = SCHEDULES + LARGE_SCHEDULES;
    assert_eq!(done.into_inner() as u64 + failed.into_inner() as u64, all);
}

/// Runs one schedule; returns whether the file was downloaded.
async fn follow(seed: u64, content: &Content) -> bool {
    let hub = hub_with(content);
    let plan = FaultPlan::random(seed);
    hub.set_faults(plan.clone());
    let store = Store::of(&hub);
    let start = Instant::now();
    let outcome = store.pull().await;
    let so_far = || format!("schedule {seed}: {plan:?}\n{:?}", hub.faults_so_far());
    match outcome {
        Outcome::Done(_) => {
            store.assert_has(content);
            true
        }
        Outcome::Failed(error) => {
            let may_fail = plan.may_fail();
            assert!(may_fail, "{error:?} after {:?}\n{}", start.elapsed(), so_far());
            let has_code = !matches!(error.problem, Problem::Unknown | Problem::Internal);
            assert!(has_code && error.detail.is_some_and(|it| it.len() > 20), "{:?}", so_far());
            store.assert_nothing_shows();
            let rows = store.library.downloads().unwrap();
            assert!(rows.iter().all(|row| row.model.is_none()), "{rows:?}");
            false
        }
        other => panic!("{other:?}\n{}", so_far()),
    }
}
