//! Sends calls to the shell one after another, so that they arrive in the order of the user's actions.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_channel::oneshot;
use leptos::prelude::*;
use leptos::task::spawn_local;

type Call = Pin<Box<dyn Future<Output = ()>>>;

/// The calls that are not sent yet. Copies share them.
#[derive(Clone, Copy)]
pub(crate) struct Outbox {
    calls: StoredValue<VecDeque<Call>, LocalStorage>,
    is_sending: StoredValue<bool>,
}

impl Outbox {
    /// Nothing to send.
    pub(crate) fn new() -> Self {
        Self { calls: StoredValue::new_local(VecDeque::new()), is_sending: StoredValue::new(false) }
    }

    /// Sends `call` after the earlier ones have returned.
    pub(crate) fn send(&self, call: impl Future<Output = ()> + 'static) {
        self.calls.update_value(|calls| calls.push_back(Box::pin(call)));
        if self.is_sending.get_value() {
            return;
        }
        self.is_sending.set_value(true);
        let outbox = *self;
        spawn_local(async move {
            while let Some(call) = outbox.calls.try_update_value(VecDeque::pop_front).flatten() {
                call.await;
            }
            outbox.is_sending.set_value(false);
        });
    }

    /// Waits until the earlier calls have returned.
    pub(crate) async fn settled(&self) {
        let (sender, receiver) = oneshot::channel();
        self.send(async move {
            let _ = sender.send(());
        });
        let _ = receiver.await;
    }
}
