//! Many conversations in the real window: the sidebar, searches, versions, drafts, and what can be undone.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lilims_store::{
    ConversationChange, ConversationId, MessageId, NewMessage, Role, Store, database_path,
};
use lilims_tests::app_window::{AppWindow, SIZES, Start, wait};
use lilims_tests::webdriver::ENTER;
use serde_json::{Value, json};

/// Enough tokens for an answer that a test only needs to exist.
const SHORT: u32 = 16;
const DAY_MS: u64 = 86_400_000;

/// A conversation of one question and one answer, so many days old.
fn add(home: &Path, question: &str, answer: &str, days_ago: u64) -> Result<ConversationId> {
    let store = Store::open(home)?;
    let id = store.create_conversation(&ConversationChange::default())?;
    let question = store.add_message(&NewMessage::text(&id, None, Role::User, question))?;
    store.add_message(&NewMessage::text(&id, Some(&question), Role::Assistant, answer))?;
    drop(store);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let at = (now - days_ago * DAY_MS) as i64;
    let connection = rusqlite::Connection::open(database_path(home))?;
    connection
        .execute("UPDATE conversations SET updated_ms = ?1 WHERE id = ?2", (at, id.as_str()))?;
    Ok(id)
}

fn open(home: &Path) -> Result<AppWindow> {
    let window = AppWindow::open(Start { home: Some(home), ..Start::default() })?;
    window.wait_for_model("ready")?;
    Ok(window)
}

/// The titles in the sidebar, from top to bottom.
fn titles(window: &AppWindow) -> Result<Vec<String>> {
    texts(window, "[data-testid=conversation-row] .row-main")
}

/// The visible texts of all elements that match.
fn texts(window: &AppWindow, selector: &str) -> Result<Vec<String>> {
    let script =
        "return Array.from(document.querySelectorAll(arguments[0]), it => it.innerText.trim())";
    let texts = window.session().run(script, &[json!(selector)])?;
    let texts = texts.as_array().context("the page returned no list")?;
    Ok(texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
}

/// Waits until the sidebar has these titles.
fn wait_for_titles(window: &AppWindow, expected: &[&str]) -> Result<()> {
    window.wait(&format!("the titles {expected:?}"), || {
        Ok((titles(window)? == expected).then_some(()))
    })
}

/// Opens the menu of a conversation and picks one of its items.
fn pick(window: &AppWindow, id: &ConversationId, item: &str) -> Result<()> {
    press(window, id, "[data-testid=conversation-menu]")?;
    window.click(item)
}

/// Presses a control in the row of a conversation, once the row is there.
fn press(window: &AppWindow, id: &ConversationId, control: &str) -> Result<()> {
    let selector = format!("[data-testid=conversation-row][data-id='{id}'] {control}");
    let script = "const it = document.querySelector(arguments[0]); it?.click(); return it !== null";
    window.wait(&selector, || {
        Ok((window.session().run(script, &[json!(selector)])? == true).then_some(()))
    })
}

/// Types a title in the place of the old one.
fn retitle(window: &AppWindow, title: &str) -> Result<()> {
    window.wait_for("title-field")?;
    window.paste("title-field", title)?;
    window.type_into("title-field", ENTER)
}

/// Opens a conversation of the sidebar and waits for its first question.
fn show(window: &AppWindow, id: &ConversationId, question: &str) -> Result<()> {
    press(window, id, ".row-main")?;
    wait_for_question(window, question)
}

fn wait_for_question(window: &AppWindow, question: &str) -> Result<()> {
    window.wait(question, || {
        let shown = texts(window, "[data-testid=message][data-role=user] .bubble")?;
        Ok((shown.first().map(String::as_str) == Some(question)).then_some(()))
    })
}

fn value(window: &AppWindow, id: &str) -> Result<String> {
    let script = "return document.querySelector(`[data-testid=${arguments[0]}]`)?.value ?? null";
    let value = window.session().run(script, &[json!(id)])?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

#[test]
fn conversations_are_listed_renamed_pinned_moved_archived_and_deleted() -> Result<()> {
    let home = tempfile::tempdir()?;
    let old = add(home.path(), "Old question", "Old answer", 40)?;
    let middle = add(home.path(), "Middle question", "Middle answer", 1)?;
    let new = add(home.path(), "New question", "New answer", 0)?;
    let window = open(home.path())?;
    wait_for_titles(&window, &["New question", "Middle question", "Old question"])?;
    show(&window, &old, "Old question")?;
    let title = window.text("conversation-title")?.unwrap_or_default();
    ensure!(title == "Old question", "the title is {title:?}");

    pick(&window, &old, "rename")?;
    retitle(&window, "Renamed")?;
    pick(&window, &middle, "pin")?;
    wait_for_titles(&window, &["Middle question", "New question", "Renamed"])?;
    pick(&window, &new, "move-to-folder")?;
    window.click("move-to-new-folder")?;
    retitle(&window, "Work")?;
    window.wait("the folder", || {
        Ok((texts(&window, "[data-testid=folder-row] bdi")? == ["Work"]).then_some(()))
    })?;
    let store = Store::open(home.path())?;
    wait("the folder in the database", || {
        let heads = store.conversation_heads()?;
        Ok(heads.iter().any(|head| head.id == new && head.folder.is_some()).then_some(()))
    })?;
    pick(&window, &old, "archive")?;
    wait_for_titles(&window, &["Middle question", "New question"])?;
    window.click("archived-toggle")?;
    wait_for_titles(&window, &["Renamed"])?;
    window.click("archived-toggle")?;

    pick(&window, &new, "delete-conversation")?;
    wait_for_titles(&window, &["Middle question"])?;
    window.click("undo")?;
    wait_for_titles(&window, &["Middle question", "New question"])?;
    wait_for_question(&window, "New question")?;
    pick(&window, &middle, "delete-conversation")?;
    wait_for_titles(&window, &["New question"])?;
    drop(window);
    // What was deleted is gone for good at the next start at the latest.
    let window = open(home.path())?;
    wait_for_titles(&window, &["New question"])?;
    wait("the deletion", || Ok((!has_text(home.path(), "Middle answer")?).then_some(())))
}

/// Whether a part of any message has this text, also of those that are hidden.
fn has_text(home: &Path, text: &str) -> Result<bool> {
    let connection = rusqlite::Connection::open(database_path(home))?;
    let sql = "SELECT count(*) FROM parts WHERE instr(text, ?1) > 0";
    let count: u32 = connection.query_row(sql, [text], |row| row.get(0))?;
    Ok(count > 0)
}

#[test]
fn a_search_opens_the_branch_of_its_message_at_its_place() -> Result<()> {
    let home = tempfile::tempdir()?;
    let id = add(home.path(), "First question", "First answer", 3)?;
    let store = Store::open(home.path())?;
    let mut parent = store.conversation(&id)?.context("it exists")?.current_leaf;
    let long = "A line of an answer that is long enough to scroll.\n\n".repeat(30);
    for text in ["needle in a haystack", &*long, "another question", &*long] {
        let new = NewMessage::text(&id, parent.as_ref(), Role::User, text);
        parent = Some(store.add_message(&new)?);
    }
    // The newest branch does not have it.
    let first: MessageId = store.messages(&id)?[0].id.clone();
    store.add_message(&NewMessage::text(&id, Some(&first), Role::Assistant, "Other answer"))?;
    drop(store);
    add(home.path(), "Unrelated", "Nothing", 0)?;

    let window = open(home.path())?;
    wait_for_question(&window, "Unrelated")?;
    window.type_into("sidebar-search", "needl")?;
    window.wait_for("found-message")?;
    let found = texts(&window, "[data-testid=found-message] mark")?;
    ensure!(found == ["needle"], "{found:?}");
    window.click("found-message")?;
    wait_for_question(&window, "First question")?;
    window.wait("the message in sight", || {
        let script = "const it = document.querySelector('.found-here'); if (!it) return false;
            const rect = it.getBoundingClientRect();
            return it.innerText.includes('needle') && rect.top > 0 && rect.bottom < innerHeight";
        Ok((window.session().run(script, &[])? == true).then_some(()))
    })?;
    let versions = texts(&window, "[data-testid=version]")?;
    ensure!(versions == ["1 / 2"], "{versions:?}");
    Ok(())
}

#[test]
fn every_edit_and_every_answer_again_is_a_version_that_can_be_reached() -> Result<()> {
    let home = tempfile::tempdir()?;
    let window = open(home.path())?;
    window.set_options(SHORT)?;
    window.ask_and_wait("What is gravity?")?;
    window.click("regenerate")?;
    window.wait("the second version", || {
        Ok((texts(&window, "[data-testid=version]")? == ["2 / 2"]).then_some(()))
    })?;
    window.wait_for_end()?;

    // An answer is edited in its place, and the model goes on from there.
    window.click("edit-answer")?;
    window.paste("message-field", "Gravity pulls.")?;
    window.click("edit-save")?;
    window.wait("the edited answer", || {
        let shown = window.answers()?.pop().filter(|answer| answer.text == "Gravity pulls.");
        Ok(shown
            .filter(|_| texts(&window, "[data-testid=version]").is_ok_and(|it| it == ["3 / 3"])))
    })?;
    window.click("more")?;
    window.wait_for("menu")?;
    // The menu of the question is the first.
    window.session().run("document.querySelector('.menu-scrim').click()", &[])?;
    let script = "const all = document.querySelectorAll('[data-testid=more]');
        all[all.length - 1].click()";
    window.session().run(script, &[])?;
    window.click("continue")?;
    window.wait("more of the answer", || {
        let answer = window.answers()?.pop();
        Ok(answer.filter(|it| it.state == "done" && it.text.len() > "Gravity pulls.".len()))
    })?;

    // An edited question is a version, too, and the first one still leads to its answers.
    window.click("edit")?;
    window.paste("message-field", "What is light?")?;
    window.click("edit-save")?;
    wait_for_question(&window, "What is light?")?;
    window.wait_for_end()?;
    window.click("version-before")?;
    wait_for_question(&window, "What is gravity?")?;
    window.wait("the newest answer of the first question", || {
        let answer = window.answers()?.pop();
        Ok(answer.filter(|it| it.text.starts_with("Gravity pulls.")))
    })?;
    window.click("branches")?;
    window.wait_for("map-row")?;
    let rows = texts(&window, "[data-testid=map-row]")?;
    ensure!(rows.len() == 6, "{rows:?}");
    window.click("branch-map-close")?;

    // The branch goes on in a conversation of its own.
    let script = "const all = document.querySelectorAll('[data-testid=fork]');
        all[all.length - 1].click()";
    window.session().run(script, &[])?;
    window.wait("two conversations", || Ok((titles(&window)?.len() == 2).then_some(())))?;
    ensure!(texts(&window, "[data-testid=version]")?.is_empty(), "a fork has one branch");

    // A message is deleted with what follows, and comes back.
    let script = "document.querySelector('[data-testid=more]').click()";
    window.session().run(script, &[])?;
    window.click("delete-message")?;
    window.wait("an empty page", || Ok(window.answers()?.is_empty().then_some(())))?;
    window.click("undo")?;
    wait_for_question(&window, "What is gravity?")?;
    let store = Store::open(home.path())?;
    ensure!(store.conversation_heads()?.len() == 2);
    Ok(())
}

#[test]
fn an_answer_goes_on_while_another_conversation_is_shown() -> Result<()> {
    let home = tempfile::tempdir()?;
    let other = add(home.path(), "Other question", "Other answer", 2)?;
    let window = open(home.path())?;
    window.click("new-chat")?;
    window.set_options(400)?;
    window.ask("Write a very long story about a lighthouse keeper and the sea.")?;
    window.wait("the first words", || {
        Ok(window.answers()?.pop().filter(|answer| answer.text.len() > 20))
    })?;
    show(&window, &other, "Other question")?;
    let answers = window.answers()?;
    ensure!(answers.len() == 1 && answers[0].text == "Other answer", "{answers:?}");
    let script = "document.querySelector('[data-testid=conversation-row] .row-main').click()";
    window.session().run(script, &[])?;
    let before = window.wait("the growing answer", || {
        Ok(window.answers()?.pop().filter(|answer| answer.state == "streaming"))
    })?;
    window.wait("more of it", || {
        Ok(window.answers()?.pop().filter(|answer| answer.text.len() > before.text.len()))
    })?;
    window.click("stop")?;
    let stopped = window.wait_for_end()?;
    ensure!(stopped.state == "stopped", "{stopped:?}");
    Ok(())
}

#[test]
fn drafts_belong_to_their_conversations_and_survive_a_kill() -> Result<()> {
    let home = tempfile::tempdir()?;
    let other = add(home.path(), "Other question", "Other answer", 2)?;
    let window = open(home.path())?;
    wait_for_question(&window, "Other question")?;
    window.type_into("composer-input", "half a thought")?;
    window.click("new-chat")?;
    window.wait("an empty field", || {
        Ok(value(&window, "composer-input")?.is_empty().then_some(()))
    })?;
    window.type_into("composer-input", "a new one")?;
    show(&window, &other, "Other question")?;
    window.wait("the draft", || {
        Ok((value(&window, "composer-input")? == "half a thought").then_some(()))
    })?;
    window.type_into("composer-input", ", and more")?;
    std::thread::sleep(Duration::from_millis(1000));
    window.kill_app()?;
    drop(window);
    let window = open(home.path())?;
    window.wait("the draft of before the kill", || {
        Ok((value(&window, "composer-input")? == "half a thought, and more").then_some(()))
    })?;
    window.click("new-chat")?;
    window.wait("the draft of the new chat", || {
        Ok((value(&window, "composer-input")? == "a new one").then_some(()))
    })
}

#[test]
fn a_held_finger_opens_all_actions() -> Result<()> {
    let home = tempfile::tempdir()?;
    add(home.path(), "A question", "An answer", 0)?;
    let window = open(home.path())?;
    wait_for_question(&window, "A question")?;
    let touch = "const it = document.querySelector(arguments[0]);
        const { x, y } = it.getBoundingClientRect();
        const at = { bubbles: true, pointerType: 'touch', isPrimary: true, clientX: x + 5, clientY: y + 5 };
        it.dispatchEvent(new PointerEvent(arguments[1], at))";
    let touch = |selector: &str, event: &str| {
        window.session().run(touch, &[json!(selector), json!(event)]).map(drop)
    };
    touch(".message.assistant .prose", "pointerdown")?;
    window.wait_for("touch-again")?;
    touch(".message.assistant .prose", "pointerup")?;
    // What the system makes of lifting the finger presses nothing.
    let lift = "document.querySelector('[data-testid=new-chat], .menu-scrim').click()";
    window.session().run(lift, &[])?;
    ensure!(window.exists("menu")?, "the menu was closed by the finger that opened it");
    window.click("touch-select")?;
    let selected = window.session().run("return getSelection().toString().trim()", &[])?;
    ensure!(selected == "An answer", "{selected} is selected");
    touch("[data-testid=conversation-row]", "pointerdown")?;
    window.wait_for("rename")
}

#[test]
fn all_conversations_are_deleted_after_a_question() -> Result<()> {
    let home = tempfile::tempdir()?;
    for n in 0..3 {
        add(home.path(), &format!("Question {n}"), "Answer", n)?;
    }
    let window = open(home.path())?;
    wait_for_titles(&window, &["Question 0", "Question 1", "Question 2"])?;
    window.click("sidebar-more")?;
    window.click("delete-all")?;
    window.wait_for("delete-all-dialog")?;
    let question = window.text("delete-all-dialog")?.unwrap_or_default();
    ensure!(question.contains("3 conversations") && question.contains(" bytes"), "{question:?}");
    window.click("delete-all-keep")?;
    wait_for_titles(&window, &["Question 0", "Question 1", "Question 2"])?;
    window.click("sidebar-more")?;
    window.click("delete-all")?;
    window.click("delete-all-confirm")?;
    wait_for_titles(&window, &[])?;
    ensure!(!has_text(home.path(), "Answer")?);
    Ok(())
}

#[test]
fn thousands_of_conversations_are_in_the_list_and_few_of_them_in_the_page() -> Result<()> {
    let home = tempfile::tempdir()?;
    drop(Store::open(home.path())?);
    let mut connection = rusqlite::Connection::open(database_path(home.path()))?;
    let transaction = connection.transaction()?;
    for n in 0..5000 {
        transaction.execute(
            "INSERT INTO conversations (id, title, title_origin, created_ms, updated_ms)
             VALUES (?1, ?2, 'user', ?3, ?3)",
            (format!("{n:032x}"), format!("Conversation {n}"), 1_700_000_000_000_i64 + n),
        )?;
    }
    transaction.commit()?;
    drop(connection);
    let window = open(home.path())?;
    window.wait("the first rows", || {
        Ok((titles(&window)?.first().map(String::as_str) == Some("Conversation 4999"))
            .then_some(()))
    })?;
    ensure!(titles(&window)?.len() < 100, "all rows are in the page");
    let script = "const list = document.querySelector('[data-testid=conversation-list]');
        list.scrollTop = list.scrollHeight";
    window.session().run(script, &[])?;
    window.wait("the last row", || {
        Ok((titles(&window)?.last().map(String::as_str) == Some("Conversation 0")).then_some(()))
    })?;
    window.type_into("sidebar-search", "conversation 123")?;
    window.wait("titles that match", || {
        let found = texts(&window, "[data-testid=found-title]")?;
        Ok(found.contains(&"Conversation 1234".to_owned()).then_some(()))
    })
}

#[test]
fn screenshots_of_the_sidebar_in_light_and_dark() -> Result<()> {
    let home = tempfile::tempdir()?;
    let questions = [
        ("Plan a weekend in the Harz mountains", 0),
        ("Why does bread rise?", 0),
        ("Compare Rust's Arc and Rc in a table", 1),
        ("Letter to the landlord about the heating", 2),
        ("Explain the Fourier transform to a musician", 5),
        ("Names for a small blue boat", 20),
        ("Debug: borrow of moved value `config`", 33),
        ("Recipe for lentil soup without onions", 70),
        ("ملخص قصير عن تاريخ بغداد", 90),
        (
            "What is the difference between affect and effect, and when would you use either of them?",
            400,
        ),
    ];
    let mut ids = Vec::new();
    for (question, days_ago) in questions {
        let answer = "Bread rises because **yeast** eats sugar and gives off carbon dioxide.\n\n\
            1. Yeast wakes up in warm water.\n2. Gluten forms a net that keeps the gas.\n\
            3. Heat makes the bubbles grow before the crust sets.";
        ids.push(add(home.path(), question, answer, days_ago)?);
    }
    let store = Store::open(home.path())?;
    let folder = store.create_conversation_folder("Home")?;
    let folder = Some(Some(folder));
    store.change_conversation(&ids[3], &ConversationChange { folder, ..Default::default() })?;
    let pinned = ConversationChange { is_pinned: Some(true), ..Default::default() };
    store.change_conversation(&ids[7], &pinned)?;
    let question =
        store.branch(&store.conversation(&ids[1])?.context("it")?.current_leaf.context("it")?)?;
    store.add_message(&NewMessage::text(
        &ids[1],
        Some(&question[0].id),
        Role::Assistant,
        &*question[1].parts[0].text,
    ))?;
    drop(store);
    for (theme, is_dark) in [("light", false), ("dark", true)] {
        let start = Start { home: Some(home.path()), is_dark, ..Start::default() };
        let window = AppWindow::open(start)?;
        window.wait_for_model("ready")?;
        // The window has the size of its last visit.
        window.session().resize(SIZES[0].0, SIZES[0].1)?;
        window.wait_for("sidebar")?;
        show(&window, &ids[1], "Why does bread rise?")?;
        window.save_screenshot(&format!("sidebar-{theme}"), SIZES[0])?;
        press(&window, &ids[0], "[data-testid=conversation-menu]")?;
        window.wait_for("menu")?;
        window.save_screenshot(&format!("menu-{theme}"), SIZES[0])?;
        window.session().run("document.querySelector('.menu-scrim').click()", &[])?;
        window.type_into("sidebar-search", "yeast")?;
        window.wait_for("found-message")?;
        window.save_screenshot(&format!("search-{theme}"), SIZES[0])?;
        let script = "const it = document.querySelector('[data-testid=sidebar-search]');
            it.value = ''; it.dispatchEvent(new Event('input', { bubbles: true }))";
        let _: Value = window.session().run(script, &[])?;
        window.click("edit-answer")?;
        window.wait_for("message-field")?;
        window.save_screenshot(&format!("edit-{theme}"), SIZES[0])?;
        window.click("edit-cancel")?;
        window.click("branches")?;
        window.wait_for("branch-map")?;
        window.save_screenshot(&format!("map-{theme}"), SIZES[0])?;
        window.click("branch-map-close")?;
        pick(&window, &ids[5], "delete-conversation")?;
        window.wait_for("undo-notice")?;
        window.save_screenshot(&format!("undo-{theme}"), SIZES[0])?;
        window.click("undo")?;
        window.wait("the undo", || Ok((!window.exists("undo-notice")?).then_some(())))?;
        // A narrow window hides the sidebar, which would cover the conversation.
        window.session().resize(SIZES[1].0, SIZES[1].1)?;
        window.wait("the closed drawer", || Ok((!window.exists("sidebar")?).then_some(())))?;
        window.save_screenshot(&format!("branches-{theme}"), SIZES[1])?;
        window.click("sidebar-toggle")?;
        window.save_screenshot(&format!("sidebar-{theme}"), SIZES[1])?;
    }
    Ok(())
}
