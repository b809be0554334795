//! What can leave through a real `sentry` client with our transport, whatever events and envelopes it is
//! given.

mod allowed;
mod full_event;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sentry::protocol::{Context, DynamicSamplingContext, EnvelopeHeaders, Event, User, Value};
use sentry::types::{Dsn, Uuid};
use sentry::{Envelope, Hub, Scope};
use tracing_subscriber::layer::SubscriberExt;

use self::full_event::Filler;
use super::*;
use crate::events::{CATALOGUE_MODEL, EXCEPTION_TYPES, FIGURES, FIGURES_MESSAGE};
use crate::location::CodeLocation;
use crate::{DeviceClass, DeviceFacts, Figures, Options, Pauses, events};

/// Part of every secret text, whose lower-case letters no escape of JSON or of addresses changes.
const SECRET: &str = "qzx7f3a";
/// What no number that is sent may be: it would be left of rounding.
const SECRET_NUMBER: u64 = 7_123_456_789;
/// The address in users and sessions.
const SECRET_ADDRESS: &str = "203.0.113";

#[derive(Default)]
struct Collected(Mutex<Vec<Vec<u8>>>);

impl Sink for Collected {
    fn store(&self, _event_id: Uuid, envelope: Vec<u8>) -> Result<(), Error> {
        self.0.lock().push(envelope);
        Ok(())
    }
}

fn options() -> Options {
    let facts = DeviceFacts {
        os_version: Some("6.8.0-45"),
        instruction_set: "avx2",
        n_cores: 8,
        memory_bytes: 16 << 30,
    };
    Options {
        folder: PathBuf::new(),
        dsn: None,
        version: "0.0.1",
        environment: "test",
        allowed_models: vec!["model-a".to_string(), "model-b".to_string()],
        device: DeviceClass::new(facts),
        pauses: Pauses::default(),
    }
}

fn pipeline() -> (Pipeline, Arc<Collected>) {
    let dsn: Dsn = format!("https://{SECRET}@localhost/1").parse().unwrap();
    let collected = Arc::new(Collected::default());
    let scrubber = Scrubber::new(&options(), Uuid::from_u128(1));
    (Pipeline::new(&dsn, scrubber, collected.clone()), collected)
}

/// What is stored when the pipeline is given the events that `give` gives it.
fn stored(give: impl FnOnce(&Pipeline)) -> Vec<Vec<u8>> {
    let (pipeline, collected) = pipeline();
    give(&pipeline);
    std::mem::take(&mut *collected.0.lock())
}

fn assert_no_secret(envelope: &[u8]) {
    let text = String::from_utf8_lossy(envelope).to_lowercase();
    for secret in
        [SECRET, SECRET_ADDRESS, &SECRET_NUMBER.to_string(), &format!("{SECRET_NUMBER:x}")]
    {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// Texts as people and machines have them, each with the secret.
fn secret_texts() -> impl Strategy<Value = Vec<String>> {
    let forms = [
        "{}",
        "/srv/anna/Briefe/{}.odt",
        "C:\\Users\\anna\\{}.gguf",
        "crates/core/src/{}/app.rs",
        "crates/core/src/app.rs {}",
        "lilims_core app.rs:7 {}",
        "lilims_core {}.txt:7",
        "anna.{}@example.org",
        "My question\nabout \"{}\"",
        "a panic: {}",
        "install_id={}",
        "model-a {}",
        "<{}>",
        "{}::secret",
        "performance figures {}",
        "panic {}",
        "Grüße, {} 🦀",
        "10.0.0.7 {}",
    ];
    let form = proptest::sample::select(forms.map(|it| it.replace("{}", SECRET)).to_vec());
    vec(form, 1..8)
}

/// The type of the last exception: one of ours more often than not, or no exception.
fn exception_type() -> impl Strategy<Value = Option<String>> {
    let ours = proptest::sample::select(EXCEPTION_TYPES);
    option::weighted(0.7, prop_oneof![4 => ours.prop_map(str::to_string), 1 => any::<String>()])
}

fn message() -> impl Strategy<Value = String> {
    prop_oneof![Just(FIGURES_MESSAGE.to_string()), any::<String>()]
}

/// Gives figures to an event that has them among other values.
fn add_figures(event: &mut Event<'static>, values: [f64; 4]) {
    let Some(Context::Other(fields)) = event.contexts.get_mut(FIGURES) else { panic!() };
    for (name, value) in events::FIGURE_NAMES.iter().zip(values) {
        fields.insert((*name).to_string(), Value::from(value));
    }
}

proptest! {
    #[test]
    fn a_secret_in_every_field_is_not_sent(
        texts in secret_texts(),
        ty in exception_type(),
        message in message(),
    ) {
        let is_ours = ty.as_deref().map_or(message == FIGURES_MESSAGE, |ty| {
            EXCEPTION_TYPES.contains(&ty) || message == FIGURES_MESSAGE
        });
        let mut filler = Filler::new(texts, SECRET_NUMBER);
        let event = filler.event(ty, message);
        let before = serde_json::to_string(&event).unwrap();
        prop_assert!(before.contains(SECRET) && before.contains(&SECRET_NUMBER.to_string()));
        let envelopes = stored(|pipeline| pipeline.capture(event).unwrap());
        prop_assert_eq!(envelopes.len(), usize::from(is_ours));
        for envelope in envelopes {
            assert_no_secret(&envelope);
            allowed::check(&envelope);
        }
    }

    #[test]
    fn a_secret_in_the_scope_or_beside_the_event_is_not_sent(texts in secret_texts()) {
        let mut filler = Filler::new(texts, SECRET_NUMBER);
        let envelopes = stored(|pipeline| {
            let hub = Arc::new(hub_of(pipeline, &mut filler));
            Hub::run(hub.clone(), || capture_everything(&hub, &mut filler));
        });
        // Of all that was captured, one panic and one set of figures are events of ours.
        prop_assert_eq!(envelopes.len(), 2);
        for envelope in envelopes {
            assert_no_secret(&envelope);
            allowed::check(&envelope);
        }
    }

    #[test]
    fn other_items_and_headers_are_not_sent(texts in secret_texts()) {
        let mut filler = Filler::new(texts, SECRET_NUMBER);
        let mut envelope = Envelope::new();
        filler.other_items().into_iter().for_each(|item| envelope.add_item(item));
        let alone = envelope.clone();
        envelope.add_item(filler.event(Some("panic".to_string()), SECRET.to_string()));
        let envelope = envelope.with_headers(headers(&mut filler));
        let raw = Envelope::from_bytes_raw(filler.text().into_bytes()).unwrap();
        let envelopes = stored(|pipeline| {
            [alone, envelope, raw].into_iter().for_each(|it| pipeline.client.send_envelope(it));
        });
        prop_assert_eq!(envelopes.len(), 1);
        assert_no_secret(&envelopes[0]);
        allowed::check(&envelopes[0]);
    }

    #[test]
    fn random_events_have_allowed_fields_only(
        texts in vec(any::<String>(), 1..8),
        number in any::<u64>(),
        ty in exception_type(),
        message in message(),
        values in any::<[f64; 4]>(),
        model in prop_oneof![Just("model-b".to_string()), any::<String>()],
        seconds in 0..u64::from(u32::MAX),
    ) {
        let mut event = Filler::new(texts, number).event(ty, message);
        add_figures(&mut event, values);
        event.tags.insert(CATALOGUE_MODEL.to_string(), model);
        event.timestamp = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        for envelope in stored(|pipeline| pipeline.capture(event).unwrap()) {
            allowed::check(&envelope);
        }
    }

    #[test]
    fn what_was_scrubbed_stays_the_same(
        texts in vec(any::<String>(), 1..8),
        ty in exception_type(),
        message in message(),
    ) {
        let scrubber = Scrubber::new(&options(), Uuid::from_u128(1));
        let once = scrubber.scrub(Filler::new(texts, 7).event(ty, message));
        prop_assert_eq!(once.clone().and_then(|it| scrubber.scrub(it)), once);
    }
}

/// A hub with the pipeline's client and a scope that has something in every field.
fn hub_of(pipeline: &Pipeline, filler: &mut Filler) -> Hub {
    let mut scope = Scope::default();
    scope.set_level(Some(sentry::Level::Warning));
    scope.set_fingerprint(Some(&[&filler.text()]));
    scope.set_transaction(Some(&filler.text()));
    scope.set_tag(&filler.text(), filler.text());
    scope.set_extra(&filler.text(), Value::from(filler.text()));
    scope.set_context(
        &filler.text(),
        Context::Other([(filler.text(), filler.text().into())].into()),
    );
    scope.set_user(Some(User { username: Some(filler.text()), ..User::default() }));
    scope.add_attachment(filler.attachment());
    let text = filler.text();
    scope.add_event_processor(move |mut event| {
        event.server_name = Some(text.clone().into());
        event.extra.insert(text.clone(), Value::from(text.clone()));
        Some(event)
    });
    Hub::new(Some(Arc::new(pipeline.client.clone())), Arc::new(scope))
}

/// Captures errors, messages, breadcrumbs and `tracing` events with texts of the filler, and then two
/// events of ours.
fn capture_everything(hub: &Hub, filler: &mut Filler) {
    #[expect(deprecated, reason = "its successors do not make events of errors")]
    let layer = sentry::integrations::tracing::layer();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let (text, other) = (filler.text(), filler.text());
        let span = tracing::error_span!("answering", question = text.as_str());
        let _inside = span.enter();
        tracing::info!(file = other.as_str(), "opened {text}");
        tracing::error!(error = other.as_str(), "failed: {text}");
        tracing::error!(
            error = &Chain(text, Some(Box::new(Chain(other, None)))) as &dyn std::error::Error
        );
    });
    let cause = Chain(filler.text(), None);
    sentry::capture_error(&Chain(filler.text(), Some(Box::new(cause))));
    sentry::capture_message(&filler.text(), sentry::Level::Fatal);
    sentry::add_breadcrumb(sentry::Breadcrumb {
        message: Some(filler.text()),
        ..sentry::Breadcrumb::default()
    });
    let location = CodeLocation::of_source("crates/core/src/app.rs", 7);
    hub.capture_event(events::panic(location.as_ref(), None));
    let model = Some(filler.text());
    hub.capture_event(events::figures(&Figures { catalogue_model: model, ..Figures::default() }));
}

fn headers(filler: &mut Filler) -> EnvelopeHeaders {
    let trace = DynamicSamplingContext::new()
        .with_public_key(filler.text())
        .with_transaction(filler.text())
        .with_environment(filler.text());
    let dsn: Dsn = format!("https://{SECRET}@localhost/1").parse().unwrap();
    EnvelopeHeaders::new().with_dsn(dsn).with_trace(trace)
}

/// An error with a cause.
#[derive(Debug)]
struct Chain(String, Option<Box<Chain>>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Chain {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|it| it as _)
    }
}

/// The payload of the only envelope that an event becomes.
fn payload(event: Event<'static>) -> serde_json::Value {
    let envelopes = stored(|pipeline| pipeline.capture(event).unwrap());
    assert_eq!(envelopes.len(), 1);
    serde_json::from_slice(envelopes[0].split(|b| *b == b'\n').nth(2).unwrap()).unwrap()
}

#[test]
fn a_panic_has_its_place_and_functions() {
    let location = CodeLocation::of_source("crates/core/src/app.rs", 7);
    let stack = Filler::new(vec!["x".to_string()], 7).frame("std::rt::start".to_string());
    let mut stack = sentry::protocol::Stacktrace { frames: vec![stack], ..Default::default() };
    stack.frames.push(sentry::protocol::Frame {
        function: Some("<lilims_core::App as core::ops::Drop>::drop".to_string()),
        ..Default::default()
    });
    let payload = payload(events::panic(location.as_ref(), Some(stack)));
    let expected = serde_json::json!({
        "values": [{
            "type": "panic",
            "value": "lilims_core app.rs:7",
            "stacktrace": { "frames": [
                { "function": "std::rt::start", "in_app": false },
                { "function": "lilims_core::App::drop", "in_app": true },
            ] },
        }],
    });
    assert_eq!(payload["exception"], expected);
    assert_eq!(payload["level"], "fatal");
}

#[test]
fn figures_are_rounded_and_models_are_of_the_catalogue() {
    let figures = Figures {
        load_ms: Some(1234.0),
        first_token_ms: None,
        tokens_per_second: Some(f64::NAN),
        peak_memory_bytes: Some(3_456_789_012.0),
        catalogue_model: Some("model-b".to_string()),
    };
    let known = payload(events::figures(&figures));
    let expected =
        serde_json::json!({ "type": "unknown", "load_ms": 1200.0, "peak_memory_bytes": 3.5e9 });
    assert_eq!(known["contexts"]["figures"], expected);
    assert_eq!(known["tags"]["catalogue_model"], "model-b");
    for other in [None, Some("anna's model".to_string())] {
        let other =
            payload(events::figures(&Figures { catalogue_model: other, ..figures.clone() }));
        assert_eq!(other["tags"]["catalogue_model"], "other");
    }
}

#[test]
fn a_failure_of_the_sink_is_returned() {
    struct Full;
    impl Sink for Full {
        fn store(&self, _event_id: Uuid, _envelope: Vec<u8>) -> Result<(), Error> {
            Err(Error::Off)
        }
    }
    let dsn: Dsn = "https://key@localhost/1".parse().unwrap();
    let scrubber = Scrubber::new(&options(), Uuid::from_u128(1));
    let pipeline = Pipeline::new(&dsn, scrubber, Arc::new(Full));
    assert!(matches!(pipeline.capture(events::panic(None, None)), Err(Error::Off)));
    // An event that is not ours is stored nowhere, which is no failure.
    assert!(matches!(pipeline.capture(Event::default()), Ok(())));
}
