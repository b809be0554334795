//! The documents that are attached to the draft, and what is dropped or pasted.

use std::sync::Arc;

use leptos::prelude::*;
use lilims_ipc::{Attachment, Attachments, Error};

/// A pasted text with more characters becomes an attachment.
const LONG_PASTE_CHARS: usize = 4_000;

/// The documents of the draft. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct DraftAttachments {
    /// The documents, in the order in which they were attached.
    pub(crate) list: RwSignal<Vec<Attachment>>,
    /// Why files were not attached.
    pub(crate) failures: RwSignal<Vec<Error>>,
    /// How many commands that read documents have not returned.
    pub(crate) n_reading: RwSignal<u32>,
}

impl DraftAttachments {
    /// Nothing is attached.
    pub(crate) fn new() -> Self {
        Self {
            list: RwSignal::default(),
            failures: RwSignal::default(),
            n_reading: RwSignal::default(),
        }
    }

    /// Whether there is something to show.
    pub(crate) fn is_shown(&self) -> bool {
        self.n_reading.get() > 0
            || self.list.with(|list| !list.is_empty())
            || self.failures.with(|failures| !failures.is_empty())
    }

    /// Shows what a command returned.
    pub(crate) fn arrived(&self, reply: Result<Attachments, Error>) {
        let new = match reply {
            Ok(Attachments { attachments, failures }) => {
                if self.list.with_untracked(|list| *list != attachments) {
                    self.list.set(attachments);
                }
                failures
            }
            Err(error) => vec![error],
        };
        if !new.is_empty() {
            self.failures.update(|failures| failures.extend(new));
        }
    }

    /// Takes the documents for the question that is sent now.
    pub(crate) fn take(&self) -> Arc<[Attachment]> {
        self.failures.set(Vec::new());
        self.list.try_update(std::mem::take).unwrap_or_default().into()
    }

    /// Shows nothing: another conversation is about to arrive.
    pub(crate) fn clear(&self) {
        self.take();
    }
}

/// Whether a pasted text becomes an attachment.
pub(crate) fn is_long_paste(text: &str) -> bool {
    text.chars().nth(LONG_PASTE_CHARS).is_some()
}

/// The models among dropped files, and the others, which are attached.
pub(crate) fn split_dropped(paths: Vec<String>) -> (Vec<String>, Vec<String>) {
    paths.into_iter().partition(|path| path.to_ascii_lowercase().ends_with(".gguf"))
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{AttachmentId, AttachmentKind, AttachmentUse, Problem};

    use super::*;

    fn attachment(name: &str) -> Attachment {
        Attachment {
            id: AttachmentId(name.to_owned()),
            name: name.to_owned(),
            kind: AttachmentKind::Text,
            size_bytes: 1,
            tokens: Some(1),
            fits: Some(true),
            sent_as: AttachmentUse::Whole,
            sent_tokens: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn failures_stay_until_the_question_is_sent() {
        Owner::new().with(|| {
            let state = DraftAttachments::new();
            assert!(!state.is_shown());
            let failures = vec![Error::from(Problem::Unknown)];
            let attachments = vec![attachment("a"), attachment("b")];
            state.arrived(Ok(Attachments { attachments: attachments.clone(), failures }));
            state.arrived(Ok(Attachments { attachments, failures: Vec::new() }));
            state.arrived(Err(Problem::ConversationGone.into()));
            assert_eq!(state.failures.with_untracked(Vec::len), 2);
            assert!(state.is_shown());
            let names: Vec<_> = state.take().iter().map(|it| it.name.clone()).collect();
            assert_eq!(names, ["a", "b"]);
            assert!(!state.is_shown());
        });
    }

    #[test]
    fn long_texts_and_dropped_models_are_recognised() {
        assert!(!is_long_paste(&"ü".repeat(LONG_PASTE_CHARS)));
        assert!(is_long_paste(&"ü".repeat(LONG_PASTE_CHARS + 1)));
        let paths = ["/a/m.GGUF", "/a/b.pdf", "/a.gguf/c"].map(str::to_owned).to_vec();
        let (models, documents) = split_dropped(paths);
        assert_eq!(models, ["/a/m.GGUF"]);
        assert_eq!(documents, ["/a/b.pdf", "/a.gguf/c"]);
    }
}
