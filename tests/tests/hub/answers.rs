//! Unusual responses of real hubs: rejected tokens, rate limits, moved hubs, sign-in pages, lists
//! with invalid entries.

use lilims_hub::{Error, Search};
use lilims_tests::hub_server::{
    Fault, FaultPlan, FaultRule, GateKind, RangeLie, Target, WaitHeader,
};

use super::*;

/// The waits of normal use, so that an unwanted retry would be noticed.
const REAL: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    read: Duration::from_secs(5),
    first_retry: Duration::from_millis(500),
    max_retries: 8,
};

fn always(target: Target, fault: Fault) -> FaultPlan {
    FaultPlan::new(0, [FaultRule::always(target, fault)])
}

/// A downloader with the waits of normal use.
fn real_downloader(store: &Store, hub: &HubServer) -> Downloader {
    let client = Client::new(store.library.clone(), &hub.endpoint(), REAL).unwrap();
    Downloader::new(client.with_token(None))
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_rejected_token_is_dropped_and_the_request_continues_without_it() {
    let content = model(300, 1 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    // A response that requires a token reveals that it has expired.
    let limit = Fault::TooManyRequests { retry_after_s: 0 };
    hub.set_faults(FaultPlan::new(0, [FaultRule::once(Target::Resolve, limit)]));
    let client = store.client.clone().with_token(Some("hf_expired-4".to_owned()));
    let outcome = {
        let id = store.library.enqueue(&source()).unwrap();
        Downloader::new(client.clone()).run_until_done(id, |_| ()).await.unwrap()
    };
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&content);
    let sent = hub.requests().iter().filter(|it| it.authorization).count();
    assert_eq!(sent, 1, "the token is sent once");
    assert!(client.take_token_rejection());
    assert!(!client.take_token_rejection(), "the rejection is reported once");
    // Neither this client nor another one in the process sends it again.
    hub.set_faults(FaultPlan::new(0, [FaultRule::once(Target::Api, limit)]));
    let again = store.client.clone().with_token(Some("hf_expired-4".to_owned()));
    for client in [client, again] {
        let _ = client.search(&Search::default()).await;
        client.search(&Search::default()).await.unwrap();
    }
    assert_eq!(hub.requests().iter().filter(|it| it.authorization).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_token_that_expires_during_a_download_is_dropped() {
    let hub = HubServer::start();
    let gated = Repo::new("owner/gated").gated(GateKind::Auto, &["hf_good-4"]);
    hub.add(gated.with_file(FILE, model(301, 1 << 20)));
    hub.add(Repo::new(ID).with_file(FILE, model(302, 1 << 20)));
    let store = Store::of(&hub);
    let client = store.client.clone().with_token(Some("hf_good-4".to_owned()));
    client.read_prefix("owner/gated", "main", FILE, 10).await.unwrap();
    // A valid token without access to one repository is still used for others.
    let refuse = FaultRule::once(Target::Api, Fault::Status(403));
    hub.set_faults(FaultPlan::new(0, [refuse]));
    client.repository(ID, "main").await.unwrap();
    assert!(!client.take_token_rejection());
    client.read_prefix("owner/gated", "main", FILE, 10).await.unwrap();
    let expired = FaultRule::once(Target::Api, Fault::Status(401));
    hub.set_faults(FaultPlan::new(0, [expired]));
    client.repository(ID, "main").await.unwrap();
    assert!(client.take_token_rejection());
    let error = client.read_prefix("owner/gated", "main", FILE, 10).await.unwrap_err().to_string();
    assert!(error.contains("is gated") && error.contains("was rejected"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_download_waits_as_requested_and_retries_once() {
    for (seed, how) in
        (310..).zip([WaitHeader::RateLimit, WaitHeader::Date, WaitHeader::XRateLimit])
    {
        let content = model(seed, 1 << 20);
        let hub = hub_with(&content);
        let limit = FaultRule::once(Target::Resolve, Fault::RateLimited(how, 2));
        hub.set_faults(FaultPlan::new(0, [limit]));
        let store = Store::of(&hub);
        let id = store.library.enqueue(&source()).unwrap();
        let (start, mut reported) = (Instant::now(), Vec::new());
        let on_progress = |row: &DownloadRow| reported.extend(row.progress.retrying.clone());
        let outcome = store.downloader().run_until_done(id, on_progress).await.unwrap();
        assert!(matches!(outcome, Outcome::Done(_)), "{how:?}: {outcome:?}");
        // An HTTP date has a resolution of one second.
        assert!(start.elapsed() >= Duration::from_secs(1), "{how:?}: {:?}", start.elapsed());
        assert_eq!(hub.requests().iter().filter(|it| it.status == 429).count(), 1, "{how:?}");
        let waits = |(error, wait): &(lilims_ipc::Error, u64)| {
            matches!(error.problem, Problem::HubBusy { .. }) && *wait >= 1
        };
        assert!(reported.iter().any(waits), "{reported:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_no_requests_during_a_wait_and_cancelling_works() {
    let hub = hub_with(&model(315, 1 << 20));
    let limit = Fault::RateLimited(WaitHeader::RateLimit, 280);
    hub.set_faults(FaultPlan::new(0, [FaultRule::once(Target::Resolve, limit)]));
    let store = Store::of(&hub);
    let id = store.library.enqueue(&source()).unwrap();
    let (downloader, start) = (store.downloader(), Instant::now());
    let pause = async {
        let waits = || store.row(id).progress.retrying.is_some_and(|(_, wait)| wait >= 279);
        until("it waits", waits).await;
        // Other requests of this client fail with the remaining wait, without being sent.
        let error = store.client.read_prefix(ID, "main", FILE, 10).await.unwrap_err();
        assert!(error.to_string().contains("asks to wait 2"), "{error}");
        // Other kinds of requests have separate limits.
        store.client.search(&Search::default()).await.unwrap();
        store.library.pause(id).unwrap();
    };
    let (outcome, ()) = tokio::join!(downloader.run_until_done(id, |_| ()), pause);
    assert!(matches!(outcome, Ok(Outcome::Paused)), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
    let asked = hub.requests().iter().filter(|it| it.path.contains("resolve")).count();
    assert_eq!(asked, 1, "{:?}", hub.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_redirect_to_another_hub_is_followed_without_the_token() {
    let content = model(320, 1 << 20);
    let (mirror, hub) = (HubServer::start(), hub_with(&content));
    mirror.move_to(&hub);
    let store = Store::of(&mirror);
    let client = store.client.clone().with_token(Some("hf_secret".to_owned()));
    let found = client.repository(ID, "main").await.unwrap();
    assert_eq!(found.files.len(), 1);
    let id = store.library.enqueue(&source()).unwrap();
    let outcome = Downloader::new(client).run_until_done(id, |_| ()).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&content);
    assert!(
        hub.requests().iter().all(|it| !it.authorization),
        "the token was sent to the other hub"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_permanent_failures_are_reported_at_once() {
    for (seed, (target, fault, said)) in (330..).zip([
        (Target::Resolve, Fault::RedirectLoop, "too many redirects"),
        (Target::Resolve, Fault::NoLocation, "has no target"),
        (Target::Resolve, Fault::Portal, "sign-in page"),
        (Target::Bytes, Fault::Portal, "sign-in page"),
        (Target::Bytes, Fault::NoLocation, "has no target"),
        (Target::Bytes, Fault::WrongRange(RangeLie::Absent), "without saying which"),
        (Target::Bytes, Fault::WrongRange(RangeLie::Offset), "it sends the range"),
        (Target::Resolve, Fault::Status(400), "400"),
        (Target::Bytes, Fault::Status(403), "403"),
        (Target::Bytes, Fault::Status(404), "404"),
        (Target::Resolve, Fault::RateLimited(WaitHeader::Date, 100_000), "asks to wait"),
    ]) {
        let hub = hub_with(&model(seed, 1 << 20));
        hub.set_faults(always(target, fault));
        let store = Store::of(&hub);
        let start = Instant::now();
        let id = store.library.enqueue(&source()).unwrap();
        let outcome = real_downloader(&store, &hub).run_until_done(id, |_| ()).await.unwrap();
        let failure = failure(outcome);
        assert!(failure.contains(said), "{fault:?}: {failure}");
        assert!(start.elapsed() < Duration::from_secs(8), "{fault:?}: {:?}", start.elapsed());
        assert!(hub.requests().len() < 30, "{fault:?}: {} requests", hub.requests().len());
        store.assert_nothing_shows();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_html_pages_are_not_accepted_as_responses() {
    let hub = hub_with(&model(345, 1 << 20));
    hub.set_faults(always(Target::Any, Fault::Portal));
    let store = Store::of(&hub);
    let errors = [
        store.client.search(&Search::default()).await.unwrap_err(),
        store.client.repository(ID, "main").await.unwrap_err(),
        store.client.read_prefix(ID, "main", FILE, 10).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("sign-in page") && !error.is_transient(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l14_only_invalid_entries_are_dropped() {
    let content = model(350, 1 << 20);
    let hub = hub_with(&content);
    hub.set_odd_entries(true);
    let store = Store::of(&hub);
    let found = store.client.search(&Search::default()).await.unwrap();
    let ids: Vec<_> = found.iter().map(|it| it.repository.as_str()).collect();
    assert_eq!(ids, [ID]);
    assert_eq!((found[0].likes, found[0].downloads, found[0].parameters), (12, 1234, None));
    assert_eq!(found[0].licence.as_deref(), Some("mit"));
    let repository = store.client.repository(ID, "main").await.unwrap();
    let files: Vec<_> = repository.files.iter().map(|it| it.file.as_str()).collect();
    assert_eq!((files, repository.licence), (vec![FILE], None));
    // A pasted URL searches for its repository.
    let text = format!("https://huggingface.co/{ID}/blob/main/{FILE}");
    let found = store.client.search(&Search { text, ..Search::default() }).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn l15_the_hubs_reason_is_shown_sanitised() {
    let hub = hub_with(&model(360, 1 << 20));
    let store = Store::of(&hub);
    let reason = "Your request to access model owner/tiny is\u{1b}[31m awaiting\n a review";
    let long = "very long ".repeat(100);
    let long: &'static str = long.leak();
    for (reason, shown) in [
        (reason, "owner/tiny is [31m awaiting a review"),
        (long, "very long very long"),
        ("", "no access"),
    ] {
        hub.set_faults(always(Target::Resolve, Fault::GatedBecause(reason)));
        let client = store.client.clone().with_token(None);
        let error = client.read_prefix(ID, "main", FILE, 10).await.unwrap_err();
        assert!(matches!(error, Error::Gated { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(shown) && error.len() < 400, "{error}");
        assert!(!error.contains("accept its terms"), "{error}");
        assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
    }
}
