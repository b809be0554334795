//! One small file for each format, made by hand after what the programs write, with their oddities.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lilims_interchange::{
    Conversation, Error, Format, JsonWriter, Limits, PartKind, SkipReason, Skipped, State, Summary,
    read_bytes, read_file,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("data").join(name)
}

fn read(name: &str) -> (Vec<Conversation>, Summary) {
    let mut conversations = Vec::new();
    let summary = read_file(&data(name), &Limits::default(), &mut |_, conversation| {
        conversations.push(conversation);
        ControlFlow::Continue(())
    });
    (conversations, summary.unwrap())
}

fn read_text(text: &str) -> Result<(Vec<Conversation>, Summary), Error> {
    let mut conversations = Vec::new();
    let summary = read_bytes(text.as_bytes(), 7, &Limits::default(), &mut |_, conversation| {
        conversations.push(conversation);
        ControlFlow::Continue(())
    })?;
    Ok((conversations, summary))
}

/// The tree as indented lines; the end of the branch that is shown has a star.
fn outline(conversation: &Conversation) -> String {
    let title = conversation.title.as_deref().unwrap_or("(untitled)");
    let mut lines = vec![title.to_owned()];
    let roots = conversation.messages.iter().filter(|it| it.parent.is_none());
    let mut stack: Vec<_> = roots.map(|it| (it, 1)).collect();
    stack.reverse();
    while let Some((message, depth)) = stack.pop() {
        let parts = message.parts.iter().map(|part| match part.kind {
            PartKind::Text => part.text.clone(),
            PartKind::Reasoning => format!("({})", part.text),
            PartKind::Attachment => {
                let name = part.data.as_ref().and_then(|data| data["name"].as_str());
                format!("[{}|{}]", name.unwrap_or_default(), part.text)
            }
        });
        let parts = parts.collect::<Vec<_>>().join(" ").replace('\n', "~");
        let model = message.model.as_ref().map(|it| format!("<{it}>")).unwrap_or_default();
        let is_current = conversation.current_leaf.as_ref() == Some(&message.id);
        let star = if is_current { "*" } else { "" };
        let stopped = if message.state == State::Stopped { "…" } else { "" };
        let (indent, role) = (" ".repeat(depth), message.role.as_str());
        lines.push(format!("{indent}{role}{model}: {parts}{stopped}{star}"));
        let children =
            conversation.messages.iter().filter(|it| it.parent.as_ref() == Some(&message.id));
        let mut children: Vec<_> = children.map(|it| (it, depth + 1)).collect();
        children.reverse();
        stack.extend(children);
    }
    lines.join("\n")
}

fn skipped(reason: SkipReason, conversation: Option<&str>, count: u64) -> Skipped {
    Skipped { reason, conversation: conversation.map(str::to_owned), count }
}

#[test]
fn chatgpt() {
    let (conversations, summary) = read("chatgpt.json");
    assert_eq!(summary.formats, [Format::ChatGpt]);
    let [primes, odd] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(
        outline(primes),
        "Prime numbers\n \
         user: [|] Is 91 prime? [board.png|]\n  \
         assistant<o3>: (Dividing~~91 / 7 = 13) ```python~91 % 7~```\n   \
         tool: ```~0~```\n    \
         assistant<o3>: No, 91 = 7 · 13.…*\n  \
         assistant<gpt-4o>: No: 7 × 13."
    );
    assert_eq!((primes.created_ms, primes.updated_ms), (1_700_000_000_250, 1_700_000_100_500));
    assert!(primes.is_archived && !primes.is_pinned);
    assert_eq!(
        outline(odd),
        "(untitled)\n \
         assistant: ```json~{\"content_type\":\"hologram\",\"beam\":3}~```\n  \
         assistant: bare\n \
         user: 5 text*"
    );
    assert_eq!(
        summary.skipped,
        [
            skipped(SkipReason::AttachmentContent, Some("Prime numbers"), 2),
            skipped(SkipReason::HiddenMessage, Some("Prime numbers"), 1),
            skipped(SkipReason::Empty, Some("Nothing"), 1),
            skipped(SkipReason::NotAConversation, None, 1),
        ]
    );
}

#[test]
fn claude() {
    let (conversations, summary) = read("claude.json");
    assert_eq!(summary.formats, [Format::Claude]);
    let [tea, list] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(
        outline(tea),
        "Tea\n \
         user: How long does green tea steep? [notes.txt|80 °C] [leaf.jpg|]\n  \
         assistant<claude-sonnet>: (Green, so short.) Two minutes.\n   \
         assistant<claude-sonnet>: ```json~{\"type\":\"tool_use\",\"name\":\"search\",\"input\":{\"q\":\"tea\"}}~``` \
         ```json~{\"type\":\"text\",\"text\":null}~```\n  \
         assistant<claude-sonnet>: Three minutes at most.*"
    );
    assert!(tea.is_pinned);
    assert_eq!(tea.folder.as_deref(), Some("Drinks"));
    assert_eq!(tea.updated_ms, 1_709_287_500_500);
    // Its two messages of one id are two.
    assert_eq!(outline(list), "(untitled)\n user: Hello\n  assistant: Good day\n  user: 42*");
    assert_eq!(summary.skipped, [skipped(SkipReason::AttachmentContent, Some("Tea"), 1)]);
}

#[test]
fn open_webui() {
    let (conversations, summary) = read("open-webui.json");
    assert_eq!(summary.formats, [Format::OpenWebUi]);
    let [rivers, list] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(
        outline(rivers),
        "Rivers\n \
         user: Longest river? [map.pdf|Nile]\n  \
         assistant<llama3>: The Amaz…\n  \
         assistant<qwen3:4b>: (Nile or Amazon) The Nile.*"
    );
    let answer = rivers.messages.iter().find(|it| it.model.as_deref() == Some("qwen3:4b")).unwrap();
    assert_eq!(answer.parts[0].data.as_ref().unwrap()["elapsed_ms"], 4000);
    assert!(rivers.is_pinned);
    assert_eq!(outline(list), "List\n user: a\n  assistant<m>: b*");
    assert_eq!(summary.skipped, []);
}

#[test]
fn llama_cpp() {
    let (conversations, summary) = read("llama-cpp.json");
    assert_eq!(summary.formats, [Format::LlamaCpp]);
    let [snow] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(
        outline(snow),
        "Snow\n \
         user: Why is snow white? [snow.md|crystals] [s.png|]\n  \
         assistant: It scatters light.\n  \
         assistant<snow-1b>: (Light…) All colours. ```json~[{\"id\":\"1\"}]~```*"
    );
    assert_eq!((snow.created_ms, snow.updated_ms), (1_750_000_000_000, 1_750_000_005_000));

    let (conversations, summary) = read("llama-cpp.jsonl");
    assert_eq!(summary.formats, [Format::LlamaCpp]);
    let outlines: Vec<String> = conversations.iter().map(outline).collect();
    assert_eq!(
        outlines,
        [
            "Lines\n user: One\n  assistant: Two ```json~[{\"id\":\"t\"}]~```*",
            "More\n user: Three*"
        ]
    );
}

#[test]
fn lm_studio() {
    let (conversations, summary) = read("lm-studio.json");
    assert_eq!(summary.formats, [Format::LmStudio]);
    let [bread] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(
        outline(bread),
        "Bread\n \
         system: You bake.\n  \
         user: How much salt? [1735689600001 - loaf.png|]\n   \
         assistant<gpt-oss-20b>: A spoon.\n   \
         assistant<qwen3-4b>: (Two percent.) 10 g for 500 g. \
         ```json~{\"type\":\"toolCallRequest\",\"name\":\"scale\"}~```\n    \
         user: Thanks*"
    );
}

#[test]
fn openai() {
    let (conversations, summary) = read("openai.json");
    assert_eq!(summary.formats, [Format::OpenAi]);
    let [cat] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(
        outline(cat),
        "(untitled)\n \
         system: Be brief.\n  \
         user: Look [|]\n   \
         assistant<gpt-4o-mini>: ```json~[{\"id\":\"c1\",\"type\":\"function\",\
         \"function\":{\"name\":\"look\",\"arguments\":\"{}\"}}]~```\n    \
         tool: a cat\n     \
         assistant<gpt-4o-mini>: (It purrs.) A cat.*"
    );
    let outlines = |name| read(name).0.iter().map(outline).collect::<Vec<String>>();
    assert_eq!(
        outlines("openai-conversations.jsonl"),
        ["(untitled)\n user: 1\n  assistant: one*", "(untitled)\n user: 2\n  assistant: two*"]
    );
    assert_eq!(
        outlines("openai-messages.jsonl"),
        ["(untitled)\n user: a\n  assistant<m>: b\n   user: c*"]
    );
    let (conversations, _) =
        read_text(r#"[{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]"#).unwrap();
    assert_eq!(outline(&conversations[0]), "(untitled)\n user: x\n  assistant: y*");
}

#[test]
fn lilims() {
    let (conversations, summary) = read("lilims.json");
    assert_eq!(summary.formats, [Format::Lilims]);
    let [ours, empty, hostile] = &conversations[..] else { panic!("{conversations:?}") };
    assert_eq!(outline(ours), "Ours\n user: Hi\n  assistant<smollm2>: (hm) Hello*");
    assert_eq!(ours.messages[1].error.as_ref().unwrap()["code"], "out-of-memory");
    assert_eq!(ours.messages[1].state, State::Failed);
    assert!(empty.messages.is_empty());
    // An id that is not one of ours may not become the name of a file.
    assert_eq!(hostile.id.len(), 32);
    assert!(hostile.id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(outline(hostile), "(untitled)\n assistant: {\"kind\":\"hologram\",\"n\":1} plain");

    let mut writer = JsonWriter::new(Vec::new()).unwrap();
    conversations.iter().for_each(|it| writer.write(it).unwrap());
    let written = String::from_utf8(writer.finish().unwrap()).unwrap();
    let original = std::fs::read_to_string(data("lilims.json")).unwrap();
    assert_eq!(
        written.lines().take(3).collect::<Vec<_>>(),
        original.lines().take(3).collect::<Vec<_>>()
    );
    assert_eq!(read_text(&written).unwrap().0, conversations);
}

#[test]
fn the_same_file_gives_the_same_ids_and_ids_ascend() {
    for name in ["chatgpt.json", "claude.json", "open-webui.json", "openai.json", "lm-studio.json"]
    {
        let (conversations, again) = (read(name).0, read(name).0);
        assert_eq!(conversations, again, "{name}");
        for conversation in conversations {
            assert!(conversation.messages.is_sorted_by_key(|message| &message.id), "{name}");
        }
    }
}

#[test]
fn what_is_no_export_is_said_to_be_none() {
    for text in [
        "",
        "  \n",
        "hello",
        "GGUF\u{3}",
        "{}",
        "[1, 2]",
        "[{\"a\": 1}]",
        "\"text\"",
        "{\"messages\": 3}",
    ] {
        assert!(
            matches!(read_text(text), Err(Error::UnknownFormat)),
            "{text:?}: {:?}",
            read_text(text)
        );
    }
    let (conversations, summary) = read_text("[]").unwrap();
    assert!(conversations.is_empty() && summary.skipped.is_empty());
    assert!(matches!(read_text("[{\"mapping\": {\"a\""), Err(Error::Damaged { line: 1, .. })));
    let newer = r#"{"format": "lilims-conversations", "version": 2, "conversations": []}"#;
    assert!(matches!(read_text(newer), Err(Error::NewerVersion { found: 2, known: 1 })));
    assert!(matches!(
        read_file(&data(""), &Limits::default(), &mut |_, _| ControlFlow::Continue(())),
        Err(Error::File(lilims_files::Error::NotRegular { .. }))
    ));
}

#[test]
fn a_file_that_was_cut_gives_what_comes_before() {
    let text = std::fs::read_to_string(data("claude.json")).unwrap();
    let cut = &text[..text.find("Good day").unwrap()];
    let (conversations, summary) = read_text(cut).unwrap();
    assert_eq!(conversations.len(), 1);
    assert_eq!(summary.skipped.last(), Some(&skipped(SkipReason::Damaged, None, 1)));
}

#[test]
fn the_callback_ends_the_reading() {
    let mut n_conversations = 0;
    let summary = read_file(&data("claude.json"), &Limits::default(), &mut |_, _| {
        n_conversations += 1;
        ControlFlow::Break(())
    });
    assert!(summary.unwrap().is_stopped);
    assert_eq!(n_conversations, 1);
}
