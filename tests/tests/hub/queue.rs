//! The download queue: controlled through its rows, limited in number and speed, shared by
//! processes.

use std::process::Stdio;

use lilims_hub::{DownloadState, Limits};
use lilims_tests::hub_server::{Fault, FaultPlan, FaultRule, Target};

use super::*;

/// Limits the hub's speed for each response from now on.
fn slow_down(hub: &HubServer, bytes_per_second: u64) {
    let pause = Duration::from_millis(10);
    let slow = Fault::Drip { piece_bytes: bytes_per_second / 100, pause, slow_bytes: u64::MAX };
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, slow)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn download_is_paused_resumed_and_cancelled() {
    let content = model(50, 22 << 20);
    let hub = hub_with(&content);
    slow_down(&hub, 32 << 20);
    let store = Store::of(&hub);
    let downloader = store.downloader();
    let running = tokio::spawn(async move { downloader.run(|_| ()).await });

    let id = store.library.enqueue(&source()).unwrap();
    until("two chunks came", || store.row(id).progress.done_bytes > 2 * CHUNK + 1000).await;
    store.library.pause(id).unwrap();
    let lock = store.folder.path().join(format!(".locks/download-{id}.lock"));
    until("no process runs it", || fs::File::open(&lock).unwrap().try_lock().is_ok()).await;
    assert_eq!(store.row(id).state, DownloadState::Paused);
    store.assert_nothing_shows();
    let before = sent_bytes(&hub);
    hub.set_faults(FaultPlan::none());
    store.library.resume(id).unwrap();
    until("it is done", || store.row(id).state == DownloadState::Done).await;
    store.assert_has(&content);
    let after = sent_bytes(&hub) - before;
    assert!(after <= content.len_bytes() - 2 * CHUNK, "{after} bytes came after the pause");

    store.library.remove(&store.library.entries().unwrap()[0].name).unwrap();
    slow_down(&hub, 16 << 20);
    let id = store.library.enqueue(&source()).unwrap();
    until("it runs", || store.row(id).progress.done_bytes > 1000).await;
    store.library.cancel(id).unwrap();
    assert_eq!(store.library.download(id).unwrap(), None);
    until("its file is gone", || partials(store.folder.path()).is_empty()).await;
    store.assert_nothing_shows();

    // The folder can be used for another download.
    hub.set_faults(FaultPlan::none());
    let id = store.library.enqueue(&source()).unwrap();
    until("it is done", || store.row(id).state == DownloadState::Done).await;
    store.assert_has(&content);
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_cancelled_download_are_removed_on_open() {
    let content = model(51, 9 << 20);
    let hub = hub_with(&content);
    slow_down(&hub, 8 << 20);
    let store = Store::of(&hub);
    let mut child = child::command("pull", store.folder.path(), &hub.endpoint());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let has_begun = || {
        let rows = store.library.downloads().unwrap();
        rows.first().is_some_and(|row| row.progress.done_bytes > 1000)
    };
    until("it runs", has_begun).await;
    store.library.cancel(store.library.downloads().unwrap()[0].id).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    Library::open(store.folder.path()).unwrap();
    assert!(partials(store.folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn speed_limit_is_respected() {
    const RATE: u64 = 6 << 20;
    let content = model(52, 15 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    let limits = Limits { at_once: 2, bytes_per_second: Some(RATE) };
    store.library.set_limits(limits).unwrap();
    assert_eq!(store.library.limits().unwrap(), limits);
    let start = Instant::now();
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    let rate = content.len_bytes() as f64 / start.elapsed().as_secs_f64() / RATE as f64;
    assert!((0.7..1.3).contains(&rate), "{rate:.2} × the limit");
    store.assert_has(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_downloads_are_limited_across_processes() {
    let hub = HubServer::start();
    let ids: Vec<_> = (0..5).map(|n| format!("owner/model-{n}")).collect();
    for (id, seed) in ids.iter().zip(60..) {
        hub.add(Repo::new(id).with_file(FILE, model(seed, 2 << 20)));
    }
    slow_down(&hub, 8 << 20);
    let store = Store::of(&hub);
    store.library.set_limits(Limits { at_once: 2, bytes_per_second: None }).unwrap();
    // Before the queues run: an idle one looks for downloads of other processes once a minute.
    for id in &ids {
        store.library.enqueue(&source_of(id)).unwrap();
    }
    // Separate `Library` values share only the folder, as two processes do.
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let library = Arc::new(Library::open(store.folder.path()).unwrap());
            let downloader = Downloader::new(client(&library, &hub));
            tokio::spawn(async move { downloader.run(|_| ()).await })
        })
        .collect();
    let mut most = 0;
    until("all are done", || {
        let rows = store.library.downloads().unwrap();
        let n = |state| rows.iter().filter(|row| row.state == state).count();
        most = most.max(n(DownloadState::Running));
        n(DownloadState::Done) == ids.len()
    })
    .await;
    assert_eq!(most, 2);
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    // Their files have the same name; the models must not.
    let mut names: Vec<_> =
        store.library.entries().unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), ids.len(), "{names:?}");
}

#[test]
fn two_processes_share_one_download() {
    let content = model(53, 9 << 20);
    let hub = hub_with(&content);
    slow_down(&hub, 16 << 20);
    let store = Store::of(&hub);
    let pulls: Vec<_> = (0..2)
        .map(|_| {
            let mut command = child::command("pull", store.folder.path(), &hub.endpoint());
            std::thread::spawn(move || child::run(&mut command))
        })
        .collect();
    let stdout: Vec<_> = pulls.into_iter().map(|pull| pull.join().unwrap()).collect();
    assert_eq!(child::value_of(&stdout[0], "done"), child::value_of(&stdout[1], "done"));
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), content.len_bytes());
}
