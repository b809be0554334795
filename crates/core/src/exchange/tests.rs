//! Exports and imports on real databases: the identity, the branches for people, the reports.

use std::fs;

use lilims_ipc::Problem;
use lilims_store::{
    ConversationChange, Message, MessageState, NewMessage, Part, Role, WholeConversation,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

static NEVER: AtomicBool = AtomicBool::new(false);

struct Fixture {
    archive: ConversationArchive,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        Self { archive: ConversationArchive::new(Arc::new(store)), folder }
    }

    fn store(&self) -> &Store {
        &self.archive.store
    }

    fn export(&self, format: ExportFormat) -> (std::path::PathBuf, u64) {
        let out = self.folder.path().join("export");
        let n_conversations = self.archive.export(None, None, format, &out).unwrap();
        (out, n_conversations)
    }

    fn import_text(&self, text: &str) -> Result<ImportReport, Error> {
        let path = self.folder.path().join("import");
        fs::write(&path, text).unwrap();
        self.archive.import(&path, &NEVER)
    }

    /// All conversations with what is not the same in another database left out.
    fn everything(&self) -> Vec<WholeConversation> {
        let ids = self.archive.list().unwrap().into_iter().map(|it| ConversationId::from(it.id));
        let whole = ids.map(|id| {
            let mut whole = self.store().whole_conversation(&id).unwrap().unwrap();
            whole.conversation.folder = None;
            whole
        });
        whole.collect()
    }
}

/// JSON of a caller, as it is stored: never null.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no infinity", |it| it.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn part() -> impl Strategy<Value = Part> {
    let kind =
        prop::sample::select(vec![PartKind::Text, PartKind::Reasoning, PartKind::Attachment]);
    (kind, any::<String>(), prop::option::of(value())).prop_map(|(kind, text, data)| Part {
        kind,
        text,
        data,
    })
}

/// A message, and which of those before it it follows.
fn message() -> impl Strategy<Value = (Option<Index>, Message)> {
    let roles = vec![Role::System, Role::User, Role::Assistant, Role::Tool];
    let states = vec![MessageState::Done, MessageState::Stopped, MessageState::Failed];
    let json = || prop::option::weighted(0.3, value());
    (
        prop::option::weighted(0.8, any::<Index>()),
        prop::sample::select(roles),
        0_u64..4_000_000_000_000,
        prop::option::of("[^\0]{1,9}"),
        (json(), json(), json()),
        prop::sample::select(states),
        prop::collection::vec(part(), 0..4),
    )
        .prop_map(
            |(parent, role, created_ms, model, (settings, stats, error), state, parts)| {
                let message = Message {
                    id: store::MessageId::new(),
                    conversation: ConversationId::from(""),
                    parent: None,
                    position: 0,
                    role,
                    created_ms,
                    model,
                    settings,
                    stats,
                    state,
                    error,
                    parts,
                };
                (parent, message)
            },
        )
}

fn conversation() -> impl Strategy<Value = WholeConversation> {
    (
        prop::collection::vec(message(), 1..12),
        prop::option::of(any::<String>()),
        prop::option::of("[a-c]{1,3}"),
        (0_u64..4_000_000_000_000, 0_u64..4_000_000_000_000),
        (any::<bool>(), any::<bool>()),
        prop::option::of(any::<String>()),
        prop::option::of(value()),
        any::<Index>(),
    )
        .prop_map(|(drafts, title, folder_name, times, flags, overflow, settings, leaf)| {
            let id = ConversationId::new();
            let mut messages: Vec<Message> = Vec::new();
            for (parent, message) in drafts {
                let parent = parent.filter(|_| !messages.is_empty());
                let parent = parent.map(|parent| parent.get(&messages).id.clone());
                messages.push(Message { parent, conversation: id.clone(), ..message });
            }
            let current_leaf = Some(leaf.get(&messages).id.clone());
            let title_origin = title.as_ref().map(|_| store::TitleOrigin::Model);
            let conversation = store::Conversation {
                id,
                title,
                title_origin,
                folder: None,
                created_ms: times.0,
                updated_ms: times.1,
                is_pinned: flags.0,
                is_archived: flags.1,
                current_leaf,
                overflow,
                settings,
                view: None,
            };
            WholeConversation { conversation, folder_name, messages }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_export_that_is_imported_is_the_same(
        conversations in prop::collection::vec(conversation(), 0..4),
    ) {
        let (from, to) = (Fixture::new(), Fixture::new());
        for conversation in &conversations {
            from.store().insert_conversation(conversation).unwrap();
        }
        let n_messages: usize = conversations.iter().map(|it| it.messages.len()).sum();
        let (file, n_exported) = from.export(ExportFormat::Json);
        prop_assert_eq!(n_exported, conversations.len() as u64);
        let report = to.archive.import(&file, &NEVER).unwrap();
        let expected = ImportReport {
            conversations: n_exported,
            messages: n_messages as u64,
            skipped: Vec::new(),
        };
        prop_assert_eq!(report, expected);
        prop_assert_eq!(to.everything(), from.everything());
        let (again, _) = to.export(ExportFormat::Json);
        prop_assert_eq!(fs::read_to_string(again).unwrap(), fs::read_to_string(&file).unwrap());
        // A second import adds nothing.
        let report = to.archive.import(&file, &NEVER).unwrap();
        prop_assert_eq!((report.conversations, report.messages), (0, 0));
        prop_assert_eq!(to.everything(), from.everything());
    }
}

/// A question with two answers, of which the first is shown.
fn talk(fixture: &Fixture) -> ConversationId {
    let store = fixture.store();
    let id = store.create_conversation(&ConversationChange::default()).unwrap();
    let question = NewMessage::text(&id, None, Role::User, "Is the *river* long?");
    let question = store.add_message(&question).unwrap();
    let say = |text: &str| {
        store.add_message(&NewMessage::text(&id, Some(&question), Role::Assistant, text)).unwrap()
    };
    let shown = say("Very long.");
    say("Not at all.");
    store.set_current_leaf(&id, Some(&shown)).unwrap();
    id
}

#[test]
fn a_branch_is_written_as_markdown_and_as_text() {
    let fixture = Fixture::new();
    talk(&fixture);
    let (file, _) = fixture.export(ExportFormat::Markdown);
    assert_eq!(
        fs::read_to_string(file).unwrap(),
        "# Is the *river* long?\n\n## User\n\nIs the *river* long?\n\n## Assistant\n\nVery long.\n\n"
    );
    let (file, _) = fixture.export(ExportFormat::Text);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("User:\nIs the *river* long?\n\nAssistant:\nVery long.\n\n"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read the export");
    }
}

#[test]
fn conversations_are_listed_searched_and_shown() {
    let fixture = Fixture::new();
    let id = talk(&fixture);
    let listed = fixture.archive.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].title.as_deref(), Some("Is the *river* long?"));
    let found = fixture.archive.search("very", 9).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].conversation, id.to_string());
    let shown = fixture.archive.show(id.as_str()).unwrap();
    let texts: Vec<_> = shown.messages.iter().map(|it| (it.role, it.content.as_str())).collect();
    assert_eq!(texts, [("user", "Is the *river* long?"), ("assistant", "Very long.")]);
    let error = fixture.archive.show("nowhere").unwrap_err();
    assert_eq!(error.problem(), Problem::ConversationGone);
    let out = fixture.folder.path().join("none");
    assert!(fixture.archive.export(Some("nowhere"), None, ExportFormat::Json, &out).is_err());
    assert!(!out.exists());
}

#[test]
fn an_import_reports_what_it_took_and_what_not() {
    let fixture = Fixture::new();
    let text = json!([
        {"uuid": "c", "name": "", "chat_messages": [
            {"uuid": "m", "sender": "human", "text": "What is\nthis?"},
            {"uuid": "n", "sender": "assistant", "text": "", "content": [
                {"type": "text", "text": "That."}, {"type": "image"}]},
        ]},
        {"uuid": "d", "name": "Empty", "chat_messages": []},
    ])
    .to_string();
    let report = fixture.import_text(&text).unwrap();
    assert_eq!((report.conversations, report.messages), (1, 2));
    let reasons = |report: &ImportReport| -> Vec<(ItemSkipReason, u64)> {
        report.skipped.iter().map(|it| (it.reason, it.count)).collect()
    };
    let first = [(ItemSkipReason::AttachmentContent, 1), (ItemSkipReason::Empty, 1)];
    assert_eq!(reasons(&report), first);
    let listed = fixture.archive.list().unwrap();
    assert_eq!(listed[0].title.as_deref(), Some("What is this?"));
    // Once more: nothing is new.
    let report = fixture.import_text(&text).unwrap();
    assert_eq!((report.conversations, report.messages), (0, 0));
    assert_eq!(reasons(&report)[0], (ItemSkipReason::AlreadyHere, 1));
}

#[test]
fn what_cannot_be_imported_has_its_code() {
    let fixture = Fixture::new();
    let file = || "import".to_owned();
    let newer = r#"{"format": "lilims-conversations", "version": 3, "conversations": []}"#;
    for (text, problem) in [
        ("hello", Problem::NotAnExport { file: file() }),
        ("[{\"mapping\": {", Problem::ExportDamaged { file: file() }),
        ("PK\u{3}\u{4} no archive", Problem::ExportDamaged { file: file() }),
        (newer, Problem::ExportNewer { file: file(), found: 3, known: 1 }),
    ] {
        assert_eq!(fixture.import_text(text).unwrap_err().problem(), problem, "{text}");
    }
    let error = fixture.archive.import(fixture.folder.path(), &NEVER).unwrap_err();
    assert!(matches!(error.problem(), Problem::FileUnusable { .. }));
    let cancelled = AtomicBool::new(true);
    let path = fixture.folder.path().join("import");
    fs::write(&path, r#"{"messages": [{"role": "user", "content": "x"}]}"#).unwrap();
    assert!(fixture.archive.import(&path, &cancelled).unwrap_err().is_cancelled());
    assert!(fixture.archive.list().unwrap().is_empty());
}
