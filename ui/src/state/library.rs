//! The model library as the page knows it: what is here, what the hub offers, what is under way.
//!
//! What a user can ask for is an [`Action`]. The page carries it out and hands the [`Outcome`] to
//! [`LibraryState::end`]; an error is kept with the [`Concern`] that it is shown at. An answer that
//! is no longer awaited, such as that to the search before the last, is dropped.

use std::collections::HashMap;

use leptos::prelude::*;
use lilims_ipc::{
    Conversion, ConversionOffer, ConversionRequest, ConversionState, Download, DownloadPlan, Error,
    Fit, Found, Library, Limits, Recommended, Report, Repository, Search,
};

/// The tabs of the library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tab {
    /// The models on this device.
    #[default]
    Device,
    /// What can be downloaded.
    Discover,
    /// What is being downloaded.
    Downloads,
}

impl Tab {
    /// All, in their order.
    pub(crate) const ALL: [Self; 3] = [Self::Device, Self::Discover, Self::Downloads];

    /// The tab that a key leads to; `None` for a key that leads nowhere.
    pub(crate) fn after_key(self, key: &str) -> Option<Self> {
        let at = Self::ALL.iter().position(|tab| *tab == self)?;
        let count = Self::ALL.len();
        let at = match key {
            "ArrowRight" => (at + 1) % count,
            "ArrowLeft" => (at + count - 1) % count,
            "Home" => 0,
            "End" => count - 1,
            _ => return None,
        };
        Some(Self::ALL[at])
    }
}

/// What the shell was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Fetched<T> {
    /// Nobody has asked.
    #[default]
    NotAsked,
    /// The answer has not come yet.
    OnItsWay,
    /// The answer.
    Here(T),
    /// There is none.
    Failed(Error),
}

impl<T> Fetched<T> {
    fn of(answer: Result<T, Error>) -> Self {
        answer.map_or_else(Self::Failed, Self::Here)
    }

    /// The answer, if it is here.
    pub(crate) fn here(&self) -> Option<&T> {
        if let Self::Here(answer) = self { Some(answer) } else { None }
    }
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HubFile {
    /// `owner/name`.
    pub(crate) repository: String,
    /// The file in it.
    pub(crate) file: String,
}

/// What a user can ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Switch to a model here, with another context if one is given.
    Use { name: String, context_tokens: Option<u32> },
    /// Have the loaded model give its memory back.
    Unload,
    /// Keep a model, or no longer.
    Pin { name: String, is_pinned: bool },
    /// Compare a model with its hash, and repair it.
    Verify { name: String },
    /// Remove a model.
    Remove { name: String },
    /// Set the quota; `None` is the default.
    SetQuota(Option<u64>),
    /// Bound the downloads.
    SetLimits(Limits),
    /// Choose a file and import it.
    ChooseFile,
    /// Import the files that were dropped.
    ImportFiles(Vec<String>),
    /// Choose a folder whose models are used in place.
    ChooseFolder,
    /// Use the models of a folder no longer.
    RemoveFolder(String),
    /// Look for models anew.
    Scan,
    /// Search the hub.
    Search(Search),
    /// Show a repository of the hub.
    Open(String),
    /// Read a file's header on the hub, to know whether it fits.
    ReadHeader(HubFile),
    /// Find out what a download would take.
    Plan(HubFile),
    /// Download, after its plan was agreed to.
    Download(HubFile),
    /// Pause a download.
    Pause(i64),
    /// Let a download go on, or try again.
    Resume(i64),
    /// Break a download off and delete what has come.
    Cancel(i64),
    /// Forget a download that has ended.
    Clear(i64),
    /// Find out what a model could be converted to.
    Offer { name: String, is_weighed: bool },
    /// Convert a model.
    Convert(ConversionRequest),
    /// Have the conversion that runs end.
    CancelConversion,
    /// Forget a conversion that has ended.
    ClearConversion,
}

/// What the dialogue about conversions shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConvertView {
    /// What the model with this short name could become.
    Choosing(String),
    /// The conversion that runs, or ended last.
    Following,
}

/// What an action concerns: where its error is shown, and which controls wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// Imports, folders and scans.
    Device,
    /// A model here, by its short name.
    Model(String),
    /// The model that is loaded.
    Loaded,
    /// The quota.
    Quota,
    /// How downloads are bounded.
    Limits,
    /// The search.
    Search,
    /// The repository that is shown.
    Repository,
    /// A file of the hub.
    File(HubFile),
    /// The plan that is shown.
    Plan,
    /// A download.
    Download(i64),
    /// The dialogue about conversions.
    Conversion,
}

impl Action {
    /// What it concerns.
    pub(crate) fn concern(&self) -> Concern {
        match self {
            Self::Use { name, .. }
            | Self::Pin { name, .. }
            | Self::Verify { name }
            | Self::Remove { name } => Concern::Model(name.clone()),
            Self::Unload => Concern::Loaded,
            Self::SetQuota(_) => Concern::Quota,
            Self::SetLimits(_) => Concern::Limits,
            Self::ChooseFile
            | Self::ImportFiles(_)
            | Self::ChooseFolder
            | Self::RemoveFolder(_)
            | Self::Scan => Concern::Device,
            Self::Search(_) => Concern::Search,
            Self::Open(_) => Concern::Repository,
            Self::ReadHeader(file) | Self::Plan(file) => Concern::File(file.clone()),
            Self::Download(_) => Concern::Plan,
            Self::Pause(id) | Self::Resume(id) | Self::Cancel(id) | Self::Clear(id) => {
                Concern::Download(*id)
            }
            Self::Offer { .. }
            | Self::Convert(_)
            | Self::CancelConversion
            | Self::ClearConversion => Concern::Conversion,
        }
    }
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It is done, or was dismissed.
    Nothing,
    /// What it has found.
    Report(Report),
    /// Of [`Action::Search`].
    Found(Vec<Found>),
    /// Of [`Action::Open`].
    Repository(Repository),
    /// Of [`Action::ReadHeader`].
    Fit(Fit),
    /// Of [`Action::Plan`].
    Plan(DownloadPlan),
    /// Of [`Action::Offer`].
    Offer(ConversionOffer),
}

/// The newest error, and where it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) concern: Concern,
    /// What went wrong.
    pub(crate) error: Error,
}

/// The newest report, and where it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// Where.
    pub(crate) concern: Concern,
    /// What to tell.
    pub(crate) message: String,
}

/// The state of the library. A copy shares its signals.
#[derive(Clone, Copy)]
pub(crate) struct LibraryState {
    /// Whether the library is shown in place of the conversation.
    pub(crate) is_open: RwSignal<bool>,
    /// The tab that is shown.
    pub(crate) tab: RwSignal<Tab>,
    /// What is on this device.
    pub(crate) library: RwSignal<Fetched<Library>>,
    /// All downloads.
    pub(crate) downloads: RwSignal<Vec<Download>>,
    /// What Lilims recommends.
    pub(crate) catalogue: RwSignal<Fetched<Vec<Recommended>>>,
    /// The search as it is being entered.
    pub(crate) search: RwSignal<Search>,
    /// What was found.
    pub(crate) found: RwSignal<Fetched<Vec<Found>>>,
    /// The name of the repository that is shown.
    pub(crate) opened: RwSignal<Option<String>>,
    /// That repository.
    pub(crate) repository: RwSignal<Fetched<Repository>>,
    /// What the headers on the hub have told.
    pub(crate) fits: RwSignal<HashMap<HubFile, Fit>>,
    /// The plan that waits for agreement.
    pub(crate) plan: RwSignal<Option<DownloadPlan>>,
    /// The conversion that runs, or ended last.
    pub(crate) conversion: RwSignal<Option<Conversion>>,
    /// What the dialogue about conversions shows, while it is open.
    pub(crate) convert_view: RwSignal<Option<ConvertView>>,
    /// What the model that the dialogue is about could become.
    pub(crate) offer: RwSignal<Fetched<ConversionOffer>>,
    /// The newest report.
    pub(crate) notice: RwSignal<Option<Notice>>,
    /// The newest error.
    pub(crate) problem: RwSignal<Option<Problem>>,
    /// What is being done.
    pub(crate) busy: RwSignal<Vec<Action>>,
    /// Whether files are being dragged over the window.
    pub(crate) is_dragging: RwSignal<bool>,
    searched: StoredValue<Option<Search>>,
    /// The last offer that was asked for.
    offered: StoredValue<Option<Action>>,
}

impl LibraryState {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self {
            is_open: RwSignal::default(),
            tab: RwSignal::default(),
            library: RwSignal::default(),
            downloads: RwSignal::default(),
            catalogue: RwSignal::default(),
            search: RwSignal::default(),
            found: RwSignal::default(),
            opened: RwSignal::default(),
            repository: RwSignal::default(),
            fits: RwSignal::default(),
            plan: RwSignal::default(),
            conversion: RwSignal::default(),
            convert_view: RwSignal::default(),
            offer: RwSignal::default(),
            notice: RwSignal::default(),
            problem: RwSignal::default(),
            busy: RwSignal::default(),
            is_dragging: RwSignal::default(),
            searched: StoredValue::new(None),
            offered: StoredValue::new(None),
        }
    }

    /// Shows the library at `tab`.
    pub(crate) fn show(&self, tab: Tab) {
        self.tab.set(tab);
        self.is_open.set(true);
    }

    /// Closes what is open in the library, innermost first. Returns whether anything was.
    pub(crate) fn step_back(&self) -> bool {
        if !self.is_open.get_untracked() {
            return false;
        }
        if self.convert_view.with_untracked(Option::is_some) {
            self.convert_view.set(None);
        } else if self.plan.with_untracked(Option::is_some) {
            self.plan.set(None);
        } else if self.tab.get_untracked() == Tab::Discover
            && self.opened.with_untracked(Option::is_some)
        {
            self.close_repository();
        } else {
            self.is_open.set(false);
        }
        true
    }

    /// Shows the search again in place of a repository.
    pub(crate) fn close_repository(&self) {
        self.opened.set(None);
        self.repository.set(Fetched::NotAsked);
    }

    /// Notes that `action` is being carried out.
    pub(crate) fn begin(&self, action: &Action) {
        self.problem.set(None);
        self.notice.set(None);
        self.busy.update(|busy| busy.push(action.clone()));
        match action {
            Action::Search(search) => {
                self.searched.set_value(Some(search.clone()));
                self.close_repository();
                self.found.set(Fetched::OnItsWay);
            }
            Action::Open(repository) => {
                self.opened.set(Some(repository.clone()));
                self.repository.set(Fetched::OnItsWay);
            }
            Action::Offer { name, .. } => self.begin_offer(name, action),
            _ => {}
        }
    }

    /// Opens the dialogue; an offer for the same model stays until the new one is here.
    fn begin_offer(&self, name: &str, action: &Action) {
        self.offered.set_value(Some(action.clone()));
        let view = Some(ConvertView::Choosing(name.to_owned()));
        if self.convert_view.with_untracked(|shown| *shown != view) {
            self.offer.set(Fetched::OnItsWay);
            self.convert_view.set(view);
        }
    }

    /// Takes over what came of `action`.
    pub(crate) fn end(&self, action: &Action, outcome: Result<Outcome, Error>) {
        self.busy.update(|busy| {
            if let Some(at) = busy.iter().position(|it| it == action) {
                busy.remove(at);
            }
        });
        match (action, outcome) {
            (Action::Search(search), outcome) => {
                if self.searched.with_value(|searched| searched.as_ref() == Some(search)) {
                    self.found.set(Fetched::of(outcome.map(Outcome::into_found)));
                }
            }
            (Action::Open(repository), outcome) => {
                if self.opened.with_untracked(|opened| opened.as_ref() == Some(repository)) {
                    self.repository.set(match outcome {
                        Ok(Outcome::Repository(repository)) => Fetched::Here(repository),
                        Ok(_) => Fetched::NotAsked,
                        Err(error) => Fetched::Failed(error),
                    });
                }
            }
            (Action::Download(_), Ok(_)) => self.plan.set(None),
            (Action::Convert(_), Ok(_)) => {
                // Whoever closed the dialogue meanwhile finds it among the downloads.
                if self.convert_view.with_untracked(Option::is_some) {
                    self.convert_view.set(Some(ConvertView::Following));
                }
            }
            (Action::Offer { .. }, outcome) => {
                if self.offered.with_value(|offered| offered.as_ref() == Some(action)) {
                    self.offer.set(match outcome {
                        Ok(Outcome::Offer(offer)) => Fetched::Here(offer),
                        Ok(_) => Fetched::NotAsked,
                        Err(error) => Fetched::Failed(error),
                    });
                }
            }
            (action, Ok(outcome)) => self.take(action, outcome),
            (action, Err(error)) => {
                self.problem.set(Some(Problem { concern: action.concern(), error }));
            }
        }
    }

    fn take(&self, action: &Action, outcome: Outcome) {
        match (action, outcome) {
            (Action::ReadHeader(file), Outcome::Fit(fit)) => {
                self.fits.update(|fits| drop(fits.insert(file.clone(), fit)));
            }
            (_, Outcome::Plan(plan)) => self.plan.set(Some(plan)),
            (action, Outcome::Report(report)) => {
                let notice = Notice { concern: action.concern(), message: report.message };
                self.notice.set(Some(notice));
            }
            _ => {}
        }
    }

    /// Whether a model is being converted.
    pub(crate) fn is_converting(&self) -> bool {
        let is_running = |it: &Conversion| matches!(it.state, ConversionState::Running { .. });
        self.conversion.with(|conversion| conversion.as_ref().is_some_and(is_running))
    }

    /// Whether something is being done that concerns `concern`.
    pub(crate) fn is_busy(&self, concern: &Concern) -> bool {
        self.busy.with(|busy| busy.iter().any(|action| action.concern() == *concern))
    }

    /// The error that is shown at `concern`.
    pub(crate) fn problem_of(&self, concern: &Concern) -> Option<Error> {
        self.problem.with(|problem| {
            let problem = problem.as_ref().filter(|problem| problem.concern == *concern);
            problem.map(|problem| problem.error.clone())
        })
    }

    /// The report that is shown at `concern`.
    pub(crate) fn notice_of(&self, concern: &Concern) -> Option<String> {
        self.notice.with(|notice| {
            let notice = notice.as_ref().filter(|notice| notice.concern == *concern);
            notice.map(|notice| notice.message.clone())
        })
    }
}

impl Outcome {
    fn into_found(self) -> Vec<Found> {
        if let Self::Found(found) = self { found } else { Vec::new() }
    }
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
