//! `lilims conversations`: what it prints, what its files have, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lilims_store::{ConversationChange, MessageId, NewMessage, Part, PartKind, Role, Store};
use serde_json::{Value as Json, json};

use super::{failure, lilims};

/// A data folder of its own.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.file("data")).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = lilims(&[&["conversations"], arguments].concat());
        command.env("LILIMS_HOME", self.file("data"));
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {stderr}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.file(name), content).unwrap();
        text(&self.file(name))
    }

    /// A conversation with a branch that is shown and one that is not. Returns its id.
    fn talk(&self) -> String {
        let store = self.store();
        let id = store.create_conversation(&ConversationChange::default()).unwrap();
        let say = |parent: Option<&MessageId>, role, text: &str| {
            store.add_message(&NewMessage::text(&id, parent, role, text)).unwrap()
        };
        let question = say(None, Role::User, "Which tea steeps longest?");
        let shown = say(Some(&question), Role::Assistant, "Herbal tea: \u{1b}[2J eight minutes.");
        say(Some(&question), Role::Assistant, "Black tea.");
        store.set_current_leaf(&id, Some(&shown)).unwrap();
        id.to_string()
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn outline(path: &Path) -> Json {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn documents_are_named_where_they_were_sent() {
    let home = Home::new();
    let store = home.store();
    let id = store.create_conversation(&ConversationChange::default()).unwrap();
    let data = Some(json!({ "name": "tea \u{1b}[2J.md", "kind": "markdown", "size_bytes": 5 }));
    let parts = vec![Part { kind: PartKind::Attachment, text: "# Tea".to_owned(), data }];
    store.add_message(&NewMessage { parts, ..NewMessage::empty(&id, None, Role::User) }).unwrap();
    drop(store);
    let id = id.to_string();
    let shown = home.json(&["show", &id]);
    assert_eq!(shown["messages"][0]["attachments"], json!(["tea \u{1b}[2J.md"]));
    let text = home.run(&["show", &id]);
    assert!(text.contains("[tea ") && text.contains(".md]"), "{text}");
    assert!(!text.contains('\u{1b}'), "a name steers the terminal");
}

#[test]
fn conversations_are_listed_searched_and_shown() {
    let home = Home::new();
    assert_eq!(home.json(&["list"]), json!([]));
    let id = home.talk();
    let listed = home.json(&["list"]);
    assert_eq!(listed[0]["id"], *id);
    assert_eq!(listed[0]["title"], "Which tea steeps longest?");
    assert!(home.run(&["list"]).contains(&id));

    let found = home.json(&["search", "herbal", "minu"]);
    assert_eq!(found[0]["conversation"], *id);
    assert!(found[0]["excerpt"].as_str().unwrap().contains("Herbal"));
    assert_eq!(home.json(&["search", "coffee"]), json!([]));

    let shown = home.json(&["show", &id]);
    assert_eq!(shown["messages"].as_array().unwrap().len(), 2);
    assert_eq!(shown["messages"][1]["role"], "assistant");
    for arguments in [&["show", &id][..], &["search", "herbal"]] {
        let text = home.run(arguments);
        assert!(text.contains("Herbal") && text.contains("tea"), "{text}");
        assert!(!text.contains('\u{1b}'), "a message steers the terminal");
    }
    let sentence = failure(&mut home.command(&["show", "nowhere"]), 1);
    assert!(sentence.contains("there is no conversation `nowhere`"), "{sentence}");
}

#[test]
fn an_export_is_imported_into_another_place() {
    let (home, other) = (Home::new(), Home::new());
    let id = home.talk();
    let out = text(&home.file("all.json"));
    home.run(&["export", "--out", &out]);
    let report = other.json(&["import", &out]);
    assert_eq!(report, json!({"conversations": 1, "messages": 3, "skipped": []}));
    let again = text(&other.file("one.json"));
    other.run(&["export", &id, "--out", &again]);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&out).unwrap());
    assert_eq!(outline(&home.file("all.json"))["format"], "lilims-conversations");

    let report = other.json(&["import", &out, &again]);
    assert_eq!((&report["conversations"], &report["messages"]), (&json!(0), &json!(0)));
    assert_eq!(report["skipped"][0]["reason"], "already-here");
    assert!(other.run(&["import", &out]).contains("here already"));

    for (format, part) in [("markdown", "## Assistant\n\nHerbal"), ("text", "Assistant:\nHerbal")] {
        home.run(&["export", &id, "--format", format, "--out", &out]);
        let written = fs::read_to_string(&out).unwrap();
        assert!(written.contains(part) && !written.contains("Black tea"), "{written}");
    }
    let none = home.file("none.json");
    failure(&mut home.command(&["export", "nowhere", "--out", &text(&none)]), 1);
    assert!(!none.exists());
    failure(&mut home.command(&["export", "--out", &text(home.0.path())]), 1);
    failure(&mut home.command(&["export"]), 2);
}

#[test]
fn exports_of_other_programs_are_recognised_by_their_content() {
    let home = Home::new();
    let chatgpt = json!([{"title": "One", "current_node": "b", "mapping": {
        "a": {"parent": null, "children": ["b"], "message": {"author": {"role": "user"},
            "content": {"content_type": "text", "parts": ["apples"]}}},
        "b": {"parent": "a", "message": {"author": {"role": "assistant"},
            "content": {"content_type": "text", "parts": ["pears"]}}}}}]);
    let claude = json!([{"uuid": "u", "name": "Two", "chat_messages": [
        {"uuid": "m", "sender": "human", "text": "plums"}]}, {"surprise": 1}]);
    let lines = "{\"role\": \"user\", \"content\": \"cherries\"}\n".repeat(2);
    let files = [
        home.write("conversations-000.json", &chatgpt.to_string()),
        home.write("holiday.png", &claude.to_string()),
        home.write("no-extension", &lines),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let report = home.json(&[&["import"], &files[..]].concat());
    assert_eq!((&report["conversations"], &report["messages"]), (&json!(3), &json!(5)));
    assert_eq!(
        report["skipped"],
        json!([{"reason": "not-a-conversation", "count": 1, "file": "holiday.png", "conversation": null}])
    );
    for word in ["apples", "plums", "cherries"] {
        assert!(!home.json(&["search", word]).as_array().unwrap().is_empty(), "{word}");
    }
}

#[test]
fn what_is_no_export_is_a_sentence_and_changes_nothing() {
    let home = Home::new();
    for (content, part) in [
        ("hello", "not an export in a known format"),
        ("{}", "not an export in a known format"),
        ("[{\"mapping\": ", "damaged"),
        ("PK\u{3}\u{4}", "archive"),
    ] {
        let file = home.write("file.json", content);
        let sentence = failure(&mut home.command(&["import", &file]), 1);
        assert!(sentence.contains(part) && sentence.contains("file.json"), "{sentence}");
    }
    let folder = text(home.0.path());
    let sentence = failure(&mut home.command(&["import", &folder]), 1);
    assert!(sentence.contains("folder"), "{sentence}");
    failure(&mut home.command(&["import", &text(&home.file("missing"))]), 1);
    failure(&mut home.command(&["import"]), 2);
    #[cfg(unix)]
    failure(&mut home.command(&["import", "/dev/zero"]), 1);
    assert_eq!(home.json(&["list"]), json!([]));

    // What came before a file that fails stays, and is reported.
    let good = home.write("good.json", r#"{"messages": [{"role": "user", "content": "hi"}]}"#);
    let bad = home.write("bad.json", "hello");
    let output = home.command(&["import", &good, &bad, "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["conversations"], 1);
    assert_eq!(home.json(&["list"]).as_array().unwrap().len(), 1);
}
