//! The library's folder with links, concurrent processes, kills and other users.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;

use lilims_hub::{DownloadState, Error, Verified};
use lilims_tests::hub_server::{BodyOffset, Fault, FaultPlan, FaultRule, Target};

use super::*;

/// Writes a model file of about `data_bytes`, filled with this byte.
fn write_model(path: &Path, fill: u8, data_bytes: u64) {
    let values = data_bytes.next_multiple_of(128) / 4;
    let mut writer = Writer::default();
    writer.str("general.architecture", "llama");
    let data = vec![fill; values as usize * 4];
    writer.tensor("token_embd.weight", &[values], TensorType::F32, data);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    writer.write(fs::File::create(path).unwrap()).unwrap();
}

/// Starts a process that imports `file` into the library at `root`.
fn importer(root: &Path, file: &Path) -> Child {
    let mut command = child::command("import", root, "http://127.0.0.1:9");
    command.env("LILIMS_TEST_FILE", file);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn l1_same_named_imports_of_many_processes_are_all_kept() {
    const PROCESSES: u8 = 8;
    let home = tempfile::tempdir().unwrap();
    for round in 0..3u8 {
        let root = home.path().join(format!("models-{round}"));
        drop(Library::open(&root).unwrap());
        let files: Vec<_> =
            (0..PROCESSES).map(|n| home.path().join(format!("{round}/{n}/same.gguf"))).collect();
        for (fill, file) in (1..).zip(&files) {
            write_model(file, fill, 4096);
        }
        let importers: Vec<_> = files.iter().map(|file| importer(&root, file)).collect();
        for mut importer in importers {
            assert!(importer.wait().unwrap().success());
        }
        let library = Library::open(&root).unwrap();
        let entries = library.entries().unwrap();
        let mut contents: Vec<_> =
            entries.iter().map(|entry| fs::read(&entry.path).unwrap()).collect();
        contents.sort();
        contents.dedup();
        assert_eq!(contents.len(), usize::from(PROCESSES), "models are lost: {entries:?}");
        let mut names: Vec<_> = entries.iter().map(|entry| &entry.name).collect();
        names.sort();
        names.dedup();
        assert_eq!((entries.len(), names.len()), (8, 8), "{names:?}");
        assert_eq!(super::files(&root).len(), 8);
        assert!(partials(&root).is_empty());
    }
}

#[test]
fn l2_leftovers_of_a_killed_import_are_removed_and_never_counted() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("models");
    let (good, big) = (home.path().join("good.gguf"), home.path().join("big.gguf"));
    write_model(&good, 1, 1 << 20);
    write_model(&big, 2, 1 << 20);
    // Large enough for a kill during the copy, on file systems without shared blocks.
    fs::File::options().append(true).open(&big).unwrap().set_len(1 << 30).unwrap();
    let library = Library::open(&root).unwrap();
    let good = library.import(&good).unwrap();
    let used = library.storage().unwrap().used_bytes;
    let mut n_rests = 0;
    for _ in 0..8 {
        let mut importer = importer(&root, &big);
        let start = Instant::now();
        while partials(&root).is_empty() && start.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_micros(200));
        }
        importer.kill().unwrap();
        importer.wait().unwrap();
        n_rests += partials(&root).len();
        if !partials(&root).is_empty() {
            // It belongs to no process, so it does not count against the quota.
            let storage = library.storage().unwrap();
            assert_eq!((storage.used_bytes, storage.unfinished_bytes), (used, 0));
            library.set_quota(Some(used + (2 << 20))).unwrap();
            let plan = library.plan(1 << 20).unwrap();
            assert_eq!((plan.removes.len(), plan.missing_bytes), (0, 0), "{plan:?}");
            library.set_quota(None).unwrap();
        }
        let next = Library::open(&root).unwrap();
        assert!(partials(&root).is_empty(), "the next start must remove it");
        for entry in next.entries().unwrap().into_iter().filter(|it| it.name != good.name) {
            next.remove(&entry.name).unwrap();
        }
    }
    assert!(n_rests > 0, "no import was interrupted");
}

#[test]
fn l2_running_import_is_kept_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let (root, big) = (home.path().join("models"), home.path().join("big.gguf"));
    write_model(&big, 2, 1 << 20);
    fs::File::options().append(true).open(&big).unwrap().set_len(1 << 30).unwrap();
    let library = Library::open(&root).unwrap();
    let cancel = AtomicBool::new(false);
    thread::scope(|scope| {
        let import = scope.spawn(|| library.import_cancellable(&big, &cancel));
        while partials(&root).is_empty() && !import.is_finished() {
            thread::sleep(Duration::from_micros(200));
        }
        Library::open(&root).unwrap();
        assert!(
            import.is_finished() || !partials(&root).is_empty(),
            "the file of a running import was removed"
        );
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        match import.join().unwrap() {
            Err(Error::Stopped) | Ok(_) => {}
            other => panic!("{other:?}"),
        }
    });
    assert!(partials(&root).is_empty(), "a cancelled import must leave no files");
}

#[cfg(unix)]
#[test]
fn l3_files_of_other_programs_are_never_changed_whatever_the_index_contains() {
    use std::os::unix::fs::symlink;

    let home = tempfile::tempdir().unwrap();
    let (root, theirs) = (home.path().join("models"), home.path().join("theirs"));
    write_model(&theirs.join("blob.gguf"), 1, 1 << 20);
    write_model(&theirs.join("tiny-Q8_0.gguf"), 2, 1 << 20);
    let library = Library::open(&root).unwrap();
    symlink(&theirs, root.join("linked")).unwrap();
    fs::create_dir_all(root.join("imported")).unwrap();
    symlink(theirs.join("blob.gguf"), root.join("imported/blob.gguf")).unwrap();
    let environment = lilims_models::scan::Environment {
        home: None,
        system_root: home.path().join("none"),
        variables: Default::default(),
    };
    library.scan(&environment).unwrap();
    let entries = library.entries().unwrap();
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert!(entries.iter().all(|it| it.owner.is_some()), "{entries:?}");
    assert_eq!(library.storage().unwrap().used_bytes, 0);
    // A wrong claim in the index is not trusted.
    let index = rusqlite::Connection::open(root.join("lilims.sqlite")).unwrap();
    let claim =
        "UPDATE models SET owner = NULL, sha256 = 'ff', repository = 'a/b', file = 'c.gguf'";
    index.execute(claim, []).unwrap();
    let before: Vec<_> = files(&theirs).into_iter().map(|it| fs::read(it).unwrap()).collect();
    library.set_quota(Some(0)).unwrap();
    assert!(library.make_room(1 << 20, &[]).is_err(), "no file of ours can be removed");
    for entry in library.entries().unwrap() {
        assert!(entry.owner.is_some(), "{entry:?}");
        let cancel = AtomicBool::new(false);
        let verified = library.verify(&entry.name, &cancel, &mut |_| ()).unwrap();
        assert!(matches!(verified, Verified::Damaged { .. }), "nothing is repaired: {verified:?}");
        library.remove(&entry.name).unwrap();
    }
    let after: Vec<_> = files(&theirs).into_iter().map(|it| fs::read(it).unwrap()).collect();
    assert!(before == after && before.len() == 2);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn l3_download_never_writes_into_another_programs_folder() {
    use std::os::unix::fs::symlink;

    let content = model(400, 1 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    let theirs = tempfile::tempdir().unwrap();
    fs::create_dir_all(theirs.path().join("tiny")).unwrap();
    fs::write(theirs.path().join("tiny").join(FILE), "theirs").unwrap();
    symlink(theirs.path(), store.folder.path().join("owner")).unwrap();
    let failure = failure(store.pull().await);
    assert!(failure.contains("leads out of the library's folder"), "{failure}");
    assert_eq!(fs::read(theirs.path().join("tiny").join(FILE)).unwrap(), b"theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_download_uses_a_free_name_beside_an_unknown_file() {
    let content = model(401, 1 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    let mine = store.folder.path().join(ID).join(FILE);
    fs::create_dir_all(mine.parent().unwrap()).unwrap();
    fs::write(&mine, "a note of mine").unwrap();
    let Outcome::Done(entry) = store.pull().await else { panic!("it is done") };
    assert_eq!(fs::read(&mine).unwrap(), b"a note of mine");
    assert!(entry.path.ends_with("owner/tiny/tiny-Q8_0-2.gguf"), "{}", entry.path.display());
    let on_disk = Content::on_disk(&entry.path).unwrap().sha256().unwrap();
    assert_eq!(on_disk, content.sha256().unwrap());
    // The library knows it as the file of that source.
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    assert_eq!(store.library.entries().unwrap().len(), 1);
}

/// Runs as another user than root: in containers, tests run as root.
#[cfg(unix)]
#[test]
fn l7_copy_of_a_read_only_file_is_ours_and_writable() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65_534;
    let home = tempfile::tempdir().unwrap();
    let is_root = fs::metadata("/proc/self").is_ok_and(|it| {
        use std::os::unix::fs::MetadataExt;
        it.uid() == 0
    });
    let (root, file) = (home.path().join("models"), home.path().join("m.gguf"));
    write_model(&file, 1, 4096);
    fs::create_dir(&root).unwrap();
    for (path, mode) in [(home.path(), 0o755), (&*root, 0o777), (&*file, 0o444)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // Another user may not have access to the build folder.
    let program = home.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let as_root = child::command("import", &root, "http://127.0.0.1:9");
    let mut command = std::process::Command::new(&program);
    command.args(as_root.get_args());
    command.envs(as_root.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("LILIMS_TEST_FILE", &file).env("HOME", home.path()).current_dir(home.path());
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let stdout = child::run(&mut command);
    let path = PathBuf::from(child::value_of(&stdout, "path"));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o200, 0o200, "{mode:o}");
    assert_eq!(fs::read(&path).unwrap(), fs::read(&file).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn l8_cancelling_an_interrupted_pull_frees_its_space() {
    let hub = hub_with(&model(410, 9 << 20));
    let stall = Fault::Stall(BodyOffset::After(CHUNK + 1000), Duration::from_secs(30));
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Bytes, stall)]));
    let store = Store::of(&hub);
    let mut child = child::command("pull", store.folder.path(), &hub.endpoint());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let rows = || store.library.downloads().unwrap();
    until("it runs", || rows().first().is_some_and(|row| row.progress.done_bytes > 1000)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(store.library.storage().unwrap().unfinished_bytes >= 9 << 20);
    let row = rows().remove(0);
    assert_eq!(row.state, DownloadState::Running);
    store.library.cancel(row.id).unwrap();
    assert_eq!(store.library.storage().unwrap().unfinished_bytes, 0);
    assert!(rows().is_empty() && partials(store.folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn l9_damaged_model_is_kept_until_the_repair_is_complete() {
    let content = model(420, 9 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    let entry = store.library.entries().unwrap().remove(0);
    let cancel = AtomicBool::new(false);
    assert!(store.library.verify(&entry.name, &cancel, &mut |_| ()).is_ok());
    damage(&entry.path, CHUNK + 9);
    let damaged = fs::read(&entry.path).unwrap();
    let verified = store.library.verify(&entry.name, &cancel, &mut |_| ()).unwrap();
    let Verified::Repairing { download } = verified else { panic!("it is found") };
    // The hub is unreachable.
    hub.set_faults(FaultPlan::new(0, [FaultRule::always(Target::Any, Fault::Status(503))]));
    let outcome = store.downloader().run_until_done(download, |_| ()).await.unwrap();
    failure(outcome);
    assert!(fs::read(&entry.path).unwrap() == damaged, "the damaged model can still be used");
    assert!(store.library.entry(&entry.name).unwrap().is_damaged);
    // When the hub is reachable, the damaged chunk is downloaded.
    hub.set_faults(FaultPlan::none());
    hub.clear_requests();
    store.library.resume(download).unwrap();
    let outcome = store.downloader().run_until_done(download, |_| ()).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    store.assert_has(&content);
    assert_eq!(sent_bytes(&hub), CHUNK);
    // Alternatively it is removed, which frees its space.
    damage(&entry.path, CHUNK + 9);
    store.library.verify(&entry.name, &cancel, &mut |_| ()).unwrap();
    store.library.remove(&entry.name).unwrap();
    store.assert_nothing_shows();
    assert_eq!(store.library.storage().unwrap().used_bytes, 0);
    let rows = store.library.downloads().unwrap();
    assert!(rows.iter().all(|row| row.state == DownloadState::Done), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l9_update_interrupted_after_its_rename_is_recovered() {
    let (old, new) = (model(430, 5 << 20), model(431, 6 << 20));
    let hub = hub_with(&old);
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    let before = store.library.entries().unwrap().remove(0);
    store.library.pin(&before.name, true).unwrap();
    hub.add(Repo::new(ID).with_file(FILE, new.clone()));
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    // The state after a crash between the rename and the index entry.
    let index = rusqlite::Connection::open(store.folder.path().join("lilims.sqlite")).unwrap();
    let sql = "UPDATE models SET sha256 = ?1, size_bytes = ?2";
    index.execute(sql, rusqlite::params![before.sha256, before.size_bytes as i64]).unwrap();
    index.execute("UPDATE downloads SET state = 'running', model = NULL", []).unwrap();
    let library = Library::open(store.folder.path()).unwrap();
    let entry = library.entries().unwrap().remove(0);
    assert_eq!((entry.name, entry.is_pinned), (before.name, true));
    assert_eq!((entry.sha256, entry.size_bytes), (new.sha256().ok(), new.len_bytes()));
    assert_eq!(library.downloads().unwrap()[0].state, DownloadState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn l16_new_pull_starts_without_old_state() {
    let content = model(440, 5 << 20);
    let hub = hub_with(&content);
    let store = Store::of(&hub);
    assert!(matches!(store.pull().await, Outcome::Done(_)));
    store.library.remove(&store.library.entries().unwrap()[0].name).unwrap();
    let id = store.library.enqueue(&source()).unwrap();
    let row = store.row(id);
    assert_eq!((row.progress.done_bytes, row.progress.total_bytes), (0, 0), "{row:?}");
    let mut reported = Vec::new();
    let on_progress = |row: &DownloadRow| reported.push(row.progress.done_bytes);
    let outcome = store.downloader().run_until_done(id, on_progress).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!(reported[0], 0, "{reported:?}");
    // Neither an old error nor an old pause is reported.
    let index = rusqlite::Connection::open(store.folder.path().join("lilims.sqlite")).unwrap();
    let left = "UPDATE downloads SET state = 'failed', failure = 'old', progress =
        json_set(progress, '$.retrying', json('[\"old\", 60]'), '$.is_checking', json('true'),
                 '$.bytes_per_second', 5.0)";
    index.execute(left, []).unwrap();
    let row = store.row(store.library.enqueue(&source()).unwrap());
    assert_eq!((row.failure, row.progress.retrying), (None, None));
    assert_eq!((row.progress.bytes_per_second, row.progress.is_checking), (None, false));
}
