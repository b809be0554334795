//! Files that were made to break the reader: each is an error or is bounded, in little time and memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lilims_interchange::{Conversation, Error, Limits, SkipReason, Summary, in_order, read_bytes};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Far more than any of these files takes on a slow machine.
const MAX_TIME: Duration = Duration::from_secs(20);

fn read(bytes: &[u8], limits: &Limits) -> Result<(Vec<Conversation>, Summary), Error> {
    let start = Instant::now();
    let mut conversations = Vec::new();
    let result = read_bytes(bytes, 7, limits, &mut |_, conversation| {
        conversations.push(conversation);
        ControlFlow::Continue(())
    });
    assert!(start.elapsed() < MAX_TIME, "{:?}", start.elapsed());
    conversations.iter().for_each(check);
    Ok((conversations, result?))
}

/// What every conversation is that leaves the reader.
fn check(conversation: &Conversation) {
    let is_id = |id: &str| id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit());
    assert!(is_id(&conversation.id), "{}", conversation.id);
    let mut before = std::collections::HashSet::new();
    for message in &conversation.messages {
        assert!(is_id(&message.id), "{}", message.id);
        assert!(message.parent.as_ref().is_none_or(|parent| before.contains(parent)));
        assert!(before.insert(message.id.clone()), "{} stands twice", message.id);
    }
    assert!(conversation.current_leaf.as_ref().is_none_or(|leaf| before.contains(leaf)));
    assert_eq!(in_order(conversation.messages.clone()), conversation.messages);
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

const GOOD: &str = r#"[{"mapping": {"a": {"message": {"author": {"role": "user"},
    "content": {"content_type": "text", "parts": ["hi"]}}}}, "title": "Good"}]"#;

#[test]
fn archives_are_read_entry_by_entry() {
    let second = GOOD.replace("Good", "Second");
    let bytes = archive(&[
        ("user.json", b"{\"id\": 1}"),
        ("export/conversations-001.json", second.as_bytes()),
        ("export/conversations-000.json", GOOD.as_bytes()),
        ("message_feedback.json", b"[{\"rating\": 1}]"),
        ("broken.json", b"{\"a"),
        ("chat.html", b"<html>"),
        ("__MACOSX/._conversations-000.json", b"\0\0"),
    ]);
    let (conversations, summary) = read(&bytes, &Limits::default()).unwrap();
    let titles: Vec<_> = conversations.iter().map(|it| it.title.as_deref().unwrap()).collect();
    assert_eq!(titles, ["Good", "Second"]);
    assert_eq!(summary.skipped, []);

    let nothing = archive(&[("user.json", b"{\"id\": 1}")]);
    assert!(matches!(read(&nothing, &Limits::default()), Err(Error::UnknownFormat)));
    for n_bytes in [4, 30, bytes.len() / 2, bytes.len() - 10] {
        assert!(matches!(read(&bytes[..n_bytes], &Limits::default()), Err(Error::Archive(_))));
    }
}

/// Found by fuzzing: the conversation says that it began after its first messages.
#[test]
fn a_message_without_a_time_stays_after_the_message_before_it() {
    let text = r#"{"created_at": "2024-03-01T12:00:00Z", "chat_messages": [
        {"uuid": "a", "text": "1", "sender": "human", "created_at": "2024-03-01T10:00:00Z"},
        {"uuid": "b", "text": "2", "sender": "assistant", "parent_message_uuid": "a"},
        {"uuid": "c", "text": "3", "sender": "human", "created_at": "2024-03-01T11:00:00Z"}]}"#;
    let (conversations, _) = read(text.as_bytes(), &Limits::default()).unwrap();
    let texts = conversations[0].messages.iter().map(|message| &*message.parts[0].text);
    assert_eq!(texts.collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[test]
fn a_zip_bomb_is_cut_off() {
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let bomb = archive(&[("conversations.json", &[b' '; 64 << 20])]);
    assert!(matches!(read(&bomb, &limits), Err(Error::TooLarge { limit_bytes: 1_048_576 })));
    // Many entries share one allowance.
    let entry = format!("{GOOD}{}", " ".repeat(400_000));
    let names: Vec<String> = (0..9).map(|n| format!("conversations-{n}.json")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), entry.as_bytes())).collect();
    let (conversations, summary) = read(&archive(&entries), &limits).unwrap();
    assert_eq!(conversations.len(), 3);
    assert_eq!(summary.skipped[0].reason, SkipReason::BeyondLimit);
}

#[test]
fn many_entries_and_large_directories_are_refused() {
    let names: Vec<String> = (0..2000).map(|n| format!("{n}.json")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), &b"{}"[..])).collect();
    let bytes = archive(&entries);
    let limits = Limits { max_entries: 1000, ..Limits::default() };
    assert!(matches!(
        read(&bytes, &limits),
        Err(Error::TooManyEntries { found: 2000, limit: 1000 })
    ));
    let limits = Limits { max_directory_bytes: 10_000, ..Limits::default() };
    assert!(matches!(read(&bytes, &limits), Err(Error::Archive(_))));
}

#[test]
fn deep_nesting_costs_the_value_alone() {
    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let text = format!(r#"[{{"messages": [{{"role": "user", "content": "hi", "x": {deep}}}]}}]"#);
    let (conversations, summary) = read(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(conversations[0].messages[0].parts[0].text, "hi");
    assert_eq!(summary.skipped[0].reason, SkipReason::TooDeep);
    let open = "[".repeat(1 << 20);
    assert!(read(open.as_bytes(), &Limits::default()).is_err());
    let open = "{\"a\":".repeat(1 << 20);
    assert!(read(open.as_bytes(), &Limits::default()).is_err());
}

#[test]
fn too_many_values_cost_the_conversation_alone() {
    let nulls = "0,".repeat(5 << 20);
    let text = format!(
        r#"[{{"title": "Huge", "mapping": {{}}, "x": [{nulls}0]}}, {}]"#,
        &GOOD[1..GOOD.len() - 1]
    );
    let (conversations, summary) = read(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(conversations.len(), 1);
    let skipped = &summary.skipped[0];
    assert_eq!(skipped.reason, SkipReason::ConversationTooLarge);
    assert_eq!(skipped.conversation.as_deref(), Some("Huge"));
}

#[test]
fn texts_messages_and_parts_are_bounded() {
    let limits = Limits { max_string_bytes: 1 << 20, ..Limits::default() };
    let text =
        format!(r#"{{"messages": [{{"role": "user", "content": "{}"}}]}}"#, "a".repeat(2 << 20));
    assert!(matches!(read(text.as_bytes(), &limits), Err(Error::TextTooLong { .. })));

    let limits = Limits { max_messages: 10, max_parts: 3, ..Limits::default() };
    let messages = r#"{"role": "user", "content": ["1", "2", "3", "4", "5"]},"#.repeat(15);
    let messages = messages.trim_end_matches(',');
    for text in [format!("{{\"messages\": [{messages}]}}"), format!("[{messages}]")] {
        let (conversations, summary) = read(text.as_bytes(), &limits).unwrap();
        assert_eq!(conversations[0].messages.len(), 10);
        assert_eq!(conversations[0].messages[0].parts.len(), 3);
        let n_skipped: u64 = summary.skipped.iter().map(|it| it.count).sum();
        assert_eq!(n_skipped, 5 + 20);
    }
}

#[test]
fn long_chains_and_wide_trees_take_little_time() {
    let node = |n: usize, parent: usize, children: &str| {
        format!(
            r#""{n}": {{"parent": "{parent}", "children": [{children}], "message": {{"author":
            {{"role": "assistant"}}, "content": {{"content_type": "thoughts", "thoughts": [{{"content": "x"}}]}}}}}}"#
        )
    };
    let chain: Vec<String> = (0..50_000).map(|n| node(n, n + 1, "")).collect();
    let text = format!(r#"{{"mapping": {{{}}}}}"#, chain.join(","));
    let (conversations, _) = read(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(conversations[0].messages.len(), 1, "reasoning is one message");
    let star: Vec<String> = (1..50_000).map(|n| node(n, 0, "")).collect();
    let text = format!(r#"{{"mapping": {{{}, {}}}}}"#, node(0, 0, "\"7\""), star.join(","));
    let (conversations, _) = read(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(conversations[0].messages.len(), 50_000);
}

/// JSON whose keys and words are those that formats have, so that it gets past their recognition.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let words = prop::sample::select(vec![
        "user",
        "assistant",
        "tool",
        "text",
        "code",
        "thoughts",
        "a",
        "b",
        "c",
        "session",
        "message",
        "lilims-conversations",
        "contentBlock",
        "2024-01-01T00:00:00Z",
        "",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        (0_u64..3).prop_map(Into::into),
        words.prop_map(Into::into),
        ".{0,6}".prop_map(Into::into),
    ];
    let keys = prop::sample::select(vec![
        "mapping",
        "message",
        "messages",
        "parent",
        "children",
        "author",
        "role",
        "content",
        "parts",
        "content_type",
        "type",
        "text",
        "chat_messages",
        "sender",
        "uuid",
        "parent_message_uuid",
        "chat",
        "history",
        "currentId",
        "parentId",
        "childrenIds",
        "conv",
        "currNode",
        "id",
        "versions",
        "currentlySelected",
        "steps",
        "style",
        "format",
        "version",
        "conversations",
        "created_ms",
        "current_leaf",
        "kind",
        "data",
        "harness",
        "title",
        "create_time",
        "metadata",
        "current_node",
        "a",
        "b",
        "c",
    ]);
    leaf.prop_recursive(6, 120, 8, move |inner| {
        let object = prop::collection::vec((keys.clone(), inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Into::into),
            object.prop_map(|entries| {
                entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_json_is_read_or_refused(value in json()) {
        let _ = read(value.to_string().as_bytes(), &Limits::default());
        let list = serde_json::Value::from(vec![value]);
        let _ = read(list.to_string().as_bytes(), &Limits::default());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, start in prop::sample::select(vec![
        &b""[..], b"[", b"{", b"PK\x03\x04", b"PK\x05\x06", b"[{\"messages\":[", b"\xef\xbb\xbf{\"",
    ])) {
        let _ = read(&[start, &bytes].concat(), &Limits::default());
    }

    #[test]
    fn a_file_with_changed_bytes_is_read_or_refused(
        name in prop::sample::select(vec![
            "chatgpt.json", "claude.json", "open-webui.json", "llama-cpp.json", "llama-cpp.jsonl",
            "lm-studio.json", "openai.json", "lilims.json",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        let mut bytes = std::fs::read(path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes, &Limits::default());
    }

    #[test]
    fn an_archive_with_changed_bytes_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = archive(&[("conversations.json", GOOD.as_bytes()), ("x.json", b"[]")]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes, &Limits::default());
    }
}
