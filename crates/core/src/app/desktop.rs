//! The settings of the app on a desktop.

use lilims_ipc::{Command, DesktopSettings, Error, Reply};
use lilims_store as store;

use crate::conversations::Conversations;
use crate::database::from_store;

/// The setting that holds them.
const DESKTOP: &str = "desktop";

/// Whether a command is one of the desktop.
pub(super) fn is_own(command: &Command) -> bool {
    matches!(command, Command::Desktop | Command::SetDesktop { .. })
        || matches!(command, Command::PendingActions | Command::AskQuickly { .. })
}

/// Carries out a command of the desktop. Blocks.
///
/// # Errors
/// If the database cannot be read or written, or the command needs a window.
pub(super) fn call(conversations: &Conversations, command: &Command) -> Result<Reply, Error> {
    let store = conversations.store()?;
    match command {
        Command::Desktop => read(store).map(Reply::Desktop),
        Command::SetDesktop { settings } => {
            store.overwrite(DESKTOP, settings).map_err(from_store)?;
            Ok(Reply::Done)
        }
        _ => Err(Error::internal("this door has no window")),
    }
}

/// The settings; the defaults until they were changed, or where they cannot be understood.
fn read(store: &store::Store) -> Result<DesktopSettings, Error> {
    match store.get(DESKTOP) {
        Err(error @ store::Error::Setting { .. }) => {
            tracing::warn!(%error, "cannot read the settings of the desktop");
            Ok(DesktopSettings::default())
        }
        result => result.map(Option::unwrap_or_default).map_err(from_store),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::database::Database;

    #[test]
    fn settings_are_kept_and_unknown_ones_are_defaults() {
        let conversations = Conversations::new(Arc::new(|_| {}));
        conversations.provide(Database::temporary(None));
        let read = || call(&conversations, &Command::Desktop).unwrap();
        assert_eq!(read(), Reply::Desktop(DesktopSettings::default()));
        let settings = DesktopSettings { quick_ask: true, tray: false, notify: false };
        call(&conversations, &Command::SetDesktop { settings }).unwrap();
        assert_eq!(read(), Reply::Desktop(settings));
        conversations.store().unwrap().overwrite(DESKTOP, &"x").unwrap();
        assert_eq!(read(), Reply::Desktop(DesktopSettings::default()));
        assert!(call(&conversations, &Command::PendingActions).is_err());
    }
}
