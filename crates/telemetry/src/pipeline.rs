//! The one way from an event to an envelope: a `sentry` client without integrations, the scrubber before
//! and behind it, and a sink for the bytes.
//!
//! The client is bound to no hub, so nothing that other code gives to `sentry` reaches it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sentry::protocol::{EnvelopeItem, Event};
use sentry::types::{Dsn, Uuid};
use sentry::{Client, ClientOptions, Envelope, Transport, TransportFactory, TransportOptions};

use crate::Error;
use crate::scrub::Scrubber;

/// How long a call waits for another thread that records.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Takes envelopes as bytes.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Stores an envelope with an event of the id `event_id`.
    fn store(&self, event_id: Uuid, envelope: Vec<u8>) -> Result<(), Error>;
}

/// A `sentry` client whose envelopes go to a sink.
pub(crate) struct Pipeline {
    client: Client,
    transport: Arc<ScrubbingTransport>,
    /// Held while an event is captured, so that an outcome is that of its event.
    capture: Mutex<()>,
}

impl Pipeline {
    pub(crate) fn new(dsn: &Dsn, scrubber: Scrubber, sink: Arc<dyn Sink>) -> Self {
        let scrubber = Arc::new(scrubber);
        let transport = Arc::new(ScrubbingTransport {
            scrubber: scrubber.clone(),
            sink,
            outcome: Mutex::new(Ok(())),
        });
        let client = Client::with_options(client_options(dsn, scrubber, transport.clone()));
        Self { client, transport, capture: Mutex::new(()) }
    }

    /// Gives an event to the client, which stores what may be sent of it.
    pub(crate) fn capture(&self, event: Event<'static>) -> Result<(), Error> {
        let _one_at_a_time = self.capture.try_lock_for(MAX_WAIT).ok_or(Error::Busy)?;
        self.client.capture_event(event, None);
        std::mem::replace(&mut *self.transport.outcome.lock(), Ok(()))
    }
}

/// Options of a client that adds nothing to events. `sentry`'s defaults from the environment are not
/// applied: they are those of `sentry::init`, which is never called.
fn client_options(
    dsn: &Dsn,
    scrubber: Arc<Scrubber>,
    transport: Arc<ScrubbingTransport>,
) -> ClientOptions {
    let mut options = ClientOptions::new()
        .default_integrations(false)
        .attach_stacktrace(false)
        .send_default_pii(false)
        .max_breadcrumbs(0)
        .before_breadcrumb(|_| None)
        .before_send(move |event| scrubber.scrub(event))
        .transport(Factory(transport));
    options.dsn = Some(dsn.clone());
    options
}

struct Factory(Arc<ScrubbingTransport>);

impl TransportFactory for Factory {
    fn create_transport_with_options(&self, _options: TransportOptions) -> Arc<dyn Transport> {
        self.0.clone()
    }
}

/// Stores the events of envelopes, scrubbed again, and drops everything else.
struct ScrubbingTransport {
    scrubber: Arc<Scrubber>,
    sink: Arc<dyn Sink>,
    /// What became of the last envelope.
    outcome: Mutex<Result<(), Error>>,
}

impl Transport for ScrubbingTransport {
    fn send_envelope(&self, envelope: Envelope) {
        for item in envelope.into_items() {
            // Transactions, sessions, attachments, logs, metrics, check-ins and reports of lost events
            // are never sent.
            let EnvelopeItem::Event(event) = item else { continue };
            let Some(event) = self.scrubber.scrub(*event) else { continue };
            *self.outcome.lock() = self.store(event);
        }
    }
}

impl ScrubbingTransport {
    fn store(&self, event: Event<'static>) -> Result<(), Error> {
        let event_id = event.event_id;
        // A new envelope has no header but the event's id.
        let mut envelope = Envelope::new();
        envelope.add_item(event);
        let mut bytes = Vec::new();
        envelope.to_writer(&mut bytes).map_err(Error::Serialise)?;
        self.sink.store(event_id, bytes)
    }
}

#[cfg(test)]
mod tests;
