//! From a panic or figures to a server: the queue, pauses, and switching off, with a real server on
//! loopback and real processes that crash.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[path = "support/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lilims_telemetry::{
    Answer, Delivery, DeviceClass, DeviceFacts, Figures, Options, Pauses, Post, SendFailed, Sender,
    Telemetry,
};
use tempfile::TempDir;

use self::server::{Reaction, Server, SocketSender, nobody};

struct Setup {
    folder: TempDir,
    server: Server,
}

impl Setup {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), server: Server::start() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("telemetry")
    }

    fn sender(&self) -> SocketSender {
        SocketSender(self.server.address)
    }

    /// Telemetry of a run of the program, switched on, with short pauses.
    fn telemetry(&self) -> Telemetry {
        self.telemetry_pausing(Duration::from_millis(50))
    }

    /// The same, whose first pause after a failure is `first`.
    fn telemetry_pausing(&self, first: Duration) -> Telemetry {
        let facts = DeviceFacts {
            os_version: Some("6.8"),
            instruction_set: "avx2",
            n_cores: 4,
            memory_bytes: 8 << 30,
        };
        let telemetry = Telemetry::new(Options {
            folder: self.path(),
            dsn: Some(self.server.dsn()),
            version: "0.1.0",
            environment: "test",
            allowed_models: ["a", "b", "c"].map(str::to_string).to_vec(),
            device: DeviceClass::new(facts),
            pauses: Pauses { first, longest: 2 * first },
        });
        telemetry.switch_on().unwrap();
        telemetry
    }

    /// The models of the figures that the server accepted, in order.
    fn models(&self) -> Vec<String> {
        let model = |event: serde_json::Value| {
            event["tags"]["catalogue_model"].as_str().map(str::to_string)
        };
        self.server.events().into_iter().filter_map(model).collect()
    }

    /// Starts the program that panics, and returns its exit code.
    fn run_child(&self, job: &str) -> Option<i32> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_telemetry-child"));
        child.arg(self.path()).arg(job).stderr(Stdio::null());
        child.status().unwrap().code()
    }
}

fn record(telemetry: &Telemetry, models: &[&str]) {
    for model in models {
        let catalogue_model = Some((*model).to_string());
        telemetry.record_figures(&Figures { catalogue_model, ..Figures::default() }).unwrap();
    }
}

/// Waits for the pause that a delivery asked for.
async fn wait(delivery: &Delivery) {
    tokio::time::sleep(delivery.pause.expect("a pause")).await;
}

fn is_gone(folder: &Path) -> bool {
    !folder.exists()
}

#[tokio::test]
async fn what_was_queued_offline_is_sent_online_in_order() {
    let setup = Setup::new();
    // Long enough for a busy machine to ask again before it is over.
    let telemetry = setup.telemetry_pausing(Duration::from_secs(2));
    record(&telemetry, &["a", "b", "c"]);
    let offline = telemetry.deliver(&SocketSender(nobody())).await.unwrap();
    assert_eq!((offline.n_sent, offline.n_dropped, offline.n_waiting), (0, 0, 3));
    let early = telemetry.deliver(&setup.sender()).await.unwrap();
    assert_eq!((early.n_sent, early.n_waiting), (0, 3));
    wait(&early).await;
    let online = telemetry.deliver(&setup.sender()).await.unwrap();
    assert_eq!(online, Delivery { n_sent: 3, ..Delivery::default() });
    assert_eq!(setup.models(), ["a", "b", "c"]);
    assert_eq!(telemetry.next_envelope().unwrap(), None);
}

#[tokio::test]
async fn the_body_is_the_envelope_that_was_shown() {
    let setup = Setup::new();
    let telemetry = setup.telemetry();
    record(&telemetry, &["a"]);
    let shown = telemetry.next_envelope().unwrap().unwrap();
    telemetry.deliver(&setup.sender()).await.unwrap();
    assert_eq!(setup.server.bodies(), [shown.bytes]);
}

#[tokio::test]
async fn failures_of_the_server_are_tried_again() {
    let setup = Setup::new();
    let telemetry = setup.telemetry();
    record(&telemetry, &["a", "b"]);
    let failures =
        [Reaction::Answer(500, ""), Reaction::Answer(503, ""), Reaction::Cut, Reaction::Slow];
    setup.server.react(&failures);
    for n_requests in 1..=failures.len() {
        let delivery = telemetry.deliver(&setup.sender()).await.unwrap();
        assert_eq!((delivery.n_sent, delivery.n_waiting), (0, 2));
        wait(&delivery).await;
        assert_eq!(setup.server.bodies().len(), n_requests);
    }
    let delivery = telemetry.deliver(&setup.sender()).await.unwrap();
    assert_eq!(delivery, Delivery { n_sent: 2, ..Delivery::default() });
    assert_eq!(setup.models(), ["a", "b"]);
}

#[tokio::test]
async fn what_the_server_rejects_is_dropped() {
    let setup = Setup::new();
    let telemetry = setup.telemetry();
    record(&telemetry, &["a", "b"]);
    setup.server.react(&[Reaction::Answer(400, "")]);
    let delivery = telemetry.deliver(&setup.sender()).await.unwrap();
    assert_eq!(delivery, Delivery { n_sent: 1, n_dropped: 1, ..Delivery::default() });
    assert_eq!(setup.models(), ["b"]);
}

#[tokio::test]
async fn limits_hold_for_our_categories_and_over_restarts() {
    let setup = Setup::new();
    let telemetry = setup.telemetry();
    record(&telemetry, &["a", "b", "c"]);
    setup.server.react(&[
        Reaction::Answer(200, "X-Sentry-Rate-Limits: 60:transaction:organization\r\n"),
        Reaction::Answer(200, "X-Sentry-Rate-Limits: 60:session;error:organization\r\n"),
    ]);
    let delivery = telemetry.deliver(&setup.sender()).await.unwrap();
    assert_eq!((delivery.n_sent, delivery.n_waiting), (2, 1));
    assert!(delivery.pause.unwrap() > Duration::from_secs(50));
    let later = setup.telemetry().deliver(&setup.sender()).await.unwrap();
    assert_eq!((later.n_sent, later.n_waiting), (0, 1));
    assert!(later.pause.unwrap() > Duration::from_secs(50));
    assert_eq!(setup.server.bodies().len(), 2);
}

#[tokio::test]
async fn too_many_requests_are_sent_after_the_time_that_the_server_states() {
    let setup = Setup::new();
    let telemetry = setup.telemetry();
    record(&telemetry, &["a"]);
    setup.server.react(&[Reaction::Answer(429, "Retry-After: 1\r\n")]);
    let delivery = telemetry.deliver(&setup.sender()).await.unwrap();
    assert_eq!((delivery.n_sent, delivery.n_dropped, delivery.n_waiting), (0, 0, 1));
    let start = Instant::now();
    wait(&delivery).await;
    assert!(start.elapsed() > Duration::from_millis(500));
    assert_eq!(telemetry.deliver(&setup.sender()).await.unwrap().n_sent, 1);
}

#[tokio::test]
async fn two_deliveries_at_once_send_each_envelope_once() {
    let setup = Setup::new();
    let telemetry = setup.telemetry();
    record(&telemetry, &["a", "b"]);
    let sender = setup.sender();
    let both = tokio::join!(telemetry.deliver(&sender), telemetry.deliver(&sender));
    assert_eq!((both.0.unwrap().n_sent, both.1.unwrap().n_sent), (2, 0));
    assert_eq!(setup.models(), ["a", "b"]);
}

#[tokio::test]
async fn a_closed_door_costs_nothing() {
    struct Closed;
    impl Sender for Closed {
        async fn post(&self, _post: Post) -> Result<Answer, SendFailed> {
            Err(SendFailed::NotAllowed)
        }
    }
    let setup = Setup::new();
    let telemetry = setup.telemetry();
    record(&telemetry, &["a"]);
    let delivery = telemetry.deliver(&Closed).await.unwrap();
    assert_eq!(delivery, Delivery { n_waiting: 1, ..Delivery::default() });
    assert_eq!(telemetry.deliver(&setup.sender()).await.unwrap().n_sent, 1);
}

#[tokio::test]
async fn switching_off_during_a_request_ends_the_delivery_and_leaves_nothing() {
    struct Leaving<'a>(&'a Telemetry, SocketSender);
    impl Sender for Leaving<'_> {
        async fn post(&self, post: Post) -> Result<Answer, SendFailed> {
            self.0.switch_off().unwrap();
            self.1.post(post).await
        }
    }
    let setup = Setup::new();
    setup.server.react(&[Reaction::Answer(500, "")]);
    let telemetry = setup.telemetry();
    record(&telemetry, &["a", "b"]);
    let delivery = telemetry.deliver(&Leaving(&telemetry, setup.sender())).await.unwrap();
    assert_eq!(delivery, Delivery::default());
    assert_eq!(setup.server.bodies().len(), 1);
    assert!(is_gone(&setup.path()));
    assert_eq!(telemetry.deliver(&setup.sender()).await.unwrap(), Delivery::default());
    assert_eq!(setup.server.bodies().len(), 1);
}

/// Lets a process crash, and returns the exit code and what the next start sends.
async fn crash(setup: &Setup, job: &str) -> (Option<i32>, usize) {
    let code = setup.run_child(job);
    let delivery = setup.telemetry().deliver(&setup.sender()).await.unwrap();
    for event in setup.server.events() {
        let exception = &event["exception"]["values"][0];
        assert_eq!(exception["type"], "panic");
        assert_eq!(event["level"], "fatal");
        let frames = exception["stacktrace"]["frames"].as_array().unwrap();
        assert!(!frames.is_empty());
    }
    for body in setup.server.bodies() {
        assert!(!String::from_utf8_lossy(&body).contains("SECRET"));
    }
    (code, delivery.n_sent)
}

#[tokio::test]
async fn a_panic_of_a_worker_is_sent_at_the_next_start() {
    assert_eq!(crash(&Setup::new(), "worker").await, (Some(0), 1));
}

#[tokio::test]
async fn a_panic_right_before_the_process_exits_is_sent_at_the_next_start() {
    assert_eq!(crash(&Setup::new(), "exit").await, (Some(7), 1));
}

#[tokio::test]
async fn a_panic_that_ends_the_process_is_sent_at_the_next_start() {
    assert_eq!(crash(&Setup::new(), "main").await, (Some(101), 2));
}

#[tokio::test]
async fn a_panic_that_repeats_is_sent_once() {
    assert_eq!(crash(&Setup::new(), "repeated").await, (Some(0), 1));
}

#[test]
fn panics_after_switching_off_leave_nothing() {
    let setup = Setup::new();
    assert_eq!(setup.run_child("off"), Some(101));
    assert!(is_gone(&setup.path()));
}

#[tokio::test]
async fn what_an_earlier_run_left_is_gone_once_it_is_switched_off() {
    let setup = Setup::new();
    setup.run_child("main");
    assert!(!is_gone(&setup.path()));
    let telemetry = setup.telemetry();
    assert_eq!(telemetry.n_waiting().unwrap(), 2);
    telemetry.switch_off().unwrap();
    assert!(is_gone(&setup.path()));
    assert_eq!(telemetry.deliver(&setup.sender()).await.unwrap(), Delivery::default());
    assert!(setup.server.bodies().is_empty());
}
