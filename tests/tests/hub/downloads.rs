//! A download yields exactly the hub's file or a clear error, whatever the server does.

use lilims_tests::hub_server::{BodyOffset, Fault, FaultPlan, FaultRule, Target};

use super::*;

/// Large enough for several concurrent ranges.
const LARGE: u64 = 70 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn small_file_is_downloaded() {
    let content = model(1, 6 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    let Outcome::Done(entry) = store.pull().await else { panic!("it is not done") };
    store.assert_has(&content);
    assert_eq!(entry.repository.as_deref(), Some(ID));
    assert_eq!(entry.file.as_deref(), Some(FILE));
    assert_eq!(entry.revision, Some(Repo::new(ID).commit));
    assert_eq!(entry.sha256, hub.sha256(ID, FILE));
    assert_eq!(entry.digests.len() as u64, 32 * content.len_bytes().div_ceil(CHUNK));
    assert_eq!((entry.family.as_str(), entry.quantisation.as_str()), ("llama", "Q8_0"));
    assert_eq!(entry.context_tokens, Some(2048));
    assert_eq!(sent_bytes(&hub), content.len_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_file_uses_four_concurrent_ranges() {
    let content = model(2, LARGE);
    let hub = hub_with(&content);
    // A sequential download would wait for the end of the first range forever.
    let pause = Duration::from_millis(40);
    let drip = Fault::Drip { piece_bytes: 1 << 20, pause, slow_bytes: 8 << 20 };
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, drip)]));
    let store = Store::of(&hub);
    let id = store.library.enqueue(&source()).unwrap();
    let (downloader, mut most) = (store.downloader(), 0);
    let run = downloader.run_until_done(id, |_| ());
    tokio::pin!(run);
    let outcome = loop {
        tokio::select! {
            outcome = &mut run => break outcome.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                let requests = hub.requests();
                let is_open = |it: &&lilims_tests::hub_server::LoggedRequest| {
                    it.host == Host::Cdn && it.status == 206 && it.body_bytes < 8 << 20
                };
                most = most.max(requests.iter().filter(is_open).count());
            }
        }
    };
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!(most, 4, "concurrent ranges");
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), content.len_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_file_is_not_downloaded_again() {
    let content = model(3, 5 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    for _ in 0..2 {
        assert!(matches!(store.pull().await, Outcome::Done(_)));
    }
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), content.len_bytes());
    // A removed file is downloaded again.
    store.library.remove(&store.library.entries().unwrap()[0].name).unwrap();
    store.assert_nothing_shows();
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_ranges_cost_one_pass() {
    let content = model(4, LARGE);
    let hub = hub_with(&content);
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, Fault::IgnoreRange)]));
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
    let asked = hub.requests().iter().filter(|it| it.host == Host::Cdn).count();
    assert!(asked <= 8, "{asked} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_etag_with_the_same_bytes_is_the_same_file() {
    let content = model(5, 9 << 20);
    let hub = hub_with(&content);
    let etag = FaultRule::once(Target::Bytes, Fault::NewEtag { other_bytes: false }).after(1);
    let reset = FaultRule::once(Target::Bytes, Fault::Reset(BodyOffset::After(5 << 20)));
    hub.set_faults(FaultPlan::new(0, [reset, etag]));
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
}

/// Pulls `wanted` while the repository's file changes during the download.
async fn pull_over_a_change(wanted: Source, old: &Content, new: &Content) -> (Store, Outcome) {
    let hub = hub_with(old);
    let pause = Duration::from_millis(600);
    let stall = Fault::Stall(BodyOffset::After(5 << 20), pause);
    hub.set_faults(FaultPlan::new(0, [FaultRule::once(Target::Bytes, stall)]));
    let store = Store::of(&hub);
    let pull = store.pull_of(&wanted);
    let change = async {
        until("the first half came", || sent_bytes(&hub) >= 5 << 20).await;
        let mut repo = Repo::new(ID).with_file(FILE, new.clone());
        repo.commit = "c".repeat(40);
        hub.add(repo);
    };
    let (outcome, ()) = tokio::join!(pull, change);
    (store, outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_changes_during_a_download_is_restarted() {
    let (old, new) = (model(6, 9 << 20), model(7, 10 << 20));
    let (store, outcome) = pull_over_a_change(source(), &old, &new).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&new);
    assert_eq!(store.library.entries().unwrap()[0].revision, Some("c".repeat(40)));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_with_a_pinned_hash_is_an_error() {
    let (old, new) = (model(8, 9 << 20), model(9, 9 << 20));
    let wanted = Source { sha256: Some(old.sha256().unwrap()), ..source() };
    let (store, outcome) = pull_over_a_change(wanted, &old, &new).await;
    assert_eq!(problem(&store, &outcome), Problem::SourceChanged { file: FILE.to_owned() });
    let failure = failure(outcome);
    assert!(failure.contains("changed at its source"), "{failure}");
    assert!(failure.contains(&new.sha256().unwrap()), "{failure}");
    store.assert_nothing_shows();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_at_the_source_are_an_error() {
    let content = model(10, 9 << 20);
    let flip = Fault::FlipBit(BodyOffset::After(5 << 20));
    for fault in [flip, Fault::NewEtag { other_bytes: true }] {
        let hub = hub_with(&content);
        hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, fault)]));
        let store = Store::of(&hub);
        let outcome = store.pull().await;
        assert_eq!(problem(&store, &outcome), Problem::HashMismatch { file: FILE.to_owned() });
        let failure = failure(outcome);
        let is_clear = failure.contains("has the SHA-256") && failure.contains(FILE);
        assert!(is_clear && failure.contains(&content.sha256().unwrap()), "{failure}");
        store.assert_nothing_shows();
        assert_eq!(partials(store.folder.path()), [] as [PathBuf; 0]);
        // After the source is corrected, the download succeeds.
        if fault == flip {
            hub.set_faults(FaultPlan::none());
            assert!(matches!(store.pull().await, Outcome::Done(_)));
            store.assert_has(&content);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_with_transient_errors_are_downloaded_again() {
    let content = model(11, 5 << 20);
    let hub = hub_with(&content);
    let flip = FaultRule::always(Target::Bytes, Fault::FlipBit(BodyOffset::Random)).times(3);
    hub.set_faults(FaultPlan::new(0, [flip]));
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_models_are_rejected() {
    for content in [Content::generated(12, 5 << 20), Content::held("GGUF"), Content::held("")] {
        let hub = hub_with(&content);
        let store = Store::of(&hub);
        let failure = failure(store.pull().await);
        assert!(failure.contains("is not a usable GGUF file"), "{failure}");
        store.assert_nothing_shows();
        assert_eq!(partials(store.folder.path()), [] as [PathBuf; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_wait_as_the_server_requests() {
    let content = model(13, 1 << 20);
    let hub = hub_with(&content);
    let wait = Fault::TooManyRequests { retry_after_s: 1 };
    let rules = [Target::Resolve, Target::Bytes].map(|target| FaultRule::once(target, wait));
    hub.set_faults(FaultPlan::new(0, rules));
    let store = Store::of(&hub);
    let start = Instant::now();
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    store.assert_has(&content);
    assert_eq!(hub.faults_so_far().len(), 2);
}
