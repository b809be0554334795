//! What the page may ask for: only files that the user showed it, and no flood of commands.
//!
//! A dialog gives its paths to the command here, so the page never names those. It names what was dropped
//! on its window and what the system opened with Lilims; a script that runs in the page in spite of
//! everything else can reach no other file.

use std::collections::VecDeque;
use std::time::Instant;

use lilims_ipc::{AttachmentChange, Command, Error, PageAction};
use parking_lot::Mutex;

/// The most paths that are remembered; the oldest are forgotten first.
const MAX_PATHS: usize = 4096;
/// The largest command. The largest that the page sends is a pasted document.
pub(crate) const MAX_COMMAND_BYTES: usize = 64 << 20;
/// Commands that may come at once, and how many more each second. A page that draws a long conversation
/// sends some hundred.
const MAX_AT_ONCE: f64 = 1000.0;
const PER_SECOND: f64 = 200.0;

/// Paths that the page may name.
#[derive(Default)]
pub(crate) struct GrantedPaths(Mutex<VecDeque<String>>);

impl GrantedPaths {
    /// Lets the page name these paths, which the user dropped or opened.
    pub(crate) fn grant(&self, paths: impl IntoIterator<Item = String>) {
        let mut granted = self.0.lock();
        granted.extend(paths);
        while granted.len() > MAX_PATHS {
            granted.pop_front();
        }
    }

    /// Lets the page name what an action offers it.
    pub(crate) fn grant_offered(&self, action: &PageAction) {
        if let PageAction::OfferFiles { paths } = action {
            self.grant(paths.iter().cloned());
        }
    }

    /// Checks a command of the page.
    ///
    /// # Errors
    /// If it names a path that the user has not shown it.
    pub(crate) fn check(&self, command: &Command) -> Result<(), Error> {
        let refused = || Err(Error::internal("the page named a file that was not chosen"));
        let paths = match command {
            Command::ImportFiles { paths }
            | Command::ImportConversations { paths }
            | Command::ImportAssistants { paths }
            | Command::Attachments { change: AttachmentChange::Files { paths }, .. } => paths,
            Command::AddFolder { path } => std::slice::from_ref(path),
            // Where a file is written is chosen in a dialog.
            Command::ExportConversations { .. }
            | Command::ExportAssistants { .. }
            | Command::ExportConnections { .. } => return refused(),
            _ => return Ok(()),
        };
        let granted = self.0.lock();
        match paths.iter().all(|path| granted.contains(path)) {
            true => Ok(()),
            false => refused(),
        }
    }
}

/// How many commands the page may still send.
pub(crate) struct CommandRate(Mutex<(f64, Instant)>);

impl Default for CommandRate {
    fn default() -> Self {
        Self(Mutex::new((MAX_AT_ONCE, Instant::now())))
    }
}

impl CommandRate {
    /// Counts a command.
    ///
    /// # Errors
    /// If there were too many.
    pub(crate) fn count(&self) -> Result<(), Error> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Result<(), Error> {
        let mut state = self.0.lock();
        let earned = now.saturating_duration_since(state.1).as_secs_f64() * PER_SECOND;
        *state = ((state.0 + earned).min(MAX_AT_ONCE), now);
        if state.0 < 1.0 {
            return Err(Error::internal("too many commands"));
        }
        state.0 -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lilims_ipc::ConversationId;

    use super::*;

    #[test]
    fn the_page_names_only_files_that_were_shown_to_it() {
        let granted = GrantedPaths::default();
        granted.grant(["/data/a.gguf".to_owned()]);
        granted.grant_offered(&PageAction::OfferFiles { paths: vec!["/data/b.gguf".into()] });
        let import = |paths: &[&str]| Command::ImportFiles {
            paths: paths.iter().map(|&it| it.to_owned()).collect(),
        };
        assert!(granted.check(&import(&["/data/a.gguf", "/data/b.gguf"])).is_ok());
        assert!(granted.check(&Command::Status).is_ok());
        let attach = Command::Attachments {
            conversation: ConversationId("c".into()),
            change: AttachmentChange::Files { paths: vec!["/etc/passwd".into()] },
        };
        let export = Command::ExportAssistants { path: "/data/a.gguf".into() };
        let folder = Command::AddFolder { path: "/data".into() };
        for command in [import(&["/data/a.gguf", "/etc/passwd"]), attach, export, folder] {
            assert!(granted.check(&command).is_err(), "{command:?}");
        }
        granted.grant((0..MAX_PATHS).map(|n| n.to_string()));
        assert!(granted.check(&import(&["/data/a.gguf"])).is_err(), "the memory is bounded");
    }

    #[test]
    fn a_flood_of_commands_is_refused_and_ends() {
        let (rate, now) = (CommandRate::default(), Instant::now());
        let accepted = (0..5000).filter(|_| rate.count_at(now).is_ok()).count();
        assert_eq!(accepted, MAX_AT_ONCE as usize);
        let later = now + Duration::from_secs(1);
        let accepted = (0..5000).filter(|_| rate.count_at(later).is_ok()).count();
        assert_eq!(accepted, PER_SECOND as usize);
    }
}
