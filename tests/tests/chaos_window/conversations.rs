//! What users do with conversations: asking, stopping, editing, branching, deleting, undoing, finding.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lilims_ipc::Command;
use lilims_tests::webdriver::ENTER;

use crate::ledger::{Allowed, letters};
use crate::world::World;

/// Beginnings of questions.
const QUESTIONS: [&str; 6] = [
    "What is gravity?",
    "Tell a long story about an old lighthouse.",
    "Write a list of **ten** fruits, with `code` and formulas like $x^2$.",
    "Wie wird das Wetter morgen? Schreibe etwas über Wolken 🦙.",
    "ما هي عاصمة فرنسا؟",
    "Name the planets and what is known of each, in a table.",
];
/// What a kill may take away of an answer.
const LOSS: Duration = Duration::from_secs(1);
const MESSAGES: &str = "[data-testid=message]";
const ROW: &str = "[data-testid=conversation-row]";
/// The script that returns the id and the role of the message with a control.
const MESSAGE_OF: &str = "
    const all = Array.from(document.querySelectorAll(arguments[0])).filter(it => !it.disabled);
    const it = all[arguments[1] % all.length]?.closest('[data-testid=message]');
    return it?.dataset.id ? [it.dataset.id, it.dataset.role] : null";

impl World {
    /// A question that is asked once only.
    fn question(&self, index: u64) -> String {
        let text = QUESTIONS[(index % QUESTIONS.len() as u64) as usize];
        format!("{text} (chaos {})", self.n)
    }

    /// Types a question and presses Enter.
    pub(crate) fn send(&self, question: &str) -> Result<()> {
        let window = self.window()?;
        // What was typed before a kill is still there.
        window.paste("composer-input", "")?;
        if question.is_ascii() {
            window.type_into("composer-input", question)?;
        } else {
            // The driver has no keys for all characters.
            window.paste("composer-input", question)?;
        }
        window.wait("what was typed", || Ok((window.draft()? == question).then_some(())))?;
        window.type_into("composer-input", ENTER)
    }

    /// Asks a question; returns once it is acknowledged.
    pub(crate) fn ask(&mut self, index: u64) -> Result<String> {
        self.wait_for_end()?;
        self.wait_for_model()?;
        let question = self.question(index);
        self.send(&question)?;
        self.wait_for_question(&question)?;
        let questions = vec![question.clone()];
        self.compare(&Allowed { questions, n_answers: 1, must: true, ..Allowed::default() })?;
        Ok(question)
    }

    /// Waits until the page shows a question as stored.
    fn wait_for_question(&self, question: &str) -> Result<()> {
        self.window()?.wait(question, || Ok(self.is_acknowledged(question)?.then_some(())))
    }

    /// Whether the page shows a question as stored.
    fn is_acknowledged(&self, question: &str) -> Result<bool> {
        Ok(self.shown()?.iter().any(|it| it.is_question && it.id.is_some() && it.text == question))
    }

    /// Stops the answer that is being written, if there is one.
    pub(crate) fn stop(&self) -> Result<String> {
        if !self.press("[data-testid=stop]", 0)? {
            return Ok("no answer".to_owned());
        }
        self.wait_for_end()?;
        Ok("stopped".to_owned())
    }

    /// The message with a control, as its id and whether it is a question.
    fn message_of(&self, selector: &str, index: u64) -> Result<Option<(String, bool)>> {
        let arguments = [selector.into(), (index % (1 << 32)).into()];
        let found = self.window()?.session().run(MESSAGE_OF, &arguments)?;
        let text = |at: usize| found[at].as_str().map(str::to_owned);
        Ok(text(0).zip(text(1)).map(|(id, role)| (id, role == "user")))
    }

    /// Edits a question or an answer.
    pub(crate) fn edit(&mut self, index: u64) -> Result<String> {
        self.wait_for_end()?;
        self.wait_for_model()?;
        let controls = "[data-testid=edit], [data-testid=edit-answer]";
        let Some((_, is_question)) = self.message_of(controls, index)? else {
            return Ok("no message".to_owned());
        };
        self.press(controls, index)?;
        let text = format!("Edited (chaos {})", self.n);
        let window = self.window()?;
        window.wait_for("message-field")?;
        window.paste("message-field", &text)?;
        self.press_soon("edit-save")?;
        window.wait("the edited message", || {
            let is_it = |it: &crate::world::Shown| {
                it.is_question == is_question && it.id.is_some() && it.text == text
            };
            Ok(self.shown()?.iter().any(is_it).then_some(()))
        })?;
        let questions = if is_question { vec![text.clone()] } else { Vec::new() };
        self.compare(&Allowed { questions, n_answers: 1, must: true, ..Allowed::default() })?;
        ensure!(self.ledger.messages().any(|it| it.text == text), "{text} was not stored");
        Ok(if is_question { "question" } else { "answer" }.to_owned())
    }

    /// Has an answer written again.
    pub(crate) fn again(&mut self, index: u64) -> Result<String> {
        self.wait_for_end()?;
        self.wait_for_model()?;
        if !self.press("[data-testid=regenerate], [data-testid=retry]", index)? {
            return Ok("no answer".to_owned());
        }
        self.wait_for_new("another answer")?;
        self.compare(&Allowed { n_answers: 1, must: true, ..Allowed::default() })?;
        Ok(String::new())
    }

    /// Waits until the page shows a message that is not known.
    fn wait_for_new(&self, what: &str) -> Result<()> {
        self.window()?.wait(what, || {
            let is_known = |id: &String| self.ledger.messages().any(|it| it.id == *id);
            let shown = self.shown()?;
            let is_new = shown.iter().any(|it| it.id.as_ref().is_some_and(|id| !is_known(id)));
            Ok(is_new.then_some(()))
        })
    }

    /// Has the model write more of the last answer.
    pub(crate) fn go_on(&mut self) -> Result<String> {
        self.wait_for_end()?;
        self.wait_for_model()?;
        let last = self.shown()?.pop().filter(|it| !it.is_question).and_then(|it| it.id);
        let Some(last) = last else { return Ok("no answer".to_owned()) };
        let menu = format!("{MESSAGES}[data-id='{last}'] [data-testid=more]");
        self.press(&menu, 0)?;
        self.window()?.wait_for("menu")?;
        if !self.press("[data-testid=continue]", 0)? {
            self.press(".menu-scrim", 0)?;
            return Ok("not possible".to_owned());
        }
        // It is open at once and ends some time.
        self.wait_for_end()?;
        self.compare(&Allowed { n_answers: 1, grows: Some(last), ..Allowed::default() })?;
        Ok(String::new())
    }

    /// Shows another version of a message.
    pub(crate) fn show_version(&mut self, index: u64) -> Result<String> {
        self.wait_for_end()?;
        let arrows = "[data-testid=version-before], [data-testid=version-after]";
        let Some((before, _)) = self.message_of(arrows, index)? else {
            return Ok("no versions".to_owned());
        };
        self.press(arrows, index)?;
        self.window()?.wait("the other version", || {
            let is_gone = self.shown()?.iter().all(|it| it.id.as_ref() != Some(&before));
            Ok(is_gone.then_some(()))
        })?;
        Ok(String::new())
    }

    /// Copies a branch to a new conversation.
    pub(crate) fn fork(&mut self, index: u64) -> Result<String> {
        self.wait_for_end()?;
        let n_before = self.ledger.len();
        if !self.press("[data-testid=fork]", index)? {
            return Ok("no message".to_owned());
        }
        self.wait_for_new("the copy")?;
        self.compare(&Allowed { copies: true, ..Allowed::default() })?;
        ensure!(self.ledger.len() > n_before, "the copy was not stored");
        Ok(format!("{} messages", self.ledger.len() - n_before))
    }

    /// Deletes a message with what follows, and restores it if that is wanted.
    pub(crate) fn delete_message(&mut self, index: u64, undo: bool) -> Result<String> {
        self.wait_for_end()?;
        let menus = "[data-testid=more]";
        let Some((id, _)) = self.message_of(menus, index)? else {
            return Ok("no message".to_owned());
        };
        self.press(menus, index)?;
        self.press_soon("delete-message")?;
        self.window()?.wait("the page without the message", || {
            Ok(self.shown()?.iter().all(|it| it.id.as_ref() != Some(&id)).then_some(()))
        })?;
        let removed = self.ledger.delete_message(&id);
        let n_removed = removed.len();
        self.compare(&Allowed::default())?;
        if undo {
            self.press_soon("undo")?;
            self.window()?.wait("the message again", || {
                Ok(self.shown()?.iter().any(|it| it.id.as_ref() == Some(&id)).then_some(()))
            })?;
            self.ledger.restore(removed);
            self.compare(&Allowed::default())?;
        }
        Ok(format!("{n_removed} messages"))
    }

    /// Opens the sidebar where it is closed, and returns the conversations that it shows.
    fn rows(&self) -> Result<Vec<String>> {
        if !self.window()?.exists("sidebar")? {
            self.press_soon("sidebar-toggle")?;
            self.window()?.wait_for("sidebar")?;
        }
        self.attributes(ROW, "data-id")
    }

    /// Deletes a conversation, also while an answer is written in it, and restores it if that is wanted.
    pub(crate) fn delete_conversation(&mut self, index: u64, undo: bool) -> Result<String> {
        let rows = self.rows()?;
        if rows.is_empty() {
            return Ok("no conversation".to_owned());
        }
        let id = rows[(index % rows.len() as u64) as usize].clone();
        let row = format!("{ROW}[data-id='{id}']");
        self.press(&format!("{row} [data-testid=conversation-menu]"), 0)?;
        self.press_soon("delete-conversation")?;
        let window = self.window()?;
        window.wait("the list without the conversation", || {
            Ok((!self.attributes(ROW, "data-id")?.contains(&id)).then_some(()))
        })?;
        let removed = self.ledger.delete_conversation(&id);
        let n_removed = removed.len();
        self.compare(&Allowed::default())?;
        if undo {
            self.press_soon("undo")?;
            // It is opened, which closes the sidebar of a narrow window.
            self.window()?.wait("the conversation in the list", || {
                Ok(self.rows()?.contains(&id).then_some(()))
            })?;
            self.ledger.restore(removed);
            self.compare(&Allowed::default())?;
        }
        Ok(format!("{n_removed} messages"))
    }

    /// Opens a conversation.
    pub(crate) fn open_conversation(&self, index: u64) -> Result<String> {
        let rows = self.rows()?;
        if rows.is_empty() {
            return Ok("no conversation".to_owned());
        }
        let id = &rows[(index % rows.len() as u64) as usize];
        self.press(&format!("{ROW}[data-id='{id}'] .row-main"), 0)?;
        let messages: Vec<_> = self.ledger.messages().filter(|it| it.conversation == *id).collect();
        self.window()?.wait("the conversation", || {
            let is_it = |shown: &String| messages.iter().any(|it| it.id == *shown);
            let is_shown = self.shown()?.iter().any(|it| it.id.as_ref().is_some_and(is_it));
            Ok((is_shown || messages.is_empty()).then_some(()))
        })?;
        Ok(String::new())
    }

    /// Begins a new conversation.
    pub(crate) fn new_chat(&self) -> Result<String> {
        // A page that is empty offers it in the sidebar alone, which may be closed.
        self.press("[data-testid=new-chat], [data-testid=sidebar-new]", 0)?;
        self.window()?.wait("an empty page", || Ok(self.shown()?.is_empty().then_some(())))?;
        Ok(String::new())
    }

    /// Finds a question by its words.
    pub(crate) fn search(&self, index: u64) -> Result<String> {
        let questions: Vec<_> = self.ledger.messages().filter(|it| it.is_question).collect();
        if questions.is_empty() {
            return Ok("no question".to_owned());
        }
        let wanted = questions[(index % questions.len() as u64) as usize];
        let query = wanted.text.clone();
        let found = self.must(&Command::SearchConversations { query })?;
        let lilims_ipc::Reply::SearchHits(hits) = found else { anyhow::bail!("{found:?}") };
        let is_found = hits.iter().any(|hit| hit.message.0 == wanted.id);
        ensure!(is_found, "{wanted:?} is not found: {hits:?}");
        self.rows()?;
        let window = self.window()?;
        window.paste("sidebar-search", &format!("chaos {}", self.n / 2))?;
        std::thread::sleep(Duration::from_millis(300));
        window.paste("sidebar-search", "")?;
        window.wait("the list", || Ok((!window.exists("found-message")?).then_some(())))?;
        Ok(format!("{} found", hits.len()))
    }

    /// Kills the app after a while, and starts it again.
    pub(crate) fn kill_after(&mut self, after: Duration, asks: bool) -> Result<String> {
        let began = Instant::now();
        let mut allowed = Allowed::default();
        if asks && !self.is_busy()? {
            let question = self.question(after.as_millis() as u64);
            self.send(&question)?;
            allowed = Allowed { questions: vec![question], n_answers: 1, ..allowed };
        }
        let mut seen: Vec<(Instant, Option<String>, String)> = Vec::new();
        loop {
            let is_acknowledged = allowed
                .questions
                .first()
                .is_some_and(|it| self.is_acknowledged(it).unwrap_or(false));
            if is_acknowledged {
                self.compare(&Allowed { must: true, ..allowed })?;
                allowed = Allowed::default();
            }
            if let Some(last) = self.shown()?.pop().filter(|it| it.state == "streaming") {
                seen.push((Instant::now(), last.id, letters(&last.text)));
            }
            if began.elapsed() >= after {
                break;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        // What the database has is not lost either.
        let stored = crate::checks::stored_messages(&self.data())?;
        if allowed.questions.is_empty() {
            self.ledger.compare(&stored, &allowed)?;
        }
        let killed = Instant::now();
        let kept = seen.into_iter().rev().find(|(at, ..)| killed - *at >= LOSS);
        if let Some((_, Some(id), text)) = kept {
            self.ledger.note_shown(&id, text);
        }
        self.kill()?;
        self.compare(&allowed)?;
        Ok(format!("{} may be new", allowed.questions.len()))
    }

    /// Fills the disk, asks, and frees the disk: the question must be there once, at the latest when it
    /// is tried again.
    pub(crate) fn fill_disk(&mut self, hold: Duration, asks_first: bool) -> Result<String> {
        let Some(disk) = self.disk.as_ref() else {
            return Ok(skipped("the disk cannot be filled"));
        };
        self.wait_for_end()?;
        self.wait_for_model()?;
        if asks_first {
            self.ask(hold.as_millis() as u64)?;
            let filler = self.disk.as_ref().map(|disk| disk.fill()).transpose()?;
            std::thread::sleep(hold);
            drop(filler);
            self.wait_for_end()?;
            self.compare(&Allowed::default())?;
            return self.error_shown();
        }
        let filler = disk.fill()?;
        let question = self.question(hold.as_millis() as u64);
        self.send(&question)?;
        std::thread::sleep(hold);
        let is_shown = self.shown()?.iter().any(|it| it.text == question);
        ensure!(is_shown || self.window()?.draft()? == question, "the page has lost {question:?}");
        let error = self.error_shown()?;
        drop(filler);
        self.wait_for_end()?;
        self.try_again(question)?;
        Ok(error)
    }

    /// Sends a question again that was perhaps refused, and checks that it is there once.
    fn try_again(&mut self, question: String) -> Result<()> {
        if !self.is_acknowledged(&question)? {
            let retry = self.press("[data-testid=retry]", 0)?;
            ensure!(retry, "the page offers no way to send {question:?} again");
            self.wait_for_question(&question)?;
            self.wait_for_end()?;
        }
        let questions = vec![question.clone()];
        self.compare(&Allowed { questions, n_answers: 2, ..Allowed::default() })?;
        let n_times = self.ledger.messages().filter(|it| it.text == question).count();
        ensure!(n_times == 1, "{question:?} is there {n_times} times");
        Ok(())
    }

    /// The errors that the page shows.
    fn error_shown(&self) -> Result<String> {
        Ok(self.window()?.text("error-message")?.unwrap_or_else(|| "no error".to_owned()))
    }

    /// Limits the memory of the app while it answers.
    pub(crate) fn press_memory(&mut self, headroom: u64, hold: Duration) -> Result<String> {
        if self.memory.is_none() {
            return Ok(skipped("the memory of a process cannot be limited"));
        }
        self.ask(headroom)?;
        let group = self.memory.as_ref().context("there is a group")?;
        let pid = self.window()?.app_process()?;
        // The kernel refuses a limit that it cannot reach.
        let limit = group.press(headroom);
        let end = Instant::now() + hold;
        while Instant::now() < end && crate::machine::is_alive(pid) {
            std::thread::sleep(Duration::from_millis(50));
        }
        group.release()?;
        let limit = limit.map_or_else(|error| format!("{error:#}"), |limit| limit.to_string());
        if crate::machine::is_alive(pid) {
            self.wait_for_end()?;
            self.compare(&Allowed::default())?;
            return Ok(format!("limit {limit}: survived"));
        }
        self.after_end()?;
        self.compare(&Allowed::default())?;
        Ok(format!("limit {limit}: killed by the system"))
    }
}

/// Records once a part that this machine cannot run.
fn skipped(reason: &str) -> String {
    use std::sync::Mutex;
    static RECORDED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut recorded = RECORDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !recorded.iter().any(|it| it == reason) {
        lilims_tests::skip_part("chaos", reason);
        recorded.push(reason.to_owned());
    }
    format!("skipped: {reason}")
}
