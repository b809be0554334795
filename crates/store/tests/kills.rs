//! A process that is killed while it writes an answer loses nothing that it had written down.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lilims_store::{
    ConversationChange, Delta, MessageState, NewMessage, Part, PartKind, Role, Store,
};

/// The variable by which the child knows its job: the data folder.
const JOB: &str = "LILIMS_STORE_TEST_CHILD";
const N_KILLS: u64 = 12;

/// What the child does: writes an answer of numbered words for ever, and says each that is written down.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(data) = std::env::var(JOB) else { return };
    let store = Store::open(Path::new(&data)).unwrap();
    let id = store.create_conversation(&ConversationChange::default()).unwrap();
    let question = NewMessage::text(&id, None, Role::User, "Count.");
    let question = store.add_message(&question).unwrap();
    let new = NewMessage::empty(&id, Some(&question), Role::Assistant);
    let answer = store.begin_message(&new).unwrap();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "\nanswer {answer}").unwrap();
    for n in 0.. {
        let kind = if n < 5 { PartKind::Reasoning } else { PartKind::Text };
        let text = format!("w{n} ");
        store.append(&answer, &[Delta { kind, text: &text, data: None }]).unwrap();
        writeln!(stdout, "wrote {n}").unwrap();
        stdout.flush().unwrap();
    }
}

#[test]
fn a_killed_process_loses_no_word_of_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    for kill in 0..N_KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
            .env(JOB, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let answer = lines.find_map(|line| line.strip_prefix("answer ").map(str::to_owned));
        let answer = answer.unwrap();
        // A different number of words each time.
        let is_enough =
            |line: &String| line.strip_prefix("wrote ") == Some(&*(kill * 7).to_string());
        assert!(lines.by_ref().any(|line| is_enough(&line)));
        std::thread::sleep(Duration::from_micros(kill * 311));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = lines.filter_map(|line| line.strip_prefix("wrote ")?.parse().ok());
        let last: u64 = said.last().unwrap_or(kill * 7);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.restored(), None);
        let message = store.message(&answer.as_str().into()).unwrap().unwrap();
        assert_eq!(message.state, MessageState::Stopped);
        let text: String = message.parts.iter().map(|part| part.text.as_str()).collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.len() as u64 > last, "{} of {last} words", words.len());
        let are_whole = words.iter().enumerate().all(|(n, word)| *word == format!("w{n}"));
        assert!(are_whole, "{text}");
        let kinds: Vec<_> = message.parts.iter().map(|part: &Part| part.kind).collect();
        let both = [PartKind::Reasoning, PartKind::Text];
        assert!(both.starts_with(&kinds), "{kinds:?}");
        if last > 5 {
            let hits = store.search(&format!("w{last}"), None, 100).unwrap();
            assert!(hits.iter().any(|hit| hit.message == message.id));
        }
    }
}
