//! Damage on disk is detected, and only damaged chunks are downloaded again.

use std::sync::atomic::AtomicBool;

use lilims_hub::{DownloadState, Verified};
use lilims_tests::hub_server::{BodyOffset, Fault, FaultPlan, FaultRule, Target};

use super::*;

fn verify(library: &Library) -> Verified {
    let name = library.entries().unwrap()[0].name.clone();
    let mut reported = 0;
    let verified = library.verify(&name, &AtomicBool::new(false), &mut |bytes| reported = bytes);
    assert!(reported > 0);
    verified.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn repair_downloads_only_damaged_chunks() {
    let content = model(40, 22 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    assert!(matches!(verify(&store.library), Verified::Good { .. }));
    let entry = store.library.entries().unwrap().remove(0);
    store.library.pin(&entry.name, true).unwrap();
    for offset in [CHUNK + 5, 4 * CHUNK + 17] {
        damage(&entry.path, offset);
    }
    hub.clear_requests();
    let Verified::Repairing { download } = verify(&store.library) else { panic!("it is found") };
    let outcome = store.downloader().run_until_done(download, |_| ()).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), 2 * CHUNK);
    let repaired = store.library.entries().unwrap().remove(0);
    assert_eq!((repaired.name, repaired.is_pinned), (entry.name, true));
    assert!(!repaired.is_damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn loaded_model_is_not_replaced() {
    let content = model(41, 5 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    let entry = store.library.entries().unwrap().remove(0);
    damage(&entry.path, 100_000);
    let held = store.library.use_model(&entry.name).unwrap();
    let verified = store.library.verify(&entry.name, &AtomicBool::new(false), &mut |_| ());
    assert!(matches!(verified, Err(lilims_hub::Error::InUse { .. })), "{verified:?}");
    assert!(entry.path.exists());
    assert!(store.library.entry(&entry.name).unwrap().is_damaged);
    let rows = store.library.downloads().unwrap();
    assert!(rows.iter().all(|row| row.state == DownloadState::Done), "{rows:?}");
    drop(held);
    let Verified::Repairing { download } = verify(&store.library) else { panic!("it is found") };
    let outcome = store.downloader().run_until_done(download, |_| ()).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&content);
}

/// Starts a download and pauses it after `here` bytes.
async fn paused(store: &Store, hub: &HubServer, here: u64) -> i64 {
    let stall = Fault::Stall(BodyOffset::After(here), Duration::from_secs(30));
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, stall)]));
    let id = store.library.enqueue(&source()).unwrap();
    // It waits for more bytes until it is paused.
    let timeouts = Timeouts { read: Duration::from_secs(30), ..TIMEOUTS };
    let client = Client::new(store.library.clone(), &hub.endpoint(), timeouts).unwrap();
    let downloader = Downloader::new(client);
    let pause = async {
        until("it came", || store.row(id).progress.done_bytes >= here).await;
        store.library.pause(id).unwrap();
    };
    let (outcome, ()) = tokio::join!(downloader.run_until_done(id, |_| ()), pause);
    assert!(matches!(outcome, Ok(Outcome::Paused)), "{outcome:?}");
    hub.set_faults(FaultPlan::none());
    hub.clear_requests();
    id
}

/// A kind of damage: its name, the damaging function, and the bytes to download again.
type Damage = (&'static str, fn(&Path), u64);

fn cut(path: &Path, len_bytes: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(len_bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_an_unfinished_file_costs_one_chunk() {
    let content = model(42, 22 << 20);
    let hub = hub_with(&content);
    let rest = content.len_bytes() - 4 * CHUNK;
    let damages: [Damage; 4] = [
        ("nothing", |_| (), 0),
        ("a bit", |path| damage(path, CHUNK + 1), CHUNK),
        ("two bits", |path| [3, 3 * CHUNK + 9].iter().for_each(|&at| damage(path, at)), 2 * CHUNK),
        ("its end", |path| cut(path, 3 * CHUNK + 1000), CHUNK),
    ];
    for (what, damage, costs) in damages {
        let store = Store::of(&hub);
        let id = paused(&store, &hub, 4 * CHUNK + 1000).await;
        store.assert_nothing_shows();
        damage(&store.folder.path().join(format!(".partial/{id}.part")));
        store.library.resume(id).unwrap();
        let outcome = store.downloader().run_until_done(id, |_| ()).await.unwrap();
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        store.assert_has(&content);
        assert_eq!(sent_bytes(&hub), rest + costs, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_unfinished_file_is_downloaded_again() {
    let content = model(43, 9 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    let id = paused(&store, &hub, CHUNK + 1000).await;
    fs::remove_file(store.folder.path().join(format!(".partial/{id}.part"))).unwrap();
    store.library.resume(id).unwrap();
    let outcome = store.downloader().run_until_done(id, |_| ()).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), content.len_bytes());
}
