//! Questions from a door to the database and back, with a stand-in for the model.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use lilims_ipc::{
    Command, Conversation, ConversationChange, ConversationId, ConversationList, Finish, Message,
    MessageId, MessageState, ModelStatus, Overflow, Problem, Reply, Role,
};
use lilims_store::Store;
use parking_lot::Mutex;

use super::*;
use crate::database::Database;
use crate::model_host::{Idle, Loaded, Target};
use crate::parrot::{all, loaded, sink, wait_for};

/// A model that stays loaded.
const NEVER: Idle = Idle { after: Duration::MAX, is_short: || false };

struct Door {
    host: ModelHost,
    conversations: Conversations,
    statuses: Receiver<ModelStatus>,
}

impl Door {
    fn open(idle: Idle, mut load: impl FnMut() -> Result<Loaded, Error> + Send + 'static) -> Self {
        let conversations = Conversations::new(std::sync::Arc::new(|_| {}));
        conversations.provide(Database::temporary(None));
        let (sender, statuses) = channel();
        let sender = Mutex::new(sender);
        let notify = move |status: &ModelStatus| {
            let sender = sender.lock();
            let _ = sender.send(status.clone());
        };
        let host = ModelHost::start(
            Target::default,
            notify,
            move |_: &Target, _: &dyn Fn(String)| load(),
            idle,
            |_, _| {},
            None,
        );
        Self { host, conversations, statuses }
    }

    fn ready() -> Self {
        Self::open(NEVER, loaded)
    }

    fn call(&self, command: Command) -> Reply {
        super::super::conversations::call(&self.host, &self.conversations, command).unwrap()
    }

    fn conversation(&self) -> Conversation {
        self.opened(Command::OpenConversation { conversation: None, message: None })
    }

    /// The conversation that a command opens.
    fn opened(&self, command: Command) -> Conversation {
        match self.call(command) {
            Reply::Conversation(conversation) => conversation,
            reply => panic!("{reply:?}"),
        }
    }

    fn all(&self) -> ConversationList {
        match self.call(Command::Conversations) {
            Reply::Conversations(list) => list,
            reply => panic!("{reply:?}"),
        }
    }

    /// The titles of all conversations.
    fn list(&self) -> Vec<String> {
        self.all().conversations.into_iter().map(|head| head.title.unwrap_or_default()).collect()
    }

    fn ask(&self, request: Request) -> Result<Receiver<Event>, Error> {
        let (sink, events) = sink();
        ask(&self.host, &self.conversations, &request, |_| None, sink).map(|()| events)
    }

    /// Asks after the last message, and waits for the answer.
    fn say(&self, text: &str) -> Vec<Event> {
        all(&self.ask(next(&self.conversation(), text)).unwrap())
    }

    /// Stores a question without having it answered.
    fn put(&self, request: &Request) -> Asked {
        self.conversations.ask(request, &self.host.token_counter()).unwrap()
    }

    fn store(&self) -> &Store {
        self.conversations.store().unwrap()
    }
}

fn next(conversation: &Conversation, text: &str) -> Request {
    let parent = conversation.messages.last().map(|message| message.id.clone());
    Request {
        conversation: conversation.id.clone(),
        parent,
        text: Some(text.to_owned()),
        attachments_of: None,
    }
}

fn contents(messages: &[Message]) -> Vec<(Role, &str)> {
    messages.iter().map(|message| (message.role, message.content.as_str())).collect()
}

fn failure(result: Result<Receiver<Event>, Error>) -> Problem {
    result.expect_err("it was refused").problem
}

#[test]
fn a_question_and_its_answer_are_stored() {
    let door = Door::ready();
    assert!(door.conversation().messages.is_empty());
    let events = door.say("hi");
    let Some(Event::Asked { question, answer }) = events.first() else { panic!("{events:?}") };
    let Some(Event::Done { outcome, view }) = events.last() else { panic!("{events:?}") };
    let conversation = door.conversation();
    assert_eq!(contents(&conversation.messages), [(Role::User, "hi"), (Role::Assistant, "hello")]);
    assert_eq!((&conversation.messages[0].id, &conversation.messages[1].id), (question, answer));
    let state = MessageState::Done { outcome: Some(*outcome) };
    assert_eq!(conversation.messages[1].state, state);
    assert_eq!(conversation.view.as_ref(), Some(view));
    assert_eq!(conversation.unsaved, None);
    let stored = door.store().message(&(&*answer.0).into()).unwrap().unwrap();
    assert_eq!(stored.model.as_deref(), Some("Parrot"));
    assert_eq!(stored.settings, Some(serde_json::json!({})));
}

#[test]
fn an_answer_again_is_another_version_and_unanswered_questions_are_not_read() {
    let door = Door::ready();
    door.say("one");
    door.say("silent");
    let conversation = door.conversation();
    let request = next(&conversation, "three");
    let asked = door.put(&request);
    let expected = [(Role::User, "one"), (Role::Assistant, "hello"), (Role::User, "three")];
    assert_eq!(contents(&asked.question.messages), expected);

    let id = conversation.messages[0].id.clone();
    let again = Request { parent: Some(id.clone()), text: None, ..request };
    let events = all(&door.ask(again).unwrap());
    let Some(Event::Asked { question, .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(*question, id);
    assert_eq!(contents(&door.conversation().messages), expected[..2]);
    assert_eq!(door.store().siblings(&(&*conversation.messages[1].id.0).into()).unwrap().len(), 2);
}

#[test]
fn failed_and_stopped_answers_are_stored_as_such() {
    let door = Door::ready();
    door.say("panic");
    let last = door.conversation().messages.pop().unwrap();
    assert_eq!(last.content, "hello");
    let MessageState::Failed { error } = last.state else { panic!("{last:?}") };
    assert_eq!(error.problem, Problem::Internal);
    let events = door.ask(next(&door.conversation(), "wait")).unwrap();
    events.iter().find(|event| matches!(event, Event::Text { .. })).unwrap();
    assert_eq!(failure(door.ask(next(&door.conversation(), "hi"))), Problem::Answering);
    door.host.stop();
    all(&events);
    let last = door.conversation().messages.pop().unwrap();
    let MessageState::Stopped { outcome: Some(outcome) } = last.state else { panic!("{last:?}") };
    assert_eq!(outcome.finish, Finish::Stopped);
}

#[test]
fn what_cannot_be_asked_is_refused_and_the_next_question_works() {
    let door = Door::ready();
    let conversation = door.conversation();
    assert_eq!(failure(door.ask(next(&conversation, " \n"))), Problem::NoQuestion);
    let nothing = Request { text: None, ..next(&conversation, "") };
    assert_eq!(failure(door.ask(nothing)), Problem::NoQuestion);
    let gone = Request { conversation: ConversationId("x".into()), ..next(&conversation, "hi") };
    assert_eq!(failure(door.ask(gone)), Problem::ConversationGone);
    let orphan = Request { parent: Some(MessageId("x".into())), ..next(&conversation, "hi") };
    assert_eq!(failure(door.ask(orphan)), Problem::ConversationGone);
    assert!(matches!(door.say("hi").last(), Some(Event::Done { .. })));
}

#[test]
fn a_conversation_is_deleted_for_good_with_no_model_loaded() {
    for is_loaded in [true, false] {
        let idle = Idle { after: Duration::ZERO, is_short: || false };
        let door = Door::open(idle, move || match is_loaded {
            true => loaded(),
            false => Err(Problem::ModelDamaged.into()),
        });
        let conversation = door.conversation();
        if is_loaded {
            door.say("hi");
            wait_for(&door.statuses, |status| matches!(status, ModelStatus::Unloaded { .. }));
        } else {
            wait_for(&door.statuses, |status| matches!(status, ModelStatus::Failed { .. }));
            door.put(&next(&conversation, "hi"));
        }
        let id = (&*conversation.id.0).into();
        let session = door.store().session_path(&id);
        std::fs::create_dir_all(session.parent().unwrap()).unwrap();
        std::fs::write(&session, "read").unwrap();
        door.call(Command::DeleteConversation { conversation: conversation.id });
        let Reply::Conversation(new) = door.call(Command::NewConversation) else { panic!() };
        assert!(new.messages.is_empty());
        assert_eq!(door.conversation().id, new.id);
        assert!(session.exists(), "it can still be restored");
        door.host.shut_down();
        door.conversations.purge_all().unwrap();
        assert_eq!(door.store().conversation(&id).unwrap(), None, "loaded before: {is_loaded}");
        assert!(!session.exists());
    }
}

#[test]
fn a_conversation_can_be_deleted_while_its_answer_is_written() {
    let door = Door::ready();
    let conversation = door.conversation();
    let events = door.ask(next(&conversation, "wait")).unwrap();
    events.iter().find(|event| matches!(event, Event::Text { .. })).unwrap();
    door.call(Command::DeleteConversation { conversation: conversation.id });
    let events = all(&events);
    let Some(Event::Done { outcome, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(outcome.finish, Finish::Stopped);
    assert!(door.conversation().messages.is_empty());
    assert!(matches!(door.say("hi").last(), Some(Event::Done { .. })));
}

#[test]
fn an_edit_is_another_version_and_a_fork_a_conversation_of_its_own() {
    let door = Door::ready();
    door.say("hi");
    let first = door.conversation();
    let answer = first.messages[1].id.clone();
    let command = Command::EditMessage { message: answer.clone(), text: "Good day".into() };
    let edited = door.opened(command);
    assert_eq!(contents(&edited.messages), [(Role::User, "hi"), (Role::Assistant, "Good day")]);
    let new = edited.messages[1].id.clone();
    assert_eq!(edited.messages[1].versions, [answer.clone(), new.clone()]);
    assert_eq!(edited.messages[0].versions, []);
    assert!(matches!(door.say("next").last(), Some(Event::Done { .. })));

    let fork = door.opened(Command::ForkConversation { message: new });
    assert_ne!(fork.id, first.id);
    assert_eq!(contents(&fork.messages), [(Role::User, "hi"), (Role::Assistant, "Good day")]);
    let open =
        Command::OpenConversation { conversation: Some(first.id.clone()), message: Some(answer) };
    assert_eq!(contents(&door.opened(open).messages), contents(&first.messages));
    let map = door.call(Command::BranchMap { conversation: first.id });
    let Reply::BranchMap(map) = map else { panic!("{map:?}") };
    let shown: Vec<_> = map.iter().map(|node| (&*node.excerpt, node.is_shown)).collect();
    let expected =
        [("hi", true), ("hello", true), ("Good day", false), ("next", false), ("hello", false)];
    assert_eq!(shown, expected);
}

#[test]
fn an_answer_goes_on_where_it_ended_and_a_copy_does_where_something_follows() {
    let door = Door::ready();
    door.say("hi");
    let first = door.conversation();
    let answer = first.messages[1].id.clone();
    let more = Request { parent: Some(answer.clone()), text: None, ..next(&first, "") };
    let asked = door.put(&more);
    let read = [(Role::User, "hi"), (Role::Assistant, "hello")];
    assert_eq!(contents(&asked.question.messages), read);
    asked.record.finish(lilims_store::Ending::of(lilims_store::MessageState::Stopped)).unwrap();
    all(&door.ask(more.clone()).unwrap());
    let longer = door.conversation();
    assert_eq!(longer.messages[1].id, answer);
    assert_eq!(longer.messages[1].content, "hellohello");
    door.say("next");
    all(&door.ask(more).unwrap());
    let copy = door.conversation();
    assert_eq!(copy.messages.len(), 2);
    assert_eq!(copy.messages[1].content, "hellohellohello");
    assert_eq!(copy.messages[1].versions.len(), 2);
}

#[test]
fn what_was_deleted_is_restored_until_it_is_purged() {
    let door = Door::ready();
    door.say("hi");
    let conversation = door.conversation();
    let leaf = conversation.messages[1].id.clone();
    let question = conversation.messages[0].id.clone();
    let left = door.opened(Command::DeleteMessage { message: question.clone() });
    assert!(left.messages.is_empty());
    let restored = door.opened(Command::RestoreMessage { message: question, leaf });
    assert_eq!(restored.messages, conversation.messages);

    door.call(Command::DeleteConversation { conversation: conversation.id.clone() });
    assert_eq!(door.list(), [] as [&str; 0]);
    door.call(Command::RestoreConversation { conversation: conversation.id.clone() });
    assert_eq!(door.list(), ["hi"]);
    door.call(Command::DeleteConversation { conversation: conversation.id.clone() });
    assert_eq!(door.conversations.purge(0).unwrap(), []);
    assert_eq!(door.conversations.purge(u64::MAX).unwrap()[0].0, conversation.id);
    let late = door.conversations.restore(&conversation.id).unwrap_err();
    assert_eq!(late.problem, Problem::ConversationGone);
    door.say("again");
    door.call(Command::DeleteAllConversations);
    assert_eq!(door.list(), [] as [&str; 0]);
}

#[test]
fn conversations_are_listed_renamed_found_and_put_into_folders() {
    let door = Door::ready();
    door.say("Where is\nthe needle?");
    assert_eq!(door.list(), ["Where is the needle?"]);
    let id = door.conversation().id;
    let change = |change| {
        door.call(Command::ChangeConversation { conversation: id.clone(), change });
    };
    change(ConversationChange::Title(" My \n title ".into()));
    change(ConversationChange::Pinned(true));
    door.call(Command::CreateConversationFolder { name: "Work".into() });
    let folder = door.all().folders.remove(0);
    change(ConversationChange::Folder(Some(folder.id.clone())));
    let head = door.all().conversations.remove(0);
    assert_eq!((head.title.as_deref(), head.is_pinned), (Some("My title"), true));
    assert_eq!(head.folder, Some(folder.id.clone()));
    door.call(Command::RemoveConversationFolder { folder: folder.id });
    assert_eq!(door.all().conversations[0].folder, None);

    let Reply::SearchHits(hits) = door.call(Command::SearchConversations { query: "need".into() })
    else {
        panic!()
    };
    let [hit] = &*hits else { panic!("{hits:?}") };
    assert_eq!((&hit.conversation, hit.title.as_deref()), (&id, Some("My title")));
    let found: Vec<_> = hit.excerpt.iter().filter(|it| it.is_match).map(|it| &*it.text).collect();
    assert_eq!(found, ["needle"]);
}

#[test]
fn a_draft_is_kept_until_it_is_sent() {
    let door = Door::ready();
    let conversation = door.conversation();
    let text = "half a quest".to_owned();
    door.call(Command::SetDraft { conversation: conversation.id.clone(), text });
    assert_eq!(door.conversation().draft, "half a quest");
    door.say("hi");
    assert_eq!(door.conversation().draft, "");
}

#[test]
fn overflow_is_kept() {
    let door = Door::ready();
    let id = door.conversation().id;
    door.call(Command::SetOverflow { conversation: id, overflow: Overflow::Summarise });
    assert_eq!(door.conversation().overflow, Overflow::Summarise);
}
