//! Documents that are attached to questions: those of a draft, what of them is sent, and what the model
//! reads of a question that has some.
//!
//! A document is read once, when it is attached. What of it is sent is decided when the question is
//! asked, and stored with it as places in the text: later prompts have the same bytes, whichever model is
//! loaded then, and the whole text stays with the question.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use lilims_ipc::{
    self as ipc, AttachmentChange, AttachmentKind, AttachmentNote, AttachmentUse, Attachments,
    Error, Problem, Request,
};
use lilims_store::{
    AttachmentId, ConversationId, DraftAttachment, Message, MessageId, Part, PartKind, Store,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Conversations, parse, to_json};
use crate::database::from_store;
use crate::documents::{self, Content, Passages, Piece};
use crate::token_count::{TokenCounter, estimate};

/// What is stored of a document beside its text: the data of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Data {
    name: String,
    kind: AttachmentKind,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "notes")]
    notes: Vec<AttachmentNote>,
    /// The tokens of the whole text, and the model in whose vocabulary they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_by: Option<String>,
    /// How it is sent, where that was chosen or was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_as: Option<AttachmentUse>,
    /// The places in the text that were sent, in bytes; `None` is all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Vec<Piece>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_tokens: Option<u32>,
}

/// Notes as they are stored. One of a later version becomes [`AttachmentNote::Unknown`].
fn notes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AttachmentNote>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|it| parse(it).unwrap_or(AttachmentNote::Unknown)).collect())
}

impl Data {
    /// Reads what is stored; of what another program has written, the name.
    fn read(data: &Value) -> Self {
        parse(data.clone()).unwrap_or_else(|| {
            let name = data["name"].as_str().unwrap_or_default().to_owned();
            Self { name, ..Self::default() }
        })
    }

    fn shown(self, id: String) -> ipc::Attachment {
        ipc::Attachment {
            id: ipc::AttachmentId(id),
            name: self.name,
            kind: self.kind,
            size_bytes: self.size_bytes,
            tokens: self.tokens,
            fits: None,
            sent_as: self.sent_as.unwrap_or_default(),
            sent_tokens: self.sent_tokens,
            notes: self.notes,
        }
    }
}

/// What is decided for a document before its question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    fits: bool,
    sent_as: AttachmentUse,
}

impl Conversations {
    /// Changes what is attached to the draft of a conversation, and returns what is. Blocks while files
    /// are read.
    ///
    /// # Errors
    /// [`Problem::ConversationGone`], or if the database cannot be read or written. Files that cannot be
    /// read are failures of the reply.
    pub(crate) fn attachments(
        &self,
        id: &ipc::ConversationId,
        change: AttachmentChange,
        counter: &TokenCounter,
    ) -> Result<Attachments, Error> {
        let (store, id) = (self.store()?, ConversationId::from(&*id.0));
        let mut failures = Vec::new();
        match change {
            AttachmentChange::List => {}
            AttachmentChange::Files { paths } => {
                for path in paths {
                    match read_file(Path::new(&path)) {
                        Ok(document) => attach(store, &id, document, counter)?,
                        Err(error) => failures.push(error),
                    }
                }
            }
            AttachmentChange::Text { name, text } => match documents::pasted(&name, text) {
                Ok(document) => attach(store, &id, document, counter)?,
                Err(error) => failures.push(ipc::Error::from(&error)),
            },
            AttachmentChange::Remove { attachment } => {
                store.remove_draft_attachments(&[(&*attachment.0).into()]).map_err(from_store)?;
            }
            AttachmentChange::Use { attachment, sent_as } => {
                choose_use(store, &id, &(&*attachment.0).into(), sent_as)?;
            }
        }
        Ok(Attachments { attachments: list(store, &id, counter)?, failures })
    }
}

fn read_file(path: &Path) -> Result<documents::ReadDocument, Error> {
    let read = documents::read(path, &documents::Options::default(), &AtomicBool::new(false));
    read.map_err(|error| ipc::Error::from(&error))
}

fn attach(
    store: &Store,
    id: &ConversationId,
    document: documents::ReadDocument,
    counter: &TokenCounter,
) -> Result<(), Error> {
    let documents::ReadDocument { name, kind, size_bytes, text, notes } = document;
    let mut data = Data { name, kind, size_bytes, notes, ..Data::default() };
    count(&mut data, &text, counter);
    let data = to_json(&data).unwrap_or_default();
    store.add_draft_attachment(id, &text, &data).map_err(from_store)?;
    Ok(())
}

/// Counts the tokens of a text where the loaded model has not done so. Returns whether it has now.
fn count(data: &mut Data, text: &str, counter: &TokenCounter) -> bool {
    if data.tokens.is_some() && data.counted_by.as_ref() == Some(&counter.model) {
        return false;
    }
    let Some(n_tokens) = counter.count(text) else { return false };
    data.tokens = Some(short(n_tokens));
    data.counted_by = Some(counter.model.clone());
    true
}

fn choose_use(
    store: &Store,
    id: &ConversationId,
    attachment: &AttachmentId,
    sent_as: AttachmentUse,
) -> Result<(), Error> {
    let stored = store.draft_attachments(id).map_err(from_store)?;
    let Some(stored) = stored.into_iter().find(|it| it.id == *attachment) else { return Ok(()) };
    let data = Data { sent_as: Some(sent_as), ..Data::read(&stored.data) };
    let data = to_json(&data).unwrap_or_default();
    store.set_draft_attachment_data(attachment, &data).map_err(from_store)
}

/// What is attached to a draft, with tokens in the vocabulary of the loaded model.
fn list(
    store: &Store,
    id: &ConversationId,
    counter: &TokenCounter,
) -> Result<Vec<ipc::Attachment>, Error> {
    let mut known = Vec::new();
    for DraftAttachment { id, data, text_bytes } in
        store.draft_attachments(id).map_err(from_store)?
    {
        let mut data = Data::read(&data);
        if data.counted_by.as_ref() != Some(&counter.model)
            && let Some(text) = store.draft_attachment_text(&id).map_err(from_store)?
            && count(&mut data, &text, counter)
        {
            let data = to_json(&data).unwrap_or_default();
            store.set_draft_attachment_data(&id, &data).map_err(from_store)?;
        }
        known.push((id, data, text_bytes));
    }
    let sizes: Vec<_> = known.iter().map(|(_, data, n_bytes)| (data, *n_bytes as usize)).collect();
    let (plans, _) = plan(&sizes, counter);
    let shown = known.into_iter().zip(plans).map(|((id, data, _), Plan { fits, sent_as })| {
        let fits = data.tokens.map(|_| fits);
        ipc::Attachment { fits, sent_as, ..data.shown(id.as_str().to_owned()) }
    });
    Ok(shown.collect())
}

/// Decides how documents are sent, given the length of each text in bytes, and how many tokens each of
/// those gets that are cut. A document fits while it and those before it take three quarters of the
/// context: the rest is for the question and the answer.
fn plan(documents: &[(&Data, usize)], counter: &TokenCounter) -> (Vec<Plan>, usize) {
    let room = counter.context_tokens / 4 * 3;
    let (mut left, mut n_cut) = (room, 0);
    let mut plans = Vec::with_capacity(documents.len());
    for (data, n_bytes) in documents {
        let n_tokens = data.tokens.map_or_else(|| estimate(*n_bytes), |tokens| tokens as usize);
        let fits = n_tokens <= left;
        let sent_as = match data.sent_as {
            _ if fits => AttachmentUse::Whole,
            chosen => chosen.unwrap_or(AttachmentUse::Passages),
        };
        if fits {
            left -= n_tokens;
        } else if sent_as != AttachmentUse::Whole {
            n_cut += 1;
        }
        plans.push(Plan { fits, sent_as });
    }
    (plans, (left / n_cut.max(1)).max(room / 4))
}

/// The documents of a question as parts of its message, and those of the draft among them, which leave it
/// when the message is stored.
pub(super) struct ToSend {
    pub(super) parts: Vec<Part>,
    pub(super) from_draft: Vec<AttachmentId>,
}

/// Decides what of the documents is sent with a question: those of the draft, or those of the question
/// that it is another version of.
///
/// # Errors
/// If the database cannot be read, or a text cannot be searched.
pub(super) fn to_send(
    store: &Store,
    request: &Request,
    question: &str,
    counter: &TokenCounter,
) -> Result<ToSend, Error> {
    let (mut documents, mut from_draft) = (Vec::new(), Vec::new());
    match &request.attachments_of {
        Some(earlier) => {
            let earlier = store.message(&MessageId::from(&*earlier.0)).map_err(from_store)?;
            let parts = earlier.ok_or(Problem::ConversationGone)?.parts;
            for Part { text, data, .. } in parts.into_iter().filter(is_attachment) {
                documents.push((Data::read(&data.unwrap_or_default()), text));
            }
        }
        None => {
            let id = ConversationId::from(&*request.conversation.0);
            for DraftAttachment { id, data, .. } in
                store.draft_attachments(&id).map_err(from_store)?
            {
                if let Some(text) = store.draft_attachment_text(&id).map_err(from_store)? {
                    documents.push((Data::read(&data), text));
                    from_draft.push(id);
                }
            }
        }
    }
    for (data, text) in &mut documents {
        count(data, text, counter);
    }
    let sizes: Vec<_> = documents.iter().map(|(data, text)| (data, text.len())).collect();
    let (plans, max_tokens) = plan(&sizes, counter);
    let mut parts = Vec::with_capacity(documents.len());
    for ((data, text), plan) in documents.into_iter().zip(plans) {
        parts.push(sent(data, text, plan.sent_as, question, max_tokens, counter)?);
    }
    Ok(ToSend { parts, from_draft })
}

/// A document as a part of its question.
fn sent(
    data: Data,
    text: String,
    sent_as: AttachmentUse,
    question: &str,
    max_tokens: usize,
    counter: &TokenCounter,
) -> Result<Part, Error> {
    let mut count = |text: &str| counter.count_or_estimate(text);
    let pieces = match sent_as {
        AttachmentUse::Whole => None,
        AttachmentUse::Ends => Some(documents::ends(&text, max_tokens, &mut count)),
        AttachmentUse::Passages => {
            let passages = Passages::new(&text).map_err(|error| ipc::Error::from(&error))?;
            let best = passages.best(question, max_tokens, &mut count);
            Some(best.map_err(|error| ipc::Error::from(&error))?)
        }
    };
    let sent_tokens = match &pieces {
        None => data.tokens,
        Some(pieces) => {
            let of = |piece: &Piece| text.get(piece.clone()).map_or(0, &mut count);
            Some(short(pieces.iter().map(of).sum()))
        }
    };
    let data = Data { sent_as: Some(sent_as), sent: pieces, sent_tokens, ..data };
    Ok(Part { kind: PartKind::Attachment, text, data: to_json(&data) })
}

fn is_attachment(part: &Part) -> bool {
    part.kind == PartKind::Attachment
}

/// The documents of a message as parts, for another version of it.
pub(super) fn of_message(message: &Message) -> impl Iterator<Item = Part> {
    message.parts.iter().filter(|part| is_attachment(part)).cloned()
}

/// A part of a message as doors show it.
pub(super) fn shown(part: &Part, idx: usize) -> ipc::Attachment {
    let data = part.data.as_ref().map(Data::read).unwrap_or_default();
    data.shown(idx.to_string())
}

/// The name of a document that is a part of a message.
pub(crate) fn attachment_name(part: &Part) -> String {
    part.data.as_ref().map(Data::read).unwrap_or_default().name
}

/// A message as the model reads it: documents stand before the question, as text.
pub(super) fn as_read(stored: Message) -> Option<ipc::Message> {
    let documents: Vec<(Data, String)> = stored
        .parts
        .iter()
        // Of what other programs exported there may be the name alone.
        .filter(|part| is_attachment(part) && !part.text.is_empty())
        .map(|part| (part.data.as_ref().map(Data::read).unwrap_or_default(), part.text.clone()))
        .collect();
    let mut message = super::message(stored)?;
    let attached: Vec<_> = documents
        .iter()
        .map(|(data, text)| (&*data.name, data.kind, content(data, text)))
        .collect();
    message.content = documents::prompt(&attached, &message.content);
    Some(message)
}

/// What of a document was sent. Places that its text does not have are left out.
fn content<'a>(data: &Data, text: &'a str) -> Content<'a> {
    let Some(pieces) = &data.sent else { return Content::Whole(text) };
    let pieces = pieces.iter().filter_map(|piece| text.get(piece.clone())).collect();
    match data.sent_as {
        Some(AttachmentUse::Ends) => Content::Ends(pieces),
        _ => Content::Passages(pieces),
    }
}

fn short(n_tokens: usize) -> u32 {
    u32::try_from(n_tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "attachments_tests.rs"]
mod tests;
