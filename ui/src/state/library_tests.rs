//! How the library behaves, without a page or a shell.

use lilims_ipc::ErrorCode;

use super::*;

fn with_library(test: impl FnOnce(LibraryState)) {
    Owner::new().with(|| test(LibraryState::new()));
}

fn error() -> Error {
    Error { code: ErrorCode::Network, message: "The hub cannot be reached.".into(), detail: None }
}

fn search(text: &str) -> Action {
    Action::Search(Search { text: text.into(), ..Search::default() })
}

fn found(repository: &str) -> Outcome {
    Outcome::Found(vec![Found {
        repository: repository.into(),
        downloads: 1,
        likes: 1,
        licence: None,
        parameters: None,
        is_gated: false,
        updated: None,
    }])
}

fn repository(name: &str) -> Outcome {
    Outcome::Repository(Repository {
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
    found.here().into_iter().flatten().map(|found| found.repository.clone()).collect()
}

#[test]
fn arrows_go_round_the_tabs() {
    assert_eq!(Tab::Device.after_key("ArrowRight"), Some(Tab::Discover));
    assert_eq!(Tab::Device.after_key("ArrowLeft"), Some(Tab::Downloads));
    assert_eq!(Tab::Downloads.after_key("ArrowRight"), Some(Tab::Device));
    assert_eq!(Tab::Discover.after_key("Home"), Some(Tab::Device));
    assert_eq!(Tab::Discover.after_key("End"), Some(Tab::Downloads));
    assert_eq!(Tab::Discover.after_key("a"), None);
}

#[test]
fn only_the_last_search_is_answered() {
    with_library(|state| {
        let (first, second) = (search("a"), search("b"));
        state.begin(&first);
        state.begin(&second);
        state.end(&second, Ok(found("b/b")));
        state.end(&first, Ok(found("a/a")));
        assert_eq!(shown(state), ["b/b"]);
        state.begin(&first);
        assert_eq!(state.found.get_untracked(), Fetched::OnItsWay);
        state.end(&first, Err(error()));
        assert_eq!(state.found.get_untracked(), Fetched::Failed(error()));
        assert_eq!(state.problem.get_untracked(), None, "the list itself says it");
    });
}

#[test]
fn a_repository_that_was_left_does_not_come_back() {
    with_library(|state| {
        let open = Action::Open("a/b".into());
        state.begin(&open);
        state.close_repository();
        state.end(&open, Ok(repository("a/b")));
        assert_eq!(state.repository.get_untracked(), Fetched::NotAsked);
        state.begin(&open);
        state.end(&open, Ok(repository("a/b")));
        assert!(state.repository.get_untracked().here().is_some());
        state.begin(&search(""));
        assert_eq!(state.opened.get_untracked(), None, "a search leaves the repository");
    });
}

#[test]
fn an_error_is_shown_at_what_it_concerns_until_the_next_action() {
    with_library(|state| {
        let remove = Action::Remove { name: "a".into() };
        state.begin(&remove);
        assert!(state.is_busy(&Concern::Model("a".into())));
        state.end(&remove, Err(error()));
        assert!(!state.is_busy(&Concern::Model("a".into())));
        assert_eq!(state.problem_of(&Concern::Model("a".into())), Some(error()));
        assert_eq!(state.problem_of(&Concern::Model("b".into())), None);
        state.begin(&Action::Scan);
        assert_eq!(state.problem.get_untracked(), None);
    });
}

#[test]
fn a_report_is_shown_at_what_it_concerns() {
    with_library(|state| {
        let verify = Action::Verify { name: "a".into() };
        let report = Report { names: vec!["a".into()], message: "It is whole.".into() };
        state.begin(&verify);
        state.end(&verify, Ok(Outcome::Report(report)));
        let concern = Concern::Model("a".into());
        assert_eq!(state.notice_of(&concern).as_deref(), Some("It is whole."));
        assert_eq!(state.notice_of(&Concern::Device), None);
    });
}

#[test]
fn a_plan_stays_until_it_is_agreed_to() {
    with_library(|state| {
        let (ask, agree) = (Action::Plan(file()), Action::Download(file()));
        state.begin(&ask);
        state.end(&ask, Ok(Outcome::Plan(plan())));
        assert_eq!(state.plan.get_untracked(), Some(plan()));
        state.begin(&agree);
        state.end(&agree, Err(error()));
        assert!(state.plan.get_untracked().is_some());
        assert_eq!(state.problem_of(&Concern::Plan), Some(error()));
        state.begin(&agree);
        state.end(&agree, Ok(Outcome::Nothing));
        assert_eq!(state.plan.get_untracked(), None);
    });
}

#[test]
fn escape_closes_the_innermost_first() {
    with_library(|state| {
        assert!(!state.step_back());
        state.show(Tab::Discover);
        state.begin(&Action::Open("a/b".into()));
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
