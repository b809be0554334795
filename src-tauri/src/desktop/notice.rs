//! A notification when a long answer ends while the window is not in use.
//!
//! It names the conversation by its title and shows nothing of its text: notifications are kept by the
//! system and shown on locked screens.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lilims_core::App;
use lilims_ipc::{Command, ConversationId, Event, Finish, Reply};
use notify_rust::Notification;
use tauri::{AppHandle, Manager};

use super::Desktop;
use crate::words;

/// An answer that took longer is worth a notification.
const LONG: Duration = Duration::from_secs(10);
/// The longest title that is shown, in characters.
const MAX_TITLE_CHARS: usize = 80;

/// Watches an answer's events, and notifies when a long one ends unseen.
pub(super) struct Watch {
    app: AppHandle,
    conversation: ConversationId,
    started: Instant,
}

impl Watch {
    /// Begins with the question.
    pub(super) fn new(app: &AppHandle, conversation: ConversationId) -> Self {
        Self { app: app.clone(), conversation, started: Instant::now() }
    }

    /// Looks at the next event.
    pub(super) fn see(&self, event: &Event) {
        let title = match event {
            // Who stops an answer, or ends the app, knows that it has ended.
            Event::Done { outcome, .. } if outcome.finish == Finish::Stopped => return,
            Event::Done { .. } => words::ANSWER_ENDED,
            Event::Failed { .. } => words::ANSWER_FAILED,
            _ => return,
        };
        let desktop = self.app.state::<Desktop>();
        let is_unseen = !desktop.is_focused.load(Ordering::Relaxed);
        if self.started.elapsed() >= LONG && is_unseen && desktop.settings().notify {
            let (app, conversation) = (self.app.clone(), self.conversation.clone());
            tauri::async_runtime::spawn(notify(app, title, conversation));
        }
    }
}

async fn notify(app: AppHandle, title: &'static str, conversation: ConversationId) {
    let core = app.state::<App>().inner().clone();
    let name = match core.call(Command::Conversations).await {
        Ok(Reply::Conversations(list)) => list
            .conversations
            .into_iter()
            .find(|head| head.id == conversation)
            .and_then(|head| head.title),
        _ => None,
    };
    let name = name.map(|name| crate::window::title_of(&name, MAX_TITLE_CHARS));
    let identifier = app.config().identifier.clone();
    // It waits for the system's reply.
    tauri::async_runtime::spawn_blocking(move || {
        let shown = show(title, name.as_deref().unwrap_or(words::APP), &identifier);
        // Without a service for notifications there is none.
        if let Err(error) = shown {
            tracing::warn!(%error, "cannot notify");
        }
    });
}

fn show(title: &str, body: &str, identifier: &str) -> Result<(), notify_rust::error::Error> {
    let mut notification = Notification::new();
    // Some services read the body as markup.
    notification.appname(words::APP).summary(title).body(&escaped(body));
    #[cfg(target_os = "windows")]
    notification.app_id(identifier);
    #[cfg(target_os = "macos")]
    let _ = notify_rust::set_application(identifier);
    #[cfg(not(any(target_os = "windows", target_os = "macos")))]
    let _ = identifier;
    notification.show().map(drop)
}

/// The text for a service that may read it as markup. Others show it as it is.
fn escaped(text: &str) -> String {
    if cfg!(any(target_os = "windows", target_os = "macos")) {
        return text.to_owned();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
