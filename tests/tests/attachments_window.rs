//! Documents in the real window: long pastes, what is too long for the model, and what a question keeps.
//!
//! The system's dialog and drops of files cannot be driven from here; the database gets a document in
//! their place.

#![cfg(target_os = "linux")]

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lilims_store::{ConversationChange, ConversationId, PartKind, Store};
use lilims_tests::app_window::{AppWindow, Start, wait};
use serde_json::json;

/// Enough tokens for an answer that a test only needs to exist.
const SHORT: u32 = 16;
/// Far fewer tokens than the pasted texts have.
const CONTEXT: usize = 512;

fn open(home: &Path) -> Result<AppWindow> {
    let (home, context) = (Some(home), Some(CONTEXT));
    let window = AppWindow::open(Start { home, context, ..Start::default() })?;
    window.wait_for_model("ready")?;
    Ok(window)
}

/// Pastes as the clipboard does.
fn paste(window: &AppWindow, text: &str) -> Result<()> {
    let script = "const data = new DataTransfer();
        data.setData('text/plain', arguments[0]);
        const event = new ClipboardEvent('paste',
            { clipboardData: data, bubbles: true, cancelable: true });
        document.querySelector('[data-testid=composer-input]').dispatchEvent(event)";
    window.session().run(script, &[json!(text)]).map(drop)
}

/// The visible texts of all elements with this test id.
fn texts(window: &AppWindow, id: &str) -> Result<Vec<String>> {
    let script = "return Array.from(document.querySelectorAll(`[data-testid=${arguments[0]}]`),
        it => it.innerText.trim())";
    let texts = window.session().run(script, &[json!(id)])?;
    let texts = texts.as_array().context("the page returned no list")?;
    Ok(texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
}

/// Waits until one element with this test id is there and has all of these words.
fn wait_for_one(window: &AppWindow, id: &str, words: &[&str]) -> Result<()> {
    window.wait(&format!("{id} with {words:?}"), || {
        let texts = texts(window, id)?;
        let is_it = matches!(&texts[..], [text] if words.iter().all(|word| text.contains(word)));
        Ok(is_it.then_some(()))
    })
}

fn save(window: &AppWindow, name: &str) -> Result<()> {
    let sizes = [(1280, 800), (390, 844)];
    sizes.iter().try_for_each(|&size| window.save_screenshot(&format!("{name}-light"), size))
}

/// A new conversation with a document that waits for its question.
fn attach_notes(store: &Store) -> Result<ConversationId> {
    let id = store.create_conversation(&ConversationChange::default())?;
    let data = json!({ "name": "notes.md", "kind": "markdown", "size_bytes": 5 });
    store.add_draft_attachment(&id, "# Hi\n", &data)?;
    Ok(id)
}

fn long_text() -> String {
    (0..200).map(|n| format!("Line {n} of a text that somebody has pasted.\n\n")).collect()
}

#[test]
fn a_long_paste_is_attached_chosen_for_sent_and_kept() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = open(home.path())?;
    window.set_options(SHORT)?;
    paste(&window, &long_text())?;
    wait_for_one(&window, "attachment", &["Pasted text", "tokens"])?;
    wait_for_one(&window, "attachment-use", &["longer than the model can read"])?;
    save(&window, "attachment")?;
    window.click("attachment-ends")?;
    let store = Store::open(home.path())?;
    wait("the choice in the database", || {
        let conversation = store.unused_conversation()?.context("no conversation")?;
        let attached = store.draft_attachments(&conversation.id)?;
        Ok((attached[0].data["sent_as"] == "ends").then_some(()))
    })?;
    drop(store);
    window.kill_app()?;
    drop(window);

    let window = open(home.path())?;
    window.set_options(SHORT)?;
    wait_for_one(&window, "attachment", &["Pasted text"])?;
    window.ask("What is this?")?;
    window.wait_for_end()?;
    wait_for_one(&window, "sent-attachment", &["Pasted text"])?;
    ensure!(texts(&window, "attachment")?.is_empty(), "it is still attached");
    drop(window);

    let store = Store::open(home.path())?;
    let heads = store.conversation_heads()?;
    let messages = store.messages(&heads[0].id)?;
    let parts: Vec<PartKind> = messages[0].parts.iter().map(|part| part.kind).collect();
    ensure!(parts == [PartKind::Attachment, PartKind::Text], "the parts are {parts:?}");
    drop(store);
    let window = open(home.path())?;
    // Part of it was sent, and the chip says how much.
    wait_for_one(&window, "sent-attachment", &["Pasted text", " of "])?;
    save(&window, "attachment-sent")
}

#[test]
fn a_document_is_sent_without_a_question() -> Result<()> {
    let home = tempfile::tempdir()?;
    let store = Store::open(home.path())?;
    let id = attach_notes(&store)?;
    let window = open(home.path())?;
    window.set_options(SHORT)?;
    wait_for_one(&window, "attachment", &["notes.md"])?;
    window.click("send")?;
    window.wait_for_end()?;
    wait_for_one(&window, "sent-attachment", &["notes.md"])?;
    let bubbles =
        window.session().run("return document.querySelectorAll('.bubble').length", &[])?;
    ensure!(bubbles == 0, "a question without words is shown as {bubbles} bubbles");
    let parts: Vec<PartKind> = store.messages(&id)?[0].parts.iter().map(|it| it.kind).collect();
    ensure!(parts == [PartKind::Attachment], "the parts are {parts:?}");
    window.wait("its title", || {
        let rows = texts(&window, "conversation-row")?;
        Ok(rows.iter().any(|row| row.contains("notes.md")).then_some(()))
    })?;
    save(&window, "document-alone")
}

#[test]
fn short_pastes_are_text_and_attachments_are_removed() -> Result<()> {
    let home = tempfile::tempdir()?;
    let store = Store::open(home.path())?;
    let id = attach_notes(&store)?;
    drop(store);
    let window = open(home.path())?;
    wait_for_one(&window, "attachment", &["notes.md", "tokens"])?;
    paste(&window, "short")?;
    window.click("attachment-remove")?;
    window.wait("no attachment", || Ok(texts(&window, "attachment")?.is_empty().then_some(())))?;
    let store = Store::open(home.path())?;
    wait("no attachment in the database", || {
        Ok(store.draft_attachments(&id)?.is_empty().then_some(()))
    })
}
