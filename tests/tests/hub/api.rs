//! The client's API requests, and the error messages for the hub's refusals.

use lilims_hub::{Error, Search};
use lilims_ipc::SealedBy;
use lilims_tests::hub_server::{Fault, FaultPlan, FaultRule, GateKind, GgufSummary, Target};

use super::*;

/// The bytes of files come slowly for some seconds.
const SLOWLY: Fault =
    Fault::Drip { piece_bytes: 1000, pause: Duration::from_millis(5), slow_bytes: 1 << 20 };

fn summary(total: u64) -> GgufSummary {
    GgufSummary { total, architecture: "llama".to_owned(), context_length: 2048 }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_filters_by_words_size_and_licence() {
    let hub = HubServer::start();
    let add = |id: &str, licence: &str, parameters: u64, downloads: u64| {
        let mut repo = Repo::new(id).with_licence(licence).with_file(FILE, Content::held("x"));
        (repo.gguf, repo.downloads) = (Some(summary(parameters)), downloads);
        hub.add(repo);
    };
    add("a/small-chat", "mit", 100_000_000, 5);
    add("b/large-chat", "apache-2.0", 9_000_000_000, 50);
    add("c/small-code", "apache-2.0", 200_000_000, 500);
    hub.add(Repo::new("d/chat-without-gguf").with_file("x.safetensors", Content::held("x")));
    let store = Store::of(&hub);
    let find = async |text: &str, max_parameters, licence: Option<&str>| {
        let licence = licence.map(str::to_owned);
        let search = Search { text: text.to_owned(), max_parameters, licence };
        store.client.search(&search).await.unwrap()
    };
    let ids = |found: &[lilims_hub::SearchResult]| {
        found.iter().map(|it| it.repository.clone()).collect::<Vec<_>>()
    };
    let all = find("", None, None).await;
    assert_eq!(ids(&all), ["c/small-code", "b/large-chat", "a/small-chat"]);
    assert_eq!((all[0].downloads, all[0].parameters), (500, Some(200_000_000)));
    assert_eq!(all[2].licence.as_deref(), Some("mit"));
    assert_eq!(ids(&find("chat", None, None).await), ["b/large-chat", "a/small-chat"]);
    assert_eq!(ids(&find("", Some(1_000_000_000), None).await), ["c/small-code", "a/small-chat"]);
    assert_eq!(ids(&find("", None, Some("apache-2.0")).await), ["c/small-code", "b/large-chat"]);
    assert_eq!(ids(&find("nothing like it", None, None).await), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn repository_lists_models_and_card() {
    let content = model(110, 3 << 20);
    let hub = HubServer::start();
    let mut repo = Repo::new(ID).with_licence("mit").with_file(FILE, content.clone());
    repo = repo.with_file("config.json", Content::held("{}")).with_file("a.gguf", model(1, 32));
    repo.card = Some("# Tiny\n<script>alert(1)</script>\nIt is **small**.".to_owned());
    repo.former_ids = vec!["owner/old-name".to_owned()];
    hub.add(repo);
    let store = Store::of(&hub);
    let client = &store.client;
    for name in [ID, "owner/old-name"] {
        let found = client.repository(name, "main").await.unwrap();
        assert_eq!(found.revision, Repo::new(ID).commit);
        assert_eq!(found.licence.as_deref(), Some("mit"));
        let files: Vec<_> = found.files.iter().map(|it| it.file.as_str()).collect();
        assert_eq!(files, ["a.gguf", FILE]);
        assert_eq!(found.files[1].size_bytes, content.len_bytes());
        assert_eq!(found.files[1].sha256, hub.sha256(ID, FILE));
        let card = client.card(name, "main").await.unwrap();
        assert_eq!(card, "# Tiny\nalert(1)\nIt is **small**.");
    }
    for redirects in [true, false] {
        hub.set_small_files_redirect(redirects);
        assert!(client.card(ID, "main").await.unwrap().contains("small"));
    }
    // The former name works for files, too.
    let outcome = store.pull_of(&source_of("owner/old-name")).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_is_downloaded_without_the_rest() {
    let content = model(111, 20 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    let (bytes, total) = store.client.read_prefix(ID, "main", FILE, 70_000).await.unwrap();
    assert_eq!(total, content.len_bytes());
    assert_eq!(bytes, content.read(0..70_000).unwrap());
    assert_eq!(sent_bytes(&hub), 70_000);
    let short = hub_with(&Content::held("GGUF"));
    let client = client(&store.library, &short);
    let (bytes, total) = client.read_prefix(ID, "main", FILE, 70_000).await.unwrap();
    assert_eq!((bytes.as_slice(), total), (&b"GGUF"[..], 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_are_explained() {
    let hub = HubServer::start();
    let gated = Repo::new(ID).gated(GateKind::Manual, &["hf_reader"]);
    hub.add(gated.with_file(FILE, model(112, 1 << 20)));
    hub.add_user("someone", "hf_other");
    let store = Store::of(&hub);
    // Its metadata is public.
    assert!(store.client.repository(ID, "main").await.unwrap().is_gated);
    for (token, status) in [(None, 401), (Some("hf_other"), 403)] {
        hub.clear_requests();
        let client = store.client.clone().with_token(token.map(str::to_owned));
        let error = client.read_prefix(ID, "main", FILE, 100).await.unwrap_err();
        let Error::Gated { repository, page, .. } = &error else { panic!("{error:?}") };
        assert!(repository.ends_with(ID), "{repository}");
        assert_eq!(*page, format!("{}/{ID}", hub.endpoint()));
        assert_eq!(hub.requests().last().unwrap().status, status);
        let said = if status == 401 { "accept its terms" } else { "not in the authorized list" };
        assert!(error.to_string().contains(said), "{error}");
    }
    let outcome = store.pull().await;
    let Problem::TermsNotAccepted { page, .. } = problem(&store, &outcome) else {
        panic!("{outcome:?}");
    };
    assert_eq!(page, format!("{}/{ID}", hub.endpoint()));
    store.assert_nothing_shows();
    let client = store.client.clone().with_token(Some("hf_reader".to_owned()));
    client.read_prefix(ID, "main", FILE, 100).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_what_is_missing() {
    let hub = hub_with(&model(113, 1 << 20));
    let store = Store::of(&hub);
    for client in [store.client.clone(), store.client.clone().with_token(Some("hf_me".into()))] {
        hub.add_user("me", "hf_me");
        let missing = |error: Error| match error {
            Error::NotFound { what, .. } => what,
            other => panic!("{other:?}"),
        };
        let error = client.repository("owner/none", "main").await.unwrap_err();
        assert_eq!(missing(error), "owner/none");
        let error = client.repository(ID, "v9").await.unwrap_err();
        assert_eq!(missing(error), format!("revision v9 of {ID}"));
        let error = client.read_prefix(ID, "v9", FILE, 1).await.unwrap_err();
        assert_eq!(missing(error), format!("revision v9 of {ID}"));
        let error = client.read_prefix(ID, "main", "none.gguf", 1).await.unwrap_err();
        assert_eq!(missing(error), format!("none.gguf in {ID}"));
        assert_eq!(client.card(ID, "main").await.unwrap(), "", "the repository has no card");
    }
    let none = Source { file: "none.gguf".to_owned(), ..source() };
    let outcome = store.pull_of(&none).await;
    let Problem::NotOnHub { what, .. } = problem(&store, &outcome) else { panic!("{outcome:?}") };
    assert_eq!(what, format!("none.gguf in {ID}"));
    store.assert_nothing_shows();
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_error_says_when_to_retry() {
    let hub = hub_with(&model(114, 1 << 20));
    let wait = Fault::TooManyRequests { retry_after_s: 77 };
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Api, wait)]));
    let store = Store::of(&hub);
    let error = store.client.search(&Search::default()).await.unwrap_err();
    let Error::Status { status, retry_after, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*status, *retry_after), (429, Some(Duration::from_secs(77))));
    assert!(error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_is_logged() {
    let hub = hub_with(&model(115, 1 << 20));
    let rules = [
        FaultRule::once(Target::Bytes, Fault::Status(503)),
        FaultRule::once(Target::Resolve, Fault::RedirectToNowhere).after(2),
    ];
    hub.set_faults(FaultPlan::new(0, rules));
    let store = Store::of(&hub);
    store.client.search(&Search::default()).await.unwrap();
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    let log = store.library.connections().unwrap();
    let (hub_host, cdn_host) = (hub.endpoint(), hub.cdn_endpoint());
    let (hub_host, cdn_host) = (&hub_host["http://".len()..], &cdn_host["http://".len()..]);
    let mut logged: Vec<_> =
        log.iter().rev().map(|it| (it.what.host.as_str(), &*it.end.outcome)).collect();
    // The failed connection is only in our log.
    let nowhere = logged.iter().position(|it| it.0 != hub_host && it.0 != cdn_host).unwrap();
    assert!(logged.remove(nowhere).1.contains("hub-unreachable"), "the log holds codes");
    let requests = hub.requests();
    let asked: Vec<_> = requests
        .iter()
        .map(|it| (if it.host == Host::Hub { hub_host } else { cdn_host }, it.status.to_string()))
        .collect();
    let asked: Vec<_> = asked.iter().map(|(host, status)| (*host, status.as_str())).collect();
    assert_eq!(logged, asked);
    let of = |purpose: &'static str| log.iter().filter(move |it| it.what.purpose == purpose);
    assert!(of("download").all(|it| it.what.subject == format!("{ID}/{FILE}")), "{log:?}");
    assert_eq!((of("search").count(), of("search").next().unwrap().what.subject.as_str()), (1, ""));
    let answered: Vec<_> = log.iter().filter(|it| it.end.outcome.len() == 3).collect();
    assert!(
        answered.iter().all(|it| it.end.address.as_ref().is_some_and(|it| it.starts_with("127.")))
    );
    assert!(
        answered.iter().all(|it| it.end.sent_bytes > 100 && it.end.received_bytes > 50),
        "{log:?}"
    );
    let received: u64 = of("download").map(|it| it.end.received_bytes).sum();
    assert!(received >= 1 << 20, "the file's bytes are counted: {received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_nothing_passes_and_downloads_wait() {
    let hub = hub_with(&model(116, 24 << 20));
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, SLOWLY)]));
    let store = Store::of(&hub);
    let id = store.library.enqueue(&source()).unwrap();
    let downloader = store.downloader();
    let pulled = tokio::spawn(async move { downloader.run_until_done(id, |_| ()).await });
    until("bytes arrive", || hub.requests().iter().any(|it| it.host == Host::Cdn)).await;
    store.library.set_sealed(true).unwrap();
    let outcome = pulled.await.unwrap();
    assert!(matches!(outcome, Err(Error::Sealed { by: SealedBy::Setting })), "{outcome:?}");
    hub.set_faults(FaultPlan::none());
    let n_requests = hub.requests().len();
    let sealed = store.client.search(&Search::default()).await;
    assert!(matches!(sealed, Err(Error::Sealed { .. })), "{sealed:?}");
    let n_logged = store.library.connections().unwrap().len();
    assert_eq!(hub.requests().len(), n_requests, "nothing has passed");
    store.library.set_sealed(false).unwrap();
    assert!(matches!(store.pull().await, Outcome::Done(_)), "it goes on where it was");
    assert!(store.library.connections().unwrap().len() > n_logged);
}
