//! A download becomes a model bit by bit, whatever its sender does, or says why not.

use lilims_tests::hub_server::{BodyOffset, Fault, FaultPlan, FaultRule, Target};

use super::*;

/// Large enough for several ranges at once.
const LARGE: u64 = 70 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_becomes_a_model() {
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
async fn a_large_file_comes_in_four_ranges_at_once() {
    let content = model(2, LARGE);
    let hub = hub_with(&content);
    // Whoever waits for one range before it asks for the next never sees the end of the first.
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
    assert_eq!(most, 4, "ranges at once");
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), content.len_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_here_is_not_fetched_again() {
    let content = model(3, 5 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    for _ in 0..2 {
        assert!(matches!(store.pull().await, Outcome::Done(_)));
    }
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), content.len_bytes());
    // One that somebody removed is.
    store.library.remove(&store.library.entries().unwrap()[0].name).unwrap();
    store.assert_nothing_shows();
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_are_ignored_cost_one_pass() {
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
async fn another_etag_of_the_same_bytes_is_the_same_file() {
    let content = model(5, 9 << 20);
    let hub = hub_with(&content);
    let etag = FaultRule::once(Target::Bytes, Fault::NewEtag { other_bytes: false }).after(1);
    let reset = FaultRule::once(Target::Bytes, Fault::Reset(BodyOffset::After(5 << 20)));
    hub.set_faults(FaultPlan::new(0, [reset, etag]));
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
}

/// Pulls `wanted` while the repository gets another file in the middle.
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
async fn a_file_that_changes_midway_comes_anew() {
    let (old, new) = (model(6, 9 << 20), model(7, 10 << 20));
    let (store, outcome) = pull_over_a_change(source(), &old, &new).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&new);
    assert_eq!(store.library.entries().unwrap()[0].revision, Some("c".repeat(40)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certain_file_that_changed_is_an_error() {
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
async fn bytes_that_are_wrong_at_their_source_are_an_error() {
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
        // Once the source is right, so is the model.
        if fault == flip {
            hub.set_faults(FaultPlan::none());
            assert!(matches!(store.pull().await, Outcome::Done(_)));
            store.assert_has(&content);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_wrong_by_chance_come_again() {
    let content = model(11, 5 << 20);
    let hub = hub_with(&content);
    let flip = FaultRule::always(Target::Bytes, Fault::FlipBit(BodyOffset::Random)).times(3);
    hub.set_faults(FaultPlan::new(0, [flip]));
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_model_does_not_become_one() {
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
async fn the_server_says_when_to_ask_again() {
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
