//! Tests of the library state, without a page or a shell.

use lilims_ipc::{Command, Problem, Report};

use super::*;

fn with_library(test: impl FnOnce(LibraryState)) {
    Owner::new().with(|| test(LibraryState::new()));
}

fn error() -> Error {
    Problem::HubUnreachable { host: "hub.example".into() }.into()
}

fn search(text: &str) -> Action {
    Action::Search(Search { text: text.into(), ..Search::default() })
}

fn found(repository: &str) -> Reply {
    Reply::SearchResults(vec![SearchResult {
        repository: repository.into(),
        downloads: 1,
        likes: 1,
        licence: None,
        parameters: None,
        is_gated: false,
        updated: None,
    }])
}

fn repository(name: &str) -> Reply {
    Reply::Repository(Repository {
        repository: name.into(),
        revision: "main".into(),
        licence: None,
        is_gated: false,
        card: String::new(),
        files: Vec::new(),
    })
}

fn file() -> HubFile {
    HubFile { repository: "a/b".into(), file: "c.gguf".into() }
}

fn download() -> Action {
    Action::Download { file: file(), agreed_removals: Vec::new() }
}

fn plan() -> DownloadPlan {
    DownloadPlan {
        repository: "a/b".into(),
        file: "c.gguf".into(),
        needed_bytes: 1,
        removes: Vec::new(),
        keeps: Vec::new(),
        obstacle: None,
    }
}

fn shown(state: LibraryState) -> Vec<String> {
    let found = state.found.get_untracked();
    found.ready().into_iter().flatten().map(|found| found.repository.clone()).collect()
}

#[test]
fn arrow_keys_wrap_around_the_tabs() {
    assert_eq!(Tab::Device.after_key("ArrowRight"), Some(Tab::Discover));
    assert_eq!(Tab::Device.after_key("ArrowLeft"), Some(Tab::Downloads));
    assert_eq!(Tab::Downloads.after_key("ArrowRight"), Some(Tab::Device));
    assert_eq!(Tab::Discover.after_key("Home"), Some(Tab::Device));
    assert_eq!(Tab::Discover.after_key("End"), Some(Tab::Downloads));
    assert_eq!(Tab::Discover.after_key("a"), None);
}

#[test]
fn only_the_last_search_has_results() {
    with_library(|state| {
        let (first, second) = (search("a"), search("b"));
        state.action_started(&first);
        state.action_started(&second);
        state.action_finished(&second, Ok(found("b/b")));
        state.action_finished(&first, Ok(found("a/a")));
        assert_eq!(shown(state), ["b/b"]);
        state.action_started(&first);
        assert_eq!(state.found.get_untracked(), Fetched::Pending);
        state.action_finished(&first, Err(error()));
        assert_eq!(state.found.get_untracked(), Fetched::Failed(error()));
        assert_eq!(state.problem.get_untracked(), None, "the list itself shows it");
    });
}

#[test]
fn closed_repository_does_not_reopen() {
    with_library(|state| {
        let open = Action::Open("a/b".into());
        state.action_started(&open);
        state.close_repository();
        state.action_finished(&open, Ok(repository("a/b")));
        assert_eq!(state.repository.get_untracked(), Fetched::NotRequested);
        state.action_started(&open);
        state.action_finished(&open, Ok(repository("a/b")));
        assert!(state.repository.get_untracked().ready().is_some());
        state.action_started(&search(""));
        assert_eq!(state.opened.get_untracked(), None, "a search closes the repository");
    });
}

#[test]
fn error_is_shown_at_its_concern_until_the_next_action() {
    with_library(|state| {
        let remove = Action::Remove { name: "a".into() };
        state.action_started(&remove);
        assert!(state.is_busy(&Concern::Model("a".into())));
        state.action_finished(&remove, Err(error()));
        assert!(!state.is_busy(&Concern::Model("a".into())));
        assert_eq!(state.problem_of(&Concern::Model("a".into())), Some(error()));
        assert_eq!(state.problem_of(&Concern::Model("b".into())), None);
        state.action_started(&Action::Scan);
        assert_eq!(state.problem.get_untracked(), None);
    });
}

#[test]
fn report_is_shown_at_its_concern() {
    with_library(|state| {
        let verify = Action::Verify { name: "a".into() };
        let report = Report::Verified { name: "a".into() };
        state.action_started(&verify);
        state.action_finished(&verify, Ok(Reply::Report(report)));
        let concern = Concern::Model("a".into());
        assert_eq!(state.notice_of(&concern).as_deref(), Some("a matches its hash."));
        assert_eq!(state.notice_of(&Concern::Device), None);
    });
}

#[test]
fn plan_stays_until_it_is_confirmed() {
    with_library(|state| {
        let (plan_it, confirm) = (Action::Plan(file()), download());
        state.action_started(&plan_it);
        state.action_finished(&plan_it, Ok(Reply::Plan(plan())));
        assert_eq!(state.plan.get_untracked(), Some(plan()));
        state.action_started(&confirm);
        state.action_finished(&confirm, Err(error()));
        assert!(state.plan.get_untracked().is_some());
        assert_eq!(state.problem_of(&Concern::Plan), Some(error()));
        state.action_started(&confirm);
        state.action_finished(&confirm, Ok(Reply::Done));
        assert_eq!(state.plan.get_untracked(), None);
    });
}

#[test]
fn changed_plan_is_requested_again() {
    let changed = || Err(Problem::PlanChanged.into());
    assert_eq!(download().after_plan_changed(&changed()), Some(Action::Plan(file())));
    assert_eq!(download().after_plan_changed(&Err(error())), None);
    assert_eq!(Action::Scan.after_plan_changed(&changed()), None);
}

#[test]
fn downloads_carry_the_agreed_removals() {
    let action = Action::Download { file: file(), agreed_removals: vec!["a".into()] };
    let command = Command::Download {
        repository: "a/b".into(),
        file: "c.gguf".into(),
        agreed_removals: vec!["a".into()],
    };
    assert_eq!(action.command(None), command);
}

#[test]
fn escape_closes_the_innermost_first() {
    with_library(|state| {
        assert!(!state.step_back());
        state.show(Tab::Discover);
        state.action_started(&Action::Open("a/b".into()));
        state.plan.set(Some(plan()));
        assert!(state.step_back());
        assert_eq!(state.plan.get_untracked(), None);
        assert!(state.step_back());
        assert_eq!(state.opened.get_untracked(), None);
        assert!(state.is_open.get_untracked());
        assert!(state.step_back());
        assert!(!state.is_open.get_untracked());
        assert!(!state.step_back());
    });
}
