//! A downloading process is killed repeatedly: its progress is reused, and no incomplete model is
//! ever listed.

use std::path::Path;
use std::process::Stdio;
use std::thread;

use lilims_hub::DownloadState;
use lilims_tests::hub_server::{Fault, FaultPlan, FaultRule, Target};

use super::*;

const KILLS: usize = 100;
const FILE_BYTES: u64 = 22 << 20;
/// The speed of the hub: a download takes longer than any process lives.
const PIECE_BYTES: u64 = 128 << 10;
const PAUSE: Duration = Duration::from_millis(5);
/// The maximum lifetime of a process.
const MAX_LIFETIME_MS: u64 = 600;

/// Reproducible random numbers (splitmix64).
fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

/// The result of one download.
struct Round {
    kills: usize,
    sent_bytes: u64,
}

#[test]
fn a_hundred_kills_never_list_an_incomplete_model() {
    let start = Instant::now();
    let lanes = (0..3).map(|lane| {
        thread::spawn(move || {
            let mut rounds = Vec::new();
            while rounds.iter().map(|round: &Round| round.kills).sum::<usize>() < KILLS.div_ceil(3)
            {
                rounds.push(round(lane * 1000 + rounds.len() as u64));
            }
            rounds
        })
    });
    let lanes: Vec<_> = lanes.collect();
    let rounds: Vec<_> = lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect();
    let kills: usize = rounds.iter().map(|round| round.kills).sum();
    let sent: u64 = rounds.iter().map(|round| round.sent_bytes).sum();
    let times = sent as f64 / (rounds.len() as u64 * FILE_BYTES) as f64;
    println!("{kills} kills, {} downloads, {times:.1} × their bytes", rounds.len());
    println!("{:?}", start.elapsed());
    assert!(kills >= KILLS);
    assert!(times < 6.0, "progress before a kill is lost: {times:.1} × the bytes");
}

/// Downloads one file, killing the process at random moments until it is done.
fn round(seed: u64) -> Round {
    let content = model(200 + seed, FILE_BYTES);
    let hub = hub_with(&content);
    let slow = Fault::Drip { piece_bytes: PIECE_BYTES, pause: PAUSE, slow_bytes: u64::MAX };
    hub.set_faults(FaultPlan::new(seed, [FaultRule::always(Target::Bytes, slow)]));
    let whole_takes = PAUSE * u32::try_from(FILE_BYTES / PIECE_BYTES).unwrap();
    assert!(whole_takes > Duration::from_millis(MAX_LIFETIME_MS));
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut kills) = (seed, 0);
    while !is_done(folder.path(), &content) {
        let mut child = child::command("pull", folder.path(), &hub.endpoint());
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Half of the processes live only briefly.
        let longest = if kills % 2 == 0 { MAX_LIFETIME_MS } else { 150 };
        // On a busy machine, a process needs longer before it does anything.
        let longest = longest * (1 + kills as u64 / 40);
        thread::sleep(Duration::from_millis(next_random(&mut random) % longest));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(kills < 200, "schedule {seed} makes no progress");
    }
    Round { kills, sent_bytes: sent_bytes(&hub) }
}

/// Whether the download is done; asserts that no incomplete model is listed.
fn is_done(root: &Path, content: &Content) -> bool {
    let library = Library::open(root).unwrap();
    let sha256 = content.sha256().unwrap();
    let whole = files(root);
    for file in &whole {
        assert_eq!(
            Content::on_disk(file).unwrap().sha256().unwrap(),
            sha256,
            "an incomplete file is listed"
        );
    }
    let rows = library.downloads().unwrap();
    let is_done = rows.iter().any(|row| row.state == DownloadState::Done);
    let entries = library.entries().unwrap();
    assert_eq!(entries.len(), usize::from(is_done), "{rows:?}");
    for entry in entries {
        assert_eq!(entry.sha256.as_ref(), Some(&sha256));
        assert_eq!(whole, [entry.path]);
    }
    is_done
}

/// A process that dies between the rename and the index entry leaves a complete file, which is
/// reused and not downloaded again.
#[tokio::test(flavor = "multi_thread")]
async fn complete_file_without_an_index_entry_is_reused() {
    let content = model(30, 9 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    let path = store.library.entries().unwrap()[0].path.clone();
    // Builds the state after such a crash from one download's row and another one's file.
    let index = rusqlite::Connection::open(store.folder.path().join("lilims.sqlite")).unwrap();
    let bits = [0b111_u8];
    index.execute("DELETE FROM models", []).unwrap();
    let sql = "UPDATE downloads SET state = 'running', model = NULL, received = ?1";
    index.execute(sql, [&bits[..]]).unwrap();
    hub.clear_requests();
    let id = store.library.downloads().unwrap()[0].id;
    let outcome = store.downloader().run_until_done(id, |_| ()).await.unwrap();
    let Outcome::Done(entry) = outcome else { panic!("{outcome:?}") };
    assert_eq!(entry.path, path);
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), 0);
}
