//! Switching on and off, and what is shown.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::DeviceFacts;
use crate::hook::tests::exclusive;

fn telemetry_with(folder: &TempDir, dsn: Option<&str>) -> Telemetry {
    let facts = DeviceFacts {
        os_version: Some("15.1.1"),
        instruction_set: "neon-i8mm",
        n_cores: 10,
        memory_bytes: 16 << 30,
    };
    Telemetry::new(Options {
        folder: folder.path().join("telemetry"),
        dsn: dsn.map(str::to_string),
        version: "0.1.0",
        environment: "test",
        allowed_models: vec!["model-a".to_string()],
        device: DeviceClass::new(facts),
        pauses: Pauses::default(),
    })
}

fn telemetry(folder: &TempDir) -> Telemetry {
    telemetry_with(folder, Some("https://key@telemetry.example.org/7"))
}

fn is_empty(folder: &TempDir) -> bool {
    fs::read_dir(folder.path()).unwrap().count() == 0
}

#[test]
fn off_means_no_file_and_nothing_to_show() {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = telemetry(&folder);
    telemetry.record_figures(&Figures::example(None)).unwrap();
    let failure = PageFailure { kind: PageFailureKind::Panic, file: None, line: None };
    telemetry.record_page_failure(&failure).unwrap();
    assert!(!telemetry.is_on() && telemetry.is_available());
    assert_eq!(telemetry.install_id(), None);
    assert_eq!(telemetry.n_waiting().unwrap(), 0);
    assert_eq!(telemetry.next_envelope().unwrap(), None);
    assert!(!telemetry.preview().crash.bytes.is_empty());
    assert!(is_empty(&folder));
}

#[test]
fn without_a_usable_address_it_stays_off() {
    let folder = tempfile::tempdir().unwrap();
    let result = |dsn| {
        let telemetry = telemetry_with(&folder, dsn);
        let result = telemetry.switch_on();
        assert!(!telemetry.is_on() && !telemetry.is_available());
        result
    };
    assert!(matches!(result(None), Err(Error::NoDsn)));
    assert!(matches!(result(Some("")), Err(Error::NoDsn)));
    assert!(matches!(result(Some("nonsense")), Err(Error::InvalidDsn(_))));
    assert!(matches!(result(Some("http://key@example.org/7")), Err(Error::UnencryptedDsn)));
    assert!(is_empty(&folder));
    assert!(telemetry_with(&folder, Some("http://key@127.0.0.1:9/7")).is_available());
}

#[test]
fn switching_off_deletes_everything_and_the_next_identifier_is_another() {
    let _exclusive = exclusive();
    let folder = tempfile::tempdir().unwrap();
    let telemetry = telemetry(&folder);
    telemetry.switch_on().unwrap();
    let first = telemetry.install_id().unwrap();
    telemetry.switch_on().unwrap();
    assert_eq!(telemetry.install_id().as_ref(), Some(&first));
    telemetry.record_figures(&Figures::example(None)).unwrap();
    assert_eq!(telemetry.n_waiting().unwrap(), 1);
    telemetry.switch_off().unwrap();
    assert!(is_empty(&folder));
    telemetry.record_figures(&Figures::example(None)).unwrap();
    assert!(is_empty(&folder));
    telemetry.switch_off().unwrap();
    telemetry.switch_on().unwrap();
    assert_ne!(telemetry.install_id().as_ref(), Some(&first));
    assert_eq!(telemetry.n_waiting().unwrap(), 0);
}

#[test]
fn a_later_run_has_the_same_identifier_and_queue_and_can_delete_both() {
    let _exclusive = exclusive();
    let folder = tempfile::tempdir().unwrap();
    let first = telemetry(&folder);
    first.switch_on().unwrap();
    first.record_figures(&Figures::example(None)).unwrap();
    let second = telemetry(&folder);
    second.switch_on().unwrap();
    assert_eq!(second.install_id(), first.install_id());
    assert_eq!(second.n_waiting().unwrap(), 1);
    // A run in which it was never on.
    telemetry(&folder).switch_off().unwrap();
    assert!(is_empty(&folder));
    // The others have nothing more to write to.
    assert!(matches!(first.record_figures(&Figures::example(None)), Err(Error::Off)));
    assert!(is_empty(&folder));
}

#[test]
fn files_of_others_stay() {
    let _exclusive = exclusive();
    let folder = tempfile::tempdir().unwrap();
    let telemetry = telemetry(&folder);
    telemetry.switch_on().unwrap();
    let foreign = folder.path().join("telemetry/letter.odt");
    fs::write(&foreign, "dear").unwrap();
    telemetry.switch_off().unwrap();
    assert_eq!(fs::read(&foreign).unwrap(), b"dear");
    assert_eq!(fs::read_dir(foreign.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn the_next_envelope_is_shown_as_it_is_sent() {
    let _exclusive = exclusive();
    let folder = tempfile::tempdir().unwrap();
    let telemetry = telemetry(&folder);
    telemetry.switch_on().unwrap();
    let failure = PageFailure {
        kind: PageFailureKind::Panic,
        file: Some("ui/src/app.rs".to_string()),
        line: Some(12),
    };
    telemetry.record_page_failure(&failure).unwrap();
    let shown = telemetry.next_envelope().unwrap().unwrap();
    let queue = folder.path().join("telemetry/queue");
    let file = fs::read_dir(queue).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read(file).unwrap(), shown.bytes);
    for expected in ["\"page panic\"", "\"lilims_ui app.rs:12\"", &telemetry.install_id().unwrap()]
    {
        assert!(shown.text.contains(expected), "{}", shown.text);
    }
    // Line breaks are all that is added.
    let without_spaces = |text: &str| text.replace([' ', '\n'], "");
    let bytes = String::from_utf8(shown.bytes).unwrap();
    assert_eq!(without_spaces(&shown.text), without_spaces(&bytes));
}

#[test]
fn previews_are_made_as_what_is_recorded() {
    let _exclusive = exclusive();
    let folder = tempfile::tempdir().unwrap();
    let telemetry = telemetry(&folder);
    let Preview { crash, figures } = telemetry.preview();
    assert!(figures.text.contains("\"catalogue_model\": \"model-a\""), "{}", figures.text);
    assert!(crash.text.contains(&Uuid::nil().to_string()), "{}", crash.text);
    for name in ["lilims_core::", "lilims_engine session.rs:", "\"panic\""] {
        assert!(crash.text.contains(name), "{}", crash.text);
    }
    telemetry.switch_on().unwrap();
    telemetry.record_figures(&Figures::example(Some("model-a".to_string()))).unwrap();
    let queued = telemetry.next_envelope().unwrap().unwrap();
    let event = |envelope: &QueuedEnvelope| {
        let line = envelope.bytes.split(|b| *b == b'\n').nth(2).unwrap();
        let mut event: serde_json::Value = serde_json::from_slice(line).unwrap();
        event["event_id"].take();
        event["timestamp"].take();
        event
    };
    assert_eq!(event(&telemetry.preview().figures), event(&queued));
}

#[test]
fn a_panic_is_queued_with_its_place_and_without_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let _exclusive = exclusive();
    let telemetry = telemetry(&folder);
    telemetry.switch_on().unwrap();
    let line = line!() + 1;
    let panicked = std::thread::spawn(|| panic!("a secret of {}", "anna")).join();
    assert!(panicked.is_err());
    let text = telemetry.next_envelope().unwrap().unwrap().text;
    for expected in [&format!("\"lilims_telemetry tests.rs:{line}\""), "\"function\": \"std::"] {
        assert!(text.contains(expected), "{text}");
    }
    for hidden in ["secret", "anna", "/", "rust_begin_unwind", "on_panic"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    telemetry.switch_off().unwrap();
}
