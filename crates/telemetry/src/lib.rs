//! Telemetry that people may switch on: crash reports and performance figures, scrubbed, queued on disk,
//! shown before they are sent, and sent through a door that the caller gives.
//!
//! [`Telemetry`] is off until [`Telemetry::switch_on`]. While it is off there is no client, no
//! identifier and no file, and nothing is recorded. Everything that is recorded goes one way: an event
//! of ours, a `sentry` client, the scrubber, an envelope as a file in the queue. The scrubber builds a
//! new event from an allow-list and takes nothing else over (`scrub.rs`), first as the client's
//! `before_send` and again in the transport, which drops every other kind of envelope item.
//!
//! **What is sent** of a crash: that something panicked, the crate, file and line of the panic if the
//! file is ours, the names of functions of our crates and of well-known ones on the stack. Of a model
//! that ran: four figures with two significant digits, and the model's id in the catalogue, or `other`.
//! Of both: the hour, version, environment, operating system, class of the device ([`DeviceClass`]),
//! and a random identifier that is made by switching on and deleted by switching off. Messages of panics
//! and errors are never sent.
//!
//! **Not recorded:** what ends a process without a panic (signals, stack overflows, failed allocations,
//! kills). Nothing here opens a network connection ([`Sender`] is the caller's), reads settings, knows
//! models, or makes sentences for people.
//!
//! **Threads.** Calls that record, read the queue, or switch wait for the disk. In a panic a file is
//! written and nothing is sent.

mod clock;
mod crates;
mod delivery;
mod device;
mod envelope;
mod error;
mod events;
mod figures;
mod folder;
mod function_name;
mod hook;
mod location;
mod pauses;
mod pipeline;
mod queue;
mod scrub;
mod sending;
mod telemetry;

pub use device::{DeviceClass, DeviceFacts};
pub use error::Error;
pub use figures::Figures;
pub use sending::{Answer, Delivery, Pauses, Post, SendFailed, Sender};
pub use telemetry::{
    BUILD_DSN, Options, PageFailure, PageFailureKind, Preview, QueuedEnvelope, Telemetry,
};
