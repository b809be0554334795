//! The queue's bounds and its files.

use tempfile::TempDir;

use super::*;

fn queue(folder: &TempDir) -> Queue {
    Queue::open(Arc::new(Folder::open(&folder.path().join("telemetry")).unwrap())).unwrap()
}

fn store(queue: &Queue, bytes: Vec<u8>) {
    queue.store(Uuid::from_u128(7), bytes).unwrap();
}

fn files(queue: &Queue) -> usize {
    fs::read_dir(queue.folder.queue()).unwrap().count()
}

#[test]
fn envelopes_come_out_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder);
    assert!(queue.next().unwrap().is_none());
    (1..=5).for_each(|byte| store(&queue, vec![byte]));
    for byte in 1..=5 {
        let (entry, bytes) = queue.next().unwrap().unwrap();
        assert_eq!(bytes, [byte]);
        queue.remove(&entry).unwrap();
        queue.remove(&entry).unwrap();
    }
    assert_eq!(files(&queue), 0);
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder);
    (0..40).for_each(|byte| store(&queue, vec![byte]));
    assert_eq!(files(&queue), MAX_FILES);
    assert_eq!(queue.next().unwrap().unwrap().1, [10]);
}

#[test]
fn the_oldest_go_when_they_are_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder);
    (1..=20).for_each(|byte| store(&queue, vec![byte; MAX_ENVELOPE_BYTES]));
    let total: u64 = queue.entries().unwrap().iter().map(|it| it.size_bytes).sum();
    assert_eq!(total, MAX_QUEUE_BYTES);
    assert_eq!(queue.next().unwrap().unwrap().1[0], 5);
    let too_large = queue.store(Uuid::nil(), vec![0; MAX_ENVELOPE_BYTES + 1]);
    assert!(matches!(too_large, Err(Error::TooLarge { .. })));
    assert_eq!(files(&queue), 16);
}

#[test]
fn old_and_half_written_files_go_when_the_queue_opens() {
    let folder = tempfile::tempdir().unwrap();
    let first = queue(&folder);
    store(&first, vec![1]);
    let place = first.folder.queue();
    let now_ms = unix_ms(SystemTime::now());
    let age_ms = u64::try_from(MAX_AGE.as_millis()).unwrap();
    let old = format!("{:015}-000000-{}{EXTENSION}", now_ms - age_ms - 1000, Uuid::nil().simple());
    fs::write(place.join(old), [2]).unwrap();
    let half = place.join(format!("{TEMPORARY}abc"));
    let hours_ago = SystemTime::now() - 2 * MAX_TEMPORARY_AGE;
    fs::write(&half, [3]).unwrap();
    fs::File::open(&half).unwrap().set_modified(hours_ago).unwrap();
    fs::write(place.join(format!("{TEMPORARY}new")), [4]).unwrap();
    assert_eq!(files(&first), 4);
    let second = queue(&folder);
    assert_eq!(files(&second), 2);
    assert_eq!(second.next().unwrap().unwrap().1, [1]);
}

#[test]
fn damaged_and_foreign_files_are_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder);
    let place = queue.folder.queue();
    let name = |ms: u64| place.join(format!("{ms:015}-000000-x{EXTENSION}"));
    fs::write(name(1), []).unwrap();
    fs::write(name(2), vec![0; MAX_ENVELOPE_BYTES + 1]).unwrap();
    fs::write(place.join("letter.odt"), "dear").unwrap();
    store(&queue, vec![7]);
    assert_eq!(queue.next().unwrap().unwrap().1, [7]);
    assert_eq!(files(&queue), 2);
}

#[test]
fn nothing_is_written_once_it_was_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let here = queue(&folder);
    let elsewhere = queue(&folder);
    assert_eq!(here.folder.install_id(), elsewhere.folder.install_id());
    here.folder.close();
    Folder::delete(&folder.path().join("telemetry")).unwrap();
    for queue in [&here, &elsewhere] {
        assert!(matches!(queue.store(Uuid::nil(), vec![1]), Err(Error::Off)));
        assert!(queue.entries().unwrap().is_empty());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // Switched on again, it has another identifier, which the other process must not write under.
    let again = queue(&folder);
    assert_ne!(again.folder.install_id(), elsewhere.folder.install_id());
    assert!(matches!(elsewhere.store(Uuid::nil(), vec![1]), Err(Error::Off)));
}
