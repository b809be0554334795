//! Conversations of this and other programs.

use std::collections::HashSet;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;

use lilims_interchange::{JsonWriter, Limits, in_order, read_bytes, write_markdown, write_text};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::{Bound, Target};

/// Reads a file of any format, and writes its conversations in ours.
pub(crate) const IMPORTS: Target = Target {
    name: "imports",
    run: read,
    seeds,
    words: &[
        "mapping",
        "chat_messages",
        "chat",
        "history",
        "conv",
        "versions",
        "messages",
        "content",
        "parts",
        "role",
        "author",
        "children",
        "parent",
        "currentId",
        "current_node",
        "timestamp",
        "create_time",
        "lilims-conversations",
        "version",
        "attachment",
        "tool_calls",
        "multimodal_text",
        "null",
        "\\ud800",
        "\\u0000",
        "[[[[[[[[",
        "{\"a\":",
        "1e999",
        "\n",
        "PK\x03\x04",
        "PK\x01\x02",
        "PK\x05\x06",
        "conversations.json",
    ],
    // A value takes up to 56 bytes, and an archive unpacks to as much as the limits allow.
    bound: Bound { base_bytes: 24 << 20, per_byte: 120 },
    n_smoke: 6000,
};

const LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    max_string_bytes: 64 << 10,
    max_values: 1 << 14,
    max_text_bytes: 1 << 20,
    max_messages: 1000,
    max_parts: 100,
    max_entries: 100,
    max_directory_bytes: 64 << 10,
    max_skipped: 100,
};

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        &include_bytes!("../../interchange/tests/data/chatgpt.json")[..],
        include_bytes!("../../interchange/tests/data/claude.json"),
        include_bytes!("../../interchange/tests/data/lilims.json"),
        include_bytes!("../../interchange/tests/data/llama-cpp.json"),
        include_bytes!("../../interchange/tests/data/llama-cpp.jsonl"),
        include_bytes!("../../interchange/tests/data/lm-studio.json"),
        include_bytes!("../../interchange/tests/data/open-webui.json"),
        include_bytes!("../../interchange/tests/data/openai-conversations.jsonl"),
        include_bytes!("../../interchange/tests/data/openai-messages.jsonl"),
        include_bytes!("../../interchange/tests/data/openai.json"),
    ]
    .map(<[u8]>::to_vec)
    .into();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["conversations-000.json", "conversations-001.json"] {
        writer.start_file(name, SimpleFileOptions::default()).expect("memory takes a file");
        writer.write_all(&seeds[0]).expect("memory takes bytes");
    }
    seeds.push(writer.finish().expect("memory takes an archive").into_inner());
    seeds
}

fn read(input: &[u8]) {
    let _ = read_bytes(input, 7, &LIMITS, &mut |_, conversation| {
        let is_id = |id: &str| id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit());
        assert!(is_id(&conversation.id));
        let mut before = HashSet::new();
        for message in &conversation.messages {
            assert!(message.parent.as_ref().is_none_or(|parent| before.contains(parent)));
            assert!(is_id(&message.id) && before.insert(message.id.clone()));
        }
        assert!(conversation.current_leaf.as_ref().is_none_or(|leaf| before.contains(leaf)));
        assert_eq!(in_order(conversation.messages.clone()), conversation.messages);
        let mut writer = JsonWriter::new(Vec::new()).expect("memory takes bytes");
        writer.write(&conversation).expect("memory takes bytes");
        let json = writer.finish().expect("memory takes bytes");
        let mut n_read = 0;
        let _ = read_bytes(&json, 7, &Limits::default(), &mut |_, again| {
            assert_eq!(again, conversation, "an export is read as it was");
            n_read += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(n_read, 1);
        let leaf = conversation.current_leaf.as_deref();
        for write in [write_markdown, write_text] {
            write(&conversation, leaf, &mut Vec::new()).expect("memory takes bytes");
        }
        ControlFlow::Continue(())
    });
}
