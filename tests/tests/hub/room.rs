//! Disk space: full disks are clear errors, and the quota removes the least recently used models.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use lilims_hub::{DownloadState, Error};
use lilims_ipc::StayReason;
use lilims_tests::hub_server::{Fault, FaultPlan, FaultRule, Target};

use super::*;

/// A child's job on a disk of 8 MB: a model of 5 MB does not fit beside another file, and fits
/// after that is removed.
pub(crate) async fn fill_disk(library: &Arc<Library>) {
    let client = Client::from_env(library.clone(), ConnectionAsker::Other).unwrap();
    let ballast = library.root().join(".ballast");
    fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let id = library.enqueue(&source()).unwrap();
    let downloader = Downloader::new(client);
    let outcome = downloader.run_until_done(id, |_| ()).await.unwrap();
    println!("failed={}", failure(outcome));
    assert_eq!(library.entries().unwrap(), []);
    fs::remove_file(&ballast).unwrap();
    assert_eq!(files(library.root()), [] as [PathBuf; 0]);
    library.resume(id).unwrap();
    let outcome = downloader.run_until_done(id, |_| ()).await.unwrap();
    let Outcome::Done(entry) = outcome else { panic!("{outcome:?}") };
    let got = Content::on_disk(&entry.path).unwrap().sha256().unwrap();
    println!("sha256={got}");
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_is_a_clear_error_until_space_is_freed() {
    let content = model(70, 5 << 20);
    let hub = hub_with(&content);
    let folder = tempfile::tempdir().unwrap();
    let child = child::command("full disk", folder.path(), &hub.endpoint());
    let mount = "mount -t tmpfs -o size=8m tmpfs \"$LILIMS_TEST_ROOT\"";
    let can_mount = Command::new("unshare")
        .args(["-m", "sh", "-c", mount])
        .env("LILIMS_TEST_ROOT", folder.path())
        .output();
    if !can_mount.as_ref().is_ok_and(|it| it.status.success()) {
        return lilims_tests::skip("this user cannot mount a small disk");
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
    command.arg(child.get_program()).args(child.get_args());
    command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let stdout = child::run(&mut command);
    let failure = child::value_of(&stdout, "failed");
    assert!(failure.contains("is too full: "), "{failure}");
    assert_eq!(child::value_of(&stdout, "sha256"), content.sha256().unwrap());
}

/// Uses the file size limit of the system, which needs no privileges.
#[cfg(unix)]
#[test]
fn file_size_limit_is_a_clear_error() {
    let content = model(71, 9 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    let child = child::command("pull", store.folder.path(), &hub.endpoint());
    let mut limited = Command::new("sh");
    // In units of 512 or 1024 bytes, depending on the shell.
    limited.args(["-c", "trap '' XFSZ && ulimit -f 4096 && exec \"$0\" \"$@\""]);
    limited.arg(child.get_program()).args(child.get_args());
    limited.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let stdout = child::run(&mut limited);
    let failure = child::value_of(&stdout, "failed");
    assert!(failure.contains("cannot use") && failure.contains(".part"), "{failure}");
    store.assert_nothing_shows();
    let stdout = child::run(&mut child::command("pull", store.folder.path(), &hub.endpoint()));
    child::value_of(&stdout, "done");
    store.assert_has(&content);
}

#[tokio::test(flavor = "multi_thread")]
async fn least_recently_used_models_are_removed_first() {
    const SIZE: u64 = 2 << 20;
    let hub = HubServer::start();
    let store = Store::of(&hub);
    let mut names = Vec::new();
    for n in 0..5 {
        let id = format!("owner/model-{n}");
        hub.add(Repo::new(&id).with_file(FILE, model(80 + n, SIZE)));
        let outcome = store.pull_of(&source_of(&id)).await;
        let Outcome::Done(entry) = outcome else { panic!("{outcome:?}") };
        // The clock that orders them has a resolution of milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
        drop(store.library.use_model(&entry.name).unwrap());
        names.push(entry.name);
    }
    let library = &store.library;
    // One is pinned, another process uses one, and one is downloaded again.
    library.pin(&names[0], true).unwrap();
    let (mut holder, held) = hold(&store, &hub, &names[1]);
    hub.add(Repo::new("owner/model-2").with_file(FILE, model(90, SIZE)));
    let drip =
        Fault::Drip { piece_bytes: 1000, pause: Duration::from_millis(50), slow_bytes: u64::MAX };
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, drip)]));
    let coming = library.enqueue(&source_of("owner/model-2")).unwrap();
    let downloader = store.downloader();
    let running = tokio::spawn(async move { downloader.run(|_| ()).await });
    until("it comes", || store.row(coming).state == DownloadState::Running).await;
    until("it takes room", || library.storage().unwrap().unfinished_bytes >= SIZE).await;

    let used = library.storage().unwrap().used_bytes;
    library.set_quota(Some(used + SIZE / 2)).unwrap();
    let plan = library.plan(SIZE).unwrap();
    let stay = |plan: &lilims_hub::Plan| {
        let keeps = plan.keeps.iter().map(|it| (it.name.clone(), it.stays.unwrap()));
        keeps.collect::<Vec<_>>()
    };
    let kept = |n: usize, why| (names[n].clone(), why);
    assert_eq!(stay(&plan), [kept(0, StayReason::Pinned), kept(2, StayReason::Downloading)]);
    // Only the confirmed models are removed, and nothing if the plan has changed.
    for agreed in [&[][..], &names[4..5], &names[3..5]] {
        let changed = library.make_room(SIZE, agreed);
        let is_told =
            matches!(&changed, Err(Error::PlanChanged { removes }) if *removes == names[3..4]);
        assert!(is_told, "{agreed:?}: {changed:?}");
    }
    assert_eq!(library.entries().unwrap().len(), 5, "nothing was removed");
    library.make_room(SIZE, &names[3..4]).unwrap();
    assert!(matches!(library.make_room(4 * SIZE, &[]), Err(Error::Quota { .. })));
    assert_eq!(library.entries().unwrap().len(), 4, "nothing is removed without need");

    let here = library.use_model(&names[4]).unwrap();
    assert!(matches!(library.remove(&names[4]), Err(Error::InUse { .. })));
    let all_stay = [
        kept(0, StayReason::Pinned),
        kept(2, StayReason::Downloading),
        kept(1, StayReason::Loaded),
        kept(4, StayReason::Loaded),
    ];
    assert_eq!(stay(&library.plan(2 * SIZE).unwrap()), all_stay);
    assert!(matches!(library.make_room(2 * SIZE, &[]), Err(Error::Quota { .. })));
    drop((here, held));
    holder.wait().unwrap();
    library.make_room(2 * SIZE, &names[1..2]).unwrap();
    running.abort();
}

/// Starts a process that uses a model until the returned value is dropped.
fn hold(store: &Store, hub: &HubServer, name: &str) -> (std::process::Child, impl Sized) {
    let mut child = child::command("hold", store.folder.path(), &hub.endpoint());
    child.env("LILIMS_TEST_MODEL", name).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("held="));
    assert_eq!(line, Some(format!("held={name}")));
    let stdin = child.stdin.take();
    (child, stdin)
}

#[tokio::test(flavor = "multi_thread")]
async fn download_larger_than_the_quota_is_an_error() {
    let content = model(91, 5 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    store.library.set_quota(Some(1 << 20)).unwrap();
    let outcome = store.pull().await;
    let is_over = matches!(
        problem(&store, &outcome),
        Problem::OverQuota { quota_bytes: 1_048_576, kept_bytes: 0, .. }
    );
    assert!(is_over, "{outcome:?}");
    store.assert_nothing_shows();
    store.library.set_quota(None).unwrap();
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.assert_has(&content);
}
